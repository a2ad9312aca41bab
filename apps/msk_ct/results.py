"""Findings of msk_ct as segments, a map, measurement groups, the report's page and a summary.

Pure: nothing here reads or writes DICOM files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apps.msk_ct import codes as msk
from apps.msk_ct.chart import chart
from apps.msk_ct.findings import Findings, title_of
from apps.msk_ct.pictures import SEGMENT_COLOURS, key_images
from apps.msk_ct.quantify import Measurements, SideDifference, StructureMeasures
from apps.msk_ct.structures import SEGMENTS, STRUCTURES, Side, Structure
from operators.encode import codes
from operators.encode.identity import Producer
from operators.encode.messages import KeyImages, LabelVolume, MapVolume, PageContent, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import png_of
from operators.encode.report import Group, Number, Quality, SegmentReference
from operators.encode.result import Outcome
from operators.encode.segmentation import Segment

SEGMENT_DESCRIPTIONS = tuple(
    Segment(
        label=segment.number,
        name=title_of(segment),
        property_type=msk.codes_of(segment.structure).primary,
        equivalent_codes=msk.codes_of(segment.structure).equivalents,
        primary_structures=msk.codes_of(segment.structure).parts,
        laterality=msk.LATERALITY[segment.side],
        colour_rgb=SEGMENT_COLOURS[segment.number],
    )
    for segment in SEGMENTS
)
UNCERTAINTY = codes.private("SEG_UNCERTAINTY", "Uncertainty of the segmentation")
MAP_SERIES = "Uncertainty"
MAP_PIXEL_MM = 1.7
"""The uncertainty is no finer than the model's pixels of 2.4 mm; those of the map stay below this."""
SHOWN_MUSCLES = ("gluteus_medius", "gluteus_maximus", "iliacus")
"""Named in the summary, if they are whole: those that the hip's diseases are judged by."""
METHOD = (
    "Method: a 2-D U-Net with Monte Carlo dropout labels axial slices, in every second pass their mirror "
    "images; its probabilities are averaged over the passes, and their variance is the uncertainty. "
    "Fat fraction: (58 - HU) / 158 of each voxel, 0 to 1; noise below 58 HU counts as fat, so that thin "
    "slices and sharp kernels raise it. "
    "Lean mass: volume x 1.06 g/mL x a share from 0 at -30 HU to 1 at +30 HU. Sides are compared as Iwasa "
    "does, but relative to the larger and to the denser side, because which side is affected is not known: "
    "deficit of volume = (larger - smaller) / larger; deficit of HU = denser - less dense mean; the smaller "
    "side need not be the less dense one. "
    "Pred. Dice: agreement of the passes with the result; an expectation, not a measurement. Low expected "
    "accuracy: the variance of the structure is above what it is where held-out phantoms are well outlined."
)


def label_volume(findings: Findings) -> LabelVolume:
    """The 43 segments on the grid of the CT."""
    return LabelVolume(
        labels_zyx=findings.segmentation.segments_zyx,
        geometry=findings.volume.geometry,
        sources=findings.volume.instances,
        segments=SEGMENT_DESCRIPTIONS,
        series_label="Muscles, bones",
        ordinal=1,
    )


def uncertainty_map(findings: Findings) -> MapVolume:
    """The variance of each voxel, on the slices of the CT."""
    geometry = findings.volume.geometry
    return MapVolume(
        values_zyx=findings.segmentation.uncertainty_zyx,
        geometry=geometry,
        sources=findings.volume.instances,
        quantity=msk.VOXEL_VARIANCE,
        unit=codes.NO_UNITS,
        label="Predictive variance of the segmentation",
        series_label=MAP_SERIES,
        ordinal=5,
        in_plane_step=max(1, int(MAP_PIXEL_MM / max(geometry.spacing_mm_zyx[1:]))),
    )


