"""A file holds every byte that its element lengths promise (PS3.5 7).

pydicom reads what is there of a file that was cut, and says nothing; a report that lost
its second half would pass as a short one. This walks the encoding and decodes no value.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = (0xFFFE, 0xE000)
_ITEM_END: Final = (0xFFFE, 0xE00D)
_SEQUENCE_END: Final = (0xFFFE, 0xE0DD)
_SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
"""VRs with a length of 16 bits (PS3.5 7.1.2); all others have 32."""

_PREAMBLE: Final = 132
_GROUP_LENGTH_ELEMENT: Final = 12


def is_complete(content: bytes, group_length: int, transfer_syntax_uid: str) -> bool:
    """True when a Part 10 file ends where its last element ends.

    Args:
        content: The whole file.
        group_length: File Meta Information Group Length (0002,0000).
        transfer_syntax_uid: Of its data set.

    >>> element = struct.pack("<HH2sH", 0x0010, 0x0020, b"LO", 4) + b"1234"
    >>> is_complete(bytes(144) + element, 0, "1.2.840.10008.1.2.1")
    True
    >>> is_complete(bytes(144) + element[:-1], 0, "1.2.840.10008.1.2.1")
    False
    """
    start = _PREAMBLE + _GROUP_LENGTH_ELEMENT + group_length
    data = content[start:]
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        data = inflating.decompress(data)
        if not inflating.eof:
            return False
    walk = _Walk(data, is_implicit=syntax.is_implicit_VR, is_little=syntax.is_little_endian)
    try:
        walk.elements(0, len(data), ends_with_item=False)
    except (_Cut, struct.error):
        return False
    return True


class _Cut(Exception):
    """An element ends behind the end of what it is in."""


class _Walk:
    """Goes from element to element; positions are offsets in the data set."""

    def __init__(self, data: bytes, *, is_implicit: bool, is_little: bool) -> None:
        self._data = data
        self._is_implicit = is_implicit
        self._order = "<" if is_little else ">"

    def elements(self, at: int, end: int, *, ends_with_item: bool, is_implicit: bool | None = None) -> int:
        """The end of the elements from ``at``: at ``end``, or behind the delimiter of their item."""
        is_implicit = self._is_implicit if is_implicit is None else is_implicit
        while at < end:
            tag = self._tag(at)
            if ends_with_item and tag == _ITEM_END:
                return at + 8
            vr, length, value = self._header(at, is_implicit=is_implicit)
            if length == _UNDEFINED:
                # a UN of undefined length holds implicit VR (PS3.5 6.2.2 note 4)
                at = self._items(value, end, is_implicit=is_implicit or vr == b"UN")
                continue
            at = self._within(value + length, end)
            if vr == b"SQ":
                self._items(value, at, is_implicit=is_implicit, has_delimiter=False)
        if ends_with_item:
            raise _Cut
        return at

    def _items(self, at: int, end: int, *, is_implicit: bool, has_delimiter: bool = True) -> int:
        """The end of a sequence or of encapsulated pixel data."""
        while at < end:
            tag = self._tag(at)
            (length,) = struct.unpack_from(self._order + "I", self._data, at + 4)
            if has_delimiter and tag == _SEQUENCE_END:
                return at + 8
            if tag != _ITEM:
                raise _Cut
            if length == _UNDEFINED:
                at = self.elements(at + 8, end, ends_with_item=True, is_implicit=is_implicit)
            else:
                at = self._within(at + 8 + length, end)
        if has_delimiter:
            raise _Cut
        return at

    def _header(self, at: int, *, is_implicit: bool) -> tuple[bytes, int, int]:
        """VR (empty when implicit), length and position of the value."""
        if is_implicit:
            (length,) = struct.unpack_from(self._order + "I", self._data, at + 4)
            return b"", length, at + 8
        vr = self._data[at + 4 : at + 6]
        if vr in _SHORT_VRS:
            (length,) = struct.unpack_from(self._order + "H", self._data, at + 6)
            return vr, length, at + 8
        (length,) = struct.unpack_from(self._order + "I", self._data, at + 8)
        return vr, length, at + 12

    def _tag(self, at: int) -> tuple[int, int]:
        group, element = struct.unpack_from(self._order + "HH", self._data, at)
        return group, element

    @staticmethod
    def _within(at: int, end: int) -> int:
        if at > end:
            raise _Cut
        return at
