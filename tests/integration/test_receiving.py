"""Receiving with real peers: DCMTK, raw sockets, a full disk, kill -9, a folder."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from dicom_node.errors import Misconfigured, StorageUnavailable
from dicom_node.receive.inbox import REJECTED, Inbox
from dicom_node.receive.refusal import RefusalSource, RefusedReceipt
from dicom_node.receive.scp import Receiver
from dicom_node.receive.sop_classes import storage_sop_classes, transfer_syntaxes
from dicom_node.rejection import RejectionListener
from dicom_node.store.instances import InstanceStore, StoredInstance
from dicom_node.store.part10 import HEADER_BYTES
from tests.integration.orthanc import free_port
from tests.integration.relay import relay_to

STORESCU, ECHOSCU = "/usr/bin/storescu", "/usr/bin/echoscu"
NODE = "DICOMNODE"
# what pydicom says about malformed files, here as a reader of tests and inside the node
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    # watchdog, when a folder appears while its parent is being listed; it watches it once all the same
    pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning"),
]


@dataclass
class Heard:
    """What the receive stage has said."""

    stored: list[StoredInstance] = field(default_factory=list)
    refused: list[RefusedReceipt] = field(default_factory=list)


@contextmanager
def receiving(data_dir: Path, **settings: object) -> Iterator[tuple[Receiver, Heard]]:
    heard = Heard()
    arguments = {"on_stored": heard.stored.append, "on_refused": heard.refused.append} | settings
    receiver = Receiver(NODE, "127.0.0.1", 0, InstanceStore(data_dir), **arguments)
    receiver.start()
    try:
        yield receiver, heard
    finally:
        receiver.stop()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Receiver, Heard]]:
    with receiving(tmp_path / "data") as pair:
        yield pair


def storescu(port: int, *arguments: str | Path, called: str = NODE) -> subprocess.CompletedProcess[str]:
    command = [
        STORESCU,
        "-v",
        "-aec",
        called,
        *map(str, arguments[:-1]),
        "127.0.0.1",
        str(port),
        str(arguments[-1]),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def echo_works(port: int) -> bool:
    command = [ECHOSCU, "-aec", NODE, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def ct_slice(**attributes: object) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID, data_set.StudyInstanceUID, data_set.SeriesInstanceUID = (
        generate_uid() for _ in range(3)
    )
    data_set.PatientName, data_set.PatientID, data_set.Modality = "SECRET^NAME", "SECRETID", "CT"
    data_set.Rows = data_set.Columns = 64
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.PixelRepresentation, data_set.SamplesPerPixel = 15, 0, 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.PixelData = np.arange(64 * 64, dtype=np.uint16).tobytes()
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return data_set


def save(data_set: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data_set.save_as(path, enforce_file_format=True)
    return path


def data_set_bytes(path: Path) -> bytes:
    """The encoded data set of a Part 10 file."""
    with path.open("rb") as file:
        pydicom.filereader.read_preamble(file, force=True)
        pydicom.filereader._read_file_meta_info(file)
        return file.read()


@contextmanager
def association(
    port: int, *contexts: tuple[str, str], title: str = "TEST", listener: RejectionListener | None = None
) -> Iterator[Association]:
    ae = AE(title)
    for sop_class, syntax in contexts or ((CTImageStorage, ExplicitVRLittleEndian),):
        ae.add_requested_context(sop_class, syntax)
    handlers = listener.handlers if listener else []
    assoc = ae.associate("127.0.0.1", port, ae_title=NODE, evt_handlers=handlers)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def send_raw(
    assoc: Association, data: bytes | None, sop_class: str, sop_instance: str, context_id: int = 1
) -> C_STORE:
    """Send bytes as a data set, whatever they are; the response."""
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, sop_instance
    request.Priority = 2
    request.DataSet = None if data is None else io.BytesIO(data)
    assoc._reactor_checkpoint.clear()
    while not assoc._is_paused:
        time.sleep(0.001)
    assoc.dimse.send_msg(request, context_id)
    _, response = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    assert isinstance(response, C_STORE), "no response"
    return response


def encode(data_set: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data_set, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def test_dcmtk_sends_and_finds_the_bytes_unchanged_on_disk(
    running: tuple[Receiver, Heard], tmp_path: Path
) -> None:
    receiver, heard = running
    source = save(ct_slice(), tmp_path / "a.dcm")
    sent = storescu(receiver.port, source)
    assert sent.returncode == 0, sent.stderr
    assert "Success" in sent.stderr
    (stored,) = heard.stored
    assert stored.path.read_bytes()[HEADER_BYTES:] == data_set_bytes(source)
    assert stored.digest == hashlib.sha256(data_set_bytes(source)).hexdigest()
    assert stored.calling_ae_title == "STORESCU"
    assert echo_works(receiver.port)


def test_fsync_precedes_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(fd: int) -> None:
        real_fsync(fd)
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")  # noqa: PTH112

    def link(source: Path, target: Path) -> None:
        real_link(source, target)
        order.append("link")

    with receiving(tmp_path / "data", on_stored=lambda _: order.append("ledger")) as (receiver, _):
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "link", link)
        assert storescu(receiver.port, save(ct_slice(), tmp_path / "a.dcm")).returncode == 0
    assert order[-4:] == ["file", "link", "folder", "ledger"]


def test_duplicate_is_harmless_and_other_content_is_kept_apart(
    running: tuple[Receiver, Heard], tmp_path: Path
) -> None:
    receiver, heard = running
    original = ct_slice()
    first = save(original, tmp_path / "a.dcm")
    original.PixelData = bytes(len(original.PixelData))
    second = save(original, tmp_path / "b.dcm")
    for path in (first, first, second):
        assert storescu(receiver.port, path).returncode == 0
    assert [(s.already_had, s.conflict) for s in heard.stored] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert heard.stored[0].path.read_bytes()[HEADER_BYTES:] == data_set_bytes(first)
    assert heard.stored[2].path.read_bytes()[HEADER_BYTES:] == data_set_bytes(second)


def test_full_disk_answers_a700_and_the_node_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        with receiving(disk) as (receiver, heard), association(receiver.port) as assoc:
            for size in (900_000, 5_000_000):  # held in memory, and written while it arrives
                big = ct_slice(PixelData=bytes(size))
                fitting, too_big = ct_slice(PixelData=bytes(300_000)), big
                assert assoc.send_c_store(fitting).Status == 0x0000
                answer = assoc.send_c_store(too_big)
                assert answer.Status == 0xA700
                assert "No space left" in answer.ErrorComment
                heard.stored[-1].path.unlink()
            assert assoc.send_c_store(ct_slice()).Status == 0x0000
            assert [receipt.status for receipt in heard.refused] == ["0xA700", "0xA700"]
            assert list((disk / "instances" / ".incoming").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_ledger_that_cannot_be_written_keeps_success_from_being_said(tmp_path: Path) -> None:
    def unavailable(_: StoredInstance) -> None:
        raise StorageUnavailable("the ledger cannot be written")

    with (
        receiving(tmp_path / "data", on_stored=unavailable) as (receiver, heard),
        association(receiver.port) as assoc,
    ):
        assert assoc.send_c_store(ct_slice()).Status == 0xA700
        assert heard.refused[0].reason == "the ledger cannot be written"


def test_contradicting_data_set_answers_a900(running: tuple[Receiver, Heard]) -> None:
    receiver, heard = running
    data = encode(ct_slice(SOPInstanceUID="1.2.3"))
    mr = "1.2.840.10008.5.1.4.1.1.4"
    with association(
        receiver.port, (CTImageStorage, ExplicitVRLittleEndian), (mr, ExplicitVRLittleEndian)
    ) as assoc:
        other_instance = send_raw(assoc, data, CTImageStorage, "1.2.4")
        other_class = send_raw(assoc, data, mr, "1.2.3", context_id=3)
        other_context = send_raw(assoc, data, CTImageStorage, "1.2.3", context_id=3)
        assert [r.Status for r in (other_instance, other_class, other_context)] == [0xA900] * 3
        assert other_instance.ErrorComment == "SOPInstanceUID (0008,0018) of data set and command differ"
        assert send_raw(assoc, data, CTImageStorage, "1.2.3").Status == 0x0000
    assert [r.attribute for r in heard.refused] == ["SOPInstanceUID", "SOPClassUID", "AffectedSOPClassUID"]


def test_data_set_without_a_study_answers_c000_and_names_the_attribute(
    running: tuple[Receiver, Heard],
) -> None:
    receiver, heard = running
    with association(receiver.port) as assoc:
        answer = send_raw(
            assoc, encode(ct_slice(StudyInstanceUID="", SOPInstanceUID="1.2")), CTImageStorage, "1.2"
        )
        assert answer.Status == 0xC000
        assert answer.ErrorComment == "StudyInstanceUID (0020,000D) is missing or empty"
        assert send_raw(assoc, b"garbage", CTImageStorage, "1.2").Status == 0xC000
        assert send_raw(assoc, None, CTImageStorage, "1.2").Status == 0xC000
    assert [receipt.status for receipt in heard.refused] == ["0xC000"] * 3
    assert heard.refused[0].sop_instance_uid == "1.2"


def test_uid_that_is_a_path_stays_in_the_data_folder(running: tuple[Receiver, Heard], tmp_path: Path) -> None:
    receiver, heard = running
    evil = "../../../../evil"
    with association(receiver.port) as assoc, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
        data_set = ct_slice(SOPInstanceUID=evil, StudyInstanceUID=evil, SeriesInstanceUID="/etc/evil")
        assert send_raw(assoc, encode(data_set), CTImageStorage, evil).Status == 0x0000
    root = tmp_path / "data" / "instances"
    assert heard.stored[0].path.resolve().is_relative_to(root)
    assert [path for path in tmp_path.rglob("*evil*")] == []


@pytest.mark.parametrize(
    ("peers", "calling", "called", "accepted"),
    [
        ([], "ANYONE", NODE, True),
        ([("PACS", "127.0.0.1")], "PACS", NODE, True),
        ([("PACS", "localhost")], "PACS", NODE, True),
        ([("PACS", "127.0.0.1")], "OTHER", NODE, False),
        ([("PACS", "10.1.2.3")], "PACS", NODE, False),
        ([("PACS", "no-such-host.invalid")], "PACS", NODE, False),
        ([], "ANYONE", "SOMEONE_ELSE", False),
    ],
)
def test_only_known_peers_that_mean_this_node_are_served(
    tmp_path: Path, peers: list[tuple[str, str]], calling: str, called: str, accepted: bool
) -> None:
    with receiving(tmp_path / "data", peers=peers) as (receiver, heard):
        sent = storescu(receiver.port, "-aet", calling, save(ct_slice(), tmp_path / "a.dcm"), called=called)
        assert (sent.returncode == 0) is accepted, sent.stderr
        assert len(heard.stored) == int(accepted)
        wait_for(lambda: len(heard.refused) == int(not accepted))  # the caller is told first
        assert [r.source for r in heard.refused] == ([] if accepted else [RefusalSource.ASSOCIATION])
        assert accepted or "Rejected Permanent" in sent.stderr


def test_without_listed_peers_other_machines_are_rejected(tmp_path: Path) -> None:
    own = next((a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)), "127.0.0.1")
    is_made = own.startswith("127.")
    if is_made:  # by chance, as another run of the tests on this machine makes its own
        own = f"10.255.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        subprocess.run(["ip", "addr", "replace", f"{own}/32", "dev", "lo"], check=True)
    heard = Heard()
    receiver = Receiver(NODE, own, 0, InstanceStore(tmp_path), heard.stored.append, heard.refused.append)
    receiver.start()
    try:
        command = [ECHOSCU, "-aec", NODE, own, str(receiver.port)]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
        wait_for(lambda: len(heard.refused) == 1)  # the caller is told first
        assert heard.refused[0].reason == "the caller is not a known peer"
    finally:
        receiver.stop()
        if is_made:
            subprocess.run(["ip", "addr", "del", f"{own}/32", "dev", "lo"], check=True)


@pytest.mark.parametrize("name", ["NM1_RLE", "RG2_J2KI", "RG2_JPLY", "RG3_J2KI", "RG3_JPLY"])
def test_compressed_instances_are_stored_as_they_come(
    running: tuple[Receiver, Heard], shared_data: Path, name: str
) -> None:
    receiver, heard = running
    source = shared_data / "real_cr_nm" / name
    meta = pydicom.dcmread(source, stop_before_pixels=True)
    with association(receiver.port, (meta.SOPClassUID, meta.file_meta.TransferSyntaxUID)) as assoc:
        assert send_raw(assoc, data_set_bytes(source), meta.SOPClassUID, meta.SOPInstanceUID).Status == 0x0000
    (stored,) = heard.stored
    assert stored.transfer_syntax_uid == meta.file_meta.TransferSyntaxUID
    assert stored.path.read_bytes()[HEADER_BYTES:] == data_set_bytes(source)
    assert pydicom.dcmread(stored.path).file_meta.TransferSyntaxUID == meta.file_meta.TransferSyntaxUID


def test_every_storage_class_and_transfer_syntax_is_accepted(running: tuple[Receiver, Heard]) -> None:
    receiver, _ = running
    classes, syntaxes = storage_sop_classes(), transfer_syntaxes()
    assert len(classes) > 200
    offers = [(sop_class, syntaxes[n % len(syntaxes)]) for n, sop_class in enumerate(classes)]
    for start in range(0, len(offers), 128):
        with association(receiver.port, *offers[start : start + 128]) as assoc:
            assert len(assoc.accepted_contexts) == len(offers[start : start + 128])
            assert not assoc.rejected_contexts
    for syntax in syntaxes:
        with association(receiver.port, (CTImageStorage, syntax)) as assoc:
            assert assoc.accepted_contexts[0].transfer_syntax == [syntax]


def test_label_map_segmentation_is_received(running: tuple[Receiver, Heard]) -> None:
    receiver, heard = running
    label_map = "1.2.840.10008.5.1.4.1.1.66.7"
    data_set = ct_slice(SOPClassUID=label_map)
    with association(receiver.port, (label_map, ExplicitVRLittleEndian)) as assoc:
        assert send_raw(assoc, encode(data_set), label_map, data_set.SOPInstanceUID).Status == 0x0000
    assert heard.stored[0].sop_class_uid == label_map


def test_large_instance_is_received_without_holding_it_in_memory(tmp_path: Path) -> None:
    size = 400_000_000
    script = """
