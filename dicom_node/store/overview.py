"""The questions that people and monitoring ask the ledger, each answered by few queries.

Reads only. What the stages of the node themselves ask is in `dicom_node.store.ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, extract, func, select
from sqlalchemy.orm import sessionmaker

from dicom_node.store.documents import Outcome
from dicom_node.store.ledger import CONFLICT, Ledger
from dicom_node.store.states import ENDED, JobState
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

ENDED_STATES = tuple(state.value for state in ENDED)


@dataclass(frozen=True, kw_only=True)
class Conflicts:
    """Images of one study whose SOP Instance UID is not theirs alone (PS3.5 9: it is to be unique).

    Args:
        other_content: Came again in the same series with other content; the first one is used.
        elsewhere: Have the SOP Instance UID of an image in another series or study.
    """

    other_content: int
    elsewhere: int


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How much the ledger holds."""

    instances: int
    studies: int
    growing_studies: int
    refused_receipts: int


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long jobs took from their creation until everything was delivered.

    Args:
        at_most: For each bound that was asked for, the jobs that took no longer.
        count: All delivered jobs.
        total_s: The sum of their times.
    """

    at_most: tuple[int, ...]
    count: int
    total_s: float


def outcome_of(job: JobRow, late_before: datetime) -> Outcome:
    """How a job stands, when one is late that was created before the given time."""
    if job.state in ENDED_STATES:
        return Outcome(job.state)
    return Outcome.LATE if job.created_at < late_before else Outcome.IN_PROGRESS


def _outcome(late_before: datetime) -> ColumnElement[str]:
    """`outcome_of` for a query of verdicts and, where there are, their jobs."""
    return case(
        (JobRow.state.in_(ENDED_STATES), JobRow.state),
        (JobRow.created_at < late_before, Outcome.LATE.value),
        (JobRow.job_id.is_not(None), Outcome.IN_PROGRESS.value),
        (VerdictRow.verdict == "taken", Outcome.IN_PROGRESS.value),
        else_=VerdictRow.verdict,
    )


def _present(query: Any) -> Any:
    """The query over the verdicts of each study's last routing, with their jobs."""
    is_last = (VerdictRow.study_instance_uid == StudyRow.study_instance_uid) & (
        VerdictRow.revision == StudyRow.revision
    )
    return (
        query.select_from(VerdictRow)
        .join(StudyRow, is_last)
        .outerjoin(JobRow, VerdictRow.job_id == JobRow.job_id)
    )


