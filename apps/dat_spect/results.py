"""Findings of dat_spect as segments, a map, measurement groups, the report's page and a summary.

Pure: nothing here reads or writes DICOM files. Codes are PS3.16's where they exist; the others
are private and are those of the science's code table (`Quantity.code`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydicom.sr.coding import Code

from apps.dat_spect.findings import FEATURE_MEANINGS, SAID, Answer, Findings, said_probability
from apps.dat_spect.labels import LABELS, Feature, Side
from apps.dat_spect.normal import NormalRange
from apps.dat_spect.pictures import key_images
from operators.encode import codes
from operators.encode.identity import Producer
from operators.encode.messages import KeyImages, LabelVolume, MapVolume, PageContent, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import png_of
from operators.encode.report import Group, Number, Quality, SegmentReference, TimePoint, ZScore
from operators.encode.result import Outcome
from operators.encode.segmentation import Segment
from operators.measure.quantity import Quantity, missing

CAUDATE = Code("11000004", "SCT", "Caudate Nucleus")
PUTAMEN = Code("89278009", "SCT", "Putamen")
STRIATUM = Code("31428008", "SCT", "Corpus striatum")
BRAIN = Code("12738006", "SCT", "Brain")
NORMAL = Code("17621005", "SCT", "Normal")
ABNORMAL = Code("263654008", "SCT", "Abnormal")
EQUIVOCAL = Code("42425007", "SCT", "Equivocal")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
INDETERMINATE = Code("82334004", "SCT", "Indeterminate")
SUBJECT_AGE = Code("121033", "DCM", "Subject Age")
PARKINSON = Code("G20", "I10", "Parkinson's disease")
LEWY_BODIES = Code("G31.8", "I10", "Other specified degenerative diseases of nervous system")
SIDES = {Side.RIGHT: codes.RIGHT, Side.LEFT: codes.LEFT}
COLOURS = {"caudate": (255, 214, 102), "putamen": (126, 224, 129)}
SEGMENTS = (
    *(
        Segment(
            label=LABELS[f"{kind}_{side}"],
            name=f"{side.value.capitalize()} {kind}",
            property_type=CAUDATE if kind == "caudate" else PUTAMEN,
            laterality=SIDES[side],
            colour_rgb=COLOURS[kind],
        )
        for kind in ("caudate", "putamen")
        for side in Side
    ),
    Segment(
        label=LABELS["reference"],
        name="Reference region (brain without striata)",
        property_type=BRAIN,
        colour_rgb=(86, 200, 255),
    ),
)
PROCEDURE = codes.private("DAT_SCAN", "I-123 ioflupane SPECT")
RATIO_MAP = codes.private("SBR_MAP", "Binding ratio: counts over reference, less 1")
BOLT = codes.private("BOLT", "All counts around a striatum (Bolt)")
AS_IMAGED = codes.private("ROI", "Mean of a region, partial volume included")
DEFICIT = codes.private("DAT_DEFICIT", "Presynaptic dopaminergic deficit")
CLASSIFICATION = codes.private("AI_CLASS", "AI classification")
MEANINGS = {
    "SBR": "Specific binding ratio",
    "SBR_EXPECTED": "Specific binding ratio expected at age and sex",
    "SBR_ROI": "Binding ratio of a region as imaged",
    "SBR_ANTE": "Binding ratio of the anterior half as imaged",
    "SBR_POST": "Binding ratio of the posterior half as imaged",
    "PC_RATIO": "Putamen to caudate ratio",
    "AI": "Asymmetry index of the striata",
    "AI_CAUDATE": "Asymmetry index of the caudate nuclei",
    "AI_PUTAMEN": "Asymmetry index of the putamina",
    "REF_COUNTS": "Counts of the reference region per millilitre",
    "DAT_EXPLAINED": "Share of the striata explained by the template",
    "DAT_F4": "Probability of a deficit by the picture alone",
    "DAT_MODEL1": "Probability of a deficit by ratio and asymmetry alone",
}
"""Of private codes of measurements: one meaning each. Which side and structure is the group's to say."""
FEATURE_CODES = {
    feature: codes.private(code, meaning.partition(": ")[2].capitalize())
    for feature, (meaning, code) in FEATURE_MEANINGS.items()
}
ANSWERS = {Answer.NORMAL: NORMAL, Answer.EQUIVOCAL: EQUIVOCAL, Answer.ABNORMAL: ABNORMAL}
PRESENT_FROM = 0.5
MAP_WINDOW = (0.0, 8.0)
PARTIAL_VOLUME = (
    "The ratio of a region is as imaged: blur between the region and its neighbours (partial volume) makes "
    "it lower than the true one, and lower than Bolt's ratio of the whole striatum."
)
NEITHER = (
    "AI, research use: no diagnosis. The probability is that of a presynaptic deficit, which Parkinson's "
    "disease, multiple system atrophy, progressive supranuclear palsy and dementia with Lewy bodies have "
    "in common; this algorithm does not tell them apart and gives none of them a probability of its own. "
    "That no deficit was found excludes no other disease."
)


