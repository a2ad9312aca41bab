"""The HTTP interface, put together."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from dicom_node import __version__
from dicom_node.web.api import api_router
from dicom_node.web.health import health_router
from dicom_node.web.pages import Pages, pages_router
from dicom_node.web.security import SecurityHeaders
from dicom_node.web.videos import videos_router
from dicom_node.web.view import NodeView

STATIC = Path(__file__).parent / "static"
OPENAPI_PATH = "/openapi.json"

DESCRIPTION = """What the node received, what each app said to it, and how each analysis ended.

Everything is read from the ledger; nothing of it can be changed here. Videos can be sent to the node
as to its DICOM port. Times are UTC.
"""

log = logging.getLogger(__name__)

TAGS = [
    {"name": "studies", "description": "What was received, and what became of it."},
    {"name": "jobs", "description": "Analyses of studies by apps, and their results."},
    {"name": "node", "description": "The node's apps, and what it did not accept."},
    {"name": "health", "description": "For supervisors and monitoring."},
]


def create_app(view: NodeView) -> FastAPI:
    """The ASGI application that shows a node.

    Interactive documentation is not FastAPI's own, which loads its scripts from another
    server; ``/interface`` shows the OpenAPI document instead.
    """
    app = FastAPI(
        title="DICOM inference node",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=OPENAPI_PATH,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
    )
    pages = Pages(view)
    app.add_middleware(SecurityHeaders)
    app.include_router(health_router(view))
    if view.take_video is not None:
        app.include_router(videos_router(view.take_video, view.data_dir / "uploads"))
    app.include_router(api_router(view))
    app.include_router(pages_router(pages))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _add_openapi_below_api(app)
    _add_errors(app, pages)
    return app


def _add_openapi_below_api(app: FastAPI) -> None:
    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return app.openapi()


def _add_errors(app: FastAPI, pages: Pages) -> None:
    @app.exception_handler(HTTPException)
    async def not_answered(request: Request, error: HTTPException) -> Response:
        if _is_for_people(request):
            return pages.error(error.status_code, str(error.detail))
        return await http_exception_handler(request, error)

    @app.exception_handler(DataError)
    async def not_a_name(request: Request, error: DataError) -> Response:  # noqa: ARG001
        return JSONResponse({"detail": "the ledger keeps no such text"}, status_code=404)

    @app.exception_handler(SQLAlchemyError)
    async def ledger_unreachable(request: Request, error: SQLAlchemyError) -> Response:
        log.error("%s", error, extra={"action": "ledger_unreachable"})
        if _is_for_people(request):
            return pages.error(503, "The ledger cannot be reached.")
        return JSONResponse(
            {"detail": "the ledger cannot be reached", "ready": False, "not_ready": ["database"]},
            status_code=503,
        )


def _is_for_people(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
