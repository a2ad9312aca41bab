"""Cases as rows of a table: what training learns from and evaluation measures on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apps.dat_spect.cases import TruthCase
from apps.dat_spect.features import Picture
from apps.dat_spect.labels import Feature, Side
from apps.dat_spect.ratios import asymmetry_percent
from apps.dat_spect.scan import Scan
from apps.dat_spect.subject import age_of, sex_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One patient.

    Args:
        patient_id: What splits go by.
        age_years: Of the header, else of truth.json; NaN when unknown.
        sex: ``F``, ``M`` or "".
        slab: The slab picture.
        bolt: Side to specific binding ratio, uncalibrated.
        structures: Caudates and putamina to binding ratio as imaged.
        is_abnormal: True for a presynaptic deficit; None when not stated.
        is_normal_subject: True for a healthy subject: what ranges of normal are made of.
        answers: Feature to the reader's answer; absent where not stated.
        true_ratios: Side to the true binding ratio; absent where not known.
    """

    patient_id: str
    age_years: float
    sex: str
    slab: Picture
    bolt: dict[Side, float]
    structures: dict[str, float]
    is_abnormal: bool | None
    is_normal_subject: bool
    answers: dict[Feature, bool] = field(default_factory=dict)
    true_ratios: dict[Side, float] = field(default_factory=dict)

    @property
    def mean_bolt(self) -> float:
        """Of both sides."""
        return float(np.mean(list(self.bolt.values())))

    @property
    def asymmetry(self) -> float:
        """Asymmetry index of the striata in percent; 0 without uptake."""
        return asymmetry_percent(self.bolt[Side.RIGHT], self.bolt[Side.LEFT]) or 0.0


def row_of(case: TruthCase, scan: Scan) -> Row:
    """A case with what was measured on it."""
    header, truth = case.volume.instances[0], case.truth
    age = age_of(header).years
    abnormal = truth.get("is_abnormal")
    return Row(
        patient_id=case.patient_id,
        age_years=float(truth.get("age_years", "nan")) if age is None else age,
        sex=sex_of(header) or str(truth.get("sex", "")),
        slab=scan.uptake.slab_yx,
        bolt=dict(scan.uptake.bolt),
        structures=dict(scan.uptake.structures),
        is_abnormal=None if abnormal is None else bool(abnormal),
        is_normal_subject=str(truth.get("diagnosis", "")).lower() == "normal",
        answers={f: bool(truth[f.value]) for f in Feature if truth.get(f.value) is not None},
        true_ratios={
            side: float(truth[f"sbr_{side}"]) for side in Side if truth.get(f"sbr_{side}") is not None
        },
    )


def ages_of(rows: Sequence[Row]) -> list[float]:
    """Ages of rows."""
    return [row.age_years for row in rows]
