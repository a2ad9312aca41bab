"""One number with its name and unit, or the fact that it could not be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measurement as it goes into the SR, the PDF and ``result.json``.

    Args:
        name: Stable key, snake case with phase, such as ``hmr_std_late``.
        meaning: What a person reads, such as "standardised heart-to-mediastinum ratio".
        value: Or None when it could not be computed; `why_missing` then says why.
        unit: UCUM, such as ``{counts}``, ``{ratio}``, ``%``, ``MBq``.
        code: What is measured, whatever the organ, side and phase: the key of the app's code tables,
            for private codes (99DAIN) their value.
        phase: ``early``, ``late`` or "" when it belongs to both.
        organ: Label name it belongs to, or "".
        why_missing: A sentence, only when `value` is None.
    """

    name: str
    meaning: str
    value: float | None
    unit: str
    code: str
    phase: str = ""
    organ: str = ""
    why_missing: str = ""


def missing(quantities: Sequence[Quantity]) -> tuple[str, ...]:
    """A sentence for each reason, with what it takes away.

    >>> def lacking(meaning: str) -> Quantity:
    ...     return Quantity(name="n", meaning=meaning, value=None, unit="%", code="C", why_missing="no dose.")
    >>> missing([lacking("washout"), lacking("uptake")])
    ('Not measured: washout, uptake. Reason: no dose.',)
    """
    reasons: dict[str, list[str]] = {}
    for quantity in quantities:
        if quantity.value is None and quantity.why_missing:
            reasons.setdefault(quantity.why_missing.rstrip("."), []).append(quantity.meaning)
    return tuple(f"Not measured: {', '.join(names)}. Reason: {why}." for why, names in reasons.items())
