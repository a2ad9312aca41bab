"""Findings of spine_metastasis as regions, marks, measurement groups, the report's page and a summary.

Pure: nothing here reads or writes DICOM files. A vertebra is asked which of two causes broke it; the
answer is an ICD-10 code with SNOMED CT's beside it, or "Indeterminate".
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from apps.spine_metastasis.classify import MALIGNANT, OSTEOPOROTIC, JudgedVertebra
from apps.spine_metastasis.findings import (
    NOT_ASSESSED,
    NOT_FOUND,
    Findings,
    key_of,
    name_of,
    names_of,
    range_of,
    scope_of,
    sequence_verdict_of,
    short_name_of,
    verdict_of,
)
from apps.spine_metastasis.labels import UNLABELLED, Weighting
from apps.spine_metastasis.pictures import key_images
from apps.spine_metastasis.regions import box_in, labels_of
from operators.encode import codes
from operators.encode.classification import Answer, classification_group, percent_text
from operators.encode.identity import Producer
from operators.encode.marks import Box
from operators.encode.messages import KeyImages, LabelVolume, Markings, PageContent, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import png_of
from operators.encode.report import Group, Number, Quality, Region, SegmentReference
from operators.encode.result import Outcome
from operators.encode.segmentation import Segment
from operators.measure.decision import Decision

ANSWERS = (
    Answer(key="osteoporotic", text="osteoporotic fracture", code=codes.OSTEOPOROTIC_FRACTURE),
    Answer(
        key="malignant",
        text="malignant fracture",
        code=codes.BONE_METASTASIS,
        equivalents=(codes.BONE_METASTASIS_SCT,),
    ),
)
"""In the order of `classify.CAUSES`."""
FRACTURE = codes.private("VERT_FRACTURE", "Fresh fracture of a vertebra")
PROCEDURE = codes.private("SPINE_MR", "MR of the spine: fractures of vertebrae")
SPINE = "Spine"
"""Tracking identifier of what is said of the patient."""
COLOURS = {OSTEOPOROTIC: (110, 190, 255), MALIGNANT: (255, 112, 98), None: (255, 210, 127)}
"""Of a region, by what was decided."""
REGION_NOTE = (
    "The region is a box along the spine around the vertebra, not an outline of it: it shows which vertebra "
    "was judged."
)
CAUSE_NOTE = "The probabilities of the causes are those of a vertebra that is fractured."
PATIENT_NOTE = "The probability of the patient is the highest one of the fractured vertebrae."
METHOD = (
    "Method: a network finds vertebral bodies and the first sacral vertebra on the middle slices of each "
    "sequence; each vertebra is cut out with its neighbours (80 mm, three slices) and judged by five "
    "networks for each sequence: not freshly fractured, osteoporotic, malignant. Probabilities are "
    "calibrated; those of the sequences are averaged. A fracture is indeterminate where the probability "
    "is low or the sequences contradict each other; a vertebra that one sequence calls broken and the other "
    "sound is a possible fracture."
)


# ------------------------------------------------------------ regions, marks


def label_volumes(findings: Findings) -> tuple[LabelVolume, ...]:
    """Regions of (possibly) fractured vertebrae on the grid of T1, or of STIR without T1; perhaps none."""
    shown = _drawn(findings)
    if not shown:
        return ()
    stack = findings.first_stack
    segments = tuple(
        Segment(
            label=value,
            name=region_name(one),
            property_type=site_of(one),
            category=codes.ANATOMICAL_STRUCTURE,
            colour_rgb=COLOURS[one.decision.class_index],
        )
        for value, one in enumerate(shown, start=1)
    )
    return (
        LabelVolume(
            labels_zyx=labels_of(stack, [one.vertebra for one in shown]),
            geometry=stack.volume.geometry,
            sources=stack.headers,
            segments=segments,
            series_label="Spine regions",
        ),
    )


def _drawn(findings: Findings) -> list[JudgedVertebra]:
    """(Possibly) fractured vertebrae that lie in the sequence on whose grid regions are drawn."""
    first = findings.sequences[0]
    return [one for one in findings.told if first in one.probabilities]


def region_name(one: JudgedVertebra) -> str:
    """Segment Label and tracking identifier of a vertebra that is fractured or may be."""
    return f"{'Fractured' if one.is_fractured else 'Possibly fractured'} {name_of(one)}"


def site_of(one: JudgedVertebra) -> Code:
    """The vertebra, or a vertebra where its level is not known."""
    level = one.vertebra.level
    return codes.VERTEBRA if level is None else codes.VERTEBRAE[level]


def markings(findings: Findings) -> tuple[Markings, ...]:
    """Boxes in the images through (possible) fractures; without any, the answer in the middle image."""
    found: dict[str, tuple[Dataset, list[Box]]] = {}
    for one in findings.told:
        for weighting in one.probabilities:
            header, box = box_in(
                findings.stacks[weighting],
                one.vertebra,
                label=f"{short_name_of(one)}: {verdict_of(one)}",
                target=region_name(one),
            )
            found.setdefault(str(header.SOPInstanceUID), (header, []))[1].append(box)
    if not found:
        for stack in findings.stacks.values():
            header = stack.headers[len(stack.headers) // 2]
            found[str(header.SOPInstanceUID)] = (header, [])
    return tuple(
        Markings(
            source=header,
            boxes=tuple(boxes),
            verdict=(patient_verdict(findings), *map(_sentence, scope_of(findings))),
            series_label="Spine marks",
        )
        for header, boxes in found.values()
    )


# ------------------------------------------------------------------- groups


def report_content(findings: Findings) -> ReportContent:
    """The SR: each vertebra that is fractured or may be, each sequence of it, and the patient."""
    return ReportContent(
        groups=(
            *(group for one in findings.told for group in _vertebra_groups(findings, one)),
            _patient_group(findings),
        ),
        sources=sources_of(findings),
        procedure=PROCEDURE,
        warnings=findings.warnings,
        is_complete=findings.is_complete,
        series_label="Spine report",
    )


def sources_of(findings: Findings) -> tuple[Dataset, ...]:
    """Headers of every image that was analysed, T1 first."""
    return tuple(header for w in findings.sequences for header in findings.stacks[w].headers)


def _vertebra_groups(findings: Findings, one: JudgedVertebra) -> list[Group]:
    drawn = _drawn(findings)
    fused = classification_group(
        target=region_name(one),
        finding=FRACTURE,
        answers=ANSWERS,
        probabilities=_probabilities(one.causes),
        decision=one.decision,
        site=site_of(one),
        numbers=(_fracture_number(one.p_fractured),),
        comments=(
            verdict_of(one),
            CAUSE_NOTE,
            REGION_NOTE,
            *(() if one.vertebra.level else (_sentence(UNLABELLED),)),
        ),
    )
    if one in drawn:
        fused = dataclasses.replace(fused, segment=SegmentReference(label=drawn.index(one) + 1))
    else:
        fused = dataclasses.replace(fused, images=findings.stacks[next(iter(one.probabilities))].headers)
    groups = [fused]
    for weighting in one.probabilities:
        target = f"{region_name(one)}, {weighting.spoken}"
        header, box = box_in(findings.stacks[weighting], one.vertebra, label="", target=target)
        groups.append(_sequence_group(one, weighting, target, Region(image=header, box=box)))
    return groups


def _sequence_group(one: JudgedVertebra, weighting: Weighting, target: str, region: Region) -> Group:
    """What a sequence alone says; of a cause only where it sees a fracture."""
    number = _fracture_number(one.p_fractured_by_sequence[weighting])
    comments = (f"{weighting.spoken} alone: {sequence_verdict_of(one, weighting)}.",)
    if weighting not in one.causes_by_sequence:
        return Group(
            tracking_id=target,
            finding=FRACTURE,
            site=site_of(one),
            region=region,
            numbers=(number,),
            comments=comments,
        )
    return classification_group(
        target=target,
        finding=FRACTURE,
        answers=ANSWERS,
        probabilities=_probabilities(one.causes_by_sequence[weighting]),
        site=site_of(one),
        region=region,
        numbers=(number,),
        comments=comments,
    )


def _fracture_number(p_fractured: float) -> Number:
    return Number(name=codes.PROBABILITY, value=p_fractured, unit=codes.RATIO, finding=FRACTURE)


def _patient_group(findings: Findings) -> Group:
    worst = findings.worst
    scope = tuple(map(_sentence, scope_of(findings)))
    if worst is None:
        # A code is read without its comments: with a gap in the spine it would say too much.
        coded = (
            () if findings.spine.gaps else (Quality(name=codes.AI_CLASSIFICATION, value=codes.NO_FRACTURE),)
        )
        return Group(
            tracking_id=SPINE,
            finding=FRACTURE,
            site=codes.VERTEBRA,
            images=sources_of(findings),
            qualities=coded,
            comments=(_sentence(patient_verdict(findings)), *scope, NOT_ASSESSED),
        )
    undecided = "" if findings.answer is not None else _why_undecided(findings)
    return classification_group(
        target=SPINE,
        finding=FRACTURE,
        answers=ANSWERS,
        probabilities=_probabilities(worst.causes),
        decision=Decision(class_index=findings.answer, reason=undecided),
        site=codes.VERTEBRA,
        images=sources_of(findings),
        comments=(_sentence(patient_verdict(findings)), *scope, PATIENT_NOTE, NOT_ASSESSED),
    )


def _why_undecided(findings: Findings) -> str:
    if any(one.decision.is_indeterminate for one in findings.fractured):
        return "at least one fracture is indeterminate"
    return f"whether {names_of(findings.possible)} is fractured is uncertain"


def _probabilities(causes: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in causes)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


# ------------------------------------------------------------ page, summary


def key_image_content(findings: Findings, producer: Producer) -> KeyImages:
    """Key images, and what they show."""
    return KeyImages(
        pictures=key_images(findings, producer.statement),
        sources=sources_of(findings),
        series_label="Spine key images",
    )


def page_content(findings: Findings, images: KeyImages) -> PageContent:
    """The page that a person reads: the answer, a row for each fracture, the pictures."""
    page = Page(
        title="MR of the spine: osteoporotic or malignant fracture",
        summary=summary_of(findings),
        tables=(_fracture_table(findings), _spine_table(findings)),
        figures=tuple(
            (PageFigure(png=png_of(picture.rgb_yxc), caption=picture.description),)
            for picture in images.pictures[:2]
        ),
        warnings=findings.warnings,
        notes=(METHOD, NOT_ASSESSED),
    )
    return PageContent(page=page, sources=sources_of(findings), series_label="Spine PDF")


def patient_verdict(findings: Findings) -> str:
    """The answer for the patient, in a few words.

    The statement about training stands beside it wherever it is shown.
    """
    return f"{_verdict(findings)}{_alone(findings)}"


def _verdict(findings: Findings) -> str:
    worst, possible = findings.worst, findings.possible
    if worst is None:
        return NOT_FOUND
    if not findings.fractured:
        return f"possible fracture, indeterminate: {names_of(possible)}"
    further = f", and possible fracture of {names_of(possible)}" if possible else ""
    malignant = percent_text(worst.p_malignant)
    if findings.answer is None:
        said = f"fracture, cause indeterminate (highest probability of a malignant one {malignant})"
    else:
        said = f"{ANSWERS[findings.answer].text} (probability of a malignant one {malignant})"
    return f"{said}{further}"


def _alone(findings: Findings) -> str:
    return f", {findings.sequences[0].spoken} alone" if len(findings.sequences) == 1 else ""


def summary_of(findings: Findings) -> str:
    """The result in one line, without the patient."""
    parts = [patient_verdict(findings)]
    parts += [f"{name_of(one)}: {verdict_of(one)}" for one in findings.told]
    parts.append(f"{range_of(findings)} examined on {' and '.join(w.spoken for w in findings.sequences)}")
    parts += scope_of(findings)[1:]
    return f"AI, research use: {'; '.join(parts)}"


def outcome_of(findings: Findings) -> Outcome:
    """Numbers and warnings for ``result.json``."""
    worst = findings.worst
    entries: dict[str, dict[str, Any]] = {
        "fractured_vertebrae": _entry(float(len(findings.fractured)), codes.NO_UNITS.value),
        "possibly_fractured_vertebrae": _entry(float(len(findings.possible)), codes.NO_UNITS.value),
        "vertebrae": _entry(float(len(findings.judged)), codes.NO_UNITS.value),
        "examined_vertebrae": _entry(float(len(findings.examined)), codes.NO_UNITS.value),
        "p_malignant": _entry(None if worst is None else worst.p_malignant, why=NOT_FOUND),
    }
    for weighting in Weighting:
        found = [one.causes_by_sequence[weighting][MALIGNANT] for one in findings.told
                 if weighting in one.causes_by_sequence]  # fmt: skip
        why = NOT_FOUND if weighting in findings.stacks else f"there is no {weighting.spoken}"
        entries[f"p_malignant_{weighting}"] = _entry(max(map(float, found), default=None), why=why)
    for one in findings.told:
        key = key_of(one)
        entries[f"{key}_p_malignant"] = _entry(one.p_malignant)
        entries[f"{key}_p_fractured"] = _entry(one.p_fractured)
        for weighting, p_fractured in one.p_fractured_by_sequence.items():
            entries[f"{key}_p_fractured_{weighting}"] = _entry(p_fractured)
        for weighting, causes in one.causes_by_sequence.items():
            entries[f"{key}_p_malignant_{weighting}"] = _entry(float(causes[MALIGNANT]))
    return Outcome(summary=summary_of(findings), measurements=entries, warnings=findings.warnings)


def _entry(value: float | None, unit: str = codes.RATIO.value, *, why: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"value": value, "unit": unit}
    return entry if value is not None else entry | {"why_missing": why}


def _fracture_table(findings: Findings) -> PageTable:
    sequences = findings.sequences
    rows = tuple(
        (
            name_of(one),
            verdict_of(one),
            f"{one.p_malignant:.2f} (fracture {one.p_fractured:.2f})",
            *(sequence_verdict_of(one, w) if w in one.probabilities else "–" for w in sequences),
        )
        for one in findings.told
    )
    return PageTable(
        title="Freshly fractured vertebrae, probability of a malignant cause",
        header=("vertebra", "answer", "fused", *(w.spoken for w in sequences)),
        rows=rows or ((NOT_FOUND, "", "–", *("–" for _ in sequences)),),
        is_wide=True,
    )


def _spine_table(findings: Findings) -> PageTable:
    named = [one.vertebra.level for one in findings.judged if one.vertebra.level]
    rows = [
        ("Sequences", " and ".join(w.spoken for w in findings.sequences)),
        ("Vertebrae found", str(len(findings.judged))),
        ("Examined", scope_of(findings)[0]),
        *(("Not examined", told) for told in scope_of(findings)[1:]),
        ("Levels", f"{named[0]} to {named[-1]}" if named else "cannot be known"),
    ]
    return PageTable(title="Spine", header=(), rows=tuple(rows))
