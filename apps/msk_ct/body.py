"""The envelope of the phantom's body: fascia, skin, cavities, and the way of a point into each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from apps.msk_ct.population import Person
from operators.phantom.bones import MIDLINE_MM
from operators.phantom.fields import Field, Points, distance_to_path, intersection, union

# s, half width, front p, back p of the trunk's fascia in the standard body
TRUNK = (
    (-130, 144, -56, 76),
    (-70, 150, -60, 80),
    (-20, 153, -64, 84),
    (30, 147, -72, 92),
    (70, 142, -82, 98),
    (110, 138, -94, 97),
    (150, 134, -98, 92),
    (220, 134, -102, 92),
    (320, 140, -108, 92),
)
THIGH = (
    (-10, 4, 0),
    (-8, 4, -60),
    (-6, 2, -130),
    (-3, 4, -220),
    (1, 6, -310),
    (4, 7, -380),
    (3, 12, -440),
    (2, 18, -560),
)
THIGH_RADII = (66, 68, 67.5, 64, 57.5, 50, 50, 51)


@dataclass(frozen=True)
class Frames:
    """Points of the working grid in the frames of the body.

    Args:
        trunk: (x, posterior, superior) of the standard trunk, midline at x = 0.
        pelvis: For right and left: side coordinates of the hip bone.
        femur: Of the femur, after the hip's pose.
        soft: Of the muscles: between the two.
    """

    trunk: Points
    pelvis: tuple[Points, Points]
    femur: tuple[Points, Points]
    soft: tuple[Points, Points]


def frames_of(person: Person, z: Field, y: Field, x: Field) -> Frames:
    """All frames for a grid of world positions, mm along each axis.

    Args:
        person: Their pose, size and smooth deformation.
        z: Ascending heights of the grid's planes, LPS mm.
        y: Of its rows.
        x: Of its columns.
    """
    shape = (z.size, y.size, x.size)
    world = [
        np.broadcast_to(x, shape),
        np.broadcast_to(y[:, None], shape),
        np.broadcast_to(z[:, None, None], shape),
    ]
    moved = [w + u for w, u in zip(world, _deformation(person, shape, z[1] - z[0]), strict=True)]
    here = [np.asarray(m, dtype=np.float32) for m in moved]
    turned = _rotate((here[0], here[1], here[2]), person.lie_rad)
    size = person.size_xyz
    below = turned[2] < 0
    trunk = (
        turned[0] * np.float32(1 / size[0]),
        turned[1] * np.float32(1 / size[1]),
        turned[2] * np.where(below, np.float32(1 / person.thigh_length), np.float32(1 / size[2])),
    )
    pelvis: list[Points] = []
    femur: list[Points] = []
    soft: list[Points] = []
    for side, hip in zip((1.0, -1.0), person.hips_rad, strict=True):
        local = (trunk[0] * np.float32(side) + np.float32(MIDLINE_MM), trunk[1], trunk[2])
        tilted = _rotate(local, (person.pelvic_tilt_rad, 0.0, 0.0))
        leg = _rotate(local, hip)
        share = np.clip((np.float32(25) - trunk[2]) * np.float32(1 / 110), 0, 1)
        share = share * share * (3 - 2 * share)
        pelvis.append(tilted)
        femur.append(leg)
        mixed = [a + share * (b - a) for a, b in zip(tilted, leg, strict=True)]
        soft.append((mixed[0], mixed[1], mixed[2]))
    # The trunk as seen by the sacrum and the organs tilts with the pelvis.
    whole = _rotate(trunk, (person.pelvic_tilt_rad, 0.0, 0.0))
    return Frames(whole, (pelvis[0], pelvis[1]), (femur[0], femur[1]), (soft[0], soft[1]))


def _rotate(points: Points, angles_rad: tuple[float, float, float]) -> Points:
    """Turned about x, then y, then z, as far as the angles are not zero."""
    out = list(points)
    for axis, angle in enumerate(angles_rad):
        if abs(angle) < 1e-6:
            continue
        a, b = (axis + 1) % 3, (axis + 2) % 3
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        out[a], out[b] = c * out[a] - s * out[b], s * out[a] + c * out[b]
    return out[0], out[1], out[2]


def _deformation(person: Person, shape: tuple[int, int, int], step_mm: float) -> list[Field]:
    """A smooth random displacement, mm, correlated over `person.wobble_length_mm`."""
    rng = np.random.default_rng(person.wobble_seed)
    factor = max(1.0, person.wobble_length_mm / step_mm)
    coarse = tuple(int(np.ceil(n / factor)) + 3 for n in shape)
    fields = []
    for _ in range(3):
        knots = rng.standard_normal(coarse).astype(np.float32) * np.float32(person.wobble_mm)
        coordinates = [np.arange(n) / factor + 1 for n in shape]
        field = knots
        for d, at in enumerate(coordinates):
            field = _cubic(field, at, d)
        fields.append(field)
    return fields


def _cubic(values: Field, at: np.ndarray, axis: int) -> Field:
    """Cubic B-spline with the values as coefficients along one axis."""
    low = np.floor(at).astype(int)
    t = (at - low).astype(np.float32)
    weights = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    shape = [1, 1, 1]
    shape[axis] = -1
    total = None
    for k, w in enumerate(weights):
        part = np.take(values, np.clip(low - 1 + k, 0, values.shape[axis] - 1), axis=axis) * w.reshape(shape)
        total = part if total is None else total + part
    return np.asarray(total, dtype=np.float32)


def fascia(frames: Frames, person: Person) -> Field:
    """Signed distance to the surface of the muscles' envelope, mm."""
    trunk = _trunk(frames.trunk, person.girth, person.belly_mm)
    floor = np.float32(-80) - frames.trunk[2] + np.float32(-0.08) * frames.trunk[1]
    trunk = intersection(trunk, floor, 25)
    radii = [r * person.girth_thigh for r in THIGH_RADII]
    for points in frames.soft:
        trunk = union(trunk, distance_to_path(points, THIGH, radii), 14)
    for points in frames.femur:
        knee = distance_to_path(points, [(1, -40, -374), (1, -40, -398)], [24, 24])
        trunk = union(trunk, knee, 12)
    return trunk


