"""What the graph of dat_spect carries from measuring to encoding, and how it is put together.

Every number is a `Quantity`; one that could not be had says why. Age comes from the header and
is never guessed: without it there is neither a z nor a probability of disease.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from apps.dat_spect.labels import LABELS, PARTS, Feature, Side
from apps.dat_spect.model import DatModel
from apps.dat_spect.normal import NormalRange
from apps.dat_spect.ratios import asymmetry_percent, putamen_caudate_ratio
from apps.dat_spect.scan import Scan
from apps.dat_spect.subject import Age, age_of, sex_of
from operators.measure.quantity import Quantity

RATIO, PERCENT, Z = "{ratio}", "%", "1"
NORMAL_BELOW, ABNORMAL_FROM = 0.35, 0.65
"""Probabilities of a deficit between which the answer is equivocal."""
LOW_Z = -2.0
"""A mean striatal ratio as low as this is low whatever a classifier says."""
NO_RANGE = "the model has no range of normal"


class Answer(StrEnum):
    """The decision on a scan."""

    NORMAL = "normal"
    EQUIVOCAL = "equivocal"
    ABNORMAL = "abnormal"


SAID = {
    Answer.NORMAL: "no presynaptic deficit found",
    Answer.EQUIVOCAL: "equivocal",
    Answer.ABNORMAL: "presynaptic deficit suspected",
}
SUREST = 0.99
"""The classifiers were calibrated on too few patients to say more than this."""


def said_probability(value: float | None) -> str:
    """A probability as a person reads it, never more certain than `SUREST`.

    >>> [said_probability(p) for p in (0.9999, 0.5, 0.001, None)]
    ['> 0.99', '0.50', '< 0.01', '–']
    """
    if value is None:
        return "–"
    if value > SUREST:
        return f"> {SUREST}"
    return f"< {1 - SUREST:.2f}" if value < 1 - SUREST else f"{value:.2f}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Everything that pictures, report and tables are made of.

    Args:
        scan: The scan with masks, ratios, slab.
        age_years: Of the patient, or None.
        sex: ``F``, ``M`` or "".
        quantities: In the order of the report; names are unique.
        features: Probability of each feature; empty where nothing may be concluded from the scan.
        probability: Of a presynaptic deficit (model 3), or None without an age or where nothing may be
            concluded.
        normal: Range of normal of the striatal ratio, or None.
        outlines: Structures and Bolt's volumes in the slab picture, ``(48, 64)`` bool.
        warnings: Every sentence that a reader must see.
    """

    scan: Scan
    age_years: float | None
    sex: str
    quantities: tuple[Quantity, ...]
    features: dict[Feature, float]
    probability: float | None
    normal: NormalRange | None
    outlines: dict[str, NDArray[np.bool_]]
    warnings: tuple[str, ...]

    def value(self, name: str) -> float | None:
        """The value of one quantity; None when it could not be had.

        Raises:
            KeyError: No quantity has this name.
        """
        return {quantity.name: quantity.value for quantity in self.quantities}[name]

    @property
    def answer(self) -> Answer | None:
        """What the probability amounts to; None without one."""
        return None if self.probability is None else answer_of(self.probability)


def answer_of(probability: float) -> Answer:
    """Normal, equivocal or abnormal.

    >>> [answer_of(p).value for p in (0.1, 0.5, 0.9)]
    ['normal', 'equivocal', 'abnormal']
    """
    if probability < NORMAL_BELOW:
        return Answer.NORMAL
    return Answer.EQUIVOCAL if probability < ABNORMAL_FROM else Answer.ABNORMAL


def findings_of(scan: Scan, model: DatModel, *, warnings: tuple[str, ...] = ()) -> Findings:
    """Numbers and probabilities of a scan.

    Args:
        scan: Measured.
        model: Of the bundle.
        warnings: Of the rules, put first.
    """
    header = scan.volume.instances[0]
    known_age, sex = age_of(header), sex_of(header)
    age = known_age.years
    striatal = {side: model.calibration(scan.uptake.bolt[side]) for side in Side}
    decided = _decide(scan, model, striatal, known_age)
    quantities = [
        *_striatal(striatal, model, known_age, sex),
        *_structures(scan, model, known_age, sex),
        *_probabilities(decided),
        *_circumstances(scan, known_age),
    ]
    said = [*warnings, *scan.volume.warnings, *scan.warnings, *_own_warnings(model, known_age, sex)]
    said += _contradictions(decided, quantities)
    return Findings(
        scan=scan,
        age_years=age,
        sex=sex,
        quantities=tuple(quantities),
        features=decided.features,
        probability=decided.deficit,
        normal=model.normal.get("striatum"),
        outlines=model.regions.outlines,
        warnings=tuple(dict.fromkeys(said)),
    )


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """What the classifiers say of a scan; nothing where nothing may be concluded from it."""

    features: dict[Feature, float]
    deficit: float | None
    direct: float | None
    by_ratios: float | None
    why_no_deficit: str
    why_nothing: str


