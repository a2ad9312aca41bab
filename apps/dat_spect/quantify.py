"""Stage `measure` of dat_spect: counts under the template, as ratios.

A scan and where the template lies in it go in; masks on the scan's own grid, the binding ratio of
every voxel, the slab picture and every number come out. What cannot be had says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.dat_spect.labels import LABELS, PARTS, Side
from apps.dat_spect.ratios import bolt_ratio, region_ratio
from apps.dat_spect.register import Registration
from apps.dat_spect.template import GRID, LIKELY, SLAB_MM, Template
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.preprocess.resample import CANONICAL_DIRECTION, resample

SLAB_PIXEL_MM = 2.0
SLAB_SHAPE_ZYX = (round(SLAB_MM / SLAB_PIXEL_MM), 48, 64)
"""44 mm high, 96 mm deep, 128 mm wide around both striata."""
SLAB_GRID = VolumeGeometry(
    shape_zyx=SLAB_SHAPE_ZYX,
    spacing_mm_zyx=(SLAB_PIXEL_MM,) * 3,
    origin_mm_lps=tuple(-(n - 1) / 2 * SLAB_PIXEL_MM for n in SLAB_SHAPE_ZYX[::-1]),  # type: ignore[arg-type]
    direction_lps_zyx=CANONICAL_DIRECTION,
)
"""In template mm."""
LEAST_SEEN = 0.97
"""Share of Bolt's volumes that must lie inside of the field of view."""
LEAST_REFERENCE_SEEN, FULL_REFERENCE = 0.5, 0.9
"""Share of the reference region that must be seen, and below which a reader is told."""
EMPTY_LEVEL = 0.02
"""Counts below this share of the reference's are none: no brain tissue is so dark."""
MOST_EMPTY = 0.03
"""Share of the brain that may be without counts; more is padding of a field of view that cut it off."""
MARGIN_VOXELS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Uptake:
    """What was measured on one scan, before age and classifiers.

    Args:
        labels_zyx: ``(z, y, x)`` uint8, values of `LABELS`, on the scan's grid.
        ratio_zyx: ``(z, y, x)`` float32, binding ratio of each voxel (counts over the reference's, less
            1); 0 outside of the head.
        slab_yx: ``(48, 64)`` float32, mean binding ratio over 44 mm in template space; row 0 is front,
            column 0 the patient's right.
        reference_counts_per_ml: Unspecific uptake.
        bolt: Side to specific binding ratio of the whole striatum, uncalibrated.
        parts: Name of `PARTS` to binding ratio as imaged.
        structures: Names of the caudates and putamina to binding ratio as imaged.
        volumes_ml: Name of `LABELS` to volume on the scan's grid.
        warnings: Sentences that a reader must see.
    """

    labels_zyx: NDArray[np.uint8]
    ratio_zyx: NDArray[np.float32]
    slab_yx: NDArray[np.float32]
    reference_counts_per_ml: float
    bolt: dict[Side, float]
    parts: dict[str, float]
    structures: dict[str, float]
    volumes_ml: dict[str, float]
    warnings: tuple[str, ...] = field(default=())


def measure_uptake(
    counts_zyx: NDArray[np.float32],
    geometry: VolumeGeometry,
    template: Template,
    registration: Registration,
    *,
    striatum_ml: float,
) -> Uptake:
    """Everything that counts and the template's place give.

    Args:
        counts_zyx: ``(z, y, x)`` float32, corrected for attenuation.
        geometry: Their grid.
        template: Of the bundle.
        registration: Where it lies.
        striatum_ml: Volume of one striatum in Bolt's formula.

    Raises:
        Refused: The striata or the reference lie outside of the field of view, or have no counts.
    """
    names = (*PARTS, "brain", "voi_right", "voi_left", "reference")
    stack = np.stack(
        [template.maps[name] for name in (*PARTS, "brain")]
        + [template.voi[side].astype(np.float32) for side in Side]
        + [template.reference.astype(np.float32)]
    )
    box, inner = _box_of(geometry, registration)
    back = np.linalg.inv(registration.patient_from_template)
    sampled = dict(zip(names, resample(stack, GRID, inner, source_from_target_lps=back).numpy(), strict=True))
    counts = counts_zyx[box]
    voxel_ml = geometry.voxel_volume_ml
    warnings = _check_seen(sampled, template, voxel_ml, registration)
    reference = sampled["reference"]
    level = float((counts * reference).sum() / reference.sum()) / voxel_ml
    if level <= 0:
        raise Refused("the brain around the striata has no counts", attribute="PixelData")
    _check_filled(counts / np.float32(level * voxel_ml), sampled["brain"])
    bolt = {}
    for side in Side:
        voi = sampled[f"voi_{side}"]
        bolt[side] = bolt_ratio(
            float((counts * voi).sum()), float(voi.sum()) * voxel_ml, level, striatum_ml=striatum_ml
        )
    parts = {name: _region(counts, sampled[name], level, voxel_ml) for name in PARTS}
    structures = {
        name: _region(counts, sum_of_parts(sampled, name), level, voxel_ml)
        for name in LABELS
        if name != "reference"
    }
    labels = np.zeros(geometry.shape_zyx, dtype=np.uint8)
    labels[box] = _labels(sampled)
    head = np.zeros(geometry.shape_zyx, dtype=np.bool_)
    head[box] = ndimage.binary_dilation(sampled["brain"] > LIKELY, iterations=MARGIN_VOXELS)
    ratio = np.asarray(counts_zyx / np.float32(level * voxel_ml) - 1.0, dtype=np.float32)
    slab = resample(ratio, geometry, SLAB_GRID, source_from_target_lps=registration.patient_from_template)
    return Uptake(
        labels_zyx=labels,
        ratio_zyx=np.where(head, ratio, np.float32(0.0)),
        slab_yx=np.asarray(slab[0].numpy().mean(axis=0), dtype=np.float32),
        reference_counts_per_ml=level,
        bolt=bolt,
        parts=parts,
        structures=structures,
        volumes_ml={n: float((labels == v).sum()) * voxel_ml for n, v in LABELS.items()},
        warnings=warnings,
    )


