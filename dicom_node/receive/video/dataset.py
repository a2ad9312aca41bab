"""The attributes of a Video Photographic Image (PS3.3 A.32.7), apart from the stream itself.

Pure functions. What is not known stays empty or absent; nothing about a patient is made up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import validate_value

from dicom_node import __version__
from dicom_node.errors import Refused
from dicom_node.store.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

VIDEO_PHOTOGRAPHIC: Final = UID("1.2.840.10008.5.1.4.1.1.77.1.4.1")
LOSSY_METHOD: Final = "ISO_14496_10"
PRIVATE_SCHEME: Final = "99DAIN"
PRIVATE_SCHEME_UID: Final = "2.25.231476013297158614386424373110296412207"
PRIVATE_SCHEME_NAME: Final = "DICOM node private codes"
MANUFACTURER: Final = "DICOM node project"

Code = tuple[str, str, str]
"""Code Value, Coding Scheme Designator, Code Meaning (PS3.3 8.8)."""

ENTIRE_BODY: Final[Code] = ("38266002", "SCT", "Entire body")
CAMERA_VIEW: Final[Code] = ("CAMERA_VIEW", PRIVATE_SCHEME, "Camera view")
GAIT_TASK: Final[Code] = ("GAIT_TASK", PRIVATE_SCHEME, "Gait task")
WALKING_AID: Final[Code] = ("WALKING_AID", PRIVATE_SCHEME, "Walking aid")
WALKWAY_LENGTH: Final[Code] = ("WALKWAY_LENGTH", PRIVATE_SCHEME, "Length of the walkway")
METRE: Final[Code] = ("m", "UCUM", "meter")
PROCESSING_EQUIPMENT: Final[Code] = ("109102", "DCM", "Processing Equipment")
ROOM_SOUND: Final[Code] = ("109112", "DCM", "Ambient room environment")
CHANNELS: Final[dict[int, tuple[str, ...]]] = {1: ("MONO",), 2: ("STEREO", "STEREO")}

LONGEST_WALKWAY_M: Final = 1000.0


class View(StrEnum):
    """From where the walk was filmed."""

    FRONTAL = "frontal"
    SAGITTAL = "sagittal"
    OBLIQUE = "oblique"

    @property
    def code(self) -> Code:
        """As an acquisition context has it."""
        return (f"VIEW_{self.name}", PRIVATE_SCHEME, f"{self.name.capitalize()} view")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose video it is and in which study it belongs; empty where nobody has said it.

    Attributes:
        patient_id: The one thing that must be known.
        birth_date: YYYYMMDD.
        sex: M, F or O.
        study_instance_uid: Empty for a new study.
        issuer_of_patient_id: As a worklist says it.
        procedure: Further attributes of study and request, taken unaltered from a worklist.
    """

    patient_id: str
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    issuer_of_patient_id: str = ""
    procedure: Dataset = field(default_factory=Dataset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How the walk was filmed.

    Attributes:
        view: From where.
        task: What was walked, such as "SARA gait", "tandem" or "10 m"; may be empty.
        aid: Walking aid, in words; may be empty.
        distance_m: Length of the walkway, if known.
        recorded_at: When, if known.
        maker: Of the camera; may be empty.
        model: Likewise.
    """

    view: View
    task: str = ""
    aid: str = ""
    distance_m: float | None = None
    recorded_at: datetime | None = None
    maker: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """The stream that the object holds.

    Attributes:
        rows: Of the picture, pixels.
        columns: Likewise.
        frame_count: Exact.
        rate: Frames per second.
        size_bytes: Of the stream with its container.
        audio_channels: 0 without sound.
        history: What was done to the camera's pictures, in words; empty when nothing was.
        has_other_pixels: The pictures show something else than the camera's: faces are hidden.
    """

    transfer_syntax_uid: UID
    rows: int
    columns: int
    frame_count: int
    rate: Fraction
    size_bytes: int
    audio_channels: int = 0
    history: str = ""
    has_other_pixels: bool = False


_CHECKED: Final = (
    ("patient_id", "LO", "PatientID", "--patient-id"),
    ("patient_name", "PN", "PatientName", "--patient-name"),
    ("birth_date", "DA", "PatientBirthDate", "--birth-date"),
    ("accession_number", "SH", "AccessionNumber", "--accession-number"),
    ("study_instance_uid", "UI", "StudyInstanceUID", "--study-uid"),
)


def check_subject(subject: Subject) -> None:
    """Whether what is said of the patient can be written into an object.

    Raises:
        Refused: The Patient ID is missing, or a value is not of its value representation (PS3.5 6.2);
            the message names the option and never repeats the value.

    Example:
        >>> check_subject(Subject(patient_id="4711", birth_date="1960-02-30"))
        Traceback (most recent call last):
        dicom_node.errors.Refused: --birth-date (PatientBirthDate) is not a valid DA ...
    """
    if not subject.patient_id.strip():
        raise Refused(
            "no patient: give --patient-id, or --worklist with --patient-id or --accession-number",
            attribute="PatientID",
        )
    for name, vr, keyword, option in _CHECKED:
        value = getattr(subject, name)
        if value and not _is_valid(vr, value):
            raise Refused(f"{option} ({keyword}) is not a valid {vr} (PS3.5 6.2)", attribute=keyword)
    if subject.sex not in {"", "M", "F", "O"}:
        raise Refused("--sex (PatientSex) is none of M, F and O", attribute="PatientSex")


def _is_valid(vr: str, value: str) -> bool:
    try:
        validate_value(vr, value, 2)
        if vr == "DA":
            datetime.strptime(value, "%Y%m%d")  # noqa: DTZ007  a date has no zone
    except ValueError:
        return False
    return "\\" not in value and value.isprintable()


def check_walk(walk: Walk) -> None:
    """Whether what is said of the walk can be written into an object.

    Raises:
        Refused: A text is too long or a length is none.
    """
    for option, keyword, text in (("--task", "GaitTask", walk.task), ("--aid", "WalkingAid", walk.aid)):
        if text and not _is_valid("LO", text):
            raise Refused(f"{option} has at most 64 printable characters and no backslash", attribute=keyword)
    if walk.distance_m is not None and not 0 < walk.distance_m <= LONGEST_WALKWAY_M:
        raise Refused(f"--distance-m is above 0 and at most {LONGEST_WALKWAY_M:g}", attribute="WalkwayLength")


def video_dataset(subject: Subject, walk: Walk, stream: StreamFacts, now: datetime) -> Dataset:
    """The object without its Pixel Data.

    Args:
        subject: Checked by `check_subject`.
        walk: Checked by `check_walk`.
        stream: The stream.
        now: The time of wrapping, with a time zone.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.update(subject.procedure)
    _put_identity(dataset, stream, now)
    _put_patient_and_study(dataset, subject)
    _put_series(dataset, walk)
    _put_times(dataset, walk, now)
    _put_image(dataset, stream)
    _put_context(dataset, walk)
    _put_equipment(dataset, walk, stream, now)
    return dataset


def _put_identity(dataset: Dataset, stream: StreamFacts, now: datetime) -> None:
    """SOP Common, C.12.1, and file meta information, PS3.10 7.1."""
    dataset.SOPClassUID, dataset.SOPInstanceUID = VIDEO_PHOTOGRAPHIC, generate_uid(prefix=None)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = f"{now:%Y%m%d}", f"{now:%H%M%S.%f}"
    dataset.TimezoneOffsetFromUTC = f"{now:%z}"[:5]
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = PRIVATE_SCHEME, PRIVATE_SCHEME_UID
    scheme.CodingSchemeName = PRIVATE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = VIDEO_PHOTOGRAPHIC, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = stream.transfer_syntax_uid
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta


def _put_patient_and_study(dataset: Dataset, subject: Subject) -> None:
    """Patient, C.7.1.1, and General Study, C.7.2.1."""
    dataset.PatientID, dataset.PatientName = subject.patient_id.strip(), subject.patient_name
    if subject.issuer_of_patient_id:
        dataset.IssuerOfPatientID = subject.issuer_of_patient_id
    dataset.PatientBirthDate, dataset.PatientSex = subject.birth_date, subject.sex
    dataset.AccessionNumber = subject.accession_number
    dataset.StudyInstanceUID = subject.study_instance_uid or generate_uid(prefix=None)
    for keyword in ("StudyID", "ReferringPhysicianName"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")


def _put_series(dataset: Dataset, walk: Walk) -> None:
    """General Series, C.7.3.1, and what of General Image, C.7.6.1, orders the instance."""
    dataset.Modality, dataset.SeriesInstanceUID = "XC", generate_uid(prefix=None)
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    what = f"Gait video, {walk.view.value} view"
    dataset.SeriesDescription = f"{what}, {walk.task}"[:64] if walk.task else what
    dataset.BodyPartExamined = "WHOLEBODY"
    dataset.PatientOrientation = ""


def _put_times(dataset: Dataset, walk: Walk, now: datetime) -> None:
    """Study, acquisition and content are as old as the recording; what is not known is empty or absent."""
    dataset.StudyDate = dataset.StudyTime = ""
    if walk.recorded_at is not None:
        at = walk.recorded_at.astimezone(now.tzinfo)
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = (
            f"{at:%Y%m%d}"
        )
        dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = (
            f"{at:%H%M%S}"
        )
        dataset.AcquisitionDateTime = f"{at:%Y%m%d%H%M%S%z}"


def _put_image(dataset: Dataset, stream: StreamFacts) -> None:
    """Image Pixel C.7.6.3, Cine C.7.6.5, Multi-frame C.7.6.6, VL Image C.8.12.1."""
    dataset.ImageType = ["DERIVED" if stream.has_other_pixels else "ORIGINAL", "PRIMARY"]
    if stream.history:
        dataset.DerivationDescription = stream.history
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
    dataset.Rows, dataset.Columns = stream.rows, stream.columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.NumberOfFrames = stream.frame_count
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = _decimal(1000 / stream.rate)
    dataset.CineRate = dataset.RecommendedDisplayFrameRate = max(round(stream.rate), 1)
    dataset.EffectiveDuration = _decimal(stream.frame_count / stream.rate)
    raw_bytes = stream.rows * stream.columns * 3 * stream.frame_count
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", LOSSY_METHOD
    dataset.LossyImageCompressionRatio = _decimal(raw_bytes / stream.size_bytes)
    dataset.BurnedInAnnotation = "NO"
    dataset.RecognizableVisualFeatures = "YES"  # also with hidden faces: no person has checked every frame
    dataset.AnatomicRegionSequence = [_coded(ENTIRE_BODY)]
    if stream.audio_channels:
        dataset.MultiplexedAudioChannelsDescriptionCodeSequence = [
            _channel(index, mode)
            for index, mode in enumerate(
                CHANNELS.get(stream.audio_channels, ("MONO",) * stream.audio_channels)
            )
        ]


def _channel(index: int, mode: str) -> Dataset:
    item = Dataset()
    item.ChannelIdentificationCode, item.ChannelMode = index + 1, mode
    item.ChannelSourceSequence = [_coded(ROOM_SOUND)]
    return item


def _put_context(dataset: Dataset, walk: Walk) -> None:
    """Acquisition Context, C.7.6.14."""
    items = [_context_item(CAMERA_VIEW, "CODE", ConceptCodeSequence=[_coded(walk.view.code)])]
    items += [
        _context_item(name, "TEXT", TextValue=text)
        for name, text in ((GAIT_TASK, walk.task), (WALKING_AID, walk.aid))
        if text
    ]
    if walk.distance_m is not None:
        items.append(
            _context_item(
                WALKWAY_LENGTH,
                "NUMERIC",
                NumericValue=_decimal(walk.distance_m),
                MeasurementUnitsCodeSequence=[_coded(METRE)],
            )
        )
    dataset.AcquisitionContextSequence = items


def _put_equipment(dataset: Dataset, walk: Walk, stream: StreamFacts, now: datetime) -> None:
    """General Equipment, C.7.5.1: the camera; the node is a contributor, C.12.1."""
    dataset.Manufacturer = walk.maker
    if walk.model:
        dataset.ManufacturerModelName = walk.model
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_coded(PROCESSING_EQUIPMENT)]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = (
        MANUFACTURER,
        "dicom-node",
        __version__,
    )
    item.ContributionDateTime = f"{now:%Y%m%d%H%M%S%z}"
    done = stream.history or "the stream is the camera's"
    item.ContributionDescription = f"Video file made a DICOM object: {done}"[:1024]
    dataset.ContributingEquipmentSequence = [item]


def _context_item(name: Code, value_type: str, **values: Any) -> Dataset:
    item = Dataset()
    item.ValueType, item.ConceptNameCodeSequence = value_type, [_coded(name)]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def _decimal(value: float | Fraction) -> str:
    """At most 16 characters, PS3.5 6.2."""
    return f"{float(value):.10g}"