def _decide(scan: Scan, model: DatModel, striatal: dict[Side, float], age: Age) -> _Decided:
    if scan.why_undecided:
        why = scan.why_undecided
        return _Decided(
            features={}, deficit=None, direct=None, by_ratios=None, why_no_deficit=why, why_nothing=why
        )
    features = model.classifiers.features(scan.uptake.slab_yx, model.regions)
    # What the model was trained on is the asymmetry of the ratios as measured.
    asymmetry = asymmetry_percent(scan.uptake.bolt[Side.RIGHT], scan.uptake.bolt[Side.LEFT]) or 0.0
    mean = sum(striatal.values()) / len(striatal)
    return _Decided(
        features=features,
        deficit=None if age.years is None else model.classifiers.abnormal(features, age.years),
        direct=model.classifiers.direct(scan.uptake.slab_yx, model.regions),
        by_ratios=model.classifiers.by_ratios(mean, asymmetry),
        why_no_deficit=age.why_missing,
        why_nothing="",
    )


def _contradictions(decided: _Decided, quantities: list[Quantity]) -> list[str]:
    """Where what was measured or another model does not go with the decision."""
    if decided.deficit is None:
        return []
    answer = answer_of(decided.deficit)
    out = []
    z = next(q.value for q in quantities if q.name == "z_striatum_mean")
    if answer is Answer.NORMAL and z is not None and z <= LOW_Z:
        out.append(f"the model sees no deficit, but the mean striatal ratio is low for the age (z {z:+.1f})")
    if answer is Answer.ABNORMAL and z is not None and z >= 0:
        out.append(
            f"the model sees a deficit, but the mean striatal ratio is not low for the age (z {z:+.1f})"
        )
    opposite = {Answer.NORMAL: Answer.ABNORMAL, Answer.ABNORMAL: Answer.NORMAL}.get(answer)
    for other, name in (
        (decided.direct, "the picture alone (F4)"),
        (decided.by_ratios, "ratio and asymmetry"),
    ):
        if other is not None and answer_of(other) is opposite:
            out.append(f"the models disagree: {name} would say the opposite (probability {other:.2f})")
    return out


def _own_warnings(model: DatModel, age: Age, sex: str) -> list[str]:
    out = [age.warning] if age.warning else []
    if age.years is None:
        out.append(f"{age.why_missing}: there is no z and no probability of a deficit")
    elif not sex:
        out.append("the patient's sex is not in the images: ranges of normal are those between the sexes")
    normal = model.normal.get("striatum")
    if normal is None:
        out.append(f"{NO_RANGE}: there is no z")
    elif age.years is not None and not normal.covers(age.years):
        out.append(
            f"the patient is {age.years:.0f} years old, but normal subjects were {normal.youngest_years:.0f} "
            f"to {normal.oldest_years:.0f}: z and the probability of a deficit are extrapolated"
        )
    if model.calibration.n == 0:
        out.append("binding ratios are not calibrated to a scanner")
    return out


def _number(
    name: str, meaning: str, value: float | None, unit: str, code: str, *, organ: str = "", why: str = ""
) -> Quantity:
    return Quantity(
        name=name,
        meaning=meaning,
        value=value,
        unit=unit,
        code=code,
        organ=organ,
        why_missing="" if value is not None else why or "there is no uptake to compare",
    )


def _z(model: DatModel, name: str, value: float, age: Age, sex: str) -> tuple[float | None, str]:
    normal = model.normal.get(name)
    if normal is None:
        return None, NO_RANGE
    if age.years is None:
        return None, age.why_missing
    return normal.z(value, age.years, sex), ""


def _striatal(striatal: dict[Side, float], model: DatModel, age: Age, sex: str) -> list[Quantity]:
    mean = sum(striatal.values()) / len(striatal)
    out = []
    for name, value in (*((str(side), ratio) for side, ratio in striatal.items()), ("mean", mean)):
        which = f"{name} striatum" if name != "mean" else "both striata"
        organ = f"striatum_{name}"
        out.append(
            _number(
                f"sbr_striatum_{name}", f"specific binding ratio, {which} (Bolt)", value, RATIO, "SBR",
                organ=organ,
            )
        )  # fmt: skip
        z, why = _z(model, "striatum", value, age, sex)
        out.append(
            _number(f"z_striatum_{name}", f"z for age and sex, {which}", z, Z, "SBR_Z", organ=organ, why=why)
        )
    out.append(
        _number(
            "asymmetry_index",
            "asymmetry index of the striata",
            asymmetry_percent(striatal[Side.RIGHT], striatal[Side.LEFT]),
            PERCENT,
            "AI",
        )
    )
    normal = model.normal.get("striatum")
    if normal is not None and age.years is not None:
        out.append(
            _number(
                "sbr_expected", "striatal ratio expected at this age and sex",
                normal.expected(age.years, sex), RATIO, "SBR_EXPECTED",
            )
        )  # fmt: skip
    return out


