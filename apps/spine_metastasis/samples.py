"""Cases as what the networks learn from: reduced slices with points, and pictures of vertebrae.

A prepared case is a few hundred kilobytes, so that hundreds of patients fit into memory, and can be
kept in a cache folder between trainings.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.cases import TruthCase, read_case, true_chain
from apps.spine_metastasis.classify import crops_of
from apps.spine_metastasis.crops import CHANNELS, PIXELS, SIZE_MM
from apps.spine_metastasis.detect import NAMES, PIXEL_MM, middle_slices, reduced_slices
from apps.spine_metastasis.labels import FractureClass, Weighting
from apps.spine_metastasis.stack import SagittalStack
from operators.phantom.identity import generator
from operators.read.case_folders import find_cases

WORKERS = 2
MARGIN_PIXELS = 12
"""On each side of a picture: what rotation and shift bring into view in training."""
SLICES_EACH = 4
"""Of each sequence, for the detector."""
VISIBLE_MM = 11.0
"""A body is a point to find in slices as far from its middle."""
MOST_NOT_FRACTURED = 4
"""Of a patient: neighbours of fractures, old fractures and lesions first."""
VERSION = 2
"""Of what the cache holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """A reduced slice for the detector.

    Args:
        image: ``(row, column)`` uint8, pixels of `PIXEL_MM`.
        points_mm: For each of `NAMES` the places ``(y_mm, x_mm)`` in it.
    """

    image: NDArray[np.uint8]
    points_mm: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One patient, prepared.

    Args:
        patient_id: What splits go by.
        slices: For the detector.
        pictures: For each sequence ``(n, 3, 152, 152)`` uint8, a vertebra each.
        fractures: For each sequence ``(n,)`` int64, values of `FractureClass`.
        numbers: For each sequence ``(n,)`` int64, which vertebra of the patient it is.
    """

    patient_id: str
    slices: tuple[Slice, ...]
    pictures: dict[Weighting, NDArray[np.uint8]]
    fractures: dict[Weighting, NDArray[np.int64]]
    numbers: dict[Weighting, NDArray[np.int64]]


def read_samples(data: Path, cache: Path | None = None) -> Iterator[Sample]:
    """Every case below a folder in the order of names, kept in a cache folder when one is given.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: The images of a case cannot be used.
        ValueError: The truth of a case is incomplete.
    """
    folders = find_cases(data)
    # A fork of a process whose threads have computed may stop for ever in the first lock that they held.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        yield from pool.map(prepared, folders, [cache] * len(folders))


def prepared(folder: Path, cache: Path | None = None) -> Sample:
    """A case folder as a sample, of the cache where it holds it."""
    if cache is None:
        return sample_of(read_case(folder))
    path = cache / f"{cache_name(folder)}.npz"
    if path.exists():
        return _loaded(path)
    sample = sample_of(read_case(folder))
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".npz", delete=False) as whole:
        np.savez(whole, **_arrays(sample))
    Path(whole.name).replace(path)
    return sample


def cache_name(folder: Path) -> str:
    """Of a prepared case: another one when the case or what is made of it is another."""
    digest = hashlib.sha256(f"{folder.resolve()} {VERSION} {PIXEL_MM} {SIZE_MM} {PIXELS}".encode())
    digest.update((folder / "truth.json").read_bytes())
    return digest.hexdigest()[:16]


def sample_of(case: TruthCase) -> Sample:
    """A case, prepared."""
    slices: list[Slice] = []
    pictures, fractures, numbers = {}, {}, {}
    chosen = chosen_vertebrae(case)
    vertebrae = true_chain(case)
    for weighting, stack in case.stacks.items():
        slices += _slices(case, stack)
        found = crops_of(stack, vertebrae, pixels=PIXELS + 2 * MARGIN_PIXELS)
        kept = [index for index in chosen if index in found]
        side = PIXELS + 2 * MARGIN_PIXELS
        pictures[weighting] = np.array([found[i] for i in kept], np.uint8).reshape(-1, CHANNELS, side, side)
        fractures[weighting] = np.array([case.vertebrae[i].fracture for i in kept], dtype=np.int64)
        numbers[weighting] = np.array(kept, dtype=np.int64)
    return Sample(
        patient_id=case.patient_id,
        slices=tuple(slices),
        pictures=pictures,
        fractures=fractures,
        numbers=numbers,
    )


def chosen_vertebrae(case: TruthCase) -> list[int]:
    """Indices of the vertebrae to learn from: every fracture, and some of the others.

    Which of the others, the patient decides, so that a case gives the same ones always.
    """
    fractured = [i for i, one in enumerate(case.vertebrae) if one.fracture != FractureClass.NOT_FRACTURED]
    rng = generator(int(hashlib.sha256(case.patient_id.encode()).hexdigest()[:12], 16))
    others = [i for i in range(len(case.vertebrae)) if i not in fractured]
    order = {i: float(rng.random()) for i in others}

    def rank(index: int) -> tuple[int, float]:
        one = case.vertebrae[index]
        if one.is_old or one.has_lesion:
            return 0, order[index]
        return (1 if any(abs(index - i) == 1 for i in fractured) else 2), order[index]

    # Neighbours do not take every place: what an ordinary vertebra looks like must be learned, too.
    ranked = sorted(others, key=rank)
    first = ranked[: MOST_NOT_FRACTURED // 2]
    rest = sorted(set(others) - set(first), key=lambda index: order[index])
    return sorted([*fractured, *first, *rest[: MOST_NOT_FRACTURED - len(first)]])


def _slices(case: TruthCase, stack: SagittalStack) -> list[Slice]:
    """Evenly chosen slices of the middle of a sequence, with what is to be found in them."""
    middle = middle_slices(stack)
    places = np.linspace(0, len(middle) - 1, min(SLICES_EACH, len(middle)))
    numbers = [middle[round(float(place))] for place in places]
    bodies = np.array([one.centre_mm_lps for one in case.vertebrae])
    sacra = np.array([] if case.sacrum is None else [case.sacrum]).reshape(-1, 3)
    out = []
    for number, image in zip(numbers, reduced_slices(stack, numbers), strict=True):
        points = tuple(_seen_in(stack, number, of) for of in (bodies, sacra))
        out.append(Slice(image=image, points_mm=points))
    return out


def _seen_in(
    stack: SagittalStack, number: int, positions: NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Places in the plane of those that a slice passes through."""
    places = stack.index_of(positions)
    slice_mm, row_mm, column_mm = stack.geometry.spacing_mm_zyx
    shape = np.array(stack.signal.shape[1:])
    return tuple(
        (float(row * row_mm), float(column * column_mm))
        for across, row, column in places
        if abs(across - number) * slice_mm <= VISIBLE_MM
        and -0.5 <= row < shape[0] - 0.5
        and -0.5 <= column < shape[1] - 0.5
    )


