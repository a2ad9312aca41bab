"""Synthetic NM studies and a manifest like that of mibg_spect, to ask the rules about."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, NuclearMedicineImageStorage

from operators.select.headers import InstanceHeader, SeriesHeaders, group_series, header_of
from operators.select.manifest import AppManifest, parse_manifest

MANIFEST = """
[app]
name = "mibg"
version = "0.1.0"
title = "MIBG"
intended_use = "tests"

[training]
kind = "synthetic"
statement = "research use, trained on synthetic data"

[limits]
memory_mb = 2000

[study]
claims = ["early", "late", "planar"]
needs_any = [["early", "late"]]
reason_needs = "a reconstructed MIBG SPECT is needed"

[[output]]
role = "segmentation"
sop_class = "1.2.840.10008.5.1.4.1.1.66.4"
"""

TRACER = {
    "any": [
        {
            "attribute": "RadiopharmaceuticalInformationSequence.RadiopharmaceuticalCodeSequence.CodeValue",
            "equals": "395787009",
        },
        {
            "attribute": "RadiopharmaceuticalInformationSequence.Radiopharmaceutical",
            "matches": "(?i)MIBG|iobenguane|ミオ",
        },
    ]
}

MODALITY = {"attribute": "Modality", "equals": "NM"}


def spect_input(name: str, least_min: float, most_min: float) -> dict[str, Any]:
    """A SPECT input at these minutes after injection."""
    return {
        "name": name,
        "title": f"{name} MIBG SPECT",
        "match": [
            MODALITY,
            TRACER,
            {"attribute": "ImageType", "index": 3, "one_of": ["RECON TOMO"]},
            {"attribute": "@minutes_after_injection", "at_least": least_min, "at_most": most_min},
        ],
        "envelope": [
            {
                "attribute": "@slice_count",
                "at_least": 24,
                "reason": "at least 24 reconstructed slices are needed",
            },
            {"attribute": "@missing_slices", "at_most": 0, "reason": "every slice is needed"},
            {
                "attribute": "RadiopharmaceuticalInformationSequence.RadionuclideTotalDose",
                "present": True,
                "reason": "counts cannot be normalised to the dose",
                "severity": "warn",
            },
        ],
    }


PLANAR_INPUT = {
    "name": "planar",
    "title": "planar MIBG",
    "when_outside": "leave_out",
    "match": [MODALITY, TRACER, {"attribute": "ImageType", "index": 3, "equals": "STATIC"}],
}


def spect(**changes: Any) -> Dataset:
    """A valid early I-123 MIBG SPECT, changed as asked; None takes an attribute away."""
    dataset = _valid_spect(changes)
    with config.disable_value_validation():
        for keyword, value in changes.items():
            if keyword in dataset:  # an element keeps the validation that it was made with
                delattr(dataset, keyword)
            if value is not None:
                setattr(dataset, keyword, value)
    return dataset


def _valid_spect(changes: dict[str, Any]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = NuclearMedicineImageStorage
    dataset.Modality = "NM"
    dataset.StudyInstanceUID = "1.2.3.1"
    dataset.SeriesInstanceUID = "1.2.3.2"
    dataset.SOPInstanceUID = "1.2.3.3"
    dataset.PatientID = "SECRET-4711"
    dataset.PatientName = "Yamada^Tarou"
    dataset.PatientBirthDate = "19500101"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.SeriesDescription = "Heart SPECT Yamada"
    dataset.AcquisitionDate = "20240105"
    dataset.AcquisitionTime = "103000"
    dataset.Rows = dataset.Columns = 64
    dataset.NumberOfFrames = dataset.NumberOfSlices = 30
    dataset.SliceVector = list(range(1, 31))
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing = [4.8, 4.8]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = 4.8
    dataset.DetectorInformationSequence = Sequence([_detector()])
    dataset.RadiopharmaceuticalInformationSequence = Sequence([tracer()])
    frames, rows, columns = (
        changes.get(k, getattr(dataset, k)) for k in ("NumberOfFrames", "Rows", "Columns")
    )
    dataset.PixelData = (
        bytes(2 * 64 * 64 * 30)
        if None in (frames, rows, columns)
        else bytes(2 * min(max(0, frames) * rows * columns, 64 * 64 * 60))
    )
    return dataset


def tracer(code: str = "395787009", text: str = "I-123 MIBG", start: str | None = "100000") -> Dataset:
    """An item of RadiopharmaceuticalInformationSequence."""
    item, coded = Dataset(), Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = code, "SCT", text
    item.RadiopharmaceuticalCodeSequence = Sequence([coded])
    item.Radiopharmaceutical = text
    item.RadionuclideTotalDose = 111.0
    if start is not None:
        item.RadiopharmaceuticalStartTime = start
    return item


def _detector() -> Dataset:
    item = Dataset()
    item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item.ImagePositionPatient = [-150.0, -150.0, -70.0]
    return item


def ct_slice(number: int, z_mm: float, **changes: Any) -> Dataset:
    """A valid CT slice at a height."""
    dataset = spect(
        NumberOfFrames=None,
        NumberOfSlices=None,
        SliceVector=None,
        DetectorInformationSequence=None,
        RadiopharmaceuticalInformationSequence=None,
        Modality="CT",
        SOPInstanceUID=f"1.2.4.{number}",
        InstanceNumber=number,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        FrameOfReferenceUID="1.2.9",
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[0.0, 0.0, z_mm],
        RescaleSlope=1.0,
        RescaleIntercept=-1024.0,
    )
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def headers(*datasets: Dataset) -> list[InstanceHeader]:
    """The headers of data sets in memory."""
    return [header_of(one, Path(f"{number}.dcm")) for number, one in enumerate(datasets)]


def series_of(*datasets: Dataset) -> list[SeriesHeaders]:
    """The series that these data sets make."""
    return group_series(headers(*datasets))


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., AppManifest]:
    """A manifest from ``MANIFEST``, with other inputs or study rules when given."""

    def make(inputs: list[dict[str, Any]] | None = None, **tables: Any) -> AppManifest:
        raw = tomllib.loads(MANIFEST)
        raw["input"] = inputs or [spect_input("early", 10, 60), spect_input("late", 150, 330), PLANAR_INPUT]
        if inputs:
            raw["study"] = {}
        return parse_manifest(raw | tables)

    return make


@pytest.fixture(scope="session")
def mibg(make_manifest: Callable[..., AppManifest]) -> AppManifest:
    """Early, late and planar MIBG."""
    return make_manifest()


@pytest.fixture(scope="session")
def build() -> Any:
    """The builders of this file, for tests that are imported without it."""

    class Builders:
        spect = staticmethod(spect)
        tracer = staticmethod(tracer)
        ct_slice = staticmethod(ct_slice)
        headers = staticmethod(headers)
        series_of = staticmethod(series_of)
        spect_input = staticmethod(spect_input)
        manifest_text = MANIFEST

    return Builders