def label_volumes(findings: Findings) -> tuple[LabelVolume, ...]:
    """Caudates, putamina and the reference region on the scan's grid."""
    volume = findings.scan.volume
    return (
        LabelVolume(
            labels_zyx=findings.scan.uptake.labels_zyx,
            geometry=volume.geometry,
            sources=volume.instances,
            segments=SEGMENTS,
            frame_numbers=tuple(frame for _, frame in volume.source_frames),
            series_label="DaT striata",
        ),
    )


def maps(findings: Findings) -> tuple[MapVolume, ...]:
    """The binding ratio of every voxel of the head."""
    volume = findings.scan.volume
    return (
        MapVolume(
            values_zyx=findings.scan.uptake.ratio_zyx,
            geometry=volume.geometry,
            sources=volume.instances,
            quantity=RATIO_MAP,
            unit=codes.RATIO,
            label="specific binding ratio of each voxel, as imaged",
            frame_numbers=tuple(frame for _, frame in volume.source_frames),
            series_label="DaT ratio map",
            window=MAP_WINDOW,
        ),
    )


def report_content(findings: Findings) -> ReportContent:
    """The SR: structures, striata, features, disease."""
    return ReportContent(
        groups=(
            *_structure_groups(findings),
            *_striatum_groups(findings),
            _both_striata(findings),
            _examination_group(findings),
            *_feature_groups(findings),
            _disease_group(findings),
        ),
        sources=findings.scan.volume.instances,
        procedure=PROCEDURE,
        warnings=findings.warnings,
        is_complete=findings.probability is not None,
        series_label="DaT report",
    )


def key_image_content(findings: Findings, producer: Producer) -> KeyImages:
    """Key images, and what they show."""
    return KeyImages(
        pictures=key_images(findings, producer.statement),
        sources=findings.scan.volume.instances,
        series_label="DaT key images",
    )


# ------------------------------------------------------------------- groups


def _time(findings: Findings) -> TimePoint:
    return TimePoint(name="scan", offset=findings.scan.volume.minutes_after_injection)


def _structure_groups(findings: Findings) -> list[Group]:
    groups = []
    for segment in SEGMENTS:
        name = next(name for name, value in LABELS.items() if value == segment.label)
        quantities = [q for q in findings.quantities if q.organ == name]
        comments = missing(quantities) + (() if name == "reference" else (PARTIAL_VOLUME,))
        # Voxels may be too coarse for a structure: its numbers stay, without a segment to show.
        is_drawn = bool((findings.scan.uptake.labels_zyx == segment.label).any())
        if not is_drawn:
            comments += ("No voxel of the scan lies mostly within this structure: it has no segment.",)
        groups.append(
            Group(
                tracking_id=segment.name,
                finding=segment.property_type,
                category=segment.category,
                site=segment.property_type,
                laterality=segment.laterality,
                segment=SegmentReference(label=segment.label) if is_drawn else None,
                images=() if is_drawn else findings.scan.volume.instances,
                time=_time(findings),
                numbers=_numbers(findings, quantities, AS_IMAGED),
                comments=comments,
            )
        )
    return groups


