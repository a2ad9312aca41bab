"""A small NM SPECT series as a camera writes it, for tests of the encoders."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
)

from operators.encode.identity import SYNTHETIC, SYNTHETIC_STATEMENT, Producer
from operators.geometry import VolumeGeometry
from tests.dicom_checks import JAPANESE_NAME, dciodvfy_errors

SHAPE_ZYX = (24, 32, 30)
SPACING_MM_ZYX = (5.0, 4.5, 4.0)
ORIGIN_MM_LPS = (-58.0, -70.0, 55.0)


@pytest.fixture
def geometry() -> VolumeGeometry:
    """Slices go from head to feet, as many cameras store them."""
    return VolumeGeometry(SHAPE_ZYX, SPACING_MM_ZYX, ORIGIN_MM_LPS, ((0, 0, -1), (0, 1, 0), (1, 0, 0)))


def _detector() -> Dataset:
    detector = Dataset()
    detector.ImagePositionPatient = list(ORIGIN_MM_LPS)
    detector.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    return detector


@pytest.fixture
def spect() -> Dataset:
    """Header and pixels of a reconstructed SPECT of a patient with a Japanese name."""
    nm = Dataset()
    nm.file_meta = FileMetaDataset()
    nm.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    nm.file_meta.MediaStorageSOPClassUID = NuclearMedicineImageStorage
    nm.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    nm.SOPClassUID = NuclearMedicineImageStorage
    nm.SOPInstanceUID = nm.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1.1"
    nm.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    nm.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1.2"
    nm.PatientName = JAPANESE_NAME
    nm.PatientID = "00012345"
    nm.IssuerOfPatientID = "BYOUIN"
    nm.PatientBirthDate, nm.PatientSex, nm.PatientAge = "19500704", "M", "070Y"
    nm.PatientWeight = "62.5"
    nm.StudyDate, nm.StudyTime, nm.StudyID = "20260102", "101500", "S1"
    nm.AccessionNumber, nm.ReferringPhysicianName = "A778", "鈴木^花子"
    nm.StudyDescription = "心筋シンチグラム"
    nm.Modality, nm.Manufacturer, nm.SeriesNumber, nm.InstanceNumber = "NM", "CAMERA", 4, 1
    nm.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    nm.NumberOfFrames, nm.Rows, nm.Columns = SHAPE_ZYX
    nm.PixelSpacing, nm.SliceThickness = [4.5, 4.0], 5.0
    nm.DetectorInformationSequence = [_detector()]
    nm.SamplesPerPixel, nm.PhotometricInterpretation = 1, "MONOCHROME2"
    nm.BitsAllocated, nm.BitsStored, nm.HighBit, nm.PixelRepresentation = 16, 16, 15, 0
    nm.PixelData = np.random.default_rng(1).poisson(50, SHAPE_ZYX).astype("<u2").tobytes()
    return nm


@pytest.fixture
def radiograph() -> Dataset:
    """A CR of a hip of a patient with a Japanese name: bone is dark in its pixels (MONOCHROME1)."""
    cr = Dataset()
    cr.file_meta = FileMetaDataset()
    cr.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    cr.file_meta.MediaStorageSOPClassUID = cr.SOPClassUID = ComputedRadiographyImageStorage
    cr.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    cr.SOPInstanceUID = cr.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.2.1"
    cr.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    cr.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2.2"
    cr.PatientName, cr.PatientID = "Yamada^Hanako=山田^花子=やまだ^はなこ", "00054321"
    cr.PatientBirthDate, cr.PatientSex = "19400704", "F"
    cr.StudyDate, cr.StudyTime, cr.StudyID = "20260102", "101500", "S2"
    cr.AccessionNumber, cr.ReferringPhysicianName, cr.StudyDescription = "A779", "鈴木^花子", "股関節正面"
    cr.Modality, cr.Manufacturer, cr.SeriesNumber, cr.InstanceNumber = "CR", "READER", 1, 1
    cr.ImageType, cr.BodyPartExamined, cr.ViewPosition = ["ORIGINAL", "PRIMARY"], "HIP", "AP"
    cr.Laterality, cr.PatientOrientation = "R", ["L", "F"]
    cr.Rows, cr.Columns, cr.ImagerPixelSpacing = 48, 64, [0.2, 0.2]
    cr.SamplesPerPixel, cr.PhotometricInterpretation = 1, "MONOCHROME1"
    cr.BitsAllocated, cr.BitsStored, cr.HighBit, cr.PixelRepresentation = 16, 10, 9, 0
    cr.WindowCenter, cr.WindowWidth = "511", "1024"
    cr.PixelData = np.random.default_rng(2).integers(0, 1024, (48, 64)).astype("<u2").tobytes()
    return cr


@pytest.fixture
def labels_zyx() -> np.ndarray:
    """``(24, 32, 30)`` uint8: 1 heart, 2 left lung, 3 right lung, 4 liver, 5 without a voxel."""
    z, y, x = np.indices(SHAPE_ZYX)
    labels = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    labels[(x >= 18) & (z < 12)] = 2
    labels[(x < 10) & (z < 12)] = 3
    labels[(z >= 15) & (x < 16)] = 4
    labels[(z - 10) ** 2 + (y - 12) ** 2 + (x - 17) ** 2 < 25] = 1
    return labels


@pytest.fixture
def producer() -> Producer:
    """An app whose model was trained on phantoms."""
    return Producer(
        app="mibg_spect",
        app_version="0.1.0",
        title="MIBG SPECT",
        intended_use="Quantification of I-123 MIBG SPECT",
        model_digest="sha256:" + "ab" * 32,
        input_digest="sha256:" + "cd" * 32,
        training_kind=SYNTHETIC,
        statement=SYNTHETIC_STATEMENT,
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


@pytest.fixture
def dicom_errors(tmp_path: Path):
    """Function: the lines in which dciodvfy reports an error in an object."""

    def check(dataset: Dataset) -> list[str]:
        path = tmp_path / "checked.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return dciodvfy_errors(path)

    return check
