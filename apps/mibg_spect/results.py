"""Findings of mibg_spect as segments, measurement groups, the report's page and a summary.

Pure: nothing here reads or writes DICOM files. Codes are PS3.16's where they exist;
the others are private and are those of the science's code table (`Quantity.code`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from apps.mibg_spect.chart import chart
from apps.mibg_spect.findings import Findings, value_of
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.pictures import key_images
from operators.encode import codes
from operators.encode.identity import Producer
from operators.encode.messages import KeyImages, LabelVolume, PageContent, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import png_of
from operators.encode.report import Group, Number, SegmentReference, TimePoint
from operators.encode.result import Outcome
from operators.encode.segmentation import Segment
from operators.measure.quantity import Quantity, missing

MEDIASTINUM_LABEL = 5
"""The reference box is a segment too, so that a reader sees what the ratio is of."""
SEGMENTS = (
    Segment(
        label=LABELS["lung_right"],
        name="Right lung",
        property_type=codes.LUNG,
        laterality=codes.RIGHT,
        colour_rgb=(126, 224, 129),
    ),
    Segment(
        label=LABELS["lung_left"],
        name="Left lung",
        property_type=codes.LUNG,
        laterality=codes.LEFT,
        colour_rgb=(92, 190, 140),
    ),
    Segment(label=LABELS["liver"], name="Liver", property_type=codes.LIVER, colour_rgb=(255, 180, 84)),
    Segment(label=LABELS["heart"], name="Heart", property_type=codes.HEART, colour_rgb=(226, 70, 70)),
    Segment(
        label=MEDIASTINUM_LABEL,
        name="Mediastinum (reference box)",
        property_type=codes.MEDIASTINUM,
        colour_rgb=(86, 200, 255),
    ),
)
ORGANS = {**{name: value for name, value in LABELS.items()}, "mediastinum": MEDIASTINUM_LABEL}
PROCEDURE = codes.private("MIBG_SCAN", "I-123 MIBG scintigraphy")
UPTAKE = codes.private("MIBG_UPTAKE", "Cardiac MIBG uptake")
PLANAR_UPTAKE = codes.private("MIBG_UPTAKE_2D", "Cardiac MIBG uptake, planar")
WASHOUT = codes.private("MIBG_WASHOUT", "Cardiac MIBG washout")
STANDARD_NAMES = {"VOLUME": codes.VOLUME, "TOMO_COUNTS": codes.NM_TOMOGRAPHIC_ACTIVITY}
MEANINGS = {
    "MINUTES_PI": "time after injection",
    "HEART_COUNT_NORM": "heart counts for decay, dose and weight",
    "H_MEDIASTINUM": "heart-to-mediastinum ratio (SPECT)",
    "H_LUNG": "heart-to-lung ratio (SPECT)",
    "H_LIVER": "heart-to-liver ratio (SPECT)",
    "WASHOUT_SPECT": "washout rate (SPECT)",
    "WASHOUT_SPECT_BG": "washout rate (SPECT), mediastinum subtracted",
    "PLANAR_COUNTS": "Mean counts of a planar region",
    "HMR_RAW": "heart-to-mediastinum ratio (planar), as measured",
    "HMR_STD": "heart-to-mediastinum ratio (planar), standardised",
    "CC_COLL": "conversion coefficient of the collimator",
    "WR_BG": "washout rate (planar), background subtracted",
    "WR_NOBG": "washout rate (planar), no background",
    "WR_HMR": "fall of the planar ratio",
}
"""Of private codes of measurements: one meaning each. Which organ and time is the group's to say."""
MISSING_PHASE = {
    Phase.EARLY: "There is no early SPECT: early counts and ratios, and washout, are missing.",
    Phase.LATE: "There is no late SPECT: late counts and ratios, and washout, are missing.",
}
PLANAR_PREFIXES = ("planar_", "hmr_", "collimator_")
TIME_PREFIX = "minutes_after_injection"
SITES = {"heart": codes.HEART, "lung": codes.LUNG, "liver": codes.LIVER, "mediastinum": codes.MEDIASTINUM}
LABEL_ROLES = ("segmentation", "segmentation_late")


