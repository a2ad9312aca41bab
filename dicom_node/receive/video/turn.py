"""How a picture is to be turned for display: the matrix that cameras write, and the filters for it."""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final


class Turn(Enum):
    """A turn by quarters, or a reflection; the value is FFmpeg's filters that do it.

    Attributes:
        swaps_sides: Width becomes height.
    """

    NONE = ()
    QUARTER_CLOCKWISE = (("transpose", "clock"),)
    HALF = (("hflip", ""), ("vflip", ""))
    QUARTER_COUNTER_CLOCKWISE = (("transpose", "cclock"),)
    LEFT_TO_RIGHT = (("hflip", ""),)
    UPSIDE_DOWN = (("vflip", ""),)
    TRANSPOSED = (("transpose", "cclock_flip"),)
    ANTI_TRANSPOSED = (("transpose", "clock_flip"),)

    @property
    def swaps_sides(self) -> bool:
        """Whether width becomes height."""
        return any(name == "transpose" for name, _ in self.value)


_TURNS: Final = {
    (1, 0, 0, 1): Turn.NONE,
    (-1, 0, 0, -1): Turn.HALF,
    (-1, 0, 0, 1): Turn.LEFT_TO_RIGHT,
    (1, 0, 0, -1): Turn.UPSIDE_DOWN,
    (0, 1, -1, 0): Turn.QUARTER_CLOCKWISE,
    (0, -1, 1, 0): Turn.QUARTER_COUNTER_CLOCKWISE,
    (0, 1, 1, 0): Turn.TRANSPOSED,
    (0, -1, -1, 0): Turn.ANTI_TRANSPOSED,
}


def turn_of(matrix: bytes | None) -> Turn:
    """The turn that a display matrix asks for; one by other angles is taken as the nearest quarter.

    Args:
        matrix: Nine 32-bit integers of this machine's byte order, row by row: a point (x, y), y
            downwards, goes to (a x + c y, b x + d y) (ISO 14496-12 8.3.2). None is no turn.

    Example:
        >>> turn_of(struct.pack("=9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)).name
        'QUARTER_CLOCKWISE'
    """
    if matrix is None or len(matrix) < 36:
        return Turn.NONE
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    is_upright = abs(a) + abs(d) >= abs(b) + abs(c)
    signs = (_sign(a), 0, 0, _sign(d)) if is_upright else (0, _sign(b), _sign(c), 0)
    return _TURNS.get(signs, Turn.NONE)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
