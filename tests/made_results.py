"""A small but complete result, as an app writes it: SEG, SR, key image, PDF, pictures, ``result.json``.

Made with highdicom from a CT of four slices, so that tests can break one thing at a time.
"""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from dicom_node.verify import OutputPromise, ResultIdentity
from operators.geometry import VolumeGeometry

STATEMENT = "research use, trained on synthetic data"
SLICES, ROWS, COLUMNS = 4, 12, 16
STUDY_UID = "2.25.1001"
SERIES_UID = "2.25.1002"
FRAME_OF_REFERENCE_UID = "2.25.1003"
OUTPUTS = (
    OutputPromise(role="segmentation", sop_class=SegmentationStorage),
    OutputPromise(role="report", sop_class=Comprehensive3DSRStorage),
    OutputPromise(role="key_image", sop_class=SecondaryCaptureImageStorage, count="1..n"),
    OutputPromise(role="report_pdf", sop_class=EncapsulatedPDFStorage, count="0..1"),
)
IDENTITY = ResultIdentity(
    app="test_app",
    app_version="0.1.0",
    model_digest="sha256:aa",
    input_digest="sha256:bb",
    training_kind="synthetic",
    training_statement=STATEMENT,
)
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@dataclass(frozen=True)
class MadeResult:
    """A result folder and what it was made from."""

    directory: Path
    inputs: tuple[Path, ...]
    study_instances: frozenset[str]

    def edit(self, name: str, change: Callable[[Dataset], Any]) -> None:
        """Changes one object in its file."""
        path = self.directory / name
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path, enforce_file_format=True)

    def edit_manifest(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Changes ``result.json``."""
        path = self.directory / "result.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        change(manifest)
        path.write_text(json.dumps(manifest), encoding="utf-8")


def make_result(folder: Path, *, deflated: bool = False) -> MadeResult:
    """A fresh copy of the result below ``folder``; UIDs are the same every time."""
    template = _template(deflated)
    shutil.copytree(template / "source", folder / "source")
    shutil.copytree(template / "result", folder / "result")
    inputs = tuple(sorted((folder / "source").glob("*.dcm")))
    uids = frozenset(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in inputs)
    return MadeResult(folder / "result", inputs, uids)


@cache
def _template(deflated: bool) -> Path:
    folder = Path(mkdtemp(prefix="made_result_"))
    (folder / "source").mkdir()
    (folder / "result").mkdir()
    source = [ct_slice(number) for number in range(SLICES)]
    for number, dataset in enumerate(source):
        dataset.save_as(folder / "source" / f"{number}.dcm", enforce_file_format=True)
    _write_result(folder / "result", source, deflated=deflated)
    return folder


def ct_slice(number: int) -> Dataset:
    """One slice of the source, 5 mm apart, 2 x 2 mm pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"2.25.10040{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = "PHANTOM^Delivery=試験^配送"
    dataset.PatientID = "PHANTOM-0001"
    dataset.IssuerOfPatientID = "HOSPITAL-A"
    dataset.PatientBirthDate = "19500102"
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = STUDY_UID
    dataset.StudyDate = "20260102"
    dataset.StudyTime = "101112"
    dataset.StudyID = "S1"
    dataset.AccessionNumber = "ACC-77"
    dataset.ReferringPhysicianName = "Referrer^Rita"
    dataset.SeriesInstanceUID = SERIES_UID
    dataset.SeriesNumber = 1
    dataset.Modality = "CT"
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE_UID
    dataset.PositionReferenceIndicator = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = number + 1
    dataset.ImagePositionPatient = [-16.0, -12.0, 5.0 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [2.0, 2.0]
    dataset.SliceThickness = 5.0
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.PixelData = np.full((ROWS, COLUMNS), number, np.int16).tobytes()
    return dataset


def ct_headers(slices: int, rows: int) -> list[Dataset]:
    """A CT as the source of larger objects: slices of so many rows and columns, without pixels."""
    found = [ct_slice(number) for number in range(slices)]
    for one in found:
        one.Rows = one.Columns = rows
        del one.PixelData
    return found


def ct_grid(slices: int = SLICES, rows: int = ROWS, columns: int = COLUMNS) -> VolumeGeometry:
    """Where the voxels of such slices are."""
    return VolumeGeometry(
        (slices, rows, columns), (5.0, 2.0, 2.0), (-16.0, -12.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )


def _write_result(folder: Path, source: list[Dataset], *, deflated: bool) -> None:
    segmentation = _segmentation(source)
    if deflated:
        segmentation.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    objects = {
        "segmentation": segmentation,
        "report": _report(source, segmentation),
        "key_image": _key_image(source),
        "report_pdf": _encapsulated_pdf(source),
    }
    for role, dataset in objects.items():
        dataset.IssuerOfPatientID = source[0].IssuerOfPatientID
        dataset.save_as(folder / f"{role}.dcm", enforce_file_format=True)
    (folder / "report.pdf").write_bytes(PDF)
    (folder / "preview_1.png").write_bytes(_png())
    manifest = {
        "app": IDENTITY.app,
        "app_version": IDENTITY.app_version,
        "model_digest": IDENTITY.model_digest,
        "input_digest": IDENTITY.input_digest,
        "training_kind": "synthetic",
        "objects": [{"role": role, "file": f"{role}.dcm"} for role in objects],
        "pdf": "report.pdf",
        "previews": ["preview_1.png"],
        "measurements": {"volume": {"value": 1.0, "unit": "cm3"}},
        "warnings": [],
        "summary": "a test",
    }
    (folder / "result.json").write_text(json.dumps(manifest), encoding="utf-8")


def _segmentation(source: list[Dataset]) -> Dataset:
    mask_zyx = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    mask_zyx[0:2, 2:5, 2:5] = 1
    mask_zyx[1:3, 6:9, 8:12] = 2
    algorithm = hd.AlgorithmIdentificationSequence(
        name="test", version="0.1.0", family=codes.cid7162.ArtificialIntelligence
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=code.meaning,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=code,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, code in ((1, codes.SCT.Heart), (2, codes.SCT.Liver))
    ]
    segmentation = hd.seg.Segmentation(
        source_images=source,
        pixel_array=mask_zyx,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid="2.25.2001",
        series_number=901,
        sop_instance_uid="2.25.2002",
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="test_app",
        software_versions="0.1.0",
        device_serial_number="sha256:aa",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="TEST",
        series_description=STATEMENT,
    )
    return segmentation


def _report(source: list[Dataset], segmentation: Dataset) -> Dataset:
    tracking = TrackingIdentifier(uid="2.25.2010", identifier="Heart")
    group = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=codes.SCT.AnatomicalStructure,
        finding_sites=[FindingSite(codes.SCT.Heart)],
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=1,
            source_series=SourceSeriesForSegmentation(SERIES_UID),
        ),
        algorithm_id=AlgorithmIdentification(name="test", version="0.1.0", parameters=[STATEMENT]),
        measurements=[
            Measurement(name=codes.SCT.Volume, value=1.0, unit=codes.UCUM.CubicCentimeter),
        ],
    )
    observer = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid="2.25.2011", name="DICOMNODE"
        ),
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=source,
    )
    return Comprehensive3DSR(
        evidence=[*source, segmentation],
        content=content,
        series_instance_uid="2.25.2003",
        series_number=902,
        sop_instance_uid="2.25.2004",
        instance_number=1,
        manufacturer="Test",
        series_description=STATEMENT,
    )


