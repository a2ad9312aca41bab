"""Fractures of the phantom's proximal femur: planes, fragments and how they moved.

Coordinates are the femur's own: millimetres, (medial, posterior, superior) from the centre of
the head. A fracture cuts the bone into fragments; each fragment keeps what lies on its side of
rough planes and is moved rigidly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.hip_fracture.labels import Fracture as HipClass
from operators.phantom.bones import BoneShape
from operators.phantom.fields import Field, Points
from operators.phantom.shapes import rotation_about

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motion:
    """A rigid motion: turn about a pivot, then shift.

    Args:
        rotation: ``(3, 3)``.
        pivot_mm: ``(3,)``.
        shift_mm: ``(3,)``.
    """

    rotation: Vector
    pivot_mm: Vector
    shift_mm: Vector

    def moved(self, positions: Vector) -> Vector:
        """Where ``(n, 3)`` positions of the fragment come to lie."""
        return np.asarray(
            (positions - self.pivot_mm) @ self.rotation.T + self.pivot_mm + self.shift_mm, dtype=np.float64
        )

    def undone(self, points: Points) -> Points:
        """Where points came from."""
        matrix = self.rotation.T
        back = self.pivot_mm - matrix @ (self.pivot_mm + self.shift_mm)
        return affine(points, matrix, back)


STILL = Motion(np.eye(3), np.zeros(3), np.zeros(3))


def affine(points: Points, matrix: Vector, offset: Vector) -> Points:
    """Points mapped by ``matrix @ p + offset``, float32."""
    x, y, z = points
    a, b, c = (
        np.asarray(
            x * np.float32(matrix[i, 0])
            + y * np.float32(matrix[i, 1])
            + z * np.float32(matrix[i, 2])
            + np.float32(offset[i]),
            dtype=np.float32,
        )
        for i in range(3)
    )
    return a, b, c


@dataclass(frozen=True, eq=False)
class Cut:
    """A rough plane; its signed height is positive on the side of the normal.

    Args:
        point_mm: On the plane.
        normal: Unit vector.
        waves: ``(n, 4)``: amplitude mm, wave numbers per mm along two axes of the plane, phase.
    """

    point_mm: Vector
    normal: Vector
    waves: Vector

    def height(self, points: Points) -> Field:
        """Signed height above the rough plane, mm."""
        first, second = self.axes
        d = [axis - np.float32(p) for axis, p in zip(points, self.point_mm, strict=True)]

        def along(direction: Vector) -> Field:
            return np.asarray(sum(a * np.float32(w) for a, w in zip(d, direction, strict=True)), np.float32)

        u, v = along(first), along(second)
        out = along(self.normal)
        for amplitude, ku, kv, phase in self.waves:
            out = out - np.float32(amplitude) * np.sin(
                np.float32(ku) * u + np.float32(kv) * v + np.float32(phase)
            )
        return out

    @property
    def axes(self) -> tuple[Vector, Vector]:
        """Two unit vectors in the plane; the first is as posterior as can be."""
        first = np.array([0.0, 1.0, 0.0]) - self.normal * self.normal[1]
        first /= np.linalg.norm(first)
        return first, np.cross(self.normal, first)


@dataclass(frozen=True, eq=False)
class Fragment:
    """A piece of the femur: what lies above each of its cuts, moved.

    Args:
        cuts: Cut, sign (+1: above it, -1: below it) and distance kept from it, mm.
        motion: Of the piece.
        without: Pieces that broke off it.
    """

    cuts: tuple[tuple[Cut, float, float], ...]
    motion: Motion = STILL
    without: tuple[Fragment, ...] = ()

    def beyond(self, points: Points) -> Field:
        """How far unmoved points are outside the piece's cuts, mm; negative inside."""
        out = np.full(points[0].shape, -1e3, dtype=np.float32)
        for cut, sign, margin in self.cuts:
            np.maximum(out, np.float32(margin) - np.float32(sign) * cut.height(points), out=out)
        for piece in self.without:
            np.maximum(out, np.float32(CRACK_MM) - piece.beyond(points), out=out)
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Fracture:
    """A fracture as it is drawn and told in the truth.

    Args:
        hip_class: Neck or trochanteric.
        garden: 1 to 4 for a neck.
        pauwels_deg: Of the line against the horizontal, in the frontal plane.
        obliquity_deg: Of the plane out of the anteroposterior direction.
        displacement_mm: How far the shaft's piece moved at the fracture.
        angulation_deg: Negative varus, positive valgus.
        external_deg: Rotation of the shaft's piece outwards.
        gap_mm: Between the pieces; negative when impacted.
        lt_fragment: The lesser trochanter is a piece of its own.
        fragments: Head's piece first, shaft's piece second, then small ones.
    """

    hip_class: HipClass
    garden: int | None
    pauwels_deg: float
    obliquity_deg: float
    displacement_mm: float
    angulation_deg: float
    external_deg: float
    gap_mm: float
    lt_fragment: bool
    fragments: tuple[Fragment, ...]

    @property
    def displaced(self) -> bool:
        """Whether the pieces are out of place: neither Garden I, II nor an unshifted trochanteric one."""
        if self.garden is not None:
            return self.garden >= 3
        return self.displacement_mm >= 2 or abs(self.angulation_deg) >= 6