def _arrays(sample: Sample) -> dict[str, Any]:
    """A sample as named arrays."""
    out: dict[str, Any] = {"patient_id": np.array(sample.patient_id)}
    for number, one in enumerate(sample.slices):
        out[f"slice_{number}"] = one.image
        for name, points in zip(NAMES, one.points_mm, strict=True):
            out[f"points_{number}_{name}"] = np.array(points, dtype=np.float64).reshape(-1, 2)
    for weighting in sample.pictures:
        out[f"pictures_{weighting}"] = sample.pictures[weighting]
        out[f"fractures_{weighting}"] = sample.fractures[weighting]
        out[f"numbers_{weighting}"] = sample.numbers[weighting]
    return out


def _loaded(path: Path) -> Sample:
    with np.load(path) as kept:
        count = sum(name.startswith("slice_") for name in kept.files)
        there = [weighting for weighting in Weighting if f"pictures_{weighting}" in kept.files]
        return Sample(
            patient_id=str(kept["patient_id"]),
            slices=tuple(
                Slice(
                    image=kept[f"slice_{number}"],
                    points_mm=tuple(
                        tuple((float(y), float(x)) for y, x in kept[f"points_{number}_{name}"])
                        for name in NAMES
                    ),
                )
                for number in range(count)
            ),
            pictures={weighting: kept[f"pictures_{weighting}"] for weighting in there},
            fractures={weighting: kept[f"fractures_{weighting}"] for weighting in there},
            numbers={weighting: kept[f"numbers_{weighting}"] for weighting in there},
        )