def report_content(findings: Findings) -> ReportContent:
    """The SR: a group for each structure and side, and one for the segmentation as a whole."""
    measurements = findings.measurements
    groups = [_group(one, measurements) for one in measurements.structures.values()]
    passes = Number(name=msk.PASSES, value=float(findings.segmentation.passes), unit=codes.NO_UNITS)
    groups.append(
        Group(
            tracking_id="Segmentation",
            finding=UNCERTAINTY,
            numbers=(passes,),
            comments=(
                f"Profile of the model: {findings.segmentation.profile}.",
                f"The variance of each voxel: the parametric map in the series '{MAP_SERIES}' of this study.",
            ),
        )
    )
    return ReportContent(
        groups=tuple(groups),
        sources=findings.volume.instances,
        procedure=msk.PROCEDURE,
        warnings=findings.warnings,
        series_label="Muscle report",
    )


def key_image_content(findings: Findings, producer: Producer) -> KeyImages:
    """Key images, and what they show."""
    return KeyImages(
        pictures=(
            *key_images(findings, producer.statement),
            chart(findings.measurements, producer.statement),
        ),
        sources=findings.volume.instances,
        series_label="Muscle images",
    )


# ------------------------------------------------------------------- groups


def _group(one: StructureMeasures, measurements: Measurements) -> Group:
    segment = one.segment
    coded = msk.codes_of(segment.structure)
    site, further = (coded.parts[0], coded.parts[1:]) if coded.parts else (coded.primary, ())
    reason = measurements.not_compared.get(segment.structure.name)
    return Group(
        tracking_id=title_of(segment),
        finding=coded.primary,
        finding_equivalents=coded.equivalents,
        category=codes.ANATOMICAL_STRUCTURE,
        site=site,
        site_equivalents=() if coded.parts else coded.equivalents,
        further_sites=further,
        laterality=msk.LATERALITY[segment.side],
        segment=SegmentReference(label=segment.number),
        numbers=_numbers(one, measurements),
        qualities=_qualities(one),
        comments=(f"Not compared with the other side: {reason}.",) if reason else (),
    )


def _qualities(one: StructureMeasures) -> tuple[Quality, ...]:
    """The flags; one that is not known is neither present nor absent."""
    truncated = Quality(name=msk.TRUNCATED, value=msk.PRESENT if one.is_truncated else msk.ABSENT)
    if one.is_unreliable is None:
        return (truncated,)
    return truncated, Quality(name=msk.LOW_ACCURACY, value=msk.PRESENT if one.is_unreliable else msk.ABSENT)


def _numbers(one: StructureMeasures, measurements: Measurements) -> tuple[Number, ...]:
    numbers = [Number(name=codes.VOLUME, value=one.volume_ml, unit=codes.MILLILITRE)]
    for hu, derivation in ((one.mean_hu, codes.MEAN), (one.sd_hu, codes.STANDARD_DEVIATION)):
        name = codes.ATTENUATION_COEFFICIENT
        numbers.append(Number(name=name, value=hu, unit=codes.HOUNSFIELD, derivation=derivation))
    is_calibrated = measurements.density_line.is_calibrated
    for name, value, unit, method in (
        (msk.FAT_FRACTION, one.fat_fraction_percent, codes.PERCENT, None),
        (msk.LEAN_MASS, one.lean_mass_g, msk.GRAM, None),
        (
            msk.BONE_DENSITY,
            one.density_mg_cm3,
            msk.MILLIGRAM_PER_CM3,
            msk.CALIBRATED if is_calibrated else msk.UNCALIBRATED,
        ),
        (msk.STRUCTURE_VARIANCE, one.psv, codes.NO_UNITS, None),
        (msk.PREDICTIVE_DICE, one.predictive_dice, codes.NO_UNITS, None),
    ):
        if value is not None:
            numbers.append(Number(name=name, value=value, unit=unit, method=method))
    difference = measurements.differences.get(one.segment.structure.name)
    if difference is not None:
        numbers += _deficits(difference, one.segment.side)
    return tuple(numbers)


