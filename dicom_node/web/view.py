"""What the HTTP interface is given to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_node.catalog import App
from dicom_node.store.documents import AppDocument
from dicom_node.store.ledger import Ledger
from dicom_node.store.views import Views

if TYPE_CHECKING:
    from dicom_node.receive.video.upload import TakenVideo

TakeVideo = Callable[[Path, Mapping[str, str]], "TakenVideo"]
"""Stores a video file with what is said of it; raises as `VideoIntake.take` does."""


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """A node, as far as its HTTP interface may see it.

    Args:
        ledger: The ledger; only read.
        data_dir: The node's data folder; only ``jobs/<job id>/results`` is read.
        ae_title: AE title of the node.
        dicom_address: ``host:port`` of its DICOM receiver, for people; may be empty.
        apps: The apps that the node has.
        late_after_minutes: A job that has not ended after this time is late.
        readiness: Asked at each ``/readyz``: what must be well, and whether it is.
        resident_mb: Asked at each ``/metrics``: resident memory in MB (10^6 bytes) by process.
        take_video: The receive stage for uploaded videos; None where it is in another process.
    """

    ledger: Ledger
    data_dir: Path
    ae_title: str
    apps: tuple[AppDocument, ...]
    late_after_minutes: float
    readiness: Callable[[], Mapping[str, bool]]
    resident_mb: Callable[[], Mapping[str, float]]
    dicom_address: str = ""
    take_video: TakeVideo | None = None

    def views(self) -> Views:
        """The ledger as documents."""
        return Views(self.ledger, self.data_dir, self.late_after_minutes)


def app_document(app: App, destinations: Iterable[str] = ()) -> AppDocument:
    """An app of the catalogue, and where this site sends its results, as it is shown."""
    manifest = app.manifest
    return AppDocument(
        name=app.name,
        title=manifest.app.title,
        version=manifest.app.version,
        intended_use=manifest.app.intended_use,
        training_kind=app.training_kind,
        training_statement=app.training_statement,
        model_digest=app.model_digest,
        destinations=list(destinations),
        problem=app.problem,
    )
