"""A node whose ledger holds one study for every way to end, and a client that asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian
from sqlalchemy import update

from dicom_node.store.documents import AppDocument
from dicom_node.store.instances import StoredInstance
from dicom_node.store.ledger import Ledger, NewJob, NewVerdict, open_ledger
from dicom_node.store.states import JobState
from dicom_node.store.tables import JobRow
from dicom_node.web import NodeView, create_app

HOSTILE = '<script>alert("1")</script>&\'"'
STATEMENT = "research use, trained on synthetic data"
REPORT_UID = "2.25.1234"

APPS = (
    AppDocument(
        name="mibg_spect",
        title="MIBG heart",
        version="0.1.0",
        intended_use="Counts of the heart in I-123 MIBG SPECT.",
        training_kind="synthetic",
        training_statement=STATEMENT,
        model_digest="sha256:" + "ab" * 32,
        destinations=["pacs", "archive"],
    ),
    AppDocument(
        name="gait",
        title="Gait",
        version="0.2.0",
        intended_use="Gait from video.",
        training_kind="synthetic",
        training_statement=STATEMENT,
        model_digest="",
    ),
)


@dataclass
class Node:
    """A node's ledger and folder, and shortcuts to fill them."""

    ledger: Ledger
    data_dir: Path
    checks: dict[str, bool] = field(
        default_factory=lambda: {"database": True, "receiver": True, "disk": True}
    )

    def view(self, **changes: Any) -> NodeView:
        """What the HTTP interface is given."""
        fields: dict[str, Any] = {
            "ledger": self.ledger,
            "data_dir": self.data_dir,
            "ae_title": "DICOMNODE",
            "apps": APPS,
            "late_after_minutes": 30.0,
            "readiness": lambda: self.checks,
            "resident_mb": lambda: {"node": 120.5},
            "dicom_address": "10.0.0.3:11112",
        }
        return NodeView(**{**fields, **changes})

    def receive(
        self, study: str, count: int = 2, calling_ae_title: str = "PACS", *, conflict: bool = False
    ) -> None:
        """Have instances of a study in the ledger; ``conflict``: with a UID that others had before."""
        begun = len(self.ledger.instances_of(study))
        self.ledger.record_instances(
            [
                StoredInstance(
                    study_instance_uid=study,
                    series_instance_uid=f"{study}.1",
                    sop_instance_uid=f"{study}.1.{number}",
                    sop_class_uid="1.2.840.10008.5.1.4.1.1.20",
                    transfer_syntax_uid="1.2.840.10008.1.2.1",
                    path=self.data_dir / "instances" / study / f"{number}.dcm",
                    size_bytes=100,
                    digest=f"{number:064x}",
                    received_at=datetime.now(UTC),
                    calling_ae_title=calling_ae_title,
                    conflict=conflict,
                )
                for number in range(begun, begun + count)
            ]
        )

    def route(
        self,
        study: str,
        verdict: str = "taken",
        reason: str = "",
        attribute: str = "",
        app: str = "mibg_spect",
    ) -> str:
        """Have the rules look at a study; the job's id, or empty."""
        row = self.ledger.study(study)
        assert row is not None
        state = JobState.REFUSED if verdict == "refused" else JobState.READY
        job = NewJob(
            study_instance_uid=study,
            revision=row.revision + 1,
            app=app,
            app_version="0.1.0",
            model_digest="sha256:" + "ab" * 32,
            input_digest=f"sha256:{row.instance_count}",
            inputs={"early": []},
            warnings=["the late images are missing"] if verdict == "taken" else [],
            destinations=["archive", "pacs"],
            state=state,
            reason=reason,
            attribute=attribute,
        )
        verdicts = [
            NewVerdict(app=app, verdict=verdict, reason=reason, attribute=attribute),
            NewVerdict(
                app="gait", verdict="not_for_this_app", reason="Modality is NM, not XC", attribute="Modality"
            ),
        ]
        jobs = [] if verdict == "not_for_this_app" else [job]
        self.ledger.record_routing(study, row.last_received_at, verdicts, jobs)
        return job.job_id if jobs else ""

    def go(self, job_id: str, *states: JobState, reason: str = "") -> None:
        """Take a job through states; the reason is that of the last one."""
        for state in states:
            self.ledger.change_state(job_id, state, reason=reason if state is states[-1] else "", attempt=1)

    def finish(self, job_id: str) -> None:
        """Take a job with results to its end."""
        self.go(job_id, JobState.RUNNING, JobState.VERIFYING, JobState.DELIVERING)
        for destination in ("archive", "pacs"):
            self.ledger.begin_delivery(job_id, destination)
            self.ledger.record_delivered_instance(job_id, destination, REPORT_UID, "")
            self.ledger.finish_delivery(job_id, destination)

    def created(self, job_id: str, ago: timedelta) -> None:
        """Have a job created some time ago."""
        with self.ledger.engine.begin() as connection:
            connection.execute(
                update(JobRow).where(JobRow.job_id == job_id).values(created_at=datetime.now(UTC) - ago)
            )

    def write_results(self, job_id: str, **changes: Any) -> Path:
        """Write a folder of verified results."""
        folder = self.data_dir / "jobs" / job_id / "results"
        folder.mkdir(parents=True, exist_ok=True)
        _write_report(folder / "report.dcm")
        (folder / "report.pdf").write_bytes(b"%PDF-1.4 a page")
        (folder / "unnamed.txt").write_text("not part of the result", encoding="utf-8")
        Image.linear_gradient("L").resize((96, 96)).save(folder / "preview_early.png")
        result = {
            "app": "mibg_spect",
            "app_version": "0.1.0",
            "model_digest": "sha256:" + "ab" * 32,
            "input_digest": "sha256:2",
            "training_kind": "synthetic",
            "objects": [{"role": "report", "file": "report.dcm"}],
            "pdf": "report.pdf",
            "previews": ["preview_early.png"],
            "measurements": {
                "heart_mediastinum_ratio_early": {"value": 2.34567, "unit": "1"},
                "washout": {"value": None, "unit": "%"},
                "heart_volume": {"value": 412, "unit": "ml"},
            },
            "warnings": ["the late images are missing", "the collimator is not known"],
            "summary": "heart/mediastinum 2.35 early",
        }
        (folder / "result.json").write_text(json.dumps({**result, **changes}), encoding="utf-8")
        return folder