def _deficits(difference: SideDifference, side: Side | None) -> list[Number]:
    """What this side has less than the other one."""
    numbers = []
    if difference.smaller is side:
        numbers.append(Number(name=msk.ATROPHY, value=difference.atrophy_percent, unit=codes.PERCENT))
    if difference.less_dense is side:
        value = difference.attenuation_deficit_hu
        numbers.append(Number(name=msk.FATTY_DEGENERATION, value=value, unit=codes.HOUNSFIELD))
    return numbers


# --------------------------------------------------------------------- page


def _fat_or_density(one: StructureMeasures) -> str:
    if one.density_mg_cm3 is not None:
        return f"{one.density_mg_cm3:.0f} mg"
    return "–" if one.fat_fraction_percent is None else f"{one.fat_fraction_percent:.0f} %"


def _predictive_dice(one: StructureMeasures) -> str:
    told = "–" if one.predictive_dice is None else f"{one.predictive_dice:.2f}"
    return f"{told} ?" if one.is_unreliable is None else f"{told} !" if one.is_unreliable else told


Show = Callable[[StructureMeasures], str]
_COLUMNS: tuple[tuple[str, Show], ...] = (
    ("mL", lambda one: f"{one.volume_ml:.0f}{' *' if one.is_truncated else ''}"),
    ("HU ± SD", lambda one: f"{one.mean_hu:.0f} ± {one.sd_hu:.0f}"),
    ("fat % / mg/cm³", _fat_or_density),
    ("pred. Dice", _predictive_dice),
)


def page_content(findings: Findings, images: KeyImages) -> PageContent:
    """The page that a person reads: the table of all structures, and the pictures."""
    overview, uncertainty, sides = (
        PageFigure(png=png_of(picture.rgb_yxc), caption=picture.description) for picture in images.pictures
    )
    page = Page(
        title="Muscles and bones of hip and thigh / 股関節・大腿の筋と骨",
        summary=summary_of(findings),
        tables=(_structure_table(findings.measurements),),
        figures=((overview,), (uncertainty, sides)),
        appendix=(_detail_table(findings.measurements),),
        warnings=findings.warnings,
        notes=(METHOD,),
    )
    return PageContent(page=page, sources=findings.volume.instances, series_label="Muscle PDF")


def _structure_table(measurements: Measurements) -> PageTable:
    """A row for each structure, right and left side by side."""
    header = ("Structure", *(f"{side} {title}" for title, _ in _COLUMNS for side in ("R", "L")), "L - R")
    rows = []
    for structure in STRUCTURES:
        sides = {
            one.segment.side: one
            for one in measurements.structures.values()
            if one.segment.structure is structure
        }
        if not sides:
            continue
        right = sides.get(Side.RIGHT) or sides.get(None)
        left = sides.get(Side.LEFT)
        cells = [show(one) if one else "–" for _, show in _COLUMNS for one in (right, left)]
        rows.append(
            (f"{structure.title} {msk.JAPANESE[structure.name]}", *cells, _compared(structure, measurements))
        )
    return PageTable(
        title="Structures (R right, L left; * cut off by the edge of the scan; ! low expected accuracy, "
        "? not known)",
        header=header,
        rows=tuple(rows),
        is_wide=True,
    )


_ACCURACY = {True: "low accuracy", None: "accuracy not known", False: ""}


def _detail_table(measurements: Measurements) -> PageTable:
    """A row for each structure and side, with every number."""
    found = list(measurements.structures.values())
    density = "mg/cm³" if measurements.density_line.is_calibrated else "mg/cm³, not calibrated"
    rows = [
        (
            title_of(one.segment),
            f"{one.volume_ml:.1f}",
            f"{one.mean_hu:.1f}",
            f"{one.sd_hu:.1f}",
            _cell(one.fat_fraction_percent, 1),
            _cell(one.lean_mass_g, 0),
            _cell(one.density_mg_cm3, 0),
            _cell(None if one.psv is None else 1000 * one.psv, 2),
            _cell(one.predictive_dice, 3),
            ", ".join(filter(None, ("cut off" * one.is_truncated, _ACCURACY[one.is_unreliable]))),
        )
        for one in found
    ]
    return PageTable(
        title="Every structure",
        header=("", "mL", "mean HU", "SD", "fat, %", "lean, g", density, "PSV x 1000", "pred. Dice", ""),
        rows=tuple(rows),
        emphasised=frozenset(row for row, one in enumerate(found) if not one.is_comparable),
    )


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _compared(structure: Structure, measurements: Measurements) -> str:
    """The deficits, as left minus right: volume in percent of the larger side, and HU."""
    difference = measurements.differences.get(structure.name)
    if difference is None:
        return "–"
    percent, hu = signed(difference)
    return f"{percent:+.0f} %, {hu:+.0f} HU"


