"""What all tests share."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pynetdicom.transport import AssociationSocket

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _sockets_are_closed() -> Iterator[None]:
    """Have pynetdicom 3.0.4 close a socket also when the peer was faster.

    It forgets to when `shutdown` fails on a connection that the peer has reset or never accepted;
    Python closes it then, with a warning that fails whichever test runs at that moment.
    """

    def shut_down(self: AssociationSocket) -> None:
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociationSocket, "_shutdown_socket", shut_down)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data that tests read; it lies beside the repository."""
    folder = Path(os.environ.get("DICOM_NODE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    assert folder.is_dir(), f"{folder} is missing; DICOM_NODE_SHARED_DATA names another place"
    return folder
