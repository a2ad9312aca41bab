"""Measurements as a Comprehensive 3D SR by TID 1500 (PS3.16), for every app.

An app describes its results as `Group`s of `Number`s and `Quality`s; a group that
names a segment becomes TID 1411, one with a region of an image TID 1410, every other
TID 1501. Each carries the algorithm (TID 4019), tracking identifiers and its time.
Statement and warnings are text that a person meets in any SR viewer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom import sr
from highdicom.sr.value_types import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    NumContentItem,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from operators.encode import codes
from operators.encode.context import complete, stand_in
from operators.encode.identity import MANUFACTURER, Producer
from operators.encode.marks import Box
from operators.encode.parametric_map import EncodedMap
from operators.encode.segmentation import EncodedSegmentation

LANGUAGES = {"en": Code("en", "RFC5646", "English"), "ja": Code("ja", "RFC5646", "Japanese")}
STATEMENT_CODE = codes.private("STATEMENT", "Statement for the reader")
WARNING_CODE = codes.private("WARNING", "Warning for the reader")
INTENDED_USE_CODE = codes.private("INTENDED_USE", "Intended use of the algorithm")
INJECTION = codes.private("RP_INJECTION", "Radiopharmaceutical injection")
LOWER_UNCERTAINTY = Code("371885007", "SCT", "-, range of lower measurement uncertainty")
UPPER_UNCERTAINTY = Code("371886008", "SCT", "+, range of upper measurement uncertainty")
Z_SCORE = Code("121416", "DCM", "Z-Score of measurement")
POPULATION = Code("121405", "DCM", "Population description")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
CODE_MEANING_LIMIT = 64
GroupTemplate = (
    sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    | sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | sr.MeasurementsAndQualitativeEvaluations
)


@dataclass(frozen=True, kw_only=True)
class TimePoint:
    """When a group was measured, relative to an event.

    Args:
        name: What a person calls it, such as "early".
        offset: Time since the event, or None when it is not known.
        unit: Of the offset.
        event: What the offset counts from.
    """

    name: str
    offset: float | None = None
    unit: Code = codes.MINUTE
    event: Code = INJECTION


@dataclass(frozen=True, kw_only=True)
class ZScore:
    """How far a measurement lies from those of a population (TID 311), in its standard deviations.

    Args:
        value: Finite.
        population: Who they are, in words.
    """

    value: float
    population: str


@dataclass(frozen=True, kw_only=True)
class Number:
    """One NUM item (TID 300).

    Args:
        name: What was measured.
        value: Finite.
        unit: UCUM.
        derivation: How it comes out of many values (CID 7464), such as `codes.MEAN`.
        method: Measurement method.
        site: Where, when that is not the group's finding site.
        qualifier: Why the value is to be taken with care (CID 42).
        uncertainty: Lower and upper measurement uncertainty, same unit, both positive.
        z: Of this measurement; becomes a property of it, so that nobody asks whose z it is.
        finding: What the value is the probability of, when the group is asked for several.
        finding_equivalents: The same in other schemes.
    """

    name: Code
    value: float
    unit: Code
    derivation: Code | None = None
    method: Code | None = None
    site: Code | None = None
    qualifier: Code | None = None
    uncertainty: tuple[float, float] | None = None
    z: ZScore | None = None
    finding: Code | None = None
    finding_equivalents: tuple[Code, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One qualitative evaluation: a coded answer to a coded question.

    Args:
        name: The question.
        value: The answer.
        value_equivalents: The answer in other schemes.
    """

    name: Code
    value: Code
    value_equivalents: tuple[Code, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SegmentReference:
    """One segment of a SEG of the same analysis.

    Args:
        label: Value of the label volume.
        role: Of the SEG, when an analysis makes several.
    """

    label: int
    role: str = "segmentation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A rectangle of one source image, as SCOORD of the report (TID 1410).

    Args:
        image: Header of the image.
        box: In its pixels.
    """

    image: Dataset
    box: Box


@dataclass(frozen=True, kw_only=True)
class Group:
    """Everything said about one target: an organ, a lesion, or the study as a whole.

    Args:
        tracking_id: The name of the target, the same at each time; that of a segment is its Segment Label.
        finding: What the target is.
        finding_equivalents: The finding in other schemes.
        category: What kind of finding that is.
        site: Where it is.
        site_equivalents: The site in other schemes.
        further_sites: Of a target that lies at several, such as merged muscles.
        laterality: `codes.LEFT` or `codes.RIGHT`; of all the sites.
        segment: Its segment; makes this a volumetric group.
        region: Where in an image it lies; makes this a planar group.
        images: Source images of a group with neither segment nor region.
        time: When it was measured.
        numbers: Measurements.
        qualities: Coded evaluations.
        comments: Sentences that belong to this target.
    """

    tracking_id: str
    finding: Code
    finding_equivalents: tuple[Code, ...] = ()
    category: Code | None = None
    site: Code | None = None
    site_equivalents: tuple[Code, ...] = ()
    further_sites: tuple[Code, ...] = ()
    laterality: Code | None = None
    segment: SegmentReference | None = None
    region: Region | None = None
    images: tuple[Dataset, ...] = ()
    time: TimePoint | None = None
    numbers: tuple[Number, ...] = ()
    qualities: tuple[Quality, ...] = ()
    comments: tuple[str, ...] = ()


def build_report(
    groups: Sequence[Group],
    sources: Sequence[Dataset],
    producer: Producer,
    *,
    procedure: Code,
    segmentations: Sequence[EncodedSegmentation] = (),
    maps: Sequence[EncodedMap] = (),
    predecessors: Sequence[Dataset] = (),
    warnings: Sequence[str] = (),
    language: str = "en",
    role: str = "report",
    series_label: str = "AI report",
    ordinal: int = 2,
    is_complete: bool = True,
) -> sr.Comprehensive3DSR:
    """The report of one analysis: unverified and preliminary until a person signs it.

    Args:
        groups: At least one.
        sources: Headers of every image that was analysed; the evidence.
        producer: Who made it.
        procedure: Reported procedure, for studies that do not carry its code.
        segmentations: The SEG objects that groups refer to.
        maps: Parametric maps of the same analysis; evidence as well.
        predecessors: Reports of earlier analyses of this study, which this one replaces.
        warnings: Sentences that a reader must see.
        language: Of the text: a key of `LANGUAGES`.
        role: Part of what the UIDs derive from.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.
        is_complete: False when something that the app should report is missing.

    Raises:
        ValueError: There is no group, a number is not finite, a segment is in none of the
            segmentations, or the language is unknown.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; allowed are {', '.join(LANGUAGES)}")
    study_uid = str(sources[0].StudyInstanceUID)
    content = sr.MeasurementReport(
        observation_context=_observer(producer),
        procedure_reported=_procedures(sources[0], procedure),
        imaging_measurements=[_group_template(g, producer, study_uid, segmentations) for g in groups],
        title=codes.IMAGING_MEASUREMENT_REPORT,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            sr.CodedConcept.from_code(LANGUAGES[language])
        ),
    )
    remarks = _remarks(producer, warnings)
    content[0].ContentSequence.append(_text_container(remarks))
    dataset = sr.Comprehensive3DSR(
        evidence=[*map(stand_in, sources), *(s.dataset for s in segmentations), *(m.dataset for m in maps)],
        content=content,
        series_instance_uid=producer.uid(f"series/{role}"),
        series_number=producer.series_number(ordinal),
        sop_instance_uid=producer.uid(role),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=is_complete,
        previous_versions=list(predecessors) or None,
    )
    requests = _requests(sources[0])
    if requests:
        dataset.ReferencedRequestSequence = requests
    texts = [text for _, text in remarks]
    texts += [text for group in groups for text in (group.tracking_id, *group.comments)]
    complete(dataset, sources[0], producer, label=series_label, texts=texts)
    return dataset


