"""A study is looked at when it has been quiet, not before and not twice."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue

import pytest

from dicom_node.group import StudySettler


def test_a_quiet_study_is_settled_once() -> None:
    settled: SimpleQueue[str] = SimpleQueue()
    settler = StudySettler(0.05, settled.put)
    settler.start()
    settler.note("1.2.3")
    assert settled.get(timeout=5) == "1.2.3"
    with pytest.raises(Empty):
        settled.get(timeout=0.2)
    settler.stop()


def test_each_new_instance_starts_the_quiet_time_again() -> None:
    settled: SimpleQueue[float] = SimpleQueue()
    settler = StudySettler(0.3, lambda _uid: settled.put(time.monotonic()))
    settler.start()
    for _ in range(5):
        settler.note("1.2.3")
        last = time.monotonic()
        time.sleep(0.1)
    assert settled.get(timeout=5) - last >= 0.3
    settler.stop()


def test_studies_settle_each_in_its_own_time() -> None:
    settled: SimpleQueue[str] = SimpleQueue()
    settler = StudySettler(0.2, settled.put)
    settler.start()
    settler.note("slow")
    settler.note("due", quiet_since_s=10)
    assert [settled.get(timeout=5), settled.get(timeout=5)] == ["due", "slow"]
    settler.stop()


def test_a_study_whose_routing_failed_is_routed_again() -> None:
    calls: SimpleQueue[str] = SimpleQueue()

    def fail_once(uid: str) -> None:
        calls.put(uid)
        if calls.qsize() == 1:
            raise OSError("the disk is away")

    settler = StudySettler(0.05, fail_once)
    settler.start()
    settler.note("1.2.3")
    deadline = time.monotonic() + 5
    while calls.qsize() < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert calls.qsize() == 2
    settler.stop()
