"""Hips in a radiograph: where, of which side, and whether the picture is the view that its tags tell.

The detector knows four landmarks (`labels.Landmark`). In an AP the picture itself tells the side: right and
left hips are mirror images. In a lateral it does not, and the header is believed. What the picture
contradicts, and a picture without a hip, is a `Problem`: a sentence about this image, which is then left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.hip_fracture.labels import SIDE_TITLES, SIDES, VIEW_TITLES, VIEWS, Landmark
from apps.hip_fracture.prepare import (
    Placement,
    PointYx,
    inside_share,
    overview,
    patient_spacing_mm_yx,
    place,
)
from operators.errors import AppError
from operators.infer.landmarks import Detector, Peak
from operators.read.projection import Side, View
from operators.read.radiograph import Radiograph

NAME = "hips"
"""Of the detector in the bundle."""
TROCHANTERS_MM = (15.0, 100.0)
"""From the joint, in the patient."""
ONE_HIP_MM = 60.0
"""Two joints nearer than this are one that was seen twice."""
LEAST_INSIDE = 0.7
"""Share of a crop that must lie in the picture."""
CLEARLY = 0.15
"""By how much the other view's joint must be plainer before tags are called wrong."""


class Problem(AppError):
    """An image cannot be used.

    Args:
        reason: Why, a sentence for a radiographer, without the name of the image.
        attribute: The DICOM keyword at fault.
    """

    def __init__(self, reason: str, *, attribute: str = "PixelData") -> None:
        super().__init__(reason)
        self.reason = reason
        self.attribute = attribute


@dataclass(frozen=True, kw_only=True)
class Hip:
    """A hip in a picture.

    Args:
        side: Of the patient.
        view: From where it is seen.
        joint_px_yx: Centre of the joint, row and column.
        trochanters_px_yx: Middle between both trochanters.
        score: Of the joint, 0 to 1: how plain it is to the detector.
    """

    side: Side
    view: View
    joint_px_yx: PointYx
    trochanters_px_yx: PointYx
    score: float

    def placement(self, radiograph: Radiograph) -> Placement:
        """Where the classifiers' crop lies."""
        return place(
            self.joint_px_yx,
            self.trochanters_px_yx,
            patient_spacing_mm_yx(radiograph),
            is_left=self.side is Side.LEFT,
            is_turned=self.view is View.LATERAL,
        )


Peaks = Mapping[Landmark, Sequence[Peak]]


def find_hips(radiograph: Radiograph, detector: Detector) -> tuple[tuple[Hip, ...], tuple[str, ...]]:
    """The hips that a radiograph is a picture of, right before left, and why others are not among them.

    Raises:
        Problem: There is no hip, the picture is another view or another side than its tags tell, or
            nothing tells the side.
    """
    image_yx, spacing_mm_yx = overview(radiograph)
    found = detector.find(image_yx.astype(np.float32) / 255, spacing_mm_yx)
    peaks = {landmark: found[landmark.name.lower()] for landmark in Landmark}
    view = checked_view(peaks, radiograph.view)
    joints = joints_of(peaks, view, radiograph.side)
    hips, left_out = [], []
    for side, joint in joints.items():
        trochanters = trochanters_of(joint, peaks[Landmark.TROCHANTERS])
        if trochanters is None:
            left_out.append(
                f"the {SIDE_TITLES[side]} hip is not wholly in the picture: no trochanter is found"
            )
            continue
        hip = _hip(radiograph, side, view, joint, trochanters)
        if inside_share(hip.placement(radiograph), radiograph.pixels_yx.shape) < LEAST_INSIDE:
            left_out.append(f"the {SIDE_TITLES[side]} hip is cut off by the border of the picture")
            continue
        hips.append(hip)
    if not hips:
        raise Problem("; ".join(left_out))
    return tuple(hips), tuple(left_out)


def checked_view(peaks: Peaks, tagged: View | None) -> View:
    """The view that header and picture agree on.

    Raises:
        Problem: No joint is seen, the header tells no view, or the picture is plainly the other one.

    >>> joint = [Peak(y_mm=0.0, x_mm=0.0, score=0.9)]
    >>> nothing = {landmark: [] for landmark in Landmark}
    >>> checked_view({**nothing, Landmark.LEFT_JOINT_AP: joint}, View.AP)
    <View.AP: 'AP'>
    """
    scores = {
        View.AP: max(_best(peaks[Landmark.RIGHT_JOINT_AP]), _best(peaks[Landmark.LEFT_JOINT_AP])),
        View.LATERAL: _best(peaks[Landmark.JOINT_LATERAL]),
    }
    if tagged not in VIEWS:
        raise Problem(
            "neither ViewCodeSequence nor ViewPosition nor the descriptions tell that it is AP or lateral",
            attribute="ViewPosition",
        )
    if max(scores.values()) == 0.0:
        raise Problem("no hip joint is found in the picture")
    other = VIEWS[1 - VIEWS.index(tagged)]
    if scores[other] >= scores[tagged] + CLEARLY or scores[tagged] == 0.0:
        raise Problem(
            f"ViewCodeSequence or ViewPosition says {VIEW_TITLES[tagged]}, the picture shows a hip "
            f"{VIEW_TITLES[other]}",
            attribute="ViewPosition",
        )
    return tagged


