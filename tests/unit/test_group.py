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
    assert settled.get(timeout=60) == "1.2.3"
    with pytest.raises(Empty):
        settled.get(timeout=0.2)
    settler.stop()


def test_each_new_instance_starts_the_quiet_time_again() -> None:
    """Five instances in half a second: on a busy machine they may come slower, then it is tried again."""
    for _ in range(20):
        settled: SimpleQueue[float] = SimpleQueue()
        settler = StudySettler(0.3, lambda _uid, told=settled: told.put(time.monotonic()))
        settler.start()
        begun, noted = [], []
        for _ in range(5):
            begun.append(time.monotonic())
            settler.note("1.2.3")
            noted.append(time.monotonic())
            time.sleep(0.1)
        first = settled.get(timeout=60)
        settler.stop()
        if max(after - before for before, after in zip(begun, noted[1:], strict=False)) < 0.3:
            break  # there was no quiet time between any two
    else:
        pytest.fail("the machine is too busy to measure anything")
    assert first - begun[-1] >= 0.3


def test_studies_settle_each_in_its_own_time() -> None:
    settled: SimpleQueue[str] = SimpleQueue()
    settler = StudySettler(3.0, settled.put)
    settler.note("slow")
    settler.note("due", quiet_since_s=10)
    settler.start()
    assert [settled.get(timeout=60), settled.get(timeout=60)] == ["due", "slow"]
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
    deadline = time.monotonic() + 60
    while calls.qsize() < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert calls.qsize() == 2
    settler.stop()
