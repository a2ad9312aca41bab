"""Stage `infer` of msk_ct: a CT in, its structures by side out, and how sure each of them is.

The network sees axial slices of 2.4 mm pixels in the order of the patient; its probabilities, not its
labels, are brought back to the CT's own grid, a few slices at a time. Never reads files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.confidence import describe_profile, low_confidence, unknown_confidence
from apps.msk_ct.gate import check_is_hip_or_thigh
from apps.msk_ct.prepare import SLICE_MM, Prepared, network_input, prepare
from apps.msk_ct.refine import refine
from apps.msk_ct.segmentation import Segmentation
from apps.msk_ct.sides import is_left
from apps.msk_ct.uncertainty import predictive_dice, segments_of, structure_wise_variance
from operators.bundle import choose_device, inference_settings, load_network
from operators.infer.bayesian_unet import BayesianUNet
from operators.infer.monte_carlo import Passes, on_cores, run_passes
from operators.preprocess.separable import Axis, resampled, weights
from operators.read.ct import CtVolume

LEAST_PASSES = 2
ISLAND_SHARE = 0.1
"""Of the largest part of a segment: smaller parts are mistakes."""
ISLAND_ML = 3.0
"""Parts larger than this stay whatever their share."""
SOURCE_SLAB = 4
"""Slices of the CT brought to full resolution at a time."""


@dataclass(frozen=True)
class Profile:
    """How finely and how often the network looks.

    Args:
        slice_mm: Between the slices that it labels.
        passes: Stochastic passes.
        slab: Slices computed together.
    """

    slice_mm: float
    passes: int
    slab: int


PROFILES = {
    "cpu": Profile(slice_mm=SLICE_MM, passes=10, slab=8),
    "gpu": Profile(slice_mm=SLICE_MM / 2, passes=30, slab=64),
}


def segment(
    volume: CtVolume,
    *,
    bundle: Path,
    device: str = "auto",
    profile: str = "auto",
    passes: int | None = None,
    report_progress: Callable[[float], None] = lambda _: None,
) -> Segmentation:
    """The structures of a CT of hip or thigh on its own grid.

    The network is cached in the process for each bundle and device. The same CT gives the same
    result: the draws of the passes are the same each time.

    Args:
        volume: Its axes may run either way and in any order, but not obliquely.
        bundle: Folder of the model.
        device: ``auto``, ``cpu`` or ``cuda``.
        profile: ``cpu``: slices every 4 mm, 10 passes. ``gpu``: every 2 mm, 30 passes. ``auto`` by the
            device.
        passes: Instead of the profile's.
        report_progress: Told the share done, 0..1, after each slab.

    Raises:
        Refused: The volume is oblique or empty, or shows neither hip nor thigh.
        ValueError: The profile is not known, or there are fewer than 2 passes.
        BrokenBundle: The bundle is incomplete.
    """
    where = choose_device(device)
    name = ("gpu" if where.type == "cuda" else "cpu") if profile == "auto" else profile
    if name not in PROFILES:
        raise ValueError(f"profile {profile!r} is not one of auto, {', '.join(PROFILES)}")
    chosen = PROFILES[name]
    count = chosen.passes if passes is None else passes
    if count < LEAST_PASSES:
        raise ValueError(f"{count} passes are too few to have a spread")
    settings = inference_settings(bundle)
    warnings = describe_profile(name, settings)
    if name == "gpu" and where.type == "cpu":
        warnings += (
            "The profile gpu was computed without a GPU: the profile cpu takes a sixth of the time.",
        )
    network = load_network(bundle, "structures", where)
    if not isinstance(network, BayesianUNet):
        raise TypeError("the network of msk_ct is a BayesianUNet")
    prepared = prepare(volume.hu_zyx, volume.geometry, slice_mm=chosen.slice_mm)
    report_progress(0.05)
    found = run_passes(
        network,
        lambda part: network_input(prepared.hu_zyx, part, chosen.slice_mm),
        slices=len(prepared.hu_zyx),
        shape_yx=prepared.hu_zyx.shape[1:],  # type: ignore[arg-type]
        passes=count,
        device=where,
        slab=chosen.slab,
        done=lambda share: report_progress(0.05 + 0.55 * share),
    )
    left, segments = _by_side(found, prepared)
    psv = structure_wise_variance(segments, found.variance_zyx)
    agreed = predictive_dice(segments, found.labels_tzyx, left)
    segments_zyx, uncertainty_zyx = _full_resolution(
        volume.hu_zyx, found, left, prepared, where, lambda share: report_progress(0.6 + 0.4 * share)
    )
    return Segmentation(
        segments_zyx=segments_zyx,
        uncertainty_zyx=uncertainty_zyx,
        psv=psv,
        predictive_dice=agreed,
        low_confidence=low_confidence(psv, settings),
        unknown_confidence=unknown_confidence(psv, settings),
        passes=count,
        profile=name,
        warnings=warnings,
    )


def _by_side(found: Passes, prepared: Prepared) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Where the left is and the segments on the model's grid; islands lose their probability.

    Raises:
        Refused: Neither hip nor thigh is seen, or the sides cannot be told apart.
    """
    classes = found.mean_zcyx.argmax(axis=1).astype(np.uint8)
    likely = found.mean_zcyx.max(axis=1).astype(np.float32)
    check_is_hip_or_thigh(classes, likely, prepared)
    left = is_left(classes, prepared.axes, prepared.body_zyx)
    segments = segments_of(classes, left)
    least = max(1, round(ISLAND_ML / prepared.voxel_ml))
    islands = islands_of(segments, least)
    for value in np.unique(classes[islands]):
        found.mean_zcyx[:, value][islands & (classes == value)] = 0
    classes = found.mean_zcyx.argmax(axis=1).astype(np.uint8)
    return left, segments_of(classes, left)