def joints_of(peaks: Peaks, view: View, tagged: Side | None) -> dict[Side, Peak]:
    """The joint of each side that the picture is of.

    Raises:
        Problem: The picture shows another side than the header tells, or nothing tells the side.
    """
    if view is View.AP:
        return _joints_ap(peaks, tagged)
    return _joints_lateral(peaks[Landmark.JOINT_LATERAL], tagged)


def _joints_ap(peaks: Peaks, tagged: Side | None) -> dict[Side, Peak]:
    channels = {Side.RIGHT: Landmark.RIGHT_JOINT_AP, Side.LEFT: Landmark.LEFT_JOINT_AP}
    seen = {side: peaks[channels[side]][0] for side in SIDES if peaks[channels[side]]}
    if len(seen) == 2:
        right, left = seen[Side.RIGHT], seen[Side.LEFT]
        if math.dist((right.y_mm, right.x_mm), (left.y_mm, left.x_mm)) < ONE_HIP_MM:
            seen.pop(min(seen, key=lambda side: seen[side].score))
        elif right.x_mm > left.x_mm:
            raise Problem("the hips look away from each other: the picture does not hang as an AP does")
    if tagged in SIDES:
        if tagged not in seen:
            (shown,) = seen
            raise Problem(
                f"ImageLaterality or Laterality says {SIDE_TITLES[tagged]}, the picture shows a "
                f"{SIDE_TITLES[shown]} hip or hangs mirrored",
                attribute="ImageLaterality",
            )
        return {tagged: seen[tagged]}
    return seen


def _joints_lateral(joints: Sequence[Peak], tagged: Side | None) -> dict[Side, Peak]:
    """Of a lateral with both hips, the right one is on the left."""
    if tagged in SIDES:
        return {tagged: joints[0]}
    if len(joints) < 2:
        raise Problem(
            "neither ImageLaterality nor Laterality nor the descriptions tell of which side the lateral is",
            attribute="ImageLaterality",
        )
    right, left = sorted(joints[:2], key=lambda joint: joint.x_mm)
    return {Side.RIGHT: right, Side.LEFT: left}


def trochanters_of(joint: Peak, candidates: Sequence[Peak]) -> Peak | None:
    """The trochanters that belong to a joint: the nearest ones at a distance that a femur has.

    >>> joint = Peak(y_mm=0.0, x_mm=0.0, score=1.0)
    >>> trochanters_of(joint, [Peak(y_mm=30.0, x_mm=40.0, score=0.5), Peak(y_mm=0.0, x_mm=300.0, score=0.9)])
    Peak(y_mm=30.0, x_mm=40.0, score=0.5)
    """
    low, high = TROCHANTERS_MM
    far = [(math.dist((one.y_mm, one.x_mm), (joint.y_mm, joint.x_mm)), one) for one in candidates]
    near = [(distance, one) for distance, one in far if low <= distance <= high]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _hip(radiograph: Radiograph, side: Side, view: View, joint: Peak, trochanters: Peak) -> Hip:
    row_mm, column_mm = patient_spacing_mm_yx(radiograph)
    return Hip(
        side=side,
        view=view,
        joint_px_yx=(joint.y_mm / row_mm, joint.x_mm / column_mm),
        trochanters_px_yx=(trochanters.y_mm / row_mm, trochanters.x_mm / column_mm),
        score=joint.score,
    )


def _best(peaks: Sequence[Peak]) -> float:
    return max((peak.score for peak in peaks), default=0.0)


def box_yx(placement: Placement, shape_yx: tuple[int, int]) -> tuple[PointYx, PointYx]:
    """Upper left and lower right corner of the crop in the picture, clipped to it.

    In the coordinates of `operators.encode.marks`: the middle of the first pixel is (0.5, 0.5).
    """
    corners: NDArray[np.float64] = placement.corners_px_yx() + 0.5
    low = np.clip(corners.min(axis=0), 0.0, shape_yx)
    high = np.clip(corners.max(axis=0), 0.0, shape_yx)
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))
