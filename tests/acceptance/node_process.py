"""A node as a site runs it: a process with a configuration file, ports and a data folder."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.integration.orthanc import free_port

READY_WITHIN_S = 180
STOPPED_WITHIN_S = 60
DICOM_NODE = Path(sys.executable).parent / "dicom-node"


def quiet_time_s() -> float:
    """Seconds without a new image after which a study sent here is surely complete.

    A sender that has to wait for a processor pauses between two images; a study that is analysed
    before its last one came has one job more than a test expects.
    """
    return min(max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1)), 15.0)


class NodeProcess:
    """Starts, kills and asks a node; its ports stay the same over restarts."""

    def __init__(
        self,
        folder: Path,
        *,
        destinations: str,
        routes: str,
        settle_seconds: float | None = None,
        node: str = "",
        work: str = "retry_delay_s = 0.2",
    ) -> None:
        self.folder = folder
        self.dicom_port, self.web_port = free_port(), free_port()
        self.data_dir = folder / "var"
        self.config = folder / "node.toml"
        self.log_path = folder / "node.log"
        folder.mkdir(parents=True, exist_ok=True)
        settle_seconds = quiet_time_s() if settle_seconds is None else settle_seconds
        self.config.write_text(
            f'[node]\nport = {self.dicom_port}\ndata_dir = "var"\nsettle_seconds = {settle_seconds}\n'
            f'log_format = "json"\n{node}\n[web]\nport = {self.web_port}\n[work]\n{work}\n'
            f"{destinations}\n{routes}\n",
            encoding="utf-8",
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        """Root of the HTTP interface."""
        return f"http://127.0.0.1:{self.web_port}/api/v1"

    def start(self, role: str = "all") -> NodeProcess:
        """Start it and wait until it says that it is ready."""
        started = self.actions().count("node_started")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [DICOM_NODE, "serve", "--config", self.config, "--role", role],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if role in {"all", "web"}:
            self.wait(self._is_ready, READY_WITHIN_S, "ready")
        else:
            self.wait(lambda: self.actions().count("node_started") > started, READY_WITHIN_S, "started")
        return self

    def sibling(self) -> NodeProcess:
        """Another process of the same node, for another role."""
        twin = copy.copy(self)
        twin.log_path = self.log_path.with_name(f"node-{id(twin)}.log")
        twin.process = None
        return twin

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended: {self.log_path.read_text()[-3000:]}"
        try:
            return httpx.get(f"http://127.0.0.1:{self.web_port}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """As a power cut would: signal 9, no farewell."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As an administrator would; the exit status."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def log_lines(self) -> list[dict[str, Any]]:
        """Every log line so far, over restarts."""
        if not self.log_path.exists():
            return []
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        written, _, _ = text.rpartition("\n")  # the last line may be half there
        return [json.loads(line) for line in written.splitlines() if line.startswith("{")]

    def actions(self) -> list[str]:
        """The actions of all log lines."""
        return [line.get("action", "") for line in self.log_lines()]

    def wait_for_action(self, action: str, within_s: float = 120) -> None:
        """Return as soon as the log says that something happens."""
        self.wait(lambda: action in self.actions(), within_s, f"log line {action}", every_s=0.005)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, over HTTP."""
        answer: list[dict[str, Any]] = httpx.get(f"{self.api}/jobs", timeout=60).raise_for_status().json()
        return answer

    def wait_for_jobs(self, count: int, states: set[str], within_s: float = 300) -> list[dict[str, Any]]:
        """The jobs, once there are that many and all are in one of the states."""
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            found[:] = self.jobs()
            return len(found) >= count and all(job["state"] in states for job in found)

        self.wait(are_there, within_s, f"{count} jobs in {states}", detail=lambda: str(found))
        return found

    def wait(
        self,
        condition: Callable[[], bool],
        within_s: float,
        what: str,
        *,
        every_s: float = 0.1,
        detail: Callable[[], str] = str,
    ) -> None:
        """Return when a condition holds; fail with the log when it does not in time."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                log = self.log_path.read_text(encoding="utf-8", errors="replace")[-4000:]
                raise AssertionError(f"not {what} within {within_s} s; {detail()}\n{log}")
            time.sleep(every_s)

    def store(
        self, *paths: Path, ae_title: str = "DICOMNODE", port: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Send files or folders with DCMTK; ``port`` where they do not go to the node directly."""
        return subprocess.run(
            [
                "/usr/bin/storescu",
                "-v",
                "-R",
                "+sd",
                "+r",
                "-aec",
                ae_title,
                "127.0.0.1",
                str(port or self.dicom_port),
                *map(os.fspath, paths),
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def __enter__(self) -> NodeProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
