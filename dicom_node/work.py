"""Durable work: what happens to a job, attempt by attempt, over crashes and restarts.

DBOS keeps the queues. A workflow is one attempt, either of an analysis
(infer and verify) or of a delivery to one destination; it decides what follows and
enqueues that, later if need be, so that waiting for a peer for a night costs no
thread. Workflow ids are made of job, run, and attempt number: the same attempt is
never queued twice, and after a crash `Work.resume` can queue again whatever may be
missing.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from dicom_node.analysis import Analysis
from dicom_node.config import NodeConfig
from dicom_node.deliver import ResultPackage, deliver
from dicom_node.deliver.backoff import next_delay_s
from dicom_node.errors import Failed, Misconfigured, NodeError, Refused, StorageUnavailable, Undelivered
from dicom_node.store.ledger import Ledger
from dicom_node.store.states import ENDED, JobState
from dicom_node.store.tables import JobRow

ANALYSES = "analyses"
DELIVERIES = "deliveries"
DELIVERIES_AT_ONCE = 8
QUEUE_POLL_S = 0.1
WORK_VERSION = "1"
"""Version of the workflows below; raised only when queued attempts of an older one cannot be run."""

log = logging.getLogger(__name__)


class Next(TypedDict):
    """An attempt that is to be queued."""

    job_id: str
    run: int
    attempt: int
    destination: str  # empty: an analysis
    delay_s: float


_work: Work | None = None  # DBOS workflows are functions; they find the running node here


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, OperationalError)


@DBOS.workflow(name="analyse", max_recovery_attempts=1000)
def analyse(job_id: str, run: int, attempt: int) -> None:
    """One attempt of an analysis, and whatever follows from it."""
    for following in _analyse_step(job_id, run, attempt):
        _enqueue(following)


@DBOS.workflow(name="deliver", max_recovery_attempts=1000)
def deliver_to(job_id: str, run: int, attempt: int, destination: str) -> None:
    """One attempt of a delivery, and whatever follows from it."""
    for following in _deliver_step(job_id, run, attempt, destination):
        _enqueue(following)


@DBOS.step(retries_allowed=True, max_attempts=20, interval_seconds=1.0, should_retry=_is_passing)
def _analyse_step(job_id: str, run: int, attempt: int) -> list[Next]:
    return _guarded(lambda work: work.attempt_analysis(job_id, run, attempt), job_id, run, attempt, "")


@DBOS.step(retries_allowed=True, max_attempts=20, interval_seconds=1.0, should_retry=_is_passing)
def _deliver_step(job_id: str, run: int, attempt: int, destination: str) -> list[Next]:
    return _guarded(
        lambda work: work.attempt_delivery(job_id, run, attempt, destination),
        job_id,
        run,
        attempt,
        destination,
    )


def _guarded(
    make: Callable[[Work], list[Next]], job_id: str, run: int, attempt: int, destination: str
) -> list[Next]:
    """The outcome of an attempt; a defect of the node itself is one more way to fail, never silence."""
    assert _work is not None  # noqa: S101
    try:
        return make(_work)
    except OperationalError:
        raise  # the database is busy or away: the step is tried again
    except Exception as error:
        _work.end_if_halted()
        log.exception("an attempt broke", extra={"action": "attempt_broke", "job": job_id})
        return _work.broken(job_id, run, attempt, destination, error)


def _workflow_id(following: Next) -> str:
    kind = f"deliver:{following['destination']}" if following["destination"] else "analyse"
    return f"{following['job_id']}:{following['run']}:{kind}:{following['attempt']}"


def _options(following: Next) -> EnqueueOptions:
    options: EnqueueOptions = {
        "workflow_name": "deliver" if following["destination"] else "analyse",
        "queue_name": DELIVERIES if following["destination"] else ANALYSES,
        "workflow_id": _workflow_id(following),
        "app_version": WORK_VERSION,
    }
    if following["delay_s"]:
        options["delay_seconds"] = following["delay_s"]
    return options


def _arguments(following: Next) -> tuple[str | int, ...]:
    always = (following["job_id"], following["run"], following["attempt"])
    return (*always, following["destination"]) if following["destination"] else always


def _enqueue(following: Next) -> None:
    DBOS.enqueue_workflow_with_options(_options(following), *_arguments(following))


def order_retry(config: NodeConfig, ledger: Ledger, job_id: str) -> None:
    """Begin a refused or failed job again, from another process than the node's.

    Raises:
        IllegalTransition: The job has not ended, or was delivered.
    """
    job = ledger.begin_again(job_id)
    following = Next(job_id=job_id, run=job.run_number, attempt=1, destination="", delay_s=0.0)
    client = DBOSClient(system_database_url=config.queue_database_url())
    client.enqueue(_options(following), *_arguments(following))
    client.destroy()


class Work:
    """The node's durable work: starts the queues and makes the attempts.

    Args:
        config: The node's configuration.
        ledger: Where states are kept.
        analysis: Runs and verifies one attempt of an app.
        is_worker: False for a process that only orders work (``--role receive``).
    """

    def __init__(self, config: NodeConfig, ledger: Ledger, analysis: Analysis, *, is_worker: bool) -> None:
        self._config = config
        self._ledger = ledger
        self._analysis = analysis
        self._is_worker = is_worker
        self._is_halted = False

    def start(self, role: str) -> None:
        """Open the queues, take up what a crash interrupted."""
        global _work  # noqa: PLW0603
        _work = self
        settings: DBOSConfig = {
            "name": "dicom-node",
            "system_database_url": self._config.queue_database_url(),
            "application_version": WORK_VERSION,
            "executor_id": f"{socket.gethostname()}-{role}",
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        DBOS(config=settings)
        if not self._is_worker:
            DBOS.listen_queues([])
        DBOS.launch()
        DBOS.register_queue(
            ANALYSES,
            worker_concurrency=self._config.work.analyses_at_once,
            polling_interval_sec=QUEUE_POLL_S,
            on_conflict="always_update",
        )
        DBOS.register_queue(
            DELIVERIES,
            worker_concurrency=DELIVERIES_AT_ONCE,
            polling_interval_sec=QUEUE_POLL_S,
            on_conflict="always_update",
        )
        self.resume(self._ledger.unfinished_jobs())

    def halt(self) -> None:
        """From now on no attempt comes to an end: what stopping breaks is not the attempt's failure."""
        self._is_halted = True

    def end_if_halted(self) -> None:
        """Nothing, or never return: the process is about to end, and the attempt to be taken up later."""
        if self._is_halted:
            threading.Event().wait()

    def stop(self) -> None:
        """Close the queues; attempts under way are taken up at the next start."""
        global _work  # noqa: PLW0603
        DBOS.destroy(workflow_completion_timeout_sec=0)
        _work = None

    # ------------------------------------------------------------ ordering work

    def resume(self, jobs: Sequence[JobRow]) -> None:
        """Queue what these jobs wait for; what is queued already stays as it is."""
        for job in jobs:
            for following in self._due(job):
                _enqueue(following)

    def _due(self, job: JobRow) -> list[Next]:
        if job.state != JobState.DELIVERING:
            return [self._unfinished(job.job_id, job.run_number, job.attempts, "")]
        return [
            self._unfinished(job.job_id, job.run_number, delivery.attempts, delivery.destination)
            for delivery in self._ledger.deliveries(job.job_id)
            if not delivery.is_done
        ]

    @staticmethod
    def _unfinished(job_id: str, run: int, attempts: int, destination: str) -> Next:
        """The attempt under way, or the one after it when that one came to its end."""
        following = Next(
            job_id=job_id, run=run, attempt=max(attempts, 1), destination=destination, delay_s=0.0
        )
        status = DBOS.get_workflow_status(_workflow_id(following))
        if status is not None and status.status in {"SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}:
            following["attempt"] += 1
        return following

    # ---------------------------------------------------------- making attempts

    def attempt_analysis(self, job_id: str, run: int, attempt: int) -> list[Next]:
        """Run and verify the app once; what follows is a delivery, another attempt or nothing."""
        job = self._ledger.job(job_id)
        if job is None or job.run_number != run or JobState(job.state) in ENDED:
            return []
        if self._analysis.results_dir(job_id).exists():
            return self._begin_delivering(job)
        self._ledger.change_state(job_id, JobState.RUNNING, attempt=attempt)
        fields = {"job": job_id, "app": job.app, "study_instance_uid": job.study_instance_uid}
        log.info("attempt %d", attempt, extra={"action": "infer_started", **fields})
        try:
            self._analysis.run(
                job,
                on_progress=lambda stage, share: self._progress(job_id, stage, share, fields),
                on_verifying=lambda: self._verifying(job_id, fields),
            )
        except Refused as refused:
            self._ledger.change_state(
                job_id, JobState.REFUSED, reason=str(refused), attribute=refused.attribute
            )
            log.info("refused", extra={"action": "job_refused", "attribute": refused.attribute, **fields})
            return []
        except (Failed, Misconfigured) as failure:
            self.end_if_halted()
            return self._retry_analysis(job, attempt, failure, fields)
        return self._begin_delivering(job)

    def _progress(self, job_id: str, stage: str, share: float, fields: dict[str, str]) -> None:
        level = logging.DEBUG if share else logging.INFO
        log.log(level, "%s, %.0f %%", stage, 100 * share, extra={"action": "infer_progress", **fields})
        try:
            self._ledger.note_progress(job_id, stage, share)
        except SQLAlchemyError:
            # the database is busy or away: the next progress will be noted, the analysis goes on
            log.warning("progress was not noted", extra={"action": "infer_progress", **fields})

    def _verifying(self, job_id: str, fields: dict[str, str]) -> None:
        self._ledger.change_state(job_id, JobState.VERIFYING)
        log.info("results are checked", extra={"action": "verify_started", **fields})

    def _retry_analysis(
        self, job: JobRow, attempt: int, failure: NodeError, fields: dict[str, str]
    ) -> list[Next]:
        log.warning(
            "attempt %d failed: %s",
            attempt,
            type(failure).__name__,
            extra={"action": "infer_failed", **fields},
        )
        if attempt >= self._config.work.attempts:
            reason = f"{failure} (given up after {attempt} attempts)"
            self._ledger.change_state(job.job_id, JobState.FAILED, reason=reason)
            return []
        delay_s = self._config.work.retry_delay_s * 2 ** (attempt - 1)
        reason = f"attempt {attempt} failed, the next is in {delay_s:g} s: {failure}"
        self._ledger.change_state(job.job_id, JobState.WAITING, reason=reason)
        return [
            Next(job_id=job.job_id, run=job.run_number, attempt=attempt + 1, destination="", delay_s=delay_s)
        ]

    def broken(self, job_id: str, run: int, attempt: int, destination: str, error: Exception) -> list[Next]:
        """What follows an attempt that broke on a defect of the node."""
        job = self._ledger.job(job_id)
        if job is None or job.run_number != run or JobState(job.state) in ENDED:
            return []
        failure = NodeError(f"internal error, see the log: {type(error).__name__}: {error}")
        if not destination:
            return self._retry_analysis(job, attempt, failure, {"job": job_id, "app": job.app})
        _, first_at = self._ledger.begin_delivery(job_id, destination)
        return self._retry_delivery(job, attempt, destination, first_at, failure)

    def _begin_delivering(self, job: JobRow) -> list[Next]:
        self._ledger.change_state(job.job_id, JobState.DELIVERING)
        return [
            Next(
                job_id=job.job_id,
                run=job.run_number,
                attempt=delivery.attempts + 1,
                destination=delivery.destination,
                delay_s=0.0,
            )
            for delivery in self._ledger.deliveries(job.job_id)
            if not delivery.is_done
        ]

    def attempt_delivery(self, job_id: str, run: int, attempt: int, destination_name: str) -> list[Next]:
        """Send what a destination lacks; what follows is another attempt or nothing."""
        job = self._ledger.job(job_id)
        if job is None or job.run_number != run or job.state != JobState.DELIVERING:
            return []
        fields = {"job": job_id, "app": job.app, "study_instance_uid": job.study_instance_uid}
        fields["destination"] = destination_name
        log.info("attempt %d", attempt, extra={"action": "delivery_started", **fields})
        number, first_at = self._ledger.begin_delivery(job_id, destination_name)
        try:
            destination = self._config.destination_named(destination_name)
            deliver(
                destination,
                ResultPackage.read(self._analysis.results_dir(job_id)),
                has_been_tried=number > 1,
                calling_ae_title=self._config.node.ae_title,
                already_delivered=self._ledger.delivered_instances(job_id, destination_name),
                on_delivered=lambda uid, note: self._ledger.record_delivered_instance(
                    job_id, destination_name, uid, note
                ),
            )
        except (Undelivered, Misconfigured, StorageUnavailable) as failure:
            return self._retry_delivery(job, attempt, destination_name, first_at, failure)
        self._ledger.finish_delivery(job_id, destination_name)
        log.info("every object is there", extra={"action": "delivered", **fields})
        return []

    def _retry_delivery(
        self, job: JobRow, attempt: int, name: str, first_at: datetime, failure: NodeError
    ) -> list[Next]:
        delay_s = next_delay_s(attempt)
        due = datetime.now(UTC) + timedelta(seconds=delay_s)
        patience_h = next((d.retry_for_hours for d in self._config.destination if d.name == name), 72.0)
        log.warning(
            "not delivered: %s",
            failure,
            extra={"action": "delivery_postponed", "job": job.job_id, "destination": name},
        )
        if due > first_at + timedelta(hours=patience_h):
            self._ledger.postpone_delivery(job.job_id, name, str(failure), None)
            reason = f"{name} has not taken the results for {patience_h:g} hours: {failure}"
            self._ledger.change_state(job.job_id, JobState.FAILED, reason=reason)
            return []
        self._ledger.postpone_delivery(job.job_id, name, str(failure), due)
        return [
            Next(
                job_id=job.job_id,
                run=job.run_number,
                attempt=attempt + 1,
                destination=name,
                delay_s=delay_s,
            )
        ]
