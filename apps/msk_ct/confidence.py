"""What the uncertainty of a structure says about its accuracy, as held-out patients have shown it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apps.msk_ct.structures import SEGMENTS

DEFAULT_FAILED_BELOW = 0.8
FAILED_BELOW_SD = 2.0


def relative_variance(psv: Mapping[int, float], settings: Mapping[str, Any]) -> dict[int, float]:
    """PSV over the limit of its structure, by segment number; above 1 is low confidence.

    Args:
        psv: By segment number.
        settings: The bundle's inference.json, whose ``confidence`` the training has written.
    """
    limits = settings.get("confidence", {}).get("psv_limits", {})
    return {
        number: value / limits[SEGMENTS[number - 1].structure.name]
        for number, value in psv.items()
        if SEGMENTS[number - 1].structure.name in limits
    }


def low_confidence(psv: Mapping[int, float], settings: Mapping[str, Any]) -> frozenset[int]:
    """Numbers of the segments whose PSV is above the limit of their structure."""
    return frozenset(n for n, value in relative_variance(psv, settings).items() if value > 1)


def unknown_confidence(psv: Mapping[int, float], settings: Mapping[str, Any]) -> frozenset[int]:
    """Numbers of the segments for whose structure the bundle has no limit."""
    return frozenset(psv) - frozenset(relative_variance(psv, settings))


def describe_profile(profile: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning where the limits were measured with another profile than a CT was analysed with."""
    measured = settings.get("confidence", {}).get("profile", profile)
    if measured == profile:
        return ()
    return (
        f"The limits of low expected accuracy were measured with the profile {measured} of the model, this "
        f"CT was analysed with the profile {profile}: what is marked, and what is not, is less certain.",
    )


def failed_below(settings: Mapping[str, Any]) -> float:
    """The Dice below which a segment counts as failed, from the bundle's inference.json."""
    return float(settings.get("confidence", {}).get("failed_below_dice", DEFAULT_FAILED_BELOW))


def calibrate(
    structures: Mapping[str, Sequence[tuple[float, float]]], *, passes: int, profile: str
) -> dict[str, Any]:
    """``confidence`` of inference.json from held-out patients.

    A segment has failed when its Dice is more than `FAILED_BELOW_SD` standard deviations below the
    mean of all. One PSV for all structures, the one that parts failed segments from others best (Youden's
    index), is the limit of each structure that patients were held out for. Limits relative to
    what is usual for a structure parted them less well where this was tried.

    Args:
        structures: By name, (PSV, Dice) of each segment of the held-out patients.
        passes: Stochastic passes of these numbers.
        profile: Of these numbers.
    """
    seen = [name for name, pairs in structures.items() if pairs]
    psv = np.array([value for name in seen for value, _ in structures[name]])
    dice = np.array([value for name in seen for _, value in structures[name]])
    limit = float(dice.mean() - FAILED_BELOW_SD * dice.std())
    failed = dice < limit
    steps = np.unique(psv)
    gains = [
        ((psv > step) & failed).sum() / max(failed.sum(), 1)
        - ((psv > step) & ~failed).sum() / max((~failed).sum(), 1)
        for step in steps
    ]
    psv_limit = round(float(steps[int(np.argmax(gains))]), 8)
    return {
        "failed_below_dice": round(limit, 4),
        "held_out_segments": len(dice),
        "held_out_failed": int(failed.sum()),
        "passes": passes,
        "profile": profile,
        "psv_limits": dict.fromkeys(seen, psv_limit),
    }