def _striatum_groups(findings: Findings) -> list[Group]:
    groups = []
    for side in Side:
        quantities = [q for q in findings.quantities if q.organ == f"striatum_{side}"]
        groups.append(
            Group(
                tracking_id=f"{side.value.capitalize()} striatum",
                finding=STRIATUM,
                category=codes.ANATOMICAL_STRUCTURE,
                site=STRIATUM,
                laterality=SIDES[side],
                images=findings.scan.volume.instances,
                time=_time(findings),
                numbers=_numbers(findings, quantities, BOLT),
                comments=missing(quantities),
            )
        )
    return groups


STUDY_NUMBERS = (
    "sbr_striatum_mean", "z_striatum_mean", "sbr_expected", "asymmetry_index", "asymmetry_caudate",
    "asymmetry_putamen",
)  # fmt: skip


def _both_striata(findings: Findings) -> Group:
    quantities = [q for q in findings.quantities if q.name in STUDY_NUMBERS]
    comments = list(missing(quantities))
    if findings.normal is not None:
        normal = findings.normal
        comments.append(
            f"Range of normal: {population_of(normal)}; standard deviation {normal.spread:.0%} of the mean, "
            f"known within {normal.spread / math.sqrt(2 * normal.n):.1%}, and the mean within "
            f"{normal.spread / math.sqrt(normal.n):.1%} in the middle of these ages. Of one side, z is a "
            "little too far from 0: the spread is that of the mean of both."
        )
    return Group(
        tracking_id="Both striata",
        finding=STRIATUM,
        category=codes.ANATOMICAL_STRUCTURE,
        site=STRIATUM,
        images=findings.scan.volume.instances,
        time=_time(findings),
        numbers=_numbers(findings, quantities, BOLT),
        comments=tuple(comments),
    )


EXAMINATION_NUMBERS = ("age", "administered_activity", "striata_explained")


def _examination_group(findings: Findings) -> Group:
    """What belongs to no structure."""
    quantities = [q for q in findings.quantities if q.name in EXAMINATION_NUMBERS]
    return Group(
        tracking_id="Examination",
        finding=PROCEDURE,
        images=findings.scan.volume.instances,
        numbers=_numbers(findings, quantities, BOLT),
        comments=missing(quantities),
    )


def population_of(normal: NormalRange) -> str:
    """Who makes a range of normal, in words."""
    return (
        f"{normal.n} healthy subjects of the model's training data, {normal.youngest_years:.0f} to "
        f"{normal.oldest_years:.0f} years old, by age and sex"
    )


def _feature_groups(findings: Findings) -> list[Group]:
    groups = []
    for feature, probability in findings.features.items():
        is_present = probability >= PRESENT_FROM
        groups.append(
            Group(
                tracking_id=FEATURE_MEANINGS[feature][0],
                finding=FEATURE_CODES[feature],
                site=STRIATUM,
                images=findings.scan.volume.instances,
                numbers=(Number(name=codes.PROBABILITY, value=probability, unit=codes.RATIO),),
                qualities=(Quality(name=CLASSIFICATION, value=PRESENT if is_present else ABSENT),),
            )
        )
    return groups


