"""Walkers: who they are, how ataxic they are, and how all their joints move.

World frame: x forward along the walk, y to the walker's left, z up, metres. Feet stay where
they are put until they leave the floor, and knees follow by inverse kinematics, so that
double support, step width and stride times are true by construction. What severity does to
gait is in `SIGNS`; every sign has its own scatter, so that no single one tells the score.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from operators.pose.body25 import Joint

Array = NDArray[np.float64]

SARA_ITEMS: dict[str, tuple[float, float, float, float]] = {
    # name: (highest, slope on severity, scatter, smallest step)
    "gait": (8, 0.95, 0.05, 1),
    "stance": (6, 0.95, 0.10, 1),
    "sitting": (4, 0.45, 0.10, 1),
    "speech": (6, 0.75, 0.13, 1),
    "finger_chase": (4, 0.70, 0.12, 0.5),
    "nose_finger": (4, 0.55, 0.12, 0.5),
    "alternating_hands": (4, 0.80, 0.12, 0.5),
    "heel_shin": (4, 0.85, 0.11, 0.5),
}
"""SARA, 0 to 40; the last four are means of both sides. Gait is 1 to 7 in those who walk."""

SIGNS: dict[str, tuple[float, float, float, bool]] = {
    # name: (at severity 0, change to severity 1, scatter, True when on the logarithm)
    "speed_m_s": (1.20, -0.85, 0.12, False),
    "cadence_per_min": (112.0, -30.0, 6.0, False),
    "stride_time_cv_percent": (2.2, 1.75, 0.22, True),
    "step_width_cm": (9.0, 16.0, 2.5, False),
    "sway_cm": (1.8, 1.6, 0.25, True),
    "double_support_percent": (25.0, 16.0, 3.0, False),
    "stride_length_cv_percent": (3.0, 1.5, 0.25, True),
    # beyond the published table: signs that a neurologist sees, with generous scatter
    "placement_cm": (1.0, 1.2, 0.30, True),
    "arm_swing_deg": (22.0, -13.0, 5.0, False),
    "arm_abduction_deg": (7.0, 14.0, 4.5, False),
    "foot_roll": (1.0, -0.55, 0.15, False),
    "clearance_cv": (0.08, 1.3, 0.30, True),
}
"""What severity does to a walk; the first seven are those of the specification."""

LIMITS = {
    "speed_m_s": (0.22, 1.6),
    "cadence_per_min": (62, 135),
    "step_width_cm": (3, 32),
    "double_support_percent": (16, 50),
    "arm_swing_deg": (2, 40),
    "arm_abduction_deg": (2, 35),
    "foot_roll": (0.2, 1.2),
    "stride_time_cv_percent": (1.0, 20),
    "stride_length_cv_percent": (1.5, 22),
}


@dataclass(frozen=True, kw_only=True)
class Body:
    """Lengths in metres; ``girth`` 1 is average."""

    height: float
    leg_share: float
    girth: float
    shoulder_width: float
    hip_width: float

    @property
    def thigh(self) -> float:
        """Hip joint to knee."""
        return 0.5 * self.leg_share * self.height

    @property
    def shank(self) -> float:
        """Knee to ankle."""
        return 0.5 * self.leg_share * self.height

    @property
    def leg(self) -> float:
        """Hip joint to ankle, the unit of leg lengths."""
        return self.thigh + self.shank


@dataclass(frozen=True, kw_only=True)
class Walker:
    """A person of the phantom.

    Args:
        severity: 0 to 1.
        signs: Drawn values of `SIGNS`.
        items: SARA items.
        body: Lengths.
        age_years: Of the person.
        sex: ``M`` or ``F``.
    """

    severity: float
    signs: dict[str, float]
    items: dict[str, float]
    body: Body
    age_years: int
    sex: str

    @property
    def sara(self) -> float:
        """SARA total, 0 to 40."""
        return float(sum(self.items.values()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """A walk, sampled.

    Args:
        joints_m: ``(frame, 25, 3)`` float64, BODY_25, world frame.
        head_m: ``(frame, 3)`` centre of the head.
        strikes: Side ``L``, ``R`` to heel-strike times, seconds from the first frame.
        lifts: Side to toe-off times.
        phase: ``(frame,)`` strides walked, counted at left heel strikes; for the noise bank.
        realised: What this clip really shows, by name.
    """

    joints_m: Array
    head_m: Array
    strikes: dict[str, Array]
    lifts: dict[str, Array]
    phase: Array
    realised: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Population:
    """How the people of a hospital are built: mean girth, share of the legs, women, years."""

    girth: float
    leg_share: float
    female: float
    age_years: float


POPULATION_A = Population(girth=1.0, leg_share=0.485, female=0.5, age_years=58)
POPULATION_ANY = Population(girth=1.06, leg_share=0.480, female=0.55, age_years=60)
POPULATION_B = Population(girth=1.12, leg_share=0.474, female=0.6, age_years=66)


def draw_walker(rng: np.random.Generator, population: Population = POPULATION_A) -> Walker:
    """A person whose severity is that of a clinic's cohort (SARA 12 ± 6)."""
    severity = float(rng.beta(2.2, 3.6))
    signs = {}
    for name, (at_zero, change, scatter, is_log) in SIGNS.items():
        noise = scatter * rng.standard_normal()
        value = at_zero * np.exp(change * severity + noise) if is_log else at_zero + change * severity + noise
        low, high = LIMITS.get(name, (-np.inf, np.inf))
        signs[name] = float(np.clip(value, low, high))
    sex = "F" if rng.random() < population.female else "M"
    height = float(np.clip(rng.normal(1.58 if sex == "F" else 1.70, 0.065), 1.42, 1.90))
    body = Body(
        height=height,
        leg_share=float(rng.normal(population.leg_share, 0.010)),
        girth=float(np.clip(rng.normal(population.girth, 0.13), 0.75, 1.45)),
        shoulder_width=float(rng.normal(0.205, 0.010)) * height,
        hip_width=float(rng.normal(0.110, 0.007)) * height,
    )
    return Walker(
        severity=severity, signs=signs, items=draw_items(rng, severity), body=body,
        age_years=int(np.clip(rng.normal(population.age_years, 12), 20, 88)), sex=sex,
    )  # fmt: skip