def missing_input_warnings(spect: Iterable[Phase], planar: Iterable[Phase]) -> tuple[str, ...]:
    """What a reader must know of the images that are not there.

    >>> missing_input_warnings([Phase.EARLY, Phase.LATE], [Phase.EARLY])
    ('There is no late planar view: its ratio, and planar washout, are missing.',)
    """
    warnings = [text for phase, text in MISSING_PHASE.items() if phase not in set(spect)]
    absent = [phase for phase in Phase if phase not in set(planar)]
    if len(absent) == len(Phase):
        return (*warnings, "There is no planar view: planar ratios and washout are missing.")
    for phase in absent:
        warnings.append(f"There is no {phase} planar view: its ratio, and planar washout, are missing.")
    return tuple(warnings)


def role_of(findings: Findings, phase: Phase) -> str:
    """Role of the SEG of a phase: the reference's is plain ``segmentation``."""
    return LABEL_ROLES[0] if phase is findings.segmentation.reference else LABEL_ROLES[1]


def label_volumes(findings: Findings) -> tuple[LabelVolume, ...]:
    """The organs of each phase, and the reference box where no organ is, on that phase's grid."""
    volumes = []
    for phase, volume in findings.volumes.items():
        labels = np.array(findings.segmentation.labels_zyx[phase], dtype=np.uint8)
        box = findings.measurements.mediastinum_zyx[phase]
        labels[box & (labels == 0)] = MEDIASTINUM_LABEL
        role = role_of(findings, phase)
        volumes.append(
            LabelVolume(
                labels_zyx=labels,
                geometry=volume.geometry,
                sources=volume.instances,
                segments=SEGMENTS,
                frame_numbers=tuple(frame for _, frame in volume.source_frames),
                role=role,
                series_label=f"MIBG organs {phase}",
                ordinal=1 if role == LABEL_ROLES[0] else 2,
            )
        )
    return tuple(volumes)


def report_content(findings: Findings) -> ReportContent:
    """The SR: a group for each organ and phase, one for each phase's ratios, one for washout."""
    groups: list[Group] = []
    for phase in findings.volumes:
        groups += _organ_groups(findings, phase)
    for phase in Phase:
        groups += _uptake_groups(findings, phase)
    groups += _washout_group(findings)
    return ReportContent(
        groups=tuple(groups),
        sources=sources_of(findings),
        procedure=PROCEDURE,
        warnings=findings.warnings,
        is_complete=len(findings.volumes) == len(Phase),
        series_label="MIBG report",
    )


def sources_of(findings: Findings) -> tuple[Dataset, ...]:
    """Headers of every image that was analysed, SPECT first."""
    acquisitions = [*findings.volumes.values(), *findings.planar.values()]
    return tuple(instance for acquisition in acquisitions for instance in acquisition.instances)


def key_image_content(findings: Findings, producer: Producer) -> KeyImages:
    """Key images, and what they show."""
    return KeyImages(
        pictures=key_images(findings, producer.statement),
        sources=sources_of(findings),
        series_label="MIBG key images",
    )


# ------------------------------------------------------------------- groups


def _organ_groups(findings: Findings, phase: Phase) -> list[Group]:
    labels = next(v.labels_zyx for v in label_volumes(findings) if v.role == role_of(findings, phase))
    groups = []
    for segment in SEGMENTS:
        if not np.any(labels == segment.label):
            continue
        quantities = [
            q
            for q in findings.measurements.quantities
            if q.phase == phase and not _is_planar(q) and ORGANS.get(q.organ) == segment.label
        ]
        groups.append(
            Group(
                tracking_id=segment.name,
                finding=segment.property_type,
                category=segment.category,
                site=segment.property_type,
                laterality=segment.laterality,
                segment=SegmentReference(label=segment.label, role=role_of(findings, phase)),
                time=_time(findings, phase),
                numbers=_numbers(quantities),
                comments=missing(quantities),
            )
        )
    return groups


