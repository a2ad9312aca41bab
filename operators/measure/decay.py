"""Physical decay of I-123, normalised counts and washout."""

from __future__ import annotations

HALF_LIFE_HOURS = 13.2
"""Of I-123 (science of the planar protocol; the same value as in the literature on MIBG)."""


def decay_factor(hours: float) -> float:
    """Fraction of I-123 that is left after some hours.

    >>> decay_factor(13.2)
    0.5
    """
    return float(0.5 ** (hours / HALF_LIFE_HOURS))


def normalised_counts(
    mean_counts: float, *, hours_after_injection: float, weight_kg: float, activity_mbq: float
) -> float:
    """Mean counts corrected to injection, for dose and body weight: C * 2^(t/13.2 h) * W / D.

    >>> normalised_counts(100.0, hours_after_injection=13.2, weight_kg=60.0, activity_mbq=120.0)
    100.0
    """
    return mean_counts / decay_factor(hours_after_injection) * weight_kg / activity_mbq


def washout_percent(
    early: float,
    late: float,
    *,
    hours_between: float,
    early_background: float = 0.0,
    late_background: float = 0.0,
) -> float:
    """Share of the early counts that left the heart, decay-corrected, with or without background.

    WR = 100 * [(He - Me) - (Hl - Ml) / k] / (He - Me), k the fraction that physical decay leaves.

    Raises:
        ValueError: The early counts do not exceed their background.

    >>> washout_percent(100.0, 35.0, hours_between=13.2)
    30.0
    >>> washout_percent(100.0, 40.0, hours_between=13.2, early_background=50.0, late_background=25.0)
    40.0
    """
    early_net = early - early_background
    late_net = (late - late_background) / decay_factor(hours_between)
    if early_net <= 0:
        raise ValueError(f"early counts {early:g} do not exceed their background {early_background:g}")
    return 100.0 * (early_net - late_net) / early_net
