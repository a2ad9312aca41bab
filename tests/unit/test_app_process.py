"""An app's process: whatever happens in it, the node gets an answer and goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.errors import AppCrashed, AppOutOfMemory, AppRaised, AppTimedOut, OutsideEnvelope
from dicom_node.infer.process import AppProcess, OnProgress
from dicom_node.infer.request import write_request

BODY = """
import os, time
from pathlib import Path
from operators.errors import Refused

class Graph:
    def __init__(self, job):
        self.job = job
    def run(self):
        what = self.job.settings["do"]
        if what == "write":
            (self.job.output_dir / "pid").write_text(str(os.getpid()))
        elif what == "refuse":
            raise Refused("NumberOfFrames is 1, at least 24 are needed", attribute="NumberOfFrames")
        elif what == "raise":
            raise RuntimeError("a defect")
        elif what == "crash":
            os.abort()
        elif what == "hang":
            time.sleep(600)
        elif what == "memory":
            held = b"x" * (700 * 1024 * 1024)
            time.sleep(600)
        elif what == "progress":
            for share in (0.0, 0.2, 0.4, 1.0):
                self.job.report_progress("segmenting", share)
            self.job.report_progress("writing", 0.0)
        elif what == "noise":
            print("not an answer", flush=True)
            os.write(1, b"nor this\\n")

def build_app(job):
    return Graph(job)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[AppProcess]:
    app = tmp_path / "apps" / "probe"
    app.mkdir(parents=True)
    (app / "app.py").write_text(BODY)
    probe = AppProcess(
        "probe", memory_mb=500, log_path=tmp_path / "logs" / "probe.log", app_roots=[tmp_path / "apps"]
    )
    yield probe
    probe.stop()


def ask(
    process: AppProcess,
    folder: Path,
    what: str,
    time_limit_s: float = 120,
    on_progress: OnProgress = lambda _stage, _share: None,
) -> Path:
    request = write_request(
        folder / what,
        app="probe",
        app_dir=folder,
        bundle_dir=folder,
        inputs={},
        input_digest="sha256:0",
        warnings=[],
        settings={"do": what},
        predecessors=[],
        device="cpu",
        node_name="NODE",
    )
    process.run(request, time_limit_s, on_progress)
    return request.parent / "output"


def test_the_process_stays_warm_between_requests(process: AppProcess, tmp_path: Path) -> None:
    first = (ask(process, tmp_path, "write") / "pid").read_text()
    assert (ask(process, tmp_path, "write") / "pid").read_text() == first == str(process.pid)


def test_a_refusal_keeps_its_attribute_and_the_process(process: AppProcess, tmp_path: Path) -> None:
    ask(process, tmp_path, "write")
    pid = process.pid
    with pytest.raises(OutsideEnvelope, match="at least 24 are needed") as refused:
        ask(process, tmp_path, "refuse")
    assert refused.value.attribute == "NumberOfFrames"
    assert process.pid == pid


def test_an_error_is_told_with_its_type_and_its_traceback_kept(process: AppProcess, tmp_path: Path) -> None:
    with pytest.raises(AppRaised, match="RuntimeError: a defect"):
        ask(process, tmp_path, "raise")
    assert "a defect" in (tmp_path / "raise" / "traceback.txt").read_text()


def test_a_crash_is_told_and_the_next_request_gets_a_fresh_process(
    process: AppProcess, tmp_path: Path
) -> None:
    with pytest.raises(AppCrashed, match="SIGABRT"):
        ask(process, tmp_path, "crash")
    ask(process, tmp_path, "write")


def test_a_hang_is_stopped_at_the_time_limit(process: AppProcess, tmp_path: Path) -> None:
    process.start()
    began = time.monotonic()
    with pytest.raises(AppTimedOut, match="within 1 s"):
        ask(process, tmp_path, "hang", time_limit_s=1)
    assert time.monotonic() - began < 30
    ask(process, tmp_path, "write")


def test_too_much_memory_is_stopped(process: AppProcess, tmp_path: Path) -> None:
    with pytest.raises(AppOutOfMemory, match=r"limits\.memory_mb"):
        ask(process, tmp_path, "memory")
    ask(process, tmp_path, "write")


def test_a_process_killed_from_outside_is_told(process: AppProcess, tmp_path: Path) -> None:
    process.start()
    pid = process.pid
    assert pid is not None
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(AppCrashed, match="signal 9"):
        ask(process, tmp_path, "hang")


def test_progress_is_told_while_the_app_works_and_not_too_often(process: AppProcess, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    ask(process, tmp_path, "progress", on_progress=lambda stage, share: told.append((stage, share)))
    assert told == [("segmenting", 0.0), ("segmenting", 1.0), ("writing", 0.0)]


def test_who_breaks_on_progress_does_not_get_its_answer_later(process: AppProcess, tmp_path: Path) -> None:
    def broken(_stage: str, _share: float) -> None:
        raise ValueError("the watcher broke")

    with pytest.raises(ValueError, match="the watcher broke"):
        ask(process, tmp_path, "progress", on_progress=broken)
    assert process.pid is None
    assert (ask(process, tmp_path, "write") / "pid").read_text() == str(process.pid)


def test_what_libraries_print_is_no_answer(process: AppProcess, tmp_path: Path) -> None:
    ask(process, tmp_path, "noise")
    assert "nor this" in process.log_path.read_text()


def test_an_app_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    absent = AppProcess("absent", memory_mb=500, log_path=tmp_path / "absent.log")
    with pytest.raises(AppCrashed, match="exit code 1"):
        absent.start()
    assert "No module named 'apps.absent'" in absent.log_path.read_text()


def test_the_process_ends_with_the_node(process: AppProcess) -> None:
    process.start()
    pid = process.pid
    assert process._connection is not None
    process._connection.close()
    deadline = time.monotonic() + 60
    while process.pid is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is None
    assert pid is not None
