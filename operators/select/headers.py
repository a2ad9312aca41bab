"""Files to headers: everything before the pixels, tolerant of what archives send.

In come paths, out come `SeriesHeaders` and, for each file that is none, an
`UnreadableInstance` that says why. Pixels are neither read nor decoded; how many bytes of
them there are is noted, so that rules can compare it with what the header asks for.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from operators.errors import AppError
from operators.select.attributes import (
    UNDECODABLE,
    Value,
    first_value,
    sequence_length,
    values_at,
)
from operators.select.digests import file_digest
from operators.select.facts import FACTS

PIXEL_TAGS = frozenset({Tag(0x7FE0, 0x0008), Tag(0x7FE0, 0x0009), Tag(0x7FE0, 0x0010)})
"""Double Float, Float and integer Pixel Data (PS3.3 C.7.6.24, C.7.6.3)."""

UNDEFINED_LENGTH = 0xFFFFFFFF

LARGEST_HEADER_BYTES = 256 * 2**20
"""As much of a deflated data set is inflated; what may follow are pixels, or a bomb."""

_UNPARSABLE = (*UNDECODABLE, EOFError, zlib.error, MemoryError)


class UnreadableInstance(AppError):
    """A file is not a DICOM instance that rules can look at.

    Args:
        reason: A sentence without the file's name.
        path: The file.
        is_damaged: True when it is DICOM that cannot be parsed, not just something else.
    """

    def __init__(self, reason: str, *, path: Path, is_damaged: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.is_damaged = is_damaged


@dataclass(frozen=True, eq=False)
class InstanceHeader:
    """One instance: its attributes up to the pixels.

    Args:
        path: The file.
        dataset: Attributes before the pixel data.
        transfer_syntax_uid: Of the file (PS3.10 7.1); empty when the file has none.
        pixel_bytes: Bytes of pixel data in the file, 0 without any.
        dataset_offset: Where the data set begins in the file, after the file meta information.
        known_digest: SHA-256 of the encoded data set when it is known, else it is computed.
    """

    path: Path
    dataset: Dataset = field(repr=False)
    transfer_syntax_uid: str = ""
    pixel_bytes: int = 0
    dataset_offset: int = 0
    known_digest: str = field(default="", repr=False)

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 of the encoded data set, hexadecimal; how it arrived plays no part.

        Raises:
            OSError: The file is not there any more.
        """
        return self.known_digest or file_digest(self.path, self.dataset_offset)

    @cached_property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID, empty when missing."""
        return self.text("SOPInstanceUID")

    @cached_property
    def series_instance_uid(self) -> str:
        """Series Instance UID, empty when missing."""
        return self.text("SeriesInstanceUID")

    def text(self, keyword: str) -> str:
        """The first value as text, empty when missing or undecodable."""
        with QUIET:
            value = first_value(self.dataset, keyword)
        return "" if value is None else str(value)


@dataclass(frozen=True, eq=False)
class SeriesHeaders:
    """The instances of one series, ordered by instance number and UID.

    Args:
        series_instance_uid: Shared by all; empty when they have none.
        instances: At least one.
    """

    series_instance_uid: str
    instances: tuple[InstanceHeader, ...]

    @cached_property
    def views(self) -> tuple[InstanceView, ...]:
        """What predicates are asked of: each instance, beside the facts of the series."""
        facts: dict[str, Value | None] = {}
        return tuple(InstanceView(one, self.instances, facts) for one in self.instances)


class InstanceView:
    """An instance as a predicate sees it: attributes, facts of its own and of its series."""

    def __init__(
        self, header: InstanceHeader, series: Sequence[InstanceHeader], series_facts: dict[str, Value | None]
    ) -> None:
        self.header = header
        self._series = series
        self._series_facts = series_facts

    def values(self, attribute: str) -> list[tuple[Value, ...]]:
        """Values of a keyword path or ``@fact``, one tuple per element that the path reaches."""
        with QUIET:
            if not attribute.startswith("@"):
                return self._attribute(attribute)
            value = self._fact(attribute)
        return [] if value is None else [(value,)]

    def is_present(self, attribute: str) -> bool:
        """True when there is a value, or the sequence has an item."""
        if attribute == "PixelData":
            return self.header.pixel_bytes > 0
        if self.values(attribute):
            return True
        with QUIET:
            return not attribute.startswith("@") and sequence_length(self.header.dataset, attribute) > 0

    def _attribute(self, attribute: str) -> list[tuple[Value, ...]]:
        if attribute == "TransferSyntaxUID":
            uid = self.header.transfer_syntax_uid
            return [(uid,)] if uid else []
        return values_at(self.header.dataset, attribute)

    def _fact(self, name: str) -> Value | None:
        fact = FACTS[name]
        try:
            if fact.of_instance is not None:
                return fact.of_instance(self.header)
            if name not in self._series_facts and fact.of_series is not None:
                self._series_facts[name] = fact.of_series(self._series)
        except UNDECODABLE:
            self._series_facts[name] = None
        return self._series_facts.get(name)


def read_header(path: Path, *, content_digest: str = "") -> InstanceHeader:
    """The header of the instance in a PS3.10 file.

    Args:
        path: The file.
        content_digest: SHA-256 of its encoded data set, when known.

    Raises:
        UnreadableInstance: It is not a DICOM file, is damaged, or is a DICOMDIR.
    """
    with QUIET:
        try:
            with path.open("rb") as file:
                dataset, offset, pixel_bytes = _read(file)
        except InvalidDicomError as error:
            raise UnreadableInstance("it is not a DICOM file (PS3.10)", path=path) from error
        except _TooShort as error:
            raise UnreadableInstance(f"it is damaged: {error}", path=path, is_damaged=True) from error
        except _UNPARSABLE as error:
            raise UnreadableInstance(
                f"it is damaged: the data set cannot be parsed ({type(error).__name__})",
                path=path,
                is_damaged=True,
            ) from error
        except OSError as error:
            raise UnreadableInstance(f"it cannot be read: {error.strerror}", path=path) from error
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    header = InstanceHeader(path, dataset, syntax, pixel_bytes, offset, content_digest)
    if header.text("SOPClassUID") == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in dataset:
        raise UnreadableInstance("it is a DICOMDIR, not an instance", path=path)
    if not dataset:
        raise UnreadableInstance("its data set is empty", path=path)
    return header


def header_of(dataset: Dataset, path: Path) -> InstanceHeader:
    """The header of a data set in memory, as `read_header` of the file it was written to.

    Args:
        dataset: With its pixel data; is not changed.
        path: Where the file is.
    """
    with QUIET:
        bare = Dataset()
        for tag in dataset.keys():
            if tag not in PIXEL_TAGS:
                bare.add(dataset[tag])
        pixels = [dataset[tag].value or b"" for tag in sorted(PIXEL_TAGS) if tag in dataset]
    meta = getattr(dataset, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "") or "") if meta is not None else ""
    return InstanceHeader(path, bare, syntax, len(pixels[0]) if pixels else 0)


def read_series(paths: Iterable[Path]) -> tuple[list[SeriesHeaders], list[UnreadableInstance]]:
    """Every series in these files, and the files that are none.

    Returns:
        Series in the order of their UIDs, and one error per file that cannot be used.
    """
    headers: list[InstanceHeader] = []
    unreadable: list[UnreadableInstance] = []
    for path in sorted(paths):
        try:
            headers.append(read_header(path))
        except UnreadableInstance as error:
            unreadable.append(error)
    return group_series(headers), unreadable


def group_series(headers: Iterable[InstanceHeader]) -> list[SeriesHeaders]:
    """The headers by Series Instance UID, in the order of UIDs.

    Instances of different studies never share a series, whatever their UIDs say.
    """
    grouped: dict[tuple[str, str], list[InstanceHeader]] = {}
    for header in headers:
        key = (header.series_instance_uid, header.text("StudyInstanceUID"))
        grouped.setdefault(key, []).append(header)
    return [
        SeriesHeaders(uid, tuple(sorted(grouped[uid, study], key=_order))) for uid, study in sorted(grouped)
    ]


def _order(header: InstanceHeader) -> tuple[int, str, str]:
    number = header.text("InstanceNumber")
    return (int(number) if number.lstrip("-").isdecimal() else 0, header.sop_instance_uid, str(header.path))


def _read(file: BinaryIO) -> tuple[Dataset, int, int]:
    """The data set before its pixels, where it begins, and how many bytes of pixels follow."""
    read_preamble(file, force=False)
    meta = _read_file_meta_info(file)
    start = file.tell()
    size = os.fstat(file.fileno()).st_size
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflated, size = _inflate(file.read())
        pixels = _PixelStop(inflated, size)
        dataset: Dataset = read_dataset(inflated, False, True, stop_when=pixels)
        dataset.file_meta = meta
        return dataset, start, pixels.held_bytes
    if start >= size:
        raise _TooShort("nothing follows the file meta information")
    file.seek(0)
    pixels = _PixelStop(file, size)
    return read_partial(file, stop_when=pixels), start, pixels.held_bytes


class _TooShort(ValueError):
    """The file ends before its data set does."""


class _PixelStop:
    """Tells pydicom to stop at the pixels, and notes how many bytes of them there are."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.held_bytes = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG002
        """True at the pixel data.

        Raises:
            _TooShort: The element claims more bytes than the file has. pydicom would ask
                for that much memory, and pass over the end of the file in silence.
        """
        left = max(0, self._size - self._file.tell())
        if tag in PIXEL_TAGS:
            self.held_bytes = left if length == UNDEFINED_LENGTH else min(length, left)
            return True
        if length != UNDEFINED_LENGTH and length > left:
            raise _TooShort(f"{tag} claims {length} bytes, {left} are left")
        return False


def _inflate(deflated: bytes) -> tuple[BytesIO, int]:
    """The first part of a deflated data set (PS3.5 A.5), and the size of all that is known of it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, LARGEST_HEADER_BYTES)
    is_whole = not inflater.unconsumed_tail
    return BytesIO(inflated), len(inflated) if is_whole else UNDEFINED_LENGTH


class _Quiet:
    """While any thread is inside, pydicom neither warns nor logs.

    It tells of a malformed value by repeating the value, which may identify a patient. Both
    switches are the process' own, so the first thread in sets them and the last one out
    sets them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                _PYDICOM_LOG.disabled = True

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _PYDICOM_LOG.disabled = False
                self._filters.__exit__(None, None, None)


_PYDICOM_LOG = logging.getLogger("pydicom")

QUIET = _Quiet()
"""For whoever reads values that may be malformed."""
