"""Delivery to real peers: Orthanc, DCMTK's storescp, SCPs and web servers that refuse, folders."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_node.deliver import (
    Destination,
    DicomDestination,
    FolderDestination,
    OrthancDestination,
    ResultPackage,
    StowDestination,
    deliver,
)
from dicom_node.deliver.folder import folder_names
from dicom_node.deliver.orthanc import attachment_number
from dicom_node.errors import AssociationRejected, PeerStatus, PeerUnreachable, StorageUnavailable
from tests.integration.orthanc import OrthancServer, find_program, free_port, start_orthanc
from tests.made_results import PDF, STUDY_UID, MadeResult, make_result, new_uid

LOGINS = {"node": "hunter2"}


class Ledger:
    """Remembers acknowledgements as the node's ledger does."""

    def __init__(self) -> None:
        self.delivered: dict[str, str] = {}

    def record(self, sop_instance_uid: str, note: str) -> None:
        assert sop_instance_uid not in self.delivered, "acknowledged twice"
        self.delivered[sop_instance_uid] = note


def attempt(
    destination: Destination,
    made: MadeResult,
    ledger: Ledger | None = None,
    *,
    has_been_tried: bool = False,
    calling: str = "DICOMNODE",
) -> Any:
    ledger = ledger or Ledger()
    return deliver(
        destination,
        ResultPackage.read(made.directory),
        has_been_tried=has_been_tried,
        on_delivered=ledger.record,
        already_delivered=set(ledger.delivered),
        calling_ae_title=calling,
    )


@pytest.fixture
def made(tmp_path: Path) -> MadeResult:
    return make_result(tmp_path / "made")


@pytest.fixture(scope="module")
def shared_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    server = start_orthanc(tmp_path_factory.mktemp("orthanc"))
    yield server
    server.stop()


@pytest.fixture
def orthanc(shared_orthanc: OrthancServer) -> OrthancServer:
    """The module's Orthanc, emptied."""
    for patient in shared_orthanc.get("/patients"):
        httpx.delete(f"{shared_orthanc.http_url}/patients/{patient}", trust_env=False).raise_for_status()
    return shared_orthanc


def uids(made: MadeResult) -> list[str]:
    return sorted(item.sop_instance_uid for item in ResultPackage.read(made.directory).objects)


def dicom_destination(server: OrthancServer) -> DicomDestination:
    return DicomDestination(
        name="pacs", ae_title=server.ae_title, host="127.0.0.1", port=server.dicom_port, timeout_s=60
    )


def kinds(server: OrthancServer) -> dict[str, Destination]:
    return {
        "dicom": dicom_destination(server),
        "stow": StowDestination(name="web", url=server.dicomweb_url, timeout_s=60),
        "orthanc": OrthancDestination(name="orthanc", url=server.http_url, timeout_s=60),
    }