def _trunk(points: Points, girth: float, belly_mm: float) -> Field:
    x, p, s = points
    heights, half, front, back = (np.asarray(c, dtype=float) for c in zip(*TRUNK, strict=True))
    front = front - belly_mm * np.clip((heights - 20) / 110, 0, 1)
    half = half * girth + 0.5 * belly_mm * np.clip((heights - 90) / 80, 0, 1)
    width = np.interp(s, heights, half).astype(np.float32)
    middle = np.interp(s, heights, (front + back) / 2).astype(np.float32)
    depth = np.interp(s, heights, (back - front) / 2 * girth).astype(np.float32)
    n = np.float32(2.5)
    u = np.abs(x) / width
    v = np.abs(p - middle) / depth
    un, vn = u ** (n - 1), v ** (n - 1)
    f = np.maximum((u * un + v * vn) ** np.float32(1 / n), np.float32(0.05))
    scale = f ** (1 - n)
    slope = np.hypot(un * scale / width, vn * scale / depth)
    return np.asarray((f - 1) / np.maximum(slope, np.float32(1e-4)), dtype=np.float32)


def fat_mm(frames: Frames, person: Person) -> Field:
    """Thickness of the fat under the skin, mm: most at buttock, hip and belly, least at the shin side."""
    x, p, s = frames.trunk
    buttock = np.clip(p / 90, 0, 1) * np.exp(-(((s - 10) / 110) ** 2))
    hip = np.clip(np.abs(x) / 150, 0, 1) * np.exp(-(((s + 20) / 120) ** 2))
    belly = np.clip(-p / 90, 0, 1) * np.clip((s + 10) / 100, 0, 1)
    knee = np.clip((-s - 120) / 250, 0, 1)
    back = np.clip(p / 90, 0, 1) * np.clip((s - 90) / 60, 0, 1)
    t = 0.72 + 0.75 * buttock + 0.45 * hip + 0.8 * belly - 0.35 * knee - 0.15 * back
    # Fat fills the groove between the buttocks less deeply than it covers them.
    cleft = np.exp(-((x / 9) ** 2)) * np.clip(p / 60, 0, 1) * np.clip((70 - s) / 60, 0, 1)
    return np.asarray(t * np.float32(person.fat_mm) - cleft * np.float32(24), dtype=np.float32)


def cavity(frames: Frames, fascia_mm: Field, person: Person) -> Field:
    """Signed distance to the space of the pelvic and abdominal organs, mm."""
    x, p, s = frames.trunk
    heights = [-50, -35, -10, 20, 50, 80, 110, 330]
    half = np.interp(s, heights, [6, 20, 40, 52, 55, 50, 40, 36]).astype(np.float32)
    front = np.interp(s, heights, [4, -12, -30, -38, -55, -75, -80, -80]).astype(np.float32)
    back = np.interp(s, heights, [40, 58, 74, 84, 84, 64, 40, 20]).astype(np.float32)
    middle, depth = (front + back) / 2, (back - front) / 2
    f = np.sqrt((x / half) ** 2 + ((p - middle) / depth) ** 2)
    true_pelvis = (f - 1) * np.minimum(half, depth)
    true_pelvis = intersection(np.asarray(true_pelvis, dtype=np.float32), -(s + np.float32(48)), 10)
    line = np.float32(70) * (np.float32(65 - MIDLINE_MM) + np.abs(x)) / 106 + np.float32(6)
    shelf = np.interp(np.abs(x), [0, 30, 60, 90, 120], [12, 0, -14, -12, -4]).astype(np.float32)
    shelf = np.where(s > 125, shelf + np.clip((s - 125) * 0.6, 0, 42), shelf).astype(np.float32)
    false_pelvis = intersection(
        intersection(fascia_mm + np.float32(person.wall_mm), line - s, 8), p - shelf, 12
    )
    return union(true_pelvis, false_pelvis, 12)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], sigma: tuple[float, float, float]
) -> Field:
    """Gaussian random field of unit standard deviation with the given smoothness in voxels."""
    field = ndimage.gaussian_filter(
        rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=2.5
    )
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)
