"""The ledger: nothing is lost, nothing is counted twice, no state is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext

from dicom_node.errors import IllegalTransition
from dicom_node.store.instances import StoredInstance
from dicom_node.store.ledger import MIGRATIONS, Ledger, NewJob, NewVerdict, open_ledger
from dicom_node.store.states import JobState
from dicom_node.store.tables import Base
from dicom_node.store.views import Views

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


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ledger = open_ledger(url, tmp_path)
    ledger.record_instances([instance(ledger, 1)])
    (job_id,) = route(ledger, new_job())
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    with ledger.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    ledger.close()
    again = open_ledger(url, tmp_path)
    job = again.job(job_id)
    assert job is not None
    assert (job.state, job.progress_stage) == ("ready", None)
    again.close()


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
