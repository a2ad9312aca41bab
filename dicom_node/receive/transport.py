"""pynetdicom's acceptor without its polling: waits instead of waking a thousand times a second.

pynetdicom 3.0.4 serves an association with two threads that each look for work every
millisecond, reads the socket in pieces of 4 KiB, copies all supported presentation contexts
(30 ms) for every association and holds a whole data set in memory, or writes it where a full
disk ends in a cut connection. Here both threads sleep until something arrives, pieces are
large, contexts are shared, and the data set goes to a sink of our own. What the standard
asks of an acceptor (PS3.8 9.2) stays pynetdicom's.

This module knows private names of pynetdicom, whose version is therefore pinned; nothing
else in the node does.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from pynetdicom import _config, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from dicom_node.receive.command import LAST_COMMAND_FRAGMENT, encode_store_response
from dicom_node.store.instances import IncomingDataSet
from dicom_node.store.part10 import UNREADABLE

MAX_PDU_BYTES: Final = 131072
"""Longest P-DATA-TF that peers are asked to send (PS3.8 D.1); DCMTK sends no longer ones."""

_MAX_ACCEPTED_PDU_BYTES: Final = 1 << 24
"""A longer PDU is not from a DICOM peer: the connection is closed instead of filling memory."""

_RECEIVE_BYTES: Final = 1 << 18
_PDV_HEADER_BYTES: Final = 6
"""Length, context and message control header of a presentation data value (PS3.8 table 9-23)."""

_IDLE_S: Final = 0.1
"""How long a thread sleeps when nobody rings; bounds what a missed ring can cost."""

_POLL_S: Final = 0.001
"""How long the reading thread sleeps while there is no connection to wait for."""


class DataSetSink(io.BytesIO):
    """Where pynetdicom writes a data set, believing it to be memory."""

    def __init__(self, open_data_set: Callable[[], IncomingDataSet]) -> None:
        super().__init__()
        self._open = open_data_set
        self.data_set: IncomingDataSet | None = None

    def write(self, data: Any) -> int:
        """Append a fragment of the data set."""
        if self.data_set is None:
            self.data_set = self._open()
        self.data_set.write(data)
        return len(data)

    def discard(self) -> None:
        """Forget what has arrived."""
        if self.data_set is not None:
            self.data_set.discard()


class StorageService(Protocol):
    """What an association needs of the service above it."""

    def admit(self, event: evt.Event) -> None:
        """Reject the association that is being requested, or do nothing."""

    def open_data_set(self) -> IncomingDataSet:
        """A data set to be written while it arrives."""

    def store(self, association: Association, request: C_STORE, context: PresentationContext) -> C_STORE:
        """The response to a C-STORE request."""

    def cut_off(self, association: Association, data_set: IncomingDataSet, command: Any) -> None:
        """The association ended while, or after, this data set arrived and before it was answered."""


class _RingingQueue(queue.Queue[Any]):
    """A queue that wakes its reader."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self._ring = ring

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._ring()


class _Doorbell(threading.Event):
    """An event that falls back by itself; waiting for it ends at the latest after `_IDLE_S`."""

    def wait(self, timeout: float | None = None) -> bool:
        super().wait(_IDLE_S if timeout is None else timeout)
        self.clear()
        return True


class _WakingSocket(AssociationSocket):
    """The acceptor's end of a connection: waits for the peer or for a ring."""

    def __init__(self, association: Association, client: socket.socket) -> None:
        super().__init__(association, client_socket=client)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(association.network_timeout)  # a peer that stalls within a PDU
        self._poll = select.poll()
        self._poll.register(client, select.POLLIN)
        self._lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.POLLIN)

    def ring(self) -> None:
        """Wake the thread that waits in `ready`."""
        with self._lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def release_bell(self) -> None:
        """Close the bell; nobody waits any more."""
        with self._lock:
            if self._bell >= 0:
                os.close(self._bell)
            self._bell = -1

    @property
    def ready(self) -> bool:
        """Whether the peer has sent something; waits for it, for a ring, or for `_IDLE_S`."""
        client = self.socket
        if client is None or not self._is_connected or self._bell < 0 or client.fileno() < 0:
            time.sleep(_POLL_S)
            return False
        rung = False
        from_peer = False
        wait_s = _IDLE_S if self.event_queue.empty() else 0
        for fd, _ in self._poll.poll(wait_s * 1000):
            rung |= fd == self._bell
            from_peer |= fd != self._bell
        if rung:
            with self._lock:
                if self._bell >= 0:
                    os.eventfd_read(self._bell)
        return from_peer

    def recv(self, nr_bytes: int) -> bytearray:
        """That many bytes, or fewer when the peer has closed the connection."""
        received = bytearray()
        client = self.socket
        if client is None or nr_bytes > _MAX_ACCEPTED_PDU_BYTES:
            self._end_the_wait_for_a_request()
            return received
        while len(received) < nr_bytes:
            piece = client.recv(min(nr_bytes - len(received), _RECEIVE_BYTES))
            if not piece:
                self._end_the_wait_for_a_request()
                break
            received += piece
            # a peer with Nagle's algorithm sends the rest of a message only after our
            # acknowledgement, which the kernel would hold back for 40 ms; not sticky
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return received

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._end_the_wait_for_a_request()
        super().close()

    def _end_the_wait_for_a_request(self) -> None:
        """Do not hold a place until the ACSE timeout for a connection that ended without a request."""
        if self.assoc.requestor.primitive is None and self.assoc.dul.to_user_queue.empty():
            self.assoc.dul.to_user_queue.put(None)  # read as "timed out"

    def _shutdown_socket(self) -> None:
        client = self.socket
        if client is None:
            return
        with contextlib.suppress(OSError):  # not connected any more
            client.shutdown(socket.SHUT_RDWR)
        client.close()


