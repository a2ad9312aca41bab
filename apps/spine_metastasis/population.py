"""Who comes to the scanner: age, posture, wear, fractures and metastases.

Typical fractures follow the radiologist's criteria; the atypical ones take features of the other kind.
What T1 and STIR show of the same lesion is drawn partly independently.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from apps.spine_metastasis.anatomy import SACRAL, Changes, Posture, Wear, presacral_levels
from apps.spine_metastasis.lesions import Collapse, Deposit, Fracture, Haemangioma, Kind, Look

Rng = np.random.Generator


class Group(StrEnum):
    """Why the patient was scanned."""

    NONE = "none"
    OSTEOPOROTIC = "osteoporotic"
    MALIGNANT = "malignant"


class FieldOfView(StrEnum):
    """Which part of the spine is scanned; the first and third show the sacrum."""

    LUMBAR = "lumbar"
    THORACOLUMBAR = "thoracolumbar"
    LONG = "long"
    THORACIC = "thoracic"


LEVELS_SEEN = {
    FieldOfView.LUMBAR: ("T11", "S1"),
    FieldOfView.THORACOLUMBAR: ("T8", "L4"),
    FieldOfView.LONG: ("T8", "S1"),
    FieldOfView.THORACIC: ("T4", "T12"),
}
"""First and last vertebra that may be fractured, because it is surely in the picture."""
_FRACTURED = {
    "T5": 0.3, "T6": 0.5, "T7": 1.0, "T8": 1.0, "T9": 0.7, "T10": 0.7, "T11": 1.3, "T12": 3.0, "L1": 3.4,
    "L2": 1.7, "L3": 1.3, "L4": 1.0, "L5": 0.5,
}  # fmt: skip
"""How often each level breaks, relatively."""


@dataclass(frozen=True, kw_only=True)
class Population:
    """What the patients of a hospital are like.

    Args:
        groups: Share of each of `Group`, in its order.
        fields_of_view: Share of each of `FieldOfView`, in its order.
        counts: Share of patients with 1, 2 and 3 fresh fractures.
        atypical: Share of fractures with features of the other kind.
        degeneration: Mean of the discs'.
        age_years: Mean and standard deviation of the osteoporotic and of the others.
    """

    groups: tuple[float, float, float] = (0.08, 0.46, 0.46)
    fields_of_view: tuple[float, float, float, float] = (0.48, 0.17, 0.2, 0.15)
    counts: tuple[float, float, float] = (0.76, 0.17, 0.07)
    atypical: float = 0.15
    degeneration: float = 0.5
    age_years: tuple[tuple[float, float], tuple[float, float]] = ((78.0, 8.0), (66.0, 11.0))


HOSPITAL_A = Population()
HOSPITAL_B = Population(
    groups=(0.08, 0.52, 0.40),
    fields_of_view=(0.4, 0.2, 0.24, 0.16),
    counts=(0.72, 0.2, 0.08),
    atypical=0.18,
    degeneration=0.6,
    age_years=((80.0, 7.0), (68.0, 10.0)),
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A patient before any picture is taken.

    Args:
        group: Why they came.
        age_years, sex, weight_kg: Of the patient.
        posture: Angles and sizes.
        changes: Wear and lesions by level.
        field_of_view: What will be scanned.
        fat_mm: Thickness of the fat below the skin of the back.
        marrow_fat: Of the yellow marrow, 0..1 of the marrow's signal.
        marrow_patchiness: Heterogeneity of the marrow.
        muscle_fat: Fat in the muscles of the back, 0..1.
    """

    group: Group
    age_years: int
    sex: str
    weight_kg: float
    posture: Posture
    changes: Changes
    field_of_view: FieldOfView
    fat_mm: float
    marrow_fat: float
    marrow_patchiness: float
    muscle_fat: float