def signed(difference: SideDifference) -> tuple[float, float]:
    """Left minus right: volume in percent of the larger side, and mean HU."""
    percent = difference.atrophy_percent * (1 if difference.smaller is Side.RIGHT else -1)
    hu = difference.attenuation_deficit_hu * (1 if difference.less_dense is Side.RIGHT else -1)
    return percent, hu


# ------------------------------------------------------------------ outcome


def summary_of(findings: Findings) -> str:
    """The result in one line, without the patient."""
    measurements = findings.measurements
    found = measurements.structures
    parts = [f"{len(found)} of {len(SEGMENTS)} structures found"]
    truncated = sum(one.is_truncated for one in found.values())
    doubtful = sum(one.is_unreliable is True for one in found.values())
    parts += [f"{truncated} cut off by the edge of the scan"] if truncated else []
    parts += [f"{doubtful} of low expected accuracy"] if doubtful else []
    for name in SHOWN_MUSCLES:
        if name in measurements.differences:
            sides = {one.segment.side: one for one in found.values() if one.segment.structure.name == name}
            right, left = sides[Side.RIGHT], sides[Side.LEFT]
            parts.append(
                f"{right.segment.structure.title.lower()} R {right.volume_ml:.0f} mL {right.mean_hu:.0f} HU, "
                f"L {left.volume_ml:.0f} mL {left.mean_hu:.0f} HU"
            )
    return "; ".join(parts)


def outcome_of(findings: Findings) -> Outcome:
    """The summary, and every number by a stable key such as ``femur_right_volume``."""
    measurements = findings.measurements
    entries: dict[str, Mapping[str, Any]] = {}
    for one in measurements.structures.values():
        for name, value, unit in (
            ("volume", one.volume_ml, "mL"),
            ("mean_hu", one.mean_hu, "[hnsf'U]"),
            ("sd_hu", one.sd_hu, "[hnsf'U]"),
            ("fat_fraction", one.fat_fraction_percent, "%"),
            ("lean_mass", one.lean_mass_g, "g"),
            ("density", one.density_mg_cm3, "mg/cm3"),
            ("psv", one.psv, "1"),
            ("predictive_dice", one.predictive_dice, "1"),
        ):
            if value is not None:
                entries[f"{one.segment.name}_{name}"] = {"value": value, "unit": unit}
        entries[f"{one.segment.name}_volume"] = {
            **entries[f"{one.segment.name}_volume"],
            "is_truncated": one.is_truncated,
            "is_unreliable": one.is_unreliable,
        }
    for name, difference in measurements.differences.items():
        entries[f"{name}_atrophy_ratio"] = {
            "value": difference.atrophy_percent,
            "unit": "%",
            "side": difference.smaller.value,
        }
        entries[f"{name}_attenuation_deficit"] = {
            "value": difference.attenuation_deficit_hu,
            "unit": "[hnsf'U]",
            "side": difference.less_dense.value,
        }
    for name, reason in measurements.not_compared.items():
        for key, unit in (("atrophy_ratio", "%"), ("attenuation_deficit", "[hnsf'U]")):
            entries[f"{name}_{key}"] = {"value": None, "unit": unit, "why_missing": reason}
    return Outcome(summary=summary_of(findings), measurements=entries, warnings=findings.warnings)
