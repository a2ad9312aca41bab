"""The bones of the phantom as signed distances: femur, hip bone, sacrum, and their neighbours.

Side coordinates: millimetres, (medial, posterior, superior) from the hip centre. The sacrum,
vertebrae and ribs are in body coordinates (x from the midline, posterior, superior).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from operators.phantom.fields import Field, Points, distance_to_path, ellipsoid, intersection, union

MIDLINE_MM = 83.5
"""Half of the distance between the hip centres (OpenSim gait models)."""


@dataclass(frozen=True, kw_only=True)
class BoneShape:
    """What differs between people's bones.

    Args:
        head_mm: Radius of the femoral head.
        neck_shaft_deg: 127 on average.
        anteversion_deg: 17 on average.
        shaft: Thickness of the shaft, relative.
        joint_space_mm: Between head and socket.
        osteophyte_mm: Rim and head-neck junction spurs.
        wing: Thickness of the iliac wing, relative.
        flare: Slope of the wing outwards, relative.
        pelvis: Breadth of rami and ischium, relative.
        sacrum_curve: Of the lower sacrum, relative.
    """

    head_mm: float = 23.5
    neck_shaft_deg: float = 127.0
    anteversion_deg: float = 17.0
    shaft: float = 1.0
    joint_space_mm: float = 3.0
    osteophyte_mm: float = 0.0
    wing: float = 1.0
    flare: float = 1.0
    pelvis: float = 1.0
    sacrum_curve: float = 1.0


def femur(points: Points, shape: BoneShape) -> Field:
    """Signed distance to the femur, mm."""
    tilt = np.deg2rad(shape.neck_shaft_deg - 90)
    turn = np.deg2rad(shape.anteversion_deg)
    neck = np.array([-np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), -np.sin(tilt)])
    base = neck * 50.0
    d = base - np.array([-38.2, 11.7, -30.1])  # against the standard neck
    head = ellipsoid(points, (0, 0, 0), (shape.head_mm,) * 3)
    k = shape.shaft
    shaft = distance_to_path(
        points,
        [
            (-42 + d[0], 11 + d[1], -28 + d[2]),
            (-41 + d[0], 6 + d[1], -62),
            (-37 + 0.7 * d[0], -2 + 0.5 * d[1], -110),
            (-31 + 0.5 * d[0], -7, -170),
            (-24 + 0.3 * d[0], -9, -240),
            (-14, -6, -305),
            (-4, 0, -350),
            (1, 2, -382),
        ],
        [17 * k, 16.5 * k, 14.2 * k, 13.3 * k, 13.3 * k, 15 * k, 19.5 * k, 21],
    )
    r = shape.head_mm
    throat = distance_to_path(
        points,
        [tuple(neck * 8), tuple(neck * 0.52 * 50), tuple(base * 0.98)],
        [r * 0.72, r * 0.62 * k**0.5, 17.5],
    )
    big = union(
        distance_to_path(
            points,
            [(-49 + d[0], 17 + d[1], -2), (-51 + d[0], 13 + d[1], -20), (-47 + d[0], 9 + d[1], -46)],
            [8, 14.5, 16],
        ),
        distance_to_path(
            points,
            [(-44 + d[0], 27 + d[1], -2), (-42 + d[0], 25 + d[1], -22), (-34 + d[0], 22 + d[1], -48)],
            [6.5, 8, 6],
        ),
        9,
    )
    small = distance_to_path(
        points, [(-24 + d[0], 19 + d[1], -60), (-33 + d[0], 14 + d[1], -62), (-36, 8, -84)], [7.5, 9, 6]
    )
    linea = distance_to_path(
        points, [(-36, 12, -90), (-28, 5.5, -170), (-22, 4, -240), (-15, 8, -290)], [4, 5, 5, 4]
    )
    condyles = union(
        distance_to_path(points, [(-21, -14, -384), (-22, 6, -393), (-22, 20, -390)], [17.5, 21, 18.5]),
        distance_to_path(points, [(25, -8, -386), (26, 8, -396), (25, 22, -392)], [16.5, 21, 18.5]),
        8,
    )
    flare = union(
        distance_to_path(points, [(-10, -2, -330), (-20, -2, -378)], [14, 19]),
        distance_to_path(points, [(-6, 0, -330), (20, 2, -380)], [14, 19]),
        6,
    )
    notch = distance_to_path(points, [(2, 40, -384), (2, 4, -408), (2, -4, -425)], [9, 8, 9])
    groove = distance_to_path(points, [(2, -42, -370), (2, -40, -400)], [11, 13])
    lower = union(union(shaft, flare, 10), condyles, 8)
    lower = intersection(intersection(lower, -notch, 3), -groove, 4)
    out = union(union(union(lower, big, 10), small, 6), linea, 4)
    out = union(out, throat, 9)
    if shape.osteophyte_mm > 0:
        ring = _ring(points, tuple(neck), along=r * 0.55, radius=r * 0.86)
        out = union(out, ring - np.float32(shape.osteophyte_mm), 4)
    return union(out, head, 3)


def _ring(points: Points, axis: tuple[float, ...], *, along: float, radius: float) -> Field:
    """Distance to a circle about an axis through the origin, mm."""
    u = sum((p * np.float32(a) for p, a in zip(points, axis, strict=True)), start=np.float32(0))
    square = sum((p * p for p in points), start=np.float32(0)) - u * u
    rho = np.sqrt(np.maximum(square, 0))
    return np.asarray(np.hypot(rho - np.float32(radius), u - np.float32(along)), dtype=np.float32)


def femur_cortex_mm(points: Points, thickness: float) -> Field:
    """How thick the femur's cortex is at each height, mm: thin at both ends, thick in the shaft."""
    table = [
        (-420, 1.1),
        (-380, 1.2),
        (-345, 1.8),
        (-310, 3.4),
        (-250, 5.6),
        (-180, 6.2),
        (-110, 5.6),
        (-70, 4.2),
    ]
    table += [(-45, 2.6), (-25, 1.7), (0, 1.3), (30, 1.3)]
    heights, values = np.array(table).T
    return np.asarray(np.interp(points[2], heights, values * thickness), dtype=np.float32)


