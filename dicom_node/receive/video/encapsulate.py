"""Puts a video stream into a Part 10 file and takes it out again, whole or not at all.

How a stream lies in Pixel Data is known to `operators.video.encapsulate`; here are the files.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from dicom_node.errors import NotDicom, Refused, StorageUnavailable
from dicom_node.store.part10 import UNREADABLE
from operators.video.encapsulate import (
    LARGEST_FRAGMENT,
    PIXEL_DATA,
    copy_stream,
    unpadded_length,
    write_pixel_data,
)

_VIDEO_SYNTAXES: Final = tuple(
    f"1.2.840.10008.1.2.4.{number}{suffix}"
    for number in (100, 101, 102, 103, 104, 105, 106, 107, 108)
    for suffix in ("", ".1")
)


def fragmentable(transfer_syntax_uid: UID) -> UID:
    """The transfer syntax of the same stream that allows more than one fragment.

    Example:
        >>> fragmentable(UID("1.2.840.10008.1.2.4.102")).name
        'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1'
    """
    return UID(f"{transfer_syntax_uid}.1")


def write_object(
    path: Path,
    dataset: Dataset,
    stream: Path,
    *,
    on_progress: Callable[[float], None] = lambda _: None,
    largest_fragment: int = LARGEST_FRAGMENT,
) -> None:
    """Write a Part 10 file whose Pixel Data is a file's content; it appears whole or not at all.

    Args:
        path: Of the object; replaced when it is there.
        dataset: All attributes but Pixel Data, with file meta information. A stream that does not
            fit into one fragment changes its transfer syntax to the fragmentable one.
        stream: The file of the stream.
        on_progress: Told the share that is written.
        largest_fragment: Even number of bytes.

    Raises:
        NotDicom: The stream was cut off while it was read.
        StorageUnavailable: The object cannot be written.
    """
    size = stream.stat().st_size
    if size + size % 2 > largest_fragment:
        dataset.file_meta.TransferSyntaxUID = fragmentable(dataset.file_meta.TransferSyntaxUID)
    dataset.EncapsulatedPixelDataValueTotalLength = size
    passing = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with stream.open("rb") as source, passing.open("xb") as target:
            dataset.save_as(target, enforce_file_format=True)
            try:
                write_pixel_data(
                    source, size, target, largest_fragment=largest_fragment, on_progress=on_progress
                )
            except ValueError as cut:
                raise NotDicom(str(cut), attribute="PixelData") from None
            target.flush()
            os.fsync(target.fileno())
        passing.replace(path)
    except OSError as error:
        raise StorageUnavailable(f"the object cannot be written: {error.strerror or error}") from error
    finally:
        passing.unlink(missing_ok=True)


def unwrap(path: Path, target: Path) -> int:
    """Write the stream of a video object into a file; its length in bytes.

    Raises:
        NotDicom: The file is no DICOM object, or cut off.
        Refused: It holds no video.
        StorageUnavailable: The stream cannot be written.
    """
    passing = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    with path.open("rb") as source:
        told = _seek_pixel_data(source)
        try:
            with passing.open("xb+") as sink:
                try:
                    copy_stream(source, sink)
                except ValueError as cut:
                    raise NotDicom(str(cut), attribute="PixelData") from None
                size = unpadded_length(sink, sink.tell(), told)
                sink.truncate(size)
            passing.replace(target)
        except OSError as error:
            raise StorageUnavailable(f"the stream cannot be written: {error.strerror or error}") from error
        finally:
            passing.unlink(missing_ok=True)
    return size


def _seek_pixel_data(source: BinaryIO) -> int | None:
    """Leave the file at the first item of Pixel Data; the length of the stream if the object says it."""
    try:
        dataset = dcmread(source, stop_before_pixels=True)
    except (InvalidDicomError, *UNREADABLE):
        raise NotDicom("the file is no DICOM object that can be read") from None
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in _VIDEO_SYNTAXES:
        raise Refused("the object holds no video: its transfer syntax is none of MPEG-2, H.264 and HEVC")
    if source.read(len(PIXEL_DATA)) != PIXEL_DATA:
        raise Refused("the object has no encapsulated Pixel Data", attribute="PixelData")
    total = dataset.get("EncapsulatedPixelDataValueTotalLength")
    return None if total is None else int(total)
