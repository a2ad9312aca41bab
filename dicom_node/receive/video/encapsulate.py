"""Puts a video stream into a Part 10 file and takes it out again, a megabyte at a time.

PS3.5 A.4 and A.4.5 to A.4.9: Pixel Data of undefined length holds an item with the offset table,
which is empty for video, and the stream. One fragment is all of it; only the fragmentable
transfer syntaxes allow several, and a stream of 4 GB or more needs them, because the length
of an item has 32 bits.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from dicom_node.errors import NotDicom, Refused, StorageUnavailable
from dicom_node.receive.video.mp4 import length_of
from dicom_node.store.part10 import UNREADABLE

LARGEST_FRAGMENT: Final = 2**32 - 2
"""Bytes of an item of even length; 2^32 - 1 means an undefined one."""

_COPY_BYTES: Final = 1 << 20
_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_ITEM: Final = b"\xfe\xff\x00\xe0"
_DELIMITER: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
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
            target.write(_PIXEL_DATA + _ITEM + bytes(4))
            for start in range(0, size, largest_fragment):
                length = min(largest_fragment, size - start)
                target.write(_ITEM + struct.pack("<I", length + length % 2))
                for done in _copy(source, target, length):
                    on_progress((start + done) / size)
                target.write(b"\0" * (length % 2))
            target.write(_DELIMITER)
            target.flush()
            os.fsync(target.fileno())
        passing.replace(path)
    except OSError as error:
        raise StorageUnavailable(f"the object cannot be written: {error.strerror or error}") from error
    finally:
        passing.unlink(missing_ok=True)


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> Iterator[int]:
    done = 0
    while done < length:
        piece = source.read(min(_COPY_BYTES, length - done))
        if not piece:
            raise NotDicom("the file is cut off within its stream", attribute="PixelData")
        target.write(piece)
        done += len(piece)
        yield done


def unwrap(path: Path, target: Path) -> int:
    """Write the stream of a video object into a file; its length in bytes.

    Raises:
        NotDicom: The file is no DICOM object, or cut off.
        Refused: It holds no video.
        StorageUnavailable: The stream cannot be written.
    """
    passing = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    with path.open("rb") as source:
        total = _seek_pixel_data(source)
        try:
            with passing.open("xb") as sink:
                for length in _fragment_lengths(source):
                    for _ in _copy(source, sink, length):
                        pass
            size = _without_padding(passing, total)
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
    if source.read(len(_PIXEL_DATA)) != _PIXEL_DATA:
        raise Refused("the object has no encapsulated Pixel Data", attribute="PixelData")
    total = dataset.get("EncapsulatedPixelDataValueTotalLength")
    return None if total is None else int(total)


def _fragment_lengths(source: BinaryIO) -> Iterator[int]:
    """Lengths of the fragments; the file stands at the content of each in turn."""
    is_table = True
    while True:
        head = source.read(8)
        if head == _DELIMITER:
            return
        if len(head) < 8 or head[:4] != _ITEM:
            raise NotDicom("the encapsulated Pixel Data are cut off or damaged", attribute="PixelData")
        length = int.from_bytes(head[4:], "little")
        if is_table:
            source.seek(length, os.SEEK_CUR)
            is_table = False
        else:
            yield length


def _without_padding(path: Path, total: int | None) -> int:
    size = path.stat().st_size
    with path.open("rb+") as file:
        wanted = length_of(file, size) if total is None else total
        if size - 1 <= wanted < size:
            file.truncate(wanted)
            return wanted
    return size
