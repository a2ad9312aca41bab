"""Left and right of legs seen from the side, put right where the estimator exchanged them.

When legs pass each other an estimator may give the left leg's points to the right one for a
while. Which two places the feet are at stays right, and which foot is in front alternates from
step to step: that decides.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import find_peaks

from operators.pose.body25 import Joint

LEFT_LEG = (Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE, Joint.L_HEEL, Joint.L_BIG_TOE, Joint.L_SMALL_TOE)
RIGHT_LEG = (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE, Joint.R_HEEL, Joint.R_BIG_TOE, Joint.R_SMALL_TOE)
_FEET = ((Joint.L_ANKLE, Joint.L_HEEL, Joint.L_BIG_TOE), (Joint.R_ANKLE, Joint.R_HEEL, Joint.R_BIG_TOE))
SHORTEST_STEP_S = 0.25
IRREGULAR_STEP_COST = 0.8
"""Cost of a foot being in front twice in a row, beside 1 for a step whose labels all disagree."""


def with_sides(points: NDArray[np.float64], frame_rate: float) -> NDArray[np.float64]:
    """The points of a walk to the right, with legs exchanged in the frames that ask for it.

    Args:
        points: ``(frame, 25, 3)``, x, y and confidence.
        frame_rate: Frames per second.
    """
    left, right = (_mean_x(points, feet) for feet in _FEET)
    ahead = np.nan_to_num(left - right)
    apart = gaussian_filter1d(median_filter(np.abs(ahead), size=5, mode="nearest"), 0.05 * frame_rate)
    level = float(np.percentile(apart, 90)) if apart.size else 0.0
    peaks, _ = find_peaks(apart, prominence=0.2 * level, distance=max(1, int(SHORTEST_STEP_S * frame_rate)))
    if peaks.size < 3:
        return points
    borders = [int(a + np.argmin(apart[a : b + 1])) for a, b in itertools.pairwise(peaks)]
    borders = _borders_at_ends(apart, borders, peaks, level)
    starts = np.array([0, *borders, len(ahead)])
    votes = np.array([_vote(ahead[a:b]) for a, b in itertools.pairwise(starts)])
    is_left_ahead = _alternating(votes)
    wanted = np.repeat(np.where(is_left_ahead, 1.0, -1.0), np.diff(starts))
    exchanged = (ahead * wanted < 0)[:, None, None]
    out = points.copy()
    legs, partners = list(LEFT_LEG + RIGHT_LEG), list(RIGHT_LEG + LEFT_LEG)
    out[:, legs] = np.where(exchanged, points[:, partners], points[:, legs])
    return out


def _borders_at_ends(
    apart: NDArray[np.float64], borders: list[int], peaks: NDArray[np.int64], level: float
) -> list[int]:
    """The borders, with those of steps that the video shows only a part of."""
    first = int(np.argmin(apart[: peaks[0] + 1]))
    last = int(peaks[-1] + np.argmin(apart[peaks[-1] :]))
    before = [first] if first > 1 and apart[:first].max() > apart[first] + 0.15 * level else []
    after = [last] if last < len(apart) - 2 and apart[last:].max() > apart[last] + 0.15 * level else []
    return before + borders + after


def _mean_x(points: NDArray[np.float64], joints: tuple[Joint, ...]) -> NDArray[np.float64]:
    chosen = points[:, list(joints)]
    weight = (chosen[..., 2] > 0).astype(float)
    total = weight.sum(axis=1)
    mean = (chosen[..., 0] * weight).sum(axis=1) / np.maximum(total, 1)
    return np.where(total > 0, mean, np.nan)


def _vote(ahead: NDArray[np.float64]) -> float:
    """From -1, right foot ahead all the time, to 1, left foot ahead, far apart counting more."""
    total = float(np.abs(ahead).sum())
    return float(ahead.sum()) / total if total else 0.0


def _alternating(votes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The likeliest sequence of the foot in front, which mostly alternates (Viterbi).

    >>> _alternating(np.array([0.9, -0.8, 0.7, 0.1, 0.9])).tolist()
    [True, False, True, False, True]
    """
    costs = np.stack([(1 + votes) / 2, (1 - votes) / 2], axis=1)  # right ahead, left ahead
    best = costs[0].copy()
    origin = np.zeros((len(votes), 2), dtype=int)
    for k in range(1, len(votes)):
        reach = best[:, None] + np.array([[IRREGULAR_STEP_COST, 0.0], [0.0, IRREGULAR_STEP_COST]])
        origin[k] = reach.argmin(axis=0)
        best = reach.min(axis=0) + costs[k]
    path = [int(best.argmin())]
    for k in range(len(votes) - 1, 0, -1):
        path.append(int(origin[k][path[-1]]))
    return np.array(path[::-1], dtype=bool)
