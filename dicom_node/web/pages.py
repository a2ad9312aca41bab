"""The dashboard: pages made on the server, readable without scripts and without internet.

``static/renew.js`` asks for the same page every few seconds and puts the new content
in place when it differs; without scripts the page reloads itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_node import __version__
from dicom_node.store.documents import Measurement, Outcome, StudyDocument, VerdictDocument
from dicom_node.store.states import JobState
from dicom_node.web.view import NodeView

STUDIES_PER_PAGE = 50
RECEIPTS_SHOWN = 500
SIGNIFICANT_DIGITS = 4

OUTCOME_WORDS = {
    Outcome.DELIVERED: "delivered",
    Outcome.IN_PROGRESS: "in progress",
    Outcome.LATE: "late",
    Outcome.REFUSED: "refused",
    Outcome.FAILED: "failed",
    Outcome.NOT_FOR_THIS_APP: "not for this app",
    Outcome.NO_ROUTE: "not used here",
}
UNCOUNTED = frozenset({Outcome.NOT_FOR_THIS_APP, Outcome.NO_ROUTE})
"""Outcomes of no interest in the sums at the top of a page."""

STATE_WORDS = {
    JobState.WAITING: "waiting for another try",
    JobState.READY: "queued",
    JobState.RUNNING: "computing",
    JobState.VERIFYING: "checking results",
    JobState.DELIVERING: "sending results",
    JobState.DELIVERED: "every destination has every result",
    JobState.REFUSED: "refused",
    JobState.FAILED: "failed",
}
SYNTHETIC_STATEMENT = "research use, trained on synthetic data"
"""What is said of results whose app is not installed any more, or says nothing itself."""


def clock(at: datetime | None) -> str:
    """A time as the clock of this machine shows it; empty for None."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(measurement: Measurement) -> str:
    """A measured value for people.

    >>> number(Measurement(value=2.34567, unit="1"))
    '2.346'
    >>> number(Measurement(value=True))
    'yes'
    """
    value = measurement.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT_DIGITS}g}" if abs(value) < 10**SIGNIFICANT_DIGITS else f"{value:.0f}"
    return "not measured" if value is None else str(value)


def unit(measurement: Measurement) -> str:
    """A unit for people: UCUM's 1 and annotations say nothing to them.

    >>> unit(Measurement(value=2.3, unit="1")), unit(Measurement(value=3, unit="mm"))
    ('', 'mm')
    """
    return "" if measurement.unit == "1" else measurement.unit.strip("{}")


def percent(share: float) -> str:
    """A share for people.

    >>> percent(0.254)
    '25 %'
    """
    return f"{100 * share:.0f} %"


def words(name: str) -> str:
    """A name of a program as words.

    >>> words("key_image")
    'key image'
    """
    return name.replace("_", " ")


