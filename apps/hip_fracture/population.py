"""Who comes with a painful hip to which hospital: bodies, fractures, implants, and what is taken of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.hip_fracture.anatomy import BoneQuality, Build
from apps.hip_fracture.fracture import Fracture, draw_fracture
from apps.hip_fracture.labels import Fracture as HipClass
from operators.phantom.bones import BoneShape

Range = tuple[float, float]
SIDES = ("R", "L")


@dataclass(frozen=True, kw_only=True)
class Population:
    """Ranges from which patients are drawn, uniform unless said.

    Args:
        density: Of spongy bone, relative.
        cortex: Thickness, relative.
        bmi: Body mass index, kg/m2.
        size: Of the skeleton, relative.
        neck_shaft_deg: Mean and standard deviation.
        undisplaced: Share of fractures that are not displaced.
        osteoarthritis: Share of hips with spurs and a narrow joint.
    """

    density: Range = (0.45, 1.35)
    cortex: Range = (0.6, 1.1)
    bmi: Range = (16.0, 31.0)
    size: Range = (0.9, 1.08)
    neck_shaft_deg: Range = (129.0, 4.5)
    undisplaced: float = 0.2
    osteoarthritis: float = 0.3


HOSPITAL_A = Population()
HOSPITAL_B = Population(
    density=(0.4, 1.2),
    cortex=(0.55, 1.05),
    bmi=(17.0, 33.0),
    size=(0.92, 1.1),
    neck_shaft_deg=(127.0, 5.0),
    undisplaced=0.22,
    osteoarthritis=0.38,
)


@dataclass(frozen=True, kw_only=True)
class Hip:
    """One hip of a patient.

    Args:
        hip_class: None, neck or trochanteric.
        fracture: What is broken.
        implant: "tha", "bha", "nail", "screws", or None.
        turn_deg: Rotation of the leg inwards as it lies for the AP.
        adduction_deg: Of the leg.
        flexion_deg: Of the leg.
    """

    hip_class: HipClass
    fracture: Fracture | None
    implant: str | None
    turn_deg: float
    adduction_deg: float
    flexion_deg: float


@dataclass(frozen=True, kw_only=True)
class Person:
    """A patient; `painful` is the side that is examined."""

    sex: str
    age_years: int
    bmi: float
    size: float
    shape: BoneShape
    quality: BoneQuality
    build: Build
    hips: dict[str, Hip]
    painful: str
    views: tuple[tuple[str, str], ...]
    """Technique and side ("R", "L", "B") of each image."""
    tissue_seed: int


def draw_person(rng: np.random.Generator, population: Population) -> Person:
    """One patient; the same generator state gives the same patient."""
    sex = "F" if rng.random() < 0.72 else "M"
    age = int(np.clip(rng.normal(79, 9), 45, 101))
    bmi = float(np.clip(rng.normal(22.5, 3.6), *population.bmi))
    size = float(np.clip(rng.normal(0.97 if sex == "F" else 1.03, 0.035), *population.size))
    spurs = float(rng.uniform(0.5, 4)) if rng.random() < population.osteoarthritis else 0.0
    shape = BoneShape(
        head_mm=float(np.clip(rng.normal(22.6 if sex == "F" else 24.4, 0.9), 20, 27)),
        neck_shaft_deg=float(np.clip(rng.normal(*population.neck_shaft_deg), 115, 142)),
        anteversion_deg=float(np.clip(rng.normal(17, 8), -3, 38)),
        shaft=float(np.clip(rng.normal(0.97 if sex == "F" else 1.03, 0.06), 0.82, 1.15)),
        joint_space_mm=float(rng.uniform(2.4, 4.2)) * (0.6 if spurs > 2 else 1.0),
        osteophyte_mm=spurs,
        wing=float(rng.uniform(0.8, 1.25)),
        flare=float(rng.uniform(0.6, 1.5)),
        pelvis=float(np.clip(rng.normal(1.0, 0.08), 0.82, 1.2)),
        sacrum_curve=float(rng.uniform(0.5, 1.6)),
    )
    quality = BoneQuality(
        density=float(rng.uniform(*population.density)),
        cortex=float(rng.uniform(*population.cortex)),
        texture=float(rng.uniform(0.4, 1.3)),
        seed=int(rng.integers(2**31)),
    )
    fat = float(np.clip(2 + (bmi - 15) * rng.uniform(0.9, 1.9), 3, 40))
    build = Build(
        width_mm=float(148 + 2.2 * (bmi - 21) + 0.4 * fat + rng.normal(0, 6)),
        depth_mm=float(92 + 2.4 * (bmi - 21) + 0.3 * fat + rng.normal(0, 5)),
        belly_mm=float(np.clip((bmi - 22) * rng.uniform(0.5, 4), -8, 40)),
        thigh_mm=float(np.clip(66 + 1.4 * (bmi - 21) + rng.normal(0, 4), 52, 84)),
        fat_mm=fat,
    )
    painful = SIDES[int(rng.integers(2))]
    hips = _draw_hips(rng, population, shape, painful)
    return Person(
        sex=sex,
        age_years=age,
        bmi=round(bmi, 1),
        size=size,
        shape=shape,
        quality=quality,
        build=build,
        hips=hips,
        painful=painful,
        views=_draw_views(rng, painful),
        tissue_seed=int(rng.integers(2**31)),
    )


IMPLANTS = ("tha", "bha", "nail", "screws")


def _draw_hips(
    rng: np.random.Generator, population: Population, shape: BoneShape, painful: str
) -> dict[str, Hip]:
    classes = list(HipClass)
    hips = {}
    for side in SIDES:
        shares = (0.30, 0.36, 0.34) if side == painful else (0.985, 0.008, 0.007)
        hip_class = classes[int(rng.choice(3, p=shares))]
        chance = rng.random()
        implant = IMPLANTS[int(rng.choice(4, p=(0.35, 0.25, 0.3, 0.1)))]
        if hip_class is not HipClass.NONE or chance > (0.08 if side == painful else 0.12):
            implant = None
        fracture = None
        if hip_class is not HipClass.NONE:
            fracture = draw_fracture(rng, hip_class, shape, undisplaced_share=population.undisplaced)
        # Legs are meant to be turned in by 15 degrees; many painful ones lie turned out.
        turn = float(rng.normal(11, 7)) if rng.random() < 0.7 else float(rng.uniform(-30, 8))
        hips[side] = Hip(
            hip_class=hip_class,
            fracture=fracture,
            implant=implant,
            turn_deg=turn,
            adduction_deg=float(rng.normal(-2, 4)),
            flexion_deg=float(np.clip(rng.normal(3, 5), -6, 18)),
        )
    return hips


def _draw_views(rng: np.random.Generator, painful: str) -> tuple[tuple[str, str], ...]:
    """AP of the pelvis or of a hip, and mostly a lateral, sometimes of both hips; whatever is broken."""
    other = SIDES[1 - SIDES.index(painful)]
    lateral = "cross-table" if rng.random() < 0.65 else "lauenstein"
    views = [("ap pelvis", "B") if rng.random() < 0.62 else ("ap hip", painful)]
    chance = rng.random()
    if chance < 0.9:
        views.append((lateral, painful))
    if chance < 0.14:
        views.append((lateral, other))
        if views[0][0] == "ap hip":
            views.insert(1, ("ap hip", other))
    return tuple(views)
