"""Hips in a radiograph: where, of which side, and whether the picture is the view that its tags tell.

The detector knows four landmarks (`labels.Landmark`). In an AP the picture itself tells the side, as long as
it hangs as an AP does: right and left hips are mirror images. In a lateral it does not, and the header is
believed. What the picture contradicts, and a picture without a hip, is a `Problem`: a sentence about this
image, which is then left out. A hip that a picture should show and that cannot be read there is `LeftOut`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
from apps.hip_fracture.seen import Field, field_of, parts_px_yx, unseen
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
OTHER_HIP_MM = 210.0
"""From the joint of one hip: a picture that reaches so far to the other side shows the other hip too."""
TWO_HIPS_MM = 120.0
"""Joints of two hips are at least so far apart."""
TWO_HIPS_SLOPE = 0.35
"""Of the line between the joints of two hips, at most."""
MUCH_FAINTER = 0.3
"""A second joint in a lateral, where only one hip can be, is none when its score is lower by so much."""
HUNG = ["L", "F"]
"""PatientOrientation of a picture that hangs as an AP does: rows run to the left, columns to the feet."""
INWARD_MM = 15.0
"""Trochanters so far on the inner side of a joint are those of a hip of the other side."""
LEAST_INSIDE = 0.7
"""Share of a crop that must lie in the picture."""
DOUBTFUL_INSIDE = 0.85
"""A smaller share is told, and excludes that a hip is called sound."""
CLEARLY = 0.15
"""By how much the other view's joint must be plainer before tags are called wrong."""


