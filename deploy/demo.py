"""``make demo``: the node's whole way once, with the sample studies, and what comes of it.

Starts the node and, when it is installed, an Orthanc as PACS; sends every study of
``sample_dicom/`` over DICOM; shows each stage as the ledger records it; writes the preview
pictures to ``.demo/previews``; stops both. ``make demo KEEP=1`` leaves them running.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pynetdicom import AE, build_context
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / ".demo"
SAMPLES = REPOSITORY / "sample_dicom"
BIN = Path(sys.executable).parent
SETTLE_SECONDS = 2
READY_WITHIN_S = 180
DONE_WITHIN_S = 1200
PROGRESS_EVERY_S = 10
PORTS = range(20_000, 32_000)
"""Below Linux's range for connections that go out: none of them takes a port before its server does."""
ORTHANC = shutil.which("Orthanc")
ENDED = {"delivered", "refused", "failed"}

console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise SystemExit("no port is free")


@contextmanager
def running(command: list[str], log: Path, *, keep: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in a file, stopped cleanly at the end unless it is to be kept."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        if not keep:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(url: str, within_s: float, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the address answers 200.

    Raises:
        SystemExit: It does not in time, or the process ended.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"a server ended at once; its log:\n{log.read_text()}")
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{url} did not answer within {within_s:g} s; see {log}")


def orthanc(stack: ExitStack, *, keep: bool) -> tuple[str, int] | None:
    """Start an Orthanc as PACS; its URL and DICOM port, or None where it is not installed."""
    if ORTHANC is None:
        return None
    http, dicom = free_port(), free_port()
    settings = {
        "Name": "Demo PACS",
        "DicomAet": "ORTHANC",
        "DicomPort": dicom,
        "HttpPort": http,
        "StorageDirectory": str(FOLDER / "orthanc"),
        "IndexDirectory": str(FOLDER / "orthanc"),
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "Plugins": [],
    }
    path = FOLDER / "orthanc.json"
    path.write_text(json.dumps(settings))
    log = FOLDER / "orthanc.log"
    process = stack.enter_context(running([ORTHANC, str(path)], log, keep=keep))
    url = f"http://127.0.0.1:{http}"
    wait_for(f"{url}/system", READY_WITHIN_S, process, log)
    return url, dicom


def write_config(apps: list[str], pacs: tuple[str, int] | None) -> tuple[Path, int, int]:
    """A node.toml for the demo; its path, the DICOM port and the HTTP port."""
    dicom, http = free_port(), free_port()
    destinations = ["results"]
    lines = [
        f'[node]\nport = {dicom}\ndata_dir = "var"\nsettle_seconds = {SETTLE_SECONDS}',
        f"[web]\nport = {http}",
        '[[destination]]\nname = "results"\nkind = "folder"\npath = "results"',
    ]
    if pacs is not None:
        destinations.append("orthanc")
        lines.append(f'[[destination]]\nname = "orthanc"\nkind = "orthanc"\nurl = "{pacs[0]}"')
    for app in apps:
        lines.append(f'[[route]]\napp = "{app}"\ndestinations = {json.dumps(destinations)}')
        if app == "mibg_spect":
            lines.append("[route.settings.collimator_coefficients]\nLEHR = 0.55\nLME = 0.73\nMEGP = 0.88")
    path = FOLDER / "node.toml"
    path.write_text("\n\n".join(lines) + "\n")
    return path, dicom, http


def send(study: Path, ae_title: str, port: int) -> tuple[str, int]:
    """Send a folder's instances over DICOM; the Study Instance UID and the number of instances.

    Raises:
        SystemExit: The peer does not take them.
    """
    datasets = [dcmread(path) for path in sorted(study.rglob("*.dcm"))]
    kinds = {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}
    sender = AE(ae_title="DEMO")
    association = sender.associate(
        "127.0.0.1", port, [build_context(*kind) for kind in sorted(kinds)], ae_title=ae_title
    )
    if not association.is_established:
        raise SystemExit(f"{ae_title} on port {port} does not accept an association")
    for dataset in datasets:
        status = association.send_c_store(dataset).get("Status")
        if status != 0:
            raise SystemExit(f"{ae_title} answered {status!r} to an instance of {study}")
    association.release()
    return str(datasets[0].StudyInstanceUID), len(datasets)


class ProgressLines:
    """Prints a line when an app begins something else, and now and then how far it is."""

    def __init__(self) -> None:
        self._stage = self._share = ""
        self._at = 0.0

    def show(self, job: dict[str, Any]) -> None:
        """Print what there is to say of a job now, if anything."""
        told = job["progress"]
        if told is None:
            return
        now, share = time.monotonic(), f"{told['share']:.0%}"
        is_soon = now - self._at < PROGRESS_EVERY_S
        if told["stage"] == self._stage and (is_soon or share == self._share):
            return
        self._stage, self._share, self._at = told["stage"], share, now
        at = datetime.now(UTC).strftime("%H:%M:%S")
        console.print(f"  {at}      {told['stage']}, {share}", markup=False)