CRACK_MM = 0.7
"""Between a piece and what it broke off, before it moves."""

WHOLE = (Fragment(()),)
"""An unbroken femur."""


def neck_axis(shape: BoneShape) -> Vector:
    """Unit vector from the head's centre along the neck to its base."""
    tilt, turn = np.deg2rad(shape.neck_shaft_deg - 90), np.deg2rad(shape.anteversion_deg)
    return np.array([-np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), -np.sin(tilt)])


def draw_fracture(
    rng: np.random.Generator, hip_class: HipClass, shape: BoneShape, *, undisplaced_share: float
) -> Fracture:
    """A fracture of a class; the same generator state gives the same fracture.

    Raises:
        ValueError: For `HipClass.NONE`.
    """
    displaced = bool(rng.random() >= undisplaced_share)
    if hip_class is HipClass.NECK:
        return _neck(rng, shape, displaced=displaced)
    if hip_class is HipClass.TROCHANTERIC:
        return _trochanteric(rng, shape, displaced=displaced)
    raise ValueError("no fracture can be drawn of the class 'none'")


def _rough(rng: np.random.Generator, amplitude_mm: float) -> Vector:
    """Four waves of falling length, ``(4, 4)``."""
    lengths = np.array([34.0, 17.0, 9.0, 4.5]) * rng.uniform(0.8, 1.25, 4)
    turn = rng.uniform(0, 2 * np.pi, 4)
    k = 2 * np.pi / lengths
    amplitude = amplitude_mm * np.array([1.0, 0.6, 0.4, 0.25]) * rng.uniform(0.4, 1.2, 4)
    return np.stack([amplitude, k * np.cos(turn), k * np.sin(turn), rng.uniform(0, 2 * np.pi, 4)], axis=1)


def _plane(line_deg: float, obliquity_deg: float) -> Vector:
    """Normal, towards the head, of a plane whose line falls medially at an angle; tilted out of the view."""
    a, o = np.deg2rad(line_deg), np.deg2rad(obliquity_deg)
    return np.array([np.sin(a) * np.cos(o), np.sin(o), np.cos(a) * np.cos(o)])


POSTERIOR = (0.0, 1.0, 0.0)
UP = (0.0, 0.0, 1.0)


def _valgus(angle_deg: float) -> Vector:
    """Turns the head up and outwards (positive) in the frontal plane: superior goes lateral."""
    return rotation_about(POSTERIOR, np.deg2rad(-angle_deg))


def _external(angle_deg: float) -> Vector:
    """Turns the front of the shaft outwards: anterior goes lateral."""
    return rotation_about(UP, np.deg2rad(-angle_deg))


def _follow(motion: Motion, position_mm: Vector) -> Vector:
    """How a position moves with a piece, mm: the other piece stays in touch there."""
    return np.asarray(motion.moved(position_mm[None])[0] - position_mm)


def _neck(rng: np.random.Generator, shape: BoneShape, *, displaced: bool) -> Fracture:
    axis = neck_axis(shape)
    along = float(rng.uniform(15, 25) if rng.random() < 0.7 else rng.uniform(24, 34))
    pauwels = float(np.clip(rng.normal(51, 10), 30, 70))
    obliquity = float(rng.normal(0, 10)) - np.rad2deg(np.arcsin(axis[1])) * 0.6
    normal = _plane(pauwels, obliquity)
    cut = Cut(axis * along, normal, _rough(rng, float(rng.uniform(0.7, 1.8))))
    if displaced:
        garden = 3 if rng.random() < 0.45 else 4
        displacement = float(rng.uniform(2.5, 8) if garden == 3 else rng.uniform(6, 15))
        angulation = -float(rng.uniform(8, 30) if garden == 3 else rng.uniform(0, 15))
        external = float(rng.uniform(8, 45))
        gap = float(rng.uniform(-1.0, 2.0))
    else:
        garden = 1 if rng.random() < 0.5 else 2
        displacement = float(rng.uniform(1.0, 3.0) if garden == 1 else rng.uniform(0.3, 1.6))
        angulation = float(rng.uniform(8, 20) if garden == 1 else rng.uniform(-3, 3))
        external = float(rng.normal(0, 3))
        gap = float(-rng.uniform(1.0, 3.2) if garden == 1 else rng.uniform(0.8, 1.8))
    head = Motion(_valgus(angulation), np.zeros(3), np.zeros(3))
    # The shaft slides upwards along the plane; in slight shifts anywhere within it.
    first, second = cut.axes
    upwards = second * np.sign(second[2] + 1e-9)
    sideways = first * rng.normal(0, 0.5)
    shift = upwards * displacement + sideways * displacement - normal * 0.3
    if garden in (1, 2):
        turn = rng.uniform(0, 2 * np.pi)
        shift = displacement * (np.cos(turn) * first + np.sin(turn) * second)
    shift = shift + _follow(head, cut.point_mm)
    shaft = Motion(_external(external), cut.point_mm, shift)
    return Fracture(
        hip_class=HipClass.NECK,
        garden=garden,
        pauwels_deg=pauwels,
        obliquity_deg=obliquity,
        displacement_mm=displacement,
        angulation_deg=angulation,
        external_deg=external,
        gap_mm=gap,
        lt_fragment=False,
        fragments=(
            Fragment(((cut, 1.0, gap / 2),), head),
            Fragment(((cut, -1.0, gap / 2),), shaft),
        ),
    )


