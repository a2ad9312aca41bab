"""A DICOM peer as the command line names it, and an association with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_node.errors import AssociationRejected, Misconfigured, PeerUnreachable
from dicom_node.rejection import RejectionListener

CONNECT_S: Final = 15.0
ANSWER_S: Final = 120.0
"""How long a peer may take to answer: it may put gigabytes on its disk first."""

_MAX_PDU_BYTES: Final = 131072
_QUEUED_PDUS: Final = 32
_ADDRESS: Final = re.compile(r"([^@\\]{1,16})@(\[[0-9A-Fa-f:.]+\]|[^@:\s]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a peer is.

    Example:
        >>> peer = Peer.parse("PACS@10.0.0.5:104")
        >>> peer.ae_title, peer.host, peer.port
        ('PACS', '10.0.0.5', 104)
    """

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Peer:
        """The peer that ``AE@HOST:PORT`` names.

        Raises:
            Misconfigured: The text is not of this form.
        """
        found = _ADDRESS.fullmatch(text.strip())
        if found is None or not found[1].strip().isascii() or not 0 < int(found[3]) <= 65535:
            raise Misconfigured(f"{text!r}: a peer is named as AE@HOST:PORT, such as PACS@10.0.0.5:104")
        return cls(found[1].strip(), found[2].strip("[]"), int(found[3]))

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@contextmanager
def associated(
    peer: Peer, contexts: Sequence[PresentationContext], calling_ae_title: str
) -> Iterator[Association]:
    """An association, released at the end.

    Raises:
        PeerUnreachable: Nobody answers there.
        AssociationRejected: The peer does not want it, or none of the contexts.
    """
    entity = ApplicationEntity(calling_ae_title)
    entity.maximum_pdu_size = _MAX_PDU_BYTES
    entity.connection_timeout = entity.acse_timeout = CONNECT_S
    entity.dimse_timeout = entity.network_timeout = ANSWER_S
    listener = RejectionListener()
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=_MAX_PDU_BYTES,
            evt_handlers=listener.handlers,
        )
    except OSError as error:
        raise PeerUnreachable(f"{peer}: {error.strerror or error}") from error
    # the thread that reads the file waits for the one that sends: else all of it is in memory
    association.dul.to_provider_queue.maxsize = _QUEUED_PDUS
    try:
        if listener.rejection is not None:
            raise AssociationRejected(
                f"{peer} rejected the association of {calling_ae_title}: {listener.rejection.reason_str}"
            )
        if association.rejected_contexts and not association.accepted_contexts:
            raise AssociationRejected(
                f"{peer} takes none of what is asked for: check that it offers the service, in this "
                f"transfer syntax, to {calling_ae_title}"
            )
        if not association.is_established:
            raise PeerUnreachable(f"no association with {peer}: check address, port and firewall")
        yield association
    finally:
        if association.is_established:
            association.release()