import sys, time, resource
from pathlib import Path
from dicom_node.receive.scp import Receiver
from dicom_node.store.instances import InstanceStore
def stored(instance):
    print(instance.size_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
receiver = Receiver("DICOMNODE", "127.0.0.1", 0, InstanceStore(Path(sys.argv[1])), stored, print)
receiver.start()
print(receiver.port, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
time.sleep(600)
"""
    source = tmp_path / "big.dcm"
    save(ct_slice(PixelData=bytes(size)), source)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port, before_kb = map(int, process.stdout.readline().split())
            assert storescu(port, source).returncode == 0
            stored_bytes, after_kb = map(int, process.stdout.readline().split())
        finally:
            process.kill()
    assert stored_bytes > size
    assert after_kb - before_kb < 50_000
    shutil.rmtree(tmp_path / "data")


def test_killed_receiver_keeps_all_it_acknowledged_and_nothing_half(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from dicom_node.receive.scp import Receiver
from dicom_node.store.instances import InstanceStore
receiver = Receiver("DICOMNODE", "127.0.0.1", 0, InstanceStore(Path(sys.argv[1])), lambda s: None, print)
receiver.start()
print(receiver.port, flush=True)
time.sleep(600)
"""
    data_dir = tmp_path / "data"
    sent: dict[str, bytes] = {}
    acknowledged: list[str] = []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(data_dir)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            target = len(acknowledged) + 15

            def kill(process: subprocess.Popen[str] = process, target: int = target) -> None:
                while len(acknowledged) < target and process.poll() is None:
                    time.sleep(0.001)
                process.kill()

            killer = threading.Thread(target=kill, daemon=True)
            killer.start()
            with association(port) as assoc:
                while assoc.is_established and process.poll() is None:
                    data_set = ct_slice(PixelData=os.urandom(3_000_000))  # passes by way of a file
                    sent[data_set.SOPInstanceUID] = data_set.PixelData
                    try:
                        answer = assoc.send_c_store(data_set)
                    except RuntimeError:  # the association is gone
                        break
                    if answer.get("Status") == 0x0000:
                        acknowledged.append(data_set.SOPInstanceUID)
            killer.join()
    store = InstanceStore(data_dir)
    found = {instance.sop_instance_uid: instance for instance in store.recover()}
    assert set(acknowledged) <= set(found)
    assert len(acknowledged) >= 45
    for uid, instance in found.items():
        assert pydicom.dcmread(instance.path).PixelData == sent[uid]
    assert list((data_dir / "instances" / ".incoming").iterdir()) == []


def test_connection_cut_within_an_instance_is_accounted_for(
    running: tuple[Receiver, Heard], tmp_path: Path
) -> None:
    receiver, heard = running
    source = save(ct_slice(PixelData=bytes(20_000_000)), tmp_path / "big.dcm")
    with relay_to(receiver.port, carried_bytes=10_000_000, then_cut=True) as relay:
        assert storescu(relay.port, source).returncode != 0
    wait_for(lambda: len(heard.refused) == 1)
    assert heard.refused[0].reason == "the association ended before the instance was answered"
    assert list((tmp_path / "data" / "instances" / ".incoming").iterdir()) == []
    assert heard.stored == []
    assert echo_works(receiver.port)


def test_sixteen_associations_at_once_lose_nothing(running: tuple[Receiver, Heard], tmp_path: Path) -> None:
    receiver, heard = running
    folders = []
    for n in range(16):
        folders.append(tmp_path / f"sender{n}")
        for m in range(10):
            save(ct_slice(), folders[-1] / f"{m}.dcm")
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda folder: storescu(receiver.port, "+sd", folder), folders))
    assert [r.returncode for r in results] == [0] * 16
    assert len({s.sop_instance_uid for s in heard.stored}) == 160
    assert heard.refused == []


