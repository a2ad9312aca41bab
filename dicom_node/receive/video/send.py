"""Sends a Part 10 file by C-STORE (PS3.4 B) without reading more than a piece of it at a time."""

from __future__ import annotations

from pathlib import Path

from pynetdicom import _config
from pynetdicom.presentation import build_context

from dicom_node.deliver.status import describe, is_stored
from dicom_node.errors import NotDicom, PeerStatus, PeerUnreachable
from dicom_node.receive.video.peer import Peer, associated
from dicom_node.store.part10 import read_file_meta

_SOP_CLASS, _TRANSFER_SYNTAX = 0x00020002, 0x00020010


def send_file(path: Path, peer: Peer, calling_ae_title: str) -> None:
    """Store the object at the peer, as it is encoded.

    Raises:
        NotDicom: The file has no file meta information.
        PeerUnreachable: Nobody answers, or the connection broke.
        AssociationRejected: The peer does not take such objects.
        PeerStatus: It answered with a status that is not success.
    """
    with path.open("rb") as file:
        meta = {tag: value.decode("latin-1").strip("\0 ") for tag, value in read_file_meta(file).items()}
    if _SOP_CLASS not in meta or _TRANSFER_SYNTAX not in meta:
        raise NotDicom(f"{path.name} has no file meta information")
    context = build_context(meta[_SOP_CLASS], meta[_TRANSFER_SYNTAX])
    _config.STORE_SEND_CHUNKED_DATASET = True
    with associated(peer, [context], calling_ae_title) as association:
        answer = association.send_c_store(path)
        status = answer.get("Status") if answer else None
        if status is None:
            raise PeerUnreachable(f"{peer} ended the association before it answered")
        if not is_stored(int(status)):
            raise PeerStatus(f"{peer} did not store the object: {describe(int(status))}")
