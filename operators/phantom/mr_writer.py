"""Valid MR Image Storage instances of a phantom (PS3.3 A.4), one for each slice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from operators.geometry import VolumeGeometry
from operators.phantom.identity import phantom_uid

DATE = "20240516"
GENERATOR = "dicom-node phantom 1"
MAX_STORED = 4095


@dataclass(frozen=True, kw_only=True)
class MrPhantomStudy:
    """Who and where an MR phantom is: the same for all its series.

    Args:
        kind: What it is a phantom of; part of its UIDs.
        seed: Of the case.
        station: The simulated hospital's scanner.
        body_part: Body Part Examined (0018,0015).
        description: Study Description.
        field_t: Magnetic Field Strength.
        age_years, sex, weight_kg: Of the patient.
        transfer_syntax: Of the pixels: uncompressed, JPEG-LS lossless, JPEG 2000 lossless or RLE.
    """

    kind: str
    seed: int
    station: str
    body_part: str
    description: str
    field_t: float
    age_years: int
    sex: str
    weight_kg: float
    transfer_syntax: UID = ExplicitVRLittleEndian

    def uid(self, *parts: object) -> str:
        """A UID of this study's, for the given parts."""
        return phantom_uid(self.kind, self.station, self.seed, *parts)


@dataclass(frozen=True, kw_only=True)
class MrPhantomSeries:
    """One series.

    Args:
        name: Unique in the study, such as ``t1``; UIDs derive from it.
        number: Series Number.
        description: Series Description; may be Japanese.
        protocol: Protocol Name.
        scanning_sequence: Scanning Sequence (0018,0020), such as ``("SE", "IR")``.
        sequence_variant: Sequence Variant (0018,0021).
        repetition_ms, echo_ms: Times.
        inversion_ms: Inversion Time; None without an inversion pulse.
        echo_train: Echo Train Length.
        flip_deg: Flip Angle.
        thickness_mm: Slice Thickness; the geometry has the distance of slices.
        bandwidth_hz: Pixel Bandwidth.
        phase_encoding: ``ROW`` or ``COL``.
        averages: Number of Averages.
        time: Of the acquisition, HHMMSS.
    """

    name: str
    number: int
    description: str
    protocol: str
    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None
    echo_train: int
    flip_deg: float
    thickness_mm: float
    bandwidth_hz: float
    phase_encoding: str
    averages: int
    time: str


def write_mr_series(
    folder: Path,
    signal_zyx: NDArray[np.floating],
    geometry: VolumeGeometry,
    study: MrPhantomStudy,
    series: MrPhantomSeries,
) -> list[Path]:
    """Write one file for each slice; the same study and series always give the same files.

    Args:
        folder: Made when missing.
        signal_zyx: ``(z, y, x)`` stored values; clipped to 12 bits.
        geometry: Grid, LPS mm; all series of a study are in one frame of reference.
        study: Identity.
        series: Sequence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored_zyx = np.clip(np.rint(signal_zyx), 0, MAX_STORED).astype("<u2")
    low, high = np.percentile(stored_zyx, (5, 99.3))
    files = []
    for z, plane in enumerate(stored_zyx):
        dataset = _header(study, series)
        dataset.SOPInstanceUID = study.uid(series.name, "slice", z)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = z + 1
        _put_geometry(dataset, geometry, z, series.thickness_mm)
        dataset.WindowCenter, dataset.WindowWidth = (
            round((float(low) + float(high)) / 2),
            max(round(float(high - low)), 1),
        )
        dataset.PixelData = plane.tobytes()
        dataset["PixelData"].VR = "OW"
        if study.transfer_syntax != ExplicitVRLittleEndian:
            dataset.compress(study.transfer_syntax, plane, generate_instance_uid=False)
        files.append(folder / f"slice_{z + 1:04d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _header(study: MrPhantomStudy, series: MrPhantomSeries) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE" if series.inversion_ms is None else "IR"]
    _put_patient(dataset, study)
    dataset.StudyInstanceUID = study.uid("study")
    dataset.SeriesInstanceUID = study.uid(series.name, "series")
    dataset.FrameOfReferenceUID = study.uid("frame of reference")
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = DATE
    dataset.StudyTime = "093000"
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = series.time
    dataset.StudyID, dataset.AccessionNumber = f"{study.seed % 10**8}", f"PH{study.seed % 10**10}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription, dataset.SeriesDescription = study.description, series.description
    dataset.ProtocolName = series.protocol
    dataset.Modality, dataset.Manufacturer = "MR", "dicom-node phantom"
    dataset.ManufacturerModelName = f"Simulated {study.field_t:g} T"
    dataset.StationName, dataset.SoftwareVersions = study.station[:16], GENERATOR
    dataset.BodyPartExamined, dataset.PatientPosition = study.body_part, "HFS"
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber, dataset.AcquisitionNumber = series.number, 1
    _put_sequence(dataset, study, series)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    return dataset


def _put_patient(dataset: Dataset, study: MrPhantomStudy) -> None:
    dataset.PatientName = f"PHANTOM^{study.kind}^{study.station} {study.seed}"
    dataset.PatientID = f"PHANTOM-{study.kind}-{study.station}-{study.seed}"[:64]
    dataset.PatientBirthDate = f"{int(DATE[:4]) - study.age_years}0101"
    dataset.PatientSex, dataset.PatientAge = study.sex, f"{study.age_years:03d}Y"
    dataset.PatientWeight = round(study.weight_kg, 1)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Synthetic phantom: there is no person"


def _put_sequence(dataset: Dataset, study: MrPhantomStudy, series: MrPhantomSeries) -> None:
    dataset.ScanningSequence = list(series.scanning_sequence)
    dataset.SequenceVariant = list(series.sequence_variant)
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime, dataset.EchoTime = series.repetition_ms, series.echo_ms
    if series.inversion_ms is not None:
        dataset.InversionTime = series.inversion_ms
    dataset.EchoTrainLength, dataset.FlipAngle = series.echo_train, series.flip_deg
    dataset.NumberOfAverages, dataset.PixelBandwidth = series.averages, series.bandwidth_hz
    dataset.InPlanePhaseEncodingDirection = series.phase_encoding
    dataset.MagneticFieldStrength, dataset.ImagedNucleus = study.field_t, "1H"
    dataset.ImagingFrequency = round(42.577 * study.field_t, 3)


def _put_geometry(dataset: Dataset, geometry: VolumeGeometry, z: int, thickness_mm: float) -> None:
    dataset.Rows, dataset.Columns = geometry.shape_zyx[1:]
    dataset.ImagePositionPatient = [round(float(v), 4) for v in geometry.position_mm_lps((z, 0, 0))]
    dataset.ImageOrientationPatient = [*geometry.direction_lps_zyx[2], *geometry.direction_lps_zyx[1]]
    dataset.PixelSpacing = list(geometry.spacing_mm_zyx[1:])
    dataset.SliceThickness, dataset.SpacingBetweenSlices = thickness_mm, geometry.spacing_mm_zyx[0]
