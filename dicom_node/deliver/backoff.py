"""When an undelivered result is tried again. Pure, so that a restarted node goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator

FIRST_DELAY_S = 5.0
"""A peer that restarts a service is back after seconds."""

LONGEST_DELAY_S = 900.0
"""A peer that was down for a night is noticed within a quarter of an hour."""


def next_delay_s(attempt: int) -> float:
    """Seconds to wait after the failed attempt of this number, counted from 1.

    Doubles from `FIRST_DELAY_S` to `LONGEST_DELAY_S`; the same number gives the same delay.

    Raises:
        ValueError: ``attempt`` is below 1.

    >>> [next_delay_s(n) for n in (1, 2, 3, 8, 9, 1000)]
    [5.0, 10.0, 20.0, 640.0, 900.0, 900.0]
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    doublings = min(attempt - 1, 32)
    return min(FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S)


def delays_s(retry_for_hours: float) -> Iterator[float]:
    """The delays between attempts until ``retry_for_hours`` have been waited.

    >>> list(delays_s(0.01))
    [5.0, 10.0, 20.0, 1.0]
    >>> round(sum(delays_s(72)) / 3600, 6), len(list(delays_s(72)))
    (72.0, 295)
    """
    left_s = retry_for_hours * 3600.0
    attempt = 1
    while left_s > 0:
        delay_s = min(next_delay_s(attempt), left_s)
        yield delay_s
        left_s -= delay_s
        attempt += 1