def draw_person(rng: Rng, population: Population) -> Person:
    """A patient with everything that is wrong with them."""
    group = Group(rng.choice(list(Group), p=population.groups))
    mean, spread = population.age_years[0 if group is Group.OSTEOPOROTIC else 1]
    age = int(np.clip(rng.normal(mean, spread), 38, 96))
    sex = "F" if rng.random() < (0.78 if group is Group.OSTEOPOROTIC else 0.47) else "M"
    view = FieldOfView(rng.choice(list(FieldOfView), p=population.fields_of_view))
    posture = _posture(rng, age, sex)
    red = 0.17 if rng.random() < 0.08 else 0.0  # anaemia turns yellow marrow back into red
    return Person(
        group=group,
        age_years=age,
        sex=sex,
        weight_kg=float(np.clip(rng.normal(53 if sex == "F" else 64, 9), 35, 100)),
        posture=posture,
        changes=_changes(rng, population, group, age, view, posture),
        field_of_view=view,
        fat_mm=float(np.clip(rng.gamma(4.0, 4.0), 4, 45)),
        marrow_fat=float(np.clip(0.35 + 0.004 * (age - 40) + rng.normal(0, 0.1) - red, 0.16, 0.78)),
        marrow_patchiness=float(rng.gamma(2.0, 0.045)),
        muscle_fat=float(np.clip(0.06 + 0.004 * (age - 40) + rng.normal(0, 0.08), 0.03, 0.5)),
    )


def _posture(rng: Rng, age: int, sex: str) -> Posture:
    slope = float(np.clip(rng.normal(36, 8), 18, 55))
    return Posture(
        sacral_slope_deg=slope,
        lordosis_deg=float(np.clip(slope + rng.normal(13, 7), 20, 75)),
        kyphosis_deg=float(np.clip(rng.normal(36 + 0.12 * (age - 60), 8), 15, 60)),
        scoliosis_mm=float(abs(rng.normal(0, 3.5))),
        scoliosis_period_mm=float(rng.uniform(260, 480)),
        scoliosis_phase_rad=float(rng.uniform(0, 2 * np.pi)),
        size=float(np.clip(rng.normal(0.97 if sex == "F" else 1.07, 0.05), 0.84, 1.2)),
        disc_size=float(np.clip(rng.normal(1, 0.1), 0.75, 1.25)),
        lumbar_count=6 if rng.random() < 0.03 else 5,
    )


def _changes(
    rng: Rng, population: Population, group: Group, age: int, view: FieldOfView, posture: Posture
) -> Changes:
    levels = presacral_levels(posture.lumbar_count)
    first, last = LEVELS_SEEN[view]
    seen = [*levels, "S1"]
    seen = seen[seen.index(first) : seen.index(last) + 1]
    breakable = [level for level in seen if level in _FRACTURED]
    fractures: dict[str, Fracture] = {}
    if group is not Group.NONE:
        count = 1 + int(rng.choice(3, p=population.counts))
        kind = Kind(str(group))
        for level in _pick(rng, breakable, count):
            fractures[level] = draw_fracture(rng, kind, is_atypical=bool(rng.random() < population.atypical))
    old_share = {Group.NONE: 0.25, Group.OSTEOPOROTIC: 0.38, Group.MALIGNANT: 0.2}[group]
    if rng.random() < old_share:
        free = [level for level in breakable if level not in fractures]
        for level in _pick(rng, free, 1 + int(rng.random() < 0.3)):
            fractures[level] = draw_old(rng)
    deposits: dict[str, Deposit] = {}
    fresh_atypical = any(f.is_atypical for f in fractures.values() if f.kind is Kind.MALIGNANT)
    if group is Group.MALIGNANT and rng.random() < (0.3 if fresh_atypical else 0.53):
        free = [level for level in seen if level not in fractures]
        deposits = {level: _deposit(rng) for level in _pick(rng, free, 1 + int(rng.integers(4)))}
    haemangiomas = {
        level: _haemangioma(rng) for level in levels if level not in fractures and rng.random() < 0.018
    }
    worn = float(np.clip(rng.normal(population.degeneration + 0.006 * (age - 68), 0.16), 0.05, 0.95))
    wear = {level: _wear(rng, level, worn, age) for level in (*levels, *SACRAL)}
    return Changes(wear=wear, fractures=fractures, deposits=deposits, haemangiomas=haemangiomas)