def test_one_association_too_many_is_asked_to_come_back(tmp_path: Path) -> None:
    with receiving(tmp_path, max_associations=1) as (receiver, _), association(receiver.port) as first:
        listener = RejectionListener()
        with association(receiver.port, listener=listener) as second:
            assert not second.is_established
        assert listener.rejection is not None
        assert listener.rejection.result_str == "Rejected Transient"
        assert first.send_c_store(ct_slice()).Status == 0x0000
        wait_for(lambda: len(receiver._ae.active_associations) == 1)
        first.release()
        wait_for(lambda: not receiver._ae.active_associations)
        assert echo_works(receiver.port)


def test_silent_association_gives_its_place_back(tmp_path: Path) -> None:
    with receiving(tmp_path, idle_timeout_s=1) as (receiver, _), association(receiver.port) as silent:
        wait_for(lambda: silent.is_aborted)
        wait_for(lambda: not receiver._ae.active_associations)
        assert echo_works(receiver.port)


def test_idle_associations_cost_next_to_nothing(running: tuple[Receiver, Heard]) -> None:
    receiver, _ = running
    clients = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(30)]
    time.sleep(0.5)
    before = time.process_time()
    time.sleep(2)
    assert time.process_time() - before < 0.4
    for client in clients:
        client.close()
    wait_for(lambda: not receiver._ae.active_associations)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_mistake_in_the_hook_is_never_answered_with_success(tmp_path: Path) -> None:
    def broken(_: StoredInstance) -> None:
        raise ZeroDivisionError

    with receiving(tmp_path / "data", on_stored=broken) as (receiver, _):
        sent = storescu(receiver.port, save(ct_slice(), tmp_path / "a.dcm"))
        assert sent.returncode != 0
        assert "Success" not in sent.stderr
        assert echo_works(receiver.port)


