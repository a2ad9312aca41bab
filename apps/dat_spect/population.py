"""Who comes to which hospital: age, disease, binding, and the head that carries it.

`draw_person` gives the clinical truth without any image (cheap: thousands a second),
`draw_head` a head with that binding in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from apps.dat_spect.anatomy import Head, Lesion, Part, Striatum, scale_of
from apps.dat_spect.labels import Side
from operators.phantom.shapes import Capsule, Ellipsoid, rotation_about

NORMAL_BINDING_AT_60 = 7.5
DECLINE_PER_DECADE = 0.063
"""Of normal binding, after Matsuda and others 2018 (256 controls of 30 to 83 years)."""
NORMAL_SPREAD = 0.13
"""Standard deviation of normal binding, as a fraction."""
SEX_FACTOR = {"F": 1.025, "M": 0.975}
Range = tuple[float, float]


class Diagnosis(StrEnum):
    """What the patient turned out to have."""

    NORMAL = "normal"
    PD = "PD"
    DLB = "DLB"
    ET = "ET"
    AD = "AD"
    VAP = "VaP"

    @property
    def is_presynaptic_deficit(self) -> bool:
        """True for diseases that lose dopaminergic terminals: what a scan calls abnormal."""
        return self in {Diagnosis.PD, Diagnosis.DLB}


@dataclass(frozen=True, kw_only=True)
class Population:
    """A hospital's patients.

    Args:
        age_years: Mean and standard deviation.
        mix: Share of each diagnosis.
        mildness: First parameter of the beta distribution of Parkinson's severity; smaller is earlier.
        head_scale: Of the head against the standard.
        weight_kg: Mean and standard deviation.
        texture: Unevenness of the brain, standard deviation.
    """

    age_years: Range
    mix: dict[Diagnosis, float]
    mildness: float
    head_scale: Range
    weight_kg: Range
    texture: Range


HOSPITAL_A = Population(
    age_years=(69.0, 10.5),
    mix={
        Diagnosis.NORMAL: 0.15,
        Diagnosis.PD: 0.34,
        Diagnosis.DLB: 0.18,
        Diagnosis.ET: 0.12,
        Diagnosis.AD: 0.12,
        Diagnosis.VAP: 0.09,
    },
    mildness=0.8,
    head_scale=(0.94, 1.06),
    weight_kg=(58.0, 10.0),
    texture=(0.02, 0.05),
)
HOSPITAL_B = Population(
    age_years=(74.0, 8.5),
    mix={
        Diagnosis.NORMAL: 0.10,
        Diagnosis.PD: 0.28,
        Diagnosis.DLB: 0.26,
        Diagnosis.ET: 0.08,
        Diagnosis.AD: 0.16,
        Diagnosis.VAP: 0.12,
    },
    mildness=0.7,
    head_scale=(0.92, 1.08),
    weight_kg=(60.0, 12.0),
    texture=(0.03, 0.06),
)


def normal_binding(age_years: float, sex: str) -> float:
    """Mean striatal binding ratio of healthy people of an age and sex.

    >>> round(normal_binding(60, "F") / 2 + normal_binding(60, "M") / 2, 3)
    7.5
    """
    return float(NORMAL_BINDING_AT_60 * (1 - DECLINE_PER_DECADE) ** ((age_years - 60) / 10) * SEX_FACTOR[sex])


@dataclass(frozen=True, kw_only=True)
class Person:
    """Clinical truth of one patient, with the striata that follow from it.

    Args:
        age_years: At the study.
        sex: ``F`` or ``M``.
        height_m, weight_kg: Body size.
        diagnosis: The disease.
        severity: 0..1 within what is drawn for the disease; 0 where there is none.
        striata: Right and left.
    """

    age_years: int
    sex: str
    height_m: float
    weight_kg: float
    diagnosis: Diagnosis
    severity: float
    striata: tuple[Striatum, Striatum]

    @cached_property
    def truth(self) -> dict[str, float]:
        """``sbr_right``, ``sbr_caudate_left`` ... and volumes, ``asymmetry_index_percent``, ``z``."""
        out: dict[str, float] = {}
        for striatum in self.striata:
            for key, value in striatum.measured().items():
                name = f"{key[:-3]}_{striatum.side}_ml" if key.endswith("_ml") else f"{key}_{striatum.side}"
                out[name] = value
        right, left = out["sbr_right"], out["sbr_left"]
        out["sbr_mean"] = (right + left) / 2
        out["asymmetry_index_percent"] = 200 * abs(right - left) / (right + left)
        expected = normal_binding(self.age_years, self.sex)
        out["normal_sbr"] = expected
        out["z"] = (out["sbr_mean"] / expected - 1) / NORMAL_SPREAD
        return out


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The three answers that stand for a reader's: true binding through thresholds, with noise.

    No image is looked at, so they know more than a reader could.

    Args:
        is_low: F1, low uptake.
        is_asymmetric: F2.
        is_dot: F3, dot-like and not comma-like.
    """

    is_low: bool
    is_asymmetric: bool
    is_dot: bool


