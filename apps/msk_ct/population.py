"""Who comes to which hospital: bodies, poses, diseases of the phantom's patients."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.structures import SEGMENTS, Side
from operators.phantom.bones import MIDLINE_MM, BoneShape

Range = tuple[float, float]


class Difficulty(Enum):
    """What makes a case hard; 12 successive seeds have each kind three times.

    How hard is graded in hospital B, from what training has seen to twice that: whether uncertainty
    follows accuracy can only be measured on patients whose accuracy differs.
    """

    EASY = "easy"
    NOISE = "noise"
    TRUNCATED = "truncated"
    ATROPHY = "severe atrophy"


@dataclass(frozen=True, kw_only=True)
class Population:
    """Ranges from which patients are drawn, uniform unless said.

    Args:
        bmi: Body mass index, kg/m2.
        muscle: Muscle volume relative to the standard body.
        muscle_hu: Of lean muscle.
        fat_hu: Of fat.
        bmd: Density of spongy bone, relative.
        size: Of the skeleton, relative, for each axis.
        hip_deg: Standard deviations of the hip's flexion, abduction and rotation.
        wobble_mm: Of the smooth deformation.
        neck_shaft_deg, anteversion_deg: Mean and standard deviation.
        severe_atrophy: Of the worse side where atrophy is what makes a case hard.
        severe_infiltration: Fat in muscles relative to other patients, at the ends of that range.
    """

    bmi: Range = (18.0, 35.0)
    muscle: Range = (0.62, 1.1)
    muscle_hu: Range = (36.0, 60.0)
    fat_hu: Range = (-112.0, -90.0)
    bmd: Range = (0.45, 1.5)
    size: Range = (0.9, 1.1)
    hip_deg: tuple[float, float, float] = (4.0, 3.0, 9.0)
    wobble_mm: Range = (3.0, 9.0)
    neck_shaft_deg: Range = (127.0, 4.0)
    anteversion_deg: Range = (17.0, 8.0)
    severe_atrophy: Range = (0.2, 0.35)
    severe_infiltration: Range = (1.8, 1.8)

    def infiltration_at(self, level: float) -> float:
        """Fat in muscles at a severe level of atrophy, relative to other patients.

        >>> Population(severe_atrophy=(0.2, 0.6), severe_infiltration=(2.0, 4.0)).infiltration_at(0.4)
        3.0
        """
        return round(float(np.interp(level, self.severe_atrophy, self.severe_infiltration)), 6)


HOSPITAL_A = Population()
HOSPITAL_B = Population(
    bmi=(20.0, 34.0),
    muscle=(0.6, 1.02),
    muscle_hu=(34.0, 56.0),
    fat_hu=(-116.0, -96.0),
    bmd=(0.5, 1.3),
    size=(0.92, 1.07),
    hip_deg=(5.0, 3.5, 10.0),
    wobble_mm=(4.0, 9.0),
    neck_shaft_deg=(129.0, 5.0),
    anteversion_deg=(20.0, 9.0),
    severe_atrophy=(0.2, 0.5),
    severe_infiltration=(1.8, 3.5),
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One patient, as the phantom needs them; see `draw_person`."""

    age_years: int
    sex: str
    height_m: float
    bmi: float
    size_xyz: tuple[float, float, float]
    thigh_length: float
    lie_rad: tuple[float, float, float]
    pelvic_tilt_rad: float
    hips_rad: tuple[tuple[float, float, float], tuple[float, float, float]]
    wobble_seed: int
    wobble_mm: float
    wobble_length_mm: float
    bones: tuple[BoneShape, BoneShape]
    girth: float
    girth_thigh: float
    belly_mm: float
    fat_mm: float
    wall_mm: float
    muscle: float
    atrophy: dict[int, float]
    hu_drop: dict[int, float]
    affected: Side | None
    muscle_hu: float
    fat_hu: float
    infiltration: float
    bmd: float
    cortex: float
    contrast_hu: float
    oral_contrast: bool
    arms: bool
    tissue_seed: int
    implant: Side | None
    weight_kg: float = field(default=70.0)