def _uptake_groups(findings: Findings, phase: Phase) -> list[Group]:
    """What belongs to no segment: SPECT numbers of other organs, and the planar view's."""
    groups = []
    for name, finding, is_planar, acquisition in (
        ("Cardiac MIBG uptake", UPTAKE, False, findings.volumes.get(phase)),
        ("Planar cardiac MIBG uptake", PLANAR_UPTAKE, True, findings.planar.get(phase)),
    ):
        quantities = [
            q
            for q in findings.measurements.quantities
            if q.phase == phase
            and _is_planar(q) is is_planar
            and (is_planar or q.organ not in ORGANS)
            and not q.name.startswith(TIME_PREFIX)
        ]
        if acquisition is None or not quantities:
            continue
        groups.append(
            Group(
                tracking_id=name,
                finding=finding,
                site=codes.HEART,
                images=acquisition.instances,
                time=TimePoint(name=phase.value, offset=acquisition.minutes_after_injection),
                numbers=_numbers(quantities),
                comments=missing(quantities),
            )
        )
    return groups


def _washout_group(findings: Findings) -> list[Group]:
    quantities = [q for q in findings.measurements.quantities if q.phase == ""]
    numbers = _numbers(quantities) + _administration(findings)
    comments = missing(quantities)
    if not numbers and not comments:
        return []
    return [
        Group(
            tracking_id="Cardiac MIBG washout",
            finding=WASHOUT,
            site=codes.HEART,
            images=sources_of(findings),
            numbers=numbers,
            comments=comments,
        )
    ]


def _administration(findings: Findings) -> tuple[Number, ...]:
    for volume in findings.volumes.values():
        if volume.administered_activity_mbq is not None:
            value = volume.administered_activity_mbq
            return (Number(name=codes.ADMINISTERED_ACTIVITY, value=value, unit=codes.MEGABECQUEREL),)
    return ()


def _is_planar(quantity: Quantity) -> bool:
    return quantity.name.startswith(PLANAR_PREFIXES)


def _time(findings: Findings, phase: Phase) -> TimePoint:
    return TimePoint(name=phase.value, offset=findings.volumes[phase].minutes_after_injection)


def _numbers(quantities: Sequence[Quantity]) -> tuple[Number, ...]:
    return tuple(
        Number(
            name=_name(q),
            value=q.value,
            unit=codes.unit_code(q.unit),
            derivation=codes.MEAN if q.unit in ("{counts}", "{propcounts}") else None,
            site=SITES.get(q.organ) if q.unit == "{counts}" else None,
        )
        for q in quantities
        if q.value is not None
    )


def _name(quantity: Quantity) -> Code:
    """The standard's concept where there is one, else the private code with its one meaning."""
    return STANDARD_NAMES.get(quantity.code) or codes.private(quantity.code, MEANINGS[quantity.code])


# --------------------------------------------------------------------- page

RATIO_ROWS = (
    ("hmr_std", "Planar HMR, standardised", 2),
    ("hmr", "Planar HMR, as measured", 2),
    ("heart_mediastinum", "SPECT heart/mediastinum", 2),
    ("heart_lung", "SPECT heart/lung", 2),
    ("heart_liver", "SPECT heart/liver", 2),
)
COUNT_ROWS = (
    ("heart_counts", "Heart, counts/voxel", 1),
    ("mediastinum_counts", "Mediastinum, counts/voxel", 1),
    ("lung_counts", "Lungs, counts/voxel", 1),
    ("liver_counts", "Liver, counts/voxel", 1),
    ("heart_counts_norm", "Heart, normalised (MBq, kg)", 2),
    ("heart_volume", "Heart volume, mL", 0),
    ("minutes_after_injection", "Minutes after injection", 0),
)
WASHOUT_ROWS = (
    ("washout_planar_bg", "Planar, background-corrected"),
    ("washout_planar", "Planar"),
    ("washout_hmr", "From planar HMR"),
    ("washout_spect_bg", "SPECT, background-corrected"),
    ("washout_spect", "SPECT"),
)
METHOD = (
    "Method: lungs and liver, then the heart, are segmented by 3-D U-Nets on both acquisitions; the "
    "reference box is placed in the upper mediastinum. Washout is corrected for the decay of I-123 "
    "(half-life 13.2 h). Planar ratios are standardised to medium-energy collimators by the site's "
    "conversion coefficient: 1 + (HMR - 1) x 0.88 / coefficient."
)