LOW_BELOW_SBR, LOW_NOISE = 4.9, 0.07
ASYMMETRIC_ABOVE_PERCENT, ASYMMETRY_NOISE_PERCENT = 10.0, 3.0
DOT_BELOW_RATIO, DOT_NOISE = 0.62, 0.07
"""The readers' thresholds and their noise (fractions of what is seen, or percent)."""


def read_blinded(person: Person, rng: np.random.Generator) -> Reading:
    """Reads the true values as a reader sees them: through thresholds with some noise.

    F1 is low when the mean striatal binding ratio, seen with 7 % noise, is below 4.9. F2 is
    asymmetric when the asymmetry index of the striata or half that of the putamina, whichever
    is greater, seen with 3 % points of noise, is above 10 %. F3 is dot-like when the posterior
    putamen of the worse side, against the caudate of the same side and seen with 7 % noise, has
    less than 0.62 of its binding. A reader knows neither age nor diagnosis.
    """
    truth = person.truth
    seen = truth["sbr_mean"] * np.exp(rng.normal(0, LOW_NOISE))
    right, left = truth["sbr_putamen_right"], truth["sbr_putamen_left"]
    asymmetry = max(truth["asymmetry_index_percent"], 100 * abs(right - left) / (right + left))
    ratio = min(truth[f"sbr_putamen_posterior_{side}"] / truth[f"sbr_caudate_{side}"] for side in Side)
    return Reading(
        is_low=bool(seen < LOW_BELOW_SBR),
        is_asymmetric=bool(asymmetry + rng.normal(0, ASYMMETRY_NOISE_PERCENT) > ASYMMETRIC_ABOVE_PERCENT),
        is_dot=bool(ratio * np.exp(rng.normal(0, DOT_NOISE)) < DOT_BELOW_RATIO),
    )


# ------------------------------------------------------------------ drawing


def draw_person(rng: np.random.Generator, population: Population) -> Person:
    """One patient; the same generator state gives the same patient."""
    age = int(np.clip(rng.normal(*population.age_years), 32, 92))
    sex = "F" if rng.random() < 0.5 else "M"
    names = list(population.mix)
    diagnosis = names[int(rng.choice(len(names), p=[population.mix[name] for name in names]))]
    if diagnosis is Diagnosis.DLB:
        age = max(age, 58)
    level = normal_binding(age, sex) * (1 + NORMAL_SPREAD * float(np.clip(rng.normal(), -2.5, 2.5)))
    severity, losses = _draw_losses(rng, diagnosis, population)
    anchor, caudate, putamen = _draw_comma(rng)
    scale = scale_of(caudate, putamen)
    # What healthy striata differ by: caudate against putamen, and a little from side to side.
    profile = {
        Part.CAUDATE: 1 + rng.normal(0, 0.04),
        Part.ANTERIOR: 1.02 + rng.normal(0, 0.03),
        Part.POSTERIOR: 0.96 + rng.normal(0, 0.06),
    }
    striata = []
    for side in Side:
        uneven = 1 + rng.normal(0, 0.015)
        binding = {
            part: float(max(level * profile[part] * uneven * (1 - losses[side][part]), 0.1)) for part in Part
        }
        lesions = _draw_lesions(rng, caudate[0], putamen) if diagnosis is Diagnosis.VAP else ()
        striata.append(
            Striatum(
                side=side,
                anchor_mm=anchor,
                caudate=caudate,
                putamen=putamen,
                scale=scale,
                binding=binding,
                lesions=lesions,
            )
        )
    height = rng.normal(1.56 if sex == "F" else 1.67, 0.06)
    return Person(
        age_years=age,
        sex=sex,
        height_m=round(float(height), 2),
        weight_kg=round(float(np.clip(rng.normal(*population.weight_kg), 36, 110)), 1),
        diagnosis=diagnosis,
        severity=severity,
        striata=(striata[0], striata[1]),
    )


