"""Everything that one analysis found, and the way of the points into a file beside the results."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np

from apps.gait_ataxia.events import Events
from apps.gait_ataxia.parameters import GaitParameters
from apps.gait_ataxia.predict import Cohort, Estimate
from apps.gait_ataxia.signals import Walk
from operators.measure.quantity import Quantity
from operators.pose.body25 import PoseSeries
from operators.pose.scene import Scene
from operators.video.read_frames import Video

KEY_POINTS_FILE = "key_points.npz"
LEG = "{leg_length}"
FROM_THE_SIDE = "not seen from the side"
FROM_THE_FRONT = "not measured from the front"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was found in a video.

    Args:
        video: The video.
        scene: Who is in it.
        pose: Points.
        walk: The walk as signals.
        events: Steps.
        parameters: Gait parameters.
        estimate: Of the models.
        tracked_share: Share of frames in which the walker was followed.
        cohort: Of the bundle.
        warnings: Sentences that a reader must see.
    """

    video: Video
    scene: Scene
    pose: PoseSeries
    walk: Walk
    events: Events
    parameters: GaitParameters
    estimate: Estimate
    tracked_share: float
    cohort: Cohort | None
    warnings: tuple[str, ...] = ()

    @property
    def key_points(self) -> bytes:
        """The points of every frame as the bytes of an NPZ; the same points give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            points=self.pose.points,
            frame_rate=self.pose.frame_rate,
            order="BODY_25",
            size=[self.pose.columns, self.pose.rows],
            estimator=self.pose.estimator,
        )
        return buffer.getvalue()

    @property
    def key_points_digest(self) -> str:
        """``sha256:...`` of `key_points`."""
        return f"sha256:{hashlib.sha256(self.key_points).hexdigest()}"

    @property
    def strike_frames(self) -> dict[str, list[int]]:
        """Side of the body to frames of the video, from 1, at its heel strikes."""
        sides = {"L": "R", "R": "L"} if self.walk.is_mirrored else {"L": "L", "R": "R"}
        return {
            side: [round(t * self.pose.frame_rate) + 1 for t in self.events.strikes[sides[side]]]
            for side in "LR"
        }


def quantities(findings: Findings) -> tuple[Quantity, ...]:
    """The numbers of the report, in its order; those that a view does not show say so."""
    values, estimate = findings.parameters.values, findings.estimate
    is_frontal = findings.walk.view == "frontal"
    sway = "lateral" if is_frontal else "forward"
    rows = (
        ("sara_total", "Estimated SARA total score", estimate.sara, "{score}", "SARA_TOTAL_PRED", ""),
        ("sara_gait", "Estimated SARA gait item", estimate.gait_item, "{score}", "SARA_GAIT_PRED", ""),
        ("cadence", "Cadence", values["cadence_per_min"], "/min", "CADENCE", ""),
        ("stride_time", "Stride time, mean", values["stride_time_s"], "s", "STRIDE_TIME", ""),
        (
            "stride_time_cv",
            "Stride time, coefficient of variation",
            findings.parameters.stride_time_cv_percent,
            "%",
            "STRIDE_CV",
            "",
        ),
        (
            "step_width",
            "Step width, ankle to ankle",
            values["step_width_leg"],
            LEG,
            "STEP_WIDTH",
            FROM_THE_SIDE,
        ),
        ("sway", f"Trunk sway, {sway}, RMS", findings.parameters.sway_leg, LEG, "SWAY_RMS", ""),
        (
            "double_support",
            "Double support, share of the stride",
            float("nan") if is_frontal else values["double_support_percent"],
            "%",
            "DBL_SUPPORT",
            FROM_THE_FRONT,
        ),
        ("speed", "Walking speed", values["speed_leg_s"], "{leg_length}/s", "SPEED_LEGS", FROM_THE_FRONT),
        (
            "strides",
            "Strides analysed, both sides",
            float(findings.parameters.strides),
            "{strides}",
            "STRIDES",
            "",
        ),
        (
            "tracked",
            "Frames in which the walker was followed",
            100 * findings.tracked_share,
            "%",
            "TRACKED",
            "",
        ),
    )
    return tuple(
        Quantity(
            name=name,
            meaning=meaning,
            value=float(value) if np.isfinite(value) else None,
            unit=unit,
            code=code,
            why_missing="" if np.isfinite(value) else why or "too few strides",
        )
        for name, meaning, value, unit, code, why in rows
    )
