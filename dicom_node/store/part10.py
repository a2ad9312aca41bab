"""The file format of a stored instance, and what must be read from a data set to file it.

A stored instance is a Part 10 file (PS3.10 7.1): preamble, file meta information made
by the node, then the data set exactly as it came. The file meta always ends at byte
`HEADER_BYTES`, so that a data set can be written to disk while it is still arriving and
the header be put before it afterwards. Its Private Information (0002,0102) holds what
the node knows about the instance, so that the files alone suffice to rebuild an index.

This module reads and builds bytes; it never opens a file and never decodes pixels.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.errors import NotDicom

HEADER_BYTES: Final = 1024
"""Length of preamble and file meta information of every stored instance."""

MAX_UID_LENGTH: Final = 64
"""PS3.5 9.1."""

IMPLEMENTATION_CLASS_UID: Final = "2.25.277899888164205355568136927463162402849"
IMPLEMENTATION_VERSION_NAME: Final = "DICOM_NODE_1"
_PRIVATE_CREATOR_UID: Final = "2.25.123234435390525373313605768971836897109"
_FORMAT: Final = "dicom-node instance 1"

_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_LONG_VRS: Final = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT"))
_MAX_META_VALUE: Final = 1 << 20
_INFLATE_STEPS: Final = (1 << 16, 1 << 20, 1 << 26)
"""Inflated bytes looked at, in turn, for the identifiers of a deflated data set."""

UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises, beside OSError, on bytes that are not a data set."""

_SOP_CLASS_UID = Tag(0x0008, 0x0016)
_SOP_INSTANCE_UID = Tag(0x0008, 0x0018)
_STUDY_INSTANCE_UID = Tag(0x0020, 0x000D)
_SERIES_INSTANCE_UID = Tag(0x0020, 0x000E)
_IDENTITY_TAGS: Final = {
    _SOP_CLASS_UID: "SOPClassUID",
    _SOP_INSTANCE_UID: "SOPInstanceUID",
    _STUDY_INSTANCE_UID: "StudyInstanceUID",
    _SERIES_INSTANCE_UID: "SeriesInstanceUID",
}
_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # no space, control character or backslash