def _write_report(path: Path) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    meta.MediaStorageSOPInstanceUID = REPORT_UID
    report = Dataset()
    report.file_meta = meta
    report.SOPClassUID = ComprehensiveSRStorage
    report.SOPInstanceUID = REPORT_UID
    report.save_as(path, enforce_file_format=True)


def fill(node: Node) -> dict[str, str]:
    """Put one study for every way to end into a node; job ids by the way."""
    jobs = {}
    for number, way in enumerate(
        ["unwanted", "delivered", "refused", "failed", "late", "in_progress", "growing"], start=1
    ):
        study = f"1.2.{number}"
        node.receive(study)
        if way == "unwanted":
            node.route(study, "not_for_this_app", "Radiopharmaceutical is not MIBG", "Radiopharmaceutical")
        elif way == "refused":
            jobs[way] = node.route(study, "refused", "at least 24 slices are needed", "NumberOfFrames")
        elif way != "growing":
            jobs[way] = node.route(study)
    node.write_results(jobs["delivered"])
    node.finish(jobs["delivered"])
    node.go(
        jobs["failed"],
        JobState.RUNNING,
        JobState.FAILED,
        reason="the app crashed (given up after 3 attempts)",
    )
    node.write_results(jobs["late"])
    node.go(jobs["late"], JobState.RUNNING, JobState.VERIFYING, JobState.DELIVERING)
    node.ledger.begin_delivery(jobs["late"], "pacs")
    node.ledger.postpone_delivery(
        jobs["late"], "pacs", "pacs (10.0.0.5:104): no connection", datetime.now(UTC) + timedelta(minutes=3)
    )
    node.created(jobs["late"], timedelta(hours=2))
    node.go(jobs["in_progress"], JobState.RUNNING)
    node.ledger.record_refused_receipt(
        "STRANGER", "1.2.3.99", "0xA900", "the data set contradicts its SOP class"
    )
    return jobs


def get(app: FastAPI, path: str, **options: Any) -> httpx.Response:
    """The answer of an app to a GET."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    return asyncio.run(ask())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node that has received nothing."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path)
    yield Node(ledger, tmp_path)
    ledger.close()


@pytest.fixture
def jobs(node: Node) -> dict[str, str]:
    """Job ids by the way they ended, after `node` was filled."""
    return fill(node)


@pytest.fixture
def ask(node: Node) -> Callable[..., httpx.Response]:
    """Ask the node's HTTP interface."""
    app = create_app(node.view())
    return lambda path, **options: get(app, path, **options)


@pytest.fixture
def web_get() -> Callable[..., httpx.Response]:
    """Ask any app."""
    return get