def _disease_group(findings: Findings) -> Group:
    quantities = [q for q in findings.quantities if q.name.startswith("p_deficit")]
    numbers = tuple(
        Number(
            name=codes.PROBABILITY if quantity.name == "p_deficit" else _name(quantity),
            value=quantity.value,
            unit=codes.RATIO,
        )
        for quantity in quantities
        if quantity.value is not None
    )
    qualities: tuple[Quality, ...] = ()
    if findings.answer is not None:
        # A disease is the question here, never the answer: whoever collects answers finds no diagnosis.
        qualities = (
            Quality(name=CLASSIFICATION, value=ANSWERS[findings.answer]),
            *(Quality(name=disease, value=INDETERMINATE) for disease in (PARKINSON, LEWY_BODIES)),
        )
    return Group(
        tracking_id="Presynaptic deficit",
        finding=DEFICIT,
        site=STRIATUM,
        images=findings.scan.volume.instances,
        numbers=numbers,
        qualities=qualities,
        comments=(*missing(quantities), NEITHER),
    )


def _numbers(findings: Findings, quantities: Sequence[Quantity], method: Code) -> tuple[Number, ...]:
    """NUM items; the z of a ratio is a property of it."""
    z_of = {q.name.removeprefix("z_"): q.value for q in quantities if q.name.startswith("z_")}
    out = []
    for quantity in quantities:
        if quantity.value is None or quantity.name.startswith("z_"):
            continue
        z = z_of.get(quantity.name.removeprefix("sbr_"))
        out.append(
            Number(
                name=_name(quantity),
                value=quantity.value,
                unit=codes.unit_code(quantity.unit),
                method=method if quantity.code.startswith("SBR") else None,
                derivation=codes.MEAN if quantity.name == "sbr_striatum_mean" else None,
                z=None
                if z is None or findings.normal is None
                else ZScore(value=z, population=population_of(findings.normal)),
            )
        )
    return tuple(out)


STANDARD_NAMES = {"VOLUME": codes.VOLUME, "ACTIVITY": codes.ADMINISTERED_ACTIVITY, "AGE": SUBJECT_AGE}


def _name(quantity: Quantity) -> Code:
    """The standard's concept where there is one, else the private code with its one meaning."""
    return STANDARD_NAMES.get(quantity.code) or codes.private(quantity.code, MEANINGS[quantity.code])


# --------------------------------------------------------------------- page

METHOD = (
    "Method: a striatal template is laid over the scan with 12 parameters. Striatal ratio (Bolt): all counts "
    "of a generous volume around a striatum over the reference's, less that volume, over 11.2 mL; it "
    "does not depend on blur. Ratios of caudate and putamen are as imaged and do. z: distance from normal "
    "subjects of the same age and sex. F1 by gradient boosting, F2 by nearest neighbours, F3 by logistic "
    "regression on the mean of 44 mm; their probabilities and age make that of a deficit. F4 sees the "
    "picture alone and is given for comparison."
)


def page_content(findings: Findings, images: KeyImages) -> PageContent:
    """The page that a person reads, with both key images on it."""
    page = Page(
        title="I-123 ioflupane SPECT: striatal dopamine transporter",
        summary=summary_of(findings),
        tables=(
            _ratio_table(findings),
            _probability_table(findings),
            _z_table(findings),
            _acquisition_table(findings),
        ),
        figures=tuple(
            (PageFigure(png=png_of(picture.rgb_yxc), caption=picture.description),)
            for picture in images.pictures
        ),
        warnings=findings.warnings,
        notes=(METHOD, NEITHER),
    )
    return PageContent(page=page, sources=findings.scan.volume.instances, series_label="DaT PDF")


def summary_of(findings: Findings) -> str:
    """The result in one line, without the patient."""
    parts = []
    if findings.answer is not None and findings.probability is not None:
        parts.append(
            f"{SAID[findings.answer]} (probability of a deficit {said_probability(findings.probability)})"
        )
    elif findings.scan.why_undecided:
        parts.append("no conclusion (see warnings)")
    ratios = " / ".join(_text(findings.value(f"sbr_striatum_{side}"), 2) for side in Side)
    parts.append(f"striatal binding ratio right / left {ratios}")
    z = findings.value("z_striatum_mean")
    parts += [] if z is None else [f"z {z:+.1f}"]
    asymmetry = findings.value("asymmetry_index")
    parts += [] if asymmetry is None else [f"asymmetry {asymmetry:.0f} %"]
    seen = [
        FEATURE_MEANINGS[f][0].partition(": ")[2] for f, p in findings.features.items() if p >= PRESENT_FROM
    ]
    if findings.features:
        parts.append(f"features: {', '.join(seen) or 'none'}")
    return f"AI, research use: {'; '.join(parts)}"


