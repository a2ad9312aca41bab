"""The ledger: nothing is lost, nothing is counted twice, no state is skipped."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from dicom_node.errors import IllegalTransition, Misconfigured
from dicom_node.store.instances import StoredInstance
from dicom_node.store.ledger import (
    Ledger,
    NewJob,
    NewVerdict,
    open_ledger,
    open_ledger_as_it_is,
    take_ledger_back,
)
from dicom_node.store.states import JobState
from dicom_node.store.tables import Base
from dicom_node.store.views import Views
from tests.integration.earlier_ledger import (
    JOB_ID,
    PROGRESS_COLUMNS,
    complaints,
    make_first_ledger,
    start_opening,
)

STUDY = "1.2.3"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path)
    yield opened
    opened.close()


def instance(
    ledger: Ledger, number: int, *, at: datetime | None = None, conflict: bool = False
) -> StoredInstance:
    return StoredInstance(
        study_instance_uid=STUDY,
        series_instance_uid="1.2.3.4",
        sop_instance_uid=f"1.2.3.4.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.20",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=ledger.data_dir / "instances" / f"{number}.dcm",
        size_bytes=100,
        digest=f"{number:064x}",
        received_at=at or datetime.now(UTC),
        calling_ae_title="PACS",
        conflict=conflict,
    )


def new_job(state: JobState = JobState.READY, **changes: object) -> NewJob:
    fields = {
        "study_instance_uid": STUDY,
        "revision": 1,
        "app": "an_app",
        "app_version": "0.1.0",
        "model_digest": "sha256:0",
        "input_digest": "sha256:1",
        "inputs": {"early": ["instances/1.dcm"]},
        "warnings": [],
        "destinations": ["a", "b"],
        "state": state,
    }
    return NewJob(**{**fields, **changes})  # type: ignore[arg-type]


def route(ledger: Ledger, *jobs: NewJob) -> list[str]:
    study = ledger.study(STUDY)
    assert study is not None
    added = ledger.record_routing(
        STUDY, study.last_received_at, [NewVerdict(app="an_app", verdict="taken")], jobs
    )
    return [job.job_id for job in added]


def test_the_migrations_make_the_tables_that_the_program_uses(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_an_instance_recorded_twice_counts_once(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1), instance(ledger, 1)])
    ledger.record_instances([instance(ledger, 1)])
    study = ledger.study(STUDY)
    assert study is not None
    assert study.instance_count == 1


def test_an_instance_with_other_content_is_no_input_and_is_told_in_the_history(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1), instance(ledger, 2, conflict=True)])
    assert [row.sop_instance_uid for row in ledger.instances_of(STUDY)] == ["1.2.3.4.1"]
    assert "instance_conflict" in [event.action for event in ledger.events(STUDY)]


def test_a_sop_instance_uid_that_another_series_holds_is_told_in_the_history(ledger: Ledger) -> None:
    first = instance(ledger, 1)
    other = replace(instance(ledger, 2), sop_instance_uid=first.sop_instance_uid, series_instance_uid="1.9")
    ledger.record_instances([first, other])
    assert "instance_conflict" in [event.action for event in ledger.events(STUDY)]
    assert len(ledger.instances_of(STUDY)) == 2


def test_a_study_stops_growing_when_it_is_routed(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    assert [uid for uid, _ in ledger.growing_studies()] == [STUDY]
    route(ledger)
    assert ledger.growing_studies() == []


def test_an_instance_that_arrives_while_routing_keeps_the_study_growing(ledger: Ledger) -> None:
    begun = datetime.now(UTC)
    ledger.record_instances([instance(ledger, 1, at=begun)])
    ledger.record_instances([instance(ledger, 2, at=begun + timedelta(seconds=1))])
    ledger.record_routing(STUDY, begun, [], [])
    assert [uid for uid, _ in ledger.growing_studies()] == [STUDY]


def test_the_same_input_makes_no_second_job(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    assert len(route(ledger, new_job())) == 1
    assert route(ledger, new_job()) == []
    assert len(route(ledger, new_job(input_digest="sha256:2"))) == 1


def test_a_verdict_is_kept_for_every_routing_and_the_last_one_shown(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    route(ledger)
    route(ledger)
    assert [(v.revision, v.verdict) for v in ledger.verdicts(STUDY)] == [(2, "taken")]


def test_a_job_is_delivered_when_every_destination_is(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    (job_id,) = route(ledger, new_job())
    for state in (JobState.RUNNING, JobState.VERIFYING, JobState.DELIVERING):
        ledger.change_state(job_id, state)
    ledger.finish_delivery(job_id, "a")
    job = ledger.job(job_id)
    assert job is not None
    assert job.state == "delivering"
    ledger.finish_delivery(job_id, "b")
    job = ledger.job(job_id)
    assert job is not None
    assert job.state == "delivered"
    assert ledger.unfinished_jobs() == []


def test_a_delivered_job_cannot_run_again(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    (job_id,) = route(ledger, new_job(destinations=["a"]))
    for state in (JobState.RUNNING, JobState.VERIFYING, JobState.DELIVERING):
        ledger.change_state(job_id, state)
    ledger.finish_delivery(job_id, "a")
    with pytest.raises(IllegalTransition, match="a delivered job cannot become running"):
        ledger.change_state(job_id, JobState.RUNNING)
    with pytest.raises(IllegalTransition):
        ledger.begin_again(job_id)


def test_progress_is_known_while_a_job_runs_and_no_longer(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    (job_id,) = route(ledger, new_job())
    told = []
    for state in (JobState.RUNNING, JobState.VERIFYING):
        ledger.change_state(job_id, state)
        ledger.note_progress(job_id, "segmenting", 0.4)
        job = ledger.job(job_id)
        assert job is not None
        told.append((job.progress_stage, job.progress_share, job.reason))
    assert told == [("segmenting", 0.4, ""), (None, None, "")]
    ledger.note_progress("a job that is not there", "segmenting", 0.4)


@pytest.fixture
def first_url(tmp_path: Path) -> str:
    """A ledger of the first version, with one job."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    engine = create_engine(url)
    make_first_ledger(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    engine.dispose()
    return url


def columns_of_jobs(url: str) -> set[str]:
    engine = create_engine(url)
    columns = {column["name"] for column in inspect(engine).get_columns("job")}
    engine.dispose()
    return columns


def test_a_ledger_of_the_first_version_is_brought_up_to_date(first_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(first_url, tmp_path)
    job = ledger.job(JOB_ID)
    assert job is not None
    assert (job.state, job.inputs, job.progress_stage) == ("running", {"early": ["instances/1.dcm"]}, None)
    ledger.note_progress(JOB_ID, "segmenting", 0.5)
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    ledger.close()


def test_who_only_reads_leaves_an_earlier_ledger_as_it_is_and_says_what_to_do(
    first_url: str, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"version 0001.*when the node is next started"):
        open_ledger_as_it_is(first_url, tmp_path)
    assert columns_of_jobs(first_url).isdisjoint(PROGRESS_COLUMNS)
    open_ledger(first_url, tmp_path).close()
    open_ledger_as_it_is(first_url, tmp_path).close()


def test_a_ledger_is_taken_back_for_an_earlier_program(first_url: str, tmp_path: Path) -> None:
    open_ledger(first_url, tmp_path).close()
    with pytest.raises(Misconfigured, match=r"'0000'.*allowed are 0001"):
        take_ledger_back(first_url, "0000")
    take_ledger_back(first_url, "0001")
    assert columns_of_jobs(first_url).isdisjoint(PROGRESS_COLUMNS)
    ledger = open_ledger(first_url, tmp_path)
    assert ledger.job(JOB_ID) is not None
    ledger.close()


def test_a_ledger_of_a_later_program_is_refused_with_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ledger = open_ledger(url, tmp_path)
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ledger.close()
    for opening in (open_ledger, open_ledger_as_it_is):
        with pytest.raises(Misconfigured, match=r"9999.*dicom-node take-back"):
            opening(url, tmp_path)


@pytest.mark.parametrize("is_update", [True, False], ids=["after an update", "for the first time"])
def test_roles_that_start_together_all_start(
    is_update: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "ledger.sqlite"
    url: str = request.getfixturevalue("first_url") if is_update else f"sqlite:///{file}"
    held = sqlite3.connect(file, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")  # all of them have looked before one may write
    processes = start_opening(url, tmp_path, 2)
    time.sleep(1.0)
    held.execute("ROLLBACK")
    held.close()
    assert complaints(processes) == []
    assert columns_of_jobs(url) >= set(PROGRESS_COLUMNS)


def test_a_failed_job_begins_again_with_a_new_run(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    (job_id,) = route(ledger, new_job())
    ledger.change_state(job_id, JobState.RUNNING, attempt=3)
    ledger.change_state(job_id, JobState.FAILED, reason="no luck")
    job = ledger.begin_again(job_id)
    assert (job.state, job.attempts, job.run_number, job.reason) == ("ready", 0, 1, "")


def test_acknowledged_objects_are_remembered_once(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.record_delivered_instance("job", "a", "1.2", "")
    assert ledger.delivered_instances("job", "a") == {"1.2"}


def test_the_ledger_outlives_its_process(tmp_path: Path) -> None:
    first = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path)
    first.record_instances([instance(first, 1)])
    first.close()
    second = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path)
    assert second.known_paths() == {"instances/1.dcm"}
    second.close()


def test_a_study_for_an_app_that_the_site_does_not_use_is_shown_as_such(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    study = ledger.study(STUDY)
    assert study is not None
    ledger.record_routing(STUDY, study.last_received_at, [NewVerdict(app="an_app", verdict="no_route")], [])
    shown = Views(ledger, ledger.data_dir, 30).study(STUDY)
    assert shown is not None
    assert [verdict.outcome for verdict in shown.verdicts] == ["no_route"]


def test_a_job_that_the_rules_refused_is_not_begun_again(ledger: Ledger) -> None:
    ledger.record_instances([instance(ledger, 1)])
    refused = new_job(JobState.REFUSED, inputs={}, destinations=[], reason="NumberOfFrames is 10")
    (job_id,) = route(ledger, refused)
    with pytest.raises(IllegalTransition, match="NumberOfFrames is 10"):
        ledger.begin_again(job_id)
    job = ledger.job(job_id)
    assert job is not None
    assert (job.state, job.reason) == ("refused", "NumberOfFrames is 10")
