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
from apps.spine_metastasis.levels import NEAREST_MM, Point, Spine, merge, spine_of
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
FAINTEST = 0.25
"""Peaks that are looked at in a slice."""
BODY_BREADTH_MM = 16.0
"""A vertebra is seen across as many slices; its score is the mean of the best so many, of 3 at most."""
MOST_AVERAGED = 3
SEEN_FACTOR = 0.79
"""Of the detector's threshold, which holds for one slice: what several slices show may be fainter.

On 24 phantoms of hospital B (seeds from 200000) true bodies have 0.5 and more, most false ones less.
"""
SACRUM_FACTOR, LEAST_SACRUM = 0.93, 0.65
"""Of the threshold, and at least: a wrong first sacral vertebra names every level wrongly.

On the same phantoms true ones have 0.68 and more; false ones in the lumbar spine up to 0.67, in one sequence.
"""
WHOLE_MM = 12.0
"""From the middle of a first sacral vertebra to the lower border of the picture."""
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
    found = {weighting: find_points(stack, detector) for weighting, stack in stacks.items()}
    seen = {weighting: points[SACRUM] for weighting, points in found.items()}
    surely = max(SACRUM_FACTOR * detector.threshold, LEAST_SACRUM)
    sacra = [point for point in agreed(stacks, seen) if point.score >= surely]
    sacrum = max(sacra, key=lambda point: point.score, default=None)
    spine = spine_of(merge([points[BODY] for points in found.values()]), sacrum)
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
        found = detector.candidates(image[None].astype(np.float32) / 255.0, (PIXEL_MM, PIXEL_MM), FAINTEST)
        for name in NAMES:
            by_name[name] += [(number, peak) for peak in found[name]]
    least = SEEN_FACTOR * detector.threshold
    return {name: _across_slices(peaks, stack, least=least) for name, peaks in by_name.items()}


def agreed(
    stacks: Mapping[Weighting, SagittalStack], seen: Mapping[Weighting, Sequence[Point]]
) -> list[Point]:
    """Sacral vertebrae that every sequence shows which shows their place at all.

    One near the lower border is cut off: what looks so may be any vertebra.
    """
    out = []
    for point in merge(list(seen.values())):
        asked = [weighting for weighting, stack in stacks.items() if _is_whole_in(stack, point)]
        if asked and all(any(_is_at(one, point) for one in seen[weighting]) for weighting in asked):
            out.append(point)
    return out


def _is_whole_in(stack: SagittalStack, point: Point) -> bool:
    """True when a sacral vertebra lies in the picture, and far enough from its lower border."""
    number, row, column = stack.index_of(point.position)
    shape, step = stack.signal.shape, stack.geometry.spacing_mm_zyx
    is_inside = -0.5 <= number <= shape[0] - 0.5 and 0 <= column <= shape[2] - 1
    return bool(is_inside and row >= 0 and (shape[1] - 0.5 - row) * step[1] >= WHOLE_MM)


def _is_at(one: Point, other: Point) -> bool:
    return float(np.linalg.norm(one.position - other.position)) < NEAREST_MM


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


def _across_slices(peaks: list[tuple[int, Peak]], stack: SagittalStack, *, least: float) -> list[Point]:
    """Peaks of slices as points of the patient; those behind one another are one."""
    clusters: list[list[tuple[int, Peak]]] = []
    for number, peak in sorted(peaks, key=lambda one: -one[1].score):
        near = min(clusters, key=lambda cluster: _apart(cluster[0][1], peak), default=None)
        if near is not None and _apart(near[0][1], peak) < SAME_MM:
            near.append((number, peak))
        else:
            clusters.append([(number, peak)])
    slice_mm, row_mm, column_mm = stack.geometry.spacing_mm_zyx
    averaged = int(np.clip(round(BODY_BREADTH_MM / slice_mm), 1, MOST_AVERAGED))
    points = []
    for cluster in clusters:
        score = across_score(cluster, averaged)
        if score < least:
            continue
        place = np.average(
            [(number, peak.y_mm, peak.x_mm) for number, peak in cluster],
            axis=0,
            weights=[peak.score**2 for _, peak in cluster],
        )
        position = stack.geometry.position_mm_lps((place[0], place[1] / row_mm, place[2] / column_mm))
        points.append(
            Point(position_mm_lps=(float(position[0]), float(position[1]), float(position[2])), score=score)
        )
    return points


def across_score(cluster: Sequence[tuple[int, Peak]], averaged: int) -> float:
    """Mean of the best scores of so many slices; a slice that shows nothing counts 0.

    >>> tops = [(4, Peak(y_mm=0, x_mm=0, score=0.9)), (5, Peak(y_mm=0, x_mm=0, score=0.6))]
    >>> round(across_score(tops, 3), 6)
    0.5
    """
    highest: dict[int, float] = {}
    for number, peak in cluster:
        highest[number] = max(highest.get(number, 0.0), peak.score)
    return float(sum(sorted(highest.values(), reverse=True)[:averaged]) / averaged)


def _apart(one: Peak, other: Peak) -> float:
    return float(np.hypot(one.y_mm - other.y_mm, one.x_mm - other.x_mm))
