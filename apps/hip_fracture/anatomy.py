"""The phantom's bones, metal and flesh as solids that rays pass.

Each bone is made once in its own coordinates, as a grid of signed distances that is finely
interpolated where rays pass; flesh is made of tubes and ellipsoids. Attenuation of bone and
metal is what they have more than the soft tissue in whose place they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from apps.hip_fracture.fracture import Fragment, Vector, affine, neck_axis
from operators.phantom import bones
from operators.phantom.bones import MIDLINE_MM, BoneShape
from operators.phantom.fields import Field, Points, distance_to_path, ellipsoid, intersection, union
from operators.phantom.radiograph import Solid

SOFT_PER_MM = 0.0205
"""Attenuation of muscle at about 65 keV; fat has less, see science 1.8."""
FAT_PER_MM = 0.0182
CORTEX_PER_MM = 0.0355
"""Of cortical bone, beyond that of muscle."""
SPONGY_PER_MM = 0.0062
"""Of spongy bone of ordinary density, beyond that of muscle."""
METAL_PER_MM = 0.28
FEMUR_GRID_MM = 1.6
PELVIS_GRID_MM = 1.7


@dataclass(frozen=True, eq=False)
class Lattice:
    """Values on a regular grid, linearly interpolated.

    Args:
        low_mm: Of the first sample.
        step_mm: Between samples.
        values: ``(i, j, k)`` float32.
    """

    low_mm: tuple[float, float, float]
    step_mm: float
    values: Field

    @classmethod
    def axes(cls, low_mm: Sequence[float], high_mm: Sequence[float], step_mm: float) -> Points:
        """Points of a grid between two corners."""
        lines = [
            np.arange(a, b + step_mm, step_mm, dtype=np.float32) for a, b in zip(low_mm, high_mm, strict=True)
        ]
        x, y, z = np.meshgrid(*lines, indexing="ij")
        return x, y, z

    def at(self, points: Points) -> Field:
        """Interpolated values; beyond the grid those of its border."""
        scale = np.float32(1 / self.step_mm)
        shape = points[0].shape
        index = np.empty((3, points[0].size), dtype=np.float32)
        for d, (axis, low) in enumerate(zip(points, self.low_mm, strict=True)):
            np.multiply(axis.reshape(-1) - np.float32(low), scale, out=index[d])
        out = ndimage.map_coordinates(self.values, index, order=1, mode="nearest", output=np.float32)
        return np.asarray(out.reshape(shape), dtype=np.float32)

    @property
    def corners_mm(self) -> Vector:
        """``(8, 3)``."""
        high = [a + self.step_mm * (n - 1) for a, n in zip(self.low_mm, self.values.shape, strict=True)]
        return corners(self.low_mm, high)


def corners(low_mm: Sequence[float], high_mm: Sequence[float]) -> Vector:
    """The eight corners of a box, ``(8, 3)``."""
    return np.array(
        [
            [(low_mm, high_mm)[i][0], (low_mm, high_mm)[j][1], (low_mm, high_mm)[k][2]]
            for i in (0, 1)
            for j in (0, 1)
            for k in (0, 1)
        ],
        dtype=float,
    )


@dataclass(frozen=True, kw_only=True)
class BoneQuality:
    """How dense a person's bone is.

    Args:
        density: Of spongy bone, relative.
        cortex: Thickness of the cortex, relative.
        texture: How coarse the trabeculae show, relative.
        seed: Of the texture.
    """

    density: float
    cortex: float
    texture: float
    seed: int


@lru_cache(maxsize=2)
def texture_tile(seed: int) -> Field:
    """Periodic unit noise drawn out along the first axis, ``(64, 64, 64)`` float32, a sample per 0.5 mm."""
    rng = np.random.default_rng([seed, 5])
    noise = rng.standard_normal((64, 64, 64), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (3.6, 0.9, 1.4), mode="wrap")
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _streaks(seed: int, along_mm: Field, across_mm: Field, deep_mm: Field) -> Field:
    """Trabeculae: texture at positions given along and across their direction."""
    index = np.stack([along_mm / np.float32(0.5), across_mm / np.float32(0.5), deep_mm / np.float32(0.7)])
    out = ndimage.map_coordinates(texture_tile(seed), index, order=1, mode="grid-wrap", output=np.float32)
    return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Femur:
    """A proximal femur in its own coordinates.

    Args:
        shape: Its bone.
        quality: Its density.
        distance: Signed distances.
    """

    shape: BoneShape
    quality: BoneQuality
    distance: Lattice

    @classmethod
    def made(cls, shape: BoneShape, quality: BoneQuality, *, lowest_mm: float = -205.0) -> Femur:
        """The femur down to a height."""
        low, high = (-84.0, -42.0, lowest_mm), (32.0, 46.0, 32.0)
        field = bones.femur(Lattice.axes(low, high, FEMUR_GRID_MM), shape)
        return cls(shape, quality, Lattice(low, FEMUR_GRID_MM, field.astype(np.float32)))

    def attenuation(self, points: Points, distance: Field) -> Field:
        """Per mm, beyond soft tissue, of points in the unbroken bone."""
        quality = self.quality
        m, p, s = points
        thick = bones.femur_cortex_mm(points, quality.cortex)
        axis = neck_axis(self.shape)
        along = m * np.float32(axis[0]) + p * np.float32(axis[1]) + s * np.float32(axis[2])
        # The calcar: the thick cortex under the neck and inside the shaft.
        under = m - np.float32(axis[0]) * along
        calcar = (
            np.clip((under + 4) / 12, 0, 1) * np.clip((along - 12) / 14, 0, 1) * np.clip((s + 110) / 40, 0, 1)
        )
        thick = thick * (1 + np.float32(1.0) * calcar)
        thick = np.where(along < 14, np.float32(1.1 * quality.cortex), thick)
        inside = -distance
        cortical = np.clip(np.float32(0.5) + (thick - inside) * np.float32(0.9), 0, 1)
        spongy = np.float32(SPONGY_PER_MM * quality.density) * self._spongy(points, along)
        marrow = np.clip((s + 95) / 45, 0, 1)
        spongy = spongy * marrow + np.float32(-0.0010) * (1 - marrow)
        out = spongy + cortical * (
            np.float32(CORTEX_PER_MM) * np.float32(0.9 + 0.1 * quality.density) - spongy
        )
        return np.asarray(out, dtype=np.float32)

    def _spongy(self, points: Points, along: Field) -> Field:
        """Relative density of spongy bone: the loaded columns, Ward's triangle, trabeculae."""
        m, p, s = points
        # Compressive trabeculae fan out from the calcar to the top of the head.
        dm, ds = m + np.float32(31), s + np.float32(62)
        far = np.sqrt(dm * dm + ds * ds) + np.float32(1)
        angle = np.arctan2(dm, ds)
        fan = np.exp(-(((angle - np.float32(0.46)) / np.float32(0.17)) ** 2)) * np.clip((far - 18) / 20, 0, 1)
        # Tensile ones arch from the outer cortex over the neck into the head.
        tm, ts = m + np.float32(22), s + np.float32(66)
        radius = np.sqrt(tm * tm + ts * ts)
        arch = np.exp(-(((radius - np.float32(57)) / np.float32(9)) ** 2)) * np.clip((m + 60) / 25, 0, 1)
        head = np.clip((np.float32(26) - along) / 14, 0, 1)
        base = np.float32(0.55) + np.float32(0.95) * fan + np.float32(0.55) * arch + np.float32(0.55) * head
        base = base - np.float32(0.25) * np.clip((along - 55) / 15, 0, 1)
        lines = _streaks(self.quality.seed, far, angle * np.float32(55), p)
        arcs = _streaks(self.quality.seed, np.arctan2(tm, ts) * np.float32(57), radius, p + np.float32(13))
        ripple = lines * (np.float32(0.32) + np.float32(0.25) * fan) + arcs * (
            np.float32(0.22) + np.float32(0.25) * arch
        )
        return np.asarray(
            np.maximum(base * (1 + np.float32(self.quality.texture) * ripple), 0.02), dtype=np.float32
        )