# ------------------------------------------------------------------ every kind, into a real Orthanc


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_every_object_arrives_under_the_study_it_was_made_from(
    kind: str, orthanc: OrthancServer, made: MadeResult
) -> None:
    ledger = Ledger()
    report = attempt(kinds(orthanc)[kind], made, ledger)
    assert orthanc.sop_instance_uids() == uids(made) == sorted(ledger.delivered)
    assert not any(done.was_there for done in report.delivered)
    (study,) = orthanc.get("/studies?expand")
    assert study["MainDicomTags"]["StudyInstanceUID"] == STUDY_UID


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_what_arrives_is_what_was_made(kind: str, orthanc: OrthancServer, made: MadeResult) -> None:
    attempt(kinds(orthanc)[kind], made)
    for instance in orthanc.get("/instances"):
        stored = httpx.get(f"{orthanc.http_url}/instances/{instance}/file", trust_env=False).content
        path = made.directory.parent / "stored.dcm"
        path.write_bytes(stored)
        got = dcmread(path)
        sent = next(
            dataset
            for item in ResultPackage.read(made.directory).objects
            if (dataset := dcmread(item.path)).SOPInstanceUID == got.SOPInstanceUID
        )
        assert got == sent


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_a_deflated_segmentation_arrives(kind: str, orthanc: OrthancServer, tmp_path: Path) -> None:
    deflated = make_result(tmp_path / "deflated", deflated=True)
    attempt(kinds(orthanc)[kind], deflated)
    assert orthanc.sop_instance_uids() == uids(deflated)


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_delivering_twice_gives_one_object_and_is_noticed(
    kind: str, orthanc: OrthancServer, made: MadeResult
) -> None:
    attempt(kinds(orthanc)[kind], made)
    again = attempt(kinds(orthanc)[kind], made, has_been_tried=True)  # the ledger forgot everything
    assert orthanc.sop_instance_uids() == uids(made)
    assert [done.was_there for done in again.delivered] == [True] * 4
    assert {done.note for done in again.delivered} == {"already there when asked"}


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_an_attempt_that_broke_in_the_middle_goes_on_there(
    kind: str, orthanc: OrthancServer, made: MadeResult
) -> None:
    ledger = Ledger()

    def record_two(uid: str, note: str) -> None:
        if len(ledger.delivered) == 2:
            raise KeyboardInterrupt  # the node is killed before the third acknowledgement is durable
        ledger.record(uid, note)

    package = ResultPackage.read(made.directory)
    with pytest.raises(KeyboardInterrupt):
        deliver(kinds(orthanc)[kind], package, has_been_tried=False, on_delivered=record_two)
    assert len(ledger.delivered) == 2
    report = attempt(kinds(orthanc)[kind], made, ledger, has_been_tried=True)
    assert len(report.delivered) == 2
    assert sorted(ledger.delivered) == uids(made) == orthanc.sop_instance_uids()


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_an_unreachable_peer_is_named_with_what_to_check(kind: str, made: MadeResult) -> None:
    port = free_port()
    destinations: dict[str, Destination] = {
        "dicom": DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, timeout_s=5),
        "stow": StowDestination(name="pacs", url=f"http://127.0.0.1:{port}/dicom-web", timeout_s=5),
        "orthanc": OrthancDestination(name="pacs", url=f"http://127.0.0.1:{port}", timeout_s=5),
    }
    with pytest.raises(
        PeerUnreachable, match=rf"no connection to pacs \(.*{port}.*[Cc]onnection refused.*check"
    ):
        attempt(destinations[kind], made)


def test_logs_and_errors_hold_nothing_of_the_patient(
    orthanc: OrthancServer, made: MadeResult, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for destination in kinds(orthanc).values():
        attempt(destination, made)
    assert "PHANTOM" not in caplog.text
    assert "ACC-77" not in caplog.text
    assert any(getattr(record, "action", "") == "package_delivered" for record in caplog.records)


def test_results_that_vanished_from_the_disk_are_our_fault_and_not_the_peers(made: MadeResult) -> None:
    (made.directory / "report.dcm").unlink()
    with pytest.raises(StorageUnavailable, match=r"report\.dcm"):
        ResultPackage.read(made.directory)


# ------------------------------------------------------------------ C-STORE


def test_an_unknown_host_name_is_unreachable(made: MadeResult) -> None:
    nowhere = DicomDestination(
        name="pacs", ae_title="PACS", host="no-such-host.invalid", port=104, timeout_s=5
    )
    with pytest.raises(PeerUnreachable, match=r"PACS@no-such-host\.invalid:104"):
        attempt(nowhere, made)


def test_a_port_where_nobody_speaks_dicom_is_said_so(made: MadeResult) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        destination = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, timeout_s=1)
        with pytest.raises(AssociationRejected, match=r"did not answer.*check that a DICOM service listens"):
            attempt(destination, made)