class Pages:
    """Makes the pages of a node.

    Args:
        view: What is shown.
    """

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._views = view.views()
        self._apps = {app.name: app for app in view.apps}
        self._templates = Environment(
            loader=PackageLoader("dicom_node.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            clock=clock,
            number=number,
            unit=unit,
            words=words,
            percent=percent,
            title=self._title,
            statement=self._statement,
        )
        self._templates.globals.update(
            ae_title=view.ae_title,
            dicom_address=view.dicom_address,
            version=__version__,
            outcome_words=OUTCOME_WORDS,
            state_words=STATE_WORDS,
        )

    def _render(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(values), status_code=status_code)

    def _title(self, app: str) -> str:
        known = self._apps.get(app)
        return known.title if known and known.title else words(app)

    def _statement(self, app: str, training_kind: str) -> str:
        """What a reader must know about the training behind a result; empty when there is nothing."""
        known = self._apps.get(app)
        if known is not None and known.training_statement and training_kind in {"", known.training_kind}:
            return known.training_statement
        return SYNTHETIC_STATEMENT if training_kind == "synthetic" else ""

    def studies(self, outcome: Outcome | None, text: str, page: int) -> HTMLResponse:
        """The list of studies."""
        found = self._views.studies(
            text=text,
            outcomes=(outcome,) if outcome else (),
            limit=STUDIES_PER_PAGE,
            offset=(page - 1) * STUDIES_PER_PAGE,
        )
        counts = self._views.outcome_counts()
        return self._render(
            "studies.html",
            page_name="studies",
            studies=[(study, *_split(study.verdicts)) for study in found.studies],
            summaries=self._views.summaries(
                [verdict.job_id for study in found.studies for verdict in study.verdicts if verdict.job_id]
            ),
            total=found.total,
            counts={kind: counts.get(kind, 0) for kind in OUTCOME_WORDS if kind not in UNCOUNTED},
            chosen=outcome,
            text=text,
            page=page,
            pages=max(1, -(-found.total // STUDIES_PER_PAGE)),
            link=lambda **changes: _studies_link({"outcome": outcome, "text": text, "page": page} | changes),
        )

    def study(self, study_instance_uid: str) -> HTMLResponse:
        """One study."""
        study = self._views.study(study_instance_uid)
        if study is None:
            raise HTTPException(404, "The ledger has no study with this Study Instance UID.")
        present, earlier = _present_jobs(study)
        return self._render(
            "study.html",
            page_name="studies",
            study=study,
            verdicts=study.verdicts,
            jobs=present,
            earlier_jobs=earlier,
            app_of={job.job_id: job.app for job in study.jobs},
        )

    def apps(self) -> HTMLResponse:
        """The apps of the node."""
        return self._render("apps.html", page_name="apps", apps=self._view.apps)

    def receipts(self) -> HTMLResponse:
        """What was not accepted."""
        return self._render(
            "receipts.html",
            page_name="receipts",
            receipts=self._views.receipts(RECEIPTS_SHOWN),
            shown=RECEIPTS_SHOWN,
        )

    def interface(self, openapi: Mapping[str, Any]) -> HTMLResponse:
        """The HTTP interface, from its OpenAPI document."""
        routes = [
            (path, operation) for path, methods in openapi["paths"].items() for operation in methods.values()
        ]
        return self._render("interface.html", page_name="interface", routes=routes)

    def error(self, status_code: int, detail: str) -> HTMLResponse:
        """A page that says why there is no other one."""
        return self._render("error.html", status_code, page_name="", detail=detail)


def _split(verdicts: list[VerdictDocument]) -> tuple[list[VerdictDocument], list[str]]:
    """The verdicts that concern the study, and the names of the apps that it is not for."""
    concerned = [verdict for verdict in verdicts if verdict.outcome is not Outcome.NOT_FOR_THIS_APP]
    return concerned, [verdict.app for verdict in verdicts if verdict.outcome is Outcome.NOT_FOR_THIS_APP]


def _present_jobs(study: StudyDocument) -> tuple[list[Any], list[Any]]:
    """The jobs of the last routing, and those that later images have replaced."""
    present = {verdict.job_id for verdict in study.verdicts}
    return (
        [job for job in study.jobs if job.job_id in present],
        [job for job in study.jobs if job.job_id not in present],
    )


def _studies_link(values: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if value and (name, value) != ("page", 1)}
    return "/?" + urlencode(kept) if kept else "/"


def pages_router(pages: Pages) -> APIRouter:
    """The routes of the dashboard; they are for people and not in the OpenAPI document."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def studies(
        outcome: Outcome | None = None,
        text: Annotated[str, Query(max_length=64)] = "",
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    ) -> HTMLResponse:
        return pages.studies(outcome, text.strip(), page)

    @router.get("/studies/{study_instance_uid:path}")
    def study(study_instance_uid: str) -> HTMLResponse:
        return pages.study(study_instance_uid)

    @router.get("/apps")
    def apps() -> HTMLResponse:
        return pages.apps()

    @router.get("/receipts")
    def receipts() -> HTMLResponse:
        return pages.receipts()

    @router.get("/interface")
    def interface(request: Request) -> HTMLResponse:
        return pages.interface(request.app.openapi())

    return router