def test_answer_is_not_delayed_by_acknowledgements(running: tuple[Receiver, Heard]) -> None:
    """Beside an echo, which is one small message each way and is never delayed: both wait for a processor."""
    receiver, _ = running
    contexts = ((CTImageStorage, ExplicitVRLittleEndian), (Verification, ImplicitVRLittleEndian))
    slices = [ct_slice() for _ in range(30)]
    echoes, stores = [], []
    with association(receiver.port, *contexts) as assoc:
        for data_set in slices:
            began = time.perf_counter()
            assert assoc.send_c_echo().Status == 0x0000
            echoed = time.perf_counter()
            assert assoc.send_c_store(data_set).Status == 0x0000
            echoes.append(echoed - began)
            stores.append(time.perf_counter() - echoed)
        (peer,) = receiver._ae.active_associations
        assert peer.dul.socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert min(stores[10:]) < median(echoes) + 0.030, "a delayed acknowledgement takes 0.040 s"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff" + bytes(1000),
        b"\x04\x00\x00\x00\x00\x0a" + bytes(10),
        b"\x01\x00\x00\x00\x00\x44" + bytes(68),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ],
)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # pynetdicom's state machine
def test_what_is_not_dicom_does_not_disturb(running: tuple[Receiver, Heard], sent: bytes) -> None:
    receiver, heard = running
    with socket.create_connection(("127.0.0.1", receiver.port)) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(60)
        while client.recv(4096):
            pass
    assert echo_works(receiver.port)
    assert heard.stored == []


