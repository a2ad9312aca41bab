"""What a peer said when it rejected an association (A-ASSOCIATE-RJ, PS3.8 9.3.4).

pynetdicom 3.0.4 calls a rejection an abort, and forgets the reason, when the peer closes
the connection right behind its answer and the machine is busy: its reactor thread can end
before the requestor's thread has taken the answer. So the PDU itself is kept.
"""

from __future__ import annotations

from typing import Any

from pynetdicom import evt
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE


class RejectionListener:
    """Keeps the rejection of one association; give its `handlers` to ``AE.associate``."""

    def __init__(self) -> None:
        self.rejection: A_ASSOCIATE | None = None

    @property
    def handlers(self) -> list[Any]:
        """Event handlers for ``evt_handlers``."""
        return [(evt.EVT_PDU_RECV, self._keep)]

    def _keep(self, event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu.to_primitive()
