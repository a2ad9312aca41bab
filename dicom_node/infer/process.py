"""One warm process of one app: asked over a socket, watched while it works.

A crash, a hang or too much memory ends that process and raises one of the
`Failed`; the next request starts a fresh one.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dicom_node.catalog import all_roots
from dicom_node.errors import AppCrashed, AppOutOfMemory, AppRaised, AppTimedOut, OutsideEnvelope
from dicom_node.infer.channel import Answer, Channel, OffProtocol
from dicom_node.infer.newest import NewestProgress, OnProgress

START_TIME_LIMIT_S = 180.0
"""Importing torch and the graph engine from a cold disk takes tens of seconds."""

log = logging.getLogger(__name__)


def app_environment(app_roots: Sequence[Path] = ()) -> dict[str, str]:
    """Environment in which apps can be imported as ``apps.<name>``, from every folder of apps."""
    # the folder above each folder of apps: "apps" is a namespace package that spans them
    parents = [str(root.parent) for root in all_roots(app_roots)]
    paths = [*parents, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "HOLOSCAN_LOG_LEVEL": "ERROR",
        "PYTHONUNBUFFERED": "1",
    }


class AppProcess:
    """A process that runs one app, started on the first request.

    Args:
        app: Name of the app.
        memory_mb: Resident memory above which it is stopped.
        log_path: Where its standard output and error go.
        app_roots: Folders that contain apps; the ones that ship need not be named.
    """

    def __init__(self, app: str, *, memory_mb: int, log_path: Path, app_roots: Sequence[Path] = ()) -> None:
        self.app = app
        self.memory_mb = memory_mb
        self.log_path = log_path
        self.app_roots = tuple(app_roots)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it lives."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Have the process running with the app imported.

        Raises:
            AppCrashed: The app cannot be imported.
            AppTimedOut: It takes too long.
        """
        if self.pid is not None:
            return
        self.stop()
        ours, theirs = socket.socketpair()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with theirs, self.log_path.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "operators.host", self.app, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=app_environment(self.app_roots),
                start_new_session=True,
            )
        self._channel = Channel(ours)
        self._ask({"ping": True}, START_TIME_LIMIT_S)
        log.info("app process is ready", extra={"action": "app_started", "app": self.app})

    def run(
        self, request: Path, time_limit_s: float, on_progress: OnProgress = lambda _stage, _share: None
    ) -> None:
        """Have the app answer a request; returns when its results are written.

        Args:
            request: Its ``request.json``.
            time_limit_s: After which it is stopped.
            on_progress: Told how far the app is, if the app tells: the newest, seldom, from another
                thread, and never after this has returned. Time and memory are watched while it
                works, and what it raises does not fail the analysis.

        Raises:
            OutsideEnvelope: The app refuses the input.
            AppTimedOut, AppOutOfMemory, AppCrashed, AppRaised: It failed.
        """
        self.start()
        answer = self._ask({"request": str(request)}, time_limit_s, on_progress)
        if answer.outcome == "written":
            return
        if answer.outcome == "refused":
            raise OutsideEnvelope(answer.reason, attribute=answer.attribute)
        (request.parent / "traceback.txt").write_text(answer.traceback or answer.reason, encoding="utf-8")
        if answer.outcome == "out_of_memory":
            self.stop()
            raise AppOutOfMemory(f"{self.app} ran out of memory: {answer.reason}")
        raise AppRaised(f"{self.app} raised {answer.reason}")

    def stop(self) -> None:
        """End the process and its children at once."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None

    def _ask(
        self,
        request: Mapping[str, object],
        time_limit_s: float,
        on_progress: OnProgress = lambda _stage, _share: None,
    ) -> Answer:
        assert self._channel is not None  # noqa: S101
        deadline = time.monotonic() + time_limit_s
        with NewestProgress(on_progress) as progress:
            try:
                return self._channel.ask(
                    request,
                    tell=lambda said: progress.put(said.stage, said.share),
                    watch=lambda: self._watch(deadline, time_limit_s),
                )
            except OffProtocol as broken:
                self.stop()
                raise AppCrashed(
                    f"{self.app}: its process does not speak the node's protocol ({broken}) and was stopped"
                ) from None
            except ConnectionError:
                epitaph = self._epitaph()
                self.stop()
                raise AppCrashed(epitaph) from None
            except Exception:
                self.stop()  # its answer would come to whoever asks next
                raise

    def _watch(self, deadline: float, time_limit_s: float) -> None:
        used_mb = self.resident_mb()
        if used_mb > self.memory_mb:
            self.stop()
            raise AppOutOfMemory(
                f"{self.app} used {used_mb:.0f} MB, its limit (limits.memory_mb) is {self.memory_mb} MB"
            )
        if time.monotonic() > deadline:
            self.stop()
            raise AppTimedOut(f"{self.app} did not answer within {time_limit_s:g} s and was stopped")

    def resident_mb(self) -> float:
        """Resident memory of the process in MB; 0 when there is none."""
        if self._process is None:
            return 0.0
        try:
            statm = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii")
        except FileNotFoundError:
            return 0.0
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _epitaph(self) -> str:
        assert self._process is not None  # noqa: S101
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"{self.app}: its process closed the connection without an answer"
        if code == -signal.SIGKILL:
            return f"{self.app}: its process was killed (signal 9), most often for want of memory"
        if code < 0:
            return f"{self.app}: its process was ended by {signal.Signals(-code).name}"
        return f"{self.app}: its process ended with exit code {code}; see {self.log_path.name}"
