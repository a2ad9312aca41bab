"""The warm processes of a node: one at a time per app, a bounded number that compute at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dicom_node.catalog import App
from dicom_node.infer.process import AppProcess


class AppPool:
    """Lends an app's warm process to one job at a time.

    Args:
        log_dir: Folder of the processes' output.
        app_roots: Folders of apps beside the ones that ship.
    """

    def __init__(self, log_dir: Path, app_roots: Sequence[Path] = ()) -> None:
        self._log_dir = log_dir
        self._app_roots = tuple(app_roots)
        self._guard = threading.Lock()
        self._processes: dict[str, AppProcess] = {}
        self._locks: dict[str, threading.Lock] = {}

    @contextmanager
    def lend(self, app: App) -> Iterator[AppProcess]:
        """The app's process, for as long as the block runs."""
        name = app.manifest.app.name
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
            process = self._processes.setdefault(
                name,
                AppProcess(
                    name,
                    memory_mb=app.manifest.limits.memory_mb,
                    log_path=self._log_dir / f"app-{name}.log",
                    app_roots=self._app_roots,
                ),
            )
        with lock:
            yield process

    def resident_mb(self) -> dict[str, float]:
        """Resident memory of each warm process, MB."""
        with self._guard:
            return {name: process.resident_mb() for name, process in self._processes.items()}

    def stop(self) -> None:
        """End every process."""
        with self._guard:
            for process in self._processes.values():
                process.stop()
            self._processes.clear()
