"""What the pose estimator does to true points, learned from phantoms that it really saw.

Rendering and estimating a walk takes seconds, simulating its joints takes milliseconds. The
bank keeps, for clips that went through the estimator, how far each point was off in each frame
and when the legs were exchanged. Another simulated walk gets the errors of one of these clips,
frame by frame at the same phase of the stride, because errors come with passing legs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.gait_ataxia.sides import LEFT_LEG, RIGHT_LEG
from apps.gait_ataxia.signals import leg_px, mirrored
from operators.pose.body25 import Joint, PoseSeries

Swaps = tuple[tuple[list[int], list[int]], ...]
LIMBS: Swaps = (
    (list(LEFT_LEG + RIGHT_LEG), list(RIGHT_LEG + LEFT_LEG)),
    (
        [Joint.L_SHOULDER, Joint.L_ELBOW, Joint.L_WRIST, Joint.R_SHOULDER, Joint.R_ELBOW, Joint.R_WRIST],
        [Joint.R_SHOULDER, Joint.R_ELBOW, Joint.R_WRIST, Joint.L_SHOULDER, Joint.L_ELBOW, Joint.L_WRIST],
    ),
)
"""Points of legs and of arms, and their partners on the other side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """The errors of one clip, as of a walk to the right.

    Args:
        offsets: ``(frame, 25, 2)`` float32, leg lengths.
        confidence: ``(frame, 25)`` float32, 0 where a point is missing.
        exchanged: ``(frame, 2)``: legs, arms given to the other side.
        phase: ``(frame,)`` strides walked.
        view: ``frontal`` or ``sagittal``.
    """

    offsets: NDArray[np.float32]
    confidence: NDArray[np.float32]
    exchanged: NDArray[np.bool_]
    phase: NDArray[np.float64]
    view: str


def phase_of(strikes_s: NDArray[np.float64], time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strides walked at these times, whole numbers at the strikes of one foot."""
    if strikes_s.size < 2:
        return time_s / 1.2
    stride = float(np.median(np.diff(strikes_s)))
    padded = np.concatenate(
        [strikes_s[0] - stride * np.arange(12, 0, -1), strikes_s, strikes_s[-1] + stride * np.arange(1, 13)]
    )
    return np.interp(time_s, padded, np.arange(padded.size))


def errors_of(
    pose: PoseSeries, joints_px: NDArray[np.float64], strikes_s: dict[str, NDArray[np.float64]], view: str
) -> Errors:
    """The errors of an estimated clip of which the joints are known."""
    frames = min(len(pose.points), len(joints_px))
    found, true = pose.points[:frames].astype(float), joints_px[:frames]
    true = np.concatenate([true, np.ones((frames, 25, 1))], axis=2)
    side = "L"
    if view == "sagittal" and true[-1, 8, 0] < true[0, 8, 0]:
        found, true, side = mirrored(found, pose.columns), mirrored(true, pose.columns), "R"
    scale = leg_px(true)
    exchanged = np.stack([_is_exchanged(found, true, *limbs) for limbs in LIMBS], axis=1)
    _exchange(true, exchanged)
    offsets = (found[..., :2] - true[..., :2]) / scale[:, None, None]
    offsets[found[..., 2] <= 0] = 0
    return Errors(
        offsets=np.clip(offsets, -1.5, 1.5).astype(np.float32),
        confidence=found[..., 2].astype(np.float32),
        exchanged=exchanged,
        phase=phase_of(np.asarray(strikes_s[side]), np.arange(frames) / pose.frame_rate),
        view=view,
    )


def _is_exchanged(
    found: NDArray[np.float64], true: NDArray[np.float64], joints: list[int], partners: list[int]
) -> NDArray[np.bool_]:
    seen = found[:, joints, 2] > 0
    keep = (np.linalg.norm(found[:, joints, :2] - true[:, joints, :2], axis=2) * seen).sum(axis=1)
    swap = (np.linalg.norm(found[:, joints, :2] - true[:, partners, :2], axis=2) * seen).sum(axis=1)
    return np.asarray(swap < 0.7 * keep)


def _exchange(points: NDArray[np.float64], exchanged: NDArray[np.bool_]) -> None:
    """Exchange left and right limbs in these frames, in place."""
    for column, (joints, partners) in enumerate(LIMBS):
        rows = exchanged[:, column, None, None]
        points[:, joints] = np.where(rows, points[:, partners], points[:, joints])


def with_errors(
    joints_px: NDArray[np.float64],
    strikes_s: dict[str, NDArray[np.float64]],
    errors: Errors,
    rng: np.random.Generator,
    *,
    columns: int,
    rows: int,
    frame_rate: float,
) -> PoseSeries:
    """A simulated walk as an estimator would have seen it.

    Args:
        joints_px: ``(frame, 25, 2)`` true pixels.
        strikes_s: Side to heel strikes.
        errors: Of a clip of the same view.
        rng: Decides where in the clip's strides the errors begin, and their size.
        columns: Of the video.
        rows: Of the video.
        frame_rate: Of the video.
    """
    frames = len(joints_px)
    true = np.concatenate([joints_px, np.ones((frames, 25, 1))], axis=2)
    is_left = errors.view == "sagittal" and true[-1, 8, 0] < true[0, 8, 0]
    if is_left:
        true = mirrored(true, columns)
    phase = phase_of(np.asarray(strikes_s["R" if is_left else "L"]), np.arange(frames) / frame_rate)
    chosen = _same_phase(phase, errors.phase, rng)
    _exchange(true, errors.exchanged[chosen])
    size = float(rng.uniform(0.8, 1.2))
    points = true.copy()
    points[..., :2] += size * errors.offsets[chosen] * leg_px(true)[:, None, None]
    points[..., 2] = errors.confidence[chosen]
    points[points[..., 2] <= 0] = 0
    if is_left:
        points = mirrored(points, columns)
    return PoseSeries(
        points=points.astype(np.float32),
        frame_rate=frame_rate,
        columns=columns,
        rows=rows,
        estimator="simulated",
    )


def _same_phase(
    wanted: NDArray[np.float64], there: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each frame one of the clip at the same phase of a stride, going on stride by stride."""
    strides = max(int(np.floor(there[-1] - there[0])), 1)
    begin = np.ceil(there[0]) + rng.integers(strides)
    phase = wanted - np.floor(wanted[0]) + begin
    span = max(there[-1] - there[0], 1e-6)
    whole = max(np.floor(span), 1.0)
    phase = there[0] + np.mod(phase - there[0], whole) if span >= 1 else np.clip(phase, there[0], there[-1])
    return np.clip(np.searchsorted(there, phase), 0, there.size - 1).astype(np.int64)
