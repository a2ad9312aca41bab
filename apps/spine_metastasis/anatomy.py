"""A spine as a chain of vertebrae in the sagittal plane, from the coccyx up to C5.

Positions are ``(y, z)`` millimetres, LPS axes without x: y grows backwards, z grows to the head, and
the middle of the upper end-plate of S1 is the origin. A vertebra has axes of its own: u backwards,
v up, w to the left; its tilt is positive when its upper end leans forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.lesions import Deposit, Fracture, Haemangioma, Kind

SACRAL = ("S1", "S2", "S3", "S4", "S5", "Co")
_SIZES_MM = {
    "C5": (12.5, 15.0, 24.0), "C6": (12.5, 15.5, 25.0), "C7": (14.0, 16.0, 27.0),
    "T1": (16.0, 17.0, 29.0), "T2": (17.0, 18.5, 28.0), "T3": (17.5, 20.0, 27.0), "T4": (18.5, 22.0, 27.0),
    "T5": (19.0, 23.5, 28.0), "T6": (19.5, 25.0, 29.0), "T7": (20.0, 26.0, 30.0), "T8": (20.5, 27.0, 31.0),
    "T9": (21.5, 28.0, 32.0), "T10": (22.5, 29.0, 34.0), "T11": (23.5, 30.0, 37.0), "T12": (25.0, 31.0, 40.0),
    "L1": (26.5, 32.0, 42.0), "L2": (27.5, 33.0, 44.0), "L3": (27.5, 34.0, 46.0), "L4": (27.5, 34.5, 49.0),
    "L5": (27.0, 35.0, 51.0), "L6": (26.5, 35.0, 51.0), "S1": (27.0, 29.0, 50.0), "S2": (22.0, 21.0, 40.0),
    "S3": (18.5, 15.5, 32.0), "S4": (16.0, 12.0, 26.0), "S5": (14.0, 10.0, 20.0), "Co": (22.0, 8.0, 12.0),
}  # fmt: skip
"""Height, depth and width of a body of average size."""
_DISCS_MM = {
    "C5": 5.0, "C6": 5.0, "C7": 4.6,
    "T1": 4.0, "T2": 3.6, "T3": 3.4, "T4": 3.4, "T5": 3.6, "T6": 4.0, "T7": 4.4, "T8": 4.8, "T9": 5.2,
    "T10": 5.6, "T11": 6.2, "T12": 7.2, "L1": 8.4, "L2": 9.6, "L3": 10.6, "L4": 11.2, "L5": 10.0, "L6": 9.0,
    "S1": 2.4, "S2": 1.6, "S3": 1.2, "S4": 1.0, "S5": 2.0,
}  # fmt: skip
"""Height of the disc below a level."""
_SACRAL_TILTS_DEG = {"S1": 0.0, "S2": 8.0, "S3": 7.0, "S4": -3.0, "S5": -18.0, "Co": -38.0}
"""Relative to the sacral slope."""
CORNERS = {
    "anterior_superior": (-1, 1),
    "posterior_superior": (1, 1),
    "posterior_inferior": (1, -1),
    "anterior_inferior": (-1, -1),
}
"""End along u, end along v."""


def presacral_levels(lumbar_count: int = 5) -> tuple[str, ...]:
    """C5 to the last lumbar vertebra, from the head down.

    >>> presacral_levels(6)[-2:]
    ('L5', 'L6')
    """
    thoracic = (f"T{n}" for n in range(1, 13))
    return ("C5", "C6", "C7", *thoracic, *(f"L{n}" for n in range(1, lumbar_count + 1)))


@dataclass(frozen=True, kw_only=True)
class Wear:
    """What age did to a vertebra and to the disc below it.

    Args:
        concavity_mm: Of both end-plates.
        osteophyte_mm: Lips at the front edges.
        schmorl: Depth mm, place along u and w (-1..1) of a node in the upper end-plate, or None.
        schmorl_below: The same in the lower end-plate.
        modic: 1 or 2, or 0 for none, of the marrow on both sides of the disc below.
        degeneration: Of the disc below, 0..1.
        bulge_mm: Of the disc below, backwards.
    """

    concavity_mm: float
    osteophyte_mm: float
    schmorl: tuple[float, float, float] | None
    schmorl_below: tuple[float, float, float] | None
    modic: int
    degeneration: float
    bulge_mm: float


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """One vertebra in its place.

    Args:
        level: Such as ``L1``.
        centre_yz: Of the uncompressed body.
        tilt_rad: Of its axis.
        height_mm, depth_mm, width_mm: Of the body before any fracture.
        x_mm: Of its centre, from the bend of the whole spine to one side.
        wear: Degenerative changes.
        fracture: Fresh or old, or None.
        deposit: A metastasis without a fracture, or None.
        haemangioma: Or None.
    """

    level: str
    centre_yz: tuple[float, float]
    tilt_rad: float
    height_mm: float
    depth_mm: float
    width_mm: float
    x_mm: float
    wear: Wear
    fracture: Fracture | None = None
    deposit: Deposit | None = None
    haemangioma: Haemangioma | None = None

    @property
    def is_sacral(self) -> bool:
        """True for S1 and below."""
        return self.level in SACRAL

    @property
    def is_thoracic(self) -> bool:
        """True for T12 and above."""
        return self.level.startswith(("T", "C")) and self.level != "Co"

    def place(self, u_mm: float, v_mm: float) -> tuple[float, float]:
        """``(y, z)`` of a point in the vertebra's own axes."""
        c, s = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        return self.centre_yz[0] + c * u_mm - s * v_mm, self.centre_yz[1] + s * u_mm + c * v_mm

    def plate_mm(self, t: NDArray[np.float32] | float, end: int) -> NDArray[np.float32]:
        """V of an end-plate after compression, mm.

        Args:
            t: Place from front -1 to back 1.
            end: 1 for the upper, -1 for the lower end-plate.
        """
        t = np.asarray(t, dtype=np.float32)
        half = np.full_like(t, self.height_mm / 2)
        if self.fracture is not None:
            share = self.fracture.superior_share if end > 0 else 1 - self.fracture.superior_share
            half -= self.fracture.loss(t) * np.float32(share * self.height_mm)
        return np.asarray(half * end, dtype=np.float32)

    @property
    def middle_v_mm(self) -> float:
        """V of the middle of the body as it is now."""
        return float(self.plate_mm(0.0, 1) + self.plate_mm(0.0, -1)) / 2

    @property
    def heights_mm(self) -> tuple[float, float, float]:
        """In front, in the middle, behind."""
        front, middle, back = (float(self.plate_mm(t, 1) - self.plate_mm(t, -1)) for t in (-1.0, 0.0, 1.0))
        return front, middle, back

    @property
    def height_loss(self) -> float:
        """Largest loss of the three heights, as a fraction of the height before."""
        return 1 - min(self.heights_mm) / self.height_mm

    def corner(self, name: str) -> tuple[float, float]:
        """``(y, z)`` of one of `CORNERS`."""
        along_u, along_v = CORNERS[name]
        return self.place(along_u * self.depth_mm / 2, float(self.plate_mm(float(along_u), along_v)))

    def plate_angle_rad(self, end: int) -> float:
        """Tilt of an end-plate: the vertebra's own and that of its wedge."""
        rise = float(self.plate_mm(1.0, end) - self.plate_mm(-1.0, end))
        return self.tilt_rad + math.atan2(rise, self.depth_mm)

    def plate_middle(self, end: int) -> tuple[float, float]:
        """``(y, z)`` half way between the two edges of an end-plate."""
        return self.place(0.0, float(self.plate_mm(1.0, end) + self.plate_mm(-1.0, end)) / 2)


