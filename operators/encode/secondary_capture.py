"""A picture as a colour Secondary Capture (PS3.3 A.8.1), in addition to SEG and SR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from operators.encode.context import complete, reference
from operators.encode.identity import Producer


def build_secondary_capture(
    picture_yxc: NDArray[np.uint8],
    sources: Sequence[Dataset],
    producer: Producer,
    *,
    role: str,
    instance_number: int,
    description: str,
    series_role: str = "key_images",
    series_label: str = "Key images",
    ordinal: int = 3,
) -> Dataset:
    """A key image; those of one analysis share a series.

    Args:
        picture_yxc: ``(row, column, 3)`` uint8, RGB. Must not show who the patient is.
        sources: Headers of the images that it shows.
        producer: Who made it.
        role: Part of what the UID derives from; unique in the analysis.
        instance_number: From 1, in reading order.
        description: What it shows, in a sentence.
        series_role: Part of what the series' UID derives from.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.

    Raises:
        ValueError: The picture is not RGB of 8 bits.
    """
    if picture_yxc.ndim != 3 or picture_yxc.shape[2] != 3 or picture_yxc.dtype != np.uint8:
        raise ValueError(f"an RGB picture of 8 bits is needed, not {picture_yxc.shape} {picture_yxc.dtype}")
    image = new_object(
        SecondaryCaptureImageStorage,
        sources[0],
        producer,
        role=role,
        series_role=series_role,
        ordinal=ordinal,
    )
    image.Modality = "OT"
    image.ConversionType = "WSD"
    image.InstanceNumber = instance_number
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ImageComments = f"{description} {producer.statement}".strip()
    image.DerivationDescription = description[:1024]
    image.SourceImageSequence = [reference(source) for source in sources]
    image.PatientOrientation = ""
    image.Laterality = ""  # of the series, which may show several organs; the type 2C attribute stays empty
    image.BurnedInAnnotation = "NO"
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.Rows, image.Columns = picture_yxc.shape[:2]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.LossyImageCompression = "00"
    pixels = np.ascontiguousarray(picture_yxc).tobytes()
    image.PixelData = pixels + b"\x00" * (len(pixels) % 2)
    image["PixelData"].VR = "OB"
    complete(image, sources[0], producer, label=series_label, texts=[description])
    return image


def new_object(
    sop_class_uid: UID,
    source: Dataset,
    producer: Producer,
    *,
    role: str,
    series_role: str,
    ordinal: int,
) -> Dataset:
    """An object with identifiers and file meta information, and nothing else yet."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = producer.uid(role)
    dataset.StudyInstanceUID = source.StudyInstanceUID
    dataset.SeriesInstanceUID = producer.uid(f"series/{series_role}")
    dataset.SeriesNumber = producer.series_number(ordinal)
    return dataset