class Problem(AppError):
    """An image cannot be used.

    Args:
        reason: Why, a sentence for a radiographer, without the name of the image.
        attribute: The DICOM keyword at fault.
        sides: Hips that are not read in it, as far as that is known.
    """

    def __init__(self, reason: str, *, attribute: str = "PixelData", sides: tuple[Side, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.attribute = attribute
        self.sides = sides


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A hip that a picture should show and that is not read in it.

    Args:
        side: Of the patient.
        reason: Why, a sentence.
    """

    side: Side
    reason: str


@dataclass(frozen=True, kw_only=True)
class Hip:
    """A hip in a picture.

    Args:
        side: Of the patient.
        view: From where it is seen.
        joint_px_yx: Centre of the joint, row and column.
        trochanters_px_yx: Middle between both trochanters.
        score: Of the joint, 0 to 1: how plain it is to the detector.
        doubt: Why nobody knows that it is seen wholly, a sentence; empty where it is. Such a hip is never
            called sound.
    """

    side: Side
    view: View
    joint_px_yx: PointYx
    trochanters_px_yx: PointYx
    score: float
    doubt: str = ""

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


def find_hips(radiograph: Radiograph, detector: Detector) -> tuple[tuple[Hip, ...], tuple[LeftOut, ...]]:
    """The hips that a radiograph is a picture of, right before left, and why others are not among them.

    Raises:
        Problem: There is no hip, the picture is another view or another side than its tags tell, it does
            not hang as it should, or nothing tells the side.
    """
    if radiograph.side_contradiction:
        raise Problem(radiograph.side_contradiction, attribute="ImageLaterality")
    image_yx, spacing_mm_yx = overview(radiograph)
    peaks = _peaks(detector, image_yx, spacing_mm_yx)
    if not _joints(peaks) and _joints(_peaks(detector, 255 - image_yx, spacing_mm_yx)):
        told = radiograph.header.get("PhotometricInterpretation", "")
        raise Problem(
            f"PhotometricInterpretation {told} contradicts the picture: a hip is found in its negative "
            "alone, the grey scale is inverted",
            attribute="PhotometricInterpretation",
        )
    view = checked_view(peaks, radiograph.view)
    check_hanging(radiograph, view, peaks)
    joints = joints_of(peaks, view, radiograph.side)
    field = field_of(radiograph)
    left_out = [*not_found(joints, view, radiograph, field), *not_tagged(peaks, view, radiograph)]
    hips = []
    for side, joint in joints.items():
        trochanters = trochanters_of(joint, peaks[Landmark.TROCHANTERS])
        if trochanters is not None and view is View.LATERAL:
            check_direction(radiograph, side, joint, trochanters)
        if trochanters is None:
            reason = f"the {SIDE_TITLES[side]} hip is not wholly in the picture: no trochanter is found"
            left_out.append(LeftOut(side=side, reason=reason))
            continue
        hip = whole_hip(radiograph, _hip(radiograph, side, view, joint, trochanters), field)
        if isinstance(hip, LeftOut):
            left_out.append(hip)
        else:
            hips.append(hip)
    if not hips:
        raise Problem("; ".join(one.reason for one in left_out), sides=tuple(one.side for one in left_out))
    return tuple(hips), tuple(left_out)


def whole_hip(radiograph: Radiograph, hip: Hip, field: Field) -> Hip | LeftOut:
    """The hip, with the doubt whether it is wholly seen, or why it is left out."""
    spacing = patient_spacing_mm_yx(radiograph)
    is_left = hip.side is Side.LEFT
    parts = parts_px_yx(hip.joint_px_yx, hip.trochanters_px_yx, spacing, hip.view, is_left=is_left)
    hidden, doubtful = unseen(radiograph, field, parts, spacing)
    name = f"the {SIDE_TITLES[hip.side]} hip"
    if hidden:
        return LeftOut(
            side=hip.side,
            reason=f"{name} is not wholly in the picture: {' and '.join(hidden)} cannot be seen",
        )
    share = inside_share(hip.placement(radiograph), radiograph.pixels_yx.shape)
    if share < LEAST_INSIDE:
        return LeftOut(side=hip.side, reason=f"{name} is cut off by the border of the picture")
    if doubtful:
        return replace(
            hip, doubt=f"{name} lies at the border: {' and '.join(doubtful)} may not be wholly seen"
        )
    if share < DOUBTFUL_INSIDE:
        return replace(
            hip, doubt=f"{name} lies at the border: {100 * (1 - share):.0f} % of its part are missing"
        )
    return hip


def not_found(joints: Mapping[Side, Peak], view: View, radiograph: Radiograph, field: Field) -> list[LeftOut]:
    """The other hip of an AP that is tagged as both, or wide enough for both, where one is found."""
    if view is not View.AP or len(joints) != 1 or radiograph.side in SIDES:
        return []
    ((side, joint),) = joints.items()
    other = SIDES[1 - SIDES.index(side)]
    title = SIDE_TITLES[other]
    if radiograph.side is Side.BOTH:
        return [
            LeftOut(side=other, reason=f"the {title} hip is not found, though the picture is tagged as both")
        ]
    column_mm = patient_spacing_mm_yx(radiograph)[1]
    x = joint.x_mm / column_mm
    beyond_mm = (field.right - x if side is Side.RIGHT else x - field.left) * column_mm
    if beyond_mm < OTHER_HIP_MM:
        return []
    return [
        LeftOut(
            side=other, reason=f"the {title} hip is not found, though the picture is wide enough for both"
        )
    ]


def check_direction(radiograph: Radiograph, side: Side, joint: Peak, trochanters: Peak) -> None:
    """A Lauenstein's lateral that hangs as an AP does has its femur on the outer side, as an AP.

    Raises:
        Problem: It has not: this is the other hip, of a picture of both.
    """
    outward_mm = (trochanters.x_mm - joint.x_mm) * (1.0 if side is Side.LEFT else -1.0)
    if _directions(radiograph) == HUNG and outward_mm < -INWARD_MM:
        raise Problem(
            f"ImageLaterality or Laterality says {SIDE_TITLES[side]}, PatientOrientation L/F and the picture "
            "tell that the hip found is the other one",
            attribute="ImageLaterality",
            sides=(side,),
        )


def _directions(radiograph: Radiograph) -> list[str]:
    """First letters of PatientOrientation, of rows and of columns; empty where it is not told."""
    letters = [str(one)[:1].upper() for one in radiograph.header.get("PatientOrientation") or ()]
    return letters if len(letters) == 2 and all(letters) else []


def not_tagged(peaks: Peaks, view: View, radiograph: Radiograph) -> list[LeftOut]:
    """The other hip of a pelvis whose tag names one side: it is in the picture, and nothing is said of it."""
    if view is not View.AP or radiograph.side not in SIDES:
        return []
    both = _joints_ap(peaks, None)
    other = SIDES[1 - SIDES.index(radiograph.side)]
    if len(both) < 2 or trochanters_of(both[other], peaks[Landmark.TROCHANTERS]) is None:
        return []
    reason = (
        f"the {SIDE_TITLES[other]} hip is in the picture, but ImageLaterality or Laterality says "
        f"{SIDE_TITLES[radiograph.side]}"
    )
    return [LeftOut(side=other, reason=reason)]


def check_hanging(radiograph: Radiograph, view: View, peaks: Peaks) -> None:
    """PatientOrientation does not say that the picture is mirrored or turned, where sides rest on that.

    Raises:
        Problem: It does; a mirrored pelvis looks like any other pelvis.
    """
    if view is not View.AP and len(peaks[Landmark.JOINT_LATERAL]) < 2:
        return
    told = radiograph.header.get("PatientOrientation")
    letters = _directions(radiograph)
    if view is View.LATERAL and {"A", "P"} & set(letters):
        return  # a cross-table lateral, which shows one hip and hangs as it will
    if letters and letters != HUNG:
        raise Problem(
            f"PatientOrientation is {'/'.join(map(str, told))}: the picture is mirrored or turned and "
            r"does not show which side is which; L\F is needed",
            attribute="PatientOrientation",
            sides=SIDES if radiograph.side not in SIDES else (radiograph.side,),
        )


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
    return _joints_lateral(peaks[Landmark.JOINT_LATERAL], peaks[Landmark.TROCHANTERS], tagged)


def _joints_ap(peaks: Peaks, tagged: Side | None) -> dict[Side, Peak]:
    channels = {Side.RIGHT: Landmark.RIGHT_JOINT_AP, Side.LEFT: Landmark.LEFT_JOINT_AP}
    seen = {side: peaks[channels[side]][0] for side in SIDES if peaks[channels[side]]}
    if len(seen) == 2:
        right, left = seen[Side.RIGHT], seen[Side.LEFT]
        if _apart_mm(right, left) < ONE_HIP_MM:
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


def _joints_lateral(
    joints: Sequence[Peak], trochanters: Sequence[Peak], tagged: Side | None
) -> dict[Side, Peak]:
    """Of a lateral with both hips, the right one is on the left; of a single hip, as the tag tells."""
    pair = _pair_of_hips(joints, trochanters)
    if pair is not None:
        return pair if tagged not in SIDES else {tagged: pair[tagged]}
    if tagged is Side.BOTH:
        raise Problem(
            "ImageLaterality or Laterality says both, the lateral does not show just two hips that point "
            "apart: which is which cannot be told",
            attribute="ImageLaterality",
            sides=SIDES,
        )
    if tagged is None:
        raise Problem(
            "neither ImageLaterality nor Laterality nor the descriptions tell of which side the lateral is",
            attribute="ImageLaterality",
        )
    best, *others = sorted(joints, key=lambda joint: -joint.score)
    rivals = [
        one for one in others if _apart_mm(best, one) >= TWO_HIPS_MM and one.score > best.score - MUCH_FAINTER
    ]
    if rivals:
        raise Problem(
            f"ImageLaterality or Laterality says {SIDE_TITLES[tagged]}, and {1 + len(rivals)} joints are "
            "found: which of them it is cannot be told",
            attribute="ImageLaterality",
            sides=(tagged,),
        )
    return {tagged: best}


def _pair_of_hips(joints: Sequence[Peak], trochanters: Sequence[Peak]) -> dict[Side, Peak] | None:
    """Both hips of a Lauenstein's view: level, as far apart as hips are, their trochanters pointing apart.

    Only where all of this is so does the place in the picture tell the side. How plain they are does not
    matter: the fainter one may be the one that is meant.
    """
    far = [one for one in joints[1:] if _apart_mm(joints[0], one) >= TWO_HIPS_MM]
    if len(far) != 1:
        return None
    right, left = sorted((joints[0], far[0]), key=lambda joint: joint.x_mm)
    if abs(right.y_mm - left.y_mm) > TWO_HIPS_SLOPE * (left.x_mm - right.x_mm):
        return None
    outer_right, outer_left = (trochanters_of(joint, trochanters) for joint in (right, left))
    if outer_right is None or outer_left is None or outer_right is outer_left:
        return None
    points_apart = outer_right.x_mm < right.x_mm and outer_left.x_mm > left.x_mm
    return {Side.RIGHT: right, Side.LEFT: left} if points_apart else None


def _apart_mm(one: Peak, other: Peak) -> float:
    return math.dist((one.y_mm, one.x_mm), (other.y_mm, other.x_mm))


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


def _peaks(detector: Detector, image_yx: NDArray[np.uint8], spacing_mm_yx: PointYx) -> Peaks:
    found = detector.find(image_yx.astype(np.float32) / 255, spacing_mm_yx)
    return {landmark: found[landmark.name.lower()] for landmark in Landmark}


def _joints(peaks: Peaks) -> list[Peak]:
    return [peak for landmark in Landmark if landmark is not Landmark.TROCHANTERS for peak in peaks[landmark]]


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
