"""Video objects with real peers: validator, Orthanc, DCMTK's worklist, ffmpeg, and the node itself."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

from dicom_node.cli import main
from dicom_node.receive.scp import Receiver
from dicom_node.receive.sop_classes import transfer_syntaxes
from dicom_node.receive.video.encapsulate import write_object
from dicom_node.store.instances import InstanceStore, StoredInstance
from tests.acceptance.node_process import NodeProcess
from tests.dicom_checks import dciodvfy_errors
from tests.integration.orthanc import OrthancServer, find_program, free_port, start_orthanc
from tests.made_videos import X264_HIGH_41, make_video

VIDEO_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
WORKLIST_AE = "WORKLIST"
STUDY_UID = "1.2.826.0.1.3680043.8.498.77"
ORTHANC_WORKLISTS = Path("/usr/share/orthanc/plugins/libModalityWorklists.so")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def frames_by_ffmpeg(path: Path) -> list[str]:
    """A hash per frame, as another program decodes them; fails on any message."""
    command = [find_program("ffmpeg"), "-v", "warning", "-i", str(path), "-f", "framemd5", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.rsplit(",", 1)[1].strip() for line in done.stdout.splitlines() if line[:1].isdigit()]


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancServer]:
    server = start_orthanc(tmp_path)
    yield server
    server.stop()


@contextmanager
def receiving(data_dir: Path) -> Iterator[tuple[int, list[StoredInstance]]]:
    stored: list[StoredInstance] = []
    receiver = Receiver("DICOMNODE", "127.0.0.1", 0, InstanceStore(data_dir), stored.append, lambda _: None)
    receiver.start()
    try:
        yield receiver.port, stored
    finally:
        receiver.stop()


@pytest.mark.parametrize("known", [True, False], ids=["everything known", "only the patient id known"])
def test_validator_finds_no_error_in_an_object(tmp_path: Path, known: bool) -> None:
    video = make_video(tmp_path / "walk.mp4", sound="aac")
    further = [
        "--patient-name", "TEST^ÄÖ山田", "--birth-date", "1960-02-01", "--sex", "f",
        "--accession-number", "A1",
        "--task", "SARA gait", "--aid", "cane", "--distance-m", "10", "--recorded-at", "2024-08-20T17:27",
        "--keep-sound",
    ]  # fmt: skip
    output = tmp_path / "o.dcm"
    done = run("wrap-video", video, "--patient-id", "GAIT-4711", "--view", "frontal", "--output", output,
               *(further if known else []))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert dciodvfy_errors(output) == []


def test_orthanc_stores_an_object_and_gives_back_the_same_bytes(
    tmp_path: Path, orthanc: OrthancServer
) -> None:
    video = make_video(tmp_path / "walk.mp4", options=X264_HIGH_41 | {"bf": "2"})
    output = tmp_path / "o.dcm"
    peer = f"ORTHANC@127.0.0.1:{orthanc.dicom_port}"
    done = run(
        "wrap-video", video, "--patient-id", 1, "--view", "sagittal", "--output", output, "--send", peer
    )
    assert done.exit_code == 0, done.output
    (identifier,) = orthanc.get("/instances")
    back = tmp_path / "back.dcm"
    back.write_bytes(httpx.get(f"{orthanc.http_url}/instances/{identifier}/file", trust_env=False).content)
    assert dciodvfy_errors(back) == []
    assert run("unwrap-video", back, "--output", tmp_path / "back.mp4").exit_code == 0
    assert (tmp_path / "back.mp4").read_bytes() == video.read_bytes()
    assert frames_by_ffmpeg(tmp_path / "back.mp4") == frames_by_ffmpeg(video)
    assert len(frames_by_ffmpeg(video)) == dcmread(back).NumberOfFrames == 30


def test_the_real_video_is_encoded_sent_and_decoded_after_the_round_trip(
    tmp_path: Path, orthanc: OrthancServer, shared_data: Path
) -> None:
    video = shared_data / "real_gait_video" / "demo.mp4"
    peer = f"ORTHANC@127.0.0.1:{orthanc.dicom_port}"
    done = run("wrap-video", video, "--patient-id", "REAL", "--view", "sagittal", "--send", peer)
    assert done.exit_code == 0, done.output
    assert "coded as vp9" in done.output
    (identifier,) = orthanc.get("/instances")
    back = tmp_path / "back.dcm"
    back.write_bytes(httpx.get(f"{orthanc.http_url}/instances/{identifier}/file", trust_env=False).content)
    dataset = dcmread(back, stop_before_pixels=True)
    assert (dataset.NumberOfFrames, dataset.Columns, dataset.Rows) == (230, 1768, 994)
    assert (float(dataset.FrameTime), dataset.CineRate) == (pytest.approx(1000 / 30), 30)
    assert dciodvfy_errors(back) == []
    assert run("unwrap-video", back, "--output", tmp_path / "back.mp4").exit_code == 0
    assert len(frames_by_ffmpeg(tmp_path / "back.mp4")) == 230


def worklist_entry(folder: Path, name: str, **attributes: str) -> None:
    entry = Dataset()
    entry.file_meta = FileMetaDataset()
    entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    entry.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
    entry.file_meta.MediaStorageSOPInstanceUID = f"{STUDY_UID}.{len(list(folder.iterdir())) + 1}"
    entry.SpecificCharacterSet = "ISO_IR 100"
    values = {
        "PatientName": "WÖRK^LIST",
        "PatientID": "W1",
        "PatientBirthDate": "19550505",
        "PatientSex": "M",
        "AccessionNumber": "ACC1",
        "StudyInstanceUID": STUDY_UID,
        "ReferringPhysicianName": "DÖC^TOR",
        "RequestedProcedureID": "RP1",
        "RequestedProcedureDescription": "Gait video",
    } | attributes
    for keyword, value in values.items():
        setattr(entry, keyword, value)
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle = "XC", "CAMERA"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20240820", "170000"
    step.ScheduledPerformingPhysicianName, step.ScheduledProcedureStepDescription = "", "Walk"
    step.ScheduledProcedureStepID = "SPS1"
    entry.ScheduledProcedureStepSequence = [step]
    entry.save_as(folder / f"{name}.wl", enforce_file_format=True)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(params=["dcmtk", "orthanc"])
def worklist(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a worklist server, and the folder that its entries are in."""
    folder = tmp_path / "worklists" / WORKLIST_AE
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    if request.param == "orthanc":
        settings = {"Enable": True, "Database": str(folder)}
        server = start_orthanc(
            tmp_path, DicomAet=WORKLIST_AE, Plugins=[str(ORTHANC_WORKLISTS)], Worklists=settings,
            DicomAlwaysAllowFindWorklist=True, DicomCheckModalityHost=False,
        )  # fmt: skip
        yield f"{WORKLIST_AE}@127.0.0.1:{server.dicom_port}", folder
        server.stop()
        return
    port = free_port()
    command = [find_program("wlmscpfs"), "-dfp", str(folder.parent), "-csk", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert time.monotonic() < deadline, "the worklist server does not answer"
            time.sleep(0.1)
        yield f"{WORKLIST_AE}@127.0.0.1:{port}", folder
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_the_worklist_fills_patient_and_study(tmp_path: Path, worklist: tuple[str, Path]) -> None:
    address, folder = worklist
    worklist_entry(folder, "one")
    worklist_entry(folder, "other", PatientID="W2", AccessionNumber="ACC2", StudyInstanceUID=f"{STUDY_UID}.9")
    video, output = make_video(tmp_path / "walk.mp4"), tmp_path / "o.dcm"
    done = run("wrap-video", video, "--accession-number", "ACC1", "--worklist", address,
               "--view", "frontal", "--output", output)  # fmt: skip
    assert done.exit_code == 0, done.output
    dataset = dcmread(output, stop_before_pixels=True)
    got = [dataset[k].value for k in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")]
    assert got == ["W1", "WÖRK^LIST", "19550505", "M"]
    assert (dataset.AccessionNumber, dataset.StudyInstanceUID) == ("ACC1", STUDY_UID)
    assert dataset.ReferringPhysicianName == "DÖC^TOR"
    request = dataset.RequestAttributesSequence[0]
    assert (request.RequestedProcedureID, request.ScheduledProcedureStepID) == ("RP1", "SPS1")
    assert dciodvfy_errors(output) == []


def test_a_worklist_without_one_answer_is_refused(tmp_path: Path, worklist: tuple[str, Path]) -> None:
    address, folder = worklist
    worklist_entry(folder, "one")
    worklist_entry(folder, "two", AccessionNumber="ACC2", StudyInstanceUID=f"{STUDY_UID}.9")
    video = make_video(tmp_path / "walk.mp4")
    common = ("wrap-video", video, "--worklist", address, "--view", "frontal", "--output", tmp_path / "o.dcm")
    several = run(*common, "--patient-id", "W1")
    assert (several.exit_code, "2 procedures" in several.output) == (3, True), several.output
    assert "--accession-number" in several.output
    nobody = run(*common, "--patient-id", "UNKNOWN")
    assert (nobody.exit_code, "no entry" in nobody.output) == (3, True), nobody.output
    wildcard = run(*common, "--patient-id", "W*")
    assert wildcard.exit_code == 3, wildcard.output
    other = run(*common, "--patient-id", "W1", "--accession-number", "ACC1", "--birth-date", "19990101")
    assert (other.exit_code, "--birth-date differs" in other.output) == (3, True), other.output
    without = run(*common)
    assert without.exit_code == 3, without.output
    assert not (tmp_path / "o.dcm").exists()


# pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_at_the_address_is_a_failure_that_names_it(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4")
    address = f"PACS@127.0.0.1:{free_port()}"
    for option, output in (("--send", ()), ("--worklist", ("--output", tmp_path / "o.dcm"))):
        done = run("wrap-video", video, "--patient-id", "1", "--view", "frontal", option, address, *output)
        assert (done.exit_code, address in done.output) == (1, True), done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--view", "frontal", "--output", "o.dcm"), "--patient-id"),
        (("--patient-id", "1", "--output", "o.dcm"), "--view"),
        (("--patient-id", "1", "--view", "frontal"), "--output or --send"),
        (("--patient-id", "1", "--view", "frontal", "--send", "nowhere"), "AE@HOST:PORT"),
    ],
)
def test_what_is_missing_is_named_by_its_option(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run("wrap-video", make_video(tmp_path / "walk.mp4"), *arguments)
    assert (done.exit_code, said in done.output) == (2, True), done.output


def test_sixty_seconds_of_full_hd_are_wrapped_in_under_two_seconds(tmp_path: Path) -> None:
    short = make_video(tmp_path / "short.mp4", size=(1920, 1080), rate=30, frames=60,
                       options=X264_HIGH_41 | {"b": "8M", "g": "30"})  # fmt: skip
    video = tmp_path / "walk.mp4"
    command = [find_program("ffmpeg"), "-v", "error", "-stream_loop", "29", "-i", str(short), "-c", "copy"]
    subprocess.run([*command, str(video)], check=True)
    took_s = []
    for number in range(3):  # a busy machine is given three tries
        output = tmp_path / f"{number}.dcm"
        began = time.monotonic()
        done = run("wrap-video", video, "--patient-id", "1", "--view", "frontal", "--output", output)
        took_s.append(time.monotonic() - began)
        assert done.exit_code == 0, done.output
        assert "whole file" in done.output
        assert dcmread(output, stop_before_pixels=True).NumberOfFrames == 1800
        if took_s[-1] < 2:
            break
    assert min(took_s) < 2


@pytest.mark.parametrize("syntax", [s for s in transfer_syntaxes() if s.startswith("1.2.840.10008.1.2.4.10")])
def test_the_node_receives_video_in_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    stream = tmp_path / "stream"
    stream.write_bytes(bytes(range(256)) * 100)
    path = video_object(tmp_path / "o.dcm", stream, syntax)
    with receiving(tmp_path / "data") as (port, stored):
        ae = AE("TEST")
        ae.add_requested_context(VIDEO_PHOTOGRAPHIC, syntax)
        association = ae.associate("127.0.0.1", port, ae_title="DICOMNODE")
        assert association.is_established
        assert association.send_c_store(dcmread(path)).Status == 0
        association.release()
    assert [instance.transfer_syntax_uid for instance in stored] == [syntax]
    assert run("unwrap-video", stored[0].path, "--output", tmp_path / "back").exit_code == 0
    assert (tmp_path / "back").read_bytes() == stream.read_bytes()


def test_video_transfer_syntaxes_of_all_codings_are_offered() -> None:
    numbers = {f"1.2.840.10008.1.2.4.{n}" for n in range(100, 109)}
    assert numbers <= set(transfer_syntaxes())
    assert {f"{uid}.1" for uid in numbers if int(uid[-3:]) <= 106} <= set(transfer_syntaxes())


def video_object(path: Path, stream: Path, syntax: str = "1.2.840.10008.1.2.4.102") -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = VIDEO_PHOTOGRAPHIC, f"{STUDY_UID}.1.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY_UID, f"{STUDY_UID}.1"
    dataset.PatientID = "1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    write_object(path, dataset, stream)
    return path


LARGE_BYTES = 600_000_000
MOST_MORE_MB = 60


def peak_of_this_process_mb() -> float:
    """Since it was started; the kernel's other measure begins with what its parent needed."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def peak_mb(action: str, *arguments: object) -> float:
    """How much more memory a process of its own needed for an action than before it."""
    code = (
        "import sys\n"
        f"from tests.integration.test_video_objects import {action}\n"
        f"print({action}(*sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


def receive_large(data_dir: str, path: str) -> float:
    """Peak of a node that receives an object from DCMTK."""
    with receiving(Path(data_dir)) as (port, stored):
        before = peak_of_this_process_mb()
        mpeg4 = ("-R", "-xn")
        command = ["/usr/bin/storescu", *mpeg4, "-aec", "DICOMNODE", "127.0.0.1", str(port), path]
        subprocess.run(command, check=True, timeout=250)
        assert stored[0].size_bytes > LARGE_BYTES
        return peak_of_this_process_mb() - before


def send_large(port: str, path: str) -> float:
    """Peak of a sender."""
    from dicom_node.receive.video.peer import Peer
    from dicom_node.receive.video.send import send_file

    before = peak_of_this_process_mb()
    send_file(Path(path), Peer("DICOMNODE", "127.0.0.1", int(port)), "TEST")
    return peak_of_this_process_mb() - before


@pytest.fixture
def large_object(tmp_path: Path) -> Path:
    stream = tmp_path / "stream"
    with stream.open("wb") as file:
        file.truncate(LARGE_BYTES)
    return video_object(tmp_path / "large.dcm", stream)


def test_a_large_video_is_received_without_holding_it_in_memory(tmp_path: Path, large_object: Path) -> None:
    assert peak_mb("receive_large", tmp_path / "data", large_object) < MOST_MORE_MB


def test_a_large_video_is_sent_without_holding_it_in_memory(tmp_path: Path, large_object: Path) -> None:
    with receiving(tmp_path / "data") as (port, stored):
        assert peak_mb("send_large", port, large_object) < MOST_MORE_MB
    assert stored[0].size_bytes > LARGE_BYTES


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path / "node", destinations="", routes="", settle_seconds=0.5) as process:
        yield process


def post(node: NodeProcess, video: Path, /, **fields: str) -> httpx.Response:
    with video.open("rb") as file:
        return httpx.post(f"{node.api}/videos", files={"video": file}, data=fields, timeout=240)


def test_an_uploaded_video_is_stored_as_an_object_and_shown_as_a_study(
    tmp_path: Path, node: NodeProcess
) -> None:
    video = make_video(tmp_path / "walk.mp4")
    answer = post(node, video, patient_id="GAIT-4711", view="sagittal", task="SARA gait")
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["frames"], said["way"]) == (30, "whole file")
    (path,) = (node.data_dir / "instances").rglob(f"{said['sop_instance_uid']}.dcm")
    assert run("unwrap-video", path, "--output", tmp_path / "back.mp4").exit_code == 0
    assert (tmp_path / "back.mp4").read_bytes() == video.read_bytes()
    assert dciodvfy_errors(path) == []

    def studies() -> list[str]:
        found = httpx.get(f"{node.api}/studies", timeout=60).json()
        return [study["study_instance_uid"] for study in found]

    # what is on the disk reaches the ledger a moment later
    node.wait(
        lambda: studies() == [said["study_instance_uid"]], 60, "one study", detail=lambda: str(studies())
    )
    assert list((node.data_dir / "uploads").iterdir()) == []
    assert "GAIT-4711" not in node.log_path.read_text()


def test_uploads_are_refused_for_the_reasons_of_wrap_video(tmp_path: Path, node: NodeProcess) -> None:
    video = make_video(tmp_path / "walk.mp4")
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(b"noise" * 1000)
    refused = {
        "patient_id": post(node, video, view="frontal"),
        "birth_date": post(node, video, view="frontal", patient_id="1", birth_date="19601301"),
        "view": post(node, video, patient_id="1"),
        "no video file": post(node, noise, patient_id="1", view="frontal"),
        "unknown fields": post(node, video, patient_id="1", view="frontal", patientid="2"),
        "no part named video": httpx.post(
            f"{node.api}/videos", files={"file": b"x"}, data={"patient_id": "1"}, timeout=60
        ),
    }
    for reason, answer in refused.items():
        assert answer.status_code == 422, (reason, answer.text)
        assert reason in answer.json()["detail"]
    receipts = httpx.get(f"{node.api}/receipts", timeout=60).json()
    assert len(receipts) == 5
    assert not list((node.data_dir / "instances").rglob("*.dcm"))
    assert list((node.data_dir / "uploads").iterdir()) == []


def test_requests_that_are_no_upload_are_answered_with_the_right_status(
    tmp_path: Path, node: NodeProcess
) -> None:
    url = f"{node.api}/videos"
    video = make_video(tmp_path / "walk.mp4").read_bytes()
    foreign = {"origin": "http://elsewhere.example"}
    data = {"patient_id": "1", "view": "frontal"}
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    assert httpx.post(url, content=b"{}", timeout=60).status_code == 400
    assert httpx.post(url, content=b"--x\r\nbroken", headers=boundary, timeout=60).status_code == 400
    assert httpx.post(url, files={"video": video}, data=data, headers=foreign, timeout=60).status_code == 403
    own = {"origin": f"http://127.0.0.1:{node.web_port}"}
    assert httpx.post(url, files={"video": video}, data=data, headers=own, timeout=60).status_code == 201
    connection = http.client.HTTPConnection("127.0.0.1", node.web_port, timeout=60)
    connection.putrequest("POST", "/api/v1/videos")
    for name, value in (boundary | {"content-length": str(3 * 1024**3)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    paths: dict[str, Any] = httpx.get(f"{node.api}/openapi.json", timeout=60).json()["paths"]
    assert list(paths["/api/v1/videos"]) == ["post"]


def test_two_uploads_at_once_are_both_stored(tmp_path: Path, node: NodeProcess) -> None:
    videos = [make_video(tmp_path / f"{index}.webm", codec="libvpx", frames=20) for index in range(2)]
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda v=v: answers.append(post(node, v, patient_id="1", view="frontal")))
        for v in videos
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({json.loads(answer.text)["sop_instance_uid"] for answer in answers}) == 2
