"""What the node says about itself to the outside: the documents of ``/api/v1`` and ``jobs --json``.

Types only; `dicom_node.store.views` fills them from the ledger. The names of the
fields are part of the outside interface.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from dicom_node.store.states import JobState


class Outcome(StrEnum):
    """How an app's part in a study stands, in the words that a person reads first."""

    DELIVERED = "delivered"  # every destination has every result
    IN_PROGRESS = "in_progress"  # not ended, and not late
    LATE = "late"  # not ended within the time that the site allows
    REFUSED = "refused"  # outside of what the app may be used on
    FAILED = "failed"  # given up
    NOT_FOR_THIS_APP = "not_for_this_app"  # no series is an input of the app
    NO_ROUTE = "no_route"  # the app would have taken or refused it, but the site does not use the app


class Document(BaseModel):
    """A document: immutable, and the same for every reader."""

    model_config = ConfigDict(frozen=True)


class ResultObject(Document):
    """One DICOM object that an app made."""

    role: str = Field(description="What the object is for, as the app's app.toml names it.")
    file: str = Field(description="Its file name.")
    sop_class_uid: str = Field(description="SOP Class UID; empty when the file cannot be read any more.")
    sop_instance_uid: str = Field(
        description="SOP Instance UID; empty when the file cannot be read any more."
    )
    url: str = Field(description="Where the file can be fetched, relative to this server.")


class ResultFile(Document):
    """A file for people: a picture or the PDF report."""

    file: str = Field(description="Its file name.")
    url: str = Field(description="Where the file can be fetched, relative to this server.")


class Measurement(Document):
    """One number (or word) that an app found."""

    value: float | int | str | bool | None = Field(None, description="The value; null when it has none.")
    unit: str = Field("", description="UCUM unit, or empty.")


class DestinationProgress(Document):
    """How far one destination is."""

    name: str = Field(description="Name of the [[destination]] in node.toml.")
    is_done: bool = Field(description="True when it has acknowledged every object.")
    acknowledged: int = Field(description="Objects that it has acknowledged one by one so far.")
    attempts: int = Field(description="Attempts so far.")
    last_error: str = Field(description="Why the last attempt did not succeed, or empty.")
    next_attempt_at: datetime | None = Field(description="When the next attempt is due, or null.")
    delivered_at: datetime | None = Field(description="When it had everything, or null.")


class Progress(Document):
    """How far a running app says it is."""

    stage: str = Field(description="What it is doing, for people.")
    share: float = Field(description="How much of that is done, 0 to 1.")


class JobDocument(Document):
    """One analysis of one study by one app: where it is, how it ended, what it made."""

    job_id: str = Field(description="Identifier of the job; the same input to the same app has the same.")
    study_instance_uid: str = Field(description="Study Instance UID of the study that is analysed.")
    app: str = Field(description="Name of the app.")
    app_version: str = Field(description="Version of the app.")
    model_digest: str = Field(description="Digest of the model that the app uses.")
    input_digest: str = Field(description="Digest of the instances that are analysed.")
    training_kind: str = Field(
        description="What the model was trained on (synthetic, or a site's name); empty without results."
    )
    state: JobState = Field(description="Where the job is.")
    outcome: Outcome = Field(description="The state in the words of the dashboard.")
    reason: str = Field(description="Why it was refused, failed, or waits; empty when all is well.")
    attribute: str = Field(description="The DICOM attribute that the reason is about, or empty.")
    progress: Progress | None = Field(description="How far the app is while it runs and says so, or null.")
    is_late: bool = Field(description="True when it has not ended within node.late_after_minutes.")
    attempts: int = Field(description="Analyses tried so far.")
    predecessor_job_id: str | None = Field(
        description="The earlier analysis of the same study that this one replaces, or null."
    )
    created_at: datetime = Field(description="When the study was found complete and the job was made.")
    updated_at: datetime = Field(description="When the state last changed.")
    destinations: list[DestinationProgress] = Field(description="How far each destination is.")
    results: list[ResultObject] = Field(description="The verified DICOM objects; empty before that.")
    pdf: ResultFile | None = Field(description="The report as a PDF file, or null.")
    previews: list[ResultFile] = Field(description="Pictures for people.")
    measurements: dict[str, Measurement] = Field(description="What the app measured, by name.")
    summary: str = Field(description="The result in one line, for people.")
    warnings: list[str] = Field(description="What a reader must know with the result.")


class VerdictDocument(Document):
    """What became of a study for one app."""

    app: str = Field(description="Name of the app.")
    verdict: str = Field(description="What the rules said: taken, refused, not_for_this_app or no_route.")
    state: JobState | None = Field(description="Where the job is, when there is one.")
    outcome: Outcome = Field(description="How it stands or ended.")
    progress: Progress | None = Field(None, description="How far the app is while it runs, or null.")
    reason: str = Field(description="Why it was refused, failed, waits, or is not for this app.")
    attribute: str = Field(description="The DICOM attribute that the reason is about, or empty.")
    job_id: str | None = Field(description="The job, when there is one.")
    at: datetime = Field(description="When the rules looked at the study.")


class EventDocument(Document):
    """One line of a study's history."""

    at: datetime = Field(description="When it happened.")
    action: str = Field(description="What happened, for programs.")
    detail: str = Field(description="The particulars.")
    sentence: str = Field(description="What happened, for people.")
    job_id: str = Field(description="The job it happened to, or empty.")


class StudySummary(Document):
    """A study, with one line per app."""

    study_instance_uid: str = Field(description="Study Instance UID.")
    first_received_at: datetime = Field(description="When its first instance came.")
    last_received_at: datetime = Field(description="When its last instance came.")
    instance_count: int = Field(description="Instances received.")
    is_growing: bool = Field(description="True while the node waits for more instances.")
    revision: int = Field(description="How many times the rules have looked at it; 0 is not yet.")
    warnings: list[str] = Field(description="What a reader must know of its images: conflicting ones.")
    verdicts: list[VerdictDocument] = Field(description="What became of it for every app.")


class StudyDocument(StudySummary):
    """A study with its whole history and all of its jobs."""

    history: list[EventDocument] = Field(description="What happened, in order.")
    jobs: list[JobDocument] = Field(description="Its jobs, newest first, replaced ones included.")


class ReceiptDocument(Document):
    """Something that was sent or dropped in and not accepted."""

    at: datetime = Field(description="When it came.")
    source: str = Field(description="Calling AE title, or inbox.")
    sop_instance_uid: str = Field(description="SOP Instance UID, where one could be read.")
    status: str = Field(description="DIMSE status that the sender was told, as hexadecimal, or empty.")
    reason: str = Field(description="Why it was not accepted.")


class AppDocument(Document):
    """An app that this node has."""

    name: str = Field(description="Name of the app, as node.toml and the API use it.")
    title: str = Field(description="Name for people.")
    version: str = Field(description="Version.")
    intended_use: str = Field(description="What it may be used for.")
    training_kind: str = Field(description="What its model was trained on: synthetic, or a site's name.")
    training_statement: str = Field(description="What every reader of a result must know about that.")
    model_digest: str = Field(description="Digest of the model bundle.")
    destinations: list[str] = Field(
        default_factory=list, description="Where this site sends its results; empty when it is not used."
    )
    problem: str = Field("", description="Why the app cannot be run, or empty.")
