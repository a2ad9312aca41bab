"""The process in which apps run: kept warm by the node, one request at a time.

``python -m operators.host APP FD`` reads JSON lines from the socket with file
descriptor FD: ``{"number": 7, "request": "/path/request.json"}``, and answers each with one line:
``{"number": 7, "outcome": "written" | "refused" | "out_of_memory" | "raised", "reason",
"attribute", "traceback"}``. Before the answer, and never after it, there may be lines ``{"number",
"progress": {"stage", "share"}}``; see `seldom` for how many. ``{"number", "ping": true}`` is answered
``{"outcome": "ready"}`` once the app is imported. When the socket closes, because the node stopped
or was killed, this process ends.

Standard output and error belong to the app's libraries and go where the node points them.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from operators.errors import Refused
from operators.job import AnalysisJob, ReportProgress, read_request, tell_nobody

STACK_BYTES = 32 * 1024 * 1024
"""What the graph engine asks for; below it warns of crashes."""

NICENESS = 5
"""Receiving comes before computing: a sender waits, a queue does not."""

PROGRESS_INTERVAL_S = 2.0
"""Progress is not told more often, unless something new begins."""

BEGINNINGS_AT_ONCE = 20
"""So many new things may begin at once; after that one in an interval is told."""

LONGEST_REASON, LONGEST_TRACEBACK = 5_000, 50_000
"""Characters: the node takes no line of more than a megabyte, and a character may need 12 bytes in JSON."""

RESTARTED = "DICOM_NODE_HOST_RESTARTED"


def raise_stack_limit() -> None:
    """Start this program again with the stack that the graph engine asks for, where that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    allowed = hard == resource.RLIM_INFINITY or hard >= STACK_BYTES
    enough = soft == resource.RLIM_INFINITY or soft >= STACK_BYTES
    if enough or not allowed or os.environ.get(RESTARTED):
        return
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))
    os.environ[RESTARTED] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def run_app(app: str, job: AnalysisJob) -> None:
    """Build the app's graph for the job and run it.

    Raises:
        Refused: The app refuses the input.
        Exception: Whatever else leaves the graph.
    """
    build_app: Callable[[AnalysisJob], Any] = importlib.import_module(f"apps.{app}.app").build_app
    build_app(job).run()


def answer(app: str, request: Path, report_progress: ReportProgress = tell_nobody) -> dict[str, str]:
    """What became of one request, as the line that is sent back."""
    try:
        run_app(app, replace(read_request(request), report_progress=report_progress))
    except Refused as refused:
        return {
            "outcome": "refused",
            "reason": refused.reason[:LONGEST_REASON],
            "attribute": refused.attribute,
        }
    except MemoryError:
        return {"outcome": "out_of_memory", "reason": "the app ran out of memory"}
    except Exception as error:  # noqa: BLE001  the one place where an app's defects become an answer
        kind = "out_of_memory" if _is_out_of_memory(error) else "raised"
        return {
            "outcome": kind,
            "reason": f"{type(error).__name__}: {error}"[:LONGEST_REASON],
            "traceback": traceback.format_exc()[-LONGEST_TRACEBACK:],
        }
    return {"outcome": "written"}


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return "out of memory" in text or "can't allocate memory" in text or "DefaultCPUAllocator" in text


def _lines(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """Requests, until the node goes away; then the process ends, even in the middle of work."""
    queue: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def read() -> None:
        with connection.makefile("r", encoding="utf-8") as stream:
            for line in stream:
                queue.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True, name="lifeline").start()
    while True:
        yield queue.get()


def seldom(report: ReportProgress, interval_s: float = PROGRESS_INTERVAL_S) -> ReportProgress:
    """The report, told of a stage's begin and end and otherwise only once in an interval.

    However often an app reports, and whatever it calls its stages, it is told at most
    `BEGINNINGS_AT_ONCE` times and once in every interval. A share that is no number is not told.

    >>> told = []
    >>> report = seldom(lambda stage, share: told.append((stage, share)), interval_s=60)
    >>> for share in (0.0, 0.25, 0.5, 1.0):
    ...     report("segmenting", share)
    >>> told
    [('segmenting', 0.0), ('segmenting', 1.0)]
    """
    lock = threading.Lock()
    last_stage, last_share, last_at = "", 0.0, -math.inf
    left, counted_at = float(BEGINNINGS_AT_ONCE), time.monotonic()

    def report_seldom(stage: str, share: float) -> None:
        nonlocal last_stage, last_share, last_at, left, counted_at
        if not math.isfinite(share):
            return
        share = min(max(float(share), 0.0), 1.0)
        with lock:
            now = time.monotonic()
            left = min(left + (now - counted_at) / interval_s, float(BEGINNINGS_AT_ONCE))
            counted_at = now
            begins = stage != last_stage or last_share < share == 1.0
            is_due = now - last_at >= interval_s
            if left < 1.0 or not (begins or is_due):
                return
            last_stage, last_share, last_at, left = stage, share, now, left - 1.0
        report(stage, share)

    return report_seldom


class Reply:
    """What is said to the node about one request: progress, then the answer, then nothing any more.

    The graph engine's threads may report at the same time, and after the app has ended.

    Args:
        connection: To the node.
        number: Of the request.
    """

    def __init__(self, connection: socket.socket, number: int) -> None:
        self._connection = connection
        self._number = number
        self._lock = threading.Lock()
        self._is_answered = False

    def progress(self, stage: str, share: float) -> None:
        """Say how far the app is; nothing once it has been answered."""
        with self._lock:
            if not self._is_answered:
                self._send({"progress": {"stage": str(stage), "share": share}})

    def answer(self, outcome: dict[str, str]) -> None:
        """Say what became of the request."""
        with self._lock:
            self._is_answered = True
            self._send(outcome)

    def _send(self, line: dict[str, Any]) -> None:
        self._connection.sendall((json.dumps({"number": self._number, **line}) + "\n").encode())


def serve(app: str, connection: socket.socket) -> None:
    """Answer requests for one app until the connection closes."""
    warnings.simplefilter("ignore")
    importlib.import_module(f"apps.{app}.app")
    for message in _lines(connection):
        reply = Reply(connection, message["number"])
        if "ping" in message:
            reply.answer({"outcome": "ready"})
        else:
            reply.answer(answer(app, Path(message["request"]), seldom(reply.progress)))


def main() -> None:
    """Entry of ``python -m operators.host APP FD``."""
    raise_stack_limit()
    os.nice(NICENESS)
    Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")  # sooner this process than the node
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))


if __name__ == "__main__":
    main()