def _observer(producer: Producer) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=producer.device_uid,
        name=producer.node_name,
        manufacturer_name=MANUFACTURER,
        model_name=producer.model_name,
        serial_number=producer.device_serial_number,
    )
    kind = sr.CodedConcept("121007", "DCM", "Device")
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(kind, device))


def _procedures(source: Dataset, fallback: Code) -> list[sr.CodedConcept]:
    """Procedure Code Sequence (0008,1032) of the study, as far as it is coded completely."""
    found = [
        sr.CodedConcept(
            str(item.CodeValue), str(item.CodingSchemeDesignator), str(item.CodeMeaning)[:CODE_MEANING_LIMIT]
        )
        for item in source.get("ProcedureCodeSequence", [])
        if all(item.get(k) for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))
    ]
    return found or [sr.CodedConcept.from_code(fallback)]


def _group_template(
    group: Group, producer: Producer, study_uid: str, segmentations: Sequence[EncodedSegmentation]
) -> GroupTemplate:
    """The group as TID 1411, TID 1410 or TID 1501, with its comments inside."""
    arguments: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=producer.tracking_uid(study_uid, group.tracking_id), identifier=group.tracking_id
        ),
        "finding_type": group.finding,
        "finding_category": group.category,
        "algorithm_id": _algorithm(producer),
        "time_point_context": _time_point(group.time),
        "finding_sites": _sites(group),
        "measurements": [_measurement(number) for number in group.numbers],
        "qualitative_evaluations": [sr.QualitativeEvaluation(q.name, q.value) for q in group.qualities],
    }
    template: GroupTemplate
    if group.segment is not None:
        template = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            **arguments, referenced_segment=_segment(group.segment, segmentations)
        )
    elif group.region is not None:
        template = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            **arguments, referenced_region=_region(group.region)
        )
    else:
        template = sr.MeasurementsAndQualitativeEvaluations(
            **arguments,
            source_images=[_image(image) for image in group.images] or None,
        )
    _add_equivalents(template[0], FINDING, group.finding, group.finding_equivalents)
    if group.site is not None:
        _add_equivalents(template[0], FINDING_SITE, group.site, group.site_equivalents)
    for quality in group.qualities:
        _add_equivalents(template[0], quality.name, quality.value, quality.value_equivalents)
    for comment in group.comments:
        template[0].ContentSequence.append(_text(codes.COMMENT, comment))
    return template