def draw_items(rng: np.random.Generator, severity: float) -> dict[str, float]:
    """SARA items of a walker with this severity."""
    items = {}
    for name, (highest, slope, scatter, step) in SARA_ITEMS.items():
        raw = highest * (slope * severity + scatter * rng.standard_normal())
        low, high = (1, 7) if name == "gait" else (0, highest)
        items[name] = float(np.clip(round(raw / step) * step, low, high))
    return items


# ------------------------------------------------------------------ footsteps


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps:
    """Footfalls: one row each, sides alternating."""

    time_s: Array
    off_s: Array
    place_m: Array
    is_left: NDArray[np.bool_]


LEAD_S = 4.0
"""Walked before the first frame and after the last, so that filters have no edges."""


def _footsteps(walker: Walker, duration_s: float, rng: np.random.Generator) -> _Steps:
    signs = walker.signs
    step_s = 60.0 / signs["cadence_per_min"]
    count = int((duration_s + 2 * LEAD_S) / step_s * 1.35) + 10
    root2 = np.sqrt(2.0)
    time_noise = root2 * signs["stride_time_cv_percent"] / 100 * rng.standard_normal(count)
    length_noise = root2 * signs["stride_length_cv_percent"] / 100 * rng.standard_normal(count)
    times = -LEAD_S + np.cumsum(step_s * np.clip(1 + time_noise, 0.5, 1.8))
    step_m = signs["speed_m_s"] * step_s
    forward = np.cumsum(step_m * np.clip(1 + length_noise, 0.3, 1.9))
    is_left = (np.arange(count) + int(rng.integers(2))) % 2 == 0
    side = np.where(is_left, 1.0, -1.0)
    wander = np.cumsum(rng.standard_normal(count)) * 0.25 * signs["placement_cm"] / 100
    wander -= np.linspace(wander[0], wander[-1], count)
    lateral = (
        side * signs["step_width_cm"] / 200
        + wander
        + rng.standard_normal(count) * signs["placement_cm"] / 100
    )
    stride = np.gradient(times) * 2
    support = (
        signs["double_support_percent"]
        / 200
        * stride
        * np.clip(1 + 0.06 * rng.standard_normal(count), 0.7, 1.3)
    )
    off = np.append(times[1:], times[-1] + step_s) + support
    return _Steps(time_s=times, off_s=off, place_m=np.stack([forward, lateral], axis=1), is_left=is_left)


