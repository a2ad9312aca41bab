"""When the frames of a video are shown: their rate, and whether it is constant.

Pure functions over presentation times. DICOM has one Frame Time for all frames here (PS3.3
C.7.6.5), so a video whose times are not those of one rate is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Final

STANDARD_RATES: Final = tuple(
    Fraction(*rate)
    for rate in (
        (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1),
        (60000, 1001), (60, 1), (100, 1), (120000, 1001), (120, 1), (240000, 1001), (240, 1),
    )
)  # fmt: skip
"""Frames per second that cameras have."""

JITTER: Final = Fraction(1, 4)
"""Part of a frame's time by which a frame may be early or late in a video of constant rate."""

SAME_RATE: Final = Fraction(1, 2000)
"""Relative difference of two rates that are one: half of that between 29.97 and 30."""

NOMINAL_RATE: Final = Fraction(1, 50)
"""Relative difference from a camera's rate of one that jitter hides."""


_ROUNDING_TICKS: Final = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a video's frames.

    Attributes:
        rate: Frames per second; of a variable rate the nominal one, at which most frames follow.
        is_constant: Whether each frame is where this rate has it, within `JITTER`.
        duration_s: From the first frame to the end of the last one.
        start_s: When the first frame is shown, on the container's clock.
    """

    rate: Fraction
    is_constant: bool
    duration_s: float
    start_s: float = 0.0


def _nearest(rate: Fraction, tolerance: Fraction) -> Fraction | None:
    best = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return best if abs(best - rate) <= tolerance * best else None


def timing_of(ticks: Sequence[int], time_base: Fraction) -> Timing:
    """The timing of frames shown at these times.

    Args:
        ticks: Presentation times in any order, one per frame, at least two different ones.
        time_base: Seconds per tick.

    Raises:
        ValueError: All times are the same, or two frames have one time.

    Example:
        >>> timing_of([0, 33, 67, 100, 133], Fraction(1, 1000)).is_constant
        True
        >>> timing_of([0, 33, 67, 200, 233], Fraction(1, 1000)).is_constant
        False
    """
    shown = sorted(ticks)
    steps = [later - sooner for sooner, later in pairwise(shown)]
    if not steps or min(steps) <= 0:
        raise ValueError("two frames have one time")
    span = (shown[-1] - shown[0]) * time_base
    measured = Fraction(len(steps)) / span
    exact = measured.limit_denominator(100_000)
    is_even = max(steps) - min(steps) <= _ROUNDING_TICKS
    likely = (_nearest(measured, SAME_RATE), None if is_even else _nearest(measured, NOMINAL_RATE), exact)
    for rate in likely:
        if rate is not None and _is_on_grid(shown, 1 / (rate * time_base)):
            return Timing(rate, True, float(span + 1 / rate), float(shown[0] * time_base))
    typical = 1 / (Fraction(median(steps)).limit_denominator(1000) * time_base)
    rate = _nearest(typical, NOMINAL_RATE) or Fraction(round(typical * 1000), 1000)
    return Timing(rate, False, float(span + 1 / rate), float(shown[0] * time_base))


def _is_on_grid(shown: Sequence[int], step: Fraction) -> bool:
    """Whether frame i is at i steps, up to one offset for all, within `JITTER`."""
    late = [float(tick - shown[0] - index * step) for index, tick in enumerate(shown)]
    return max(late) - min(late) <= 2 * float(JITTER * step)


def peak_bits_per_s(ticks: Sequence[int], sizes: Sequence[int], time_base: Fraction) -> float:
    """The most bits in any one second of a video, or in all of a shorter one, per second.

    Example:
        >>> peak_bits_per_s([0, 1, 2, 3], [100, 100, 900, 100], Fraction(1, 2))
        8000.0
    """
    shown = sorted(zip(ticks, sizes, strict=True))
    window = max(int(1 / time_base), 1)
    most = total = first = 0
    for tick, size in shown:
        total += size
        while tick - shown[first][0] >= window:
            total -= shown[first][1]
            first += 1
        most = max(most, total)
    return 8.0 * most
