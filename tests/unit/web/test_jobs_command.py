"""``dicom-node jobs``: what an administrator sees without a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicom_node.cli import EXIT_MISUSED, main


@pytest.fixture
def command(node: Any) -> Callable[..., Result]:
    """Run ``dicom-node jobs`` on the node."""
    config = node.data_dir / "node.toml"
    config.write_text('[node]\ndata_dir = "."\n', encoding="utf-8")
    return lambda *arguments: CliRunner().invoke(main, ["jobs", "--config", str(config), *arguments])


def test_every_job_is_listed_with_its_state_and_reason(jobs: dict[str, str], command: Any) -> None:
    shown = command().stdout
    assert all(job_id in shown for job_id in jobs.values())
    assert "the app crashed (given up after 3 attempts)" in shown


def test_conflicting_images_are_told_in_the_list(jobs: dict[str, str], node: Any, command: Any) -> None:
    assert "other content" not in command().stdout
    node.receive("1.2.2", 1, conflict=True)
    said = "warning: 1 image came again with other content under the same SOP Instance UID"
    assert said in command().stdout
    (job,) = json.loads(command("--json", "--study", "1.2.2").stdout)
    assert said.removeprefix("warning: ") in job["warnings"][-1]


def test_progress_of_a_running_job_is_told_in_the_list(jobs: dict[str, str], node: Any, command: Any) -> None:
    node.ledger.note_progress(jobs["in_progress"], "segmenting", 0.25)
    assert "segmenting, 25%" in command().stdout


def test_a_study_that_never_came_is_said_to_be_unknown(jobs: dict[str, str], command: Any) -> None:
    done = command("--study", "9.9.9")
    assert done.exit_code == EXIT_MISUSED
    assert done.stdout == ""
    assert "no study 9.9.9 has been received" in done.stderr
    as_json = command("--study", "9.9.9", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (0, []), "a script counts"


def test_a_study_without_jobs_shows_what_the_rules_said(jobs: dict[str, str], command: Any) -> None:
    done = command("--study", "1.2.1")
    assert done.exit_code == 0
    assert "mibg_spect: not_for_this_app Radiopharmaceutical is not MIBG" in done.stdout


def test_a_study_that_still_grows_is_known(jobs: dict[str, str], command: Any) -> None:
    assert command("--study", "1.2.7").exit_code == 0