def islands_of(segments_zyx: NDArray[np.uint8], least: int) -> NDArray[np.bool_]:
    """Small parts of segments, away from the rest of them, ``(z, y, x)`` bool.

    Args:
        segments_zyx: ``(z, y, x)`` uint8.
        least: Voxels of a part that stays however large the largest one is.
    """
    out = np.zeros(segments_zyx.shape, dtype=np.bool_)
    for value, box in enumerate(ndimage.find_objects(segments_zyx), start=1):
        if box is None:
            continue
        parts, count = ndimage.label(segments_zyx[box] == value)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            small = (sizes < ISLAND_SHARE * sizes.max()) & (sizes < least)
            small[0] = False
            out[box] |= small[parts]
    return out


def _full_resolution(
    hu_zyx: NDArray[np.float32],
    found: Passes,
    left_zyx: NDArray[np.bool_],
    prepared: Prepared,
    device: torch.device,
    done: Callable[[float], None],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Segments and variance on the CT's own grid, a slab at a time."""
    segments = np.zeros(hu_zyx.shape, dtype=np.uint8)
    variance = np.zeros(hu_zyx.shape, dtype=np.float32)
    rows, columns = (_covered(s, a) for s, a in zip(prepared.source_axes[1:], prepared.axes[1:], strict=True))
    hu, into, spread = (prepared.orientation.apply(a)[:, rows, columns] for a in (hu_zyx, segments, variance))
    source = (
        prepared.source_axes[0],
        prepared.source_axes[1].part(rows.start, rows.stop),
        prepared.source_axes[2].part(columns.start, columns.stop),
    )
    in_plane = [weights(a, s).to(device) for a, s in zip(prepared.axes[1:], source[1:], strict=True)]
    nearest = [a.nearest(s) for a, s in zip(prepared.axes, source, strict=True)]
    spacing_mm = source[1].spacing_mm, source[2].spacing_mm

    def compute(part: range) -> range:
        along = weights(prepared.axes[0], source[0].part(part.start, part.stop))
        needed = np.flatnonzero(along.numpy().any(axis=0))
        near = slice(int(needed[0]), int(needed[-1]) + 1)
        matrices = along[:, near].to(device), *in_plane
        with torch.inference_mode():
            mean = found.mean_zcyx[near]
            present = np.unique(mean.argmax(axis=1))
            likely = torch.from_numpy(np.ascontiguousarray(mean[:, present])).to(device).float()
            likely = upsampled(likely.transpose(0, 1), matrices)
            classes = present.astype(np.uint8)[likely.argmax(dim=0).cpu().numpy()]
            of_part = torch.from_numpy(found.variance_zyx[near]).to(device)
            spread[part.start : part.stop] = upsampled(of_part[None], matrices)[0].cpu().numpy()
        classes = refine(classes, hu[part.start : part.stop], spacing_mm)
        left = left_zyx[np.ix_(nearest[0][part.start : part.stop], nearest[1], nearest[2])]
        into[part.start : part.stop] = segments_of(classes, left)
        return part

    parts = [range(z, min(z + SOURCE_SLAB, len(hu))) for z in range(0, len(hu), SOURCE_SLAB)]
    for finished, _ in enumerate(on_cores(compute, parts, device), start=1):
        done(finished / len(parts))
    return segments, variance


def upsampled(
    volume: torch.Tensor, matrices: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """``(c, z, y, x)`` along the body first, then in the plane: the work grows last."""
    along_z, along_y, along_x = matrices
    return resampled(resampled(volume, (along_z, None, None)), (None, along_y, along_x))


def _covered(source: Axis, model: Axis) -> slice:
    """Indices of the source within a voxel of the model's grid.

    That grid may end up to half a voxel inside of the source's edge, and a structure cut off there must
    reach it.

    >>> fine = Axis(512, 0.7)
    >>> _covered(fine, fine.centred(2.4))
    slice(0, 512, None)
    """
    places = source.places_mm
    reach = model.spacing_mm
    inside = np.flatnonzero((places >= model.first_mm - reach) & (places <= model.places_mm[-1] + reach))
    return slice(int(inside[0]), int(inside[-1]) + 1)