def particulars(event: dict[str, Any]) -> str:
    """What is told of an event beside its sentence; of the rules' verdicts those that take or refuse."""
    detail = str(event["detail"])
    if event["action"] == "study_routed":
        verdicts = detail.split("; ")
        concerned = [one for one in verdicts if not one.endswith(": not_for_this_app")]
        others = len(verdicts) - len(concerned)
        detail = "; ".join([*concerned, *([f"not for {others} others"] if others else [])])
    return detail[:80]


def follow(api: str, study_instance_uid: str) -> list[dict[str, Any]]:
    """Print each event of a study as it is recorded, and progress; its jobs when all have ended."""
    shown = 0
    progress = ProgressLines()
    deadline = time.monotonic() + DONE_WITHIN_S
    while time.monotonic() < deadline:
        study = httpx.get(f"{api}/studies/{study_instance_uid}", timeout=60)
        if study.status_code == httpx.codes.OK:
            view = study.json()
            for event in view["history"][shown:]:
                console.print(
                    f"  {event['at'][11:23]}  {event['sentence']:<38} {particulars(event)}", markup=False
                )
            shown = len(view["history"])
            jobs: list[dict[str, Any]] = view["jobs"]
            for job in jobs:
                progress.show(job)
            is_routed = any(event["action"] == "study_routed" for event in view["history"])
            if is_routed and all(job["state"] in ENDED for job in jobs):
                return jobs
        time.sleep(0.2)
    raise SystemExit(
        f"study {study_instance_uid} did not end within {DONE_WITHIN_S} s; see {FOLDER}/node.log"
    )


def show(job: dict[str, Any], previews: Path) -> None:
    """Print a job's results and copy its pictures."""
    console.print(f"\n  [bold]{job['app']}[/bold]: {job['state']} {job['reason'] or ''}")
    console.print(f"  {job.get('summary') or ''}", markup=False)
    table = Table("object", "SOP class", "file", box=None, pad_edge=True)
    for result in job["results"]:
        table.add_row(result["role"], result["sop_class_uid"], result["file"])
    console.print(table)
    results = FOLDER / "var" / "jobs" / job["job_id"] / "results"
    for picture in sorted(results.glob("*.png")):
        target = previews / f"{job['app']}_{picture.name}"
        shutil.copy(picture, target)
        console.print(f"  picture {target.relative_to(REPOSITORY)}", markup=False)


def main() -> None:
    """The demo."""
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    previews = FOLDER / "previews"
    previews.mkdir(parents=True)
    studies = sorted(path for path in SAMPLES.iterdir() if path.is_dir() and path.name[0] not in "._")
    apps = [study.name for study in studies if (REPOSITORY / "apps" / study.name / "app.toml").exists()]
    came_back = Table("study", "app", "state", "objects", "in the PACS", "seconds", box=None)
    with ExitStack() as stack:
        pacs = orthanc(stack, keep=keep)
        config, dicom, http = write_config(apps, pacs)
        log = FOLDER / "node.log"
        command = [str(BIN / "dicom-node"), "serve", "--config", str(config)]
        node = stack.enter_context(running(command, log, keep=keep))
        wait_for(f"http://127.0.0.1:{http}/readyz", READY_WITHIN_S, node, log)
        console.print(f"node      DICOMNODE@127.0.0.1:{dicom}, dashboard http://127.0.0.1:{http}/")
        console.print(f"PACS      {pacs[0] if pacs else 'none installed: results go to a folder'}")
        failed = 0
        for study in studies:
            sent_at = time.monotonic()
            if pacs:
                send(study, "ORTHANC", pacs[1])
            uid, count = send(study, "DICOMNODE", dicom)
            console.print(f"\n[bold]{study.name}[/bold]  {count} instances sent  study {uid}")
            jobs = follow(f"http://127.0.0.1:{http}/api/v1", uid)
            for job in jobs:
                show(job, previews)
            failed += sum(job["state"] != "delivered" for job in jobs) + (not jobs)
            kinds = ""
            if pacs:
                found = httpx.post(
                    f"{pacs[0]}/tools/find",
                    json={"Level": "Series", "Expand": True, "Query": {"StudyInstanceUID": uid}},
                    timeout=30,
                ).json()
                kinds = ", ".join(sorted(series["MainDicomTags"]["Modality"] for series in found))
                console.print(f"  in the PACS under this study: {kinds}")
            took = f"{time.monotonic() - sent_at:.0f}"
            for job in jobs:
                came_back.add_row(study.name, job["app"], job["state"], str(len(job["results"])), kinds, took)
            if not jobs:
                came_back.add_row(study.name, "", "for no app", "0", kinds, took)
        console.print()
        console.print(came_back)
        console.print(f"\nresults   {(FOLDER / 'results').relative_to(REPOSITORY)}/")
        console.print(f"took      {time.monotonic() - began:.0f} s")
        if keep:
            console.print(f"running   process {node.pid}; stop it with: kill {node.pid}")
        else:
            console.print("stopped   `make demo KEEP=1` leaves the node and its dashboard running")
    if failed:
        raise SystemExit(f"{failed} studies did not end delivered; see {FOLDER}/node.log")


if __name__ == "__main__":
    main()