# ------------------------------------------------------------------ hip bone

OUTLINE_PS = (
    (-54, 70),
    (-50, 84),
    (-40, 98),
    (-22, 112),
    (0, 123),
    (22, 128),
    (42, 124),
    (60, 111),
    (73, 96),
    (80, 82),
    (77, 68),
    (68, 52),
    (58, 45),
    (46, 41),
    (37, 33),
    (34, 18),
    (33, 0),
    (26, -12),
    (8, -14),
    (-16, -6),
    (-32, 8),
    (-41, 24),
    (-43, 36),
    (-40, 46),
    (-44, 58),
)
"""Outline of the ilium seen from the side, (posterior, superior), mm."""

WING = (
    # posterior, superior, medial of the middle, thickness
    (-54, 70, -40, 10),
    (-40, 96, -50, 10),
    (-18, 110, -54, 14),
    (5, 124, -44, 11),
    (25, 127, -26, 10),
    (45, 122, -2, 10),
    (62, 109, 20, 12),
    (78, 84, 40, 15),
    (70, 56, 37, 13),
    (50, 60, 26, 18),
    (55, 85, 24, 17),
    (40, 45, 22, 15),
    (35, 100, -2, 8),
    (20, 80, -6, 5),
    (30, 60, 8, 9),
    (0, 95, -28, 4.5),
    (-5, 70, -18, 5.5),
    (-25, 85, -36, 6),
    (-38, 60, -32, 9),
    (-38, 35, -16, 14),
    (-20, 45, -13, 12),
    (0, 45, -4, 14),
    (20, 40, 7, 16),
    (34, 20, 19, 16),
    (30, 0, 17, 16),
    (10, 10, 20, 12),
    (-20, 5, 12, 14),
)


