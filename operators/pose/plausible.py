"""Frames in which an estimator took something else for the person who walks.

A person who walks past or towards a camera that stands still moves evenly and changes in size
evenly. Frames far off the even course that most frames agree on are not of that person.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.pose.body25 import Joint

LEAST_SHARE = 0.6
"""Below this share of frames that agree there is no even course, and nothing is called implausible."""
TRIALS = 120
SIZE_TOLERANCE = 0.22
PLACE_TOLERANCE = 0.45
"""Of the length of the body, neck to ankles."""
LEAST_FRAMES = 20
DEGREE = 2


def implausible(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``(frame,)``: True where points are there but lie off the person's course.

    Args:
        points: ``(frame, 25, 3)`` BODY_25.
    """
    out = np.zeros(len(points), dtype=bool)
    legs = [Joint.NECK, Joint.MID_HIP, Joint.L_KNEE, Joint.R_KNEE, Joint.L_ANKLE, Joint.R_ANKLE]
    seen = np.flatnonzero((points[:, legs, 2] > 0).all(axis=1))
    partly = np.flatnonzero((points[..., 2] > 0).any(axis=1))
    if seen.size < LEAST_FRAMES:
        return out
    size = _body_length(points[seen].astype(float))
    course = np.column_stack([1 / np.maximum(size, 1.0), points[seen, Joint.MID_HIP, :2]])
    when = np.linspace(-1, 1, len(points))[seen]
    good = _agreeing(when, course)
    if good.mean() < LEAST_SHARE:
        return out
    for _ in range(3):
        fit = np.polyfit(when[good], course[good], DEGREE + 1)
        good = _near(np.vander(when, DEGREE + 2) @ fit, course, 1.3)
    out[seen[~good]] = True
    out[np.setdiff1d(partly, seen)] = True
    return out


def _body_length(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Neck to hips to knees to ankles, in pixels."""
    places = points[..., :2]
    trunk = np.linalg.norm(places[:, Joint.NECK] - places[:, Joint.MID_HIP], axis=1)
    legs = [
        np.linalg.norm(places[:, hip] - places[:, knee], axis=1)
        + np.linalg.norm(places[:, knee] - places[:, ankle], axis=1)
        for hip, knee, ankle in (
            (Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE),
            (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE),
        )
    ]
    return np.asarray(trunk + np.mean(legs, axis=0))


def _agreeing(when: NDArray[np.float64], course: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The frames that agree with the even course on which most do, of many tried (RANSAC)."""
    rng = np.random.default_rng(0)
    basis = np.vander(when, DEGREE + 1)
    best = np.zeros(when.size, dtype=bool)
    for _ in range(TRIALS):
        chosen = np.sort(rng.choice(when.size, 5, replace=False))
        if when[chosen[-1]] - when[chosen[0]] < 0.5:
            continue
        fit = np.linalg.lstsq(basis[chosen], course[chosen], rcond=None)[0]
        good = _near(basis @ fit, course, 1.0)
        if good.sum() > best.sum():
            best = good
    return best


def _near(even: NDArray[np.float64], course: NDArray[np.float64], slack: float) -> NDArray[np.bool_]:
    length = 1 / np.maximum(even[:, 0], 1e-6)
    size_off = np.abs(np.log(np.maximum(course[:, 0], 1e-6) * length))
    place_off = np.linalg.norm(course[:, 1:] - even[:, 1:], axis=1) / length
    return np.asarray((size_off < SIZE_TOLERANCE * slack) & (place_off < PLACE_TOLERANCE * slack))
