"""Whether an MP4 file holds pictures and nothing else (ISO 14496-12).

A telephone writes into the same file where it stood, who owns it and more. A file is put into a
DICOM object byte for byte only when every box of it is known to be about the stream; any other
is written anew from its coded pictures, which stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

_TOP: Final = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"sidx", b"mfra"})
_KNOWN: Final = {
    b"moov": frozenset({b"mvhd", b"trak", b"mvex", b"iods", b"udta", b"free"}),
    b"trak": frozenset({b"tkhd", b"edts", b"mdia", b"tref", b"free"}),
    b"mdia": frozenset({b"mdhd", b"hdlr", b"minf", b"elng"}),
    b"udta": frozenset({b"meta"}),
    b"meta": frozenset({b"hdlr", b"ilst", b"free"}),
    b"ilst": frozenset({b"\xa9too"}),  # the name of the encoder
}
_PADDING: Final = frozenset({b"free", b"skip"})
_LONGEST_PADDING: Final = 1 << 20
_MOST_BOXES: Final = 100_000
MP4_BRANDS: Final = frozenset(
    {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V "}
)


class _Unbare(Exception):
    """A box is not known to be about the stream."""


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, and first and last byte + 1 of the content, of each box."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            break
        file.seek(at)
        head = file.read(16)
        length, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = end - at
        if length < header or at + length > end:
            break
        yield kind, at + header, at + length
        at += length
    if at != end:
        raise _Unbare


def is_bare(file: BinaryIO) -> bool:
    r"""Whether the file is an MP4 with only boxes about its streams; other forms are not.

    Example:
        >>> import io
        >>> is_bare(io.BytesIO(b"\0\0\0\x10ftypisom" + bytes(4) + b"\0\0\0\x08moov"))
        True
        >>> is_bare(io.BytesIO(b"\0\0\0\x10ftypisom" + bytes(4) + b"\0\0\0\x0cuuid" + bytes(4)))
        False
    """
    end = file.seek(0, os.SEEK_END)
    try:
        for index, (kind, first, last) in enumerate(_boxes(file, 0, end)):
            if index == 0 and not _is_mp4_brand(file, kind, first):
                return False
            _require_known(file, kind, first, last, _TOP)
    except _Unbare:
        return False
    return end > 0


def _is_mp4_brand(file: BinaryIO, kind: bytes, first: int) -> bool:
    file.seek(first)
    return kind == b"ftyp" and file.read(4) in MP4_BRANDS


def _require_known(file: BinaryIO, kind: bytes, first: int, last: int, known: frozenset[bytes]) -> None:
    if kind not in known:
        raise _Unbare
    if kind in _PADDING:
        file.seek(first)
        if last - first > _LONGEST_PADDING or any(file.read(last - first)):
            raise _Unbare  # what was erased by renaming its box is still there
    if kind in _KNOWN:
        inner = first + (4 if kind == b"meta" else 0)  # a full box: version and flags
        for child, child_first, child_last in _boxes(file, inner, last):
            _require_known(file, child, child_first, child_last, _KNOWN[kind])