def _pick(rng: Rng, levels: list[str], count: int) -> list[str]:
    shares = np.array([_FRACTURED.get(level, 0.8) for level in levels])
    count = min(count, len(levels))
    return [str(level) for level in rng.choice(levels, size=count, replace=False, p=shares / shares.sum())]


def _wear(rng: Rng, level: str, worn: float, age: int) -> Wear:
    low = level in ("L3", "L4", "L5", "L6")
    disc = float(np.clip(rng.normal(worn + (0.08 if low else -0.05), 0.18), 0, 1))
    node = lambda: (float(rng.uniform(1.5, 4)), float(rng.uniform(-0.3, 0.4)), float(rng.uniform(-0.4, 0.4)))  # noqa: E731 - a name for a draw
    return Wear(
        concavity_mm=float(np.clip(rng.normal(1.4 + 0.02 * (age - 60), 0.5), 0.3, 3.2)),
        osteophyte_mm=float(max(0.0, rng.normal(3 * disc - 0.6, 0.8))),
        schmorl=node() if rng.random() < 0.05 else None,
        schmorl_below=node() if rng.random() < 0.05 else None,
        modic=int(rng.choice((1, 2))) if disc > 0.6 and rng.random() < 0.18 else 0,
        degeneration=disc,
        bulge_mm=float(max(0.0, rng.normal(3.2 * disc, 1.0))),
    )


def _two_looks(
    rng: Rng,
    extents: tuple[tuple[float, float], tuple[float, float]],
    signals: tuple[tuple[float, float], tuple[float, float]],
) -> tuple[Look, Look]:
    """Looks in T1 and STIR whose extents have a third of their variance in common.

    Args:
        rng: Source of chance.
        extents: Mean and standard deviation in T1 and in STIR.
        signals: The same of the lesion's signal.
    """
    shared = rng.normal(0, 0.58)
    looks = []
    for extent, signal, (low, high) in zip(extents, signals, ((0.16, 0.46), (0.3, 1.0)), strict=True):
        looks.append(
            Look(
                extent=float(max(0.12, extent[0] + extent[1] * (shared + rng.normal(0, 0.81)))),
                signal=float(np.clip(rng.normal(*signal), low, high)),
                variation=float(rng.uniform(0.04, 0.16)),
            )
        )
    return looks[0], looks[1]


def _collapse(rng: Rng, shares: tuple[float, float, float]) -> Collapse:
    return Collapse(rng.choice(list(Collapse), p=shares))


def draw_fracture(rng: Rng, kind: Kind, *, is_atypical: bool) -> Fracture:
    """A fresh fracture."""
    draw = _draw_osteoporotic if kind is Kind.OSTEOPOROTIC else _draw_malignant
    return draw(rng, is_atypical=is_atypical)


def _draw_osteoporotic(rng: Rng, *, is_atypical: bool) -> Fracture:
    has = lambda typical, atypical: bool(rng.random() < (atypical if is_atypical else typical))  # noqa: E731 - a name for a draw
    extents = ((0.95, 0.18), (1.0, 0.2)) if is_atypical else ((0.55, 0.2), (0.66, 0.23))
    t1, stir = _two_looks(rng, extents, ((0.325, 0.05), (0.61, 0.14)))
    return Fracture(
        kind=Kind.OSTEOPOROTIC,
        is_atypical=is_atypical,
        collapse=_collapse(rng, (0.5, 0.35, 0.15)),
        depth=float(rng.uniform(0.2, 0.5)),
        superior_share=float(rng.choice((0.88, 0.5, 0.12), p=(0.72, 0.14, 0.14))),
        t1=t1,
        stir=stir,
        softness=float(rng.uniform(0.12, 0.4)),
        spared_behind=has(0.55, 0.15),
        fluid_mm=float(rng.uniform(1.5, 4.0)) if has(0.28, 0.12) else 0.0,
        line=has(0.5, 0.3),
        retropulsion_mm=float(rng.uniform(2, 5.5)) if has(0.2, 0.2) else 0.0,
        convex_mm=float(rng.uniform(1, 3)) if has(0.05, 0.3) else 0.0,
        pedicle=int(rng.choice((-1, 1, 2))) if has(0.12, 0.45) else 0,
        pedicle_signal=float(rng.uniform(0.3, 0.8)),
        paravertebral_mm=float(rng.uniform(2, 5)) if has(0.2, 0.3) else 0.0,
    )


