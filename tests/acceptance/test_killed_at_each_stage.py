"""Killed with signal 9 at each stage and started again, the node still delivers the study, once."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from tests.acceptance.conftest import FOLDER, ROUTE
from tests.acceptance.node_process import NodeProcess
from tests.acceptance.test_study_to_results import RESULTS, destination, modalities_in, study_uid
from tests.integration.orthanc import OrthancServer
from tests.integration.relay import relay_to

MakeNode = Callable[..., NodeProcess]

STAGES = {
    "route": ("route_started", 0.0),
    "queue": ("routed", 0.0),
    "infer": ("infer_started", 0.5),
    "verify": ("verify_started", 0.0),
    "keep": ("verify_started", 0.3),
    "deliver": ("delivery_started", 0.0),
    "deliver-half": ("delivery_started", 0.05),
    "delivered": ("delivered", 0.0),
}

SENT, CARRIED = 100, 40
"""Images, and how many of them reach the node, which is killed while it stores these."""


def everything(done: subprocess.CompletedProcess[str]) -> str:
    """What a tool printed, wherever it printed it."""
    return done.stdout + done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_a_node_killed_in_a_stage_still_delivers_the_study_once(
    stage: str, make_node: MakeNode, orthanc: OrthancServer, mibg_study: Path
) -> None:
    node = make_node(
        destinations=f"{FOLDER}\n{destination('dicom', orthanc)}", routes=ROUTE.format('["results", "pacs"]')
    )
    action, delay_s = STAGES[stage]
    node.start()
    assert node.store(mibg_study).returncode == 0
    node.wait_for_action(action)
    time.sleep(delay_s)
    node.kill()
    with node:
        (job,) = node.wait_for_jobs(1, {"delivered"})
    delivered = modalities_in(orthanc, study_uid(mibg_study))
    assert delivered == RESULTS
    stored = httpx.get(f"{orthanc.http_url}/statistics", timeout=30).json()["CountInstances"]
    assert stored == len(job["results"])
    files = sorted((node.folder / "results").rglob("*.dcm"))
    assert sorted(path.name for path in files) == sorted(result["file"] for result in job["results"])
    assert not list((node.folder / "results").rglob("*.part"))


def test_a_node_killed_before_the_study_is_quiet_analyses_it_at_the_next_start(
    make_node: MakeNode, mibg_study: Path
) -> None:
    node = make_node(destinations=FOLDER, routes=ROUTE.format('["results"]'), settle_seconds=5)
    node.start()
    assert node.store(mibg_study).returncode == 0
    node.kill()
    with node:
        node.wait_for_jobs(1, {"delivered"})


def test_instances_that_a_crash_kept_from_the_ledger_are_found_at_the_next_start(
    make_node: MakeNode, mibg_study: Path
) -> None:
    node = make_node(destinations=FOLDER, routes=ROUTE.format('["results"]'), settle_seconds=5)
    node.start()
    assert node.store(mibg_study).returncode == 0
    node.kill()
    with sqlite3.connect(node.data_dir / "ledger.sqlite") as ledger:
        for table in ("instance", "study", "event"):
            ledger.execute(f"DELETE FROM {table}")  # noqa: S608  names of tables above
    ledger.close()
    with node:
        node.wait_for_jobs(1, {"delivered"})
        assert "recovered" in node.actions()


def test_what_was_acknowledged_before_a_kill_is_there_after_it(
    make_node: MakeNode, mibg_study: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    source = dcmread(next(mibg_study.rglob("*planar*.dcm")))
    for number in range(SENT):
        source.SOPInstanceUID = f"2.25.{1000 + number}"
        source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
        source.save_as(many / f"{number:03d}.dcm")
    node = make_node(destinations=FOLDER, routes=ROUTE.format('["results"]'), settle_seconds=3600)
    node.start()
    output: list[str] = []
    carried_bytes = CARRIED * (many / "000.dcm").stat().st_size
    with relay_to(node.dicom_port, carried_bytes=carried_bytes, then_cut=False) as relay:
        sender = threading.Thread(target=lambda: output.append(everything(node.store(many, port=relay.port))))
        sender.start()
        node.wait(
            lambda: len(list(node.data_dir.rglob("2.25.*.dcm"))) > 20, 120, "some stored", every_s=0.002
        )
        node.kill()
        relay.cut.set()
        sender.join()
    acknowledged = output[0].count("Received Store Response (Success)")
    assert 0 < acknowledged < SENT
    with node:
        assert len(list(node.data_dir.rglob("2.25.*.dcm"))) >= acknowledged
        assert not list(node.data_dir.rglob("*.part"))
        assert node.store(many).returncode == 0
        assert len(list(node.data_dir.rglob("2.25.*.dcm"))) == SENT