def test_port_in_use_is_a_configuration_mistake(running: tuple[Receiver, Heard], tmp_path: Path) -> None:
    receiver, _ = running
    second = Receiver(NODE, "127.0.0.1", receiver.port, InstanceStore(tmp_path), print, print)
    with pytest.raises(Misconfigured, match="Address already in use"):
        second.start()
    assert not second.is_listening


def test_receiver_stops_and_starts_again_on_its_port(tmp_path: Path) -> None:
    port = free_port()  # one that no connection is given while nobody listens on it
    for _ in range(2):
        receiver = Receiver(NODE, "127.0.0.1", port, InstanceStore(tmp_path), print, print)
        receiver.start()
        assert receiver.is_listening
        assert echo_works(port)
        receiver.stop()
        assert not receiver.is_listening


def test_no_patient_attribute_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving(tmp_path / "data") as (receiver, _):
        storescu(receiver.port, save(ct_slice(), tmp_path / "a.dcm"))
        with association(receiver.port) as assoc:
            send_raw(assoc, encode(ct_slice(StudyInstanceUID="")), CTImageStorage, "1.2")
    records = [record for record in caplog.records if record.name.startswith("dicom_node")]
    assert records
    assert all(hasattr(record, "action") for record in records)
    assert "SECRET" not in str([vars(record) for record in caplog.records])


