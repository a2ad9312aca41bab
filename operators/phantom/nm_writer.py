"""Valid NM objects of phantoms: reconstructed tomograms and static views (PS3.3 A.5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from operators.geometry import VolumeGeometry
from operators.phantom.identity import phantom_uid

NM_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.20"
GENERATOR = "dicom-node phantom 1"
MAX_STORED = 32000
"""Stored values stay below this, so that no reader mistakes them for signed."""


@dataclass(frozen=True, kw_only=True)
class Tracer:
    """An I-123 radiopharmaceutical.

    Args:
        code: In SNOMED CT, of CID 25.
        meaning: Code Meaning.
        name: Radiopharmaceutical (0018,0031).
    """

    code: str
    meaning: str
    name: str


MIBG = Tracer(code="395787009", meaning="Iodine^123 3-Iodobenzylguanidine MIBG", name="I-123 MIBG")
IOFLUPANE = Tracer(code="429296007", meaning="Ioflupane I^123^", name="I-123 ioflupane")


@dataclass(frozen=True, kw_only=True)
class PhantomStudy:
    """What all objects of one phantom study have in common.

    Args:
        seed: Gives identity and UIDs.
        kind: Word for the name and the UIDs, such as ``MIBG``.
        sex: ``M``, ``F`` or ``O``.
        age_years: At the study.
        weight_kg: Body weight.
        injected: When the radiopharmaceutical was given.
        activity_mbq: At that time.
        description: Study Description.
        station: Station Name.
        body_part: Body Part Examined.
        tracer: What was given.
        height_m: Body height, left out when None.
    """

    seed: int
    kind: str
    sex: str
    age_years: int
    weight_kg: float
    injected: datetime
    activity_mbq: float
    description: str
    station: str
    body_part: str = "CHEST"
    tracer: Tracer = MIBG
    height_m: float | None = None

    def uid(self, *parts: object) -> str:
        """A UID of this study's, for the given parts."""
        return phantom_uid(self.kind, self.station, self.seed, *parts)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One acquisition.

    Args:
        name: Unique in the study, such as ``early``; UIDs derive from it.
        number: Series Number.
        description: Series Description.
        acquired: Start.
        frame_duration_s: Of each view.
        views: Number of views of the rotation; 1 for a static view.
        collimator_name: Collimator/Grid Name.
        orbit_mm: Radius of rotation, or distance of the detector.
        corrections: Corrected Image (0028,0051), left out when empty.
    """

    name: str
    number: int
    description: str
    acquired: datetime
    frame_duration_s: float
    views: int
    collimator_name: str
    orbit_mm: float
    corrections: tuple[str, ...] = ()


def write_tomogram(
    path: Path,
    counts_zyx: NDArray[np.float32],
    geometry: VolumeGeometry,
    study: PhantomStudy,
    shot: Shot,
    *,
    method: str,
    collimator_type: str = "PARA",
) -> None:
    """Writes a RECON TOMO of the counts; slices follow the array, whichever way it runs."""
    instance = _start(study, shot)
    instance.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    instance.FrameOfReferenceUID = study.uid(shot.name, "frame of reference")
    instance.PositionReferenceIndicator = ""
    slices = counts_zyx.shape[0]
    _put_pixels(instance, counts_zyx, geometry.spacing_mm_zyx[1:], frames=slices)
    direction = np.asarray(geometry.direction_lps_zyx)
    along_normal = float(np.cross(direction[2], direction[1]) @ direction[0])
    instance.SpacingBetweenSlices = _ds(geometry.spacing_mm_zyx[0] * np.sign(along_normal))
    instance.SliceThickness = _ds(geometry.spacing_mm_zyx[0])
    instance.NumberOfSlices = slices
    instance.FrameIncrementPointer = 0x00540080
    instance.SliceVector = list(range(1, slices + 1))
    instance.ReconstructionMethod = method
    instance.AcquisitionContextSequence = []
    instance.RotationInformationSequence = [_rotation(shot)]
    instance.NumberOfRotations = 1
    instance.TypeOfDetectorMotion = "STEP AND SHOOT"
    detector = _detector(shot, collimator_type)
    detector.ImagePositionPatient = [_ds(v) for v in geometry.origin_mm_lps]
    detector.ImageOrientationPatient = [_ds(v) for v in (*direction[2], *direction[1])]
    instance.DetectorInformationSequence = [detector]
    _save(instance, path)


def write_static(
    path: Path,
    counts_yx: NDArray[np.float32],
    spacing_mm: float,
    study: PhantomStudy,
    shot: Shot,
    *,
    collimator_type: str = "PARA",
) -> None:
    """Writes an anterior STATIC view."""
    instance = _start(study, shot)
    instance.ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    _put_pixels(instance, counts_yx[None], (spacing_mm, spacing_mm), frames=1)
    instance.FrameIncrementPointer = [0x00540010, 0x00540020]
    instance.EnergyWindowVector = [1]
    instance.DetectorVector = [1]
    instance.NumberOfDetectors = 1
    instance.ActualFrameDuration = round(shot.frame_duration_s * 1000)
    detector = _detector(shot, collimator_type)
    detector.ViewCodeSequence = [_code("399348003", "antero-posterior")]
    detector.ViewCodeSequence[0].ViewModifierCodeSequence = []
    detector.ImagePositionPatient = [0, 0, 0]
    detector.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    instance.DetectorInformationSequence = [detector]
    _save(instance, path)


def _start(study: PhantomStudy, shot: Shot) -> Dataset:
    instance = Dataset()
    instance.SpecificCharacterSet = "ISO_IR 192"
    instance.SOPClassUID = NM_IMAGE_STORAGE
    instance.SOPInstanceUID = study.uid(shot.name, "instance")
    _put_patient(instance, study)
    instance.StudyInstanceUID = study.uid("study")
    instance.StudyDate = f"{study.injected:%Y%m%d}"
    instance.StudyTime = f"{study.injected:%H%M%S}"
    instance.StudyID = f"{study.seed % 10**8}"
    instance.AccessionNumber = f"PH{study.seed % 10**10}"
    instance.ReferringPhysicianName = ""
    instance.StudyDescription = study.description
    instance.Modality = "NM"
    instance.SeriesInstanceUID = study.uid(shot.name, "series")
    instance.SeriesNumber = shot.number
    instance.SeriesDescription = shot.description
    for kind in ("Series", "Content", "Acquisition"):
        setattr(instance, f"{kind}Date", f"{shot.acquired:%Y%m%d}")
        setattr(instance, f"{kind}Time", f"{shot.acquired:%H%M%S}")
    instance.BodyPartExamined = study.body_part
    instance.Manufacturer = "dicom-node phantom"
    instance.ManufacturerModelName = "Simulated gamma camera"
    instance.StationName = study.station
    instance.DeviceSerialNumber = f"PHANTOM-{study.station}"
    instance.SoftwareVersions = GENERATOR
    instance.InstanceNumber = 1
    instance.PatientOrientationCodeSequence = [_oriented()]
    instance.PatientGantryRelationshipCodeSequence = [_code("102540008", "headfirst")]
    instance.RadiopharmaceuticalInformationSequence = [_administration(study)]
    instance.NumberOfEnergyWindows = 1
    instance.EnergyWindowInformationSequence = [_energy_window()]
    instance.NumberOfDetectors = 1
    if shot.corrections:
        instance.CorrectedImage = list(shot.corrections)
    return instance


def _put_patient(instance: Dataset, study: PhantomStudy) -> None:
    instance.PatientName = f"PHANTOM^{study.kind}^{study.station} {study.seed}"
    instance.PatientID = f"PHANTOM-{study.kind}-{study.station}-{study.seed}"
    instance.PatientBirthDate = f"{study.injected.year - study.age_years}0101"
    instance.PatientSex = study.sex
    instance.PatientAge = f"{study.age_years:03d}Y"
    instance.PatientWeight = _ds(study.weight_kg)
    if study.height_m is not None:
        instance.PatientSize = _ds(study.height_m)
    instance.PatientIdentityRemoved = "YES"
    instance.DeidentificationMethod = "Synthetic phantom: there is no person"


def _oriented() -> Dataset:
    oriented = _code("102538003", "recumbent")
    oriented.PatientOrientationModifierCodeSequence = [_code("40199007", "supine")]
    return oriented


def _administration(study: PhantomStudy) -> Dataset:
    item = Dataset()
    item.RadionuclideCodeSequence = [_code("21572004", "^123^Iodine")]
    item.RadiopharmaceuticalCodeSequence = [_code(study.tracer.code, study.tracer.meaning)]
    item.Radiopharmaceutical = study.tracer.name
    item.RadiopharmaceuticalStartTime = f"{study.injected:%H%M%S}"
    item.RadiopharmaceuticalStartDateTime = f"{study.injected:%Y%m%d%H%M%S}"
    item.RadionuclideTotalDose = _ds(study.activity_mbq)
    item.RadionuclideHalfLife = _ds(13.2 * 3600)
    return item


def _energy_window() -> Dataset:
    window = Dataset()
    window.EnergyWindowName = "I-123 159 keV"
    limits = Dataset()
    limits.EnergyWindowLowerLimit = 143.1
    limits.EnergyWindowUpperLimit = 174.9
    window.EnergyWindowRangeSequence = [limits]
    return window


def _rotation(shot: Shot) -> Dataset:
    rotation = Dataset()
    rotation.StartAngle = 0.0
    rotation.AngularStep = _ds(360.0 / shot.views)
    rotation.RotationDirection = "CW"
    rotation.ScanArc = 360.0
    rotation.ActualFrameDuration = round(shot.frame_duration_s * 1000)
    rotation.RadialPosition = [_ds(shot.orbit_mm)] * shot.views
    rotation.NumberOfFramesInRotation = shot.views
    rotation.TableTraverse = None
    rotation.TableHeight = None
    return rotation


def _detector(shot: Shot, collimator_type: str) -> Dataset:
    detector = Dataset()
    detector.CollimatorGridName = shot.collimator_name
    detector.CollimatorType = collimator_type
    detector.FieldOfViewShape = "RECTANGLE"
    detector.ZoomFactor = [1.0, 1.0]
    detector.FocalDistance = 0
    detector.XFocusCenter = None
    detector.YFocusCenter = None
    detector.StartAngle = 0.0
    detector.RadialPosition = _ds(shot.orbit_mm)
    return detector


def _put_pixels(
    instance: Dataset, counts: NDArray[np.float32], spacing_mm_yx: tuple[float, ...], *, frames: int
) -> None:
    slope = _slope_for(float(counts.max()))
    stored = np.clip(np.rint(counts / slope), 0, MAX_STORED).astype("<u2")
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.NumberOfFrames = frames
    instance.Rows, instance.Columns = (int(n) for n in counts.shape[1:])
    instance.PixelSpacing = [_ds(v) for v in spacing_mm_yx]
    instance.BitsAllocated = instance.BitsStored = 16
    instance.HighBit = 15
    instance.PixelRepresentation = 0
    instance.LossyImageCompression = "00"
    instance.CountsAccumulated = round(float(counts.sum()))
    instance.RescaleSlope = _ds(slope)
    instance.RescaleIntercept = 0
    instance.PixelData = stored.tobytes()


def _slope_for(highest: float) -> float:
    """Counts are stored as they are, or in tenths or hundredths where they are few."""
    for slope in (0.01, 0.1, 1.0, 10.0, 100.0):
        if highest / slope <= MAX_STORED:
            return slope
    return highest / MAX_STORED


def _code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _ds(value: float) -> float:
    """A number that fits the 16 characters of a DS."""
    return float(f"{value:.6f}")


def _save(instance: Dataset, path: Path) -> None:
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, instance, enforce_file_format=True)
