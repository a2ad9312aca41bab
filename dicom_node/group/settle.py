"""Waits until a study is quiet."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class StudySettler:
    """Calls `on_settled` once a study has had no new instance for `settle_seconds`.

    A call that fails is logged and made again after the same time: a study is never
    dropped because something else was broken when it became complete.

    Args:
        settle_seconds: Quiet time.
        on_settled: Called with the Study Instance UID, in this object's thread.
    """

    def __init__(self, settle_seconds: float, on_settled: Callable[[str], None]) -> None:
        self.settle_seconds = settle_seconds
        self._on_settled = on_settled
        self._due: dict[str, float] = {}
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="study-settler", daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def note(self, study_instance_uid: str, quiet_since_s: float = 0.0) -> None:
        """The study has a new instance, `quiet_since_s` seconds ago."""
        due = time.monotonic() + max(self.settle_seconds - quiet_since_s, 0.0)
        with self._changed:
            self._due[study_instance_uid] = max(due, self._due.get(study_instance_uid, due))
            self._changed.notify()

    def stop(self) -> None:
        """End; studies still waited for are found in the ledger at the next start."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (study_instance_uid := self._next()) is not None:
            try:
                self._on_settled(study_instance_uid)
            except Exception:
                log.exception(
                    "routing failed and will be tried again",
                    extra={"action": "route_retry", "study_instance_uid": study_instance_uid},
                )
                self.note(study_instance_uid)

    def _next(self) -> str | None:
        """The next quiet study, waited for; None when stopping."""
        with self._changed:
            while not self._is_stopping:
                now = time.monotonic()
                study_instance_uid, due = min(
                    self._due.items(), key=lambda item: item[1], default=("", now + 3600)
                )
                if study_instance_uid and due <= now:
                    del self._due[study_instance_uid]
                    return study_instance_uid
                self._changed.wait(timeout=due - now)
            return None
