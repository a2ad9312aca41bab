"""What an app's process says over its socket, read as if it might say anything.

One JSON object a line, each with the number of the request that it belongs to: progress,
``{"number", "progress": {"stage", "share"}}``, and in the end one answer, ``{"number",
"outcome", "reason", "attribute", "traceback"}``. What belongs to an earlier request is passed
over. Anything else is `OffProtocol`; no line, and no number of lines, keeps the node from
looking at the clock and at the memory (`Channel.ask`, ``watch``).
"""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

WATCH_INTERVAL_S: Final = 0.2

LONGEST_LINE_BYTES: Final = 1 << 20
LONGEST_STAGE: Final = 100

MANY_LINES: Final = 20
FLOOD_PAUSE_S: Final = 0.05
"""Who says many lines at once is listened to more slowly: the node has others to serve."""

OUTCOMES: Final = frozenset({"ready", "written", "refused", "out_of_memory", "raised"})

_RECEIVED_AT_ONCE_BYTES: Final = 1 << 16


class OffProtocol(Exception):
    """The process says something that is not of the protocol."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What an app does, one line for people, and the share of it that is done, 0 to 1."""

    number: int
    stage: str
    share: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    number: int
    outcome: str
    reason: str = ""
    attribute: str = ""
    traceback: str = ""


class Channel:
    """The node's end of the socket of one process.

    Args:
        connection: The socket; `close` closes it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()
        self._number = 0

    def close(self) -> None:
        """Hang up, which ends the process."""
        self._connection.close()

    def ask(
        self, request: Mapping[str, Any], tell: Callable[[Progress], None], watch: Callable[[], None]
    ) -> Answer:
        """The answer to a request.

        Args:
            request: What is asked.
            tell: Takes each progress; it must return at once.
            watch: Called several times a second, however much or little is said; what it raises
                ends the waiting.

        Raises:
            OffProtocol: The process says what it must not.
            ConnectionError: It has hung up.
        """
        self._number += 1
        self._connection.sendall((json.dumps({**request, "number": self._number}) + "\n").encode())
        while True:
            watch()
            lines = self._receive()
            for said in map(understood, lines):
                if said.number != self._number:
                    continue
                if isinstance(said, Answer):
                    return said
                tell(said)
            if len(lines) > MANY_LINES:
                time.sleep(FLOOD_PAUSE_S)

    def _receive(self) -> list[bytes]:
        """The lines that came to their end within `WATCH_INTERVAL_S`."""
        self._connection.settimeout(WATCH_INTERVAL_S)
        try:
            chunk = self._connection.recv(_RECEIVED_AT_ONCE_BYTES)
        except TimeoutError:
            return []
        if not chunk:
            raise ConnectionResetError
        self._received += chunk
        lines: list[bytes] = []
        if b"\n" in chunk:
            *ended, begun = bytes(self._received).split(b"\n")
            lines, self._received = ended, bytearray(begun)
        if len(self._received) > LONGEST_LINE_BYTES:
            raise OffProtocol(f"a line is longer than {LONGEST_LINE_BYTES} bytes")
        return lines


def understood(line: bytes) -> Progress | Answer:
    r"""What a line says.

    Raises:
        OffProtocol: It is not of the protocol.

    >>> understood(b'{"number": 1, "progress": {"stage": "segment\\u0000ing", "share": 2}}')
    Progress(number=1, stage='segmenting', share=1.0)
    >>> understood(b'{"number": 1, "outcome": "written"}').outcome
    'written'
    """
    try:
        said = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise OffProtocol("a line is not JSON") from None
    if not isinstance(said, dict) or type(said.get("number")) is not int:
        raise OffProtocol("a line does not say which request it belongs to")
    number = said["number"]
    if "progress" in said:
        return _progress(number, said["progress"])
    outcome = said.get("outcome")
    if not isinstance(outcome, str) or outcome not in OUTCOMES:
        raise OffProtocol("a line is neither progress nor an answer")
    texts = {key: said.get(key, "") for key in ("reason", "attribute", "traceback")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise OffProtocol(f"the {key} of an answer is not text")
    return Answer(number, outcome, **{key: _storable(text) for key, text in texts.items()})


def _progress(number: int, said: Any) -> Progress:
    if not isinstance(said, dict) or not isinstance(said.get("stage"), str):
        raise OffProtocol("progress does not say what is being done")
    share = said.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise OffProtocol("progress does not say as a number how much is done")
    if isinstance(share, float) and not math.isfinite(share):
        raise OffProtocol("progress is no finite number")
    stage = "".join(character for character in said["stage"] if character.isprintable())
    return Progress(number, stage[:LONGEST_STAGE], float(min(max(share, 0), 1)))


def _storable(text: str) -> str:
    """A text that every file and database takes: PostgreSQL has no NUL, UTF-8 no half characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