def _foot(
    steps: _Steps, left: bool, walker: Walker, t: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Ankle ``(frame, 3)`` and pitch of one foot in radians, toes up positive."""
    chosen = np.flatnonzero(steps.is_left == left)
    height = walker.body.height
    roll = walker.signs["foot_roll"]
    ankle_z, heel_back, toe_ahead = 0.045 * height, 0.035 * height, 0.105 * height
    ankle, pitch = np.zeros((t.size, 3)), np.zeros(t.size)
    strike_pitch, off_pitch = np.deg2rad(18 * roll), np.deg2rad(-48 * (0.5 + 0.5 * roll))

    def stance(place: Array, u: Array) -> tuple[Array, Array]:
        up = np.clip(1 - u / 0.16, 0, 1) ** 1.5 * strike_pitch
        down = np.clip((u - 0.58) / 0.42, 0, 1) ** 1.8 * off_pitch
        angle = up + down
        out = np.zeros((u.size, 3))
        cos, sin = np.cos(angle), np.sin(angle)
        # toes up: about the heel; toes down: about the toe
        heel_pivot = angle > 0
        out[:, 0] = place[0] + np.where(
            heel_pivot, heel_back * (cos - 1) - ankle_z * sin, toe_ahead * (1 - cos) - ankle_z * sin
        )
        out[:, 2] = np.where(heel_pivot, ankle_z * cos + heel_back * sin, ankle_z * cos - toe_ahead * sin)
        out[:, 1] = place[1]
        return out, angle

    for here, following in itertools.pairwise(chosen):
        on, off, again = steps.time_s[here], steps.off_s[here], steps.time_s[following]
        off = min(off, again - 0.12 * (again - on))
        grounded = (t >= on) & (t < off)
        if grounded.any():
            ankle[grounded], pitch[grounded] = stance(steps.place_m[here], (t[grounded] - on) / (off - on))
        flying = (t >= off) & (t < again)
        if flying.any():
            start, angle0 = (part[0] for part in stance(steps.place_m[here], np.ones(1)))
            end, angle1 = (part[0] for part in stance(steps.place_m[following], np.zeros(1)))
            u = (t[flying] - off) / (again - off)
            glide = u * u * u * (10 - 15 * u + 6 * u * u) * 0.55 + 0.45 * (u * u * (3 - 2 * u))
            lift = 0.030 * height * np.exp(walker.signs["clearance_cv"] * rng.standard_normal())
            ankle[flying] = start + (end - start) * glide[:, None]
            ankle[flying, 2] += lift * np.sin(np.pi * u) ** 1.4
            circle = 0.15 * walker.signs["step_width_cm"] / 100 * (1 if left else -1)
            ankle[flying, 1] += circle * np.sin(np.pi * u) ** 2
            pitch[flying] = (
                angle0 * np.clip(1 - u / 0.55, 0, 1) ** 1.3 + angle1 * np.clip((u - 0.4) / 0.6, 0, 1) ** 1.5
            )
    return ankle, pitch


# --------------------------------------------------------------------- bodies


def _slow_noise(rng: np.random.Generator, count: int, rate_hz: float, bandwidth_hz: float) -> Array:
    """A first-order autoregressive series of unit variance, smoothed like a body's movement."""
    keep = np.exp(-2 * np.pi * bandwidth_hz / rate_hz)
    out = np.empty(count)
    state = rng.standard_normal()
    shocks = rng.standard_normal(count) * np.sqrt(1 - keep**2)
    for index in range(count):
        state = keep * state + shocks[index]
        out[index] = state
    smooth = gaussian_filter1d(out, 0.10 * rate_hz)
    return np.asarray(smooth / (smooth.std() + 1e-9))


def _knee(hip: Array, ankle: Array, body: Body, ahead: Array) -> Array:
    """Knee of a two-link leg that bends forward."""
    along = ankle - hip
    distance = np.linalg.norm(along, axis=1, keepdims=True)
    unit = along / distance
    reach = np.minimum(distance, 0.9995 * body.leg)
    on_line = (reach**2 + body.thigh**2 - body.shank**2) / (2 * reach)
    aside = np.sqrt(np.maximum(body.thigh**2 - on_line**2, 0))
    bend = ahead - (ahead * unit).sum(axis=1, keepdims=True) * unit
    bend /= np.linalg.norm(bend, axis=1, keepdims=True)
    return np.asarray(hip + unit * on_line * distance / reach + bend * aside)


def _course(steps: _Steps, walker: Walker, t: Array) -> Array:
    """``(frame, 3)`` way of the pelvis over the feet, its height still 0."""
    middle_x = 0.5 * (steps.place_m[:-1, 0] + steps.place_m[1:, 0])
    middle_y = 0.5 * (steps.place_m[:-1, 1] + steps.place_m[1:, 1])
    side = np.where(steps.is_left, 1.0, -1.0)
    pelvis = np.zeros((t.size, 3))
    pelvis[:, 0] = CubicSpline(steps.time_s[1:], middle_x)(t)
    half = 0.5 * (steps.time_s[:-1] + steps.time_s[1:]) + 0.05
    to_side = 0.010 + 0.16 * walker.signs["step_width_cm"] / 200
    towards = gaussian_filter1d(middle_y, 2.0) + side[:-1] * to_side
    pelvis[:, 1] = CubicSpline(half, towards)(t)
    return pelvis


def walk(walker: Walker, duration_s: float, frame_rate: float, rng: np.random.Generator) -> Motion:
    """The walk of a walker, with all joints and events."""
    body, signs = walker.body, walker.signs
    steps = _footsteps(walker, duration_s, rng)
    lead = round(1.0 * frame_rate)
    count = round(duration_s * frame_rate) + 2 * lead
    t = (np.arange(count) - lead) / frame_rate
    feet = {left: _foot(steps, left, walker, t, rng) for left in (True, False)}

    pelvis = _course(steps, walker, t)
    sway = signs["sway_cm"] / 100 * _slow_noise(rng, count, frame_rate, 0.45)
    nod = 0.6 * signs["sway_cm"] / 100 * _slow_noise(rng, count, frame_rate, 0.45)
    pelvis[:, 1] += 0.35 * sway

    hips = {}
    turn = np.clip((feet[True][0][:, 0] - feet[False][0][:, 0]) / 0.6, -1.5, 1.5)  # left foot ahead: positive
    turn = gaussian_filter1d(turn, 0.04 * frame_rate)
    hip_turn = np.deg2rad(-5.0) * turn
    stance_phase = np.cos(2 * np.pi * np.interp(t, steps.time_s, np.arange(steps.time_s.size)))
    pelvis[:, 2] = body.leg * 0.985 + 0.045 * body.height - 0.010 * body.height * 0.7 * stance_phase
    bound = np.full(count, np.inf)
    for left in (True, False):
        sign = 1.0 if left else -1.0
        across = np.stack([-np.sin(hip_turn), np.cos(hip_turn), np.zeros(count)], axis=1)
        hips[left] = pelvis + sign * body.hip_width / 2 * across
        gap = feet[left][0][:, :2] - hips[left][:, :2]
        room = np.sqrt(np.maximum((0.996 * body.leg) ** 2 - (gap**2).sum(axis=1), 0.2))
        bound = np.minimum(bound, feet[left][0][:, 2] + room)
    pelvis[:, 2] = gaussian_filter1d(np.minimum(pelvis[:, 2], bound), 0.02 * frame_rate)
    for left in (True, False):
        hips[left][:, 2] = pelvis[:, 2]

    trunk = 0.288 * body.height
    lean_side = 0.65 * sway / trunk
    lean_ahead = np.deg2rad(3.0 + 3.0 * walker.severity) + nod / trunk
    up = np.stack([np.sin(lean_ahead), np.sin(lean_side), np.cos(lean_ahead) * np.cos(lean_side)], axis=1)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    neck = pelvis + trunk * up
    shoulder_turn = np.deg2rad(7.0) * turn * signs["arm_swing_deg"] / 22
    swing = gaussian_filter1d(turn, 0.05 * frame_rate)
    joints = np.zeros((count, 25, 3))
    joints[:, Joint.MID_HIP], joints[:, Joint.NECK] = pelvis, neck
    ahead = np.tile([1.0, 0.0, 0.0], (count, 1))
    for left in (True, False):
        _limbs(joints, left, walker, hips[left], neck, feet[left], shoulder_turn, swing, ahead)
    head = _head(joints, body, neck, up, signs["sway_cm"], rng, frame_rate)

    keep = slice(lead, count - lead)
    strikes, lifts = _events(steps, duration_s)
    left_times = steps.time_s[steps.is_left]
    phase = np.interp(t[keep], left_times, np.arange(left_times.size))
    motion = Motion(joints_m=joints[keep], head_m=head[keep], strikes=strikes, lifts=lifts, phase=phase)
    return Motion(**{**motion.__dict__, "realised": realised(motion, steps, walker, duration_s)})


def _limbs(
    joints: Array, left: bool, walker: Walker, hip: Array, neck: Array, foot: tuple[Array, Array],
    shoulder_turn: Array, swing: Array, ahead: Array,
) -> None:  # fmt: skip
    """Fill in leg, foot and arm of one side."""
    body, signs = walker.body, walker.signs
    sign = 1.0 if left else -1.0
    ankle, pitch = foot
    hip_j, knee_j, ankle_j, heel_j, toe_j, small_j, shoulder_j, elbow_j, wrist_j = (
        (Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE, Joint.L_HEEL, Joint.L_BIG_TOE, Joint.L_SMALL_TOE,
         Joint.L_SHOULDER, Joint.L_ELBOW, Joint.L_WRIST)
        if left
        else (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE, Joint.R_HEEL, Joint.R_BIG_TOE, Joint.R_SMALL_TOE,
              Joint.R_SHOULDER, Joint.R_ELBOW, Joint.R_WRIST)
    )  # fmt: skip
    out_toe = np.deg2rad(7.0) * sign
    ahead_foot = np.stack(
        [np.cos(pitch) * np.cos(out_toe), np.cos(pitch) * np.sin(out_toe), np.sin(pitch)], axis=1
    )
    down_foot = np.stack([np.sin(pitch), np.zeros_like(pitch), -np.cos(pitch)], axis=1)
    aside = np.array([0.0, sign, 0.0])
    height = body.height
    joints[:, hip_j], joints[:, ankle_j] = hip, ankle
    joints[:, knee_j] = _knee(hip, ankle, body, ahead + 0.10 * aside)
    joints[:, heel_j] = ankle + 0.030 * height * down_foot - 0.030 * height * ahead_foot
    joints[:, toe_j] = ankle + 0.034 * height * down_foot + 0.105 * height * ahead_foot
    joints[:, small_j] = joints[:, toe_j] - 0.02 * height * ahead_foot + 0.035 * height * aside
    across = np.stack([-np.sin(shoulder_turn), np.cos(shoulder_turn), np.zeros_like(shoulder_turn)], axis=1)
    shoulder = neck + sign * body.shoulder_width / 2 * across - [0, 0, 0.012 * height]
    flex = np.deg2rad(signs["arm_swing_deg"]) * -sign * swing + np.deg2rad(2)
    abduct = np.deg2rad(signs["arm_abduction_deg"])
    upper = np.stack(
        [
            np.sin(flex) * np.cos(abduct),
            np.full_like(flex, sign * np.sin(abduct)),
            -np.cos(flex) * np.cos(abduct),
        ],
        axis=1,
    )
    bend = flex + np.deg2rad(14 + 0.8 * signs["arm_abduction_deg"]) + 0.35 * np.abs(flex)
    fore = np.stack([np.sin(bend), np.full_like(bend, sign * 0.55 * np.sin(abduct)), -np.cos(bend)], axis=1)
    fore /= np.linalg.norm(fore, axis=1, keepdims=True)
    joints[:, shoulder_j] = shoulder
    joints[:, elbow_j] = shoulder + 0.172 * height * upper
    joints[:, wrist_j] = joints[:, elbow_j] + 0.148 * height * fore


def _head(
    joints: Array,
    body: Body,
    neck: Array,
    up: Array,
    sway_cm: float,
    rng: np.random.Generator,
    frame_rate: float,
) -> Array:
    """Fill in the face; centre of the head."""
    height = body.height
    shake = np.deg2rad(1.0 + 0.35 * sway_cm) * _slow_noise(rng, neck.shape[0], frame_rate, 0.8)
    across = np.stack([-np.sin(shake), np.cos(shake), np.zeros_like(shake)], axis=1)
    ahead = np.stack([np.cos(shake), np.sin(shake), np.zeros_like(shake)], axis=1)
    above = 0.6 * up + [0, 0, 0.4]
    centre = neck + 0.118 * height * above + 0.018 * height * ahead
    joints[:, Joint.NOSE] = centre + 0.058 * height * ahead - 0.008 * height * above
    for sign, eye, ear in ((1.0, Joint.L_EYE, Joint.L_EAR), (-1.0, Joint.R_EYE, Joint.R_EAR)):
        joints[:, eye] = (
            centre + 0.046 * height * ahead + sign * 0.019 * height * across + 0.012 * height * above
        )
        joints[:, ear] = centre + sign * 0.045 * height * across + 0.002 * height * above
    return np.asarray(centre)


# ----------------------------------------------------------------------- truth


def _events(steps: _Steps, duration_s: float) -> tuple[dict[str, Array], dict[str, Array]]:
    strikes, lifts = {}, {}
    for name, left in (("L", True), ("R", False)):
        rows = steps.is_left == left
        on, off = steps.time_s[rows], steps.off_s[rows]
        off[:-1] = np.minimum(off[:-1], on[1:] - 0.12 * np.diff(on))
        strikes[name] = on[(on >= 0) & (on < duration_s)]
        lifts[name] = off[(off >= 0) & (off < duration_s)]
    return strikes, lifts


def realised(motion: Motion, steps: _Steps, walker: Walker, duration_s: float) -> dict[str, float]:
    """Gait parameters of the clip as they really came out; leg lengths where a length is meant."""
    inside = (steps.time_s >= 0) & (steps.time_s < duration_s)
    times, places = steps.time_s[inside], steps.place_m[inside]
    strides = times[2:] - times[:-2]
    leg = walker.body.leg
    neck_y = motion.joints_m[:, Joint.NECK, 1]
    frames = np.arange(neck_y.size)
    trend = np.polyval(np.polyfit(frames, neck_y, 2), frames)
    return {
        "cadence_per_min": float(60 * (times.size - 1) / (times[-1] - times[0])),
        "stride_time_s": float(strides.mean()),
        "stride_time_cv_percent": float(100 * strides.std(ddof=1) / strides.mean()),
        "step_width_leg": float(np.abs(np.diff(places[:, 1])).mean() / leg),
        "sway_leg": float((neck_y - trend).std() / leg),
        "double_support_percent": float(
            100 * 2 * np.mean((steps.off_s[:-1] - steps.time_s[1:])[inside[:-1]]) / strides.mean()
        ),
        "speed_leg_s": float((places[-1, 0] - places[0, 0]) / (times[-1] - times[0]) / leg),
        "strides": float(strides.size),
    }


def truth_of(walker: Walker) -> dict[str, Any]:
    """What is true of the person, for ``truth.json``."""
    return {
        "severity": walker.severity,
        "sara_total": walker.sara,
        "sara_items": walker.items,
        "signs": walker.signs,
        "leg_length_m": walker.body.leg,
        "height_m": walker.body.height,
    }
