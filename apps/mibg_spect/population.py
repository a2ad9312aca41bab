"""Populations of the phantom: who comes to which hospital."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apps.mibg_spect.anatomy import Heart, Patient
from operators.phantom.shapes import Capsule, Ellipsoid, rotation_about

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Population:
    """Ranges from which patients are drawn, uniform unless said.

    Args:
        chest_width_mm, chest_depth_mm: Of the chest.
        organ_scale: Of lungs, liver and heart against the standard, each by itself.
        heart_shift_mm: Half-width of the heart's displacement along each axis.
        heart_tilt_rad: Standard deviation of the tilt of the heart's axis.
        denervated_share: Share of patients whose heart is as faint as blood.
        lung, liver, spleen, background: Activity in multiples of mediastinal blood.
        cavity_filled_share: Share whose ventricle looks filled: no visible cavity.
        arms_down_share: Share with the arms beside the chest.
        weight_kg: Body weight.
        simple_share: Share drawn as a textbook sketch: lungs and liver plain ellipsoids, no
            diaphragm and no right ventricle, as other people's phantoms have it.
    """

    chest_width_mm: Range = (290.0, 350.0)
    chest_depth_mm: Range = (195.0, 245.0)
    organ_scale: Range = (0.9, 1.1)
    heart_shift_mm: float = 10.0
    heart_tilt_rad: float = 0.2
    denervated_share: float = 0.35
    lung: Range = (0.8, 1.5)
    liver: Range = (3.0, 6.0)
    spleen: Range = (1.5, 2.5)
    background: Range = (0.35, 0.65)
    cavity_filled_share: float = 0.0
    arms_down_share: float = 0.05
    weight_kg: Range = (45.0, 80.0)
    simple_share: float = 0.0


HOSPITAL_A = Population()
HOSPITAL_B = Population(
    chest_width_mm=(305.0, 385.0),
    chest_depth_mm=(205.0, 275.0),
    organ_scale=(0.88, 1.16),
    heart_shift_mm=13.0,
    heart_tilt_rad=0.28,
    background=(0.4, 0.75),
    arms_down_share=0.15,
    weight_kg=(50.0, 100.0),
)
ANY_HOSPITAL = Population(
    chest_width_mm=(260.0, 400.0),
    chest_depth_mm=(180.0, 280.0),
    organ_scale=(0.78, 1.25),
    heart_shift_mm=18.0,
    heart_tilt_rad=0.35,
    denervated_share=0.4,
    lung=(0.7, 1.8),
    liver=(2.2, 7.0),
    spleen=(0.8, 3.0),
    background=(0.15, 1.0),
    cavity_filled_share=0.35,
    arms_down_share=0.15,
    weight_kg=(40.0, 110.0),
    simple_share=0.35,
)
"""Wider than both hospitals: what the model is trained on (domain randomisation)."""


def draw_patient(rng: np.random.Generator, population: Population) -> Patient:
    """One patient of a population; the same generator state gives the same patient."""
    half_width = rng.uniform(*population.chest_width_mm) / 2
    half_depth = rng.uniform(*population.chest_depth_mm) / 2
    wide, deep = half_width / 160, half_depth / 110
    tall = rng.uniform(*population.organ_scale)
    jitter = lambda sd: float(rng.normal(0, sd))  # noqa: E731 - a name for a frequent draw
    lung_top = 118 * tall
    dome_right = -52 + jitter(9)
    dome_left = dome_right - rng.uniform(2, 22)
    lungs = [_draw_lung(rng, side, (wide, deep, tall), population) for side in (-1, 1)]
    domes = _draw_domes(rng, (wide, deep), dome_right, dome_left)
    heart = _draw_heart(rng, population, (wide, deep), (dome_right + dome_left) / 2)
    liver = _draw_liver(rng, population, (wide, deep), dome_right)
    if population.simple_share and rng.random() < population.simple_share:
        lungs, liver, heart = _sketched(rng, (wide, deep, tall), heart)
        domes = liver
    sex = "M" if rng.random() < 0.6 else "F"
    return Patient(
        weight_kg=round(float(rng.uniform(*population.weight_kg)), 1),
        age_years=int(np.clip(rng.normal(68, 12), 30, 92)),
        sex=sex,
        torso=Ellipsoid(
            (0, 0, -160),
            (half_width, half_depth, 160 + lung_top + 45 + jitter(6)),
            exponent=float(rng.uniform(2.3, 3.2)),
        ),
        neck=Capsule((0, 10, lung_top), (0, 0, lung_top + 250), float(rng.uniform(48, 62))),
        arms=_draw_arms(rng, population, half_width, lung_top),
        spine=Capsule((0, half_depth * 0.62, -330), (0, half_depth * 0.5, 330), float(rng.uniform(15, 20))),
        mediastinum=_draw_mediastinum(rng, (wide, deep), lung_top),
        lung_right=lungs[0],
        lung_left=lungs[1],
        domes=domes,
        liver=liver,
        spleen=Ellipsoid(
            (92 * wide + jitter(6), 40 * deep + jitter(6), dome_left - 45 + jitter(10)),
            (28 + jitter(3), 40 + jitter(5), 48 + jitter(6)),
        ),
        others=_draw_others(rng, (wide, deep), dome_left, lung_top),
        heart=heart,
        activity={
            "blood": 1.0,
            "background": float(rng.uniform(*population.background)),
            "lung": float(rng.uniform(*population.lung)),
            "liver": float(rng.uniform(*population.liver)),
            "spleen": float(rng.uniform(*population.spleen)),
        },
        texture=float(rng.uniform(0.02, 0.08)),
        lung_gradient=float(rng.uniform(-0.05, 0.2)),
    )


def _draw_lung(
    rng: np.random.Generator, side: int, scale: tuple[float, float, float], population: Population
) -> Ellipsoid:
    wide, deep, tall = scale
    own = rng.uniform(*population.organ_scale)
    half_x = 59 * wide * own**0.5
    # The medial border keeps its distance from the midline, so wide lungs do not merge.
    gap = rng.uniform(14, 26)
    return Ellipsoid(
        (side * (half_x + gap), float(rng.normal(8, 4)) * deep, -22),
        (half_x, 84 * deep, 140 * tall),
        exponent=float(rng.uniform(2.0, 2.8)),
    )


def _draw_domes(
    rng: np.random.Generator, scale: tuple[float, float], right_mm: float, left_mm: float
) -> tuple[Ellipsoid, Ellipsoid]:
    wide, deep = scale
    height = rng.uniform(95, 150)
    return (
        Ellipsoid((-72 * wide, 0, right_mm - height), (112 * wide, 125 * deep, height)),
        Ellipsoid((72 * wide, 5, left_mm - height), (112 * wide, 125 * deep, height)),
    )


def _draw_liver(
    rng: np.random.Generator, population: Population, scale: tuple[float, float], dome_mm: float
) -> tuple[Ellipsoid, Ellipsoid]:
    wide, deep = scale
    size = rng.uniform(*population.organ_scale)
    return (
        Ellipsoid(
            (-68 * wide + float(rng.normal(0, 6)), float(rng.normal(0, 6)), dome_mm - 60 * size),
            (80 * wide * size, 80 * deep * size, 76 * size),
            exponent=2.3,
        ),
        Ellipsoid(
            (float(rng.uniform(-5, 30)) * wide, -42 * deep + float(rng.normal(0, 5)), dome_mm - 62),
            (float(rng.uniform(60, 95)) * wide * size, 46 * deep * size, float(rng.uniform(36, 55)) * size),
        ),
    )


def _sketched(
    rng: np.random.Generator, scale: tuple[float, float, float], heart: Heart
) -> tuple[list[Ellipsoid], tuple[Ellipsoid, Ellipsoid], Heart]:
    """Lungs, liver and heart as plain ellipsoids that only roughly fit together."""
    wide, deep, tall = scale
    half = (rng.uniform(46, 62) * wide, rng.uniform(60, 84) * deep, rng.uniform(85, 125) * tall)
    out = half[0] + rng.uniform(12, 26)
    height = rng.uniform(-5, 30)
    lungs = [Ellipsoid((side * out, float(rng.uniform(-5, 12)), height), half) for side in (-1, 1)]
    top = height - half[2] + rng.uniform(-5, 35)
    size = (rng.uniform(75, 105) * wide, rng.uniform(60, 85) * deep, rng.uniform(45, 75))
    main = Ellipsoid((float(rng.uniform(-65, -35)), float(rng.uniform(-15, 10)), top - size[2]), size)
    lobe = main
    if rng.random() < 0.5:
        lobe = Ellipsoid((float(rng.uniform(-10, 30)), -25.0, top - 40), (70 * wide, 40 * deep, 35.0))
    # Above the liver, or beside its dome as far down as the apex of a real heart reaches.
    shift = np.array([0.0, 0.0, top + rng.uniform(-12, 45) - heart.outer.centre_mm[2]])
    moved = _triple(np.asarray(heart.outer.centre_mm) + shift)
    cavity = _triple(np.asarray(heart.inner.centre_mm) + shift)
    hidden = Ellipsoid(moved, (5.0, 5.0, 5.0))
    return (
        lungs,
        (main, lobe),
        replace(
            heart,
            outer=replace(heart.outer, centre_mm=moved),
            inner=replace(heart.inner, centre_mm=cavity),
            right=hidden,
        ),
    )


def _draw_mediastinum(
    rng: np.random.Generator, scale: tuple[float, float], lung_top_mm: float
) -> tuple[Ellipsoid, ...]:
    wide, deep = scale
    return (
        Ellipsoid(
            (5, 5, lung_top_mm - 70), (float(rng.uniform(28, 38)) * wide, 46 * deep, 110), exponent=2.5
        ),
        Ellipsoid((8, 15, -10), (float(rng.uniform(36, 46)) * wide, 42 * deep, 45)),
        Ellipsoid((-8, 40 * deep, -120), (14, 14, 140), exponent=4.0),
    )


def _draw_arms(
    rng: np.random.Generator, population: Population, half_width_mm: float, lung_top_mm: float
) -> tuple[Capsule, ...]:
    radius = float(rng.uniform(36, 50))
    if rng.random() < population.arms_down_share:
        out = half_width_mm + radius - 8
        return tuple(Capsule((s * out * 0.95, 10, lung_top_mm), (s * out, 5, -400), radius) for s in (-1, 1))
    return tuple(
        Capsule((s * half_width_mm * 0.72, 10, lung_top_mm - 25), (s * half_width_mm * 0.7, -25, 480), radius)
        for s in (-1, 1)
    )


def _draw_others(
    rng: np.random.Generator, scale: tuple[float, float], dome_left_mm: float, lung_top_mm: float
) -> tuple[tuple[Ellipsoid, float], ...]:
    wide, deep = scale
    stomach = Ellipsoid((58 * wide, -25 * deep, dome_left_mm - 55), (38, 40, 42))
    kidneys = [Ellipsoid((s * 60 * wide, 55 * deep, -190), (24, 24, 45)) for s in (-1, 1)]
    shapes = [(stomach, float(rng.uniform(0.4, 1.2)))]
    shapes += [(kidney, float(rng.uniform(1.0, 2.0))) for kidney in kidneys]
    if rng.random() < 0.4:
        thyroid = rng.uniform(1.0, 3.0)
        shapes += [(Ellipsoid((s * 18, -25, lung_top_mm + 45), (9, 10, 22)), float(thyroid)) for s in (-1, 1)]
    if rng.random() < 0.5:
        bowel = Ellipsoid(
            (float(rng.uniform(-60, 90)), -40 * deep, float(rng.uniform(-210, -140))),
            (float(rng.uniform(20, 60)), 22, 18),
        )
        shapes.append((bowel, float(rng.uniform(1.0, 3.5))))
    return tuple(shapes)


def _draw_heart(
    rng: np.random.Generator, population: Population, scale: tuple[float, float], dome_mm: float
) -> Heart:
    wide, deep = scale
    size = rng.uniform(*population.organ_scale)
    if rng.random() < 0.15:
        size *= rng.uniform(1.05, 1.2)  # dilated
    axes = _heart_axes(rng, population.heart_tilt_rad)
    inner_radius, wall = 22 * size + rng.normal(0, 1.5), rng.uniform(8.5, 12)
    outer = inner_radius + wall
    half_length = (40 + rng.normal(0, 2.5)) * size + 4
    shift = rng.uniform(-1, 1, 3) * population.heart_shift_mm
    below = outer * 0.95
    centre = np.array([30 * wide, -28 * deep, dome_mm + below + 4]) + shift * (1, 1, 0.7)
    to_right = -axes[1]
    right = centre + to_right * (outer * 1.0) - axes[0] * 8
    denervated = rng.random() < population.denervated_share
    uptake = float(rng.uniform(1.0, 1.6) if denervated else rng.uniform(1.6, 6.0))
    filled = rng.random() < population.cavity_filled_share
    return Heart(
        outer=Ellipsoid(_triple(centre), (half_length, outer, outer), axes=_rows(axes)),
        inner=Ellipsoid(
            _triple(centre - axes[0] * 2), (half_length - wall, inner_radius, inner_radius), axes=_rows(axes)
        ),
        right=Ellipsoid(_triple(right), (half_length * 0.95, outer * 0.75, outer * 1.0), axes=_rows(axes)),
        uptake=uptake,
        cavity_uptake=uptake if filled else 1.0,
        defects=_draw_defects(rng),
    )


def _heart_axes(rng: np.random.Generator, tilt_rad: float) -> NDArray[np.float64]:
    """Rows: base to apex (left, anterior, down), septum to lateral wall, and their normal."""
    long_axis = np.array([0.62, -0.62, -0.48])
    axis = rng.standard_normal(3)
    long_axis = rotation_about(_triple(axis), float(rng.normal(0, tilt_rad))) @ long_axis
    long_axis /= np.linalg.norm(long_axis)
    lateral = np.cross(np.cross(long_axis, [1.0, 0.6, 0.1]), long_axis)
    lateral /= np.linalg.norm(lateral)
    return np.stack([long_axis, lateral, np.cross(long_axis, lateral)])


def _draw_defects(
    rng: np.random.Generator,
) -> tuple[tuple[tuple[float, float, float], float, float], ...]:
    """None, or an apical or inferior region of reduced uptake, or both."""
    defects = []
    if rng.random() < 0.3:
        defects.append(((1.0, 0.0, 0.0), float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.2, 0.7))))
    if rng.random() < 0.3:
        inferior = np.array([0.2, rng.uniform(-0.5, 0.5), 1.0])
        inferior /= np.linalg.norm(inferior)
        defects.append((_triple(inferior), float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.1, 0.6))))
    return tuple(defects)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _rows(matrix: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    return tuple(_triple(row) for row in matrix)