def _structures(scan: Scan, model: DatModel, age: Age, sex: str) -> list[Quantity]:
    uptake = scan.uptake
    out = []
    for name in (one for one in LABELS if one != "reference"):
        kind, side = name.rsplit("_", 1)
        value = uptake.structures[name]
        z, why = _z(model, kind, value, age, sex)
        out.append(
            _number(
                f"sbr_{name}", f"binding ratio as imaged, {side} {kind}", value, RATIO, "SBR_ROI", organ=name
            )
        )
        out.append(
            _number(f"z_{name}", f"z for age and sex, {side} {kind}", z, Z, "SBR_ROI_Z", organ=name, why=why)
        )
        if kind == "putamen":
            out += [
                _number(
                    f"sbr_{part}",
                    f"binding ratio as imaged, {side} {part.split('_')[1]} putamen",
                    uptake.parts[part],
                    RATIO,
                    f"SBR_{part.split('_')[1][:4].upper()}",
                    organ=name,
                )
                for part in PARTS
                if part.startswith("putamen") and part.endswith(side)
            ]
    for side in Side:
        value = putamen_caudate_ratio(
            uptake.structures[f"putamen_{side}"], uptake.structures[f"caudate_{side}"]
        )
        out.append(
            _number(
                f"putamen_caudate_{side}", f"putamen to caudate ratio, {side}", value, RATIO, "PC_RATIO",
                organ=f"striatum_{side}",
            )
        )  # fmt: skip
    for kind in ("caudate", "putamen"):
        value = asymmetry_percent(uptake.structures[f"{kind}_right"], uptake.structures[f"{kind}_left"])
        out.append(
            _number(f"asymmetry_{kind}", f"asymmetry index, {kind}", value, PERCENT, f"AI_{kind.upper()}")
        )
    for name, millilitres in uptake.volumes_ml.items():
        meaning = f"volume of the {name.replace('_', ' ')} region"
        out.append(_number(f"volume_{name}", meaning, millilitres, "mL", "VOLUME", organ=name))
    return out


FEATURE_MEANINGS = {
    Feature.LOW_UPTAKE: ("F1: low uptake", "DAT_F1"),
    Feature.ASYMMETRY: ("F2: asymmetric uptake", "DAT_F2"),
    Feature.DOT_SHAPE: ("F3: dot shape", "DAT_F3"),
}


def _probabilities(decided: _Decided) -> list[Quantity]:
    why = decided.why_nothing
    return [
        *(
            _number(
                f"p_{feature}", f"probability of {text}", decided.features.get(feature), RATIO, code, why=why
            )
            for feature, (text, code) in FEATURE_MEANINGS.items()
        ),
        _number(
            "p_deficit", "probability of a presynaptic deficit (F1, F2, F3, age)", decided.deficit, RATIO,
            "DAT_MODEL3", why=decided.why_no_deficit,
        ),
        _number(
            "p_deficit_direct", "probability of a presynaptic deficit, picture alone (F4)", decided.direct,
            RATIO, "DAT_F4", why=why,
        ),
        _number(
            "p_deficit_ratios", "probability of a presynaptic deficit, ratio and asymmetry alone",
            decided.by_ratios, RATIO, "DAT_MODEL1", why=why,
        ),
    ]  # fmt: skip


def _circumstances(scan: Scan, age: Age) -> list[Quantity]:
    volume = scan.volume
    return [
        _number(
            "minutes_after_injection", "time after injection", volume.minutes_after_injection, "min",
            "MINUTES_PI", why="the times of injection or acquisition are not in the images",
        ),
        _number("age", "age at the study", age.years, "a", "AGE", why=age.why_missing),
        _number(
            "striata_explained", "share of the striata's neighbourhood explained by the template",
            scan.registration.explained, RATIO, "DAT_EXPLAINED",
        ),
        _number(
            "reference_counts", "counts of the reference region per mL", scan.uptake.reference_counts_per_ml,
            "{counts}/mL", "REF_COUNTS", organ="reference",
        ),
        _number(
            "administered_activity", "administered activity", volume.administered_activity_mbq, "MBq",
            "ACTIVITY", why="RadionuclideTotalDose is missing",
        ),
    ]  # fmt: skip