def _key_image(source: list[Dataset]) -> Dataset:
    pixels = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    pixels[3:6, 3:6, 0] = 255
    return hd.sc.SCImage.from_ref_dataset(
        ref_dataset=source[0],
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        series_instance_uid="2.25.2005",
        series_number=903,
        sop_instance_uid="2.25.2006",
        instance_number=1,
        manufacturer="Test",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=STATEMENT,
    )


def _encapsulated_pdf(source: list[Dataset]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.2008"
    for keyword in (
        "SpecificCharacterSet",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
    ):
        setattr(dataset, keyword, source[0].get(keyword))
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = "2.25.2008"
    dataset.SeriesInstanceUID = "2.25.2007"
    dataset.SeriesDescription = STATEMENT
    dataset.SeriesNumber = 904
    dataset.InstanceNumber = 1
    dataset.Modality = "DOC"
    dataset.Manufacturer = "Test"
    dataset.ContentDate, dataset.ContentTime, dataset.AcquisitionDateTime = "20260102", "101113", ""
    dataset.ConceptNameCodeSequence = []
    dataset.ConversionType = "SYN"
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = "Test"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = PDF + b"\0" * (len(PDF) % 2)
    dataset.EncapsulatedDocumentLength = len(PDF)
    return dataset


def _png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0\x80"))
        + chunk(b"IEND", b"")
    )


def new_uid() -> str:
    """A UID that nothing else has."""
    return str(generate_uid(prefix=None))
