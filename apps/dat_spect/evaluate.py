"""Evaluation of a bundle on case folders, patient-wise, with 95 % bootstrap intervals.

The folder decides what the numbers mean. For phantoms it must hold patients of hospital B with
seeds from `phantom.FIRST_HOSPITAL_B_SEED` on, which training never sees; a case of hospital A
among them is named in the notes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from apps.dat_spect.cases import TruthCase, read_case
from apps.dat_spect.findings import ABNORMAL_FROM, NORMAL_BELOW
from apps.dat_spect.labels import Feature, Side
from apps.dat_spect.model import DatModel, load_model
from apps.dat_spect.scan import measure_scan
from apps.dat_spect.table import row_of
from operators.evaluate import Evaluation
from operators.evaluate.bootstrap import Columns, bootstrap, mean_of
from operators.evaluate.cases import NamedCase, Row, measure_patients
from operators.select.digests import bundle_digest

MISSING = float("nan")
BINS = 5
"""Of the expected calibration error, equally filled."""
MODELS = {"auc_model3": "model3", "auc_sbr": "sbr", "auc_direct": "direct"}


def evaluate(data: Path, *, bundle: Path, device: str = "auto") -> Evaluation:  # noqa: ARG001
    """The metrics of the outside interface over the cases of a folder.

    ``auc_model3``, ``auc_sbr`` and ``auc_direct`` are areas under the curve for a presynaptic deficit:
    of F1, F2, F3 and age; of binding ratio and asymmetry index; of the picture alone. ``sbr_mae``
    is the mean absolute error of the striatal binding ratio, each side of a patient. A case that is
    refused, or whose decision is withheld, counts as a probability of one half, and is named in the
    notes; the former has no ratio.

    Raises:
        FileNotFoundError: The folder holds no case.
        BrokenBundle: The bundle cannot be used.
    """
    model = load_model(bundle)
    found = measure_patients(
        data, read_case, lambda case, notes: measure_case(case, model, notes), _refused_row, _refused_row
    )
    columns, patients = found.columns(), found.patient_ids
    metrics = {
        name: bootstrap(columns, area_under_curve("abnormal", column), patient_ids=patients)
        for name, column in MODELS.items()
    }
    metrics["sbr_mae"] = bootstrap(columns, mean_of("sbr_error"), patient_ids=patients)
    return Evaluation(
        app="dat_spect",
        n=len(set(patients)),
        model_digest=bundle_digest(bundle),
        metrics=metrics,
        notes=(*found.notes, *_further(columns, patients)),
    )


def _refused_row(case: NamedCase) -> Row:
    is_abnormal = float(bool(case.truth.get("is_abnormal")))
    return {"abnormal": is_abnormal} | dict.fromkeys(MODELS.values(), 0.5)


def measure_case(case: TruthCase, model: DatModel, notes: list[str]) -> Row:
    """What one patient contributes, by column; absent where the case has no truth for it.

    Args:
        case: The patient.
        model: Of the bundle.
        notes: A sentence is added where the app would withhold its decision.

    Raises:
        Refused: No brain is found in the scan.
    """
    scan = measure_scan(case.volume, model.template, striatum_ml=model.striatum_ml)
    row = row_of(case, scan)
    ratio = {side: model.calibration(row.bolt[side]) for side in Side}
    features = model.classifiers.features(row.slab, model.regions)
    known_age = np.isfinite(row.age_years)
    out = {
        "sbr": model.classifiers.by_ratios(float(np.mean(list(ratio.values()))), row.asymmetry),
        "direct": model.classifiers.direct(row.slab, model.regions),
        "model3": model.classifiers.abnormal(features, row.age_years) if known_age else MISSING,
    }
    if scan.why_undecided:
        notes.append(f"{case.name} had no decision: {scan.why_undecided}")
        out |= dict.fromkeys(MODELS.values(), 0.5)
    if row.is_abnormal is not None:
        out["abnormal"] = float(row.is_abnormal)
    for feature, answer in row.answers.items():
        out[f"p_{feature}"], out[f"is_{feature}"] = features[feature], float(answer)
    if row.true_ratios:
        errors = [ratio[side] - true for side, true in row.true_ratios.items()]
        out["sbr_error"] = float(np.mean(np.abs(errors)))
        out["sbr_bias"] = float(np.mean(errors))
        name = "sbr_error_uncorrected" if scan.is_corrected_here else "sbr_error_corrected"
        out[name] = out["sbr_error"]
    return out


def area_under_curve(truth: str, score: str) -> Callable[[Columns], float]:
    """Area under the ROC curve of a column; NaN where only one kind of patient is drawn.

    >>> rows = {"t": np.array([0.0, 0.0, 1.0, 1.0]), "s": np.array([0.1, 0.6, 0.5, 0.9])}
    >>> area_under_curve("t", "s")(rows)
    0.75
    """

    def statistic(rows: Columns) -> float:
        known = np.isfinite(rows[truth]) & np.isfinite(rows[score])
        true = rows[truth][known]
        if not len(true) or true.min() == true.max():
            return MISSING
        # By ranks (Mann-Whitney): the same value, a hundred times faster in a bootstrap.
        positive = true > 0
        ranks = rankdata(rows[score][known])[positive]
        n = len(ranks)
        return float((ranks.sum() - n * (n + 1) / 2) / (n * (len(true) - n)))

    return statistic


def difference_of(
    one: Callable[[Columns], float], other: Callable[[Columns], float]
) -> Callable[[Columns], float]:
    """One statistic less another, of the same patients."""
    return lambda rows: one(rows) - other(rows)


def calibration_error(truth: str, score: str) -> Callable[[Columns], float]:
    """Expected calibration error over equally filled bins.

    >>> rows = {"t": np.array([0.0, 1.0] * 5), "s": np.full(10, 0.5)}
    >>> calibration_error("t", "s")(rows)
    0.0
    """

    def statistic(rows: Columns) -> float:
        known = np.isfinite(rows[truth]) & np.isfinite(rows[score])
        true, found = rows[truth][known], rows[score][known]
        if not len(true):
            return MISSING
        bins: list[NDArray[np.int64]] = np.array_split(np.argsort(found, kind="stable"), min(BINS, len(true)))
        return float(sum(abs(true[b].mean() - found[b].mean()) * len(b) for b in bins) / len(true))

    return statistic


def share_of(
    decided: Callable[[NDArray[np.float64]], NDArray[np.bool_]], score: str, *, is_abnormal: bool
) -> Callable[[Columns], float]:
    """Of the patients with (or without) a deficit, the share whose probability is decided so.

    >>> rows = {"abnormal": np.array([1.0, 1.0, 0.0]), "s": np.array([0.9, 0.2, 0.9])}
    >>> share_of(lambda p: p >= 0.65, "s", is_abnormal=True)(rows)
    0.5
    """

    def statistic(rows: Columns) -> float:
        chosen = (rows["abnormal"] == float(is_abnormal)) & np.isfinite(rows[score])
        return float(decided(rows[score][chosen]).mean()) if chosen.any() else MISSING

    return statistic


def _further(columns: dict[str, NDArray[np.float64]], patients: list[str]) -> list[str]:
    """Sentences of what else was measured: differences of models, features, calibration, correction."""
    if "abnormal" not in columns:
        return []

    def said(statistic: Callable[[Columns], float]) -> str:
        metric = bootstrap(columns, statistic, patient_ids=patients)
        return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"

    auc = {name: area_under_curve("abnormal", column) for name, column in MODELS.items()}
    out = [
        f"auc_model3 less {name}: {said(difference_of(auc['auc_model3'], auc[name]))}"
        for name in ("auc_sbr", "auc_direct")
    ]
    out.append(f"calibration error of model 3: {said(calibration_error('abnormal', 'model3'))}")
    out += [
        f"{text}: {said(share_of(decided, 'model3', is_abnormal=is_abnormal))}"
        for text, is_abnormal, decided in (
            (f"with a deficit and from {ABNORMAL_FROM}", True, lambda p: p >= ABNORMAL_FROM),
            (f"with a deficit and below {NORMAL_BELOW}", True, lambda p: p < NORMAL_BELOW),
            (f"without and below {NORMAL_BELOW}", False, lambda p: p < NORMAL_BELOW),
            (f"without and from {ABNORMAL_FROM}", False, lambda p: p >= ABNORMAL_FROM),
        )
    ]
    out += [
        f"auc of {feature}: {said(area_under_curve(f'is_{feature}', f'p_{feature}'))}"
        for feature in Feature
        if f"is_{feature}" in columns
    ]
    for name, text in (
        ("sbr_bias", "mean error of the binding ratio"),
        ("sbr_error_corrected", "sbr_mae where the scanner had corrected attenuation"),
        ("sbr_error_uncorrected", "sbr_mae where it was corrected here"),
    ):
        if name in columns:
            # A refused case has no ratio and is missing here.
            n = int(np.isfinite(columns[name]).sum())
            out.append(f"{text}: {said(mean_of(name))}, {n} patients")
    return out
