"""Indexes stored instances in the ledger, many in one transaction.

The sender is answered when the file is synced (`dicom_node.store.instances`); waiting
for a ledger transaction too would halve the rate. What a crash takes from this queue
is found again at the next start, because the files are the truth.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.store.instances import StoredInstance
from dicom_node.store.ledger import Ledger

BATCH = 500
RETRY_S = 1.0

log = logging.getLogger(__name__)


class InstanceWriter:
    """A thread that moves stored instances into the ledger.

    Args:
        ledger: Where to.
        on_indexed: Called with each instance that is new to the ledger, once it is there.
    """

    def __init__(self, ledger: Ledger, on_indexed: Callable[[StoredInstance], None]) -> None:
        self._ledger = ledger
        self._on_indexed = on_indexed
        self._queue: SimpleQueue[StoredInstance | threading.Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="instance-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, instance: StoredInstance) -> None:
        """Queue an instance; returns at once."""
        self._queue.put(instance)

    def flush(self, timeout_s: float = 60.0) -> bool:
        """True when everything queued so far is in the ledger."""
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout_s)

    def stop(self) -> None:
        """Write what is queued and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, marks, is_last = self._collect()
            for instance in self._write(batch) if batch else ():
                self._on_indexed(instance)
            for mark in marks:
                mark.set()
            if is_last:
                return

    def _collect(self) -> tuple[list[StoredInstance], list[threading.Event], bool]:
        batch: list[StoredInstance] = []
        marks: list[threading.Event] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, marks, True
            if isinstance(item, threading.Event):
                marks.append(item)
            else:
                batch.append(item)
            if len(batch) >= BATCH:
                return batch, marks, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch, marks, False

    def _write(self, batch: list[StoredInstance]) -> list[StoredInstance]:
        while True:
            try:
                return self._ledger.record_instances(batch)
            except SQLAlchemyError as error:
                # the files are safe; nothing is routed until the ledger takes them
                log.error(  # noqa: TRY400  the driver's message says it all
                    "the ledger does not take instances, trying again: %s",
                    error,
                    extra={"action": "ledger_retry"},
                )
                time.sleep(RETRY_S)
