"""A video's bit stream into Pixel Data and out of it, a megabyte at a time (PS3.5 8.2, A.4).

Pixel Data of undefined length holds an item with the offset table, which is empty for video, and
the stream. One fragment is all of it; only the fragmentable transfer syntaxes allow several, and a
stream of 4 GB or more needs them, because the length of an item has 32 bits.

The service, the phantoms and the results all write video with this module and `photographic`.
Needs nothing but Python: nothing here decodes, and no path is opened.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

LARGEST_FRAGMENT: Final = 2**32 - 2
"""Bytes of an item of even length; 2^32 - 1 means an undefined one."""

PIXEL_DATA: Final = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
"""Head of the element in Explicit VR Little Endian, with undefined length."""

_COPY_BYTES: Final = 1 << 20
_ITEM: Final = b"\xfe\xff\x00\xe0"
_DELIMITER: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"


def write_pixel_data(
    source: BinaryIO,
    size: int,
    target: BinaryIO,
    *,
    largest_fragment: int = LARGEST_FRAGMENT,
    on_progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write the whole element, from its tag to its sequence delimiter.

    Args:
        source: Stands at the start of the stream.
        size: Bytes of the stream.
        target: A data set whose last element before Pixel Data has just been written.
        largest_fragment: Even number of bytes.
        on_progress: Told the share that is written.

    Raises:
        ValueError: The source ends before ``size`` bytes.
    """
    target.write(PIXEL_DATA)
    _write_items(source, size, target, largest_fragment, on_progress)
    target.write(_DELIMITER)


def encapsulated(stream: bytes) -> bytes:
    r"""The value of Pixel Data: an empty offset table and one fragment (PS3.5 8.2.5, A.4.5).

    Args:
        stream: The whole bit stream with its container.

    Raises:
        ValueError: The stream is empty or too long for one fragment.

    >>> encapsulated(b"abc")[8:]
    b'\xfe\xff\x00\xe0\x04\x00\x00\x00abc\x00'
    """
    if not stream:
        raise ValueError("the video stream is empty")
    if len(stream) > LARGEST_FRAGMENT:
        raise ValueError(f"the video stream has {len(stream)} bytes, more than one fragment may hold")
    value = io.BytesIO()
    _write_items(io.BytesIO(stream), len(stream), value, LARGEST_FRAGMENT, lambda _: None)
    return value.getvalue()


def _write_items(
    source: BinaryIO,
    size: int,
    target: BinaryIO,
    largest_fragment: int,
    on_progress: Callable[[float], None],
) -> None:
    target.write(_ITEM + bytes(4))
    for start in range(0, size, largest_fragment):
        length = min(largest_fragment, size - start)
        target.write(_ITEM + struct.pack("<I", length + length % 2))
        for done in _copy(source, target, length):
            on_progress((start + done) / size)
        target.write(b"\0" * (length % 2))


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> Iterator[int]:
    done = 0
    while done < length:
        piece = source.read(min(_COPY_BYTES, length - done))
        if not piece:
            raise ValueError("the file is cut off within its stream")
        target.write(piece)
        done += len(piece)
        yield done


def copy_stream(source: BinaryIO, target: BinaryIO, *, is_delimited: bool = True) -> None:
    """Write the stream, with its padding, out of a value of Pixel Data, of one or many fragments.

    Args:
        source: Stands at the item of the offset table.
        target: Receives the stream.
        is_delimited: The value ends with a sequence delimiter; without one it may end with the source.

    Raises:
        ValueError: The value is not encapsulated, or is cut.
    """
    for length in _fragment_lengths(source, is_delimited=is_delimited):
        for _ in _copy(source, target, length):
            pass


def _fragment_lengths(source: BinaryIO, *, is_delimited: bool) -> Iterator[int]:
    """Lengths of the fragments; the source stands at the content of each in turn."""
    is_table = True
    while True:
        head = source.read(8)
        if head == _DELIMITER or (not head and not is_delimited and not is_table):
            return
        if len(head) < 8 or head[:4] != _ITEM:
            raise ValueError("the encapsulated Pixel Data are cut off or damaged")
        length = int.from_bytes(head[4:], "little")
        if is_table:
            source.seek(length, os.SEEK_CUR)
            is_table = False
        else:
            yield length


def stream_of(pixel_data: bytes) -> bytes:
    r"""The bit stream in a value of Pixel Data, without padding.

    The byte that pads an MP4 of odd length is taken away again; MPEG-TS is never padded.

    Raises:
        ValueError: The value is not encapsulated, or is cut.

    >>> stream_of(encapsulated(b"\x00\x00\x00\x09ftypX"))
    b'\x00\x00\x00\tftypX'
    """
    stream = io.BytesIO()
    copy_stream(io.BytesIO(pixel_data), stream, is_delimited=False)
    stream.truncate(unpadded_length(stream, stream.tell()))
    return stream.getvalue()


def unpadded_length(stream: BinaryIO, size: int, told: int | None = None) -> int:
    """Bytes of a stream without the one that pads it to even length.

    Args:
        stream: Taken from Pixel Data; only read, from its start.
        size: Its bytes with the padding.
        told: Encapsulated Pixel Data Value Total Length (7FE0,0003), where the object says it; without
            it an MP4 tells its own length, and other streams are taken as unpadded.
    """
    stream.seek(0)
    length = mp4_length(stream, size) if told is None else told
    return length if length == size - 1 else size


def mp4_length(file: BinaryIO, limit: int) -> int:
    r"""Bytes of the MP4 that begins where the file stands, without what follows its last box.

    Args:
        file: Read from its position.
        limit: Bytes that may belong to it.

    Returns:
        The length, or ``limit`` when the bytes are not boxes (ISO 14496-12 4.2).

    >>> mp4_length(io.BytesIO(b"\0\0\0\x08ftyp" + b"\0"), 9), mp4_length(io.BytesIO(b"G" + bytes(187)), 188)
    (8, 188)
    """
    start = file.tell()
    at = 0
    while at + 8 <= limit:
        file.seek(start + at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if length < 8 or at + length > limit or not head[4:8].isascii():
            return limit
        at += length
    return at or limit
