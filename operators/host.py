"""The process in which apps run: kept warm by the node, one request at a time.

``python -m operators.host APP FD`` reads JSON lines from the socket with file
descriptor FD: ``{"request": "/path/request.json"}``, and answers each with one line:
``{"outcome": "written" | "refused" | "out_of_memory" | "raised", "reason", "attribute",
"traceback"}``. Before the answer there may be lines ``{"progress": {"stage", "share"}}``, at
most one every `PROGRESS_INTERVAL_S`. ``{"ping": true}`` is answered ``{"outcome": "ready"}`` once the app is
imported. When the socket closes, because the node stopped or was killed, this process ends.

Standard output and error belong to the app's libraries and go where the node points them.
"""

from __future__ import annotations

import importlib
import json
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
        return {"outcome": "refused", "reason": refused.reason, "attribute": refused.attribute}
    except MemoryError:
        return {"outcome": "out_of_memory", "reason": "the app ran out of memory"}
    except Exception as error:  # noqa: BLE001  the one place where an app's defects become an answer
        kind = "out_of_memory" if _is_out_of_memory(error) else "raised"
        return {
            "outcome": kind,
            "reason": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
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

    >>> told = []
    >>> report = seldom(lambda stage, share: told.append((stage, share)), interval_s=60)
    >>> for share in (0.0, 0.25, 0.5, 1.0):
    ...     report("segmenting", share)
    >>> told
    [('segmenting', 0.0), ('segmenting', 1.0)]
    """
    last_stage, last_at = "", -interval_s

    def report_seldom(stage: str, share: float) -> None:
        nonlocal last_stage, last_at
        now = time.monotonic()
        if stage == last_stage and share < 1.0 and now - last_at < interval_s:
            return
        last_stage, last_at = stage, now
        report(stage, min(max(float(share), 0.0), 1.0))

    return report_seldom


def serve(app: str, connection: socket.socket) -> None:
    """Answer requests for one app until the connection closes."""
    warnings.simplefilter("ignore")
    importlib.import_module(f"apps.{app}.app")

    def send(line: dict[str, Any]) -> None:
        connection.sendall((json.dumps(line) + "\n").encode())

    def progress(stage: str, share: float) -> None:
        send({"progress": {"stage": stage, "share": share}})

    for message in _lines(connection):
        if "ping" in message:
            send({"outcome": "ready"})
        else:
            send(answer(app, Path(message["request"]), seldom(progress)))


def main() -> None:
    """Entry of ``python -m operators.host APP FD``."""
    raise_stack_limit()
    os.nice(NICENESS)
    Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")  # sooner this process than the node
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))


if __name__ == "__main__":
    main()
