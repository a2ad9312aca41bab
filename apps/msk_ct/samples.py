"""Training samples: cases on the model's grid, and the slices that are drawn from them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.cases import read_case
from apps.msk_ct.prepare import PIXEL_MM, SLICE_MM, Prepared, prepare
from apps.msk_ct.structures import classes_of
from operators.read.case_folders import find_cases

WORKERS = 2
"""Processes that read cases: decoding hundreds of slices each takes longer than anything else."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One patient on the model's grid.

    Args:
        patient_id: What splits go by.
        hu_zyx: ``(z, y, x)`` int16, as `apps.msk_ct.prepare.Prepared`.
        classes_zyx: ``(z, y, x)`` uint8, class values 0..22.
        tissues_zyx: ``(z, y, x)`` uint8, values of anatomy.nii.gz or, where there is none, of the truth.
    """

    patient_id: str
    hu_zyx: NDArray[np.int16]
    classes_zyx: NDArray[np.uint8]
    tissues_zyx: NDArray[np.uint8]


def labels_on_grid(labels_zyx: NDArray[np.uint8], prepared: Prepared) -> NDArray[np.uint8]:
    """Labels of a CT on the model's grid: those of the nearest voxels."""
    turned = prepared.orientation.apply(labels_zyx)
    nearest = [source.nearest(axis) for source, axis in zip(prepared.source_axes, prepared.axes, strict=True)]
    return np.ascontiguousarray(turned[np.ix_(*nearest)])


def sample_of_folder(folder: Path) -> Sample:
    """A case folder, prepared.

    Raises:
        Refused: Its slices cannot be used.
        ValueError: Its labels do not fit.
    """
    case = read_case(folder, tissues=True)
    prepared = prepare(case.volume.hu_zyx, case.volume.geometry)
    tissues = case.segments_zyx if case.tissues_zyx is None else case.tissues_zyx
    return Sample(
        patient_id=case.patient_id,
        hu_zyx=prepared.hu_zyx,
        classes_zyx=classes_of(labels_on_grid(case.segments_zyx, prepared)),
        tissues_zyx=labels_on_grid(tissues, prepared),
    )


def read_samples(data: Path, cache: Path | None = None) -> Iterator[Sample]:
    """Every case below a folder in the order of names, kept in a cache folder when one is given."""
    folders = find_cases(data)
    # A fork of a process whose threads have computed may stop for ever in the first lock that they held.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_sample, folders, [cache] * len(folders))


def _sample(folder: Path, cache: Path | None) -> Sample:
    if cache is None:
        return sample_of_folder(folder)
    path = cache / f"{cache_name(folder)}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Sample(
                patient_id=str(kept["patient_id"]),
                hu_zyx=kept["hu"],
                classes_zyx=kept["classes"],
                tissues_zyx=kept["tissues"],
            )
    sample = sample_of_folder(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".npz", delete=False) as whole:
        np.savez(
            whole,
            patient_id=sample.patient_id,
            hu=sample.hu_zyx,
            classes=sample.classes_zyx,
            tissues=sample.tissues_zyx,
        )
    Path(whole.name).replace(path)
    return sample


def cache_name(folder: Path) -> str:
    """Of a prepared case: another one when the case or the model's grid is another."""
    digest = hashlib.sha256(f"{folder.resolve()} {SLICE_MM} {PIXEL_MM}".encode())
    digest.update((folder / "truth.json").read_bytes())
    return digest.hexdigest()[:16]


def slice_weights(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Chance of every slice of every sample to be drawn, in order: more where there are more classes."""
    weights = [3.0 + len(np.unique(plane[plane > 0])) for sample in samples for plane in sample.classes_zyx]
    return np.asarray(weights) / np.sum(weights)