class _Dimse(DIMSEServiceProvider):
    """Gives every message a sink for its data set; ends the association on a broken one."""

    def __init__(self, association: StorageAssociation) -> None:
        super().__init__(association)
        self._association = association

    def receive_primitive(self, primitive: P_DATA) -> None:
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.data_set = DataSetSink(self._association.service.open_data_set)
        try:
            super().receive_primitive(primitive)
        except UNREADABLE:
            self.dul.event_queue.put("Evt19")  # invalid PDU, PS3.8 table 9-10


class StorageAssociation(Association):
    """An accepted association whose C-STORE requests go to a `StorageService`."""

    def __init__(self, ae: ApplicationEntity, client: socket.socket, service: StorageService) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.service = service
        self._reactor_checkpoint = _Doorbell()
        self.dimse = _Dimse(self)
        self.dimse.msg_queue = _RingingQueue(self._reactor_checkpoint.set)
        self.dul._run_loop_delay = 0  # `_WakingSocket.ready` is what waits
        self.dul.to_user_queue = _RingingQueue(self._reactor_checkpoint.set)
        self._waking_socket = _WakingSocket(self, client)
        self.dul.to_provider_queue = _RingingQueue(self._waking_socket.ring)
        self.set_socket(self._waking_socket)

    @property
    def calling_ae_title(self) -> str:
        """Who called, as they say."""
        request = self.requestor.primitive
        return str(getattr(request, "calling_ae_title", "") or "").strip()

    def run_reactor(self) -> None:
        """Serve the association until it ends, then account for what was still arriving."""
        try:
            super().run_reactor()
        finally:
            self.dul.kill_dul()
            self._waking_socket.ring()
            self.dul.join(timeout=2 * _IDLE_S + 1)
            self._waking_socket.close()
            self._waking_socket.release_bell()
            self._account_for_unanswered()

    def _account_for_unanswered(self) -> None:
        message = self.dimse.message
        if message is not None and isinstance(message.data_set, DataSetSink) and message.data_set.data_set:
            self.service.cut_off(self, message.data_set.data_set, message.command_set)
        while True:
            _, request = self.dimse.get_msg(block=False)
            if request is None:
                return
            if isinstance(request, C_STORE) and isinstance(request.DataSet, DataSetSink):
                self.service.cut_off(self, request.DataSet.data_set or self.service.open_data_set(), request)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Answer a request; every C-STORE is answered, also an incomplete one."""
        context = self._accepted_cx.get(context_id)
        if not isinstance(msg, C_STORE) or context is None:
            if isinstance(msg, C_STORE) and isinstance(msg.DataSet, DataSetSink) and msg.DataSet.data_set:
                self.service.cut_off(self, msg.DataSet.data_set, msg)
            super()._serve_request(msg, context_id)
            return
        response = self.service.store(self, msg, context)
        if self.is_established:
            self._send(response, context_id)

    def _send(self, response: C_STORE, context_id: int) -> None:
        command = encode_store_response(response)
        if 0 < self.dimse.maximum_pdu_size < len(command) + _PDV_HEADER_BYTES:
            self.dimse.send_msg(response, context_id)  # in fragments
            return
        message = P_DATA()
        value: Any = [context_id, LAST_COMMAND_FRAGMENT + command]  # pynetdicom wants a list, says a tuple
        message.presentation_data_value_list = [value]
        self.dul.send_pdu(message)


class _RequestHandler(RequestHandler):
    """Makes a `StorageAssociation` of a connection."""

    server: StorageServer

    def _create_association(self) -> Association:
        server = self.server
        association = StorageAssociation(self.ae, self.request, server.service)
        association._server = server
        association.name = f"AcceptorThread@{association.name}"  # the prefix is how pynetdicom finds it
        association.acceptor.maximum_length = self.ae.maximum_pdu_size
        association.acceptor.ae_title = server.ae_title
        association.acceptor.address_info = self.local
        association.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        association.acceptor.implementation_version_name = self.ae.implementation_version_name
        association.acceptor.supported_contexts = server.contexts  # only read: no copy
        association.requestor.address_info = self.remote
        association.bind(evt.EVT_REQUESTED, server.service.admit)
        return association


class StorageServer(ThreadedAssociationServer):
    """Listens, and starts a `StorageAssociation` per connection."""

    request_queue_size = 128
    """Connections that may wait; with pynetdicom's 5, the sixth of a burst waits a second."""

    def __init__(self, *args: Any, service: StorageService, **kwargs: Any) -> None:
        self.service = service
        kwargs["request_handler"] = _RequestHandler
        super().__init__(*args, **kwargs)


def quieten_pynetdicom() -> None:
    """No log lines of pynetdicom's own: they quote what was received; we account for everything."""
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