def _image(image: Dataset) -> sr.SourceImageForMeasurementGroup:
    return sr.SourceImageForMeasurementGroup(str(image.SOPClassUID), str(image.SOPInstanceUID))


def _region(region: Region) -> sr.ImageRegion:
    """The rectangle as a closed line; its part outside of the image is left away."""
    image = region.image
    box = region.box.inside(int(image.Rows), int(image.Columns))
    return sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array(box.outline_xy, dtype=np.float64),
        source_image=sr.SourceImageForRegion(str(image.SOPClassUID), str(image.SOPInstanceUID)),
    )


def _segment(wanted: SegmentReference, segmentations: Sequence[EncodedSegmentation]) -> sr.ReferencedSegment:
    # Not from_segmentation: it fails for a SEG with a single segment (highdicom 0.28).
    for encoded in segmentations:
        if encoded.role == wanted.role and wanted.label in encoded.number_of:
            return sr.ReferencedSegment(
                sop_class_uid=encoded.dataset.SOPClassUID,
                sop_instance_uid=encoded.dataset.SOPInstanceUID,
                segment_number=encoded.number_of[wanted.label],
                source_series=sr.SourceSeriesForSegmentation(encoded.source_series_instance_uid),
            )
    raise ValueError(f"no segmentation has the role {wanted.role!r} and label {wanted.label}")


def _algorithm(producer: Producer) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name=producer.app,
        version=producer.app_version,
        parameters=[f"{name}: {value}" for name, value in producer.algorithm_parameters.items()],
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )


def _time_point(time: TimePoint | None) -> sr.TimePointContext | None:
    if time is None:
        return None
    offset = None
    if time.offset is not None:
        offset = sr.LongitudinalTemporalOffsetFromEvent(
            _finite(time.offset, time.name), time.unit, time.event
        )
    return sr.TimePointContext(time_point=time.name, temporal_offset_from_event=offset)


def _sites(group: Group) -> list[sr.FindingSite] | None:
    sites = (() if group.site is None else (group.site,)) + group.further_sites
    return [sr.FindingSite(site, laterality=group.laterality) for site in sites] or None