def _draw_losses(
    rng: np.random.Generator, diagnosis: Diagnosis, population: Population
) -> tuple[float, dict[Side, dict[Part, float]]]:
    """Severity 0..1 and the fraction of binding lost in each part."""
    none = dict.fromkeys(Part, 0.0)
    if diagnosis is Diagnosis.PD:
        severity = float(rng.beta(population.mildness, 1.8))
        worse = {
            part: float(np.clip(low + (high - low) * (severity + rng.normal(0, 0.12)), low, high))
            for part, (low, high) in PD_LOSSES.items()
        }
        # The second side follows the first; late in the disease it has caught up.
        spared = float(rng.uniform(0.2, 0.75)) * (1 - 0.5 * severity)
        better = {part: loss * (1 - spared) for part, loss in worse.items()}
        first, second = list(Side) if rng.random() < 0.5 else list(Side)[::-1]
        return severity, {first: worse, second: better}
    if diagnosis is Diagnosis.DLB:
        severity = float(rng.beta(1.0, 1.9))
        loss = DLB_LOSS[0] + (DLB_LOSS[1] - DLB_LOSS[0]) * severity
        gradient = float(rng.uniform(0.0, 0.10))
        bilateral = {Part.CAUDATE: loss - gradient, Part.ANTERIOR: loss, Part.POSTERIOR: loss + gradient}
        return severity, {
            side: {part: value + float(rng.normal(0, 0.015)) for part, value in bilateral.items()}
            for side in Side
        }
    return 0.0, {side: dict(none) for side in Side}


PD_LOSSES = {Part.CAUDATE: (0.05, 0.40), Part.ANTERIOR: (0.30, 0.60), Part.POSTERIOR: (0.50, 0.85)}
"""Of the worse side, from early to late Parkinson's disease."""
DLB_LOSS = (0.40, 0.70)


def _draw_lesions(rng: np.random.Generator, caudate: Ellipsoid, putamen: Ellipsoid) -> tuple[Lesion, ...]:
    lesions = []
    for _ in range(int(rng.integers(0, 4))):
        shape = putamen if rng.random() < 0.7 else caudate
        place = rng.uniform(-0.7, 0.7, 3) * np.asarray(shape.semi_axes_mm)
        centre = np.asarray(shape.centre_mm) + place @ np.asarray(shape.axes)
        lesions.append(
            Lesion(
                centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
                radius_mm=float(rng.uniform(3.5, 7.5)),
                remaining=float(rng.uniform(0.05, 0.5)),
            )
        )
    return tuple(lesions)


def _draw_comma(
    rng: np.random.Generator,
) -> tuple[tuple[float, float, float], tuple[Ellipsoid, ...], Ellipsoid]:
    """Anchor in the head, caudate and putamen in own coordinates, as the left one."""
    anchor = (22.0 + rng.normal(0, 0.8), -21.0 + rng.normal(0, 1.5), -3.0 + rng.normal(0, 1.5))
    stretch = lambda: float(1 + rng.normal(0, 0.05))  # noqa: E731 - a name for a frequent draw
    turn = rotation_about((0, 0, 1), -np.deg2rad(20 + rng.normal(0, 3)))
    tilt = rotation_about((1, 0, 0), np.deg2rad(8 + rng.normal(0, 3)))
    # Rows of the axes: from front to back, from medial to lateral, upwards.
    axes = _axes(turn @ tilt)
    putamen = Ellipsoid((6.0, 4.0, -1.0), (19.5 * stretch(), 6.6 * stretch(), 11.0 * stretch()), axes)
    head = Ellipsoid(
        (-9.0, -10.5, 5.0),
        (10.5 * stretch(), 6.4 * stretch(), 11.0 * stretch()),
        _axes(rotation_about((0, 0, 1), np.deg2rad(-6 + rng.normal(0, 3)))),
    )
    body = Ellipsoid(
        (-6.5, 6.0, 17.0),
        (15.0 * stretch(), 4.4 * stretch(), 4.8 * stretch()),
        _axes(rotation_about((0, 0, 1), np.deg2rad(-10)) @ rotation_about((1, 0, 0), np.deg2rad(10))),
    )
    return (float(anchor[0]), float(anchor[1]), float(anchor[2])), (head, body), putamen