def sum_of_parts(maps: dict[str, NDArray[np.float32]], structure: str) -> NDArray[np.float32]:
    """Chance of a labelled structure: the caudate's own, or both halves of a putamen."""
    kind, side = structure.rsplit("_", 1)
    members = [maps[part] for part in PARTS if part.startswith(kind) and part.endswith(side)]
    return np.asarray(np.sum(members, axis=0), dtype=np.float32)


def _region(counts: NDArray[np.float32], chance: NDArray[np.float32], level: float, voxel_ml: float) -> float:
    """Binding ratio of where a structure is likely, weighted by how likely."""
    weight = np.where(chance > LIKELY, chance, np.float32(0.0))
    total = float(weight.sum())
    if total <= 0:
        # Coarse voxels: the likeliest one stands for the structure.
        weight, total = (chance >= chance.max()).astype(np.float32), 1.0
        total = float(weight.sum())
    return region_ratio(float((counts * weight).sum()) / total / voxel_ml, level)


def _labels(sampled: dict[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    structures = [name for name in LABELS if name != "reference"]
    chances = np.stack([sum_of_parts(sampled, name) for name in structures])
    best = chances.argmax(axis=0)
    values = np.array([LABELS[name] for name in structures], dtype=np.uint8)
    out = np.where(chances.max(axis=0) > LIKELY, values[best], np.uint8(0))
    out[(sampled["reference"] > LIKELY) & (out == 0)] = LABELS["reference"]
    return np.asarray(out, dtype=np.uint8)


def _check_seen(
    sampled: dict[str, NDArray[np.float32]],
    template: Template,
    voxel_ml: float,
    registration: Registration,
) -> tuple[str, ...]:
    """Refuses a scan in which the striata are cut off; says when much of the reference is."""
    growth = abs(float(np.linalg.det(registration.patient_from_template[:3, :3])))
    for name, mask, least in (
        ("striata", template.voi["right"] | template.voi["left"], LEAST_SEEN),
        ("brain around the striata", template.reference, LEAST_REFERENCE_SEEN),
    ):
        found = sampled["reference"] if mask is template.reference else _both(sampled)
        expected = float(mask.sum()) * GRID.voxel_volume_ml * growth
        if float(found.sum()) * voxel_ml < least * expected:
            raise Refused(f"the field of view cuts off the {name}", attribute="NumberOfFrames")
    share = float(sampled["reference"].sum()) * voxel_ml
    share /= float(template.reference.sum()) * GRID.voxel_volume_ml * growth
    if share >= FULL_REFERENCE:
        return ()
    return (f"the field of view holds {share:.0%} of the reference region: binding ratios are less certain",)


def _check_filled(relative: NDArray[np.float32], brain: NDArray[np.float32]) -> None:
    """Refuses a scan whose brain is partly without counts: cut off, and padded afterwards."""
    inside = brain > LIKELY
    empty = float((relative[inside] < EMPTY_LEVEL).mean())
    if empty > MOST_EMPTY:
        raise Refused(
            f"{empty:.0%} of the brain has no counts at all: the field of view cuts it off and was padded",
            attribute="PixelData",
        )


def _both(sampled: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    return sampled["voi_right"] + sampled["voi_left"]


def _box_of(
    geometry: VolumeGeometry, registration: Registration
) -> tuple[tuple[slice, slice, slice], VolumeGeometry]:
    """The part of the scan that holds the template, as slices and as a grid of its own."""
    far = [n - 1 for n in GRID.shape_zyx]
    corners = np.array(
        [GRID.position_mm_lps((z, y, x)) for z in (0, far[0]) for y in (0, far[1]) for x in (0, far[2])]
    )
    lps = corners @ registration.patient_from_template[:3, :3].T + registration.patient_from_template[:3, 3]
    index = np.concatenate([lps, np.ones((8, 1))], axis=1) @ np.linalg.inv(geometry.affine_lps)[:3].T
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, np.asarray(geometry.shape_zyx) - 1)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, low + 1, geometry.shape_zyx)
    x, y, z = geometry.position_mm_lps((float(low[0]), float(low[1]), float(low[2])))
    inner = VolumeGeometry(
        shape_zyx=(int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2])),
        spacing_mm_zyx=geometry.spacing_mm_zyx,
        origin_mm_lps=(float(x), float(y), float(z)),
        direction_lps_zyx=geometry.direction_lps_zyx,
    )
    first, second, third = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (first, second, third), inner