def _add_equivalents(container: Dataset, concept: Code, wanted: Code, equivalents: tuple[Code, ...]) -> None:
    for item in container.ContentSequence:
        if item.ValueType == "CODE" and item.name == concept and item.value == wanted:
            codes.add_equivalents(item.ConceptCodeSequence[0], equivalents)


def _measurement(number: Number) -> sr.Measurement:
    measurement = sr.Measurement(
        name=number.name,
        value=_finite(number.value, number.name.meaning),
        unit=number.unit,
        derivation=number.derivation,
        method=number.method,
        qualifier=number.qualifier,
        finding_sites=None if number.site is None else [sr.FindingSite(number.site)],
    )
    if number.finding is not None:
        measurement[0].ContentSequence = measurement[0].get("ContentSequence", ContentSequence())
        measurement[0].ContentSequence.append(_finding_of(number.finding, number.finding_equivalents))
    if number.uncertainty is not None:
        # Not MeasurementProperties: it writes the unit "1" whatever the measurement's (highdicom 0.28).
        measurement[0].ContentSequence = measurement[0].get("ContentSequence", ContentSequence())
        for name, value in zip((LOWER_UNCERTAINTY, UPPER_UNCERTAINTY), number.uncertainty, strict=True):
            item = NumContentItem(
                name=name,
                value=_finite(value, name.meaning),
                unit=number.unit,
                relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES,
            )
            measurement[0].ContentSequence.append(item)
    if number.z is not None:
        measurement[0].ContentSequence = measurement[0].get("ContentSequence", ContentSequence())
        has = sr.RelationshipTypeValues.HAS_PROPERTIES
        measurement[0].ContentSequence += [
            NumContentItem(
                name=Z_SCORE,
                value=_finite(number.z.value, Z_SCORE.meaning),
                unit=codes.NO_UNITS,
                relationship_type=has,
            ),
            TextContentItem(name=POPULATION, value=number.z.population, relationship_type=has),
        ]
    return measurement


def _finding_of(finding: Code, equivalents: tuple[Code, ...]) -> CodeContentItem:
    """Modifier of a measurement's name (TID 300, $ModType): the probability of what."""
    item = CodeContentItem(
        name=FINDING, value=finding, relationship_type=sr.RelationshipTypeValues.HAS_CONCEPT_MOD
    )
    codes.add_equivalents(item.ConceptCodeSequence[0], equivalents)
    return item


def _finite(value: float, name: str) -> float:
    """The value with the seven digits that a decimal string and a reader can hold."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; leave out what could not be measured")
    return float(f"{value:.7g}")


def _remarks(producer: Producer, warnings: Sequence[str]) -> list[tuple[Code, str]]:
    remarks = [(STATEMENT_CODE, producer.statement)] if producer.statement else []
    remarks.append((INTENDED_USE_CODE, producer.intended_use))
    return remarks + [(WARNING_CODE, warning) for warning in warnings]


def _text_container(remarks: Sequence[tuple[Code, str]]) -> ContainerContentItem:
    """TID 1500 row 12: evaluations of the study as a whole, here as text."""
    container = ContainerContentItem(
        name=codes.QUALITATIVE_EVALUATIONS, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence([_text(name, text) for name, text in remarks])
    return container


def _text(name: Code, text: str) -> TextContentItem:
    return TextContentItem(name=name, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)


def _requests(source: Dataset) -> list[Dataset]:
    """Items of the Referenced Request Sequence (PS3.3 C.17.2) from the source's requests."""
    items = []
    for request in source.get("RequestAttributesSequence", []):
        item = Dataset()
        item.StudyInstanceUID = source.StudyInstanceUID
        item.ReferencedStudySequence = copy.deepcopy(source.get("ReferencedStudySequence", []))
        item.AccessionNumber = source.get("AccessionNumber", "")
        item.PlacerOrderNumberImagingServiceRequest = ""
        item.FillerOrderNumberImagingServiceRequest = ""
        item.RequestedProcedureID = request.get("RequestedProcedureID", "")
        item.RequestedProcedureDescription = request.get("RequestedProcedureDescription", "")
        item.RequestedProcedureCodeSequence = copy.deepcopy(request.get("RequestedProcedureCodeSequence", []))
        items.append(item)
    return items
