"""Stage 1, receive, over the network: C-STORE SCP (PS3.4 Annex B) and C-ECHO SCP (PS3.4 Annex A).

What comes in: associations of known peers. What goes out: a `StoredInstance` for every
instance on disk, a `RefusedReceipt` for everything else. Success is said only when the
bytes are synced and the ledger's hook has returned. Data sets are never decoded, changed
or answered with a warning.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.errors import InconsistentInstance, Misconfigured, NotDicom, Refused, StorageUnavailable
from dicom_node.receive.refusal import OnRefused, RefusalSource, RefusedReceipt
from dicom_node.receive.scheduling import ask_for_short_slices
from dicom_node.receive.sop_classes import storage_contexts
from dicom_node.receive.transport import (
    MAX_PDU_BYTES,
    DataSetSink,
    StorageAssociation,
    StorageServer,
    quieten_pynetdicom,
)
from dicom_node.store.instances import IncomingDataSet, InstanceStore, StoredInstance
from dicom_node.store.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = ["Peer", "Receiver", "RefusalSource", "RefusedReceipt", "is_known_peer"]

logger = logging.getLogger(__name__)

SUCCESS: Final = 0x0000
"""The instance is on disk, synced (PS3.4 table B.2-1, PS3.7 C.1.1)."""

PROCESSING_FAILURE: Final = 0x0110
"""The node could not finish for a reason of its own (PS3.7 C.5.21)."""

OUT_OF_RESOURCES: Final = 0xA700
"""Refused: the disk is full or cannot be written; sending again later helps (PS3.4 table B.2-1)."""

DATA_SET_MISMATCH: Final = 0xA900
"""Error: the data set contradicts the command or the presentation context (PS3.4 table B.2-1)."""

CANNOT_UNDERSTAND: Final = 0xC000
"""Error: the data set cannot be parsed, or cannot be filed for lack of a UID (PS3.4 table B.2-1)."""

REJECTED_PERMANENT: Final = 0x01
"""Result of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

