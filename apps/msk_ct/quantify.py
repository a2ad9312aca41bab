"""Numbers of msk_ct: each structure on each side, and the two sides against one another.

Pure: arrays in, numbers out. The atrophy ratio and the fatty degeneration of Iwasa compare
an affected with a healthy side. Which side is affected is not known here, so both are given
relative to the other side: of the smaller muscle against the larger one, and of the less
dense muscle against the denser one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.structures import SEGMENTS, STRUCTURES, Segment, Side, Structure
from operators.geometry import VolumeGeometry
from operators.measure.attenuation import MUSCLE_DENSITY_G_ML, DensityLine, fat_fraction, lean_share
from operators.measure.truncation import cut_off_labels

FEWEST_VOXELS = 20
"""Of fewer voxels nothing is said."""


@dataclass(frozen=True, kw_only=True)
class StructureMeasures:
    """What was measured of one structure on one side.

    Args:
        segment: Which.
        volume_ml: Of the part that was scanned.
        mean_hu: Mean attenuation.
        sd_hu: Standard deviation over its voxels.
        fat_fraction_percent: Of a muscle.
        lean_mass_g: Of a muscle.
        density_mg_cm3: Of a bone.
        psv: Predictive structure-wise variance; None when the model gives none.
        predictive_dice: Agreement of the passes; None when the model gives none.
        is_truncated: It reaches the edge of the scan.
        is_unreliable: Low expected accuracy; None when it is not known for this model.
    """

    segment: Segment
    volume_ml: float
    mean_hu: float
    sd_hu: float
    fat_fraction_percent: float | None
    lean_mass_g: float | None
    density_mg_cm3: float | None
    psv: float | None
    predictive_dice: float | None
    is_truncated: bool
    is_unreliable: bool | None

    @property
    def is_comparable(self) -> bool:
        """True when its numbers are those of the whole structure and, as far as known, worth something."""
        return not self.is_truncated and not self.is_unreliable


@dataclass(frozen=True, kw_only=True)
class SideDifference:
    """One muscle, its two sides compared.

    Args:
        structure: Which.
        smaller: Side of the smaller volume.
        atrophy_percent: (larger - smaller) / larger volume, in percent.
        less_dense: Side of the lower mean attenuation.
        attenuation_deficit_hu: Mean of the denser minus mean of the less dense side.
    """

    structure: Structure
    smaller: Side
    atrophy_percent: float
    less_dense: Side
    attenuation_deficit_hu: float


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Every number of one CT.

    Args:
        structures: By segment number; what was not found is absent.
        differences: By the muscle's name; only where both sides are comparable.
        not_compared: Muscle's name to why its sides are not compared.
        density_line: How density follows from attenuation.
    """

    structures: Mapping[int, StructureMeasures]
    differences: Mapping[str, SideDifference]
    not_compared: Mapping[str, str]
    density_line: DensityLine


def quantify(
    hu_zyx: NDArray[np.floating],
    segments_zyx: NDArray[np.integer],
    geometry: VolumeGeometry,
    *,
    psv: Mapping[int, float],
    predictive_dice: Mapping[int, float],
    unreliable: frozenset[int] = frozenset(),
    unknown: frozenset[int] = frozenset(),
    density_line: DensityLine | None = None,
) -> Measurements:
    """Every number of one CT.

    Args:
        hu_zyx: ``(z, y, x)``, Hounsfield units.
        segments_zyx: ``(z, y, x)`` segment numbers 0 to 43, same grid.
        geometry: The grid.
        psv: By segment number.
        predictive_dice: By segment number.
        unreliable: Segment numbers of low expected accuracy.
        unknown: Segment numbers of which the expected accuracy is not known.
        density_line: The site's, or None for the uncalibrated one.
    """
    line = density_line or DensityLine()
    truncated = cut_off_labels(segments_zyx, hu_zyx, geometry)
    sums = _sums(hu_zyx, segments_zyx)
    structures = {
        segment.number: _measures(
            segment,
            sums[:, segment.number],
            geometry.voxel_volume_ml,
            line,
            psv=psv.get(segment.number),
            predictive_dice=predictive_dice.get(segment.number),
            is_truncated=segment.number in truncated,
            is_unreliable=True
            if segment.number in unreliable
            else None
            if segment.number in unknown
            else False,
        )
        for segment in SEGMENTS
        if sums[0, segment.number] >= FEWEST_VOXELS
    }
    differences, not_compared = compare_sides(structures)
    return Measurements(
        structures=structures, differences=differences, not_compared=not_compared, density_line=line
    )


