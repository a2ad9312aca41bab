"""``/api/v1``: the ledger as JSON, and the files of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from dicom_node.store.documents import (
    AppDocument,
    JobDocument,
    Outcome,
    ReceiptDocument,
    StudyDocument,
    StudySummary,
)
from dicom_node.store.results import result_file
from dicom_node.store.states import JobState
from dicom_node.web.view import NodeView

MEDIA_TYPES = {
    ".dcm": "application/dicom",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".json": "application/json",
}
"""What a browser may show; any other file of a result is only for download."""

Limit = Annotated[int, Query(ge=1, le=1000, description="The most entries to answer with.")]
StudyUid = Annotated[str, InPath(description="Study Instance UID.")]
JobId = Annotated[str, InPath(description="Identifier of the job.")]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="The reason, in a sentence.")


NOT_FOUND = {"model": Problem, "description": "The node has no such thing."}


def api_router(view: NodeView) -> APIRouter:
    """The routes below ``/api/v1``."""
    router = APIRouter(prefix="/api/v1")
    _add_studies(router, view)
    _add_jobs(router, view)
    _add_node(router, view)
    return router


def _add_studies(router: APIRouter, view: NodeView) -> None:
    views = view.views()

    @router.get("/studies", tags=["studies"], summary="Studies, and what became of them")
    def list_studies(
        outcome: Annotated[
            list[Outcome] | None,
            Query(description="Only studies in which an app's part stands so; may be given more than once."),
        ] = None,
        text: Annotated[str, Query(max_length=64, description="Part of a Study Instance UID.")] = "",
        limit: Limit = 200,
        offset: Annotated[int, Query(ge=0, description="Studies to pass over.")] = 0,
    ) -> list[StudySummary]:
        """Gives every study with one verdict per app, the last received first."""
        return views.studies(text=text, outcomes=outcome or (), limit=limit, offset=offset).studies

    @router.get(
        "/studies/{study_instance_uid:path}",
        tags=["studies"],
        summary="One study",
        responses={404: NOT_FOUND},
    )
    def get_study(study_instance_uid: StudyUid) -> StudyDocument:
        """Gives the verdict of every app with its reason, the history, and all jobs."""
        study = views.study(study_instance_uid)
        if study is None:
            raise HTTPException(404, "the ledger has no study with this Study Instance UID")
        return study


def _add_jobs(router: APIRouter, view: NodeView) -> None:
    views = view.views()

    @router.get("/jobs", tags=["jobs"], summary="Jobs, and what they made")
    def list_jobs(
        study: Annotated[str | None, Query(description="Only of this Study Instance UID.")] = None,
        state: Annotated[JobState | None, Query(description="Only in this state.")] = None,
        app: Annotated[str | None, Query(description="Only of this app.")] = None,
        limit: Limit = 200,
    ) -> list[JobDocument]:
        """Gives jobs with state, reason, progress at each destination and results, newest first."""
        return views.jobs(study_instance_uid=study, state=state, app=app, limit=limit)

    @router.get("/jobs/{job_id}", tags=["jobs"], summary="One job", responses={404: NOT_FOUND})
    def get_job(job_id: JobId) -> JobDocument:
        """Gives one job, as the list does."""
        job = views.job(job_id)
        if job is None:
            raise HTTPException(404, "the ledger has no such job")
        return job

    @router.get(
        "/jobs/{job_id}/files/{name}",
        tags=["jobs"],
        summary="A file of a job's results",
        response_class=FileResponse,
        responses={
            200: {
                "description": "The file.",
                "content": {media_type: {} for media_type in sorted(MEDIA_TYPES.values())},
            },
            404: NOT_FOUND,
        },
    )
    def get_file(
        job_id: JobId,
        name: Annotated[str, InPath(description="File name, as the job's results give it, or result.json.")],
    ) -> FileResponse:
        """Gives a DICOM object, picture or PDF that the job's result.json names, and nothing else."""
        if view.ledger.job(job_id) is None:
            raise HTTPException(404, "the ledger has no such job")
        path = result_file(view.data_dir, job_id, name)
        if path is None:
            raise HTTPException(404, "the job's results have no such file")
        return _file_response(path)


def _file_response(path: Path) -> FileResponse:
    media_type = MEDIA_TYPES.get(path.suffix)
    is_shown = media_type is not None and media_type != "application/dicom"
    return FileResponse(
        path,
        media_type=media_type or "application/octet-stream",
        filename=path.name,
        content_disposition_type="inline" if is_shown else "attachment",
    )


def _add_node(router: APIRouter, view: NodeView) -> None:
    views = view.views()

    @router.get("/receipts", tags=["node"], summary="What was sent and not accepted")
    def list_receipts(limit: Limit = 200) -> list[ReceiptDocument]:
        """Gives everything that was refused on arrival, with the reason, newest first."""
        return views.receipts(limit)

    @router.get("/apps", tags=["node"], summary="The node's apps")
    def list_apps() -> list[AppDocument]:
        """Gives the apps with intended use, what their models were trained on, and the models' digests."""
        return list(view.apps)
