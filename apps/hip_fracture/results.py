"""Findings of hip_fracture as measurement groups, marks on images, the report's page and a summary.

Pure: nothing here reads or writes DICOM files. One group for each hip and view, with the box in its image,
    and one
for each hip, which holds the decision and refers to all its images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apps.hip_fracture.answers import ANSWERS, lines_of, verdict_of
from apps.hip_fracture.classify import Reading
from apps.hip_fracture.detect import box_yx
from apps.hip_fracture.findings import Findings, HipFindings
from apps.hip_fracture.labels import SIDE_TITLES, VIEW_TITLES
from apps.hip_fracture.pictures import key_images
from operators.encode import codes
from operators.encode.classification import classification_group, measured_probabilities, percent_text
from operators.encode.identity import Producer
from operators.encode.marks import Box
from operators.encode.messages import KeyImages, Markings, PageContent, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import png_of
from operators.encode.report import Group, Region
from operators.encode.result import Outcome
from operators.read.projection import Side, View

PROCEDURE = codes.private("HIP_XRAY", "Radiography of the hip")
FRACTURE = codes.private("HIP_FRACTURE", "Fracture of the proximal femur")
LATERALITY = {Side.RIGHT: codes.RIGHT, Side.LEFT: codes.LEFT}
VIEW_CODES = {View.AP: codes.ANTERO_POSTERIOR, View.LATERAL: codes.LATERAL}
METHOD = (
    "Method: a network finds joint and trochanters; 121 mm around the proximal femur are read by five "
    "networks for each view; their calibrated probabilities are averaged over networks and views. Nothing "
    "is decided where the likeliest answer has less than 60 %, or where AP and lateral contradict each "
    "other; no hip is called sound that is not wholly seen, or that any picture gives a fracture of 40 %. "
    "Coloured: where the evidence for the likeliest answer lies (Grad-CAM), which is no outline of a "
    "fracture."
)
ONLY_THREE = (
    "Other fractures (acetabulum, pelvis, subtrochanteric, shaft), dislocations and tumours are not looked "
    "for. A fracture that no radiograph shows cannot be found: that none was found excludes none."
)
NOT_SEEN = (
    "No radiograph of a patient was used in training; what the probabilities mean for patients is not known."
)


def report_content(findings: Findings, producer: Producer) -> ReportContent:
    """The SR: each hip in each view, then each hip."""
    groups = [group for hip in findings.hips for group in _groups(hip)]
    unread = tuple(f"{hip.text}" for hip in findings.unread)
    return ReportContent(
        groups=tuple(groups),
        sources=_sources(findings),
        procedure=PROCEDURE,
        warnings=(*unread, *findings.warnings, *_training_warning(producer)),
        is_complete=findings.is_complete,
        series_label="Hip report",
    )


def _training_warning(producer: Producer) -> tuple[str, ...]:
    return (NOT_SEEN,) if producer.statement else ()


def _sources(findings: Findings) -> tuple[Any, ...]:
    return tuple(radiograph.header for radiograph in findings.radiographs)


def _groups(hip: HipFindings) -> list[Group]:
    of_views = [
        classification_group(
            target=target_of(hip, name),
            finding=FRACTURE,
            answers=ANSWERS,
            probabilities=_exact(reading.probabilities),
            site=codes.PROXIMAL_FEMUR,
            laterality=LATERALITY[hip.side],
            region=Region(image=reading.radiograph.header, box=_box(hip, name, reading)),
            view=VIEW_CODES[reading.hip.view],
            comments=(
                f"Standard deviation over the networks: {_said(reading.spread)}.",
                f"Probability that metal or a cast hides the bone: {reading.unreadable:.2f}.",
            ),
        )
        for name, reading in hip.named_readings
    ]
    fused = classification_group(
        target=hip.title,
        finding=FRACTURE,
        answers=ANSWERS,
        probabilities=_exact(hip.probabilities),
        decision=hip.decision,
        site=codes.PROXIMAL_FEMUR,
        laterality=LATERALITY[hip.side],
        images=tuple(reading.radiograph.header for reading in hip.readings),
        comments=(*_missing_comment(hip), ONLY_THREE),
    )
    return [*of_views, fused]


def target_of(hip: HipFindings, name: str) -> str:
    """Tracking identifier of a hip in a picture, such as ``Right hip, AP``."""
    return f"{hip.title}, {name}"


def _exact(probabilities: np.ndarray) -> tuple[float, ...]:
    return tuple(float(p) for p in np.clip(probabilities, 0.0, 1.0))


def _said(values: np.ndarray) -> str:
    return ", ".join(f"{answer.text} {value:.2f}" for answer, value in zip(ANSWERS, values, strict=True))


def _missing_comment(hip: HipFindings) -> tuple[str, ...]:
    return tuple(f"Without the {VIEW_TITLES[view]} view." for view in hip.missing_views)


def _box(hip: HipFindings, name: str, reading: Reading) -> Box:
    return Box(
        corners_yx=box_yx(reading.placement, reading.radiograph.pixels_yx.shape),
        label=f"{hip.title}: {verdict_of(hip)}",
        target=target_of(hip, name),
    )


def markings(findings: Findings) -> tuple[Markings, ...]:
    """Boxes over each image, and what is said of the hips: also of those that were not read."""
    out = []
    for radiograph in findings.radiographs:
        seen = [
            (hip, name, one)
            for hip in findings.hips
            for name, one in hip.named_readings
            if one.radiograph is radiograph
        ]
        said = [f"{hip.title}: {verdict_of(hip)}" for hip, _, _ in seen]
        out.append(
            Markings(
                source=radiograph.header,
                boxes=tuple(_box(*one) for one in seen),
                verdict=(*said, *(hip.text for hip in findings.unread)),
                series_label="Hip marks",
            )
        )
    return tuple(out)


def key_image_content(findings: Findings, producer: Producer) -> KeyImages:
    """Key images, and what they show."""
    return KeyImages(
        pictures=key_images(findings, producer.statement),
        sources=_sources(findings),
        series_label="Hip key images",
    )


def page_content(findings: Findings, images: KeyImages, producer: Producer) -> PageContent:
    """The page of the PDF."""
    header = ("", *(answer.text for answer in ANSWERS), "answer")
    rows, emphasised = [], set()
    for hip in findings.hips:
        for name, reading in hip.named_readings:
            rows.append((target_of(hip, name), *_percent(reading.probabilities), ""))
        if hip.decision.is_indeterminate:
            emphasised.add(len(rows))
        rows.append((hip.title, *_percent(hip.probabilities), verdict_of(hip)))
    for unread in findings.unread:
        emphasised.add(len(rows))
        rows.append((f"{SIDE_TITLES[unread.side].capitalize()} hip", "", "", "", "not read"))
    table = PageTable(
        title="Probability of each answer",
        header=header,
        rows=tuple(rows),
        is_wide=True,
        emphasised=frozenset(emphasised),
    )
    reasons = tuple(
        f"{hip.title}: indeterminate, {hip.decision.reason}." for hip in findings.hips if hip.decision.reason
    ) + tuple(f"{hip.text}." for hip in findings.unread)
    page = Page(
        title=producer.title,
        summary=summary_of(findings),
        tables=(table,),
        figures=tuple((PageFigure(png=png_of(p.rgb_yxc), caption=p.description),) for p in images.pictures),
        warnings=(*reasons, *findings.warnings, *_training_warning(producer)),
        notes=(METHOD, ONLY_THREE),
    )
    return PageContent(page=page, sources=_sources(findings))


def _percent(probabilities: np.ndarray) -> list[str]:
    return [percent_text(float(p)) for p in probabilities]


def summary_of(findings: Findings) -> str:
    """The answers in one line."""
    return "; ".join(lines_of(findings))


def outcome_of(findings: Findings) -> Outcome:
    """What tables and the dashboard get."""
    measurements: dict[str, Any] = {}
    for hip in findings.hips:
        prefix = hip.title.lower().replace(" ", "_")
        measurements |= measured_probabilities(prefix, ANSWERS, _exact(hip.probabilities))
        for name, reading in hip.named_readings:
            measurements |= measured_probabilities(
                f"{prefix}_{name.lower().replace(' ', '_')}", ANSWERS, _exact(reading.probabilities)
            )
    return Outcome(summary=summary_of(findings), measurements=measurements, warnings=findings.warnings)
