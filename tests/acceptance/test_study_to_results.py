"""A study goes in over DICOM, checked results come out at the PACS."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from tests.acceptance.conftest import FOLDER, ROUTE
from tests.acceptance.node_process import DICOM_NODE, NodeProcess
from tests.integration.orthanc import OrthancServer

MakeNode = Callable[..., NodeProcess]

RESULTS = Counter(SEG=2, SR=1, OT=1, DOC=1)
"""Series of results on the sample study, which has an early and a late volume."""


def study_uid(study: Path) -> str:
    return str(dcmread(next(study.rglob("*.dcm"))).StudyInstanceUID)


def modalities_in(orthanc: OrthancServer, study_instance_uid: str) -> Counter[str]:
    found = httpx.post(
        f"{orthanc.http_url}/tools/find",
        json={"Level": "Series", "Expand": True, "Query": {"StudyInstanceUID": study_instance_uid}},
        timeout=30,
    ).json()
    return Counter(series["MainDicomTags"]["Modality"] for series in found)


def verdicts(node: NodeProcess) -> list[dict[str, str]]:
    """What the rules said of every study that has been routed."""
    studies = httpx.get(f"{node.api}/studies", timeout=60).json()
    said = [
        httpx.get(f"{node.api}/studies/{one['study_instance_uid']}", timeout=60).json() for one in studies
    ]
    return [verdict for study in said for verdict in study["verdicts"]]


def destination(kind: str, orthanc: OrthancServer) -> str:
    specific = {
        "dicom": f'ae_title = "{orthanc.ae_title}"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}',
        "stow": f'url = "{orthanc.dicomweb_url}"',
        "orthanc": f'url = "{orthanc.http_url}"',
    }[kind]
    return f'[[destination]]\nname = "pacs"\nkind = "{kind}"\n{specific}'


def send_to_orthanc(orthanc: OrthancServer, study: Path) -> None:
    subprocess.run(
        [
            "/usr/bin/storescu",
            "-aec",
            orthanc.ae_title,
            "+sd",
            "+r",
            "127.0.0.1",
            str(orthanc.dicom_port),
            study,
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_results_are_found_in_the_pacs_under_the_same_study(
    kind: str, make_node: MakeNode, orthanc: OrthancServer, mibg_study: Path
) -> None:
    send_to_orthanc(orthanc, mibg_study)
    node = make_node(destinations=destination(kind, orthanc), routes=ROUTE.format('["pacs"]'))
    with node:
        assert node.store(mibg_study).returncode == 0
        (job,) = node.wait_for_jobs(1, {"delivered"})
    uid = study_uid(mibg_study)
    assert job["study_instance_uid"] == uid
    found = modalities_in(orthanc, uid)
    assert found["NM"] == 4
    assert found - Counter(NM=4) == RESULTS
    stored = httpx.get(f"{orthanc.http_url}/statistics", timeout=30).json()["CountInstances"]
    assert stored == 4 + len(job["results"])
    assert {result["role"] for result in job["results"]} >= {"segmentation", "report", "report_pdf"}


def test_late_images_start_a_new_analysis_that_names_its_predecessor(
    make_node: MakeNode, mibg_study: Path
) -> None:
    early = [path for path in mibg_study.rglob("*.dcm") if "early" in path.name]
    late = [path for path in mibg_study.rglob("*.dcm") if "late" in path.name]
    assert early
    assert late
    with make_node(destinations=FOLDER, routes=ROUTE.format('["results"]')) as node:
        assert node.store(*early).returncode == 0
        (first,) = node.wait_for_jobs(1, {"delivered"})
        assert any("late" in warning for warning in first["warnings"])
        assert node.store(*late).returncode == 0
        second, _ = node.wait_for_jobs(2, {"delivered"})
    assert second["predecessor_job_id"] == first["job_id"]
    results = node.data_dir / "jobs"
    old = dcmread(results / first["job_id"] / "results" / "report.dcm")
    new = dcmread(results / second["job_id"] / "results" / "report.dcm")
    (study,) = new.PredecessorDocumentsSequence
    named = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == old.SOPInstanceUID


def test_the_same_study_sent_twice_is_analysed_once(
    make_node: MakeNode, mibg_study: Path, shared_data: Path
) -> None:
    with make_node(destinations=FOLDER, routes=ROUTE.format('["results"]')) as node:
        assert node.store(mibg_study).returncode == 0
        node.wait_for_jobs(1, {"delivered"})
        assert node.store(mibg_study).returncode == 0
        # once this later study is quiet and routed, the earlier one was, had it grown
        assert node.store(*(shared_data / "real_mr_shoulder").glob("*.dcm")).returncode == 0
        node.wait(lambda: "not_for_this_app" in str(verdicts(node)), 120, "routed")
        assert len(node.jobs()) == 1


def test_a_study_for_no_app_is_recorded_as_such(make_node: MakeNode, shared_data: Path) -> None:
    with make_node(destinations=FOLDER, routes=ROUTE.format('["results"]')) as node:
        assert node.store(*(shared_data / "real_mr_shoulder").glob("*.dcm")).returncode == 0
        node.wait(lambda: bool(verdicts(node)), 120, "routed")
        verdict = next(v for v in verdicts(node) if v["app"] == "mibg_spect")
        assert node.jobs() == []
    assert verdict["verdict"] == "not_for_this_app"
    assert "Modality" in verdict["reason"]


def test_the_command_line_shows_jobs_and_begins_a_failed_one_again(
    make_node: MakeNode, mibg_study: Path, tmp_path: Path
) -> None:
    node = make_node(
        destinations=FOLDER, routes=ROUTE.format('["results"]'), work="attempts = 1\nretry_delay_s = 0"
    )
    with node:
        # the app's process is killed while it works: this attempt, and with it the job, fails
        node.wait_for_action("app_started")
        subprocess.run(["pkill", "-STOP", "-P", str(node.process.pid)], check=True)  # type: ignore[union-attr]
        node.store(mibg_study)
        node.wait_for_action("infer_started")
        subprocess.run(["pkill", "-KILL", "-P", str(node.process.pid)], check=True)  # type: ignore[union-attr]
        (job,) = node.wait_for_jobs(1, {"failed"})
        assert "signal 9" in job["reason"]
        listed = subprocess.run(
            [DICOM_NODE, "jobs", "--config", node.config, "--state", "failed"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert job["job_id"] in listed.stdout
        subprocess.run([DICOM_NODE, "retry", job["job_id"], "--config", node.config], check=True)
        node.wait_for_jobs(1, {"delivered"})
        again = subprocess.run(
            [DICOM_NODE, "retry", job["job_id"], "--config", node.config],
            capture_output=True,
            text=True,
            check=False,
        )
    assert again.returncode == 1
    assert "a delivered job cannot become ready" in again.stderr


def test_one_app_runs_on_files_without_a_network(mibg_study: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [DICOM_NODE, "run", "mibg_spect", mibg_study, "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "segmentation.dcm").exists()
    refused = subprocess.run(
        [DICOM_NODE, "run", "mibg_spect", mibg_study, "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "not empty" in refused.stderr


def test_planar_images_alone_are_refused_with_status_3(mibg_study: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for path in mibg_study.rglob("*planar*.dcm"):
        shutil.copy(path, study)
    done = subprocess.run(
        [DICOM_NODE, "run", "mibg_spect", study, "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("refused: ")
    assert "ImageType" in done.stderr
