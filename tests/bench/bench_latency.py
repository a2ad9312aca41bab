"""From the last C-STORE of a study to its results at the destination, and the node's memory.

Warm: the first study is not counted. Settle time is subtracted: it is a setting. A destination
"has" the results when the ledger has the destination's acknowledgement.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import generate_uid

from deploy.demo import send
from tests.acceptance.node_process import NodeProcess

REPOSITORY = Path(__file__).resolve().parents[2]
SETTLE_SECONDS = 1.0
STUDIES = 20
DESTINATION = '[[destination]]\nname = "results"\nkind = "folder"\npath = "results"'


def copy_study(sample: Path, folder: Path, number: int) -> str:
    """A sample study as another patient's, with UIDs of its own; its Study Instance UID."""
    uids: dict[str, str] = {}

    def other(uid: str) -> str:
        return uids.setdefault(uid, str(generate_uid(entropy_srcs=[uid, str(number)])))

    folder.mkdir(parents=True)
    for index, path in enumerate(sorted(sample.rglob("*.dcm"))):
        dataset = dcmread(path)
        dataset.PatientID = f"{dataset.PatientID}-{number}"
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            if keyword in dataset:
                dataset[keyword].value = other(dataset[keyword].value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{index}.dcm")
    return other(str(dcmread(next(sample.rglob("*.dcm"))).StudyInstanceUID))


def seconds_to_results(node: NodeProcess, study: Path, study_instance_uid: str) -> float:
    """Seconds from the last C-STORE to delivery, settle time excluded."""
    send(study, "DICOMNODE", node.dicom_port)
    began = time.monotonic()

    def is_delivered() -> bool:
        return any(
            job["study_instance_uid"] == study_instance_uid and job["state"] == "delivered"
            for job in node.jobs()
        )

    node.wait(is_delivered, 120, "delivered", every_s=0.05)
    return time.monotonic() - began - SETTLE_SECONDS


def memory_mb(node: NodeProcess) -> dict[str, float]:
    """Resident memory of the node and of its app processes, MB."""
    assert node.process is not None
    children = subprocess.run(
        ["ps", "--ppid", str(node.process.pid), "-o", "rss="], capture_output=True, text=True, check=False
    ).stdout.split()
    own = subprocess.run(
        ["ps", "-p", str(node.process.pid), "-o", "rss="], capture_output=True, text=True, check=True
    ).stdout
    return {"node": int(own) * 1024 / 1e6, "app processes": sum(map(int, children)) * 1024 / 1e6}


def measure(app: str) -> dict[str, Any]:
    """Median and worst of the studies, and memory after them."""
    sample = REPOSITORY / "sample_dicom" / app
    with tempfile.TemporaryDirectory(prefix="dicom-node-bench-") as temporary:
        folder = Path(temporary)
        node = NodeProcess(
            folder / "node",
            destinations=DESTINATION,
            routes=f'[[route]]\napp = "{app}"\ndestinations = ["results"]',
            settle_seconds=SETTLE_SECONDS,
        )
        with node:
            seconds = []
            for number in range(STUDIES + 1):
                study = folder / f"study{number}"
                uid = copy_study(sample, study, number)
                seconds.append(seconds_to_results(node, study, uid))
            memory = memory_mb(node)
    return {
        "app": app,
        "studies": STUDIES,
        "first_s": round(seconds[0], 2),
        "median_s": round(statistics.median(seconds[1:]), 2),
        "worst_s": round(max(seconds[1:]), 2),
        "node_mb": round(memory["node"]),
        "app_processes_mb": round(memory["app processes"]),
    }


def run() -> list[dict[str, Any]]:
    """One row per app that has a sample study."""
    samples = REPOSITORY / "sample_dicom"
    apps = sorted(
        path.name
        for path in samples.iterdir()
        if path.is_dir() and (REPOSITORY / "apps" / path.name / "app.toml").exists()
    )
    return [measure(app) for app in apps]