def malformed_files(shared_data: Path) -> list[Path]:
    files = sorted(path for path in (shared_data / "malformed").rglob("*") if path.is_file())
    return [path for path in files if path.suffix not in {".json", ""} and path.name != "LICENSE"]


def test_every_malformed_file_in_the_inbox_is_accounted_for(shared_data: Path, tmp_path: Path) -> None:
    files = malformed_files(shared_data)
    assert len(files) == 142
    heard = Heard()
    inbox = Inbox(
        tmp_path / "inbox", InstanceStore(tmp_path / "data"), heard.stored.append, heard.refused.append
    )
    inbox.start()
    for path in files:
        shutil.copyfile(path, tmp_path / "inbox" / path.name)
    wait_for(lambda: len(heard.stored) + len(heard.refused) >= len(files), timeout_s=120)
    inbox.stop()
    assert len(heard.stored) + len(heard.refused) == len(files)
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == [REJECTED]
    assert len(list((tmp_path / "inbox" / REJECTED).iterdir())) == len(heard.refused)
    assert all(receipt.reason and receipt.path and receipt.path.exists() for receipt in heard.refused)
    assert len(list(InstanceStore(tmp_path / "data").recover())) == len(
        [s for s in heard.stored if not s.already_had]
    )


def sent_as(path: Path) -> tuple[str, str, str]:
    """SOP class, SOP instance and transfer syntax under which to send a malformed file."""
    fallback = (CTImageStorage, f"1.2.3.{zlib.crc32(path.name.encode())}", ExplicitVRLittleEndian)
    try:
        read = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        named = (str(read.SOPClassUID), str(read.SOPInstanceUID), str(read.file_meta.TransferSyntaxUID))
    except Exception:  # noqa: BLE001  the file is malformed on purpose: anything may come
        return fallback
    usable = named[0] in storage_sop_classes() and 0 < len(named[1]) <= 64 and named[2] in transfer_syntaxes()
    return named if usable and named[1].isascii() else fallback


def test_every_malformed_file_that_can_be_sent_is_answered(
    running: tuple[Receiver, Heard], shared_data: Path
) -> None:
    receiver, heard = running
    statuses: dict[str, int] = {}
    for path in malformed_files(shared_data):
        sop_class, sop_instance, syntax = sent_as(path)
        try:
            data = data_set_bytes(path)
        except Exception:  # noqa: BLE001  likewise
            data = path.read_bytes()
        with association(receiver.port, (sop_class, syntax)) as assoc:
            statuses[path.name] = send_raw(assoc, data or b"\0", sop_class, sop_instance).Status
    assert len(statuses) == 142
    assert set(statuses.values()) == {0x0000, 0xA900, 0xC000}
    assert list(statuses.values()).count(0x0000) == len(heard.stored)
    assert len(heard.stored) + len(heard.refused) == 142
    assert echo_works(receiver.port)