def test_orthanc_that_does_not_know_the_calling_node_refuses_and_is_quoted(
    tmp_path: Path, made: MadeResult
) -> None:
    server = start_orthanc(tmp_path, DicomCheckCalledAet=True, DicomAet="REAL")
    try:
        wrong = dicom_destination(server).model_copy(update={"ae_title": "WRONG"})
        with pytest.raises(
            AssociationRejected, match=r"Called AE title not recognised.*AE title really is WRONG"
        ):
            attempt(wrong, made)
    finally:
        server.stop()


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[DicomDestination]:
    """DCMTK's storage SCP."""
    folder.mkdir()
    port = free_port()
    with subprocess.Popen(
        [find_program("storescp"), "--output-directory", str(folder), *options, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for_port(port)
            yield DicomDestination(
                name="dcmtk", ae_title="STORESCP", host="127.0.0.1", port=port, timeout_s=60
            )
        finally:
            process.terminate()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on {port}")


def test_storescp_gets_every_object_on_one_association(tmp_path: Path, made: MadeResult) -> None:
    with storescp(tmp_path / "got") as destination:
        attempt(destination, made)
    assert len(list((tmp_path / "got").iterdir())) == 4


@pytest.mark.parametrize("preference", ["--prefer-uncompr", "--implicit"])
def test_storescp_gets_the_transfer_syntax_that_it_takes(
    tmp_path: Path, made: MadeResult, preference: str
) -> None:
    with storescp(tmp_path / "got", preference) as destination:
        attempt(destination, made)
    syntaxes = {dcmread(path).file_meta.TransferSyntaxUID for path in (tmp_path / "got").iterdir()}
    assert syntaxes == {ImplicitVRLittleEndian if preference == "--implicit" else ExplicitVRLittleEndian}


def test_a_deflated_object_is_inflated_for_a_peer_that_does_not_take_it(tmp_path: Path) -> None:
    deflated = make_result(tmp_path / "deflated", deflated=True)
    with storescp(tmp_path / "got", "--prefer-uncompr") as destination:
        attempt(destination, deflated)
    stored = [dcmread(path) for path in (tmp_path / "got").iterdir()]
    (segmentation,) = [dataset for dataset in stored if dataset.SOPClassUID == SegmentationStorage]
    assert segmentation.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert segmentation == dcmread(deflated.directory / "segmentation.dcm")


def test_storescp_that_rejects_every_association_is_quoted(tmp_path: Path, made: MadeResult) -> None:
    with (
        storescp(tmp_path / "got", "--refuse") as destination,
        pytest.raises(AssociationRejected, match=r"PS3\.8"),
    ):
        attempt(destination, made)


def test_a_rejection_is_quoted_however_fast_the_peer_hangs_up(made: MadeResult) -> None:
    """Without the listener about one in twenty of these is reported as an abort on a busy machine."""
    rejection = bytes.fromhex("03 00 00000004 00 02 02 02")  # transient, by the provider (ACSE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)

        def reject() -> None:
            for _ in range(20):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(rejection)

        peer = threading.Thread(target=reject, daemon=True)
        peer.start()
        destination = DicomDestination(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=server.getsockname()[1], timeout_s=60
        )
        for _ in range(20):
            with pytest.raises(AssociationRejected, match=r"(?i)protocol version.*transient.*PS3\.8"):
                attempt(destination, made)
        peer.join()


def test_storescp_that_aborts_during_the_store_is_tried_again_and_not_lost(
    tmp_path: Path, made: MadeResult
) -> None:
    ledger = Ledger()
    with (
        storescp(tmp_path / "got", "--abort-during") as destination,
        pytest.raises(PeerUnreachable, match=r"before it answered for segmentation\.dcm"),
    ):
        attempt(destination, made, ledger)
    assert ledger.delivered == {}


class Scp:
    """A small SCP that answers as told, by SOP class, and counts what it stored."""

    def __init__(self, **behaviour: Any) -> None:
        self.status: Callable[[Dataset], int | Dataset] = behaviour.get("status", lambda _: 0x0000)
        self.stored: list[str] = []
        self.queries = 0
        entity = AE(ae_title="SCP")
        entity.require_calling_aet = behaviour.get("calling", [])
        refused = behaviour.get("without", ())
        entity.supported_contexts = [
            context for context in AllStoragePresentationContexts if context.abstract_syntax not in refused
        ]
        entity.add_supported_context(SegmentationStorage) if SegmentationStorage not in refused else None
        if behaviour.get("answers_queries"):
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        self.port = free_port()
        self._server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)],
        )

    def __enter__(self) -> Scp:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @property
    def destination(self) -> DicomDestination:
        return DicomDestination(name="pacs", ae_title="SCP", host="127.0.0.1", port=self.port, timeout_s=60)

    def _store(self, event: evt.Event) -> int | Dataset:
        answer = self.status(event.dataset)
        code = answer if isinstance(answer, int) else int(answer.Status)
        if code == 0x0000 or 0xB000 <= code <= 0xBFFF:
            self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return answer

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.queries += 1
        wanted = str(event.identifier.SOPInstanceUID)
        if wanted in self.stored:
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = wanted
            yield 0xFF00, found


