"""Pictures of the report: joint angles, footfalls and sway, and the estimate beside the cohort.

They are drawn from points alone: no pixel of the video, and so no face, is in them.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from apps.gait_ataxia.findings import Findings
from apps.gait_ataxia.signals import RATE_HZ
from operators.encode.messages import Picture
from operators.encode.pictures import BACKGROUND, FAINT, PALE, new_figure, rendered, write_statement
from operators.pose.body25 import BONES, Joint

COLOURS = {"L": "#5ec8f2", "R": "#ffb454"}
SIDES = {"L": "left", "R": "right"}
ANGLES = {
    "Hip": {"L": (Joint.NECK, Joint.L_HIP, Joint.L_KNEE), "R": (Joint.NECK, Joint.R_HIP, Joint.R_KNEE)},
    "Knee": {
        "L": (Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE),
        "R": (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE),
    },
    "Ankle": {
        "L": (Joint.L_KNEE, Joint.L_ANKLE, Joint.L_BIG_TOE),
        "R": (Joint.R_KNEE, Joint.R_ANKLE, Joint.R_BIG_TOE),
    },
}
STRAIGHT_DEG = {"Knee": 180.0, "Ankle": 110.0}
FIGURES = 9
"""Stick figures in the picture of footfalls."""


def key_images(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """All pictures, in reading order."""
    pictures = [_angles(findings, statement), _footfalls(findings, statement)]
    if findings.cohort is not None:
        pictures.append(_cohort(findings, statement))
    return tuple(pictures)


def side_in_walk(findings: Findings, side: str) -> str:
    """The side of the signals that holds this side of the body."""
    return {"L": "R", "R": "L"}[side] if findings.walk.is_mirrored else side


def angle_deg(points: NDArray[np.float64], joints: tuple[Joint, Joint, Joint]) -> NDArray[np.float64]:
    """``(sample,)`` angle at the middle joint in the plane of the picture, degrees."""
    a, b, c = joints
    u, v = points[:, a] - points[:, b], points[:, c] - points[:, b]
    cos = (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1) + 1e-9)
    return np.asarray(np.degrees(np.arccos(np.clip(cos, -1, 1))))


def hip_deg(points: NDArray[np.float64], joints: tuple[Joint, Joint, Joint]) -> NDArray[np.float64]:
    """``(sample,)`` thigh against trunk in the plane of the picture, degrees, positive to the right.

    A walk from the side goes to the right, so that is flexion; behind the trunk it is negative.
    """
    neck, hip, knee = joints
    trunk, thigh = points[:, Joint.MID_HIP] - points[:, neck], points[:, knee] - points[:, hip]
    turn = np.arctan2(thigh[:, 0], thigh[:, 1]) - np.arctan2(trunk[:, 0], trunk[:, 1])
    return np.asarray(np.degrees(np.arctan2(np.sin(turn), np.cos(turn))))


def _plain(axes: Axes, title: str) -> None:
    axes.set_facecolor(BACKGROUND)
    axes.set_title(title, color=PALE, fontsize=11, loc="left")
    axes.tick_params(colors=FAINT, labelsize=9)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(FAINT)


def _mark_strikes(axes: Axes, findings: Findings) -> None:
    for side, colour in COLOURS.items():
        for time in findings.events.strikes[side_in_walk(findings, side)]:
            axes.axvline(time, color=colour, linewidth=0.7, alpha=0.55, linestyle="dotted")


def _angles(findings: Findings, statement: str) -> Picture:
    figure = new_figure(9.2, 6.6)
    walk = findings.walk
    for row, (name, sides) in enumerate(ANGLES.items(), start=1):
        axes = figure.add_subplot(3, 1, row)
        _plain(axes, f"{name} flexion in the plane of the picture, degrees")
        for side, colour in COLOURS.items():
            joints = sides[side_in_walk(findings, side)]
            if name == "Hip":
                angle = hip_deg(walk.points, joints)
            else:
                angle = STRAIGHT_DEG[name] - angle_deg(walk.points, joints)
            axes.plot(walk.time_s, angle, color=colour, linewidth=1.4, label=SIDES[side])
        _mark_strikes(axes, findings)
        if row == 1:
            axes.legend(loc="upper right", fontsize=9, facecolor=BACKGROUND, labelcolor=PALE, edgecolor=FAINT)
        if row == len(ANGLES):
            axes.set_xlabel("seconds; dotted: heel strikes", color=FAINT)
    figure.subplots_adjust(left=0.07, right=0.98, top=0.94, bottom=0.12, hspace=0.42)
    write_statement(figure, statement)
    return Picture(rgb_yxc=rendered(figure), description="Joint angles over time, heel strikes dotted.")


def _footfalls(findings: Findings, statement: str) -> Picture:
    figure = new_figure(9.2, 6.0)
    grid = figure.add_gridspec(
        3, 1, height_ratios=(1.5, 0.7, 1.0), left=0.09, right=0.98, top=0.94, bottom=0.12, hspace=0.5
    )
    _draw_figures(figure.add_subplot(grid[0]), findings)
    _draw_stances(figure.add_subplot(grid[1]), findings)
    _draw_sway(figure.add_subplot(grid[2]), findings)
    write_statement(figure, statement)
    return Picture(
        rgb_yxc=rendered(figure), description="Stick figures, footfalls and sway of the trunk over time."
    )


def _draw_figures(axes: Axes, findings: Findings) -> None:
    walk = findings.walk
    _plain(axes, "Points that were followed")
    points = walk.normalised * [-1 if walk.is_mirrored else 1, 1]
    for index in np.linspace(0, len(points) - 1, FIGURES).round().astype(int):
        shift = np.array([walk.time_s[index] / max(walk.duration_s, 1e-6) * FIGURES * 1.25, 0])
        for a, b in BONES:
            if walk.confidence[index, a] > 0 and walk.confidence[index, b] > 0:
                colour = _bone_colour(findings, a, b)
                axes.plot(*(points[index, [a, b]] + shift).T, color=colour, linewidth=1.5)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def _bone_colour(findings: Findings, a: Joint, b: Joint) -> str:
    names = a.name[:2], b.name[:2]
    for side, colour in COLOURS.items():
        if f"{side_in_walk(findings, side)}_" in names:
            return colour
    return PALE


def _draw_stances(axes: Axes, findings: Findings) -> None:
    """Bars from heel strike to toe-off."""
    _plain(axes, "Feet on the floor")
    for row, (side, colour) in enumerate(COLOURS.items()):
        inner = side_in_walk(findings, side)
        lifts = findings.events.lifts[inner]
        for strike in findings.events.strikes[inner]:
            later = lifts[np.isfinite(lifts) & (lifts > strike)]
            end = float(later[0]) if later.size else findings.walk.time_s[-1]
            axes.barh(row, min(end - strike, 3.0), left=strike, height=0.6, color=colour)
    axes.set_yticks([0, 1], ["left", "right"])
    axes.set_xlim(findings.walk.time_s[0], findings.walk.time_s[-1])


def _draw_sway(axes: Axes, findings: Findings) -> None:
    walk = findings.walk
    way = walk.points[:, Joint.NECK, 0] / walk.scale * (-1 if walk.is_mirrored else 1)
    t = np.linspace(-1, 1, way.size)
    degree = 2 if walk.view == "frontal" else 5
    _plain(axes, f"{'Sideways' if walk.view == 'frontal' else 'Forward'} sway of the trunk, leg lengths")
    axes.plot(walk.time_s, way - np.polyval(np.polyfit(t, way, degree), t), color=PALE, linewidth=1.3)
    _mark_strikes(axes, findings)
    axes.set_xlim(walk.time_s[0], walk.time_s[0] + (way.size - 1) / RATE_HZ)
    axes.set_xlabel("seconds; dotted: heel strikes", color=FAINT)


def _cohort(findings: Findings, statement: str) -> Picture:
    cohort, estimate = findings.cohort, findings.estimate
    assert cohort is not None  # noqa: S101 - asked by the caller
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot(1, 1, 1)
    _plain(axes, "Estimate (line and band) beside the training cohort (dots)")
    axes.plot([0, 40], [0, 40], color=FAINT, linewidth=0.8, linestyle="dashed")
    axes.scatter(cohort.sara, cohort.estimated, s=22, color=COLOURS["L"], alpha=0.65, linewidths=0)
    axes.axhspan(estimate.low, estimate.high, color=COLOURS["R"], alpha=0.22, linewidth=0)
    axes.axhline(estimate.sara, color=COLOURS["R"], linewidth=1.8)
    text = (
        f"{estimate.sara:.1f}  ({100 * estimate.coverage:.0f} %: {estimate.low:.1f} to {estimate.high:.1f})"
    )
    axes.text(39.5, estimate.sara + 0.4, text, color=COLOURS["R"], ha="right", va="bottom", fontsize=11)
    axes.set_xlim(0, 40)
    axes.set_ylim(0, 40)
    axes.set_xlabel("true SARA total of synthetic walkers", color=FAINT)
    axes.set_ylabel("estimated SARA total, held out", color=FAINT)
    figure.subplots_adjust(left=0.11, right=0.97, top=0.93, bottom=0.14)
    write_statement(figure, statement)
    return Picture(rgb_yxc=rendered(figure), description="The estimate beside the training cohort.")