@contextmanager
def watching(tmp_path: Path) -> Iterator[tuple[Path, Heard]]:
    heard = Heard()
    folder = tmp_path / "inbox"
    inbox = Inbox(
        folder, InstanceStore(tmp_path / "data"), heard.stored.append, heard.refused.append, retry_s=0.2
    )
    inbox.start()
    try:
        yield folder, heard
    finally:
        inbox.stop()


def test_inbox_takes_what_is_there_at_the_start_and_what_comes(tmp_path: Path) -> None:
    save(ct_slice(), tmp_path / "inbox" / "study" / "before.dcm")
    outside = save(ct_slice(), tmp_path / "outside" / "moved.dcm")
    with watching(tmp_path) as (folder, heard):
        wait_for(lambda: len(heard.stored) == 1)
        save(ct_slice(), folder / "after.dcm")
        save(ct_slice(), folder / "new" / "deep" / "after.dcm")
        outside.rename(folder / "moved.dcm")
        save(ct_slice(), tmp_path / "tree" / "a" / "1.dcm")
        (tmp_path / "tree").rename(folder / "tree")
        wait_for(lambda: len(heard.stored) == 5)
        wait_for(lambda: not list(folder.rglob("*.dcm")))
    assert heard.refused == []


def test_inbox_leaves_a_file_alone_until_it_is_written(tmp_path: Path) -> None:
    whole = save(ct_slice(), tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "inbox").mkdir()
    with (tmp_path / "inbox" / "old.dcm").open("wb") as old:
        old.write(whole[:3000])
        old.flush()
        with watching(tmp_path) as (folder, heard), (folder / "slow.dcm").open("wb") as new:
            new.write(whole[:3000])
            new.flush()
            time.sleep(1)
            assert heard == Heard()
            new.write(whole[3000:])
            new.close()
            wait_for(lambda: len(heard.stored) == 1)
            old.write(whole[3000:])
            old.close()
            wait_for(lambda: len(heard.stored) == 2)
            assert [s.already_had for s in heard.stored] == [False, True]
            assert heard.refused == []


def test_inbox_reads_files_without_preamble_and_without_meta(tmp_path: Path) -> None:
    source = save(ct_slice(), tmp_path / "a.dcm").read_bytes()
    implicit = ct_slice()
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    bare = data_set_bytes(save(implicit, tmp_path / "b.dcm"))
    with watching(tmp_path) as (folder, heard):
        (folder / "no_preamble").write_bytes(source[132:])
        (folder / "no_meta").write_bytes(bare)
        wait_for(lambda: len(heard.stored) == 2)
    assert {s.transfer_syntax_uid for s in heard.stored} == {ExplicitVRLittleEndian, ImplicitVRLittleEndian}


def test_inbox_rejects_what_is_not_dicom_and_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not for the node")
    with watching(tmp_path) as (folder, heard):
        (folder / "note.txt").write_text("hello")
        wait_for(lambda: len(heard.refused) == 1)
        (folder / "note.txt").write_text("again")
        (folder / "link.dcm").symlink_to(tmp_path / "secret")
        os.mkfifo(folder / "pipe")
        wait_for(lambda: len(heard.refused) == 4)
    assert {path.name for path in (folder / REJECTED).iterdir()} == {
        "note.txt",
        "note_1.txt",
        "link.dcm",
        "pipe",
    }
    assert all(receipt.source is RefusalSource.INBOX and receipt.reason for receipt in heard.refused)
    assert (folder / REJECTED / "note.txt").read_text() == "hello"


def test_inbox_keeps_the_file_while_the_disk_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "data"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(800_000))
        with watching(tmp_path) as (folder, heard):
            save(ct_slice(PixelData=bytes(500_000)), tmp_path / "a.dcm").rename(folder / "a.dcm")
            time.sleep(1)
            assert heard == Heard()
            assert (folder / "a.dcm").exists()
            filler.unlink()
            wait_for(lambda: len(heard.stored) == 1)
            wait_for(lambda: not (folder / "a.dcm").exists())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