def outcome_of(findings: Findings) -> Outcome:
    """Numbers and warnings for ``result.json``."""
    entries: dict[str, dict[str, Any]] = {}
    for quantity in findings.quantities:
        entries[quantity.name] = {"value": quantity.value, "unit": quantity.unit, "meaning": quantity.meaning}
        if quantity.value is None:
            entries[quantity.name]["why_missing"] = quantity.why_missing
    return Outcome(summary=summary_of(findings), measurements=entries, warnings=findings.warnings)


def _text(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _sides(findings: Findings, pattern: str, digits: int, *, sign: bool = False) -> tuple[str, str]:
    right, left = (_text(findings.value(pattern.format(side)), digits, sign=sign) for side in Side)
    return right, left


def _ratio_table(findings: Findings) -> PageTable:
    rows = [
        ("Striatum (Bolt)", "sbr_striatum_{}"),
        ("Caudate, as imaged", "sbr_caudate_{}"),
        ("Putamen, as imaged", "sbr_putamen_{}"),
        ("  anterior half", "sbr_putamen_anterior_{}"),
        ("  posterior half", "sbr_putamen_posterior_{}"),
        ("Putamen / caudate", "putamen_caudate_{}"),
    ]
    return PageTable(
        title="Binding ratios",
        header=("", "right", "left"),
        rows=tuple((label, *_sides(findings, pattern, 2)) for label, pattern in rows),
    )


def _z_table(findings: Findings) -> PageTable:
    rows = [
        (f"z, {kind}", *_sides(findings, f"z_{kind}_{{}}", 1, sign=True))
        for kind in ("striatum", "caudate", "putamen")
    ]
    asymmetries = [
        (label, _text(findings.value(name), 0), "")
        for label, name in (
            ("Asymmetry index, striatum, %", "asymmetry_index"),
            ("Asymmetry index, caudate, %", "asymmetry_caudate"),
            ("Asymmetry index, putamen, %", "asymmetry_putamen"),
        )
    ]
    return PageTable(title="Against age and side", header=("", "right", "left"), rows=(*rows, *asymmetries))


def _probability_table(findings: Findings) -> PageTable:
    rows = [(FEATURE_MEANINGS[f][0], said_probability(findings.features.get(f))) for f in Feature]
    rows += [
        (text, said_probability(findings.value(name)))
        for text, name in (
            ("Presynaptic deficit (F1, F2, F3, age)", "p_deficit"),
            ("for comparison: picture alone (F4)", "p_deficit_direct"),
            ("for comparison: ratio and asymmetry", "p_deficit_ratios"),
        )
    ]
    return PageTable(title="Probabilities", header=(), rows=tuple(rows))


def _acquisition_table(findings: Findings) -> PageTable:
    scan = findings.scan
    volume = scan.volume
    when = "–" if volume.acquisition_datetime is None else f"{volume.acquisition_datetime:%Y-%m-%d %H:%M}"
    rows = (
        ("Acquired", when),
        ("Minutes after injection", _text(volume.minutes_after_injection, 0)),
        ("Activity, MBq", _text(volume.administered_activity_mbq, 0)),
        ("Attenuation correction", "here (Chang)" if scan.is_corrected_here else "by the scanner"),
        ("  known", scan.correction_source.value),
        ("Explained by the template", f"{findings.scan.registration.explained:.0%}"),
    )
    return PageTable(title="Acquisition", header=(), rows=rows)
