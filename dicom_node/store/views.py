"""Rows of the ledger as the documents that the API, the dashboard and the command line show.

Decides nothing and changes nothing. `Views.jobs` is what ``dicom-node jobs --json`` and
``GET /api/v1/jobs`` both print.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from dicom_node.errors import BrokenPromise
from dicom_node.store.documents import (
    DestinationProgress,
    EventDocument,
    JobDocument,
    Outcome,
    Progress,
    ReceiptDocument,
    ResultFile,
    ResultObject,
    StudyDocument,
    StudySummary,
    VerdictDocument,
)
from dicom_node.store.ledger import CONFLICT, Ledger
from dicom_node.store.overview import Conflicts, Overview, outcome_of
from dicom_node.store.results import ObjectIdentity, ReadableResult, read_results
from dicom_node.store.states import JobState
from dicom_node.store.tables import DeliveryRow, EventRow, JobRow, ReceiptRow, StudyRow, VerdictRow

SENTENCES = {
    "study_begun": "first image received",
    "study_grows": "more images received",
    CONFLICT: "conflicting image",
    "study_routed": "rules applied",
    "job_waiting": "waiting for another try",
    "job_ready": "queued",
    "job_running": "the app computes",
    "job_verifying": "results are checked",
    "job_delivering": "results are on their way",
    "job_delivered": "every destination has every result",
    "job_refused": "refused",
    "job_failed": "failed",
    "job_retried": "another try",
    "delivery_postponed": "not delivered yet",
    "destination_delivered": "has every result",
}
"""What each action of the ledger is called for people."""


def file_url(job_id: str, name: str) -> str:
    """Where a file of a job's results is served.

    >>> file_url("3f2a", "report.pdf")
    '/api/v1/jobs/3f2a/files/report.pdf'
    """
    return f"/api/v1/jobs/{quote(job_id, safe='')}/files/{quote(name, safe='')}"


def sentence(action: str) -> str:
    """An action of the ledger as a person reads it.

    >>> sentence("job_running")
    'the app computes'
    """
    return SENTENCES.get(action, action.replace("_", " "))


def conflict_warnings(conflicts: Conflicts | None) -> list[str]:
    """What a reader of a study's results must know of its conflicting images; names no image.

    >>> conflict_warnings(Conflicts(other_content=1, elsewhere=0))
    ['1 image came again with other content under the same SOP Instance UID; the first one is used']
    >>> conflict_warnings(None)
    []
    """
    if conflicts is None:
        return []
    said = []
    if count := conflicts.other_content:
        said.append(
            f"{_images(count)} came again with other content under the same SOP Instance UID; "
            f"the first {'one is' if count == 1 else 'ones are'} used"
        )
    if count := conflicts.elsewhere:
        said.append(
            f"{_images(count)} came with a SOP Instance UID that an image of another series or study has"
        )
    return said


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """Some studies, and how many there are in all."""

    studies: list[StudySummary]
    total: int


class Views:
    """Makes documents of what the ledger and the folders of results hold.

    Args:
        ledger: The ledger.
        data_dir: The node's data folder.
        late_after_minutes: A job that has not ended after this time is late.
    """

    def __init__(self, ledger: Ledger, data_dir: Path, late_after_minutes: float) -> None:
        self._ledger = ledger
        self._overview = Overview(ledger)
        self._data_dir = data_dir
        self._late_after = timedelta(minutes=late_after_minutes)

    @property
    def late_before(self) -> datetime:
        """A job created before this time that has not ended is late."""
        return datetime.now(UTC) - self._late_after

    # --------------------------------------------------------------------- jobs

    def jobs(
        self,
        *,
        study_instance_uid: str | None = None,
        state: JobState | None = None,
        app: str | None = None,
        limit: int = 200,
    ) -> list[JobDocument]:
        """Jobs, newest first."""
        return self._jobs(
            self._overview.jobs(study_instance_uid=study_instance_uid, state=state, app=app, limit=limit)
        )

    def job(self, job_id: str) -> JobDocument | None:
        """One job, or None."""
        row = self._ledger.job(job_id)
        return None if row is None else self._jobs([row])[0]

    def _jobs(self, rows: Sequence[JobRow]) -> list[JobDocument]:
        job_ids = [row.job_id for row in rows]
        deliveries = self._overview.deliveries(job_ids)
        acknowledged = self._overview.acknowledged(job_ids)
        conflicts = self._overview.conflicts({row.study_instance_uid for row in rows})
        late_before = self.late_before
        return [
            self._job(
                row,
                outcome_of(row, late_before),
                [
                    _progress(delivery, acknowledged.get((row.job_id, delivery.destination), 0))
                    for delivery in deliveries[row.job_id]
                ],
                conflict_warnings(conflicts.get(row.study_instance_uid)),
            )
            for row in rows
        ]

    def _job(
        self,
        row: JobRow,
        outcome: Outcome,
        destinations: list[DestinationProgress],
        conflicts: list[str],
    ) -> JobDocument:
        result, identities, problems = self._results(row.job_id)
        warnings = [*row.warnings, *(result.warnings if result else ()), *conflicts, *problems]
        return JobDocument(
            job_id=row.job_id,
            study_instance_uid=row.study_instance_uid,
            app=row.app,
            app_version=row.app_version,
            model_digest=row.model_digest,
            input_digest=row.input_digest,
            training_kind=result.training_kind if result else "",
            state=JobState(row.state),
            outcome=outcome,
            reason=row.reason,
            attribute=row.attribute,
            progress=_app_progress(row),
            is_late=outcome is Outcome.LATE,
            attempts=row.attempts,
            predecessor_job_id=row.predecessor_job_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
            destinations=destinations,
            results=_objects(row.job_id, result, identities) if result else [],
            pdf=_file(row.job_id, result.pdf) if result and result.pdf else None,
            previews=[_file(row.job_id, name) for name in result.previews] if result else [],
            measurements=result.measurements if result else {},
            summary=result.summary if result else "",
            warnings=list(dict.fromkeys(warnings)),
        )

    def _results(self, job_id: str) -> tuple[ReadableResult | None, dict[str, ObjectIdentity], list[str]]:
        try:
            found = read_results(self._data_dir, job_id)
        except BrokenPromise as broken:
            return None, {}, [f"the results on this node cannot be shown: {broken}"]
        return (None, {}, []) if found is None else (*found, [])

    # ------------------------------------------------------------------ studies

    def studies(
        self, *, text: str = "", outcomes: Collection[Outcome] = (), limit: int = 50, offset: int = 0
    ) -> StudyPage:
        """A page of studies, the last received first."""
        late_before = self.late_before
        rows, total = self._overview.studies(
            late_before=late_before, text=text, outcomes=outcomes, limit=limit, offset=offset
        )
        uids = [row.study_instance_uid for row in rows]
        verdicts = self._verdicts(uids, late_before)
        conflicts = self._overview.conflicts(uids)
        found = [
            _study(
                row,
                verdicts[row.study_instance_uid],
                conflict_warnings(conflicts.get(row.study_instance_uid)),
            )
            for row in rows
        ]
        return StudyPage(studies=found, total=total)

    def outcome_counts(self) -> dict[Outcome, int]:
        """How many parts of apps in studies stand in which way."""
        return self._overview.outcome_counts(self.late_before)

    def summaries(self, job_ids: Sequence[str]) -> dict[str, str]:
        """The results of jobs in one line each, where they have results."""
        found = {job_id: self._results(job_id)[0] for job_id in job_ids}
        return {job_id: result.summary for job_id, result in found.items() if result}

    def study(self, study_instance_uid: str) -> StudyDocument | None:
        """A study with history and jobs, or None."""
        row = self._ledger.study(study_instance_uid)
        if row is None:
            return None
        verdicts = self._verdicts([study_instance_uid], self.late_before)[study_instance_uid]
        conflicts = self._overview.conflicts([study_instance_uid]).get(study_instance_uid)
        return StudyDocument(
            **_study(row, verdicts, conflict_warnings(conflicts)).model_dump(),
            history=[_event(event) for event in self._ledger.events(study_instance_uid)],
            jobs=self.jobs(study_instance_uid=study_instance_uid, limit=1000),
        )

    def _verdicts(
        self, study_instance_uids: Sequence[str], late_before: datetime
    ) -> dict[str, list[VerdictDocument]]:
        found: dict[str, list[VerdictDocument]] = {uid: [] for uid in study_instance_uids}
        for verdict, job, outcome in self._overview.verdicts(study_instance_uids, late_before):
            found[verdict.study_instance_uid].append(_verdict(verdict, job, outcome))
        return found

    # ----------------------------------------------------------------- receipts

    def receipts(self, limit: int = 200) -> list[ReceiptDocument]:
        """What was not accepted, newest first."""
        return [_receipt(row) for row in self._ledger.refused_receipts(limit)]


def _objects(
    job_id: str, result: ReadableResult, identities: dict[str, ObjectIdentity]
) -> list[ResultObject]:
    return [
        ResultObject(
            role=entry.role,
            file=entry.file,
            sop_class_uid=identities[entry.file].sop_class_uid,
            sop_instance_uid=identities[entry.file].sop_instance_uid,
            url=file_url(job_id, entry.file),
        )
        for entry in result.objects
    ]


def _file(job_id: str, name: str) -> ResultFile:
    return ResultFile(file=name, url=file_url(job_id, name))


def _app_progress(row: JobRow) -> Progress | None:
    if row.progress_stage is None or row.progress_share is None:
        return None
    return Progress(stage=row.progress_stage, share=row.progress_share)


def _progress(row: DeliveryRow, acknowledged: int) -> DestinationProgress:
    return DestinationProgress(
        name=row.destination,
        is_done=row.is_done,
        acknowledged=acknowledged,
        attempts=row.attempts,
        last_error=row.last_error,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.delivered_at,
    )


def _study(row: StudyRow, verdicts: list[VerdictDocument], warnings: list[str]) -> StudySummary:
    return StudySummary(
        study_instance_uid=row.study_instance_uid,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        instance_count=row.instance_count,
        is_growing=row.is_growing,
        revision=row.revision,
        warnings=warnings,
        verdicts=verdicts,
    )


def _verdict(row: VerdictRow, job: JobRow | None, outcome: Outcome) -> VerdictDocument:
    """The verdict, with the job's own reason once there is a job: it knows more."""
    return VerdictDocument(
        app=row.app,
        verdict=row.verdict,
        state=None if job is None else JobState(job.state),
        outcome=outcome,
        progress=None if job is None else _app_progress(job),
        reason=row.reason if job is None else job.reason,
        attribute=row.attribute if job is None else job.attribute,
        job_id=row.job_id,
        at=row.at,
    )


def _event(row: EventRow) -> EventDocument:
    return EventDocument(
        at=row.at,
        action=row.action,
        detail=row.detail,
        sentence=sentence(row.action),
        job_id=row.job_id,
    )


def _receipt(row: ReceiptRow) -> ReceiptDocument:
    return ReceiptDocument(
        at=row.at,
        source=row.source,
        sop_instance_uid=row.sop_instance_uid,
        status=row.status,
        reason=row.reason,
    )