def segmentation_only(code: int) -> Callable[[Dataset], int]:
    return lambda dataset: code if dataset.SOPClassUID == SegmentationStorage else 0x0000


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (0xA700, r"0xA700 Refused: Out of Resources \(PS3.4 B.2.3\); check the archive's free disk"),
        (0xA7FE, r"0xA7FE Refused: Out of Resources"),
        (0xA900, r"0xA900 Error: Data Set does not match SOP Class \(PS3.4 B.2.3\)"),
        (0xC123, r"0xC123 Error: Cannot understand"),
        (0x0122, r"0x0122 Refused: SOP Class Not Supported \(PS3.7 Annex C\); check that this SOP class"),
        (0x0124, r"0x0124 Refused: Not Authorized \(PS3.7 Annex C\)"),
        (0x0110, r"0x0110 Processing Failure"),
        (0x0300, r"0x0300, which the standard does not define"),
    ],
)
def test_a_refusal_is_shown_with_its_meaning_and_the_rest_is_delivered(
    code: int, meaning: str, made: MadeResult
) -> None:
    ledger = Ledger()
    with Scp(status=segmentation_only(code)) as peer:
        with pytest.raises(PeerStatus, match=rf"refused 1 of 4 objects: segmentation\.dcm: {meaning}"):
            attempt(peer.destination, made, ledger)
        assert sorted(peer.stored) == sorted(ledger.delivered)
        assert len(ledger.delivered) == 3


def test_a_reason_for_every_object_is_said_once(made: MadeResult) -> None:
    said = r"refused 4 of 4 objects: 0x0124 Refused: Not Authorized \(PS3.7 Annex C\); check that [^;]+$"
    with Scp(status=lambda _: 0x0124) as peer, pytest.raises(PeerStatus, match=said) as told:
        attempt(peer.destination, made, Ledger())
    assert ".dcm" not in str(told.value)


@pytest.mark.parametrize(
    ("code", "note"), [(0xB000, "Coercion"), (0xB006, "Elements Discarded"), (0xB007, "does not match")]
)
def test_a_warning_is_delivered_with_a_note(code: int, note: str, made: MadeResult) -> None:
    ledger = Ledger()
    with Scp(status=segmentation_only(code)) as peer:
        attempt(peer.destination, made, ledger)
    assert [text for text in ledger.delivered.values() if text] == [
        text for text in ledger.delivered.values() if note in text
    ]
    assert len([text for text in ledger.delivered.values() if text]) == 1


def test_a_duplicate_counts_as_delivered(made: MadeResult) -> None:
    with Scp(status=lambda _: 0x0111) as peer:
        report = attempt(peer.destination, made)
    assert all(done.was_there and "0x0111" in done.note for done in report.delivered)


def test_the_peers_comment_is_quoted_unless_it_names_the_patient(made: MadeResult) -> None:
    def answer(comment: str) -> Callable[[Dataset], Dataset]:
        status = Dataset()
        status.Status = 0xC001
        status.ErrorComment = comment
        return lambda _: status

    with Scp(status=answer("licence expired")) as peer, pytest.raises(PeerStatus, match="licence expired"):
        attempt(peer.destination, made)
    with Scp(status=answer("no order for PHANTOM-0001")) as peer, pytest.raises(PeerStatus) as caught:
        attempt(peer.destination, made)
    assert "PHANTOM" not in str(caught.value)


def test_a_sop_class_that_the_peer_does_not_negotiate_is_named(made: MadeResult) -> None:
    ledger = Ledger()
    with Scp(without=(SegmentationStorage,)) as peer:
        with pytest.raises(
            PeerStatus, match=r"does not take Segmentation Storage .*check that this SOP class"
        ):
            attempt(peer.destination, made, ledger)
        assert len(peer.stored) == len(ledger.delivered) == 3


def test_a_peer_that_takes_nothing_is_named_with_what_it_does_not_take(made: MadeResult) -> None:
    package = ResultPackage.read(made.directory)
    with (
        Scp(without={item.sop_class_uid for item in package.objects}) as peer,
        pytest.raises(PeerStatus, match=r"takes none of Comprehensive 3D SR Storage, .*Segmentation Storage"),
    ):
        attempt(peer.destination, made)


def test_an_unknown_calling_node_is_told_which_name_to_register(made: MadeResult) -> None:
    with (
        Scp(calling=["SOMEBODY"]) as peer,
        pytest.raises(
            AssociationRejected, match=r"Calling AE title not recognised.*this node's AE title NEWNODE"
        ),
    ):
        attempt(peer.destination, made, calling="NEWNODE")


