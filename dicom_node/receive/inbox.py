"""Stage 1, receive, from a folder: files dropped into it are taken in like received instances.

What comes in: files that appear in the folder or below it, and those that are there at the
start. What goes out: a `StoredInstance` for each that is on disk in the store, after which
the file is removed; a `RefusedReceipt` for every other, which is moved to ``rejected/``.
The kernel says when a file is complete (inotify); nothing is polled, and a file that some
program still has open for writing is left alone until it is closed. Names that begin with
a dot are other programs' passing names and not looked at.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from dicom_node.errors import NotDicom, Refused, StorageUnavailable
from dicom_node.receive.refusal import OnRefused, RefusalSource, RefusedReceipt
from dicom_node.store.instances import InstanceStore, StoredInstance, copy_into
from dicom_node.store.part10 import guess_transfer_syntax, read_file_meta

logger = logging.getLogger(__name__)

REJECTED: Final = "rejected"
"""Name of the folder, in the inbox, of files that cannot be taken in."""

RETRY_S: Final = 10.0
"""Pause before a file is tried again that could not be stored because the disk was full."""

SETTLED_S: Final = 2.0
"""Where the kernel does not say whether a file is open for writing: quiet time after which it is complete."""

_TRANSFER_SYNTAX_UID: Final = 0x00020010


class _BeingWritten(Exception):
    """Some program has, or may have, the file open for writing.

    Attributes:
        will_be_told: An event will follow when it is closed; otherwise look again.
    """

    def __init__(self, *, will_be_told: bool) -> None:
        super().__init__()
        self.will_be_told = will_be_told


class Inbox:
    """A folder whose files are taken in.

    Args:
        folder: Watched with everything below it; made if missing.
        store: Where instances go.
        on_stored: Told of each instance on disk before its file is removed. May raise
            `StorageUnavailable`: the file stays and is tried again.
        on_refused: Told of every file that was moved to ``rejected/``. Must not raise.
    """

    def __init__(
        self,
        folder: Path,
        store: InstanceStore,
        on_stored: Callable[[StoredInstance], None],
        on_refused: OnRefused,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._folder = Path(folder).resolve()
        self._store = store
        self._on_stored = on_stored
        self._on_refused = on_refused
        self._retry_s = retry_s
        self._arrived: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._waiting: dict[Path, float] = {}  # file -> when to try again (monotonic)
        self._observer: BaseObserver | None = None
        self._worker: threading.Thread | None = None

    def start(self) -> None:
        """Watch the folder and take in what is already there; returns at once.

        Raises:
            StorageUnavailable: The folder cannot be made or watched.
        """
        try:
            (self._folder / REJECTED).mkdir(parents=True, exist_ok=True)
            observer = Observer()
            observer.schedule(_Events(self._arrived.put), str(self._folder), recursive=True)
            observer.start()
        except OSError as error:
            raise StorageUnavailable(f"the inbox cannot be watched: {error.strerror or error}") from error
        self._observer = observer
        self._arrived.put(self._folder)  # after the watch began, so that nothing falls between
        self._worker = threading.Thread(target=self._work, name="inbox", daemon=True)
        self._worker.start()
        logger.info("watching the inbox", extra={"action": "inbox_started"})

    def stop(self) -> None:
        """Finish the file in hand and stop; what is left is taken in at the next start."""
        if self._observer is None or self._worker is None:
            return
        self._observer.stop()
        self._arrived.put(None)
        self._observer.join(timeout=5)
        self._worker.join(timeout=60)
        self._observer = self._worker = None
        logger.info("stopped watching the inbox", extra={"action": "inbox_stopped"})

    def _work(self) -> None:
        while True:
            due = min(self._waiting.values(), default=None)
            try:
                arrived = self._arrived.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except queue.Empty:
                now = time.monotonic()
                for path in [path for path, at in self._waiting.items() if at <= now]:
                    self._take(path)
                continue
            if arrived is None:
                return
            took = [self._take(path) for path in self._files_of(arrived)]
            if any(took) and self._arrived.empty():
                self._arrived.put(self._folder)  # what the kernel had no room to tell

    def _files_of(self, arrived: Path) -> Iterator[Path]:
        """The file itself, or all files of a folder, without what is not for us."""
        if not arrived.is_dir() or arrived.is_symlink():
            if not self._is_ignored(arrived):
                yield arrived
            return
        for root, folders, names in os.walk(arrived):
            here = Path(root)
            folders[:] = sorted(name for name in folders if not self._is_ignored(here / name))
            yield from (here / name for name in sorted(names) if not self._is_ignored(here / name))

    def _is_ignored(self, path: Path) -> bool:
        parts = path.relative_to(self._folder).parts
        return parts[:1] == (REJECTED,) or any(part.startswith(".") for part in parts)

    def _take(self, path: Path) -> bool:
        """Store one file and remove it, or reject it, or leave it for later; True when it is gone."""
        self._waiting.pop(path, None)
        try:
            with _open_complete(path) as file:
                stored = self._store_file(file)
            self._on_stored(stored)
            path.unlink()
            logger.debug("taken in", extra={"action": "inbox_stored"})
        except FileNotFoundError:
            return False  # taken in through an earlier event, or withdrawn
        except _BeingWritten as error:
            if not error.will_be_told:
                self._waiting[path] = time.monotonic() + SETTLED_S
        except Refused as error:
            return self._reject(path, error)
        except (StorageUnavailable, OSError) as error:
            self._waiting[path] = time.monotonic() + self._retry_s
            logger.warning("a file waits in the inbox: %s", error, extra={"action": "inbox_waiting"})
        else:
            return True
        return False

    def _store_file(self, file: BinaryIO) -> StoredInstance:
        meta = read_file_meta(file)
        syntax = meta.get(_TRANSFER_SYNTAX_UID, b"").decode("latin-1").strip("\0 ")
        if not syntax:
            start = file.tell()
            syntax = guess_transfer_syntax(file.read(8).ljust(8, b"\0"))
            file.seek(start)
        if len(syntax) > 64 or not syntax.replace(".", "").isdigit():
            raise NotDicom("TransferSyntaxUID (0002,0010) is not a UID", attribute="TransferSyntaxUID")
        data_set = self._store.incoming()
        try:
            copy_into(data_set, file)
            return self._store.commit(data_set, transfer_syntax_uid=syntax)
        finally:
            data_set.discard()

    def _reject(self, path: Path, error: Refused) -> bool:
        try:
            target = _free_name(self._folder / REJECTED / path.name)
            path.rename(target)
        except FileNotFoundError:
            return False
        except OSError as failure:
            self._waiting[path] = time.monotonic() + self._retry_s
            logger.warning(
                "a file cannot be rejected: %s", failure.strerror, extra={"action": "inbox_waiting"}
            )
            return False
        logger.warning("not stored: %s", error, extra={"action": "instance_refused"})
        self._on_refused(
            RefusedReceipt(
                source=RefusalSource.INBOX, reason=str(error), attribute=error.attribute, path=target
            )
        )
        return True


class _Events(FileSystemEventHandler):
    """Passes on the names of what may be complete: closed after writing, moved in, linked in."""

    def __init__(self, arrived: Callable[[Path], None]) -> None:
        self._arrived = arrived

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called in watchdog's thread: no work here."""
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            self._arrived(Path(os.fsdecode(event.dest_path)))
        elif isinstance(event, FileClosedEvent | FileCreatedEvent | DirCreatedEvent):
            self._arrived(Path(os.fsdecode(event.src_path)))


def _open_complete(path: Path) -> BinaryIO:
    """The file opened for reading, when it is a regular one that nobody is writing.

    Raises:
        _BeingWritten: Some program has it open for writing, or may have.
        NotDicom: It is a link, a device or a pipe.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotDicom("not a regular file")
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # instead of SIGIO, which would end the process
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # granted only when no writer has it open
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        file.close()
        raise _BeingWritten(will_be_told=True) from None
    except OSError:  # a file system without leases, or a file of another owner
        if time.time() - os.fstat(file.fileno()).st_mtime < SETTLED_S:
            file.close()
            raise _BeingWritten(will_be_told=False) from None
    return file


def _free_name(path: Path) -> Path:
    """The path itself, or with a number when it is taken."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
        number += 1
    return candidate