SERVICE_USER: Final = 0x01
"""Source of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

CALLING_AE_TITLE_NOT_RECOGNIZED: Final = 0x03
"""Reason of an A-ASSOCIATE-RJ from the service user (PS3.8 table 9-21)."""

CALLED_AE_TITLE_NOT_RECOGNIZED: Final = 0x07
"""Reason of an A-ASSOCIATE-RJ from the service user (PS3.8 table 9-21)."""

MAX_ERROR_COMMENT_LENGTH: Final = 64
"""(0000,0902) has VR LO (PS3.7 E.1)."""


Peer = tuple[str, str]
"""Calling AE title of a known peer, and the name or address of the host from which it calls."""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _addresses_of(host: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    literal = _address(host)
    if literal is not None:
        return {literal}
    try:
        found = {_address(str(entry[4][0])) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
    return {address for address in found if address is not None}


def is_known_peer(peers: Iterable[Peer], ae_title: str, address: str) -> bool:
    """Whether this caller may send; without peers, only this machine may.

    Example:
        >>> is_known_peer([], "ANY", "127.0.0.1"), is_known_peer([], "ANY", "10.0.0.5")
        (True, False)
    """
    caller = _address(address)
    if caller is None:
        return False
    listed = list(peers)
    if not listed:
        return caller.is_loopback
    return any(title.strip() == ae_title and caller in _addresses_of(host) for title, host in listed)


class Receiver:
    """The node's storage and verification SCP.

    Args:
        ae_title: The title under which the node must be called.
        host: Address to listen on.
        port: TCP port; 0 takes a free one, see `port`.
        store: Where instances go.
        on_stored: Told of each instance on disk before its sender is. Cheap; also called for an
            instance that the store already had. May raise `StorageUnavailable`, which the
            sender is told as 0xA700.
        on_refused: Told of everything that was not stored. Must not raise.
        peers: Who may send; none listed means this machine only.
        max_associations: Served at the same time; a further one is asked to come back (PS3.8 9.3.4).
        idle_timeout_s: Silence after which an association is aborted.
        further_sop_classes: Private storage classes to be received too.
    """

    def __init__(
        self,
        ae_title: str,
        host: str,
        port: int,
        store: InstanceStore,
        on_stored: Callable[[StoredInstance], None],
        on_refused: OnRefused,
        *,
        peers: Sequence[Peer] = (),
        max_associations: int = 32,
        idle_timeout_s: float = 60.0,
        further_sop_classes: Sequence[str] = (),
    ) -> None:
        self._address = (host, port)
        self._store = store
        self._on_stored = on_stored
        self._on_refused = on_refused
        self._peers = tuple(peers)
        self._server: StorageServer | None = None
        self._thread: threading.Thread | None = None
        self._ae = ApplicationEntity(ae_title)
        self._ae.maximum_associations = max_associations
        self._ae.maximum_pdu_size = MAX_PDU_BYTES
        self._ae.network_timeout = idle_timeout_s
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._contexts = [build_context(Verification), *storage_contexts(further_sop_classes)]

    @property
    def port(self) -> int:
        """The port that is listened on; the configured one before `start`."""
        return int(self._server.server_address[1]) if self._server else self._address[1]

    @property
    def is_listening(self) -> bool:
        """Whether associations can be requested."""
        return self._server is not None and self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Listen; returns at once.

        Raises:
            Misconfigured: The address cannot be listened on.
        """
        quieten_pynetdicom()
        try:
            server: Any = self._ae.make_server(
                self._address,
                contexts=self._contexts,
                server_class=StorageServer,
                service=self,
            )
        except OSError as error:
            host, port = self._address
            raise Misconfigured(f"node.host, node.port = {host}:{port}: {error.strerror or error}") from error
        self._ae._servers.append(server)  # as AE.start_server does; shutdown takes it out again
        self._server = server
        self._thread = threading.Thread(target=_listen, args=(server,), name="receiver", daemon=True)
        self._thread.start()
        logger.info("listening", extra={"action": "receiver_started", "port": self.port})

    def stop(self) -> None:
        """Stop listening and end associations; what was not yet answered is sent again by its sender."""
        server, self._server = self._server, None
        if server is None:
            return
        associations = server.active_associations
        server.shutdown()
        for association in associations:
            association.abort()
        for association in associations:
            association.join(timeout=5)
        if self._thread is not None:
            self._thread.join(timeout=5)
        logger.info("stopped listening", extra={"action": "receiver_stopped"})

    def open_data_set(self) -> IncomingDataSet:
        """A data set to be written while it arrives."""
        return self._store.incoming()

    def store(self, association: Association, request: C_STORE, context: PresentationContext) -> C_STORE:
        """The response to a C-STORE request: success only when the bytes are safe (PS3.7 9.1.1)."""
        response = C_STORE()
        response.MessageID = request.MessageID
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.Status = PROCESSING_FAILURE
        try:
            stored = self._commit(association, request, context)
            self._on_stored(stored)
        except StorageUnavailable as error:
            self._refuse(association, request, response, OUT_OF_RESOURCES, error)
        except InconsistentInstance as error:
            self._refuse(association, request, response, DATA_SET_MISMATCH, error)
        except Refused as error:
            self._refuse(association, request, response, CANNOT_UNDERSTAND, error)
        else:
            response.Status = SUCCESS
            if stored.conflict:
                logger.warning(
                    "other content under a SOP Instance UID that is held; both are kept",
                    extra={"action": "instance_conflict", "study": stored.study_instance_uid},
                )
        return response

    def cut_off(self, association: Association, data_set: IncomingDataSet, command: Any) -> None:
        """Account for a data set whose association ended before it was answered."""
        data_set.discard()
        self._report(
            association, command, "", Refused("the association ended before the instance was answered")
        )

    def _commit(
        self, association: Association, request: C_STORE, context: PresentationContext
    ) -> StoredInstance:
        sink = request.DataSet
        if not isinstance(sink, DataSetSink) or sink.data_set is None:
            raise NotDicom("the C-STORE request has no data set")
        try:
            if request.MessageID is None or not request.AffectedSOPInstanceUID:
                raise NotDicom("the C-STORE command lacks a required element")
            if request.AffectedSOPClassUID != context.abstract_syntax:
                raise InconsistentInstance(
                    "SOP class of command and context differ", attribute="AffectedSOPClassUID"
                )
            return self._store.commit(
                sink.data_set,
                transfer_syntax_uid=str(context.transfer_syntax[0]),
                calling_ae_title=_calling_ae_title(association),
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
            )
        finally:
            sink.discard()

    def _refuse(
        self,
        association: Association,
        request: C_STORE,
        response: Any,
        status: int,
        error: StorageUnavailable | Refused,
    ) -> None:
        response.Status = status
        response.ErrorComment = str(error)[:MAX_ERROR_COMMENT_LENGTH]
        self._report(association, request, f"0x{status:04X}", error)

    def _report(
        self, association: Association, command: Any, status: str, error: StorageUnavailable | Refused
    ) -> None:
        logger.warning(
            "not stored: %s",
            error,
            extra={"action": "instance_refused", "calling": _calling_ae_title(association), "status": status},
        )
        self._on_refused(
            RefusedReceipt(
                source=RefusalSource.C_STORE,
                reason=str(error),
                status=status,
                attribute=getattr(error, "attribute", ""),
                calling_ae_title=_calling_ae_title(association),
                calling_host=association.requestor.address,
                sop_class_uid=str(getattr(command, "AffectedSOPClassUID", None) or ""),
                sop_instance_uid=str(getattr(command, "AffectedSOPInstanceUID", None) or ""),
            )
        )

    def admit(self, event: evt.Event) -> None:
        """Reject an association of an unknown caller, or for another AE (PS3.8 9.3.4)."""
        association = event.assoc
        calling, host = _calling_ae_title(association), association.requestor.address
        called = str(getattr(association.requestor.primitive, "called_ae_title", "") or "").strip()
        if not is_known_peer(self._peers, calling, host):
            diagnostic, reason = CALLING_AE_TITLE_NOT_RECOGNIZED, "the caller is not a known peer"
        elif called != self._ae.ae_title.strip():
            diagnostic, reason = CALLED_AE_TITLE_NOT_RECOGNIZED, "the called AE title is not the node's"
        else:
            return
        association.acse.send_reject(REJECTED_PERMANENT, SERVICE_USER, diagnostic)
        logger.warning(
            "association rejected: %s",
            reason,
            extra={"action": "association_rejected", "calling": calling, "host": host},
        )
        self._on_refused(
            RefusedReceipt(
                source=RefusalSource.ASSOCIATION, reason=reason, calling_ae_title=calling, calling_host=host
            )
        )
        association.kill()  # returns when the peer has been told


def _listen(server: StorageServer) -> None:
    ask_for_short_slices()  # this thread starts those of the associations
    server.serve_forever()


def _calling_ae_title(association: Association) -> str:
    return association.calling_ae_title if isinstance(association, StorageAssociation) else ""
