"""An app that crashes, hangs, eats memory, refuses or makes the wrong things fails its job, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import FOLDER
from tests.acceptance.node_process import NodeProcess

MANIFEST = """
[app]
name = "probe"
version = "0.1.0"
title = "probe"
intended_use = "tests"
[training]
kind = "none"
statement = "no model"
[limits]
time_limit_s = 60
memory_mb = 400
[[input]]
name = "ct"
title = "a CT series"
[[input.match]]
attribute = "Modality"
equals = "CT"
[[setting]]
name = "do"
title = "what to do"
kind = "text"
[[output]]
role = "report"
sop_class = "1.2.840.10008.5.1.4.1.1.88.34"
"""

BODY = """
import os, time
from operators.errors import Refused

class Graph:
    def __init__(self, job):
        self.job = job
    def run(self):
        what = self.job.settings["do"]
        if what == "refuse":
            raise Refused("GantryDetectorTilt is 12, 0 is needed", attribute="GantryDetectorTilt")
        if what == "raise":
            raise RuntimeError("a defect")
        if what == "crash":
            os.abort()
        if what == "hang":
            time.sleep(600)
        if what == "memory":
            held = b"x" * (600 * 1024 * 1024)
            time.sleep(600)

def build_app(job):
    return Graph(job)
"""

ENDS = {
    "refuse": ("refused", "GantryDetectorTilt is 12"),
    "raise": ("failed", "RuntimeError: a defect"),
    "crash": ("failed", "SIGABRT"),
    "hang": ("failed", "did not answer within 2 s"),
    "memory": ("failed", "limits.memory_mb"),
    "nothing": ("failed", "without writing result.json"),
}


@pytest.mark.parametrize("what", ENDS)
def test_the_job_ends_with_a_reason_and_the_node_goes_on(
    what: str, make_node: Callable[..., NodeProcess], shared_data: Path, tmp_path: Path
) -> None:
    app = tmp_path / "apps" / "probe"
    app.mkdir(parents=True)
    limit = "time_limit_s = 2" if what == "hang" else "time_limit_s = 60"
    (app / "app.toml").write_text(MANIFEST.replace("time_limit_s = 60", limit))
    (app / "app.py").write_text(BODY)
    route = f'[[route]]\napp = "probe"\ndestinations = ["results"]\n[route.settings]\ndo = "{what}"'
    node = make_node(
        destinations=FOLDER,
        routes=route,
        node=f'apps = ["{tmp_path / "apps"}"]',
        work="attempts = 2\nretry_delay_s = 0.1",
    )
    state, reason = ENDS[what]
    with node:
        assert node.store(*(shared_data / "real_ct_hip").glob("CT_image*.dcm")).returncode == 0
        (job,) = node.wait_for_jobs(1, {state})
        assert reason in job["reason"]
        attempts = 1 if state == "refused" else 2
        assert node.actions().count("infer_started") == attempts
        assert node.store(*(shared_data / "real_mr_shoulder").glob("*.dcm")).returncode == 0
    assert not list((node.folder / "results").rglob("*")) if (node.folder / "results").exists() else True


def test_a_clean_stop_in_the_middle_of_an_analysis_costs_no_attempt(
    make_node: Callable[..., NodeProcess], shared_data: Path, tmp_path: Path
) -> None:
    app = tmp_path / "apps" / "probe"
    app.mkdir(parents=True)
    (app / "app.toml").write_text(MANIFEST)
    (app / "app.py").write_text(BODY)
    node = make_node(
        destinations=FOLDER,
        routes='[[route]]\napp = "probe"\ndestinations = ["results"]\n[route.settings]\ndo = "hang"',
        node=f'apps = ["{tmp_path / "apps"}"]',
        work="attempts = 1",
    )
    with node:
        node.store(*(shared_data / "real_ct_hip").glob("CT_image*.dcm"))
        node.wait_for_action("infer_started")
        assert node.stop() == 0
        node.start()
        node.wait(lambda: node.actions().count("infer_started") == 2, 120, "taken up again")
        (job,) = node.jobs()
        assert (job["state"], job["attempts"]) == ("running", 1)