@dataclass(frozen=True, kw_only=True)
class Disc:
    """What lies between two bodies."""

    centre_yz: tuple[float, float]
    tilt_rad: float
    height_mm: float
    depth_mm: float
    width_mm: float
    x_mm: float
    degeneration: float
    bulge_mm: float
    modic: int
    is_sacral: bool


@dataclass(frozen=True, kw_only=True)
class Posture:
    """Angles of a whole spine.

    Args:
        sacral_slope_deg: Of the end-plate of S1.
        lordosis_deg: From S1 to L1.
        kyphosis_deg: From T12 to T4.
        scoliosis_mm: Amplitude.
        scoliosis_period_mm: Of a whole wave.
        scoliosis_phase_rad: Where it begins.
        size: 1 for the average.
        disc_size: Of the discs' heights, 1 for the average.
        lumbar_count: 5, rarely 6.
    """

    sacral_slope_deg: float
    lordosis_deg: float
    kyphosis_deg: float
    scoliosis_mm: float
    scoliosis_period_mm: float
    scoliosis_phase_rad: float
    size: float
    disc_size: float
    lumbar_count: int

    def x_mm(self, z_mm: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """How far the spine is bent to the left at a height."""
        wave = 2 * np.pi * np.asarray(z_mm) / self.scoliosis_period_mm + self.scoliosis_phase_rad
        return np.asarray(self.scoliosis_mm * (np.sin(wave) - math.sin(self.scoliosis_phase_rad)))

    def tilts_deg(self) -> dict[str, float]:
        """Tilt of every presacral vertebra before any fracture."""
        levels = presacral_levels(self.lumbar_count)
        lumbar = levels[-self.lumbar_count :][::-1]
        shape = np.linspace(0.5 / len(lumbar), 1.0, len(lumbar)) ** 0.62
        tilts = {
            level: self.sacral_slope_deg - self.lordosis_deg * float(part)
            for level, part in zip(lumbar, shape, strict=True)
        }
        start = tilts["L1"]
        for number in range(12, 0, -1):
            part = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (12.6 - number) / 10.5))
            tilts[f"T{number}"] = start + self.kyphosis_deg * part
        tilts |= {level: tilts["T1"] - back for level, back in (("C7", 3.0), ("C6", 9.0), ("C5", 15.0))}
        return tilts


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is to be built into the spine, by level."""

    wear: dict[str, Wear]
    fractures: dict[str, Fracture] = field(default_factory=dict)
    deposits: dict[str, Deposit] = field(default_factory=dict)
    haemangiomas: dict[str, Haemangioma] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spine:
    """Vertebrae from the head down, and the discs below them."""

    posture: Posture
    vertebrae: tuple[Vertebra, ...]
    discs: tuple[Disc, ...]

    def canal_yz(self) -> NDArray[np.float64]:
        """``(n, 2)`` float64 (y, z): the middle of the canal from the head down, about 1 mm apart."""
        knots = []
        for vertebra in self.vertebrae:
            if vertebra.level == "Co":
                continue
            behind = vertebra.depth_mm / 2 + canal_half_depth_mm(vertebra)
            knots += [vertebra.place(behind, end * vertebra.height_mm * 0.32) for end in (1, -1)]
        points = np.asarray(knots)
        for _ in range(2):
            points[1:-1] = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
        lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        places = np.arange(0, lengths[-1], 1.0)
        return np.stack([np.interp(places, lengths, points[:, axis]) for axis in range(2)], axis=1)


def canal_half_depth_mm(vertebra: Vertebra) -> float:
    """Half the sagittal width of the spinal canal."""
    if vertebra.is_sacral:
        return {"S1": 6.5, "S2": 5.0, "S3": 3.5}.get(vertebra.level, 2.5)
    return 8.0 if vertebra.level.startswith("L") else 7.5


def _up(tilt_rad: float) -> NDArray[np.float64]:
    return np.array([-math.sin(tilt_rad), math.cos(tilt_rad)])


def build_spine(posture: Posture, changes: Changes) -> Spine:
    """Stacks the vertebrae from S1 upwards and the sacrum downwards."""
    slope = math.radians(posture.sacral_slope_deg)
    sacrum = _sacrum(posture, changes, slope)
    stack = [sacrum[0]]
    tilts = posture.tilts_deg()
    bent_rad = 0.0
    for level in presacral_levels(posture.lumbar_count)[::-1]:
        below = stack[-1]
        tilt = math.radians(tilts[level]) + bent_rad
        vertebra = _stacked(level, tilt, below, posture, changes)
        stack.append(vertebra)
        # Part of a wedge's angle is made up for by the discs and levels above it.
        wedge = vertebra.plate_angle_rad(1) - vertebra.plate_angle_rad(-1)
        bent_rad = bent_rad * 0.92 + 0.65 * wedge
    vertebrae = (*stack[:0:-1], *sacrum)
    discs = [_disc(above, below, posture) for above, below in pairwise(vertebrae)]
    return Spine(posture=posture, vertebrae=vertebrae, discs=tuple(discs))


def _sizes_mm(level: str, posture: Posture) -> tuple[float, float, float]:
    height, depth, width = (size * posture.size for size in _SIZES_MM[level])
    return height, depth, width


def _disc_height_mm(level: str, posture: Posture, wear: Wear) -> float:
    if level in SACRAL:
        return _DISCS_MM[level]
    return _DISCS_MM[level] * posture.size * posture.disc_size * (1 - 0.55 * wear.degeneration**1.5)


def _stacked(level: str, tilt_rad: float, below: Vertebra, posture: Posture, changes: Changes) -> Vertebra:
    height, depth, width = _sizes_mm(level, posture)
    wear = changes.wear[level]
    fracture = changes.fractures.get(level)
    unplaced = Vertebra(
        level=level, centre_yz=(0.0, 0.0), tilt_rad=tilt_rad, height_mm=height, depth_mm=depth,
        width_mm=width, x_mm=0.0, wear=wear, fracture=fracture, deposit=changes.deposits.get(level),
        haemangioma=changes.haemangiomas.get(level),
    )  # fmt: skip
    between = (below.plate_angle_rad(1) + unplaced.plate_angle_rad(-1)) / 2
    disc_mm = _disc_height_mm(level, posture, wear)
    # A change of tilt opens the disc at one edge; the bodies must not meet at the other.
    opening = abs(math.tan(below.plate_angle_rad(1) - unplaced.plate_angle_rad(-1))) * depth / 2
    floor = np.asarray(below.plate_middle(1)) + _up(between) * max(disc_mm, opening + 1.2)
    centre = floor - np.asarray(unplaced.plate_middle(-1))
    return replace(
        unplaced,
        centre_yz=(float(centre[0]), float(centre[1])),
        x_mm=float(posture.x_mm(float(centre[1]))),
    )


def _sacrum(posture: Posture, changes: Changes, slope_rad: float) -> list[Vertebra]:
    top = np.zeros(2)
    sacrum = []
    for level in SACRAL:
        height, depth, width = _sizes_mm(level, posture)
        tilt = slope_rad + math.radians(_SACRAL_TILTS_DEG[level])
        centre = top - _up(tilt) * height / 2
        vertebra = Vertebra(
            level=level, centre_yz=(float(centre[0]), float(centre[1])), tilt_rad=tilt, height_mm=height,
            depth_mm=depth, width_mm=width, x_mm=0.0, wear=changes.wear[level],
            deposit=changes.deposits.get(level),
        )  # fmt: skip
        sacrum.append(vertebra)
        if level != "Co":
            top = centre - _up(tilt) * (height / 2 + _DISCS_MM[level])
    return sacrum


def _disc(above: Vertebra, below: Vertebra, posture: Posture) -> Disc:
    upper, lower = np.asarray(above.plate_middle(-1)), np.asarray(below.plate_middle(1))
    centre = (upper + lower) / 2
    return Disc(
        centre_yz=(float(centre[0]), float(centre[1])),
        tilt_rad=(above.plate_angle_rad(-1) + below.plate_angle_rad(1)) / 2,
        height_mm=float(np.linalg.norm(upper - lower)),
        depth_mm=(above.depth_mm + below.depth_mm) / 2,
        width_mm=(above.width_mm + below.width_mm) / 2,
        x_mm=float(posture.x_mm(centre[1])),
        degeneration=above.wear.degeneration,
        bulge_mm=above.wear.bulge_mm,
        modic=above.wear.modic,
        is_sacral=above.is_sacral,
    )


def is_fresh(vertebra: Vertebra) -> bool:
    """True for a fracture that is not healed."""
    return vertebra.fracture is not None and vertebra.fracture.kind is not Kind.OLD
