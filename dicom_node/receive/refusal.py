"""What the receive stage says about something that it did not store: never nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path


class RefusalSource(StrEnum):
    """What was refused."""

    ASSOCIATION = "association"
    C_STORE = "c-store"
    INBOX = "inbox"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class RefusedReceipt:
    """Something that was not stored, and why.

    Attributes:
        source: What was refused: an association, one C-STORE, one file of the inbox.
        reason: A sentence for a person; holds no value of any attribute.
        status: The DIMSE status that the sender was given, as ``0xA700``; empty where there is none.
        attribute: Keyword of the attribute that is wrong, if it is one.
        sop_class_uid: As the sender's command said; empty if unknown.
        sop_instance_uid: Likewise.
        path: The file in the inbox's folder of rejected files.
    """

    source: RefusalSource
    reason: str
    status: str = ""
    attribute: str = ""
    calling_ae_title: str = ""
    calling_host: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    path: Path | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


OnRefused = Callable[[RefusedReceipt], None]