def test_a_peer_is_asked_only_after_an_attempt_of_unknown_outcome(made: MadeResult) -> None:
    with Scp(answers_queries=True) as peer:
        attempt(peer.destination, made)
        assert peer.queries == 0
        attempt(peer.destination, made, has_been_tried=True)
        assert peer.queries == 4
        assert sorted(peer.stored) == uids(made)  # each once


def test_a_peer_that_cannot_be_asked_gets_it_again_under_the_same_uid(made: MadeResult) -> None:
    with Scp() as peer:
        attempt(peer.destination, made)
        attempt(peer.destination, made, has_been_tried=True)
        assert set(peer.stored) == set(uids(made))


# ------------------------------------------------------------------ STOW-RS


def test_orthanc_that_stores_a_part_is_believed_per_instance(
    orthanc: OrthancServer, made: MadeResult
) -> None:
    """The request names a study; Orthanc refuses what is not of it with FailedSOPSequence."""
    made.edit("key_image.dcm", lambda dataset: setattr(dataset, "StudyInstanceUID", new_uid()))
    ledger = Ledger()
    with pytest.raises(
        PeerStatus, match=r"refused 1 of 4 objects: key_image\.dcm: 0x0110 Processing Failure"
    ):
        attempt(kinds(orthanc)["stow"], made, ledger)
    assert orthanc.sop_instance_uids() == sorted(ledger.delivered)
    assert len(ledger.delivered) == 3


