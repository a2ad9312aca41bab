"""A wire between a sender and a node that ends, or stops carrying, at a chosen byte.

What is to happen in the middle of a transfer happens there however fast or busy the machine is.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 65_536


@dataclass
class Relay:
    """One connection to a port of this machine; ``port`` is where the sender calls.

    Attributes:
        port: Where it listens.
        cut: Ends the connection on both sides.
    """

    port: int
    cut: threading.Event = field(default_factory=threading.Event)


@contextmanager
def relay_to(port: int, *, carried_bytes: int, then_cut: bool) -> Iterator[Relay]:
    """A relay for one connection, which is cut on leaving the block at the latest.

    Args:
        port: The node's.
        carried_bytes: So much of what the sender says reaches the node, and no more.
        then_cut: End the connection there; without it the sender is left waiting until `Relay.cut`.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname()[1])
        thread = threading.Thread(target=_carry, args=(server, relay, port, carried_bytes, then_cut))
        thread.start()
        try:
            yield relay
        finally:
            relay.cut.set()
            thread.join()


def _carry(server: socket.socket, relay: Relay, port: int, carried_bytes: int, then_cut: bool) -> None:
    sender, _ = server.accept()
    with sender, socket.create_connection(("127.0.0.1", port)) as node:
        back = threading.Thread(target=_pass_on, args=(node, sender))
        back.start()
        left = carried_bytes
        while left and (part := sender.recv(min(CHUNK_BYTES, left))):
            node.sendall(part)
            left -= len(part)
        if not (left == 0 and then_cut):
            relay.cut.wait()
        for end in (sender, node):
            with suppress(OSError):  # the other side has closed it already
                end.shutdown(socket.SHUT_RDWR)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # the connection ends here as the test wants it
        while part := source.recv(CHUNK_BYTES):
            target.sendall(part)
