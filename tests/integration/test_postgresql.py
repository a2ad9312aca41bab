"""The ledger on PostgreSQL: the same migrations, the same answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from dicom_node.errors import Misconfigured
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
from tests.integration.earlier_ledger import (
    JOB_ID,
    PROGRESS_COLUMNS,
    complaints,
    make_first_ledger,
    start_opening,
)
from tests.integration.orthanc import free_port
from tests.integration.postgresql import PostgresqlServer, start_postgresql


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    running = start_postgresql(tmp_path_factory.mktemp("postgresql"))
    yield running
    running.stop()


@pytest.fixture
def ledger(server: PostgresqlServer, tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(server.url, tmp_path)
    yield opened
    opened.close()


def test_the_migrations_make_the_tables_that_the_program_uses(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert found == []


def test_a_study_goes_from_reception_to_delivery(ledger: Ledger) -> None:
    at = datetime.now(UTC)
    instance = StoredInstance(
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        sop_instance_uid="1.2.3.4.5",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.20",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=ledger.data_dir / "1.dcm",
        size_bytes=1,
        digest="0" * 64,
        received_at=at,
        calling_ae_title="PACS",
    )
    ledger.record_instances([instance, instance])
    assert ledger.growing_studies() == [("1.2.3", at)]
    job = NewJob(
        study_instance_uid="1.2.3",
        revision=1,
        app="an_app",
        app_version="0.1.0",
        model_digest="",
        input_digest="sha256:0",
        inputs={},
        warnings=[],
        destinations=["pacs"],
        state=JobState.READY,
    )
    (row,) = ledger.record_routing("1.2.3", at, [NewVerdict(app="an_app", verdict="taken")], [job])
    for state in (JobState.RUNNING, JobState.VERIFYING, JobState.DELIVERING):
        ledger.change_state(row.job_id, state)
    for _ in range(2):
        ledger.record_delivered_instance(row.job_id, "pacs", "1.2", "")
    ledger.finish_delivery(row.job_id, "pacs")
    done = ledger.job(row.job_id)
    assert done is not None
    assert done.state == "delivered"
    assert [event.action for event in ledger.events("1.2.3")][-1] == "job_delivered"


@pytest.fixture
def first_url(server: PostgresqlServer) -> Iterator[str]:
    """A ledger of the first version, with one job, in a database of its own."""
    admin = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE earlier"))
    url = server.url.rpartition("/")[0] + "/earlier"
    engine = create_engine(url)
    make_first_ledger(engine)
    engine.dispose()
    yield url
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE earlier WITH (FORCE)"))
    admin.dispose()


def test_a_ledger_of_the_first_version_is_brought_up_to_date_and_taken_back(
    first_url: str, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"version 0001.*when the node is next started"):
        open_ledger_as_it_is(first_url, tmp_path)
    ledger = open_ledger(first_url, tmp_path)
    ledger.note_progress(JOB_ID, "segmenting", 0.5)
    job = ledger.job(JOB_ID)
    assert job is not None
    assert (job.state, job.inputs, job.progress_share) == ("running", {"early": ["instances/1.dcm"]}, 0.5)
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    ledger.close()
    take_ledger_back(first_url, "0001")
    engine = create_engine(first_url)
    columns = {column["name"] for column in inspect(engine).get_columns("job")}
    engine.dispose()
    assert columns.isdisjoint(PROGRESS_COLUMNS)


def test_roles_that_start_together_after_an_update_all_start(first_url: str, tmp_path: Path) -> None:
    engine = create_engine(first_url)
    with engine.connect() as held, engine.connect() as looking:
        held.execute(text("LOCK TABLE job"))  # all of them have looked before one may write
        processes = start_opening(first_url, tmp_path, 2)
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'earlier' AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 60
        while looking.scalar(waiting) != 2 and time.monotonic() < deadline:
            looking.rollback()
            time.sleep(0.1)
        held.rollback()
    engine.dispose()
    assert complaints(processes) == []


def test_a_server_that_is_away_is_told_as_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"node\.database: the ledger cannot be opened"):
        open_ledger(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none", tmp_path)