def draw_person(rng: np.random.Generator, population: Population, difficulty: Difficulty) -> Person:
    """One patient of a population; the same generator state gives the same patient."""
    sex = "F" if rng.random() < 0.55 else "M"
    age = int(np.clip(rng.normal(62, 15), 20, 93))
    bmi = float(np.clip(rng.triangular(population.bmi[0], 24, population.bmi[1]), *population.bmi))
    height = float(np.clip(rng.normal(1.60 if sex == "F" else 1.72, 0.065), 1.42, 1.92))
    scale = np.clip(height / 1.70, 0.88, 1.1)
    muscle = float(rng.uniform(*population.muscle)) * (0.92 if sex == "F" else 1.06)
    muscle *= 1.06 - 0.002 * max(0, age - 35)
    size = [float(np.clip(scale * rng.normal(1, 0.03), *population.size)) for _ in range(3)]
    if sex == "F":
        size[0] = min(size[0] * 1.04, population.size[1])
    severe = difficulty is Difficulty.ATROPHY
    affected, level, atrophy, drop = _draw_atrophy(rng, population, severe)
    bone = _draw_bone(rng, population, sex)
    jitter = BoneShape(
        **{
            **bone.__dict__,
            "neck_shaft_deg": bone.neck_shaft_deg + float(rng.normal(0, 1.5)),
            "anteversion_deg": bone.anteversion_deg + float(rng.normal(0, 2)),
            "joint_space_mm": max(2.0, bone.joint_space_mm + float(rng.normal(0, 0.5))),
            "osteophyte_mm": max(
                0.0, bone.osteophyte_mm + float(rng.normal(0, 1)) * (bone.osteophyte_mm > 0)
            ),
        }
    )
    deg = np.pi / 180
    hip_draws = _draw_hips(rng, population)
    fat = float(np.clip(2.5 + (bmi - 17) * rng.uniform(0.9, 1.6) * (1.25 if sex == "F" else 0.85), 3.0, 42))
    girth_thigh = float(np.clip(0.5 + 0.5 * muscle**0.5 + 0.04 + rng.normal(0, 0.02), 0.85, 1.12))
    most = _most_adduction_rad(girth_thigh, fat)
    right, left = ((flexion, min(adduction, most), turn) for flexion, adduction, turn in hip_draws)
    return Person(
        age_years=age,
        sex=sex,
        height_m=round(height, 2),
        bmi=round(bmi, 1),
        weight_kg=round(bmi * height**2, 1),
        size_xyz=(size[0], size[1], size[2]),
        thigh_length=float(np.clip(scale * rng.normal(1, 0.03), *population.size)),
        lie_rad=_triple(rng.normal(0, (1.0, 1.2, 1.8)) * deg),
        pelvic_tilt_rad=float(np.clip(rng.normal(0, 6), -13, 13)) * deg,
        hips_rad=(right, left),
        wobble_seed=int(rng.integers(2**31)),
        wobble_mm=float(rng.uniform(*population.wobble_mm)),
        wobble_length_mm=float(rng.uniform(55, 90)),
        bones=(bone, jitter),
        girth=float(np.clip(0.93 + 0.07 * muscle + rng.normal(0, 0.015), 0.92, 1.06)),
        girth_thigh=girth_thigh,
        belly_mm=float(np.clip((bmi - 22) * rng.uniform(1.0, 3.5), -8, 40)),
        fat_mm=fat,
        wall_mm=float(rng.uniform(11, 18)),
        muscle=muscle,
        atrophy=atrophy,
        hu_drop=drop,
        affected=affected,
        muscle_hu=float(rng.uniform(*population.muscle_hu)) - 0.12 * max(0, age - 50),
        fat_hu=float(rng.uniform(*population.fat_hu)),
        infiltration=float(np.clip(rng.gamma(2.0, 0.02) + 0.0012 * max(0, age - 40), 0.01, 0.2))
        * (population.infiltration_at(level) if severe else 1.0),
        bmd=float(rng.uniform(*population.bmd)) * (1.1 - 0.004 * max(0, age - 50)),
        cortex=float(rng.uniform(0.75, 1.15)),
        contrast_hu=float(rng.uniform(60, 160)) if rng.random() < 0.35 else 0.0,
        oral_contrast=bool(rng.random() < 0.15),
        arms=bool(rng.random() < 0.2),
        tissue_seed=int(rng.integers(2**31)),
        implant=[Side.RIGHT, Side.LEFT][int(rng.integers(2))] if rng.random() < 0.1 else None,
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _draw_hips(rng: np.random.Generator, population: Population) -> list[tuple[float, float, float]]:
    """Flexion, adduction and rotation of the right and the left hip, radians."""
    flexion, adduction = rng.normal(3, population.hip_deg[0]), rng.normal(2, population.hip_deg[1])
    deg = np.pi / 180
    return [
        (
            float(np.clip(flexion + rng.normal(0, 1.2), -6, 14)) * deg,
            float(np.clip(adduction + rng.normal(0, 1.2), -7, 6)) * deg,
            float(np.clip(rng.normal(0, population.hip_deg[2]), -22, 22)) * deg,
        )
        for _ in range(2)
    ]


def _most_adduction_rad(girth_thigh: float, fat_mm: float) -> float:
    """As far as a thigh can go before it meets the other one in the middle, radians."""
    # Depth below the hip, medial offset, radius of the fascia, share of the fat there: see `body.THIGH`.
    heights = ((130, -6, 67.5, 0.72), (220, -3, 64, 0.58), (310, 1, 57.5, 0.45), (385, 4, 50, 0.37))
    free = [
        (MIDLINE_MM - 4 - m - radius * girth_thigh - share * fat_mm) / depth
        for depth, m, radius, share in heights
    ]
    return float(np.clip(min(free), -0.12, 0.1))


def _draw_bone(rng: np.random.Generator, population: Population, sex: str) -> BoneShape:
    spurs = float(rng.uniform(0.5, 5)) if rng.random() < 0.3 else 0.0
    return BoneShape(
        head_mm=float(np.clip(rng.normal(22.3 if sex == "F" else 24.2, 0.9), 20, 26.5)),
        neck_shaft_deg=float(np.clip(rng.normal(*population.neck_shaft_deg), 115, 140)),
        anteversion_deg=float(np.clip(rng.normal(*population.anteversion_deg), -5, 40)),
        shaft=float(np.clip(rng.normal(0.96 if sex == "F" else 1.03, 0.05), 0.82, 1.15)),
        joint_space_mm=float(rng.uniform(2.2, 4.2)),
        osteophyte_mm=spurs,
        wing=float(rng.uniform(0.8, 1.25)),
        flare=float(rng.uniform(0.6, 1.5)),
        pelvis=float(np.clip(rng.normal(1.0, 0.07), 0.85, 1.2)),
        sacrum_curve=float(rng.uniform(0.5, 1.6)),
    )


def _draw_atrophy(
    rng: np.random.Generator, population: Population, severe: bool
) -> tuple[Side | None, float, dict[int, float], dict[int, float]]:
    """Which side is worse and how much; by segment the lost share of volume and the fall of attenuation, HU.

    Iwasa et al.: 16.3 % and 7.9 HU on average on the side of an osteoarthritic hip.
    """
    affected = None
    if severe or rng.random() < 0.6:
        affected = Side.RIGHT if rng.random() < 0.5 else Side.LEFT
    level = float(rng.uniform(*population.severe_atrophy) if severe else rng.uniform(0.02, 0.3))
    most = max(0.45, population.severe_atrophy[1] + 0.1) if severe else 0.35
    most_hu = 30.0 * most / 0.45 if severe else 20.0
    atrophy, drop = {}, {}
    for segment in SEGMENTS:
        own, fall = abs(float(rng.normal(0, 0.04))), abs(float(rng.normal(0, 1.5)))
        share, size = rng.uniform(0.5, 1.4), rng.uniform(0.6, 1.5)
        if segment.side is not None and segment.side is affected:
            own += level * share
            fall += level / 0.163 * 7.9 * size
        if not segment.structure.is_bone:
            atrophy[segment.number] = min(own, most)
            drop[segment.number] = min(fall, most_hu)
    return affected, level, atrophy, drop