@contextmanager
def web_server(answers: Callable[[str, str], tuple[int, bytes]]) -> Iterator[StowDestination]:
    """A STOW-RS server that answers as told: method and path to status and body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answers(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = _answer  # noqa: N815
        do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield StowDestination(name="web", url=f"http://127.0.0.1:{server.server_port}", timeout_s=60)
        finally:
            server.shutdown()
            thread.join()


def store_response(made: MadeResult, failed: dict[str, int], warned: dict[str, int]) -> bytes:
    """PS3.18 Annex I: everything that has not failed is stored."""
    answer = Dataset()
    answer.ReferencedSOPSequence, answer.FailedSOPSequence = [], []
    for item in ResultPackage.read(made.directory).objects:
        entry = Dataset()
        entry.ReferencedSOPClassUID = item.sop_class_uid
        entry.ReferencedSOPInstanceUID = item.sop_instance_uid
        if item.role in failed:
            entry.FailureReason = failed[item.role]
            answer.FailedSOPSequence.append(entry)
        else:
            if item.role in warned:
                entry.WarningReason = warned[item.role]
            answer.ReferencedSOPSequence.append(entry)
    return answer.to_json().encode()


@pytest.mark.parametrize("status", [200, 202, 400, 409])
def test_failed_instances_are_read_under_every_http_status(status: int, made: MadeResult) -> None:
    body = store_response(made, {"segmentation": 0x0122}, {"report": 0xB000})
    ledger = Ledger()
    with (
        web_server(lambda *_: (status, body)) as destination,
        pytest.raises(PeerStatus, match=r"segmentation\.dcm: 0x0122 Refused: SOP Class Not Supported"),
    ):
        attempt(destination, made, ledger)
    assert len(ledger.delivered) == 3
    assert [note for note in ledger.delivered.values() if note] == [
        "0xB000 Warning: Coercion of Data Elements (PS3.4 B.2.3)"
    ]


def test_an_instance_that_the_answer_does_not_name_is_asked_for(made: MadeResult) -> None:
    package = ResultPackage.read(made.directory)
    there = package.objects[0].sop_instance_uid

    def answers(method: str, path: str) -> tuple[int, bytes]:
        if method == "POST":
            return 202, b"{}"
        return (
            (200, json.dumps([{"00080018": {"vr": "UI", "Value": [there]}}]).encode())
            if there in path
            else (204, b"")
        )

    ledger = Ledger()
    with (
        web_server(answers) as destination,
        pytest.raises(
            PeerStatus, match=r"refused 3 of 4 objects.*HTTP 202 Accepted.*does not name this object"
        ) as told,
    ):
        attempt(destination, made, ledger)
    assert str(told.value).count("does not name this object") == 1, "the reason is said once for the three"
    assert str(told.value).count(".dcm") == 3
    assert ledger.delivered == {there: "found by QIDO-RS after HTTP 202"}


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "check username and password"), (403, "may store"), (404, "path in .* url")]
)
def test_a_refused_request_says_what_to_check(status: int, advice: str, made: MadeResult) -> None:
    with (
        web_server(lambda *_: (status, b"")) as destination,
        pytest.raises(PeerStatus, match=f"HTTP {status} .*{advice}"),
    ):
        attempt(destination, made)


@pytest.mark.parametrize("kind", ["stow", "orthanc"])
def test_credentials_open_an_orthanc_that_asks_for_them(tmp_path: Path, made: MadeResult, kind: str) -> None:
    server = start_orthanc(
        tmp_path, AuthenticationEnabled=True, RemoteAccessAllowed=True, RegisteredUsers=LOGINS
    )
    try:
        closed = kinds(server)[kind]
        with pytest.raises(PeerStatus, match="HTTP 401 Unauthorized; check username and password"):
            attempt(closed, made)
        keys = closed.model_dump() | {"username": "node", "password": LOGINS["node"]}
        assert len(attempt(type(closed)(**keys), made).delivered) == 4
    finally:
        server.stop()


def test_an_orthanc_that_restarts_gets_everything_once(tmp_path: Path, made: MadeResult) -> None:
    """Unreachable first; then the same attempt again."""
    server = start_orthanc(tmp_path)
    destination = kinds(server)["dicom"]
    server.stop()
    with pytest.raises(PeerUnreachable):
        attempt(destination, made)
    again = start_orthanc(tmp_path, DicomPort=server.dicom_port)
    try:
        attempt(destination, made, has_been_tried=True)
        assert again.sop_instance_uids() == uids(made)
    finally:
        again.stop()


# ------------------------------------------------------------------ Orthanc's REST interface


def attachments(server: OrthancServer) -> list[str]:
    (study,) = server.get("/studies")
    found: list[str] = server.get(f"/studies/{study}/attachments")
    return found


def attached(server: OrthancServer, number: str) -> bytes:
    (study,) = server.get("/studies")
    return (
        httpx.get(f"{server.http_url}/studies/{study}/attachments/{number}/data", trust_env=False)
        .raise_for_status()
        .content
    )


def test_the_pdf_is_attached_exactly_once_however_often_it_is_delivered(
    orthanc: OrthancServer, made: MadeResult
) -> None:
    for has_been_tried in (False, True, True):
        report = attempt(kinds(orthanc)["orthanc"], made, has_been_tried=has_been_tried)
    (number,) = attachments(orthanc)
    assert int(number) >= 1024
    assert attached(orthanc, number) == PDF
    assert report.notes == (f"PDF report is attachment {number}",)


def test_the_pdf_is_attached_even_when_every_object_was_acknowledged_before(
    orthanc: OrthancServer, made: MadeResult
) -> None:
    ledger = Ledger()
    attempt(kinds(orthanc)["dicom"], made, ledger)
    attempt(kinds(orthanc)["orthanc"], made, ledger, has_been_tried=True)
    assert len(attachments(orthanc)) == 1


def test_an_attachment_of_somebody_else_is_never_overwritten(
    orthanc: OrthancServer, made: MadeResult
) -> None:
    attempt(kinds(orthanc)["dicom"], made)
    (study,) = orthanc.get("/studies")
    number = attachment_number(PDF)
    httpx.put(
        f"{orthanc.http_url}/studies/{study}/attachments/{number}", content=b"theirs", trust_env=False
    ).raise_for_status()
    attempt(kinds(orthanc)["orthanc"], made, has_been_tried=True)
    assert attached(orthanc, str(number)) == b"theirs"
    assert attached(orthanc, str(number + 1)) == PDF
    assert len(attachments(orthanc)) == 2


def test_reports_of_two_analyses_are_both_attached(orthanc: OrthancServer, made: MadeResult) -> None:
    attempt(kinds(orthanc)["orthanc"], made)
    (made.directory / "report.pdf").write_bytes(PDF + b"% second\n")
    attempt(kinds(orthanc)["orthanc"], made, has_been_tried=True)
    assert {hashlib.sha256(attached(orthanc, n)).hexdigest() for n in attachments(orthanc)} == {
        hashlib.sha256(pdf).hexdigest() for pdf in (PDF, PDF + b"% second\n")
    }


def test_an_object_that_orthanc_cannot_read_is_refused_in_its_words(
    orthanc: OrthancServer, made: MadeResult
) -> None:
    package = ResultPackage.read(made.directory)
    (made.directory / "report.dcm").write_bytes(b"not DICOM")
    ledger = Ledger()
    with pytest.raises(PeerStatus, match=r'report\.dcm: HTTP 400 .*"Bad file format"'):
        deliver(kinds(orthanc)["orthanc"], package, has_been_tried=False, on_delivered=ledger.record)
    assert len(ledger.delivered) == 3


# ------------------------------------------------------------------ folder


def folder(path: Path) -> FolderDestination:
    return FolderDestination(name="share", path=path)


def names(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


FILES = [
    "key_image.dcm",
    "preview_1.png",
    "report.dcm",
    "report.pdf",
    "report_pdf.dcm",
    "result.json",
    "segmentation.dcm",
]


def test_a_folder_gets_objects_pdf_pictures_and_manifest(tmp_path: Path, made: MadeResult) -> None:
    ledger = Ledger()
    attempt(folder(tmp_path / "out"), made, ledger)
    assert names(tmp_path / "out") == [f"{STUDY_UID}/test_app/{name}" for name in FILES]
    assert sorted(ledger.delivered) == uids(made)
    for name in FILES:
        delivered = tmp_path / "out" / STUDY_UID / "test_app" / name
        assert delivered.read_bytes() == (made.directory / name).read_bytes()


def test_a_folder_delivered_twice_is_the_same_folder(tmp_path: Path, made: MadeResult) -> None:
    attempt(folder(tmp_path / "out"), made)
    again = attempt(folder(tmp_path / "out"), made, has_been_tried=True)
    assert names(tmp_path / "out") == [f"{STUDY_UID}/test_app/{name}" for name in FILES]
    assert all(done.was_there for done in again.delivered)


def test_a_file_that_was_taken_away_is_put_back(tmp_path: Path, made: MadeResult) -> None:
    attempt(folder(tmp_path / "out"), made)
    (tmp_path / "out" / STUDY_UID / "test_app" / "report.dcm").unlink()
    again = attempt(folder(tmp_path / "out"), made, has_been_tried=True)
    assert [done.was_there for done in again.delivered].count(False) == 1
    assert names(tmp_path / "out") == [f"{STUDY_UID}/test_app/{name}" for name in FILES]


def test_a_different_file_in_the_folder_is_never_overwritten(tmp_path: Path, made: MadeResult) -> None:
    attempt(folder(tmp_path / "out"), made)
    changed = tmp_path / "out" / STUDY_UID / "test_app" / "report.dcm"
    changed.write_bytes(b"edited by hand")
    with pytest.raises(PeerStatus, match=r"report\.dcm: the folder holds another file of that name"):
        attempt(folder(tmp_path / "out"), made, has_been_tried=True)
    assert changed.read_bytes() == b"edited by hand"


def test_a_later_analysis_of_the_study_lies_beside_the_first(tmp_path: Path, made: MadeResult) -> None:
    attempt(folder(tmp_path / "out"), made)
    made.edit_manifest(lambda manifest: manifest.update(input_digest="sha256:cc"))
    for has_been_tried in (False, True):
        attempt(folder(tmp_path / "out"), made, has_been_tried=has_been_tried)
    first, second = sorted((tmp_path / "out" / STUDY_UID).iterdir())
    assert first.name == "test_app"
    assert second.name.startswith("test_app_")
    assert names(first) == names(second) == FILES


def test_what_a_killed_delivery_left_behind_is_cleared_away(tmp_path: Path, made: MadeResult) -> None:
    attempt(folder(tmp_path / "probe"), made)
    package = ResultPackage.read(made.directory)
    leftover = tmp_path / "out" / STUDY_UID / f".{folder_names(package)[1]}.partial"
    leftover.mkdir(parents=True)
    (leftover / "report.dcm").write_bytes(b"half")
    attempt(folder(tmp_path / "out"), made)
    assert names(tmp_path / "out") == [f"{STUDY_UID}/test_app/{name}" for name in FILES]


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path, made: MadeResult) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PeerUnreachable, match=r"share \(.*\) cannot be written: Not a directory; check"):
        attempt(folder(tmp_path / "file" / "out"), made)