def page_content(findings: Findings, images: KeyImages, producer: Producer) -> PageContent:
    """The page that a person reads, with the first key image on it."""
    overview, *others = (PageFigure(png=png_of(p.rgb_yxc), caption=p.description) for p in images.pictures)
    bars = chart(findings.measurements, producer.statement)
    second_row: tuple[PageFigure, ...] = (PageFigure(png=png_of(bars.rgb_yxc), caption=bars.description),)
    if findings.planar:
        second_row = (others[-1], *second_row)
    page = Page(
        title="I-123 MIBG: cardiac uptake and washout",
        summary=summary_of(findings),
        tables=(
            _phase_table(findings, "Uptake ratios", RATIO_ROWS),
            _phase_table(findings, "Counts and volumes (SPECT)", COUNT_ROWS),
            _washout_table(findings),
            _acquisition_table(findings),
        ),
        figures=((overview,), second_row),
        warnings=findings.warnings,
        notes=(METHOD,),
    )
    return PageContent(page=page, sources=sources_of(findings), series_label="MIBG PDF")


def summary_of(findings: Findings) -> str:
    """The result in one line, without the patient.

    What matters most comes first: late standardised planar ratio, then washout, then SPECT.
    """
    measurements = findings.measurements
    parts = []
    for name, text, digits, unit in (
        ("hmr_std_late", "late planar HMR (standardised)", 2, ""),
        ("hmr_std_early", "early planar HMR (standardised)", 2, ""),
        ("washout_planar_bg", "planar washout", 0, " %"),
        ("heart_mediastinum_late", "late SPECT heart/mediastinum", 2, ""),
        ("heart_mediastinum_early", "early SPECT heart/mediastinum", 2, ""),
        ("washout_spect", "SPECT washout", 0, " %"),
    ):
        value = value_of(measurements, name)
        parts += [] if value is None else [f"{text} {value:.{digits}f}{unit}"]
    text = "; ".join(parts) or "no ratio could be measured"
    return text[:1].upper() + text[1:]


def outcome_of(findings: Findings) -> Outcome:
    """Numbers and warnings for ``result.json``."""
    entries: dict[str, dict[str, Any]] = {}
    for quantity in findings.measurements.quantities:
        entries[quantity.name] = {"value": quantity.value, "unit": quantity.unit, "meaning": quantity.meaning}
        if quantity.value is None:
            entries[quantity.name]["why_missing"] = quantity.why_missing
    return Outcome(summary=summary_of(findings), measurements=entries, warnings=findings.warnings)


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _phase_table(findings: Findings, title: str, rows: Sequence[tuple[str, str, int]]) -> PageTable:
    lines = []
    for name, label, digits in rows:
        values = [value_of(findings.measurements, f"{name}_{phase}") for phase in Phase]
        lines.append((label, *(_text(value, digits) for value in values)))
    return PageTable(title=title, header=("", "early", "late"), rows=tuple(lines))


def _washout_table(findings: Findings) -> PageTable:
    rows = [(label, _text(value_of(findings.measurements, name), 0)) for name, label in WASHOUT_ROWS]
    return PageTable(title="Washout", header=("", "%"), rows=tuple(rows))


def _acquisition_table(findings: Findings) -> PageTable:
    rows = []
    for phase in Phase:
        volume = findings.volumes.get(phase)
        when = "–" if volume is None or volume.acquisition_datetime is None else _moment(volume)
        rows.append((f"{phase.value.capitalize()} SPECT", when))
    first = next(iter(findings.volumes.values()))
    rows.append(("Activity, MBq", _text(first.administered_activity_mbq, 0)))
    rows.append(("Weight, kg", _text(first.patient_weight_kg, 1)))
    names = dict.fromkeys(a.collimator_name for a in findings.planar.values() if a.collimator_name)
    coefficients = [value_of(findings.measurements, f"collimator_coefficient_{phase}") for phase in Phase]
    known = [f"{value:.2f}" for value in dict.fromkeys(coefficients) if value is not None]
    rows.append(("Collimator (coefficient)", f"{', '.join(names) or '–'} ({', '.join(known) or '–'})"))
    return PageTable(title="Acquisition", header=(), rows=tuple(rows))


def _moment(volume: Any) -> str:
    return f"{volume.acquisition_datetime:%Y-%m-%d %H:%M}"