def femur_solids(
    femur: Femur, fragments: Sequence[Fragment], place: Placement, reamed: Solid | None = None
) -> list[Solid]:
    """A solid for each piece of a femur, in body coordinates.

    Args:
        femur: The bone.
        fragments: `WHOLE` or those of a fracture.
        place: Where the femur lies.
        reamed: In femur coordinates: where a stem or nail took the bone's place.
    """
    return [_piece(femur, fragment, place, reamed) for fragment in fragments]


def _piece(femur: Femur, fragment: Fragment, place: Placement, reamed: Solid | None) -> Solid:
    def own(points: Points) -> Points:
        return fragment.motion.undone(place.local(points))

    def distance(points: Points) -> Field:
        local = own(points)
        out = np.maximum(femur.distance.at(local), fragment.beyond(local))
        return out if reamed is None else np.maximum(out, -reamed.distance(local))

    def attenuation(points: Points, _distance: Field) -> Field:
        local = own(points)
        return femur.attenuation(local, np.minimum(femur.distance.at(local), 0))

    box = femur.distance.corners_mm
    return Solid(distance, attenuation, place.body(fragment.motion.moved(box)))


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a local frame lies in the body: ``body = matrix @ local + offset``.

    Args:
        matrix: ``(3, 3)``, a rotation, for a left hip with a mirror.
        offset_mm: ``(3,)``.
    """

    matrix: Vector
    offset_mm: Vector

    def local(self, points: Points) -> Points:
        """Body points in the local frame."""
        inverse = np.linalg.inv(self.matrix)
        return affine(points, inverse, -inverse @ self.offset_mm)

    def body(self, positions: Vector) -> Vector:
        """``(n, 3)`` local positions in the body."""
        return np.asarray(positions @ self.matrix.T + self.offset_mm, dtype=np.float64)


def side_frame(*, right: bool) -> Placement:
    """Side coordinates (medial, posterior, superior) of a hip in the body (left, posterior, superior)."""
    sign = 1.0 if right else -1.0
    return Placement(np.diag([sign, 1.0, 1.0]), np.array([-sign * MIDLINE_MM, 0.0, 0.0]))


@dataclass(frozen=True, eq=False)
class Pelvis:
    """One hip bone, used for both sides, and the sacrum with the lowest vertebrae.

    Args:
        shape: Its bone.
        quality: Its density.
        distance: Of the hip bone, side coordinates.
        middle: Of the sacrum and vertebrae, body coordinates.
    """

    shape: BoneShape
    quality: BoneQuality
    distance: Lattice
    middle: Lattice

    @classmethod
    def made(cls, shape: BoneShape, quality: BoneQuality) -> Pelvis:
        """Of a person."""
        low, high = (-64.0, -72.0, -82.0), (84.0, 96.0, 136.0)
        points = Lattice.axes(low, high, PELVIS_GRID_MM)
        ball = ellipsoid(points, (0, 0, 0), (shape.head_mm + shape.joint_space_mm,) * 3)
        field = bones.hip_bone(
            bones.hip_bone_below(points, shape),
            bones.wing(*bones.wing_fields(points, shape)),
            ball,
            points[0] - np.float32(MIDLINE_MM),
        )
        low_m, high_m = (-66.0, -30.0, -34.0), (66.0, 125.0, 186.0)
        middle = Lattice.axes(low_m, high_m, 2.2)
        spine = np.minimum(bones.sacrum(middle, shape), bones.vertebra(middle, 0)[0])
        spine = np.minimum(spine, bones.vertebra(middle, 1)[0])
        return cls(
            shape,
            quality,
            Lattice(low, PELVIS_GRID_MM, field.astype(np.float32)),
            Lattice(low_m, 2.2, spine.astype(np.float32)),
        )

    def hip_bone_solid(self, place: Placement) -> Solid:
        """The hip bone of a side."""
        socket = np.float32(self.shape.head_mm + self.shape.joint_space_mm)
        quality = self.quality

        def attenuation(points: Points, distance: Field) -> Field:
            m, p, s = place.local(points)
            rim = np.sqrt(m * m + p * p + s * s) - socket
            roof = np.exp(-np.maximum(rim, 0) / np.float32(3.5)) * np.clip((s + 4) / 14, 0, 1)
            thick = np.float32(1.15 * quality.cortex) * (1 + np.float32(0.9) * roof)
            cortical = np.clip(np.float32(0.5) + (thick + distance) * np.float32(0.8), 0, 1)
            near = np.exp(-np.maximum(rim, 0) / np.float32(14)) * np.clip((s + 10) / 20, 0, 1)
            ripple = _streaks(quality.seed, s + p, m + np.float32(0.4) * p, p - s)
            spongy = np.float32(0.85 * SPONGY_PER_MM * quality.density) * (1 + np.float32(0.8) * near)
            spongy = spongy * np.maximum(1 + np.float32(0.55 * quality.texture) * ripple, 0)
            return np.asarray(
                spongy + cortical * (np.float32(0.85 * CORTEX_PER_MM) - spongy), dtype=np.float32
            )

        return Solid(
            lambda points: self.distance.at(place.local(points)),
            attenuation,
            place.body(self.distance.corners_mm),
        )

    def middle_solid(self) -> Solid:
        """Sacrum, L5 and L4."""
        quality = self.quality

        def attenuation(points: Points, distance: Field) -> Field:
            cortical = np.clip(np.float32(0.5) + (np.float32(1.0 * quality.cortex) + distance) * 0.8, 0, 1)
            ripple = _streaks(quality.seed, points[2], points[0], points[1])
            spongy = np.float32(0.7 * SPONGY_PER_MM * quality.density) * np.maximum(1 + 0.4 * ripple, 0)
            return np.asarray(
                spongy + cortical * (np.float32(0.55 * CORTEX_PER_MM) - spongy), dtype=np.float32
            )

        return Solid(self.middle.at, attenuation, self.middle.corners_mm)


# ------------------------------------------------------------------ flesh


@dataclass(frozen=True, kw_only=True)
class Build:
    """A body's outline.

    Args:
        width_mm, depth_mm: Half of the trunk at the hips, front to back likewise.
        belly_mm: More depth in front, above the hips.
        thigh_mm: Radius of the thigh.
        fat_mm: Under the skin.
    """

    width_mm: float
    depth_mm: float
    belly_mm: float
    thigh_mm: float
    fat_mm: float


def trunk(points: Points, build: Build) -> Field:
    """About the signed distance to the trunk from the waist to the crotch, mm; body coordinates."""
    x, y, z = points
    heights = np.array([-130, -95, -60, -20, 40, 110, 180, 240], dtype=np.float32)
    a = np.interp(z, heights, np.array([0.6, 0.86, 0.98, 1.0, 0.98, 0.93, 0.88, 0.86]) * build.width_mm)
    b = np.interp(z, heights, np.array([0.45, 0.72, 0.95, 1.0, 1.0, 0.97, 0.93, 0.92]) * build.depth_mm)
    b = b + np.interp(z, [-40, 60, 160], [0, 0.5 * build.belly_mm, build.belly_mm])
    middle = np.interp(z, heights, [20, 18, 14, 8, 2, 0, 0, 0]) - np.interp(
        z, [-40, 160], [0, 0.8 * build.belly_mm]
    )
    r = np.sqrt((x / a) ** 2 + ((y - middle) / b) ** 2)
    out = (r - 1) * np.minimum(a, b) * 0.85
    return np.asarray(np.maximum(out, np.float32(-112) - z), dtype=np.float32)


def thigh(points: Points, place: Placement, build: Build) -> Field:
    """Signed distance to a thigh that follows its femur, mm."""
    local = place.local(points)
    r = build.thigh_mm
    return distance_to_path(
        local,
        [(-4, 10, 10), (-8, 10, -60), (-10, 8, -140), (-6, 4, -330)],
        [r * 1.02, r * 1.02, r, r * 0.78],
    )


def flesh_solids(build: Build, thighs: Sequence[Placement]) -> list[Solid]:
    """Muscle inside fat inside skin: the whole body as fat, and what muscle has more."""
    box = corners((-260.0, -230.0, -340.0), (260.0, 230.0, 240.0))

    def outline(points: Points) -> Field:
        out = trunk(points, build)
        for place in thighs:
            out = union(out, thigh(points, place, build), 35)
        return out

    def attenuation(points: Points, distance: Field) -> Field:
        del points
        lean = np.clip((-distance - np.float32(build.fat_mm)) / 4, 0, 1)
        return np.asarray(
            np.float32(FAT_PER_MM) + np.float32(SOFT_PER_MM - FAT_PER_MM) * lean, dtype=np.float32
        )

    return [Solid(outline, attenuation, box)]


# ------------------------------------------------------------------ metal


def _dense(points: Points, _distance: Field) -> Field:
    return np.full(points[0].shape, METAL_PER_MM, dtype=np.float32)


def metal(kind: str, shape: BoneShape) -> tuple[Solid, Solid | None]:
    """An implant, in femur coordinates, and the bone that made way for it.

    Args:
        kind: "tha", "bha", "nail" or "screws".
        shape: The femur that holds it.

    Raises:
        ValueError: For another kind.
    """
    axis = neck_axis(shape)
    base = axis * 50
    shaft = [
        (base[0] - 3, base[1] - 2, base[2] + 4),
        (-41.0, 6.0, -62.0),
        (-37.0, -2.0, -110.0),
        (-32.5, -6.0, -160.0),
    ]
    box = corners((-90.0, -60.0, -200.0), (45.0, 60.0, 60.0))
    if kind in ("tha", "bha"):
        outer = shape.head_mm + (2.5 if kind == "tha" else 0.5)

        def stem(points: Points) -> Field:
            ball = ellipsoid(points, (0, 0, 0), ((14.0 if kind == "tha" else outer),) * 3)
            neck = distance_to_path(points, [(0, 0, 0), tuple(base * 0.85)], [6.5, 7.5])
            body = distance_to_path(points, shaft, [11.5, 9.0, 7.0, 4.5])
            out = union(union(ball, neck, 1), body, 3)
            if kind == "tha":
                cup = np.abs(ellipsoid(points, (0, 0, 0), (outer,) * 3)) - 2.2
                opening = (
                    points[0] * np.float32(-0.70)
                    + points[1] * np.float32(-0.2)
                    + points[2] * np.float32(-0.68)
                )
                out = np.minimum(out, intersection(cup, opening - 2, 0))
            return np.asarray(out, dtype=np.float32)

        def gone(points: Points) -> Field:
            along = sum(p * np.float32(a) for p, a in zip(points, axis, strict=True))
            return np.minimum(np.asarray(along - 34, dtype=np.float32), stem(points))

        return Solid(stem, _dense, box), Solid(gone, _dense, box)
    if kind == "nail":

        def nail(points: Points) -> Field:
            rod = distance_to_path(
                points, [(base[0] - 4, base[1] + 1, 6.0), *shaft[1:]], [7.5, 7.5, 5.5, 5.3]
            )
            screw = distance_to_path(points, [tuple(axis * 8), tuple(base + axis * 24)], [5.2, 4.6])
            return np.asarray(np.minimum(rod, screw), dtype=np.float32)

        return Solid(nail, _dense, box), Solid(nail, _dense, box)
    if kind == "screws":

        def screws(points: Points) -> Field:
            out = np.full(points[0].shape, 1e3, dtype=np.float32)
            for p, s in ((-6.0, 5.0), (6.0, 5.0), (0.0, -8.0)):
                start = axis * 6 + (0, p, s)
                end = axis * 72 + (0, p * 1.1, s * 1.2)
                out = np.minimum(out, distance_to_path(points, [tuple(start), tuple(end)], [3.6, 3.0]))
            return out

        return Solid(screws, _dense, box), None
    raise ValueError(f"no implant is called {kind!r}")


def placed(solid: Solid, place: Placement) -> Solid:
    """A solid given in local coordinates, in the body."""
    return Solid(
        lambda points: solid.distance(place.local(points)),
        lambda points, distance: solid.attenuation(place.local(points), distance),
        place.body(solid.corners_mm),
    )
