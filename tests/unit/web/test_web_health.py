"""What supervisors and monitoring read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from dicom_node.web import create_app


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Sample values by name and label values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_process_that_answers_is_alive(ask: Any) -> None:
    assert ask("/healthz").json() == {"status": "alive"}


def test_node_is_ready_when_every_check_is_well(ask: Any) -> None:
    answer = ask("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "checks": {"database": True, "receiver": True, "disk": True},
        "not_ready": [],
    }


def test_node_that_is_not_ready_answers_503_and_says_what_is_not(node: Any, ask: Any) -> None:
    node.checks["disk"] = False
    answer = ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["not_ready"] == ["disk"]


def test_check_that_finds_no_ledger_makes_the_node_not_ready(node: Any, web_get: Any) -> None:
    def readiness() -> dict[str, bool]:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    answer = web_get(create_app(node.view(readiness=readiness)), "/readyz")
    assert answer.status_code == 503
    assert answer.json()["not_ready"] == ["database"]


def test_metrics_count_what_the_ledger_holds(jobs: dict[str, str], ask: Any) -> None:
    answer = ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer.text)
    assert found["dicom_node_ledger_reachable", ()] == 1
    assert found["dicom_node_instances_received_total", ()] == 14
    assert found["dicom_node_receipts_refused_total", ()] == 1
    assert found["dicom_node_studies", ()] == 7
    assert found["dicom_node_studies_growing", ()] == 1
    for state in ("delivered", "refused", "failed", "delivering", "running"):
        assert found["dicom_node_jobs", ("mibg_spect", state)] == 1
    assert found["dicom_node_jobs_late", ("mibg_spect",)] == 1
    assert found["dicom_node_jobs_late", ("gait",)] == 0
    assert found["dicom_node_deliveries_pending", ("pacs",)] == 1
    assert found["dicom_node_resident_memory_bytes", ("node",)] == pytest.approx(120.5e6)


def test_metrics_tell_how_long_delivered_jobs_took(jobs: dict[str, str], node: Any, ask: Any) -> None:
    ended_at = node.ledger.job(jobs["delivered"]).updated_at
    node.created(jobs["delivered"], datetime.now(UTC) - ended_at + timedelta(seconds=45))
    found = samples(ask("/metrics").text)
    assert found["dicom_node_job_seconds_bucket", ("mibg_spect", "30")] == 0
    assert found["dicom_node_job_seconds_bucket", ("mibg_spect", "60")] == 1
    assert found["dicom_node_job_seconds_bucket", ("mibg_spect", "+Inf")] == 1
    assert found["dicom_node_job_seconds_sum", ("mibg_spect",)] == pytest.approx(45, abs=14)


def test_metrics_of_an_empty_node_show_zeros_and_not_gaps(ask: Any) -> None:
    found = samples(ask("/metrics").text)
    assert found["dicom_node_instances_received_total", ()] == 0
    assert found["dicom_node_deliveries_pending", ("pacs",)] == 0


def test_metrics_say_when_the_ledger_is_out_of_reach(node: Any, ask: Any) -> None:
    with node.ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE refused_receipt")
    answer = ask("/metrics")
    assert answer.status_code == 200
    assert samples(answer.text)["dicom_node_ledger_reachable", ()] == 0
