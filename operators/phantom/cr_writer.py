"""Valid CR and DX instances of a phantom (PS3.3 A.2, A.26): one file for each radiograph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from operators.phantom.identity import phantom_uid

DATE = "20240514"


class ViewSaidBy(Enum):
    """Where an instance says its view: archives differ."""

    CODE = "ViewCodeSequence"
    """In a DX object; a CR object has View Position in its place."""
    POSITION = "ViewPosition"
    TEXT = "SeriesDescription"


@dataclass(frozen=True, kw_only=True)
class RadiographStudy:
    """Who and where a phantom's radiographs are.

    Args:
        kind: What it is a phantom of; part of its UIDs.
        seed: Of the case.
        station: The simulated hospital.
        description: Of the study.
        age_years, sex: Of the patient.
        is_dx: Digital X-Ray Image Storage; otherwise Computed Radiography.
        character_set: Specific Character Set (0008,0005) of the texts.
    """

    kind: str
    seed: int
    station: str
    description: str
    age_years: int
    sex: str
    is_dx: bool
    character_set: str = "ISO_IR 192"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One radiograph.

    Args:
        number: Instance Number, from 1; part of its UID.
        series: Series Number; instances of one series share it.
        series_description: Of that series.
        view: View Code, CID 4010.
        view_modifier: Of the view, CID 4011, such as a cross-table one.
        view_position: View Position (0018,5101) that says the same: AP, LL or RL.
        said_by: Which of them is written; the last is text alone.
        body_part: Body Part Examined (0018,0015).
        region: Anatomic Region, CID 4031.
        laterality: "R", "L" or "B".
        patient_orientation: Of rows and columns, such as L and F.
        pixel_mm: Of the detector.
        source_mm, detector_mm: From the focus to the patient and to the detector.
        kvp: Peak kilo voltage.
        bits: Bits Stored, 10 to 16.
        is_monochrome1: Small values are bright.
        pixel_spacing: CR only: Pixel Spacing (0028,0030) is there instead of Imager Pixel Spacing.
        transfer_syntax: Of the pixels; one that loses nothing.
    """

    number: int
    series: int
    series_description: str
    view: Code
    view_modifier: Code | None
    view_position: str
    said_by: ViewSaidBy
    body_part: str
    region: Code
    laterality: str
    patient_orientation: tuple[str, str]
    pixel_mm: float
    source_mm: float
    detector_mm: float
    kvp: int
    bits: int
    is_monochrome1: bool
    pixel_spacing: bool = False
    transfer_syntax: UID = ExplicitVRLittleEndian


def write_radiograph(
    path: Path, grey: NDArray[np.floating], study: RadiographStudy, shot: Shot
) -> tuple[UID, UID]:
    """Writes one file; the same study and shot always give the same bytes.

    Args:
        path: Its folder is made when missing.
        grey: ``(y, x)`` 0..1, bone bright.
        study: Identity.
        shot: The radiograph.

    Returns:
        SOP Instance UID and Series Instance UID.
    """
    top = 2**shot.bits - 1
    shown = 1 - grey if shot.is_monochrome1 else grey
    pixels = np.rint(np.clip(shown, 0, 1) * top).astype("<u2")
    dataset = _header(study, shot)
    if study.is_dx:
        _dx(dataset, study, shot)
    else:
        _cr(dataset, shot)
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PhotometricInterpretation = "MONOCHROME1" if shot.is_monochrome1 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, shot.bits, shot.bits - 1
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = float(2 ** (shot.bits - 1)), float(2**shot.bits)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if shot.transfer_syntax != ExplicitVRLittleEndian:
        dataset.compress(shot.transfer_syntax, pixels, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return UID(dataset.SOPInstanceUID), UID(dataset.SeriesInstanceUID)


def _header(study: RadiographStudy, shot: Shot) -> Dataset:
    identity = (study.kind, study.station, study.seed)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = study.character_set
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
        DigitalXRayImageStorageForPresentation if study.is_dx else ComputedRadiographyImageStorage
    )
    dataset.SOPInstanceUID = phantom_uid(*identity, "image", shot.number)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = phantom_uid(*identity, "study")
    dataset.SeriesInstanceUID = phantom_uid(*identity, "series", shot.series)
    dataset.PatientName = f"PHANTOM^{study.kind}^{study.seed}"
    dataset.PatientID = f"PHANTOM-{study.kind}-{study.station}-{study.seed}"[:64]
    dataset.PatientBirthDate, dataset.PatientSex = f"{int(DATE[:4]) - study.age_years}0101", study.sex
    dataset.PatientAge = f"{study.age_years:03d}Y"
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "computer-generated phantom"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = DATE
    dataset.StudyTime = "101500"
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = f"10{15 + shot.number:02d}00"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = str(study.seed), "", ""
    dataset.StudyDescription, dataset.SeriesDescription = study.description, shot.series_description
    dataset.Modality = "DX" if study.is_dx else "CR"
    dataset.Manufacturer, dataset.StationName = "dicom-node phantom", study.station[:16]
    dataset.SoftwareVersions = "dicom-node phantom 1"
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = shot.series, 1, shot.number
    dataset.BodyPartExamined = shot.body_part
    dataset.KVP = shot.kvp
    dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient = (
        shot.detector_mm,
        round(shot.source_mm, 1),
    )
    dataset.PatientOrientation = list(shot.patient_orientation)
    if shot.said_by is ViewSaidBy.POSITION:
        dataset.ViewPosition = shot.view_position
    return dataset


def _cr(dataset: Dataset, shot: Shot) -> None:
    """CR Series and CR Image modules (PS3.3 C.8.1)."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.ViewPosition = (
        "" if shot.said_by is ViewSaidBy.TEXT else shot.view_position
    )  # it has no view code
    if shot.laterality != "B":  # an unpaired body part has none
        dataset.Laterality = shot.laterality
    if shot.pixel_spacing:
        dataset.PixelSpacing = [shot.pixel_mm, shot.pixel_mm]
    else:
        dataset.ImagerPixelSpacing = [shot.pixel_mm, shot.pixel_mm]


def _dx(dataset: Dataset, study: RadiographStudy, shot: Shot) -> None:
    """DX Series, Anatomy, Image, Detector and Positioning modules (PS3.3 C.8.11)."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageLaterality = shot.laterality
    dataset.AnatomicRegionSequence = Sequence([_code(shot.region)])
    if shot.said_by is ViewSaidBy.CODE:
        dataset.ViewCodeSequence = Sequence([_view(shot)])
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = (
        "LOG",
        (1 if shot.is_monochrome1 else -1),
    )
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if shot.is_monochrome1 else "IDENTITY"
    dataset.LossyImageCompression, dataset.BurnedInAnnotation = "00", "NO"
    dataset.DetectorType, dataset.DetectorConfiguration = "SCINTILLATOR", "AREA"
    dataset.DetectorID = study.station
    dataset.ImagerPixelSpacing = [shot.pixel_mm, shot.pixel_mm]
    dataset.PositionerType = "NONE"
    dataset.AcquisitionContextSequence = Sequence([])


def _view(shot: Shot) -> Dataset:
    item = _code(shot.view)
    item.ViewModifierCodeSequence = Sequence([_code(shot.view_modifier)] if shot.view_modifier else [])
    return item


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item
