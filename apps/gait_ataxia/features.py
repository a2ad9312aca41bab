"""What the network sees of a walk: 129 numbers a sample, and the gait parameters beside them.

For each of 25 points x, y (leg lengths from the middle of the hips) and confidence, then the
velocities, then four of the walk as a whole: way of the pelvis sideways and down, size of the
person against the clip's median, and forward speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.gait_ataxia.events import Events, find_events, walking_part
from apps.gait_ataxia.parameters import GaitParameters, measure
from apps.gait_ataxia.signals import RATE_HZ, Walk, as_walk
from operators.pose.body25 import MIRRORED, Joint, PoseSeries

COUNT = 129
_SPEED_UNIT = 4.0
"""Velocities are divided by this, so that they are of the size of positions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """A walk as the network sees it.

    Args:
        sequence: ``(sample, 129)`` float32 at 30 Hz.
        vector: ``(parameter,)`` float32, of `parameters.NAMES`; not a number where unknown.
        view: ``frontal`` or ``sagittal``.
    """

    sequence: NDArray[np.float32]
    vector: NDArray[np.float32]
    view: str

    def flipped(self) -> Features:
        """The walk in a mirror, left and right of the body exchanged; for walks from the front."""
        points = self.sequence[:, :75].reshape(-1, 25, 3)[:, MIRRORED].copy()
        points[..., 0] *= -1
        velocity = self.sequence[:, 75:125].reshape(-1, 25, 2)[:, MIRRORED].copy()
        velocity[..., 0] *= -1
        whole = self.sequence[:, 125:].copy()
        whole[:, 0] *= -1
        flat = [points.reshape(-1, 75), velocity.reshape(-1, 50), whole]
        return Features(sequence=np.concatenate(flat, axis=1), vector=self.vector, view=self.view)


def features_of(walk: Walk) -> tuple[Features, Events, GaitParameters]:
    """Features of a walk, with the events and parameters found on the way.

    Args:
        walk: Without standing, as `walking` gives it.
    """
    events = find_events(walk)
    parameters = measure(walk, events)
    vector = parameters.vector.astype(np.float32)
    return Features(sequence=_sequence(walk), vector=vector, view=walk.view), events, parameters


def walking(pose: PoseSeries, view: str | None) -> Walk | None:
    """The walk in a series of points, standing cut off; None when nobody is tracked for a second."""
    stretch = as_walk(pose, view)
    return None if stretch is None else walking_part(stretch, find_events(stretch))


def _sequence(walk: Walk) -> NDArray[np.float32]:
    seen = (walk.confidence > 0)[..., None]
    points = np.where(seen, np.clip(walk.normalised, -3, 3), 0)
    velocity = np.where(seen, np.clip(np.gradient(points, axis=0) * RATE_HZ / _SPEED_UNIT, -3, 3), 0)
    pelvis = walk.points[:, Joint.MID_HIP] / walk.scale[:, None]
    t = np.linspace(-1, 1, len(pelvis))
    residual = pelvis - np.stack([np.polyval(np.polyfit(t, pelvis[:, k], 2), t) for k in range(2)], axis=1)
    size = np.log(walk.scale / np.median(walk.scale))
    forward = (
        np.gradient(pelvis[:, 0]) * RATE_HZ if walk.view == "sagittal" else np.gradient(size) * RATE_HZ * 10
    )
    whole = np.column_stack([residual * 10, size, np.clip(forward, -4, 4)])
    stacked = np.concatenate([points, walk.confidence[..., None]], axis=2).reshape(len(points), 75)
    out = np.concatenate([stacked, velocity.reshape(len(points), 50), whole], axis=1)
    return np.nan_to_num(out).astype(np.float32)
