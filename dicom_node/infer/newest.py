"""Tells a listener how far an app is without ever waiting for it.

The listener writes to a ledger that may be locked or far away; the thread that watches the
app's clock and memory must not wait for that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

TELL_INTERVAL_S: Final = 1.0

OnProgress = Callable[[str, float], None]
"""Told what an app does and the share of it that is done, 0 to 1."""

log = logging.getLogger(__name__)


class NewestProgress:
    """Tells a listener the newest progress, from a thread of its own, and no more often than once in a while.

    What is overtaken before its turn is left out. A listener that breaks is told the next one.
    Once the ``with`` block is left the listener hears nothing any more.

    Args:
        listener: Who is told.
        interval_s: Least time between the end of one call and the next.
    """

    def __init__(self, listener: OnProgress, interval_s: float = TELL_INTERVAL_S) -> None:
        self._listener = listener
        self._interval_s = interval_s
        self._newest: tuple[str, float] | None = None
        self._is_over = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def put(self, stage: str, share: float) -> None:
        """Have this told; returns at once."""
        with self._changed:
            self._newest = (stage, share)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="progress")
            self._thread.start()

    def _run(self) -> None:
        while (newest := self._next()) is not None:
            try:
                self._listener(*newest)
            except Exception as error:  # noqa: BLE001  whoever listens, the analysis goes on
                log.warning(
                    "progress was not noted: %s", type(error).__name__, extra={"action": "progress_lost"}
                )
            with self._changed:
                self._changed.wait_for(lambda: self._is_over, self._interval_s)

    def _next(self) -> tuple[str, float] | None:
        """The newest progress as soon as there is one; None when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._newest is not None)
            newest, self._newest = self._newest, None
            return None if self._is_over else newest