def _trochanteric(rng: np.random.Generator, shape: BoneShape, *, displaced: bool) -> Fracture:
    base = neck_axis(shape) * 50
    line = float(rng.uniform(42, 62))
    obliquity = float(rng.normal(0, 14))
    normal = _plane(line, obliquity)
    point = base + np.array([-2.0, 0.0, -6.0]) - normal * float(rng.uniform(-3, 8))
    cut = Cut(point, normal, _rough(rng, float(rng.uniform(1.0, 2.6))))
    lt_fragment = bool(rng.random() < (0.47 if displaced else 0.12))
    gt_fragment = bool(rng.random() < (0.3 if displaced else 0.1))
    if displaced:
        displacement, angulation = float(rng.uniform(2, 20)), float(-rng.uniform(0, 28))
        external, gap = float(rng.uniform(5, 45)), float(rng.uniform(0.5, 3.0))
    else:
        displacement, angulation = float(rng.uniform(0.2, 1.5)), float(rng.uniform(-4, 2))
        external, gap = float(rng.normal(0, 3)), float(rng.uniform(0.7, 1.8))
    head = Motion(_valgus(angulation), np.zeros(3), np.zeros(3))
    first, second = cut.axes
    upwards = second * np.sign(second[2] + 1e-9)
    shift = upwards * displacement * 0.8 + first * float(rng.normal(0, 0.3)) * displacement
    shift = shift + np.array([0.25 * displacement, 0, 0])
    if not displaced:
        turn = rng.uniform(0, 2 * np.pi)
        shift = displacement * (np.cos(turn) * first + np.sin(turn) * second)
    shift = shift + _follow(head, point)
    shaft = Motion(_external(external), point, shift)
    small: list[Fragment] = []
    if lt_fragment:
        way = np.array([0.80, 0.55, float(rng.uniform(-0.1, 0.1))])
        way /= np.linalg.norm(way)
        piece = Cut(base + np.array([7.0, 1.0, -31.0]), way, _rough(rng, 1.6))
        end = Cut(
            base + np.array([8.0, 2.0, -float(rng.uniform(42, 56))]),
            _plane(float(rng.uniform(-35, 5)), float(rng.normal(0, 10))),
            _rough(rng, 1.2),
        )
        far = float(rng.uniform(3, 14) if displaced else rng.uniform(0.5, 2))
        turned = _valgus(float(rng.uniform(-35, 15))) @ _external(float(rng.normal(0, 15)))
        away = Motion(
            turned if displaced else np.eye(3),
            base + np.array([13.0, 6.0, -31.0]),
            shift + far * (way + np.array([0.0, 0.0, 0.7])) / 1.2,
        )
        small.append(Fragment(((cut, -1.0, gap / 2), (piece, 1.0, 0.0), (end, 1.0, 0.0)), away))
    if gt_fragment:
        way = np.array([-0.45, 0.45, 0.75])
        way /= np.linalg.norm(way)
        piece = Cut(base + np.array([-12.0, 7.0, 12.0]), way, _rough(rng, 1.5))
        far = float(rng.uniform(2, 8) if displaced else rng.uniform(0.4, 1.5))
        away = Motion(_external(external * 0.5), piece.point_mm, shift * 0.5 + far * way)
        small.append(Fragment(((cut, -1.0, gap / 2), (piece, 1.0, 0.0)), away))
    rest = Fragment(((cut, -1.0, gap / 2),), shaft, tuple(small))
    return Fracture(
        hip_class=HipClass.TROCHANTERIC,
        garden=None,
        pauwels_deg=line,
        obliquity_deg=obliquity,
        displacement_mm=displacement,
        angulation_deg=angulation,
        external_deg=external,
        gap_mm=gap,
        lt_fragment=lt_fragment,
        fragments=(Fragment(((cut, 1.0, gap / 2),), head), rest, *small),
    )
