"""A quiet study: every app's verdict into the ledger, and a job for each that is routed.

In: the UID of a study that has settled. Out: the jobs that are new; the caller has them
queued. Reads headers, never pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from dicom_node.catalog import App
from dicom_node.config import NodeConfig
from dicom_node.route import AppVerdict, Decision, route_study
from dicom_node.store.ledger import Ledger, NewJob, NewVerdict
from dicom_node.store.states import JobState
from dicom_node.store.tables import InstanceRow, JobRow
from operators.select.digests import settings_digest
from operators.select.headers import (
    InstanceHeader,
    SeriesHeaders,
    UnreadableInstance,
    group_series,
    read_header,
)

NO_ROUTE = "no [[route]] of node.toml names this app"

log = logging.getLogger(__name__)


def order_study(
    study_instance_uid: str, ledger: Ledger, config: NodeConfig, apps: Mapping[str, App]
) -> list[JobRow]:
    """Write the study's verdicts and jobs.

    Returns:
        The jobs that are new and to be run.
    """
    log.info(
        "looking at a study", extra={"action": "route_started", "study_instance_uid": study_instance_uid}
    )
    study = ledger.study(study_instance_uid)
    if study is None:
        return []
    rows = ledger.instances_of(study_instance_uid)
    series, unreadable = _read(rows, ledger)
    verdicts = route_study(series, apps.values())
    jobs = [
        job
        for verdict in verdicts
        if (job := _job(verdict, study_instance_uid, study.revision + 1, ledger, config)) is not None
    ]
    added = ledger.record_routing(
        study_instance_uid,
        study.last_received_at,
        [_verdict(verdict, config, unreadable) for verdict in verdicts],
        jobs,
    )
    for verdict in verdicts:
        log.info(
            "%s",
            verdict.decision.value,
            extra={
                "action": "routed",
                "app": verdict.app.name,
                "attribute": verdict.attribute,
                "study_instance_uid": study_instance_uid,
            },
        )
    return [job for job in added if job.state == JobState.READY]


def _read(
    rows: Iterable[InstanceRow], ledger: Ledger
) -> tuple[list[SeriesHeaders], list[UnreadableInstance]]:
    headers: list[InstanceHeader] = []
    unreadable: list[UnreadableInstance] = []
    for row in rows:
        try:
            headers.append(read_header(ledger.data_dir / row.path, content_digest=row.digest))
        except UnreadableInstance as error:
            unreadable.append(error)
    return group_series(headers), unreadable


def _verdict(verdict: AppVerdict, config: NodeConfig, unreadable: list[UnreadableInstance]) -> NewVerdict:
    decision, reason = verdict.decision.value, verdict.reason
    if verdict.decision is not Decision.NOT_FOR_THIS_APP and config.route_for(verdict.app.name) is None:
        decision, reason = "no_route", NO_ROUTE
    if unreadable:
        reason = f"{reason} ({len(unreadable)} instances left out: {unreadable[0].reason})".strip()
    return NewVerdict(app=verdict.app.name, verdict=decision, reason=reason, attribute=verdict.attribute)


def _job(
    verdict: AppVerdict, study_instance_uid: str, revision: int, ledger: Ledger, config: NodeConfig
) -> NewJob | None:
    route = config.route_for(verdict.app.name)
    if route is None or verdict.decision is Decision.NOT_FOR_THIS_APP:
        return None
    is_taken = verdict.decision is Decision.TAKEN
    return NewJob(
        study_instance_uid=study_instance_uid,
        revision=revision,
        app=verdict.app.name,
        app_version=verdict.app.manifest.app.version,
        model_digest=verdict.app.model_digest,
        # a refusal has no chosen inputs: the same sentence for the same study is one refusal
        input_digest=settings_digest(
            verdict.input_digest(), route.settings if is_taken else {"": verdict.reason}
        ),
        inputs={name: [ledger.relative(path) for path in paths] for name, paths in verdict.paths.items()},
        warnings=list(verdict.warnings),
        destinations=list(route.destinations) if is_taken else [],
        state=JobState.READY if is_taken else JobState.REFUSED,
        reason=verdict.reason,
        attribute=verdict.attribute,
    )