class Overview:
    """Answers questions over many studies and jobs at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._sessions = sessionmaker(ledger.engine, expire_on_commit=False)
        self._is_sqlite = ledger.engine.dialect.name == "sqlite"

    # ------------------------------------------------------------------ studies

    def studies(
        self,
        *,
        late_before: datetime,
        text: str = "",
        outcomes: Collection[Outcome] = (),
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[list[StudyRow], int]:
        """A page of studies, the last received first, and how many there are in all.

        Args:
            late_before: A job created before this time that has not ended is late.
            text: Part of a Study Instance UID.
            outcomes: Studies only for which an app's part stands in one of these ways.
            limit: Size of the page.
            offset: Studies to pass over.
        """
        chosen = select(StudyRow)
        if text:
            chosen = chosen.where(StudyRow.study_instance_uid.contains(text, autoescape=True))
        if outcomes:
            wanted = _present(select(VerdictRow.study_instance_uid)).where(
                _outcome(late_before).in_([outcome.value for outcome in outcomes])
            )
            chosen = chosen.where(StudyRow.study_instance_uid.in_(wanted))
        page = chosen.order_by(StudyRow.last_received_at.desc(), StudyRow.study_instance_uid)
        with self._sessions() as session:
            total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
            return list(session.scalars(page.limit(limit).offset(offset))), total

    def verdicts(
        self, study_instance_uids: Collection[str], late_before: datetime
    ) -> list[tuple[VerdictRow, JobRow | None, Outcome]]:
        """The verdicts of each study's last routing, with job and outcome, by app."""
        query = (
            _present(select(VerdictRow, JobRow, _outcome(late_before)))
            .where(VerdictRow.study_instance_uid.in_(study_instance_uids))
            .order_by(VerdictRow.study_instance_uid, VerdictRow.app)
        )
        with self._sessions() as session:
            return [(verdict, job, Outcome(outcome)) for verdict, job, outcome in session.execute(query)]

    def conflicts(self, study_instance_uids: Collection[str]) -> dict[str, Conflicts]:
        """The conflicts of those studies that have any."""
        told = (
            select(EventRow.study_instance_uid, func.count())
            .where(EventRow.study_instance_uid.in_(study_instance_uids), EventRow.action == CONFLICT)
            .group_by(EventRow.study_instance_uid)
        )
        kept_apart = (
            select(InstanceRow.study_instance_uid, func.count())
            .where(InstanceRow.study_instance_uid.in_(study_instance_uids), InstanceRow.is_conflict)
            .group_by(InstanceRow.study_instance_uid)
        )
        with self._sessions() as session:
            events = {uid: count for uid, count in session.execute(told)}
            rows = {uid: count for uid, count in session.execute(kept_apart)}
        return {
            uid: Conflicts(other_content=rows.get(uid, 0), elsewhere=count - rows.get(uid, 0))
            for uid, count in events.items()
        }

    def outcome_counts(self, late_before: datetime) -> dict[Outcome, int]:
        """How many parts of apps in studies stand in which way."""
        outcome = _outcome(late_before).label("outcome")
        with self._sessions() as session:
            rows = session.execute(_present(select(outcome, func.count())).group_by(outcome))
            return {Outcome(name): count for name, count in rows}

    # --------------------------------------------------------------------- jobs

    def jobs(
        self,
        *,
        study_instance_uid: str | None = None,
        state: JobState | None = None,
        app: str | None = None,
        limit: int = 200,
    ) -> list[JobRow]:
        """Jobs, newest first."""
        query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.job_id).limit(limit)
        if study_instance_uid is not None:
            query = query.where(JobRow.study_instance_uid == study_instance_uid)
        if state is not None:
            query = query.where(JobRow.state == state.value)
        if app is not None:
            query = query.where(JobRow.app == app)
        with self._sessions() as session:
            return list(session.scalars(query))

    def deliveries(self, job_ids: Collection[str]) -> dict[str, list[DeliveryRow]]:
        """How far each destination of each job is."""
        query = select(DeliveryRow).where(DeliveryRow.job_id.in_(job_ids)).order_by(DeliveryRow.destination)
        found: dict[str, list[DeliveryRow]] = {job_id: [] for job_id in job_ids}
        with self._sessions() as session:
            for row in session.scalars(query):
                found[row.job_id].append(row)
        return found

    def acknowledged(self, job_ids: Collection[str]) -> dict[tuple[str, str], int]:
        """Number of acknowledged objects by (job id, destination)."""
        query = (
            select(DeliveredRow.job_id, DeliveredRow.destination, func.count())
            .where(DeliveredRow.job_id.in_(job_ids))
            .group_by(DeliveredRow.job_id, DeliveredRow.destination)
        )
        with self._sessions() as session:
            return {(job_id, destination): count for job_id, destination, count in session.execute(query)}

    # --------------------------------------------------------------- monitoring

    def totals(self) -> Totals:
        """How much the ledger holds."""
        with self._sessions() as session:
            return Totals(
                instances=session.scalar(select(func.count()).select_from(InstanceRow)) or 0,
                studies=session.scalar(select(func.count()).select_from(StudyRow)) or 0,
                growing_studies=session.scalar(
                    select(func.count()).select_from(StudyRow).where(StudyRow.is_growing)
                )
                or 0,
                refused_receipts=session.scalar(select(func.count()).select_from(ReceiptRow)) or 0,
            )

    def late_counts(self, late_before: datetime) -> dict[str, int]:
        """Number of late jobs by app."""
        query = (
            select(JobRow.app, func.count())
            .where(JobRow.state.not_in(ENDED_STATES), JobRow.created_at < late_before)
            .group_by(JobRow.app)
        )
        with self._sessions() as session:
            return {app: count for app, count in session.execute(query)}

    def pending_deliveries(self) -> dict[str, int]:
        """Number of verified results that a destination does not have yet, by destination."""
        query = (
            select(DeliveryRow.destination, func.count())
            .join(JobRow, DeliveryRow.job_id == JobRow.job_id)
            .where(JobRow.state == JobState.DELIVERING.value, ~DeliveryRow.is_done)
            .group_by(DeliveryRow.destination)
        )
        with self._sessions() as session:
            return {destination: count for destination, count in session.execute(query)}

    def durations(self, bounds_s: Sequence[float]) -> dict[str, Durations]:
        """How long delivered jobs took, by app, counted below each bound."""
        seconds = self._seconds()
        below = [func.sum(case((seconds <= bound, 1), else_=0)) for bound in bounds_s]
        query = (
            select(JobRow.app, func.count(), func.sum(seconds), *below)
            .where(JobRow.state == JobState.DELIVERED.value)
            .group_by(JobRow.app)
        )
        with self._sessions() as session:
            return {
                app: Durations(at_most=tuple(int(n) for n in at_most), count=count, total_s=float(total_s))
                for app, count, total_s, *at_most in session.execute(query)
            }

    def _seconds(self) -> ColumnElement[Any]:
        if self._is_sqlite:  # keeps times as text
            days: ColumnElement[Any] = func.julianday(JobRow.updated_at) - func.julianday(JobRow.created_at)
            return days * 86400.0
        return extract("epoch", JobRow.updated_at - JobRow.created_at)