@lru_cache(maxsize=1)
def _wing_tables() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Middle (medial), half thickness and outline distance on a 2 mm (posterior, superior) raster."""
    p, s = np.meshgrid(np.arange(-80, 111, 2.0), np.arange(-40, 151, 2.0), indexing="ij")
    at = np.stack([p.ravel(), s.ravel()], axis=1)
    table = np.asarray(WING, dtype=float)
    values = RBFInterpolator(table[:, :2], table[:, 2:], kernel="thin_plate_spline", smoothing=3.0)(at)
    middle, thick = (values[:, i].reshape(p.shape).astype(np.float32) for i in range(2))
    outline = _polygon_distance(at, _rounded(np.asarray(OUTLINE_PS, dtype=float)))
    return middle, np.maximum(thick, 3.6) / 2, outline.reshape(p.shape).astype(np.float32)


def _rounded(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed polygon after two rounds of Chaikin corner cutting."""
    for _ in range(2):
        following = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1)
        corners = corners.reshape(-1, 2)
    return corners


def _polygon_distance(at: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed distance to a closed polygon, negative inside."""
    best = np.full(len(at), np.inf)
    inside = np.zeros(len(at), dtype=bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        d = b - a
        t = np.clip((at - a) @ d / max(d @ d, 1e-9), 0, 1)
        best = np.minimum(best, np.linalg.norm(at - a - t[:, None] * d, axis=1))
        crosses = (a[1] > at[:, 1]) != (b[1] > at[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            x = a[0] + (at[:, 1] - a[1]) / (b[1] - a[1]) * d[0]
        inside ^= crosses & (at[:, 0] < x)
    return np.where(inside, -best, best)


def wing_fields(points: Points, shape: BoneShape) -> tuple[Field, Field, Field]:
    """Signed distance to the wing's middle surface, its half thickness, and outline distance.

    The three are smooth, so a coarse grid keeps the thin shell; `wing` joins them on the fine one.
    """
    middle, half, outline = _wing_tables()
    i = np.clip((points[1] + 80) / 2, 0, middle.shape[0] - 1.001)
    j = np.clip((points[2] + 40) / 2, 0, middle.shape[1] - 1.001)
    gp, gs = np.gradient(middle, 2.0)
    slope = np.sqrt(1 + gp**2 + gs**2).astype(np.float32)
    low_i, low_j = i.astype(np.int32), j.astype(np.int32)
    u, v = i - low_i, j - low_j

    def look(table: NDArray[np.float32]) -> Field:
        a = table[low_i, low_j] * (1 - v) + table[low_i, low_j + 1] * v
        b = table[low_i + 1, low_j] * (1 - v) + table[low_i + 1, low_j + 1] * v
        return np.asarray(a * (1 - u) + b * u, dtype=np.float32)

    height = np.maximum(points[2] - 30, 0)
    medial = look(middle) - np.float32(0.30 * (shape.flare - 1)) * height
    return (
        (points[0] - medial) / look(slope),
        look(half) * np.float32(shape.wing),
        look(outline),
    )


def wing(signed: Field, half: Field, outline: Field) -> Field:
    """The iliac wing from its three fields."""
    return intersection(np.abs(signed) - half, outline, 4.0)


def hip_bone_below(points: Points, shape: BoneShape) -> Field:
    """Socket, ischium and pubis without the wing, mm."""
    k = shape.pelvis
    outer = shape.head_mm + shape.joint_space_mm
    # The socket opens to the side, forwards and downwards.
    opening = points[0] * np.float32(-0.80) + points[1] * np.float32(-0.28) + points[2] * np.float32(-0.53)
    block = ellipsoid(points, (5, 3, 5), (outer + 5, outer + 6, outer + 7))
    block = intersection(block, opening - np.float32(2.0 + shape.osteophyte_mm * 0.6), 3)
    block = intersection(block, points[0] - np.float32(outer + 7), 5)
    roof = distance_to_path(points, [(-8, -2, 32), (4, 16, 30), (12, 30, 16)], [9, 10, 10])
    spine_ai = distance_to_path(points, [(-14, -37, 34), (-6, -24, 30)], [7.5, 11])
    ischium = distance_to_path(
        points,
        [(16, 26, 0), (17, 34, -20), (20, 41, -40), (26, 38, -58), (33, 28, -66)],
        [13 * k, 11.5 * k, 11.5 * k, 10.5 * k, 7 * k],
    )
    column = distance_to_path(
        points,
        [(20, 26, 26), (22, 33, 6), (24, 34, -12), (26, 30, -34), (30, 28, -54)],
        [9, 10.5, 9.5, 8 * k, 7 * k],
    )
    plate = distance_to_path(points, [(14, -22, 8), (26, -2, 6), (29, 18, 2), (28, 34, -4)], [8, 4.5, 4.5, 6])
    plate = union(plate, distance_to_path(points, [(16, -14, 22), (26, 8, 20), (26, 24, 16)], [8, 6, 7]), 8)
    tuber = distance_to_path(points, [(16, 50, -30), (20, 50, -46), (26, 44, -60)], [6.5, 8, 7])
    spine_i = distance_to_path(points, [(22, 36, -8), (31, 46, -12), (36, 51, -14)], [7, 4, 2])
    ramus_low = distance_to_path(
        points,
        [(30, 32, -66), (44, 16, -62), (58, -4, -52), (70, -22, -42), (77, -32, -34)],
        [8 * k, 6.8 * k, 6.4 * k, 7 * k, 8 * k],
    )
    ramus_top = distance_to_path(
        points,
        [(4, -22, 6), (22, -32, 6), (40, -40, 2), (58, -46, -4), (72, -48, -10)],
        [12.5 * k, 10 * k, 8.6 * k, 9 * k, 10 * k],
    )
    body = union(
        distance_to_path(points, [(66, -47, -10), (69, -42, -22), (72, -34, -34)], [10 * k, 9.5 * k, 8 * k]),
        distance_to_path(points, [(79, -48, -8), (80, -42, -22), (80, -34, -38)], [9 * k, 9 * k, 8 * k]),
        6,
    )
    out = union(union(union(block, plate, 6), roof, 8), spine_ai, 8)
    out = union(union(union(out, union(ischium, column, 8), 9), tuber, 6), spine_i, 4)
    pubis = union(union(ramus_top, body, 5), ramus_low, 4)
    return union(out, pubis, 6)


def hip_bone(below: Field, wing_distance: Field, ball: Field, midline: Field) -> Field:
    """The hip bone: wing and the rest, hollowed by the joint, ending before the midline.

    Args:
        below: Of `hip_bone_below`.
        wing_distance: Of `wing`.
        ball: Distance to the joint's sphere, head plus cartilage, mm.
        midline: Medial coordinate minus that of the midline, mm (0 on it, negative on this side).
    """
    out = union(below, wing_distance, 9)
    out = intersection(out, -ball, 1.5)
    return intersection(out, midline + np.float32(2.2), 2)


# ------------------------------------------------------------------ sacrum

SACRUM = (
    # s of body centre, p of body centre, half depth, half width of the front, of the body
    (108, 40, 16, 58, 25),
    (94, 50, 15.5, 56, 22),
    (78, 61, 13.5, 52, 19),
    (60, 72, 11, 45, 16),
    (42, 80, 9, 35, 14),
    (24, 84, 7.5, 27, 12),
    (8, 84, 6, 19, 10),
    (-2, 81, 5, 9, 7),
    (-14, 74, 4.5, 6.5, 6),
    (-26, 65, 3.5, 5, 5),
)


def sacrum(points: Points, shape: BoneShape) -> Field:
    """Sacrum with coccyx: wedge, wings, canal, four pairs of foramina, median crest; mm."""
    x, p, s = points
    table = np.asarray(SACRUM, dtype=float)[::-1]
    heights = table[:, 0]

    def look(column: int, curve: float = 0.0) -> Field:
        values = table[:, column] + curve * np.maximum(40 - heights, 0) * 0.25
        return np.asarray(np.interp(s, heights, values), dtype=np.float32)

    centre = look(1, 1 - shape.sacrum_curve)
    half, front, body = look(2), look(3), look(4)
    slope = np.float32(0.80)
    v = (p - centre) * slope
    width = np.abs(x)
    # The bodies in the middle, the wings beside and behind them.
    core = intersection(np.sqrt((x / body) ** 2 + (v / half) ** 2) * half - half, np.full_like(x, -FAR), 0)
    back = np.interp(s, [-30, 0, 20, 50, 80, 110], [0, 3, 6, 11, 14, 12]).astype(np.float32)
    taper = front - np.maximum(v + half * 0.4, 0) * np.float32(0.55)
    wings = intersection(
        width - taper,
        intersection(
            -(v + half * 0.95 - width * np.float32(0.16)),
            v - half - back + width * np.float32(0.24),
            3,
        ),
        5,
    )
    crest = intersection(
        width - np.float32(4.2), intersection(v - half - back - 5, -(v - half), 2), 2
    ) + np.where(s < 20, 8.0, 0).astype(np.float32)
    out = union(union(core, wings, 5), crest, 4)
    top = (s - 108) * np.float32(0.83) + (p - 40) * np.float32(-0.55)
    bottom = np.float32(-28) - s
    out = intersection(intersection(out, top - 3, 3), bottom, 2)
    canal_r = np.interp(s, [5, 20, 60, 110], [0.1, 3.5, 6, 8]).astype(np.float32)
    canal = np.sqrt((x * np.float32(0.75)) ** 2 + (v - half - canal_r * np.float32(0.7)) ** 2) - canal_r
    out = intersection(out, -canal, 1.5)
    for height, lateral, radius in ((86, 24, 6.5), (67, 21, 5.5), (49, 18, 4.5), (32, 15, 3.5)):
        along = s - height - v * np.float32(0.35)
        hole = np.hypot(width - lateral, along) - np.float32(radius)
        out = intersection(out, -np.asarray(hole, dtype=np.float32), 1.5)
    return np.asarray(out, dtype=np.float32)


FAR = np.float32(1e3)

# ------------------------------------------------------------------ what is not segmented

LUMBAR = (
    # s and p of the body's centre, tilt (dp/ds), half width: L5 to T12
    (126, 26, -0.45, 26),
    (161, 14, -0.2, 25),
    (197, 9, 0.0, 24.5),
    (233, 10, 0.08, 23.5),
    (268, 15, 0.15, 22.5),
    (302, 21, 0.2, 22),
)


def vertebra(points: Points, index: int) -> tuple[Field, Field]:
    """Body and arch of the vertebra, counted from L5, and its spinal canal; mm."""
    height, back, tilt, width = LUMBAR[index]
    x, p, s = points
    cos = np.float32(1 / np.hypot(1, tilt))
    up = ((s - height) + (p - back) * np.float32(-tilt)) * cos
    v = ((p - back) - (s - height) * np.float32(tilt)) * cos
    waist = np.float32(1) + np.float32(0.10) * np.minimum((up / 13) ** 2, 1.5)
    body = np.sqrt((x / (width * 0.93)) ** 2 + (v / 16.5) ** 2) / waist
    body = (body - 1) * np.float32(16)
    body = intersection(body, np.abs(up) - 13, 2)
    canal = np.sqrt((x * np.float32(0.72)) ** 2 + (v - 24) ** 2) - 8
    mirrored = (np.abs(x), v, up)
    arch = distance_to_path(mirrored, [(12, 14, 5), (17, 26, 3), (9, 36, -2), (0, 42, -6)], [5, 4.5, 3.6, 3])
    spinous = intersection(np.abs(x) - 3, intersection(np.abs(v - 52) - 15, np.abs(up + 8) - 10, 3), 2)
    transverse = distance_to_path(mirrored, [(16, 24, 3), (32, 28, 4), (42, 30, 5)], [4.5, 3.2, 2.5])
    facet = distance_to_path(mirrored, [(17, 30, 14), (16, 33, -16)], [6, 6])
    bone = union(union(union(arch, spinous, 3), transverse, 3), facet, 3)
    bone = union(body, bone, 3)
    return intersection(bone, -canal, 1), canal


def knee_neighbours(points: Points) -> dict[str, Field]:
    """Patella, tibia and fibula in the femur's coordinates, mm."""
    patella = ellipsoid(points, (1, -48, -386), (22, 10, 22), 2.4)
    plateau = ellipsoid(points, (2, 4, -432), (37, 25, 17), 3.0)
    tibia = union(
        plateau, distance_to_path(points, [(2, 4, -440), (4, 6, -480), (4, 8, -560)], [27, 18, 13]), 10
    )
    fibula = distance_to_path(points, [(-34, 20, -444), (-33, 22, -560)], [9, 6.5])
    return {"patella": patella, "tibia": tibia, "fibula": fibula}
