"""``/healthz``, ``/readyz`` and ``/metrics``: for supervisors and monitoring."""

from __future__ import annotations

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from dicom_node.web.metrics import Metrics
from dicom_node.web.view import NodeView


class Alive(BaseModel):
    """The process answers."""

    status: str = Field("alive", description="Always alive.")


class Readiness(BaseModel):
    """Whether the node can do its work."""

    ready: bool = Field(description="True when every check is.")
    checks: dict[str, bool] = Field(description="What was checked, and whether it is well.")
    not_ready: list[str] = Field(description="The checks that are not well.")


def health_router(view: NodeView) -> APIRouter:
    """The routes for supervisors and monitoring."""
    router = APIRouter(tags=["health"])
    metrics = Metrics(view)

    @router.get("/healthz", summary="Is the process alive?")
    def healthz() -> Alive:
        """Answers 200 as long as the process does. Looks at nothing else."""
        return Alive(status="alive")

    @router.get(
        "/readyz",
        summary="Can the node do its work?",
        responses={503: {"model": Readiness, "description": "Something is not well; the answer says what."}},
    )
    def readyz(response: Response) -> Readiness:
        """Answers 200 when every part that this process needs is well, otherwise 503 naming what is not."""
        checks = dict(view.readiness())
        not_ready = [name for name, is_well in checks.items() if not is_well]
        if not_ready:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return Readiness(ready=not not_ready, checks=checks, not_ready=not_ready)

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
    )
    def show_metrics() -> Response:
        """Counts jobs, receipts, deliveries, job times and memory, from the ledger at this moment."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
