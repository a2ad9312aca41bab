"""Stage `infer` of mibg_spect: early and late volumes in, organ masks out.

Stage 1 finds lungs and liver, on each acquisition by itself to align late to early, then on
both; stage 2 finds the heart, helped by the probabilities of stage 1, because a denervated
heart is as faint as blood. Never reads files and never decides whether a study is fit: that
is done by the rules and by `operators.read.nm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.prepare import CUBE, SPACING_MM, GriddedVolume, cube_around, network_input
from operators.bundle import choose_device, load_network
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.infer.components import largest_component
from operators.preprocess.align import align_rigid
from operators.preprocess.counts import variance_stabilised
from operators.preprocess.resample import resample
from operators.read.nm import NmVolume

__all__ = ["LABELS", "Phase", "Segmentation", "segment"]

VOXEL_ML = SPACING_MM**3 / 1000
MIN_LUNG_ML = 300.0
"""Less of a lung than this is no adult's lung."""
MIN_LIVER_ML = 150.0
LEAST_LIVER_TO_LUNG = 1.2
"""MIBG goes to the liver; an image in which it is no brighter than the lungs is of something else."""
MIN_HEART_ML = 60.0
"""Below this the threshold is lowered until the heart has `ASSUMED_HEART_ML`."""
ASSUMED_HEART_ML = 120.0
MAX_HEART_ML = 600.0
LEAST_HEART_PROBABILITY = 0.03
"""Where no voxel reaches this, there is no heart in the volume."""
BESIDE_LUNGS_MM = 45.0
"""The heart's centre lies in the box around the lungs, widened downwards by this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Organs of one patient, once per acquired volume.

    Args:
        reference: The phase whose grid the SEG is written in: early where there is an
            early volume, else late.
        labels_zyx: For each phase present, ``(z, y, x)`` uint8 in that volume's own grid,
            values of `LABELS`, 0 elsewhere. Both come of the same model run; the late one
            is the early one moved by `late_from_early_lps`.
        heart_probability_zyx: ``(z, y, x)`` float32, 0..1, in the grid of `reference`.
        late_from_early_lps: ``(4, 4)`` float64, rigid: position in the early volume's patient
            system to the position of the same tissue in the late one, mm; identity with one phase.
        warnings: Sentences that a reader of the results must see.
    """

    reference: Phase
    labels_zyx: dict[Phase, NDArray[np.uint8]]
    heart_probability_zyx: NDArray[np.float32]
    late_from_early_lps: NDArray[np.float64]
    warnings: tuple[str, ...] = ()


def segment(
    early: NmVolume | None, late: NmVolume | None, *, bundle: Path, device: str = "auto"
) -> Segmentation:
    """Masks of lungs, liver and heart on the volumes given; one of them may be None.

    The networks are cached in the process for each bundle and device, so the second
    study is quick.

    Raises:
        ValueError: Both volumes are None.
        Refused: No lung or no heart is found: the volume is not of a chest.
        BrokenBundle: The bundle is incomplete.
    """
    volumes = {
        phase: GriddedVolume(counts_zyx=volume.counts_zyx, geometry=volume.geometry)
        for phase, volume in ((Phase.EARLY, early), (Phase.LATE, late))
        if volume is not None
    }
    if not volumes:
        raise ValueError("neither an early nor a late volume was given")
    where = choose_device(device)
    organs, heart = (load_network(bundle, name, where) for name in ("organs", "heart"))
    return segment_gridded(volumes, organs, heart, where)


def segment_gridded(
    volumes: dict[Phase, GriddedVolume], organs: nn.Module, heart: nn.Module, device: torch.device
) -> Segmentation:
    """As `segment`, with networks at hand.

    Raises:
        Refused: No lung or no heart is found.
    """
    warnings: list[str] = []
    reference = Phase.EARLY if Phase.EARLY in volumes else Phase.LATE
    cube = cube_around(volumes[reference])
    moved = late_from_early(volumes, cube, organs, device, warnings)
    image = network_input(volumes, cube, moved)[None].to(device)
    with torch.no_grad():
        seen = with_organs(organs, image)
        heart_probability = torch.softmax(heart(seen), dim=1)[0, 1].cpu().numpy()
    probabilities = _cleaned(seen[0, 2:].cpu().numpy(), heart_probability, warnings)
    labels = {}
    for phase, volume in volumes.items():
        into = np.linalg.inv(moved) if phase is not reference else None
        sampled = resample(probabilities, cube, volume.geometry, source_from_target_lps=into)
        labels[phase] = sampled.argmax(dim=0).numpy().astype(np.uint8)
    _check_tracer(volumes[reference], labels[reference], warnings)
    likely = resample(heart_probability, cube, volumes[reference].geometry)[0].numpy()
    return Segmentation(
        reference=reference,
        labels_zyx=labels,
        heart_probability_zyx=likely.astype(np.float32),
        late_from_early_lps=moved,
        warnings=tuple(warnings),
    )


def _check_tracer(volume: GriddedVolume, labels_zyx: NDArray[np.uint8], warnings: list[str]) -> None:
    """Warns when counts are not distributed as MIBG is."""
    lungs = volume.counts_zyx[(labels_zyx == LABELS["lung_right"]) | (labels_zyx == LABELS["lung_left"])]
    liver = volume.counts_zyx[labels_zyx == LABELS["liver"]]
    if len(lungs) and len(liver) and liver.mean() < LEAST_LIVER_TO_LUNG * lungs.mean():
        warnings.append(
            "the liver is hardly brighter than the lungs, which is unusual for MIBG; "
            "check the tracer and the outlines"
        )