def compare_sides(
    structures: Mapping[int, StructureMeasures],
) -> tuple[dict[str, SideDifference], dict[str, str]]:
    """Muscles whose sides can be compared, and why the others cannot.

    A muscle of which neither side was found is in neither.
    """
    differences: dict[str, SideDifference] = {}
    not_compared: dict[str, str] = {}
    for structure in STRUCTURES:
        if structure.is_bone:
            continue
        sides = {m.segment.side: m for m in structures.values() if m.segment.structure is structure}
        right, left = sides.get(Side.RIGHT), sides.get(Side.LEFT)
        if right is None or left is None:
            if sides:
                not_compared[structure.name] = "one side was not found"
        elif right.is_truncated or left.is_truncated:
            not_compared[structure.name] = "cut off by the edge of the scan"
        elif right.is_unreliable or left.is_unreliable:
            not_compared[structure.name] = "low expected accuracy"
        else:
            differences[structure.name] = _difference(structure, right, left)
    return differences, not_compared


def _difference(structure: Structure, right: StructureMeasures, left: StructureMeasures) -> SideDifference:
    deficit_ml, deficit_hu = left.volume_ml - right.volume_ml, left.mean_hu - right.mean_hu
    return SideDifference(
        structure=structure,
        smaller=Side.RIGHT if deficit_ml >= 0 else Side.LEFT,
        atrophy_percent=100.0 * abs(deficit_ml) / max(right.volume_ml, left.volume_ml),
        less_dense=Side.RIGHT if deficit_hu >= 0 else Side.LEFT,
        attenuation_deficit_hu=abs(deficit_hu),
    )


def _measures(
    segment: Segment,
    sums: NDArray[np.float64],
    voxel_ml: float,
    line: DensityLine,
    *,
    psv: float | None,
    predictive_dice: float | None,
    is_truncated: bool,
    is_unreliable: bool | None,
) -> StructureMeasures:
    count, total, squares, fat, lean = (float(value) for value in sums)
    mean = total / count
    is_bone = segment.structure.is_bone
    return StructureMeasures(
        segment=segment,
        volume_ml=count * voxel_ml,
        mean_hu=mean,
        sd_hu=max(squares / count - mean**2, 0.0) ** 0.5,
        fat_fraction_percent=None if is_bone else 100.0 * fat / count,
        lean_mass_g=None if is_bone else lean * voxel_ml * MUSCLE_DENSITY_G_ML,
        density_mg_cm3=line.density_mg_cm3(mean) if is_bone else None,
        psv=psv,
        predictive_dice=predictive_dice,
        is_truncated=is_truncated,
        is_unreliable=is_unreliable,
    )


def _sums(hu_zyx: NDArray[np.floating], segments_zyx: NDArray[np.integer]) -> NDArray[np.float64]:
    """``(5, 44)``: voxels, HU, squared HU, fat and lean shares, summed over each segment's voxels.

    Slice by slice, so that no second volume of floats is needed.
    """
    sums = np.zeros((5, len(SEGMENTS) + 1))
    for labels_yx, hu_yx in zip(segments_zyx, hu_zyx, strict=True):
        inside = labels_yx > 0
        labels, hu = labels_yx[inside], hu_yx[inside].astype(np.float64)
        for row, weights in enumerate((None, hu, hu**2, fat_fraction(hu), lean_share(hu))):
            sums[row] += np.bincount(labels, weights=weights, minlength=sums.shape[1])
    return sums