def _axes(rotation: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Front to back, medial to lateral and upwards, turned; rows of unit vectors."""
    rows = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=float) @ rotation.T
    return tuple((float(r[0]), float(r[1]), float(r[2])) for r in rows)


def draw_head(rng: np.random.Generator, person: Person, population: Population) -> Head:
    """A head of the population around the striata of a person."""
    size = float(rng.uniform(*population.head_scale)) * (0.985 if person.sex == "F" else 1.015)
    wide, long, tall = (size * float(1 + rng.normal(0, 0.02)) for _ in range(3))
    return Head(
        semi_axes_mm=(75 * wide, 95 * long, 70 * tall),
        neck=Capsule((0, 28, -70 * tall), (0, 42, -240), float(rng.uniform(50, 58))),
        face=Ellipsoid((0, -38 * long, -62 * tall), (54 * wide, 48 * long, 55 * tall)),
        striata=person.striata,
        structures=_draw_structures(rng, person, (wide, long, tall)),
        texture=float(rng.uniform(*population.texture)),
        activity={
            "scalp": float(rng.normal(0.4, 0.04)),
            "skull": float(rng.uniform(0.1, 0.25)),
            "neck": float(rng.normal(0.42, 0.05)),
        },
    )


def _draw_structures(
    rng: np.random.Generator, person: Person, size: tuple[float, float, float]
) -> tuple[tuple[Ellipsoid, float], ...]:
    wide, long, tall = size
    white, occipital, thalamus = rng.uniform(0.93, 1.0), rng.uniform(1.0, 1.1), rng.uniform(1.05, 1.2)
    # Ventricles widen with age, and more in dementia.
    atrophy = 1 + 0.012 * max(person.age_years - 50, 0) + rng.normal(0, 0.12)
    if person.diagnosis in {Diagnosis.AD, Diagnosis.DLB, Diagnosis.VAP}:
        atrophy += float(rng.uniform(0.0, 0.35))
    atrophy = float(np.clip(atrophy, 0.8, 1.9))
    shapes: list[tuple[Ellipsoid, float]] = [
        (Ellipsoid((0, 62 * long, -4 * tall), (44 * wide, 20 * long, 30 * tall)), float(occipital))
    ]
    for sign in (-1, 1):
        shapes += [
            (Ellipsoid((sign * 27 * wide, 2, 10 * tall), (20 * wide, 50 * long, 24 * tall)), float(white)),
            (Ellipsoid((sign * 10, 6, 0), (8, 13, 9)), float(thalamus)),
            (
                Ellipsoid((sign * 5.5, -6, 14 * tall), (2.4 * atrophy, 32 * long, 5.0 * atrophy)),
                VENTRICLE_ACTIVITY,
            ),
        ]
    shapes.append((Ellipsoid((0, 14, -26 * tall), (11, 11, 18)), float(thalamus)))
    if person.diagnosis is Diagnosis.VAP:
        for _ in range(int(rng.integers(1, 5))):
            centre = (
                float(rng.choice([-1, 1]) * rng.uniform(24, 38)),
                float(rng.uniform(-45, 45)),
                float(rng.uniform(14, 28)),
            )
            radius = float(rng.uniform(4, 9))
            shapes.append((Ellipsoid(centre, (radius, radius, radius)), float(rng.uniform(0.3, 0.7))))
    return tuple(shapes)


VENTRICLE_ACTIVITY = 0.5
"""The fluid is hardly wider than the blur, and holds little of the tracer."""
