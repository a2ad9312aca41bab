"""An app's process: whatever happens in it, the node gets an answer and goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import InterfaceError

from dicom_node.errors import AppCrashed, AppOutOfMemory, AppRaised, AppTimedOut, OutsideEnvelope
from dicom_node.infer.channel import Answer, Channel, Progress, understood
from dicom_node.infer.newest import TELL_INTERVAL_S, OnProgress
from dicom_node.infer.process import AppProcess
from dicom_node.infer.request import write_request
from dicom_node.work import Work
from operators.host import BEGINNINGS_AT_ONCE, Reply, seldom

BODY = """
import json, os, socket, sys, threading, time
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
        elif what.startswith("say "):
            self.connection().sendall(what.removeprefix("say ").encode() + b"\\n")
            time.sleep(600)
        elif what == "flood":
            connection, number = self.connection(), self.job.settings["number"]
            for step in range(10**9):
                line = {"number": number, "progress": {"stage": f"step {step}", "share": 0.0}}
                connection.sendall((json.dumps(line) + "\\n").encode())
        elif what == "endless":
            while True:
                self.connection().sendall(b"x" * 65536)
        elif what == "linger":
            def report():
                for step in range(10**6):
                    self.job.report_progress(f"late {step}", 0.0)
                    time.sleep(0.01)
            threading.Thread(target=report, daemon=True).start()
            time.sleep(0.1)
        elif what == "report once":
            self.job.report_progress("mine", 0.5)
            time.sleep(2.5)
        elif what == "report and hang":
            self.job.report_progress("hanging", 0.5)
            time.sleep(600)
    def connection(self):
        return socket.socket(fileno=os.dup(int(sys.argv[2])))

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
        folder / what.partition(" {")[0],
        app="probe",
        app_dir=folder,
        bundle_dir=folder,
        inputs={},
        input_digest="sha256:0",
        warnings=[],
        settings={"do": what, "number": 2},  # of a fresh process's first request; the ping was 1
        predecessors=[],
        device="cpu",
        node_name="NODE",
    )
    process.run(request, time_limit_s, on_progress)
    return request.parent / "output"


def most_tellings(began_s: float) -> int:
    """How often progress may have been told since, by a clock that cannot be set."""
    return 1 + int((time.monotonic() - began_s) / TELL_INTERVAL_S)


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
    with pytest.raises(AppCrashed, match="signal 9"):  # killed as soon as it is known to work
        ask(process, tmp_path, "report and hang", on_progress=lambda *_: os.kill(pid, signal.SIGKILL))


