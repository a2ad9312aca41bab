"""A chain of vertebrae out of loose points, and their names where they can be known.

Names come from counting upwards from the first sacral vertebra, as a reader does, with five lumbar
vertebrae taken for granted. Where the sacrum is not in the picture, or a vertebra may have been
missed on the way, a level is left without a name: none is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.labels import LEVELS

NEAREST_MM = 12.0
"""Two points nearer than this are one vertebra."""
FARTHEST_ASIDE_MM = 16.0
"""From the curve through the others, in the sagittal plane; what is farther is no vertebral body."""
STEPS_MM = (16.0, 48.0)
"""From one body to the next; a typical one is 20 high in the thorax and 40 low in the lumbar spine."""
SURE_STEPS = (0.62, 1.45)
"""Distance to the next vertebra over what is expected there: beyond it a vertebra may have been missed."""
SACRUM_BELOW_MM = (16.0, 52.0)
"""From the lowest lumbar body to the first sacral one."""
BODIES_BELOW = 2
"""So many bodies below a first sacral vertebra, at the distances of a spine, show that it is none."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place where a vertebra was seen.

    Args:
        position_mm_lps: Centre of the body.
        score: How surely, 0 to 1.
    """

    position_mm_lps: tuple[float, float, float]
    score: float

    @property
    def position(self) -> NDArray[np.float64]:
        """``(3,)`` float64, LPS, mm."""
        return np.asarray(self.position_mm_lps, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """One vertebra of the chain.

    Args:
        number: From the head, 1 for the highest one that was found.
        level: Such as ``L1``; None where it cannot be known.
        centre_mm_lps: Of its body.
        axis_lps: Unit vector along the spine, towards the feet.
        pitch_mm: Mean distance to its neighbours: body and disc.
        score: How surely it was found, 0 to 1.
    """

    number: int
    level: str | None
    centre_mm_lps: tuple[float, float, float]
    axis_lps: tuple[float, float, float]
    pitch_mm: float
    score: float

    @property
    def centre(self) -> NDArray[np.float64]:
        """``(3,)`` float64, LPS, mm."""
        return np.asarray(self.centre_mm_lps, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Spine:
    """What was found of a spine.

    Args:
        vertebrae: From head to feet.
        sacrum: The first sacral vertebra, where it is in the picture and believed.
        is_sacrum_doubted: One was seen, but the spine goes on below it: it is not counted from.
    """

    vertebrae: tuple[Vertebra, ...]
    sacrum: Point | None = None
    is_sacrum_doubted: bool = False

    @property
    def gaps(self) -> tuple[tuple[Vertebra, Vertebra | None], ...]:
        """Neighbours between which a vertebra may have been missed; None is the sacrum."""
        points = [Point(position_mm_lps=one.centre_mm_lps, score=one.score) for one in self.vertebrae]
        steps = _steps(points)
        found: list[tuple[Vertebra, Vertebra | None]] = [
            pair for index, pair in enumerate(pairwise(self.vertebrae)) if not _is_sure(steps, index)
        ]
        if self.sacrum is not None and points and not _is_next(points[-1], self.sacrum):
            found.append((self.vertebrae[-1], None))
        return tuple(found)


def merge(groups: Sequence[Sequence[Point]]) -> list[Point]:
    """Points of several sequences as one list: those of one vertebra become their mean.

    The score becomes the highest one. Points that the first group lacks are added.

    >>> one = Point(position_mm_lps=(0.0, 0.0, 0.0), score=0.5)
    >>> other = Point(position_mm_lps=(0.0, 4.0, 0.0), score=0.9)
    >>> merge([[one], [other]])
    [Point(position_mm_lps=(0.0, 2.0, 0.0), score=0.9)]
    """
    clusters: list[list[Point]] = []
    for group in groups:
        for point in group:
            near = min(clusters, key=lambda c: _distance(c[0], point), default=None)
            if near is not None and _distance(near[0], point) < NEAREST_MM:
                near.append(point)
            else:
                clusters.append([point])
    merged = []
    for cluster in clusters:
        mean = np.mean([point.position for point in cluster], axis=0)
        merged.append(Point(position_mm_lps=_triple(mean), score=max(point.score for point in cluster)))
    return merged


def chain(points: Sequence[Point], sacrum: Point | None = None) -> tuple[Vertebra, ...]:
    """The vertebrae from head to feet, named where they can be.

    Args:
        points: Bodies, in any order, with a few that may be none.
        sacrum: The first sacral vertebra, where it was seen.

    >>> spine = [Point(position_mm_lps=(0.0, 0.0, 35.0 * i), score=1.0) for i in range(1, 4)]
    >>> below = Point(position_mm_lps=(0.0, 8.0, 2.0), score=1.0)
    >>> [v.level for v in chain(spine, below)]
    ['L3', 'L4', 'L5']
    >>> [v.level for v in chain(spine)]
    [None, None, None]
    """
    return spine_of(points, sacrum).vertebrae


def spine_of(points: Sequence[Point], sacrum: Point | None = None) -> Spine:
    """As `chain`, with the sacrum where it is believed.

    A first sacral vertebra with a spine below it is none: counting from it would give wrong names, and
    what lies below would be lost.
    """
    kept = _on_the_curve(_without_twins(points))
    is_doubted = sacrum is not None and _goes_on_below(kept, sacrum)
    if is_doubted:
        sacrum = None
    if sacrum is not None:
        kept = [p for p in kept if p.position[2] > sacrum.position[2] and _distance(p, sacrum) > NEAREST_MM]
    return Spine(vertebrae=linked(kept, sacrum), sacrum=sacrum, is_sacrum_doubted=is_doubted)


def linked(points: Sequence[Point], sacrum: Point | None = None) -> tuple[Vertebra, ...]:
    """Every point as a vertebra of the chain, from head to feet; see `chain`, which sorts out first."""
    kept = sorted(points, key=lambda point: -point.position[2])
    if not kept:
        return ()
    steps = _steps(kept)
    levels = _levels(kept, steps, sacrum)
    ends = [*kept, sacrum] if sacrum is not None and _is_next(kept[-1], sacrum) else kept
    out = []
    for index, point in enumerate(kept):
        above, below = max(index - 1, 0), min(index + 1, len(ends) - 1)
        along = ends[below].position - ends[above].position
        length = float(np.linalg.norm(along))
        axis = along / length if length > 0 else np.array([0.0, 0.0, -1.0])
        out.append(
            Vertebra(
                number=index + 1,
                level=levels[index],
                centre_mm_lps=point.position_mm_lps,
                axis_lps=_triple(axis),
                pitch_mm=_pitch(steps, index),
                score=point.score,
            )
        )
    return tuple(out)


def _levels(kept: Sequence[Point], steps: Sequence[float], sacrum: Point | None) -> list[str | None]:
    """Names counted upwards, until a step leaves room for a vertebra that was not seen."""
    levels: list[str | None] = [None] * len(kept)
    if sacrum is None or not _is_next(kept[-1], sacrum):
        return levels
    name = len(LEVELS) - 1
    for index in range(len(kept) - 1, -1, -1):
        if name < 0:
            break
        levels[index] = LEVELS[name]
        name -= 1
        if index > 0 and not _is_sure(steps, index - 1):
            break
    return levels


def _goes_on_below(kept: Sequence[Point], sacrum: Point) -> bool:
    """True when the bodies go on below as they do above: those of a sacrum are nearer to one another."""
    above, below = (
        sorted(
            (p for p in kept if (p.position[2] > sacrum.position[2]) == is_above),
            key=lambda p: -p.position[2],
        )
        for is_above in (True, False)
    )
    below = [point for point in below if _distance(point, sacrum) > NEAREST_MM]
    if len(below) < BODIES_BELOW:
        return False
    usual = [step for step in _steps(above) if STEPS_MM[0] <= step <= STEPS_MM[1]]
    least = SURE_STEPS[0] * float(np.median(usual)) if usual else STEPS_MM[0]
    return all(least <= step <= STEPS_MM[1] for step in _steps(below)[: BODIES_BELOW - 1])


def _is_next(lowest: Point, sacrum: Point) -> bool:
    near, far = SACRUM_BELOW_MM
    return near <= _distance(lowest, sacrum) <= far


def _is_sure(steps: Sequence[float], index: int) -> bool:
    """True when nothing is missed between this vertebra and the next one.

    Bodies grow smoothly from head to feet, so the step is held against those around it.
    """
    others = [steps[i] for i in range(max(index - 3, 0), min(index + 4, len(steps))) if i != index]
    if not others:
        return STEPS_MM[0] <= steps[index] <= STEPS_MM[1]
    ratio = steps[index] / float(np.median(others))
    return SURE_STEPS[0] <= ratio <= SURE_STEPS[1] and steps[index] <= STEPS_MM[1]


def _steps(kept: Sequence[Point]) -> list[float]:
    return [_distance(one, other) for one, other in pairwise(kept)]


def _pitch(steps: Sequence[float], index: int) -> float:
    near = [steps[i] for i in (index - 1, index) if 0 <= i < len(steps)]
    plausible = [step for step in near if STEPS_MM[0] <= step <= STEPS_MM[1]]
    return float(np.mean(plausible)) if plausible else float(np.mean(STEPS_MM))


def _without_twins(points: Sequence[Point]) -> list[Point]:
    """Of points too near to one another the surest."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: -one.score):
        if all(_distance(point, other) >= NEAREST_MM for other in kept):
            kept.append(point)
    return kept


