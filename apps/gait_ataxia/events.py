"""Heel strikes and toe-offs out of a walk, from the side and from the front alike.

The camera stands still, so a foot on the floor stands still in the picture too. The foot that
moves faster is the one that swings; where both are equally slow, both carry the body. That
moment in the middle of double support is found to about a frame in either view.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from apps.gait_ataxia.signals import RATE_HZ, Walk
from operators.pose.body25 import Joint

FOOT = {
    "L": (Joint.L_ANKLE, Joint.L_HEEL, Joint.L_BIG_TOE),
    "R": (Joint.R_ANKLE, Joint.R_HEEL, Joint.R_BIG_TOE),
}
STRIKE_BEFORE_CROSSING_S = {"frontal": 0.080, "sagittal": 0.052}
"""Median time from a heel strike to equal speed of the feet, on phantoms of hospital A."""
SWING_SHARE = 0.30
"""A foot swings while it is faster than this share of the swing's peak."""
HYSTERESIS = 0.30
SHORTEST_STEP_S = 0.22
PAUSE_S = 2.0
"""A longer time without a step is standing."""
LEAST_CUT_S = 0.8
"""What is shorter than this before the first step or after the last is left as it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """What the feet do, in seconds of the video; sides as in the `Walk`.

    Args:
        strikes: Side to heel strikes.
        lifts: Side to toe-offs, of the swings in between; not a number where none was found.
        crossings: Middle of each double support.
        leading: For each crossing the side that had just struck.
        supports_s: For each crossing the length of double support; not a number where unknown.
    """

    strikes: dict[str, NDArray[np.float64]]
    lifts: dict[str, NDArray[np.float64]]
    crossings: NDArray[np.float64]
    leading: tuple[str, ...]
    supports_s: NDArray[np.float64]

    @property
    def step_times_s(self) -> NDArray[np.float64]:
        """Every step in order; none over a missed one."""
        steps = np.diff(self.crossings)
        return steps if not steps.size else np.asarray(steps[steps < 1.7 * np.median(steps)])

    @property
    def stride_times_s(self) -> NDArray[np.float64]:
        """Every stride, left and right, in order; none over a missed step."""
        strides = self.crossings[2:] - self.crossings[:-2]
        if not strides.size:
            return strides
        return np.asarray(strides[strides < 1.7 * np.median(strides)])


def foot_speed(walk: Walk, side: str) -> NDArray[np.float64]:
    """``(sample,)`` speed of a foot in the picture, leg lengths per second."""
    foot = walk.points[:, list(FOOT[side])].mean(axis=1)
    speed = np.linalg.norm(np.gradient(foot, axis=0), axis=1) * RATE_HZ / walk.scale
    return np.asarray(gaussian_filter1d(speed, 0.05 * RATE_HZ))


def find_events(walk: Walk) -> Events:
    """All events of a walk; empty where nobody steps."""
    speed = {side: foot_speed(walk, side) for side in "LR"}
    difference = gaussian_filter1d(speed["L"] - speed["R"], 0.05 * RATE_HZ)
    swings = _without_torn_ends(_swings(difference), difference)
    crossings, leading, supports = [], [], []
    lifts: dict[str, list[float]] = {"L": [], "R": []}
    for (side, peak), (following, next_peak) in itertools.pairwise(swings):
        at = _crossing(difference, peak, next_peak)
        landed = _edge(speed[side], peak, next_peak, rising=False)
        lifted = _edge(speed[following], peak, next_peak, rising=True)
        crossings.append(at)
        leading.append(side)
        supports.append((lifted - landed) / RATE_HZ)
        lifts[following].append(lifted / RATE_HZ + walk.start_s)
    times = np.array(crossings) / RATE_HZ + walk.start_s
    before = STRIKE_BEFORE_CROSSING_S[walk.view]
    sides = np.array(leading)
    return Events(
        strikes={side: times[sides == side] - before for side in "LR"}
        if times.size
        else {"L": times, "R": times},
        lifts={side: np.array(found) for side, found in lifts.items()},
        crossings=times,
        leading=tuple(leading),
        supports_s=np.array(supports),
    )


def walking_part(walk: Walk, events: Events) -> Walk:
    """The walk without the time in which the person stands before, after or in between.

    Args:
        walk: The whole stretch.
        events: Of the whole stretch.
    """
    times = events.crossings
    if times.size < 3:
        return walk
    step = float(np.median(np.diff(times)))
    runs = np.split(np.arange(times.size), np.flatnonzero(np.diff(times) > max(PAUSE_S, 2.5 * step)) + 1)
    longest = max(runs, key=len)
    begin = times[longest[0]] - walk.start_s - 1.2 * step
    end = times[longest[-1]] - walk.start_s + 1.2 * step
    first = int(begin * RATE_HZ) if begin > LEAST_CUT_S else 0
    last = int(end * RATE_HZ) if end < walk.duration_s - LEAST_CUT_S else len(walk.points)
    return walk if first == 0 and last == len(walk.points) else walk.part(first, last)


def _swings(difference: NDArray[np.float64]) -> list[tuple[str, int]]:
    """Side and peak sample of each swing, sides alternating."""
    amplitude = float(np.percentile(np.abs(difference), 85)) if difference.size else 0.0
    threshold = HYSTERESIS * amplitude
    swings: list[tuple[str, int]] = []
    for index in np.flatnonzero(np.abs(difference) > threshold):
        side = "L" if difference[index] > 0 else "R"
        if swings and swings[-1][0] == side:
            if abs(difference[index]) > abs(difference[swings[-1][1]]):
                swings[-1] = (side, int(index))
        else:
            swings.append((side, int(index)))
    return _without_flicker(swings, difference)


def _without_flicker(swings: list[tuple[str, int]], difference: NDArray[np.float64]) -> list[tuple[str, int]]:
    """Take away the weakest swing of a pair that follows too fast, and join what it had cut."""
    swings = list(swings)
    while len(swings) > 2:
        gaps = np.diff([peak for _, peak in swings]) / RATE_HZ
        typical = float(np.median(gaps))
        shortest = int(np.argmin(gaps))
        if gaps[shortest] > max(SHORTEST_STEP_S, 0.45 * typical):
            break
        pair = (shortest, shortest + 1)
        weakest = min(pair, key=lambda k: abs(difference[swings[k][1]]))
        del swings[weakest]
        swings = _joined(swings, difference)
    return swings


def _without_torn_ends(
    swings: list[tuple[str, int]], difference: NDArray[np.float64]
) -> list[tuple[str, int]]:
    """Leave out a first or last swing that the video shows only a part of, too close to its neighbour."""
    swings = list(swings)
    for end, inner in ((0, 1), (-1, -2)):
        if len(swings) < 5:
            break
        typical = float(np.median(np.diff([peak for _, peak in swings])))
        is_close = abs(swings[end][1] - swings[inner][1]) < 0.75 * typical
        is_cut = swings[end][1] <= 3 or swings[end][1] >= difference.size - 4
        if is_close or is_cut:
            del swings[end]
    return swings


def _joined(swings: list[tuple[str, int]], difference: NDArray[np.float64]) -> list[tuple[str, int]]:
    joined: list[tuple[str, int]] = []
    for side, peak in swings:
        if joined and joined[-1][0] == side:
            if abs(difference[peak]) > abs(difference[joined[-1][1]]):
                joined[-1] = (side, peak)
        else:
            joined.append((side, peak))
    return joined


def _crossing(difference: NDArray[np.float64], first: int, last: int) -> float:
    """Sample, with a fraction, at which the difference changes its sign; the middle one of several."""
    part = difference[first : last + 1]
    at = np.flatnonzero((part[:-1] < 0) != (part[1:] < 0))
    if not at.size:
        return (first + last) / 2
    k = int(at[len(at) // 2])
    return first + k + float(part[k] / (part[k] - part[k + 1]))


def _edge(speed: NDArray[np.float64], first: int, last: int, *, rising: bool) -> float:
    """Sample at which a foot starts (rising) or ends its swing between two peaks."""
    part = speed[first : last + 1]
    threshold = SWING_SHARE * (part[-1] if rising else part[0])
    is_fast = part > threshold
    if rising:
        slow = np.flatnonzero(~is_fast)
        if not slow.size or slow[-1] + 1 >= part.size:
            return float("nan")
        k = int(slow[-1])
        return first + k + float((threshold - part[k]) / (part[k + 1] - part[k]))
    slow = np.flatnonzero(~is_fast)
    if not slow.size or slow[0] == 0:
        return float("nan")
    k = int(slow[0])
    return first + k - 1 + float((part[k - 1] - threshold) / (part[k - 1] - part[k]))