def test_progress_is_told_while_the_app_works_and_not_too_often(process: AppProcess, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    process.start()
    began = time.monotonic()
    ask(process, tmp_path, "progress", on_progress=lambda stage, share: told.append((stage, share)))
    assert len(told) <= most_tellings(began), "the newest of those that came at once, unless it is over"
    assert set(told) <= {("segmenting", 0.0), ("segmenting", 1.0), ("writing", 0.0)}
    told.clear()
    ask(process, tmp_path, "report once", on_progress=lambda stage, share: told.append((stage, share)))
    assert told == [("mine", 0.5)]


def test_who_breaks_on_progress_does_not_fail_the_analysis(process: AppProcess, tmp_path: Path) -> None:
    told = []

    def broken(stage: str, _share: float) -> None:
        told.append(stage)
        raise ValueError("the watcher broke")

    ask(process, tmp_path, "report once", on_progress=broken)
    assert told == ["mine"]
    assert (ask(process, tmp_path, "write") / "pid").read_text() == str(process.pid)


def test_progress_that_the_database_does_not_take_does_not_fail_the_analysis() -> None:
    class Away:
        def note_progress(self, *_: object) -> None:
            raise InterfaceError("UPDATE job", {}, Exception("connection is closed"))

    work = Work(None, Away(), None, is_worker=False)  # type: ignore[arg-type]
    work._progress("a job", "segmenting", 0.5, {})


def test_time_is_watched_while_progress_is_being_noted(process: AppProcess, tmp_path: Path) -> None:
    process.start()
    was_stopped = []

    def slow(_stage: str, _share: float) -> None:
        until = time.monotonic() + 100
        while process.pid is not None and time.monotonic() < until:
            time.sleep(0.05)
        was_stopped.append(process.pid is None)

    with pytest.raises(AppTimedOut):
        ask(process, tmp_path, "report and hang", time_limit_s=1, on_progress=slow)
    assert was_stopped == [True]


def test_a_flood_of_progress_is_stopped_at_the_time_limit(process: AppProcess, tmp_path: Path) -> None:
    process.start()
    told = []

    def listener(stage: str, _share: float) -> None:
        told.append(stage)
        time.sleep(0.1)

    began = time.monotonic()
    with pytest.raises(AppTimedOut):
        ask(process, tmp_path, "flood", time_limit_s=3, on_progress=listener)
    assert time.monotonic() - began < 30
    assert 1 <= len(told) <= most_tellings(began)
    ask(process, tmp_path, "write")


@pytest.mark.parametrize(
    "line",
    [
        "}{",
        "[]",
        "[" * 100_000,
        "7",
        '{"outcome": "written"}',
        '{"number": 2}',
        '{"number": 2, "outcome": "perhaps"}',
        '{"number": 2, "outcome": ["written"]}',
        '{"number": 2, "outcome": "raised", "reason": {}}',
        '{"number": 2, "progress": {}}',
        '{"number": 2, "progress": "half"}',
        '{"number": 2, "progress": {"stage": 1, "share": 0.5}}',
        '{"number": 2, "progress": {"stage": "x", "share": "half"}}',
        '{"number": 2, "progress": {"stage": "x", "share": true}}',
        '{"number": 2, "progress": {"stage": "x", "share": NaN}}',
        '{"number": 2, "progress": {"stage": "x", "share": 1e999}}',
    ],
    ids=lambda line: line[:60],
)
def test_a_process_that_says_what_it_must_not_has_crashed(line: str, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        probe = AppProcess("probe", memory_mb=500, log_path=tmp_path / "probe.log")
        probe._channel = Channel(ours)
        probe._channel._number = 1
        theirs.sendall(line.encode() + b"\n")
        with pytest.raises(AppCrashed, match="does not speak the node's protocol"):
            probe._ask({"request": "request.json"}, 60)
        assert probe._channel is None


def test_a_process_that_says_what_it_must_not_is_stopped_and_the_next_is_fresh(
    process: AppProcess, tmp_path: Path
) -> None:
    with pytest.raises(AppCrashed, match="does not speak the node's protocol"):
        ask(process, tmp_path, 'say {"progress": {}}')
    with pytest.raises(AppCrashed, match="longer than"):
        ask(process, tmp_path, "endless")
    ask(process, tmp_path, "write")


def test_what_is_said_is_made_fit_for_every_database() -> None:
    said = understood(
        b'{"number": 3, "progress": {"stage": "a\\u0000b\\ud800' + b"c" * 500 + b'", "share": -2}}'
    )
    assert said == Progress(3, ("ab" + "c" * 500)[:100], 0.0)
    assert understood(b'{"number": 3, "outcome": "raised", "reason": "a\\u0000b\\ud800"}') == Answer(
        3, "raised", reason="ab?"
    )


def test_who_reports_after_the_answer_reaches_no_other_job(process: AppProcess, tmp_path: Path) -> None:
    ask(process, tmp_path, "linger")
    told = []
    ask(process, tmp_path, "report once", on_progress=lambda stage, _share: told.append(stage))
    assert told == ["mine"]


def test_however_often_an_app_reports_little_is_sent() -> None:
    for stages in ([str(number) for number in range(5000)], ["a", "b"] * 2500, ["a"] * 5000):
        told: list[tuple[str, float]] = []
        report = seldom(lambda *said, told=told: told.append(said), interval_s=1000)
        for stage in stages:
            report(stage, 1.0)
            report(stage, math.nan)
        assert 1 <= len(told) <= BEGINNINGS_AT_ONCE


def test_reports_of_many_threads_are_whole_lines_before_the_answer() -> None:
    ours, theirs = socket.socketpair()
    reply = Reply(theirs, 7)
    received = bytearray()

    def report() -> None:
        for _ in range(50):
            reply.progress("s" * 5000, 0.5)

    def read() -> None:
        while part := ours.recv(65536):
            received.extend(part)

    threads = [threading.Thread(target=report) for _ in range(8)]
    with ours, theirs:
        reader = threading.Thread(target=read)
        reader.start()
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        reply.answer({"outcome": "written"})
        for thread in threads:
            thread.join()
        theirs.shutdown(socket.SHUT_WR)
        reader.join()
    lines = [json.loads(line) for line in received.splitlines()]
    assert [line.get("outcome") for line in lines].index("written") == len(lines) - 1
    assert {line["number"] for line in lines} == {7}


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
    assert process._channel is not None
    process._channel.close()
    deadline = time.monotonic() + 60
    while process.pid is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is None
    assert pid is not None
