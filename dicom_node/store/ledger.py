"""The ledger: what was received, what each app said to it, how each job ended.

Every query of the node is a method here. Instances reach the ledger a moment after
they reached the disk (see `dicom_node.store.instances`); a method that reads
instances therefore runs after `InstanceWriter.flush`.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.util.exc import CommandError
from sqlalchemy import Engine, create_engine, event, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.errors import IllegalTransition, Misconfigured
from dicom_node.store.instances import StoredInstance
from dicom_node.store.schema import bring_up_to_date, check_up_to_date, take_back
from dicom_node.store.states import ENDED, JobState, check_transition
from dicom_node.store.tables import (
    DeliveredRow,
    DeliveryRow,
    EventRow,
    InstanceRow,
    JobRow,
    ReceiptRow,
    StudyRow,
    VerdictRow,
)

SQLITE_LOCK_LIMIT_S = 30
"""How long a process waits for another one that writes."""

CONFLICT = "instance_conflict"
"""Action in the history of a study: an image's SOP Instance UID belongs to another content too."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as the routing stage orders it.

    Args:
        inputs: Input name to instance files, relative to the data folder.
        state: READY, or REFUSED when the study is outside the app's envelope.
    """

    study_instance_uid: str
    revision: int
    app: str
    app_version: str
    model_digest: str
    input_digest: str
    inputs: dict[str, list[str]]
    warnings: list[str]
    destinations: list[str]
    state: JobState
    reason: str = ""
    attribute: str = ""

    @property
    def job_id(self) -> str:
        """The same for the same study, app, version, model and input: a repeat makes no second job."""
        parts = (self.study_instance_uid, self.app, self.app_version, self.model_digest, self.input_digest)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


@dataclass(frozen=True, kw_only=True)
class NewVerdict:
    """What the rules said of a study for one app."""

    app: str
    verdict: str
    reason: str = ""
    attribute: str = ""


def _now() -> datetime:
    return datetime.now(UTC)


def open_ledger(url: str, data_dir: Path) -> Ledger:
    """The ledger at a database URL, created or brought up to date as needed.

    Raises:
        Misconfigured: The database cannot be reached or created, or the ledger is of a later program.
    """
    engine = _engine(url)
    with _told_as_misconfigured(engine):
        bring_up_to_date(engine)
    return Ledger(engine, data_dir)


def open_ledger_as_it_is(url: str, data_dir: Path) -> Ledger:
    """The ledger at a database URL, for a command that must not change the tables of a running node.

    Raises:
        Misconfigured: The database cannot be reached, or the ledger is of another program's version.
    """
    engine = _engine(url)
    with _told_as_misconfigured(engine):
        check_up_to_date(engine)
    return Ledger(engine, data_dir)


def take_ledger_back(url: str, version: str) -> None:
    """Have the ledger at a database URL as an earlier version of the program needs it.

    Raises:
        Misconfigured: The database cannot be reached or is in use, or there is no such earlier version.
    """
    engine = _engine(url)
    with _told_as_misconfigured(engine):
        take_back(engine, version)
    engine.dispose()


@contextmanager
def _told_as_misconfigured(engine: Engine) -> Iterator[None]:
    try:
        yield
    except Misconfigured:
        engine.dispose()
        raise
    except (SQLAlchemyError, CommandError) as error:
        engine.dispose()
        raise Misconfigured(
            f"node.database: the ledger cannot be opened ({type(error).__name__}: {error})"
        ) from error


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": SQLITE_LOCK_LIMIT_S})

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _record: Any) -> None:
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.isolation_level = None  # transactions are begun below

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # a reader that later writes would fail at once instead of waiting its turn
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
        )

    return engine


def _write_ahead(connection: Any) -> None:
    """Set how SQLite writes; on a new file that needs a lock for which SQLite itself does not wait."""
    deadline = time.monotonic() + SQLITE_LOCK_LIMIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


class Ledger:
    """Reads and writes the ledger; safe to use from several threads and processes."""

    def __init__(self, engine: Engine, data_dir: Path) -> None:
        self.engine = engine
        self.data_dir = data_dir
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        self._insert: Any = sqlite_insert if engine.dialect.name == "sqlite" else postgresql_insert

    def close(self) -> None:
        """Release the connections."""
        self.engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Session]:
        with self._sessions.begin() as session:
            session.connection(execution_options={"writes": True})
            yield session

    def is_reachable(self) -> bool:
        """True when the database answers."""
        with self._sessions() as session:
            return session.scalar(select(1)) == 1

    # ---------------------------------------------------------------- receiving

    def record_instances(self, instances: Sequence[StoredInstance]) -> list[StoredInstance]:
        """Index received instances and mark their studies as growing, in one transaction.

        Returns:
            Those that were not indexed before.
        """
        added: list[StoredInstance] = []
        with self._begin() as session:
            for instance in instances:
                row = {
                    "path": self.relative(instance.path),
                    "study_instance_uid": instance.study_instance_uid,
                    "series_instance_uid": instance.series_instance_uid,
                    "sop_instance_uid": instance.sop_instance_uid,
                    "sop_class_uid": instance.sop_class_uid,
                    "transfer_syntax_uid": instance.transfer_syntax_uid,
                    "digest": instance.digest,
                    "size_bytes": instance.size_bytes,
                    "received_at": instance.received_at,
                    "calling_ae_title": instance.calling_ae_title,
                    "is_conflict": instance.conflict,
                }
                statement = self._insert(InstanceRow).values(**row).on_conflict_do_nothing()
                if session.scalar(statement.returning(InstanceRow.path)) is not None:
                    self._grow_study(session, instance)
                    added.append(instance)
        return added

    def _grow_study(self, session: Session, instance: StoredInstance) -> None:
        study = session.get(StudyRow, instance.study_instance_uid)
        at = instance.received_at
        if study is None:
            study = StudyRow(
                study_instance_uid=instance.study_instance_uid,
                first_received_at=at,
                last_received_at=at,
                is_growing=True,
                revision=0,
                instance_count=0,
            )
            session.add(study)
            self._event(session, study.study_instance_uid, "", "study_begun", instance.calling_ae_title)
        elif not study.is_growing:
            self._event(session, study.study_instance_uid, "", "study_grows", instance.calling_ae_title)
        if instance.conflict or self._is_elsewhere(session, instance):
            detail = f"SOP Instance UID {instance.sop_instance_uid} came again with other content; kept apart"
            self._event(session, study.study_instance_uid, "", CONFLICT, detail)
        study.instance_count += 1
        study.is_growing = True
        study.last_received_at = max(study.last_received_at, at)
        session.flush()

    @staticmethod
    def _is_elsewhere(session: Session, instance: StoredInstance) -> bool:
        """True when another series or study holds this SOP Instance UID: UIDs are to be unique (PS3.5 9)."""
        other = select(InstanceRow.path).where(
            InstanceRow.sop_instance_uid == instance.sop_instance_uid,
            InstanceRow.digest != instance.digest,
        )
        return session.scalars(other.limit(1)).first() is not None

    def record_refused_receipt(self, source: str, sop_instance_uid: str, status: str, reason: str) -> None:
        """Remember something that was not accepted."""
        with self._begin() as session:
            session.add(
                ReceiptRow(
                    at=_now(),
                    source=source,
                    sop_instance_uid=sop_instance_uid,
                    status=status,
                    reason=reason,
                )
            )

    def refused_receipts(self, limit: int = 1000) -> list[ReceiptRow]:
        """What was not accepted, newest first."""
        with self._sessions() as session:
            return list(session.scalars(select(ReceiptRow).order_by(ReceiptRow.id.desc()).limit(limit)))

    def known_paths(self) -> set[str]:
        """Paths of all indexed instances, relative to the data folder."""
        with self._sessions() as session:
            return set(session.scalars(select(InstanceRow.path)))

    def relative(self, path: Path) -> str:
        """A path below the data folder as the ledger keeps it."""
        return os.path.relpath(path, self.data_dir)

    # ----------------------------------------------------------------- grouping

    def growing_studies(self) -> list[tuple[str, datetime]]:
        """Studies that have not been routed since their last instance, with its time."""
        with self._sessions() as session:
            rows = session.execute(
                select(StudyRow.study_instance_uid, StudyRow.last_received_at).where(StudyRow.is_growing)
            )
            return [(uid, at) for uid, at in rows]

    def study(self, study_instance_uid: str) -> StudyRow | None:
        """A study, or None."""
        with self._sessions() as session:
            return session.get(StudyRow, study_instance_uid)

    def instances_of(self, study_instance_uid: str) -> list[InstanceRow]:
        """The indexed instances of a study, those kept apart excluded, in a fixed order."""
        with self._sessions() as session:
            return list(
                session.scalars(
                    select(InstanceRow)
                    .where(InstanceRow.study_instance_uid == study_instance_uid, ~InstanceRow.is_conflict)
                    .order_by(InstanceRow.path)
                )
            )

    # ------------------------------------------------------------------ routing

    def record_routing(
        self,
        study_instance_uid: str,
        seen_last_received_at: datetime,
        verdicts: Sequence[NewVerdict],
        jobs: Sequence[NewJob],
    ) -> list[JobRow]:
        """Write a study's verdicts and jobs, in one transaction; the study stops growing.

        If an instance arrived meanwhile the study keeps growing and will be routed again.

        Returns:
            The jobs that are new.
        """
        with self._begin() as session:
            study = session.get_one(StudyRow, study_instance_uid)
            study.revision += 1
            if study.last_received_at <= seen_last_received_at:
                study.is_growing = False
            job_ids: dict[str, str] = {}
            added = []
            for job in jobs:
                row, is_new = self._add_job(session, job, study.revision)
                job_ids[job.app] = row.job_id
                if is_new:
                    added.append(row)
            for verdict in verdicts:
                session.add(
                    VerdictRow(
                        study_instance_uid=study_instance_uid,
                        revision=study.revision,
                        app=verdict.app,
                        verdict=verdict.verdict,
                        reason=verdict.reason,
                        attribute=verdict.attribute,
                        job_id=job_ids.get(verdict.app),
                        at=_now(),
                    )
                )
            detail = "; ".join(f"{v.app}: {v.verdict}" for v in verdicts) or "no app is configured"
            self._event(session, study_instance_uid, "", "study_routed", detail)
            return added

    def _add_job(self, session: Session, job: NewJob, revision: int) -> tuple[JobRow, bool]:
        existing = session.get(JobRow, job.job_id)
        if existing is not None:
            return existing, False
        row = JobRow(
            job_id=job.job_id,
            study_instance_uid=job.study_instance_uid,
            revision=revision,
            app=job.app,
            app_version=job.app_version,
            model_digest=job.model_digest,
            input_digest=job.input_digest,
            inputs=job.inputs,
            warnings=job.warnings,
            destinations=job.destinations,
            predecessor_job_id=None,
            state=job.state.value,
            reason=job.reason,
            attribute=job.attribute,
            attempts=0,
            run_number=0,
            progress_stage=None,
            progress_share=None,
            created_at=_now(),
            updated_at=_now(),
        )
        session.add(row)
        session.flush()
        for name in job.destinations:
            session.add(
                DeliveryRow(job_id=row.job_id, destination=name, is_done=False, attempts=0, last_error="")
            )
        self._event(session, job.study_instance_uid, row.job_id, f"job_{job.state.value}", job.reason)
        return row, True

    def verdicts(self, study_instance_uid: str | None = None) -> list[VerdictRow]:
        """The verdicts of each study's last routing."""
        newest = (
            select(VerdictRow.study_instance_uid, func.max(VerdictRow.revision).label("revision"))
            .group_by(VerdictRow.study_instance_uid)
            .subquery()
        )
        query = select(VerdictRow).join(
            newest,
            (VerdictRow.study_instance_uid == newest.c.study_instance_uid)
            & (VerdictRow.revision == newest.c.revision),
        )
        if study_instance_uid is not None:
            query = query.where(VerdictRow.study_instance_uid == study_instance_uid)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(VerdictRow.study_instance_uid, VerdictRow.app)))

    # --------------------------------------------------------------------- jobs

    def job(self, job_id: str) -> JobRow | None:
        """A job, or None."""
        with self._sessions() as session:
            return session.get(JobRow, job_id)

    def jobs(
        self, *, study_instance_uid: str | None = None, state: JobState | None = None, limit: int = 1000
    ) -> list[JobRow]:
        """Jobs, newest first."""
        query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.job_id).limit(limit)
        if study_instance_uid is not None:
            query = query.where(JobRow.study_instance_uid == study_instance_uid)
        if state is not None:
            query = query.where(JobRow.state == state.value)
        with self._sessions() as session:
            return list(session.scalars(query))

    def unfinished_jobs(self) -> list[JobRow]:
        """Jobs that have not ended."""
        with self._sessions() as session:
            return list(
                session.scalars(select(JobRow).where(JobRow.state.not_in([state.value for state in ENDED])))
            )

    def earlier_jobs(self, job: JobRow) -> list[JobRow]:
        """Jobs of the same study and app that began before this one, newest first."""
        with self._sessions() as session:
            return list(
                session.scalars(
                    select(JobRow)
                    .where(JobRow.study_instance_uid == job.study_instance_uid, JobRow.app == job.app)
                    .where(JobRow.created_at < job.created_at)
                    .order_by(JobRow.created_at.desc())
                )
            )

    def set_predecessor(self, job_id: str, predecessor_job_id: str) -> None:
        """Remember which analysis a job replaces."""
        with self._begin() as session:
            session.get_one(JobRow, job_id).predecessor_job_id = predecessor_job_id

    def job_counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by (app, state)."""
        with self._sessions() as session:
            rows = session.execute(
                select(JobRow.app, JobRow.state, func.count()).group_by(JobRow.app, JobRow.state)
            )
            return {(app, state): count for app, state, count in rows}

    def change_state(
        self,
        job_id: str,
        state: JobState,
        *,
        reason: str = "",
        attribute: str = "",
        attempt: int | None = None,
    ) -> JobRow:
        """The job in its new state.

        Raises:
            IllegalTransition: The present state does not allow the new one.
        """
        with self._begin() as session:
            job = session.get_one(JobRow, job_id, with_for_update=True)
            check_transition(JobState(job.state), state)
            job.state = state.value
            job.reason = reason
            job.attribute = attribute
            job.progress_stage = job.progress_share = None
            job.updated_at = _now()
            if attempt is not None:
                job.attempts = attempt
            self._event(session, job.study_instance_uid, job_id, f"job_{state.value}", reason)
            return job

    def note_progress(self, job_id: str, stage: str, share: float) -> None:
        """What a running job is doing, until its next state; no part of the history.

        Args:
            job_id: The job; nothing is noted of one that does not run any more.
            stage: What is being done.
            share: Of it, 0 to 1.
        """
        noted = update(JobRow).where(JobRow.job_id == job_id, JobRow.state == JobState.RUNNING.value)
        with self._begin() as session:
            session.execute(noted.values(progress_stage=stage, progress_share=share))

    def begin_again(self, job_id: str) -> JobRow:
        """A refused or failed job, READY once more at a person's wish.

        Raises:
            IllegalTransition: The job has not ended, was delivered, or was refused by the rules.
        """
        with self._begin() as session:
            job = session.get_one(JobRow, job_id, with_for_update=True)
            check_transition(JobState(job.state), JobState.READY)
            if not job.inputs:
                raise IllegalTransition(
                    f"the rules refused the study ({job.reason}); send it again once that is mended"
                )
            job.state = JobState.READY.value
            job.reason = ""
            job.attribute = ""
            job.attempts = 0
            job.progress_stage = job.progress_share = None
            job.run_number += 1
            job.updated_at = _now()
            for delivery in session.scalars(select(DeliveryRow).where(DeliveryRow.job_id == job_id)):
                delivery.first_attempt_at = None
            self._event(session, job.study_instance_uid, job_id, "job_retried", "at a person's wish")
            return job

    # ----------------------------------------------------------------- delivery

    def deliveries(self, job_id: str) -> list[DeliveryRow]:
        """How far each destination of a job is."""
        with self._sessions() as session:
            return list(
                session.scalars(
                    select(DeliveryRow).where(DeliveryRow.job_id == job_id).order_by(DeliveryRow.destination)
                )
            )

    def delivered_instances(self, job_id: str, destination: str) -> set[str]:
        """SOP Instance UIDs that a destination has acknowledged."""
        with self._sessions() as session:
            return set(
                session.scalars(
                    select(DeliveredRow.sop_instance_uid).where(
                        DeliveredRow.job_id == job_id, DeliveredRow.destination == destination
                    )
                )
            )

    def record_delivered_instance(
        self, job_id: str, destination: str, sop_instance_uid: str, note: str
    ) -> None:
        """Remember an acknowledgement, so that the object is not sent again."""
        with self._begin() as session:
            session.execute(
                self._insert(DeliveredRow)
                .values(
                    job_id=job_id,
                    destination=destination,
                    sop_instance_uid=sop_instance_uid,
                    at=_now(),
                    note=note,
                )
                .on_conflict_do_nothing()
            )

    def begin_delivery(self, job_id: str, destination: str) -> tuple[int, datetime]:
        """Count an attempt.

        Returns:
            The attempt's number, from 1, and the time of the first one.
        """
        with self._begin() as session:
            row = session.get_one(DeliveryRow, (job_id, destination), with_for_update=True)
            row.attempts += 1
            row.next_attempt_at = None
            row.first_attempt_at = row.first_attempt_at or _now()
            return row.attempts, row.first_attempt_at

    def postpone_delivery(
        self, job_id: str, destination: str, error: str, next_attempt_at: datetime | None
    ) -> None:
        """Remember why an attempt did not succeed and when the next one is due."""
        with self._begin() as session:
            row = session.get_one(DeliveryRow, (job_id, destination))
            row.last_error = error
            row.next_attempt_at = next_attempt_at
            job = session.get_one(JobRow, job_id)
            job.reason = error
            job.updated_at = _now()
            self._event(
                session, job.study_instance_uid, job_id, "delivery_postponed", f"{destination}: {error}"
            )

    def finish_delivery(self, job_id: str, destination: str) -> None:
        """A destination has everything; the job is DELIVERED when it was the last one."""
        with self._begin() as session:
            job = session.get_one(JobRow, job_id, with_for_update=True)
            row = session.get_one(DeliveryRow, (job_id, destination))
            if not row.is_done:
                row.is_done = True
                row.delivered_at = _now()
                row.last_error = ""
                row.next_attempt_at = None
                self._event(session, job.study_instance_uid, job_id, "destination_delivered", destination)
            session.flush()
            open_ones = session.scalar(
                select(func.count()).where(DeliveryRow.job_id == job_id, ~DeliveryRow.is_done)
            )
            if open_ones == 0 and job.state == JobState.DELIVERING:
                job.state = JobState.DELIVERED.value
                job.reason = ""
                job.updated_at = _now()
                self._event(session, job.study_instance_uid, job_id, "job_delivered", "")

    # ------------------------------------------------------------------ history

    def events(self, study_instance_uid: str) -> list[EventRow]:
        """The history of a study and its jobs, in order."""
        with self._sessions() as session:
            return list(
                session.scalars(
                    select(EventRow)
                    .where(EventRow.study_instance_uid == study_instance_uid)
                    .order_by(EventRow.id)
                )
            )

    def _event(
        self, session: Session, study_instance_uid: str, job_id: str, action: str, detail: str
    ) -> None:
        session.add(
            EventRow(
                at=_now(), study_instance_uid=study_instance_uid, job_id=job_id, action=action, detail=detail
            )
        )