def _on_the_curve(points: list[Point]) -> list[Point]:
    """Points near a smooth curve through all of them; the worst one goes first."""
    kept = list(points)
    while len(kept) >= 4:
        height = np.array([point.position[2] for point in kept])
        depth = np.array([point.position[1] for point in kept])
        scale = max(float(np.ptp(height)), 1.0)
        place = (height - height.mean()) / scale
        degree = min(3, len(kept) - 2)
        off = np.empty(len(kept))
        # Each point is held against the curve of the others: one far away would bend its own curve.
        for index in range(len(kept)):
            rest = np.arange(len(kept)) != index
            curve = np.polyfit(place[rest], depth[rest], degree if len(kept) > 5 else 1)
            off[index] = abs(float(np.polyval(curve, place[index])) - depth[index])
        inner = np.argsort(height)[1:-1]
        # At both ends the curve of the others is extrapolated, so more is allowed there.
        allowed = np.full(len(kept), 2 * FARTHEST_ASIDE_MM)
        allowed[inner] = FARTHEST_ASIDE_MM
        worst = int(np.argmax(off / allowed))
        if off[worst] <= allowed[worst]:
            break
        del kept[worst]
    return kept


def _distance(one: Point, other: Point) -> float:
    return float(np.linalg.norm(one.position - other.position))


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
