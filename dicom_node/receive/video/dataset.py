"""The attributes of a Video Photographic Image (PS3.3 A.32.7), apart from the stream itself.

Pure functions. What is not known stays empty or absent; nothing about a patient is made up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import validate_value

from dicom_node import __version__
from dicom_node.errors import Refused
from dicom_node.store.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from operators.encode.codes import MANUFACTURER, PROCESSING_EQUIPMENT, coded, private_coding_scheme
from operators.video.photographic import StreamFacts, acquisition_context, decimal, put_image

ROOM_SOUND: Final = Code("109112", "DCM", "Ambient room environment")
CHANNELS: Final[dict[int, tuple[str, ...]]] = {1: ("MONO",), 2: ("STEREO", "STEREO")}

LONGEST_WALKWAY_M: Final = 1000.0


class View(StrEnum):
    """From where the walk was filmed."""

    FRONTAL = "frontal"
    SAGITTAL = "sagittal"
    OBLIQUE = "oblique"


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
class Stream:
    """The stream that the object holds.

    Attributes:
        facts: What is written of every video.
        transfer_syntax_uid: That of the stream.
        audio_channels: 0 without sound.
        history: What was done to the camera's pictures, in words; empty when nothing was.
        has_other_pixels: The pictures show something else than the camera's: faces are hidden.
    """

    facts: StreamFacts
    transfer_syntax_uid: UID
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


def video_dataset(subject: Subject, walk: Walk, stream: Stream, now: datetime) -> Dataset:
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
    _put_identity(dataset, now)
    _put_patient_and_study(dataset, subject)
    _put_series(dataset, walk)
    _put_times(dataset, walk, now)
    _put_image(dataset, walk, stream)
    _put_equipment(dataset, walk, stream, now)
    return dataset


def _put_identity(dataset: Dataset, now: datetime) -> None:
    """SOP Common, C.12.1, and file meta information, PS3.10 7.1."""
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = f"{now:%Y%m%d}", f"{now:%H%M%S.%f}"
    dataset.TimezoneOffsetFromUTC = f"{now:%z}"[:5]
    dataset.CodingSchemeIdentificationSequence = [private_coding_scheme()]
    meta = FileMetaDataset()
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
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
    dataset.SeriesInstanceUID = generate_uid(prefix=None)
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    what = f"Gait video, {walk.view.value} view"
    dataset.SeriesDescription = f"{what}, {walk.task}"[:64] if walk.task else what
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


def _put_image(dataset: Dataset, walk: Walk, stream: Stream) -> None:
    """The image itself, `operators.video.photographic`, and what a camera's has besides."""
    origin = "DERIVED" if stream.has_other_pixels else "ORIGINAL"
    put_image(dataset, stream.facts, stream.transfer_syntax_uid, image_type=(origin, "PRIMARY"))
    dataset.AcquisitionContextSequence = acquisition_context(
        view=walk.view.value, task=walk.task, aid=walk.aid, walkway_m=walk.distance_m
    )
    if stream.history:
        dataset.DerivationDescription = stream.history
    dataset.EffectiveDuration = decimal(stream.facts.frames / stream.facts.frame_rate)
    dataset.BurnedInAnnotation = "NO"
    dataset.RecognizableVisualFeatures = "YES"  # also with hidden faces: no person has checked every frame
    if stream.audio_channels:
        modes = CHANNELS.get(stream.audio_channels, ("MONO",) * stream.audio_channels)
        dataset.MultiplexedAudioChannelsDescriptionCodeSequence = [
            _channel(index, mode) for index, mode in enumerate(modes)
        ]


def _channel(index: int, mode: str) -> Dataset:
    item = Dataset()
    item.ChannelIdentificationCode, item.ChannelMode = index + 1, mode
    item.ChannelSourceSequence = [coded(ROOM_SOUND)]
    return item


def _put_equipment(dataset: Dataset, walk: Walk, stream: Stream, now: datetime) -> None:
    """General Equipment, C.7.5.1: the camera; the node is a contributor, C.12.1."""
    dataset.Manufacturer = walk.maker
    if walk.model:
        dataset.ManufacturerModelName = walk.model
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(PROCESSING_EQUIPMENT)]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = (
        MANUFACTURER,
        "dicom-node",
        __version__,
    )
    item.ContributionDateTime = f"{now:%Y%m%d%H%M%S%z}"
    done = stream.history or "the stream is the camera's"
    item.ContributionDescription = f"Video file made a DICOM object: {done}"[:1024]
    dataset.ContributingEquipmentSequence = [item]