def with_organs(organs: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Input of stage 2, ``(b, 5, z, y, x)``: the images and stage 1's right lung, left lung, liver."""
    return torch.cat([image, torch.softmax(organs(image).float(), dim=1)[:, 1:]], dim=1)


def late_from_early(
    volumes: dict[Phase, GriddedVolume],
    cube: VolumeGeometry,
    organs: nn.Module,
    device: torch.device,
    warnings: list[str],
) -> NDArray[np.float64]:
    """The movement between the acquisitions, from lungs and liver found on each by itself."""
    if len(volumes) < 2:
        return np.eye(4)
    late_cube = cube_around(volumes[Phase.LATE])
    maps = [
        _own_organs(volumes[phase], grid, channel, organs, device)
        for channel, (phase, grid) in enumerate(((Phase.EARLY, cube), (Phase.LATE, late_cube)))
    ]
    between = np.eye(4)
    between[:3, 3] = np.subtract(late_cube.origin_mm_lps, cube.origin_mm_lps)
    moved = align_rigid(maps[0], maps[1], cube)
    if moved is None:
        warnings.append(
            "late and early SPECT could not be aligned by lungs and liver; their fields of view were laid "
            "over one another, so late counts and washout are uncertain"
        )
        return between
    return np.asarray(between @ moved, dtype=np.float64)


def _own_organs(
    volume: GriddedVolume, grid: VolumeGeometry, channel: int, organs: nn.Module, device: torch.device
) -> NDArray[np.float32]:
    """``(3, z, y, x)`` float32: right lung, left lung, liver, from this acquisition alone."""
    image = torch.zeros(1, 2, *grid.shape_zyx)
    image[0, channel] = variance_stabilised(resample(volume.counts_zyx, volume.geometry, grid)[0])
    with torch.no_grad():
        return with_organs(organs, image.to(device))[0, 2:].cpu().numpy()


def _cleaned(
    organs: NDArray[np.float32], heart: NDArray[np.float32], warnings: list[str]
) -> NDArray[np.float32]:
    """``(5, z, y, x)``: background and the labels in order, each organ in one piece.

    Raises:
        Refused: A lung or the heart is not there.
    """
    winner = np.concatenate([1 - organs.sum(axis=0, keepdims=True), organs]).argmax(axis=0)
    parts = [largest_component(winner == value) for value in (1, 2, 3)]
    for name, part, least in zip(("right lung", "left lung"), parts, (MIN_LUNG_ML,) * 2, strict=False):
        if part.sum() * VOXEL_ML < least:
            raise Refused(
                f"no {name} was found in the SPECT volume: it is not of a chest", attribute="PixelData"
            )
    if parts[2].sum() * VOXEL_ML < MIN_LIVER_ML:
        warnings.append("hardly any liver is in the field of view; the heart-to-liver ratio is not given")
        parts[2] = np.zeros_like(parts[2])
    heart = heart * _heart_may_be(parts[0] | parts[1])
    mask, threshold = _heart_mask(heart, warnings)
    kept = [
        ndimage.binary_dilation(part) * probability for part, probability in zip(parts, organs, strict=True)
    ]
    # Rescaled so that the chosen threshold lies at one half: the winner takes the voxel.
    likely = np.clip(heart * (0.5 / threshold), 0, 1) * ndimage.binary_dilation(mask)
    remaining = 1 - likely
    out = np.stack([np.zeros_like(likely), *(part * remaining for part in kept), likely])
    out[0] = np.maximum(1 - out[1:].sum(axis=0), 0)
    return np.asarray(out, dtype=np.float32)


def _heart_may_be(lungs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The box around the lungs, further down: no heart lies outside."""
    allowed = np.zeros((CUBE,) * 3, dtype=np.bool_)
    places = np.nonzero(lungs)
    z0, y0, x0 = (int(axis.min()) for axis in places)
    z1, y1, x1 = (int(axis.max()) for axis in places)
    margin = round(BESIDE_LUNGS_MM / SPACING_MM)
    allowed[max(z0 - margin, 0) : z1 + 1, max(y0 - margin // 2, 0) : y1 + 1, x0 : x1 + 1] = True
    return allowed


def _heart_mask(heart: NDArray[np.float32], warnings: list[str]) -> tuple[NDArray[np.bool_], float]:
    """The heart in one piece and the threshold that made it."""
    mask = largest_component(heart > 0.5)
    if mask.sum() * VOXEL_ML >= MIN_HEART_ML:
        if mask.sum() * VOXEL_ML > MAX_HEART_ML:
            warnings.append(
                f"the heart found is unusually large ({mask.sum() * VOXEL_ML:.0f} mL); check its outline"
            )
        return mask, 0.5
    wanted = round(ASSUMED_HEART_ML / VOXEL_ML)
    threshold = float(np.partition(heart.ravel(), -wanted)[-wanted])
    if threshold < LEAST_HEART_PROBABILITY:
        raise Refused("no heart was found in the SPECT volume", attribute="PixelData")
    warnings.append(
        "the heart could hardly be told from its surroundings; its place is an estimate from lungs and liver"
    )
    return largest_component(heart > threshold * 0.999), threshold