@dataclass(frozen=True, slots=True)
class Identity:
    """The four UIDs by which an instance is filed (PS3.3 C.12.1, C.7.2.1, C.7.3.1)."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Header:
    """What the file meta information of a stored instance says."""

    identity: Identity
    transfer_syntax_uid: str
    digest: str
    received_at: datetime
    calling_ae_title: str


def _name(tag: BaseTag) -> str:
    return f"{_IDENTITY_TAGS[tag]} ({tag.group:04X},{tag.element:04X})"


def _uid(raw: object, tag: BaseTag) -> str:
    text = raw.decode("latin-1") if isinstance(raw, bytes) else ""
    text = text.strip("\0 ")
    if not text:
        raise NotDicom(f"{_name(tag)} is missing or empty", attribute=_IDENTITY_TAGS[tag])
    if len(text) > MAX_UID_LENGTH:
        raise NotDicom(f"{_name(tag)} is longer than 64 characters", attribute=_IDENTITY_TAGS[tag])
    if not _PRINTABLE.fullmatch(text):
        raise NotDicom(f"{_name(tag)} is not one UID", attribute=_IDENTITY_TAGS[tag])
    return text


def _after_identity(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > _SERIES_INSTANCE_UID)


def _parse_identity(data: BinaryIO, *, implicit_vr: bool, little_endian: bool) -> Identity:
    try:
        found = read_dataset(
            data, implicit_vr, little_endian, stop_when=_after_identity, specific_tags=list(_IDENTITY_TAGS)
        )
        raw = [found.get_item(tag).value if tag in found else None for tag in _IDENTITY_TAGS]
    except UNREADABLE as error:
        raise NotDicom("the data set cannot be parsed") from error
    return Identity(*(_uid(value, tag) for value, tag in zip(raw, _IDENTITY_TAGS, strict=True)))


def _parse_deflated(data: BinaryIO) -> Identity:
    compressed = data.read(_INFLATE_STEPS[-1])
    for step in _INFLATE_STEPS:
        try:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(compressed, step)
        except zlib.error as error:
            raise NotDicom("the deflated data set cannot be inflated") from error
        try:
            return _parse_identity(io.BytesIO(head), implicit_vr=False, little_endian=True)
        except NotDicom:
            if len(head) < step or step == _INFLATE_STEPS[-1]:
                raise
    raise AssertionError("the last step returns or raises")


def read_identity(data: BinaryIO, transfer_syntax_uid: str) -> Identity:
    """The identifying UIDs of a data set; everything behind them is left unread.

    Args:
        data: The encoded data set, positioned at its first element.
        transfer_syntax_uid: How it is encoded (PS3.5 10).

    Raises:
        NotDicom: The bytes cannot be parsed, or a UID is missing, empty, over-long
            or not a single value; the message names the attribute.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return _parse_deflated(data)
    return _parse_identity(
        data,
        implicit_vr=transfer_syntax_uid == ImplicitVRLittleEndian,
        little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
    )


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    length = struct.pack("<HI", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return head + length + value


def build_header(header: Header) -> bytes:
    """Preamble and file meta information (PS3.10 7.1), `HEADER_BYTES` long.

    Example:
        >>> from datetime import UTC
        >>> identity = Identity("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", "1.2", "1.2.3")
        >>> at = datetime(2024, 1, 1, tzinfo=UTC)
        >>> header = Header(identity, "1.2.840.10008.1.2.1", "ab" * 32, at, "PACS")
        >>> len(build_header(header))
        1024
        >>> read_header(build_header(header)) == header
        True
    """
    identity = header.identity
    facts = (
        _FORMAT,
        header.digest,
        identity.study_instance_uid,
        identity.series_instance_uid,
        header.received_at.isoformat(),
        header.calling_ae_title,
    )
    elements = [
        _element(0x00020001, b"OB", b"\0\1"),
        _element(0x00020002, b"UI", identity.sop_class_uid.encode("ascii")),
        _element(0x00020003, b"UI", identity.sop_instance_uid.encode("ascii")),
        _element(0x00020010, b"UI", header.transfer_syntax_uid.encode("ascii")),
        _element(0x00020012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        _element(0x00020013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
        _element(0x00020100, b"UI", _PRIVATE_CREATOR_UID.encode("ascii")),
    ]
    start = b"\0" * 128 + b"DICM"
    group_length_bytes, long_head_bytes = 12, 12
    used = len(start) + group_length_bytes + sum(map(len, elements)) + long_head_bytes
    room = HEADER_BYTES - used
    text = "\n".join(facts).encode("latin-1", "replace")
    elements.append(_element(0x00020102, b"OB", text + b"\n" + b" " * (room - len(text) - 1)))
    meta = b"".join(elements)
    return start + _element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta


def read_file_meta(file: BinaryIO) -> dict[int, bytes]:
    """Group 0002 as raw values by tag; the file is left at the first byte of the data set.

    Tolerant (what others write is read as far as it makes sense): preamble and prefix
    may be missing, the group length is not believed.

    Raises:
        NotDicom: A length in group 0002 is absurd.
    """
    start = file.tell()
    if file.read(132)[128:] != b"DICM":
        file.seek(start)
        if file.read(4) != b"DICM":
            file.seek(start)
    meta: dict[int, bytes] = {}
    while True:
        here = file.tell()
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\2\0":
            file.seek(here)
            return meta
        tag = 0x00020000 | struct.unpack_from("<H", head, 2)[0]
        length = struct.unpack_from("<H", head, 6)[0]
        if head[4:6] in _LONG_VRS:
            rest = file.read(4)
            length = struct.unpack("<I", rest)[0] if len(rest) == 4 else _UNDEFINED_LENGTH
        elif not head[4:6].isalpha():  # implicit VR, against PS3.10 7.1
            length = struct.unpack_from("<I", head, 4)[0]
        if length > _MAX_META_VALUE:
            raise NotDicom("the file meta information cannot be parsed")
        meta[tag] = file.read(length)


def read_header(start: bytes) -> Header | None:
    """What the first `HEADER_BYTES` of a stored instance say; None when the node did not write them."""
    if len(start) < HEADER_BYTES:
        return None
    try:
        meta = read_file_meta(io.BytesIO(start[:HEADER_BYTES]))
        text = {tag: value.decode("latin-1").rstrip("\0 ") for tag, value in meta.items()}
        form, digest, study, series, at, calling = text[0x00020102].split("\n")[:6]
        if form != _FORMAT:
            return None
        identity = Identity(text[0x00020002], text[0x00020003], study, series)
        return Header(identity, text[0x00020010], digest, datetime.fromisoformat(at), calling)
    except (NotDicom, LookupError, ValueError):
        return None


def guess_transfer_syntax(start: bytes) -> str:
    """The uncompressed transfer syntax in which a data set without file meta begins.

    Example:
        >>> guess_transfer_syntax(bytes.fromhex("08000500") + b"CS" + bytes(2))
        '1.2.840.10008.1.2.1'
        >>> guess_transfer_syntax(bytes.fromhex("08000500") + bytes(4))
        '1.2.840.10008.1.2'
    """
    if not (start[4:6].isalpha() and start[4:6].isupper()):
        return "1.2.840.10008.1.2"
    group = struct.unpack_from("<H", start)[0]
    return "1.2.840.10008.1.2.2" if group >= 0x0100 and group & 0xFF == 0 else "1.2.840.10008.1.2.1"
