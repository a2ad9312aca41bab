"""Small parts of the receive stage: who may send, what is offered, how threads are scheduled."""

from __future__ import annotations

import os
import platform
import threading

import pytest
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE

from dicom_node.receive.command import LAST_COMMAND_FRAGMENT, encode_store_response
from dicom_node.receive.scheduling import ask_for_short_slices
from dicom_node.receive.scp import is_known_peer
from dicom_node.receive.sop_classes import storage_contexts, storage_sop_classes, transfer_syntaxes
from dicom_node.store.part10 import read_header


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_peers_every_address_of_this_machine_may_send(address: str) -> None:
    assert is_known_peer([], "ANY", address)


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.1", "::2", "8.8.8.8", "", "nonsense"])
def test_without_peers_no_other_address_may_send(address: str) -> None:
    assert not is_known_peer([], "ANY", address)


def test_listed_peer_needs_title_and_host() -> None:
    peers = [("PACS", "10.0.0.5"), ("CT1", "fe80::1")]
    assert is_known_peer(peers, "PACS", "10.0.0.5")
    assert is_known_peer(peers, "PACS", "::ffff:10.0.0.5")
    assert is_known_peer(peers, "CT1", "fe80::1%eth0")
    assert not is_known_peer(peers, "PACS", "fe80::1")
    assert not is_known_peer(peers, "pacs", "10.0.0.5")
    assert not is_known_peer(peers, "PACS", "127.0.0.1")


def test_every_storage_class_is_offered_once_in_every_syntax() -> None:
    contexts = storage_contexts(["1.3.12.2.1107.5.9.1"])
    names = [context.abstract_syntax for context in contexts]
    assert len(set(names)) == len(names) == len(storage_sop_classes()) + 1
    assert all(len(context.transfer_syntax) == len(transfer_syntaxes()) for context in contexts)
    assert all(UID(uid).is_transfer_syntax for uid in transfer_syntaxes())


@pytest.mark.parametrize(
    ("status", "comment", "uid"), [(0x0000, None, "1.2.3"), (0xA700, "full", "1.2.34"), (0xC000, "odd", None)]
)
def test_response_is_encoded_as_pynetdicom_does(status: int, comment: str | None, uid: str | None) -> None:
    response = C_STORE()
    response.MessageIDBeingRespondedTo = 513
    response.AffectedSOPClassUID, response.AffectedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    response.Status, response.ErrorComment = status, comment
    message = C_STORE_RSP()
    message.primitive_to_message(response)
    (fragment,) = message.encode_msg(1, 0)
    assert fragment.presentation_data_value_list == [
        (1, LAST_COMMAND_FRAGMENT + encode_store_response(response))
    ]


def test_bytes_of_others_are_no_header_of_ours() -> None:
    assert read_header(b"") is None
    assert read_header(b"\0" * 128 + b"DICM" + bytes(2000)) is None
    assert read_header(b"\0" * 128 + b"DICM\2\0\2\1OB\0\0\xff\xff\xff\xff" + bytes(2000)) is None


@pytest.mark.skipif(platform.system() != "Linux", reason="a system call of Linux")
def test_short_slices_leave_policy_and_niceness_as_they_are() -> None:
    seen = []

    def ask() -> None:
        seen.append((ask_for_short_slices(), os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen[0][1:] == (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))
