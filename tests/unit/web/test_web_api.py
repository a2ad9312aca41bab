"""The ledger as JSON, and the files of results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom.uid import ComprehensiveSRStorage

from dicom_node.store.documents import Outcome
from dicom_node.store.instances import StoredInstance
from dicom_node.store.states import JobState
from dicom_node.store.views import Views

REPORT_UID = "2.25.1234"


CONFLICT = "1 image came again with other content under the same SOP Instance UID; the first one is used"


def test_images_with_a_conflict_are_told_with_every_job_of_their_study(
    jobs: dict[str, str], node: Any, ask: Any
) -> None:
    before = ask(f"/api/v1/jobs/{jobs['delivered']}").json()["warnings"]
    node.receive("1.2.2", 1, conflict=True)
    assert ask(f"/api/v1/jobs/{jobs['delivered']}").json()["warnings"] == [*before, CONFLICT]
    told = {job["job_id"] for job in ask("/api/v1/jobs").json() if CONFLICT in job["warnings"]}
    assert told == {jobs["delivered"]}, "and with no other"
    assert [
        s["study_instance_uid"] for s in ask("/api/v1/studies").json() if s["warnings"] == [CONFLICT]
    ] == ["1.2.2"]
    assert ask("/api/v1/studies/1.2.2").json()["warnings"] == [CONFLICT]


def test_a_running_job_tells_how_far_it_is(jobs: dict[str, str], node: Any, ask: Any) -> None:
    url = f"/api/v1/jobs/{jobs['in_progress']}"
    assert ask(url).json()["progress"] is None
    node.ledger.note_progress(jobs["in_progress"], "segmenting", 0.25)
    assert ask(url).json()["progress"] == {"stage": "segmenting", "share": 0.25}
    node.go(jobs["in_progress"], JobState.VERIFYING)
    assert ask(url).json()["progress"] is None


def test_images_with_the_uid_of_an_image_elsewhere_are_told_too(node: Any, ask: Any) -> None:
    def image(study: str, digest: str) -> StoredInstance:
        return StoredInstance(
            study_instance_uid=study,
            series_instance_uid=f"{study}.1",
            sop_instance_uid="1.9.9",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.20",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            path=node.data_dir / "instances" / study / "1.dcm",
            size_bytes=100,
            digest=digest * 64,
            received_at=datetime.now(UTC),
            calling_ae_title="PACS",
        )

    node.ledger.record_instances([image("1.5", "a"), image("1.6", "b")])
    assert ask("/api/v1/studies/1.5").json()["warnings"] == []
    assert ask("/api/v1/studies/1.6").json()["warnings"] == [
        "1 image came with a SOP Instance UID that an image of another series or study has"
    ]


def test_job_shows_state_progress_results_and_what_was_measured(jobs: dict[str, str], ask: Any) -> None:
    job = ask(f"/api/v1/jobs/{jobs['delivered']}").json()
    base = f"/api/v1/jobs/{jobs['delivered']}/files"
    assert (job["study_instance_uid"], job["app"], job["state"]) == ("1.2.2", "mibg_spect", "delivered")
    assert (job["outcome"], job["reason"], job["is_late"]) == ("delivered", "", False)
    assert job["results"] == [
        {
            "role": "report",
            "file": "report.dcm",
            "sop_class_uid": ComprehensiveSRStorage,
            "sop_instance_uid": REPORT_UID,
            "url": f"{base}/report.dcm",
        }
    ]
    assert job["pdf"] == {"file": "report.pdf", "url": f"{base}/report.pdf"}
    assert job["previews"] == [{"file": "preview_early.png", "url": f"{base}/preview_early.png"}]
    assert job["measurements"]["heart_mediastinum_ratio_early"] == {"value": 2.34567, "unit": "1"}
    assert job["measurements"]["washout"] == {"value": None, "unit": "%"}
    assert job["summary"] == "heart/mediastinum 2.35 early"
    assert job["warnings"] == ["the late images are missing", "the collimator is not known"]
    archive = job["destinations"][0]
    assert (archive["name"], archive["is_done"], archive["acknowledged"]) == ("archive", True, 1)


def test_postponed_delivery_shows_error_and_next_attempt(jobs: dict[str, str], ask: Any) -> None:
    job = ask(f"/api/v1/jobs/{jobs['late']}").json()
    assert (job["state"], job["outcome"], job["is_late"]) == ("delivering", "late", True)
    pacs = job["destinations"][1]
    assert pacs["last_error"] == "pacs (10.0.0.5:104): no connection"
    assert pacs["next_attempt_at"] is not None
    assert not pacs["is_done"]


def test_job_without_verified_results_shows_none(jobs: dict[str, str], ask: Any) -> None:
    job = ask(f"/api/v1/jobs/{jobs['in_progress']}").json()
    assert (job["results"], job["pdf"], job["previews"], job["measurements"]) == ([], None, [], {})


@pytest.mark.parametrize(
    ("query", "ways"),
    [
        ("", {"delivered", "refused", "failed", "late", "in_progress"}),
        ("?state=failed", {"failed"}),
        ("?study=1.2.2", {"delivered"}),
        ("?study=1.2.2&state=failed", set()),
        ("?app=mibg_spect&state=refused", {"refused"}),
        ("?app=another", set()),
    ],
)
def test_jobs_are_chosen_by_study_state_and_app(
    query: str, ways: set[str], jobs: dict[str, str], ask: Any
) -> None:
    found = {job["job_id"] for job in ask(f"/api/v1/jobs{query}").json()}
    assert found == {jobs[way] for way in ways}


def test_limit_is_kept(jobs: dict[str, str], ask: Any) -> None:
    assert len(ask("/api/v1/jobs?limit=2").json()) == 2


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=1001", "limit=many"])
def test_wrong_filter_is_answered_422(query: str, ask: Any) -> None:
    assert ask(f"/api/v1/jobs?{query}").status_code == 422


@pytest.mark.parametrize(
    "path", ["/api/v1/jobs/none", "/api/v1/jobs/none/files/report.dcm", "/api/v1/studies/9.9"]
)
def test_what_the_ledger_does_not_know_is_answered_404_in_json(path: str, ask: Any) -> None:
    answer = ask(path, headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_every_study_ends_in_a_way_that_has_a_name(jobs: dict[str, str], ask: Any) -> None:
    studies = {study["study_instance_uid"]: study for study in ask("/api/v1/studies").json()}
    outcomes = {
        uid: {verdict["app"]: verdict["outcome"] for verdict in study["verdicts"]}
        for uid, study in studies.items()
    }
    ways = ["not_for_this_app", "delivered", "refused", "failed", "late", "in_progress"]
    for number, way in enumerate(ways, start=1):
        assert outcomes[f"1.2.{number}"] == {"mibg_spect": way, "gait": "not_for_this_app"}
    assert outcomes["1.2.7"] == {}
    assert studies["1.2.7"]["is_growing"]


@pytest.mark.parametrize("way", [way for way in Outcome if way is not Outcome.NO_ROUTE])
def test_outcome_of_a_study_is_that_of_its_job(way: Outcome, jobs: dict[str, str], ask: Any) -> None:
    found = ask(f"/api/v1/studies?outcome={way}").json()
    assert found
    for study in found:
        assert way in {verdict["outcome"] for verdict in study["verdicts"]}
        for verdict in study["verdicts"]:
            if verdict["job_id"]:
                assert ask(f"/api/v1/jobs/{verdict['job_id']}").json()["outcome"] == verdict["outcome"]


def test_studies_are_chosen_by_outcome_and_part_of_the_uid(jobs: dict[str, str], ask: Any) -> None:
    def chosen(query: str) -> set[str]:
        return {study["study_instance_uid"] for study in ask(f"/api/v1/studies?{query}").json()}

    assert chosen("outcome=late&outcome=failed") == {"1.2.4", "1.2.5"}
    assert chosen("text=2.3") == {"1.2.3"}
    assert chosen("text=%25") == set()
    assert chosen("limit=1&offset=6") == {"1.2.1"}


def test_study_tells_verdicts_history_and_jobs(jobs: dict[str, str], ask: Any) -> None:
    study = ask("/api/v1/studies/1.2.3").json()
    gait, mibg = study["verdicts"]
    assert (mibg["verdict"], mibg["reason"], mibg["attribute"]) == (
        "refused",
        "at least 24 slices are needed",
        "NumberOfFrames",
    )
    assert (gait["verdict"], gait["reason"]) == ("not_for_this_app", "Modality is NM, not XC")
    assert [job["job_id"] for job in study["jobs"]] == [jobs["refused"]]
    assert [event["action"] for event in study["history"]] == ["study_begun", "job_refused", "study_routed"]
    assert study["history"][0]["sentence"] == "first image received"


def test_late_images_leave_the_earlier_job_in_the_list_and_the_verdict_on_the_new_one(
    node: Any, jobs: dict[str, str], ask: Any
) -> None:
    node.receive("1.2.2")
    new = node.route("1.2.2")
    study = ask("/api/v1/studies/1.2.2").json()
    assert study["revision"] == 2
    assert {verdict["job_id"] for verdict in study["verdicts"]} == {new, None}
    assert [job["job_id"] for job in study["jobs"]] == [new, jobs["delivered"]]


def test_refused_receipts_and_apps_are_listed(jobs: dict[str, str], ask: Any) -> None:
    (receipt,) = ask("/api/v1/receipts").json()
    assert (receipt["source"], receipt["status"]) == ("STRANGER", "0xA900")
    apps = ask("/api/v1/apps").json()
    assert [app["name"] for app in apps] == ["mibg_spect", "gait"]
    assert apps[0]["training_statement"] == "research use, trained on synthetic data"


def test_command_line_and_api_give_the_same_jobs(node: Any, jobs: dict[str, str], ask: Any) -> None:
    documents = Views(node.ledger, node.data_dir, late_after_minutes=30).jobs(state=JobState.FAILED)
    assert [job.model_dump(mode="json") for job in documents] == ask("/api/v1/jobs?state=failed").json()


@pytest.mark.parametrize(
    ("name", "media_type", "shown"),
    [
        ("report.dcm", "application/dicom", "attachment"),
        ("report.pdf", "application/pdf", "inline"),
        ("preview_early.png", "image/png", "inline"),
        ("result.json", "application/json", "inline"),
    ],
)
def test_files_of_a_result_are_served(
    name: str, media_type: str, shown: str, node: Any, jobs: dict[str, str], ask: Any
) -> None:
    answer = ask(f"/api/v1/jobs/{jobs['delivered']}/files/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"].startswith(shown)
    assert answer.content == (node.data_dir / "jobs" / jobs["delivered"] / "results" / name).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "unnamed.txt",
        "..%2f..%2f..%2fledger.sqlite",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fledger.sqlite",
        "../../../ledger.sqlite",
        "..%5c..%5cledger.sqlite",
        "%2e%2e",
        ".",
        "",
        "%2fetc%2fpasswd",
        "report.dcm%00.png",
        "report.dcm/../unnamed.txt",
    ],
)
def test_nothing_but_the_files_of_the_result_is_served(name: str, jobs: dict[str, str], ask: Any) -> None:
    assert ask(f"/api/v1/jobs/{jobs['delivered']}/files/{name}").status_code == 404


@pytest.mark.parametrize("job_id", ["..", "%2e%2e", "..%2fjobs", "%2e%2e%2f%2e%2e", "."])
def test_files_are_served_for_jobs_of_the_ledger_only(job_id: str, node: Any, ask: Any) -> None:
    (node.data_dir / "results").mkdir()
    (node.data_dir / "results" / "result.json").write_text("{}", encoding="utf-8")
    assert ask(f"/api/v1/jobs/{job_id}/files/result.json").status_code == 404


def test_result_json_that_names_files_elsewhere_leads_nowhere(
    node: Any, jobs: dict[str, str], ask: Any
) -> None:
    folder = node.write_results(
        jobs["delivered"], pdf="../../../ledger.sqlite", previews=["/etc/passwd", "link.png"]
    )
    (folder / "link.png").symlink_to(node.data_dir / "ledger.sqlite")
    for preview in ask(f"/api/v1/jobs/{jobs['delivered']}").json()["previews"]:
        assert ask(preview["url"]).status_code == 404
    assert ask(f"/api/v1/jobs/{jobs['delivered']}/files/..%2f..%2f..%2fledger.sqlite").status_code == 404


@pytest.mark.parametrize("content", ["", "{", "[]", '{"objects": [{"role": "x", "file": "../x"}]}', "\udcff"])
def test_results_that_cannot_be_read_are_said_to_be_so(
    content: str, node: Any, jobs: dict[str, str], ask: Any
) -> None:
    folder = node.write_results(jobs["delivered"])
    (folder / "result.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    job = ask(f"/api/v1/jobs/{jobs['delivered']}").json()
    assert job["results"] == []
    assert any("cannot be shown" in warning for warning in job["warnings"])


def test_measurement_that_is_not_a_number_is_null_in_json(node: Any, jobs: dict[str, str], ask: Any) -> None:
    node.write_results(jobs["delivered"], measurements={"washout": {"value": float("nan"), "unit": "%"}})
    answer = ask(f"/api/v1/jobs/{jobs['delivered']}")
    assert json.loads(answer.text, parse_constant=pytest.fail)["measurements"]["washout"]["value"] is None


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every route of an OpenAPI document."""
    for path, methods in document["paths"].items():
        assert list(methods) == ["get"], path
        yield path, methods["get"]


def test_openapi_describes_every_route_parameter_and_field(ask: Any) -> None:
    document = ask("/openapi.json").json()
    assert ask("/api/v1/openapi.json").json() == document
    paths = {path for path, _ in operations(document)}
    assert paths == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/apps",
        "/api/v1/jobs",
        "/api/v1/jobs/{job_id}",
        "/api/v1/jobs/{job_id}/files/{name}",
        "/api/v1/receipts",
        "/api/v1/studies",
        "/api/v1/studies/{study_instance_uid}",
    }
    for path, operation in operations(document):
        assert operation["summary"], path
        assert len(operation["description"]) > 20, path
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (path, parameter["name"])
    for name, schema in document["components"]["schemas"].items():
        if "Validation" in name:
            continue  # FastAPI's own
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described.get("description"), (name, field)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/healthz"])
def test_nothing_can_be_changed_over_http(method: str, path: str, ask: Any) -> None:
    assert ask(path, method=method).status_code == 405
