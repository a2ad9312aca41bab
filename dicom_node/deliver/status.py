"""What a peer's status means, with Part and section, and what its administrator may check.

The same values come back from C-STORE as Status (0000,0900) and from STOW-RS as Failure
Reason (0008,1197) and Warning Reason (0008,1196).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SUCCESS: Final = 0x0000
DUPLICATE_SOP_INSTANCE: Final = 0x0111
_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})


@dataclass(frozen=True)
class Meaning:
    """One status or range of them.

    Args:
        first: The lowest value.
        last: The highest.
        text: The standard's words.
        section: Where they stand.
        check: What to look at; empty for a warning.
    """

    first: int
    last: int
    text: str
    section: str
    check: str = ""


_MEANINGS: Final = (
    Meaning(0x0105, 0x0105, "No Such Attribute", "PS3.7 Annex C", "the archive's log names the attribute"),
    Meaning(
        0x0106, 0x0106, "Invalid Attribute Value", "PS3.7 Annex C", "the archive's log names the attribute"
    ),
    Meaning(0x0107, 0x0107, "Attribute List Error", "PS3.7 Annex C"),
    Meaning(0x0110, 0x0110, "Processing Failure", "PS3.7 Annex C", "the archive's log says what failed"),
    Meaning(
        0x0111, 0x0111, "Duplicate SOP Instance", "PS3.7 Annex C", "the archive holds this SOP Instance UID"
    ),
    Meaning(0x0116, 0x0116, "Attribute Value Out of Range", "PS3.7 Annex C"),
    Meaning(0x0117, 0x0117, "Invalid SOP Instance", "PS3.7 Annex C", "the archive's rule for UIDs"),
    Meaning(0x0118, 0x0118, "No Such SOP Class", "PS3.7 Annex C", "whether the archive knows this SOP class"),
    Meaning(
        0x0119, 0x0119, "Class-Instance Conflict", "PS3.7 Annex C", "whether another object has this UID"
    ),
    Meaning(0x0120, 0x0120, "Missing Attribute", "PS3.7 Annex C", "the archive's log names the attribute"),
    Meaning(
        0x0121, 0x0121, "Missing Attribute Value", "PS3.7 Annex C", "the archive's log names the attribute"
    ),
    Meaning(
        0x0122,
        0x0122,
        "Refused: SOP Class Not Supported",
        "PS3.7 Annex C",
        "that this SOP class is enabled at the archive for this AE title",
    ),
    Meaning(
        0x0124,
        0x0124,
        "Refused: Not Authorized",
        "PS3.7 Annex C",
        "that the archive permits this node's AE title or account to store",
    ),
    Meaning(0x0210, 0x0210, "Duplicate Invocation", "PS3.7 Annex C", "nothing: it is tried again"),
    Meaning(0x0211, 0x0211, "Unrecognized Operation", "PS3.7 Annex C", "that the peer is a storage SCP"),
    Meaning(0x0212, 0x0212, "Mistyped Argument", "PS3.7 Annex C", "the archive's log"),
    Meaning(
        0x0213, 0x0213, "Resource Limitation", "PS3.7 Annex C", "free disk, licences and load of the archive"
    ),
    Meaning(
        0xA700, 0xA7FF, "Refused: Out of Resources", "PS3.4 B.2.3", "the archive's free disk and database"
    ),
    Meaning(
        0xA900,
        0xA9FF,
        "Error: Data Set does not match SOP Class",
        "PS3.4 B.2.3",
        "which attribute the archive misses, in its log",
    ),
    Meaning(0xB000, 0xB000, "Warning: Coercion of Data Elements", "PS3.4 B.2.3"),
    Meaning(0xB006, 0xB006, "Warning: Elements Discarded", "PS3.4 B.2.3"),
    Meaning(0xB007, 0xB007, "Warning: Data Set does not match SOP Class", "PS3.4 B.2.3"),
    Meaning(
        0xC122,
        0xC122,
        "Error: Referenced Transfer Syntax not supported",
        "PS3.18 Annex I",
        "the transfer syntaxes that the archive takes",
    ),
    Meaning(
        0xC000,
        0xCFFF,
        "Error: Cannot understand",
        "PS3.4 B.2.3",
        "what the archive's log says about the object",
    ),
)


def is_warning(status: int) -> bool:
    """True when the peer stored the object and has something to say about it.

    >>> is_warning(0xB000), is_warning(0xA700), is_warning(0x0000)
    (True, False, False)
    """
    return status in _WARNINGS or 0xB000 <= status <= 0xBFFF


def is_stored(status: int) -> bool:
    """True when the peer holds the object: success, a warning, or it held it before.

    >>> is_stored(0x0000), is_stored(0x0111), is_stored(0x0122)
    (True, True, False)
    """
    return status in (SUCCESS, DUPLICATE_SOP_INSTANCE) or is_warning(status)


def describe(status: int) -> str:
    """The status with its meaning, section and what to check.

    >>> describe(0xA701)
    "0xA701 Refused: Out of Resources (PS3.4 B.2.3); check the archive's free disk and database"
    >>> describe(0xB000)
    '0xB000 Warning: Coercion of Data Elements (PS3.4 B.2.3)'
    >>> describe(0x0300)
    "0x0300, which the standard does not define for storage; check the archive's log"
    """
    for meaning in _MEANINGS:
        if meaning.first <= status <= meaning.last:
            advice = f"; check {meaning.check}" if meaning.check else ""
            return f"0x{status:04X} {meaning.text} ({meaning.section}){advice}"
    return f"0x{status:04X}, which the standard does not define for storage; check the archive's log"
