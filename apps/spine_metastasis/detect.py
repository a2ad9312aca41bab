"""Where the vertebrae are: a landmark network on the middle slices of whichever sequences there are.

Each slice gives points in its plane; those of neighbouring slices that lie behind one another are
one vertebra, whose place across the slices is where they are surest. The points of all sequences
are merged in the patient's coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.labels import Weighting
from apps.spine_metastasis.levels import Point, Spine, merge, spine_of
from apps.spine_metastasis.stack import SagittalStack
from operators.errors import Refused
from operators.infer.landmarks import Detector, Peak, resampled

DETECTOR = "vertebrae"
"""Of the bundle."""
BODY, SACRUM = "vertebral_body", "first_sacral"
NAMES = (BODY, SACRUM)
PIXEL_MM = 2.0
HALF_BREADTH_MM = 20.0
"""Slices as far from the middle of the series are looked at."""
MOST_SLICES = 9
SAME_MM = 9.0
"""Points of neighbouring slices nearer than this, in the plane, are of one vertebra."""
WHITE_PERCENTILE = 99.0
WHITE_VALUE = 200.0
"""What the percentile of the middle slices becomes, of 255."""
ONE_SLICE_FACTOR = 1.3
"""A vertebra that is seen in one slice alone must be surer than the detector's threshold by this."""
MOST_ASKED = 0.9
"""Of a score, whatever the threshold."""
LEAST_VERTEBRAE = 3
"""Fewer are no spine."""


def find_spine(stacks: Mapping[Weighting, SagittalStack], detector: Detector) -> Spine:
    """The vertebrae of a study.

    Args:
        stacks: Its sequences, in one frame of reference.
        detector: Of the bundle.

    Raises:
        Refused: There are fewer than `LEAST_VERTEBRAE`.
    """
    bodies, sacra = [], []
    for stack in stacks.values():
        found = find_points(stack, detector)
        bodies.append(found[BODY])
        sacra.append(found[SACRUM])
    sacrum = max(merge(sacra), key=lambda point: point.score, default=None)
    spine = spine_of(merge(bodies), sacrum)
    if len(spine.vertebrae) < LEAST_VERTEBRAE:
        raise Refused(
            f"PixelData: {len(spine.vertebrae)} vertebrae are found, at least {LEAST_VERTEBRAE} are needed; "
            "this may be no sagittal picture of the thoracic or lumbar spine",
            attribute="PixelData",
        )
    return spine


def find_points(stack: SagittalStack, detector: Detector) -> dict[str, list[Point]]:
    """Points of each of `NAMES` in one sequence, in the patient."""
    numbers = middle_slices(stack)
    images = reduced_slices(stack, numbers)
    by_name: dict[str, list[tuple[int, Peak]]] = {name: [] for name in NAMES}
    for number, image in zip(numbers, images, strict=True):
        found = detector.find(image[None].astype(np.float32) / 255.0, (PIXEL_MM, PIXEL_MM))
        for name in NAMES:
            by_name[name] += [(number, peak) for peak in found[name]]
    least = min(ONE_SLICE_FACTOR * detector.threshold, MOST_ASKED)
    return {name: _across_slices(peaks, stack, least_alone=least) for name, peaks in by_name.items()}


def middle_slices(stack: SagittalStack) -> list[int]:
    """Numbers of the slices around the middle of the series, at most `MOST_SLICES`."""
    count, step = stack.signal.shape[0], stack.geometry.spacing_mm_zyx[0]
    reach = min(HALF_BREADTH_MM / step, (MOST_SLICES - 1) / 2)
    middle = (count - 1) / 2
    return [number for number in range(count) if abs(number - middle) <= reach + 1e-6]


def reduced_slices(stack: SagittalStack, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Slices on pixels of `PIXEL_MM`, ``(n, row, column)`` uint8; pixel 0 stays where it is.

    White is a high percentile of the slices around the middle, whatever `numbers` are.
    """
    white = float(np.percentile(stack.signal[middle_slices(stack)], WHITE_PERCENTILE))
    _, row_mm, column_mm = stack.geometry.spacing_mm_zyx
    reduced = resampled(stack.signal[list(numbers)], (row_mm, column_mm), PIXEL_MM)
    scaled = np.clip(reduced * (WHITE_VALUE / white if white > 0 else 1.0), 0, 255)
    return np.asarray(scaled.round(), dtype=np.uint8)


def _across_slices(peaks: list[tuple[int, Peak]], stack: SagittalStack, *, least_alone: float) -> list[Point]:
    """Peaks of slices as points of the patient; those behind one another are one."""
    clusters: list[list[tuple[int, Peak]]] = []
    for number, peak in sorted(peaks, key=lambda one: -one[1].score):
        near = min(clusters, key=lambda cluster: _apart(cluster[0][1], peak), default=None)
        if near is not None and _apart(near[0][1], peak) < SAME_MM:
            near.append((number, peak))
        else:
            clusters.append([(number, peak)])
    points = []
    for cluster in clusters:
        weights = np.array([peak.score for _, peak in cluster], dtype=np.float64)
        if len(cluster) == 1 and weights[0] < least_alone:
            continue
        place = np.average(
            [(number, peak.y_mm, peak.x_mm) for number, peak in cluster], axis=0, weights=weights**2
        )
        _, row_mm, column_mm = stack.geometry.spacing_mm_zyx
        position = stack.geometry.position_mm_lps((place[0], place[1] / row_mm, place[2] / column_mm))
        points.append(
            Point(
                position_mm_lps=(float(position[0]), float(position[1]), float(position[2])),
                score=float(weights.max()),
            )
        )
    return points


def _apart(one: Peak, other: Peak) -> float:
    return float(np.hypot(one.y_mm - other.y_mm, one.x_mm - other.x_mm))