def _draw_malignant(rng: Rng, *, is_atypical: bool) -> Fracture:
    has = lambda typical, atypical: bool(rng.random() < (atypical if is_atypical else typical))  # noqa: E731 - a name for a draw
    extents = ((0.8, 0.18), (0.8, 0.2)) if is_atypical else ((1.2, 0.25), (1.15, 0.27))
    t1, stir = _two_looks(rng, extents, ((0.29, 0.05), (0.64, 0.15)))
    return Fracture(
        kind=Kind.MALIGNANT,
        is_atypical=is_atypical,
        collapse=_collapse(rng, (0.4, 0.25, 0.35)),
        depth=float(rng.uniform(0.12, 0.5)),
        superior_share=float(rng.choice((0.88, 0.5, 0.12), p=(0.5, 0.32, 0.18))),
        t1=t1,
        stir=stir,
        softness=float(rng.uniform(0.1, 0.3)),
        fluid_mm=float(rng.uniform(1.5, 3.0)) if has(0.03, 0.1) else 0.0,
        line=has(0.08, 0.3),
        retropulsion_mm=float(rng.uniform(2, 4.5)) if has(0.06, 0.15) else 0.0,
        convex_mm=float(rng.uniform(1.5, 5)) if has(0.64, 0.2) else 0.0,
        pedicle=int(rng.choice((-1, 1, 2))) if has(0.75, 0.35) else 0,
        pedicle_signal=float(rng.uniform(0.55, 1.0)),
        epidural_mm=float(rng.uniform(3, 8)) if has(0.45, 0.1) else 0.0,
        epidural_side=float(rng.uniform(-8, 8)),
        paravertebral_mm=float(rng.uniform(3, 10)) if has(0.4, 0.15) else 0.0,
        origin=(float(rng.uniform(0.0, 0.9)), float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6))),
    )


def draw_old(rng: Rng) -> Fracture:
    """A healed osteoporotic fracture: the form only, with the signal of marrow."""
    nothing = Look(extent=0.0, signal=0.5, variation=0.0)
    return Fracture(
        kind=Kind.OLD,
        is_atypical=False,
        collapse=_collapse(rng, (0.55, 0.3, 0.15)),
        depth=float(rng.uniform(0.2, 0.55)),
        superior_share=float(rng.choice((0.85, 0.5, 0.15), p=(0.6, 0.25, 0.15))),
        t1=nothing,
        stir=nothing,
        softness=0.3,
        retropulsion_mm=float(rng.uniform(1.5, 4)) if rng.random() < 0.15 else 0.0,
    )


def _deposit(rng: Rng) -> Deposit:
    t1, stir = _two_looks(rng, ((1.0, 0.1), (1.0, 0.1)), ((0.28, 0.05), (0.66, 0.15)))
    return Deposit(
        centre=(float(rng.uniform(-0.7, 0.9)), float(rng.uniform(-0.7, 0.7)), float(rng.uniform(-0.6, 0.6))),
        radius=float(rng.uniform(0.3, 1.0)),
        t1=t1,
        stir=stir,
    )


def _haemangioma(rng: Rng) -> Haemangioma:
    return Haemangioma(
        centre=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5))),
        radius=float(rng.uniform(0.2, 0.6)),
        stir_signal=float(rng.uniform(0.15, 0.5)),
    )
