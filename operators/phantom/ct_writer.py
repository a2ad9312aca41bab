"""Valid CT Image Storage instances of a phantom (PS3.3 A.3), one for each slice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from operators.geometry import VolumeGeometry
from operators.phantom.identity import phantom_uid

INTERCEPT_HU = -1024
LOWEST_HU, HIGHEST_HU = -1024, 3071
DATE = "20240402"


@dataclass(frozen=True, kw_only=True)
class CtPhantomStudy:
    """Who and where a CT phantom is.

    Args:
        kind: What it is a phantom of; part of its UIDs.
        seed: Of the case.
        station: The simulated hospital's scanner.
        body_part: Body Part Examined (0018,0015).
        description: Of study and series.
        patient_position: How the patient lies (0018,5100), such as HFS or FFS.
        age_years, sex, weight_kg, height_m: Of the patient, as far as they are known.
        laterality: Laterality (0020,0060) of a paired body part, empty when both sides are seen;
            None for a body part without sides.
        kernel: Convolution Kernel (0018,1210).
        kvp: Peak kilo voltage.
        contrast: Contrast/Bolus Agent (0018,0010), empty for none.
        transfer_syntax: Of the pixels: uncompressed, JPEG-LS lossless or JPEG 2000 lossless.
    """

    kind: str
    seed: int
    station: str
    body_part: str
    description: str
    patient_position: str = "HFS"
    laterality: str | None = None
    age_years: int | None = None
    sex: str = "O"
    weight_kg: float | None = None
    height_m: float | None = None
    kernel: str = ""
    kvp: int = 120
    contrast: str = ""
    transfer_syntax: UID = ExplicitVRLittleEndian


def write_ct_series(
    folder: Path, hu_zyx: NDArray[np.floating], geometry: VolumeGeometry, study: CtPhantomStudy
) -> list[Path]:
    """Write one file for each slice; the same study always gives the same files.

    Args:
        folder: Made when missing.
        hu_zyx: ``(z, y, x)`` Hounsfield units; clipped to what 12 bits hold.
        geometry: Grid, LPS mm.
        study: Identity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for z, plane_hu in enumerate(hu_zyx):
        plane = (np.clip(np.rint(plane_hu), LOWEST_HU, HIGHEST_HU) - INTERCEPT_HU).astype("<u2")
        dataset = _header(geometry, study, z)
        dataset.PixelData = plane.tobytes()
        dataset["PixelData"].VR = "OW"
        if study.transfer_syntax != ExplicitVRLittleEndian:
            dataset.compress(study.transfer_syntax, plane, generate_instance_uid=False)
        files.append(folder / f"slice_{z + 1:04d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _header(geometry: VolumeGeometry, study: CtPhantomStudy, z: int) -> Dataset:
    identity = (study.kind, study.station, study.seed)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = phantom_uid(*identity, "slice", z)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = phantom_uid(*identity, "study")
    dataset.SeriesInstanceUID = phantom_uid(*identity, "series")
    dataset.FrameOfReferenceUID = phantom_uid(*identity, "frame of reference")
    dataset.PatientName = f"PHANTOM^{study.kind}^{study.seed}"
    dataset.PatientID = f"PHANTOM-{study.kind}-{study.station}-{study.seed}"[:64]
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", study.sex
    if study.age_years is not None:
        dataset.PatientBirthDate = f"{int(DATE[:4]) - study.age_years}0101"
        dataset.PatientAge = f"{study.age_years:03d}Y"
    if study.weight_kg is not None:
        dataset.PatientWeight = round(study.weight_kg, 1)
    if study.height_m is not None:
        dataset.PatientSize = round(study.height_m, 2)
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "computer-generated phantom"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = str(study.seed), "", ""
    dataset.StudyDescription = dataset.SeriesDescription = study.description
    dataset.Modality, dataset.Manufacturer = "CT", "dicom-node phantom"
    dataset.StationName, dataset.SoftwareVersions = study.station[:16], "dicom-node phantom 1"
    dataset.BodyPartExamined, dataset.PatientPosition, dataset.PositionReferenceIndicator = (
        study.body_part,
        study.patient_position,
        "",
    )
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 1, 1, z + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    if study.laterality is not None:
        dataset.Laterality = study.laterality
    dataset.KVP = study.kvp
    if study.kernel:
        dataset.ConvolutionKernel = study.kernel
    if study.contrast:
        dataset.ContrastBolusAgent = study.contrast
    _put_geometry(dataset, geometry, z)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = geometry.shape_zyx[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = INTERCEPT_HU, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    return dataset


def _put_geometry(dataset: Dataset, geometry: VolumeGeometry, z: int) -> None:
    dataset.ImagePositionPatient = [round(float(v), 4) for v in geometry.position_mm_lps((z, 0, 0))]
    dataset.ImageOrientationPatient = [*geometry.direction_lps_zyx[2], *geometry.direction_lps_zyx[1]]
    dataset.PixelSpacing = list(geometry.spacing_mm_zyx[1:])
    dataset.SliceThickness = dataset.SpacingBetweenSlices = geometry.spacing_mm_zyx[0]
