"""Instance files: what was received, byte for byte, where a power cut cannot take it away.

Layout below ``<data_dir>/instances``::

    <study>/<series>/<sop>.dcm              the instance
    <study>/<series>/<sop>.<digest>.dcm     other content under the same SOP Instance UID
    .incoming/*.part                        not yet complete; never read, removed by `recover`

The files are the truth; the ledger is an index that may lag behind and is completed from
`InstanceStore.recover`. A file gets its name by a hard link, which either makes the whole
file appear or fails when the name is taken: nothing is ever overwritten, whichever
threads, associations or processes race. The order is: write, fsync the file, link, fsync
the folder.

What comes in: the bytes of one data set. What goes out: `StoredInstance`. This module
never decodes pixels, never changes a byte of a data set and never deletes a stored one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import re
import threading
import uuid
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from dicom_node.errors import InconsistentInstance, StorageUnavailable
from dicom_node.store.part10 import HEADER_BYTES, Header, Identity, build_header, read_header, read_identity

logger = logging.getLogger(__name__)

SPOOL_BYTES: Final = 1 << 20
"""A data set up to this size is held in memory until it is complete; a larger one goes to disk at once."""

_WRITE_BACK_BYTES: Final = 1 << 26
"""A large data set is pushed to the disk in steps, so that the last fsync does not outlast the sender."""

_KNOWN_FOLDERS_KEPT: Final = 10_000
_COPY_BYTES: Final = 1 << 20
_PLAIN_UID = re.compile(r"[0-9]{1,64}(\.[0-9]{1,62})*")
_CONFLICT_NAME = re.compile(r".+\.[0-9a-f]{64}\.dcm")


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance that is on disk, synced.

    Attributes:
        digest: SHA-256 of the encoded data set, hexadecimal; the file meta is not part of it.
        size_bytes: Length of the encoded data set.
        conflict: Other content is stored under this SOP Instance UID in the same series; both are kept.
        already_had: The same content was stored before; the fields are those of that file.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: Path
    size_bytes: int
    digest: str
    received_at: datetime
    calling_ae_title: str
    conflict: bool = False
    already_had: bool = False


def file_name_of(uid: str) -> str:
    """A name for a file or folder that holds one UID: never a path, never long, never ambiguous.

    Example:
        >>> file_name_of("1.2.840.10008")
        '1.2.840.10008'
        >>> file_name_of("../../etc/passwd")
        'h-3754d6cb3a38e1185e5b382d5f3ef3f118af75bf'
    """
    if len(uid) <= 64 and _PLAIN_UID.fullmatch(uid):
        return uid
    return "h-" + hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _unavailable(error: OSError) -> NoReturn:
    raise StorageUnavailable(f"the data folder cannot be written: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class IncomingDataSet:
    """The bytes of a data set on their way to a file.

    `write` never raises: it is called while a message is being received, where the only
    answer to an error would be to cut the connection. A full disk is reported when the
    data set is complete, by `InstanceStore.commit`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = bytearray()
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._error: OSError | None = None
        self._unsynced = 0
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the data set."""
        self.size_bytes += len(data)
        if self._error is not None:
            return
        self._digest.update(data)
        try:
            if self._file is None and self.size_bytes <= SPOOL_BYTES:
                self._memory += data
            else:
                self._append(data)
        except OSError as error:
            self._error = error
            self.discard()

    def _append(self, data: bytes | memoryview) -> None:
        file = self._file or self._spill()
        file.write(data)
        self._unsynced += len(data)
        if self._unsynced >= _WRITE_BACK_BYTES:
            file.flush()
            os.fdatasync(file.fileno())
            self._unsynced = 0

    def _spill(self) -> BinaryIO:
        path = self._folder / f"{uuid.uuid4().hex}.part"
        file = path.open("xb")
        self._file, self._path = file, path
        fcntl.flock(file, fcntl.LOCK_EX)  # `recover` of another process leaves locked files alone
        file.write(b"\0" * HEADER_BYTES)
        file.write(self._memory)
        self._memory = bytearray()
        return file

    def identity(self, transfer_syntax_uid: str) -> Identity:
        """The identifying UIDs of the data set.

        Raises:
            NotDicom: As `read_identity`.
        """
        if self._path is None:
            return read_identity(io.BytesIO(self._memory), transfer_syntax_uid)
        if self._file is not None:
            self._file.flush()
        with self._path.open("rb") as file:
            file.seek(HEADER_BYTES)
            return read_identity(file, transfer_syntax_uid)

    def raise_for_error(self) -> None:
        """Say what `write` kept to itself.

        Raises:
            StorageUnavailable: A part of the data set could not be written.
        """
        if self._error is not None:
            _unavailable(self._error)

    @property
    def digest(self) -> str:
        """SHA-256 of what has been written, hexadecimal."""
        return self._digest.hexdigest()

    def finish(self, header: bytes) -> Path:
        """Write header and data set to a file of a passing name and sync it; its path."""
        file = self._file or self._spill()
        file.seek(0)
        file.write(header)
        file.flush()
        os.fsync(file.fileno())
        assert self._path is not None  # noqa: S101 - set by _spill, said for the type checker
        return self._path

    def discard(self) -> None:
        """Free memory and remove the passing name; harmless when nothing is left."""
        self._memory = bytearray()
        path, file, self._path, self._file = self._path, self._file, None, None
        with contextlib.suppress(OSError):
            if path is not None:
                path.unlink()
        with contextlib.suppress(OSError):  # closing flushes, which fails on a full disk
            if file is not None:
                file.close()


class InstanceStore:
    """The folder of instance files.

    Args:
        data_dir: The node's data folder; ``instances`` is made in it.
        reserve_bytes: Free space below which nothing more is taken in, so that ledger and
            results still find room.

    Raises:
        StorageUnavailable: The folder cannot be made.
    """

    def __init__(self, data_dir: Path, *, reserve_bytes: int = 0) -> None:
        self._root = Path(data_dir) / "instances"
        self._incoming = self._root / ".incoming"
        self._reserve_bytes = reserve_bytes
        self._durable_folders: set[Path] = set()
        self._lock = threading.Lock()
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._root)
            _sync_folder(self._root.parent)
        except OSError as error:
            _unavailable(error)

    def incoming(self) -> IncomingDataSet:
        """A data set to be written, then given to `commit` or discarded."""
        return IncomingDataSet(self._incoming)

    def commit(
        self,
        data_set: IncomingDataSet,
        *,
        transfer_syntax_uid: str,
        calling_ae_title: str = "",
        sop_class_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> StoredInstance:
        """Make the data set a stored instance; when this returns, it survives a power cut.

        Args:
            data_set: Completely written; discarded by this call, however it ends.
            transfer_syntax_uid: How the data set is encoded.
            calling_ae_title: Who sent it; empty for a file.
            sop_class_uid: What the sender's command says it is, if there was a command.
            sop_instance_uid: Likewise.

        Raises:
            NotDicom: The data set cannot be filed: it cannot be parsed or lacks a UID.
            InconsistentInstance: The data set contradicts the command.
            StorageUnavailable: The disk is full or cannot be written.
        """
        try:
            data_set.raise_for_error()
            identity = data_set.identity(transfer_syntax_uid)
            _require_same("SOPClassUID", "(0008,0016)", identity.sop_class_uid, sop_class_uid)
            _require_same("SOPInstanceUID", "(0008,0018)", identity.sop_instance_uid, sop_instance_uid)
            header = Header(
                identity, transfer_syntax_uid, data_set.digest, datetime.now(UTC), calling_ae_title[:16]
            )
            return self._place(data_set, header)
        except OSError as error:
            _unavailable(error)
        finally:
            data_set.discard()

    def path_of(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Path:
        """Where the instance is, or would be."""
        return self._series_folder(study_instance_uid, series_instance_uid) / (
            file_name_of(sop_instance_uid) + ".dcm"
        )

    def files_of_series(
        self, study_instance_uid: str, series_instance_uid: str, *, conflicts: bool = False
    ) -> list[Path]:
        """The stored files of a series, sorted by name; with those of other content if asked for."""
        folder = self._series_folder(study_instance_uid, series_instance_uid)
        return sorted(
            path for path in folder.glob("*.dcm") if conflicts or not _CONFLICT_NAME.fullmatch(path.name)
        )

    def read(self, path: Path) -> StoredInstance:
        """What a stored file says about itself; only its first kilobyte is read.

        Raises:
            StorageUnavailable: The file cannot be read or was not written by this node.
        """
        try:
            with path.open("rb") as file:
                header = read_header(file.read(HEADER_BYTES))
                size = os.fstat(file.fileno()).st_size - HEADER_BYTES
        except OSError as error:
            raise StorageUnavailable(f"a stored file cannot be read: {error.strerror}") from error
        if header is None:
            raise StorageUnavailable("a file in the instance folder was not written by this node")
        return _stored(header, path, size, conflict=bool(_CONFLICT_NAME.fullmatch(path.name)))

    def recover(self, known: Container[Path] = ()) -> Iterator[StoredInstance]:
        """Remove what was never completed, then go through every stored instance.

        Args:
            known: Paths that the index already has; their files are not opened.

        Yields:
            Each stored instance that is not known, folder by folder.
        """
        self._remove_stale()
        for series in sorted(self._root.glob("[!.]*/*/")):
            for path in sorted(series.glob("*.dcm")):
                if path in known:
                    continue
                try:
                    yield self.read(path)
                except StorageUnavailable as error:
                    logger.warning("%s", error, extra={"action": "instance_unreadable", "file": path.name})

    def _remove_stale(self) -> None:
        for path in self._incoming.glob("*.part"):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while another process writes it
                path.unlink()
                logger.info("removed an incomplete file", extra={"action": "incomplete_removed"})

    def _series_folder(self, study_instance_uid: str, series_instance_uid: str) -> Path:
        return self._root / file_name_of(study_instance_uid) / file_name_of(series_instance_uid)

    def _place(self, data_set: IncomingDataSet, header: Header) -> StoredInstance:
        identity = header.identity
        plain = self.path_of(
            identity.study_instance_uid, identity.series_instance_uid, identity.sop_instance_uid
        )
        written: Path | None = None
        for path in (plain, plain.with_name(f"{plain.stem}.{header.digest}.dcm")):
            if not path.exists():
                if written is None:
                    self._require_room(data_set.size_bytes)
                    self._make_durable_folder(path.parent)
                    written = data_set.finish(build_header(header))
                with contextlib.suppress(FileExistsError):
                    os.link(written, path)
                    _sync_folder(path.parent)
                    return _stored(header, path, data_set.size_bytes, conflict=path != plain)
            there = self._stored_before(path, header.digest, data_set.size_bytes)
            if there is not None:
                return there
        raise StorageUnavailable("the file that holds this instance has other content than its name says")

    def _stored_before(self, path: Path, digest: str, size_bytes: int) -> StoredInstance | None:
        """The instance in the file when its content is the same, synced; else None."""
        with path.open("rb") as file:
            header = read_header(file.read(HEADER_BYTES))
            if header is None or header.digest != digest:
                return None
            if os.fstat(file.fileno()).st_size - HEADER_BYTES != size_bytes:
                return None  # damaged since: kept, and the whole content is stored beside it
        self._make_durable_folder(path.parent)
        _sync_folder(path.parent)  # whoever linked it may not have come to that yet
        conflict = bool(_CONFLICT_NAME.fullmatch(path.name))
        return replace(_stored(header, path, size_bytes, conflict=conflict), already_had=True)

    def _require_room(self, size_bytes: int) -> None:
        if self._reserve_bytes:
            disk = os.statvfs(self._incoming)
            if disk.f_bavail * disk.f_frsize - size_bytes < self._reserve_bytes:
                raise StorageUnavailable("the disk of the data folder is almost full")

    def _make_durable_folder(self, folder: Path) -> None:
        """Make study and series folder and sync their parents, once per folder and process."""
        if folder in self._durable_folders and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)
        _sync_folder(self._root)
        with self._lock:
            if len(self._durable_folders) >= _KNOWN_FOLDERS_KEPT:
                self._durable_folders.clear()
            self._durable_folders.add(folder)


def _require_same(keyword: str, tag: str, in_data_set: str, in_command: str | None) -> None:
    if in_command is not None and in_command.strip("\0 ") != in_data_set:
        raise InconsistentInstance(f"{keyword} {tag} of data set and command differ", attribute=keyword)


def _stored(header: Header, path: Path, size_bytes: int, *, conflict: bool) -> StoredInstance:
    identity = header.identity
    return StoredInstance(
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        path=path,
        size_bytes=size_bytes,
        digest=header.digest,
        received_at=header.received_at,
        calling_ae_title=header.calling_ae_title,
        conflict=conflict,
    )


def copy_into(data_set: IncomingDataSet, file: BinaryIO) -> None:
    """Write the rest of a file into a data set, in pieces."""
    while piece := file.read(_COPY_BYTES):
        data_set.write(piece)
