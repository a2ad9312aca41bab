"""Every app with its sample, found by itself, on the way of a hospital: DCMTK, the node, a real Orthanc."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.catalog import App, find_apps
from tests.acceptance.node_process import NodeProcess
from tests.dicom_checks import dciodvfy_errors
from tests.integration.orthanc import OrthancServer, find_program, start_orthanc

SAMPLES = Path(__file__).resolve().parents[2] / "sample_dicom"
APPS = {app.name: app for app in find_apps()}
PROPOSED = {
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.102": "-xn",
    "1.2.840.10008.1.2.5": "-xr",
}
"""What storescu is told so that it sends an object as it is, by its transfer syntax."""

every_app = pytest.mark.parametrize("app", APPS.values(), ids=list(APPS))


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """A real Orthanc, which holds what the node made of all samples in the end."""
    server = start_orthanc(tmp_path_factory.mktemp("pacs"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def node(pacs: OrthancServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node with a route for every app: so each study also shows that the others leave it alone."""
    destination = (
        f'[[destination]]\nname = "pacs"\nkind = "dicom"\nae_title = "{pacs.ae_title}"\n'
        f'host = "127.0.0.1"\nport = {pacs.dicom_port}'
    )
    routes = "\n".join(
        f'[[route]]\napp = "{app.name}"\ndestinations = ["pacs"]'
        for app in APPS.values()
        if not app.problem  # `test_apps` tells of it; the other apps are tried all the same
    )
    folder = tmp_path_factory.mktemp("node")
    with NodeProcess(folder, destinations=destination, routes=routes) as process:
        yield process


def store(study: Path, ae_title: str, port: int) -> None:
    """Send a folder with DCMTK, every object in its own transfer syntax."""
    syntaxes = {
        str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) for path in files(study)
    }
    options = sorted(
        PROPOSED[syntax] for syntax in syntaxes if UID(syntax).is_encapsulated or syntax in PROPOSED
    )
    command = [
        find_program("storescu"),
        "-R",
        *options,
        "+sd",
        "+r",
        "-aec",
        ae_title,
        "127.0.0.1",
        str(port),
    ]
    done = subprocess.run([*command, study], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr


def files(study: Path) -> list[Path]:
    """The objects of a sample."""
    return sorted(study.rglob("*.dcm"))


def objects_in(pacs: OrthancServer, study_instance_uid: str, folder: Path) -> dict[str, Path]:
    """Files of a study's instances, fetched from the PACS, by SOP Instance UID."""
    found = httpx.post(
        f"{pacs.http_url}/tools/find",
        json={"Level": "Instance", "Expand": True, "Query": {"StudyInstanceUID": study_instance_uid}},
        timeout=60,
    ).json()
    fetched = {}
    for instance in found:
        uid = instance["MainDicomTags"]["SOPInstanceUID"]
        fetched[uid] = folder / f"{uid}.dcm"
        content = httpx.get(f"{pacs.http_url}/instances/{instance['ID']}/file", timeout=60).content
        fetched[uid].write_bytes(content)
    return fetched


def test_every_app_has_a_sample() -> None:
    assert APPS
    assert [name for name in APPS if not files(SAMPLES / name)] == []


@every_app
def test_the_sample_goes_through_the_node_into_the_pacs_and_nothing_else_does(
    app: App, node: NodeProcess, pacs: OrthancServer, tmp_path: Path
) -> None:
    assert app.problem == ""
    study = SAMPLES / app.name
    sources = [dcmread(path, stop_before_pixels=True) for path in files(study)]
    (uid,) = {str(source.StudyInstanceUID) for source in sources}
    store(study, pacs.ae_title, pacs.dicom_port)
    store(study, "DICOMNODE", node.dicom_port)

    def jobs() -> list[dict[str, object]]:
        answer = httpx.get(f"{node.api}/jobs", params={"study": uid}, timeout=60).raise_for_status()
        return list(answer.json())

    limit_s = 120 + app.manifest.limits.time_limit_s
    ended = {"delivered", "refused", "failed"}
    node.wait(
        lambda: bool(jobs()) and all(job["state"] in ended for job in jobs()),
        limit_s,
        "ended",
        every_s=0.5,
        detail=lambda: str(jobs()),
    )
    (job,) = jobs()
    assert (job["app"], job["state"]) == (app.name, "delivered"), job["reason"]

    made = {result["sop_instance_uid"]: result["role"] for result in job["results"]}  # type: ignore[attr-defined]
    held = objects_in(pacs, uid, tmp_path)
    assert set(held) == set(made) | {str(source.SOPInstanceUID) for source in sources}
    promised = {output.role for output in app.manifest.outputs if output.count != "0..1"}
    assert promised <= set(made.values())
    for sop_instance_uid, role in made.items():
        result = dcmread(held[sop_instance_uid])
        assert result.StudyInstanceUID == uid
        assert result.PatientID == sources[0].PatientID
        assert dciodvfy_errors(held[sop_instance_uid]) == [], role
