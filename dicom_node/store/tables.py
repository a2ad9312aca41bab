"""The ledger's tables. No patient attribute is kept here: UIDs only.

A change here needs a migration in ``migrations/versions``; a test compares both.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time; always aware, always UTC (SQLite forgets the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """UTC for the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """An aware time for the program."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class StudyRow(Base):
    """A study: still growing, or routed as of a revision."""

    __tablename__ = "study"

    study_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    first_received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    is_growing: Mapped[bool] = mapped_column(index=True)
    revision: Mapped[int] = mapped_column(default=0)  # how many times it was routed
    instance_count: Mapped[int] = mapped_column(default=0)


class InstanceRow(Base):
    """A received instance; the file at `path` is what counts."""

    __tablename__ = "instance"

    path: Mapped[str] = mapped_column(primary_key=True)  # relative to data_dir
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    series_instance_uid: Mapped[str]
    sop_instance_uid: Mapped[str] = mapped_column(index=True)
    sop_class_uid: Mapped[str]
    transfer_syntax_uid: Mapped[str]
    digest: Mapped[str]
    size_bytes: Mapped[int]
    received_at: Mapped[datetime]
    calling_ae_title: Mapped[str]
    is_conflict: Mapped[bool]  # same SOP Instance UID as an earlier one, other content: kept apart


class ReceiptRow(Base):
    """Something that was sent or dropped in and not accepted, and why."""

    __tablename__ = "refused_receipt"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    source: Mapped[str]  # calling AE title, or "inbox"
    sop_instance_uid: Mapped[str]
    status: Mapped[str]  # DIMSE status as hexadecimal, or empty
    reason: Mapped[str]


class VerdictRow(Base):
    """What the rules say of a study for an app, at a revision of the study."""

    __tablename__ = "verdict"

    study_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    app: Mapped[str] = mapped_column(primary_key=True)
    verdict: Mapped[str]  # taken, refused, not_for_this_app, no_route
    reason: Mapped[str]
    attribute: Mapped[str]
    job_id: Mapped[str | None]
    at: Mapped[datetime]


class JobRow(Base):
    """One analysis of one study by one app."""

    __tablename__ = "job"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    revision: Mapped[int]
    app: Mapped[str]
    app_version: Mapped[str]
    model_digest: Mapped[str]
    input_digest: Mapped[str]
    inputs: Mapped[dict[str, Any]]  # input name -> paths relative to data_dir
    warnings: Mapped[list[Any]]
    destinations: Mapped[list[Any]]
    predecessor_job_id: Mapped[str | None]
    state: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    attribute: Mapped[str]
    attempts: Mapped[int]
    run_number: Mapped[int]  # how many times a person asked for another try
    progress_stage: Mapped[str | None]  # what a running app says it does, if it says so
    progress_share: Mapped[float | None]  # of that stage, 0 to 1
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class DeliveryRow(Base):
    """How far one destination is for one job."""

    __tablename__ = "delivery"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.job_id"), primary_key=True)
    destination: Mapped[str] = mapped_column(primary_key=True)
    is_done: Mapped[bool]
    attempts: Mapped[int]
    last_error: Mapped[str]
    next_attempt_at: Mapped[datetime | None]
    first_attempt_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]


class DeliveredRow(Base):
    """One object that one destination has acknowledged."""

    __tablename__ = "delivered_instance"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    destination: Mapped[str] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    note: Mapped[str]


class EventRow(Base):
    """What happened, in order: the history behind a job or a study."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_study", "study_instance_uid", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    study_instance_uid: Mapped[str]
    job_id: Mapped[str]
    action: Mapped[str]
    detail: Mapped[str]
