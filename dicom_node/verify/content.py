"""An object says something: it can be read, has content, and says what its model was trained on."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, AllTransferSyntaxes

from dicom_node.errors import BrokenPromise
from dicom_node.verify.encoding import is_complete
from dicom_node.verify.presentation import PRESENTATION_STATE, drawn_texts
from dicom_node.verify.references import content_items

_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_STATEMENT_KEYWORDS = (
    "SeriesDescription",
    "ContentDescription",
    "ImageComments",
    "DocumentTitle",
)
_SYNTHETIC_WORDS = ("research", "synthetic")
"""What a shortened statement still says where an attribute holds 64 characters."""


def read_whole(path: Path) -> FileDataset:
    """The data set of a Part 10 file (PS3.10 7.1), every element decoded.

    Raises:
        BrokenPromise: It cannot be read to its end, or contradicts its own header.
    """
    try:
        content = path.read_bytes()
        dataset = dcmread(BytesIO(content))
        for _ in dataset.iterall():
            pass
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        complete = is_complete(content, int(dataset.file_meta.FileMetaInformationGroupLength), syntax)
        said = (
            str(dataset.file_meta.MediaStorageSOPClassUID),
            str(dataset.file_meta.MediaStorageSOPInstanceUID),
        )
        holds = (str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))
        _ = (dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.Modality)
    except (
        BytesLengthException,
        InvalidDicomError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        NotImplementedError,
        KeyError,
        struct.error,
        zlib.error,
    ) as error:
        raise BrokenPromise(f"{path.name} cannot be read as DICOM: {type(error).__name__}") from error
    if not complete:
        raise BrokenPromise(f"{path.name} is cut: its elements are longer than the file")
    if syntax not in AllTransferSyntaxes:
        raise BrokenPromise(f"{path.name}: {syntax!s} is no transfer syntax")
    if said != holds:
        raise BrokenPromise(f"{path.name}: its file meta information names another instance or SOP class")
    return dataset


def check_content(name: str, dataset: Dataset) -> None:
    """An image has all its pixels, a report its items, a document its bytes.

    Raises:
        BrokenPromise: The content is missing, cut or empty.
    """
    if "EncapsulatedDocument" in dataset or dataset.Modality == "DOC":
        _check_document(name, dataset)
    elif dataset.Modality == "SR":
        _check_report(name, dataset)
    elif "Rows" in dataset or dataset.Modality == "SEG":
        _check_pixels(name, dataset)


def _check_document(name: str, dataset: Dataset) -> None:
    document = bytes(dataset.get("EncapsulatedDocument") or b"")
    if not document:
        raise BrokenPromise(f"{name}: EncapsulatedDocument is empty")
    if dataset.get("MIMETypeOfEncapsulatedDocument") == "application/pdf" and not document.startswith(
        b"%PDF"
    ):
        raise BrokenPromise(f"{name}: EncapsulatedDocument is not a PDF")


def _check_report(name: str, dataset: Dataset) -> None:
    if not dataset.get("ContentSequence"):
        raise BrokenPromise(f"{name}: ContentSequence is empty")
    if dataset.get("VerificationFlag") != "UNVERIFIED":
        raise BrokenPromise(f"{name}: VerificationFlag is not UNVERIFIED, but no person has verified it")


def _check_pixels(name: str, dataset: Dataset) -> None:
    keyword = next((keyword for keyword in _PIXEL_KEYWORDS if dataset.get(keyword)), None)
    if keyword is None:
        raise BrokenPromise(f"{name}: PixelData is missing or empty")
    frames = int(dataset.get("NumberOfFrames") or 1)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is not None and len(groups) != frames:
        raise BrokenPromise(f"{name}: NumberOfFrames is {frames}, described are {len(groups)}")
    if UID(dataset.file_meta.TransferSyntaxUID).is_encapsulated:
        return
    pixels = bytes(dataset[keyword].value)
    if len(pixels) < expected_bytes(dataset, _BITS.get(keyword, int(dataset.get("BitsAllocated") or 0))):
        raise BrokenPromise(f"{name}: {keyword} is shorter than its rows, columns and frames")
    if (
        str(dataset.SOPClassUID) in (*_SEGMENTATIONS, _SECONDARY_CAPTURE)
        and not np.frombuffer(pixels, dtype=np.uint8).any()
    ):
        raise BrokenPromise(f"{name}: no pixel is set")


def expected_bytes(dataset: Dataset, bits_allocated: int) -> int:
    """Bytes of native pixel data (PS3.5 8.1.1), without padding.

    >>> image = Dataset(); image.Rows = 3; image.Columns = 5; image.NumberOfFrames = 2
    >>> expected_bytes(image, 1), expected_bytes(image, 16)
    (4, 60)
    """
    samples = (
        int(dataset.get("Rows") or 0)
        * int(dataset.get("Columns") or 0)
        * int(dataset.get("NumberOfFrames") or 1)
        * int(dataset.get("SamplesPerPixel") or 1)
    )
    return math.ceil(samples * bits_allocated / 8)


def check_statement(name: str, dataset: Dataset, statement: str) -> None:
    """An object of a model trained on phantoms says so where a reader sees it.

    Args:
        name: The object's file name, for the sentence.
        dataset: The object.
        statement: What it has to say; a series description may shorten it to its words
            "research" and "synthetic".

    Raises:
        BrokenPromise: Neither a description nor the report's text says so, or a presentation
            state does not draw it.
    """
    if not any(says_synthetic(text, statement) for text in _visible_texts(dataset)):
        raise BrokenPromise(f"{name} does not say {statement!r} where a reader sees it")


def says_synthetic(text: str, statement: str) -> bool:
    """True when the text holds the statement, or the two words of it that matter.

    >>> says_synthetic("Heart. Research use, SYNTHETIC data", "research use, trained on synthetic data")
    True
    >>> says_synthetic("Heart and lungs", "research use, trained on synthetic data")
    False
    """
    seen = " ".join(text.casefold().split())
    return " ".join(statement.casefold().split()) in seen or all(word in seen for word in _SYNTHETIC_WORDS)


def _visible_texts(dataset: Dataset) -> Iterator[str]:
    if str(dataset.SOPClassUID) == PRESENTATION_STATE:
        yield from drawn_texts(dataset)  # its description is a name in a list, what it draws is seen
        return
    for keyword in _STATEMENT_KEYWORDS:
        yield str(dataset.get(keyword) or "")
    for item in content_items(dataset):
        if item.get("ValueType") == "TEXT":
            yield str(item.get("TextValue") or "")


def check_companions(pdf: Path | None, previews: tuple[Path, ...]) -> None:
    """The PDF is a PDF and the pictures are PNG.

    Raises:
        BrokenPromise: One is empty or something else.
    """
    expected = [(preview, b"\x89PNG\r\n\x1a\n", "PNG") for preview in previews]
    if pdf is not None:
        expected.append((pdf, b"%PDF", "PDF"))
    for path, magic, kind in expected:
        with path.open("rb") as reader:
            if reader.read(len(magic)) != magic:
                raise BrokenPromise(f"{path.name} is not a {kind} file")
