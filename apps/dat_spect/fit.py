"""Fitting of the classifiers: patient-wise folds, nothing of a held-out patient is ever seen.

Components, models and the number of neighbours are chosen inside the training part of each
fold. The probabilities of held-out patients, the only ones used, calibrate each classifier and
train the fusion; then every classifier is fitted once more on all patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from apps.dat_spect.classifiers import (
    KINDS,
    Boosted,
    Calibration,
    Classifier,
    Classifiers,
    Components,
    Model,
    Neighbours,
    Regression,
    fusion_inputs,
    inputs_of,
    log_odds,
)
from apps.dat_spect.features import Picture, Regions, picture_vector
from apps.dat_spect.labels import Feature
from apps.dat_spect.table import Row, ages_of
from operators.phantom.identity import generator

OUTER_FOLDS, INNER_FOLDS = 5, 4
COMPONENTS = 20
LEAST_OF_EACH = 10
"""Patients with each answer below which nothing is learned."""
NEIGHBOURS = (5, 7, 9, 13, 17, 25)
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse regularisation of logistic regressions that is tried."""
COPIES = 3
"""Changed copies of each training picture beside itself, for boosting and regression."""
TREES = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "max_depth": 3,
    "eta": 0.06,
    "subsample": 0.7,
    "colsample_bytree": 0.6,
    "min_child_weight": 4.0,
    "lambda": 2.0,
    "tree_method": "hist",
    "nthread": 1,
}
ROUNDS = 140
FINAL_STRENGTH = 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What training gives.

    Args:
        classifiers: Fitted on all patients, calibrated on held-out probabilities.
        held_out: Name to area under the curve of probabilities of held-out patients.
        chosen: Name to what was chosen for it: neighbours, or strength of regularisation.
    """

    classifiers: Classifiers
    held_out: dict[str, float]
    chosen: dict[str, float]


def fit_classifiers(
    rows: Sequence[Row],
    regions: Regions,
    *,
    seed: int,
    mean_ratio: Callable[[Row], float],
    advance: Callable[[], None] = lambda: None,
) -> Fitted:
    """All four classifiers, the fusion and the regression on ratios.

    Args:
        rows: Of patients with every answer.
        regions: Of the template.
        seed: Of everything random.
        mean_ratio: Calibrated mean binding ratio of a row.
        advance: Called after each of ``len(KINDS) * (OUTER_FOLDS + 1)`` fits.

    Raises:
        ValueError: There are too few patients with one of the answers.
    """
    answers = {name: answers_of(rows, name) for name in KINDS}
    for name, values in answers.items():
        fewest = min(int(values.sum()), int((1 - values).sum()))
        if fewest < LEAST_OF_EACH:
            raise ValueError(f"{name}: {fewest} patients have one of the answers; {LEAST_OF_EACH} are needed")
    groups = np.array([row.patient_id for row in rows])
    folds = _folds(answers["direct"], groups, OUTER_FOLDS, seed)
    each: dict[str, Classifier] = {}
    outside: dict[str, Array] = {}
    held_out: dict[str, float] = {}
    chosen: dict[str, float] = {}
    for name in KINDS:
        raw = np.zeros(len(rows))
        for number, (learn, check) in enumerate(folds):
            components, model, _ = _fit_one(name, _chosen(rows, learn), regions, seed + 1 + number)
            raw[check] = model.probability(
                inputs_of(name, [rows[i].slab for i in check], regions, components)
            )
            advance()
        line = _platt(raw, answers[name])
        calibration = Calibration(line=line)
        outside[name] = calibration.probability(raw)
        held_out[name] = float(roc_auc_score(answers[name], raw))
        components, model, setting = _fit_one(name, list(rows), regions, seed)
        advance()
        each[name] = Classifier(name=name, components=components, model=model, calibration=calibration)
        chosen[name] = setting
    features = [{f: float(outside[f][i]) for f in Feature} for i in range(len(rows))]
    abnormal = answers["direct"]
    fused = fusion_inputs(features, ages_of(rows))
    ratios = np.array([[mean_ratio(row), row.asymmetry] for row in rows])
    for name, inputs in (("model3", fused), ("ratios", ratios)):
        held_out[name] = float(roc_auc_score(abnormal, _held_out(inputs, abnormal, folds)))
    return Fitted(
        classifiers=Classifiers(
            each=each,
            fusion=_regression(fused, abnormal, FINAL_STRENGTH),
            ratios=_regression(ratios, abnormal, FINAL_STRENGTH),
        ),
        held_out=held_out,
        chosen=chosen,
    )


def answers_of(rows: Sequence[Row], name: str) -> Array:
    """``(n,)`` 0 or 1: the reader's answer to a feature, or whether the patient is abnormal."""
    if name == "direct":
        return np.array([float(bool(row.is_abnormal)) for row in rows])
    return np.array([float(row.answers[Feature(name)]) for row in rows])


def _chosen(rows: Sequence[Row], indices: NDArray[np.int64]) -> list[Row]:
    return [rows[int(index)] for index in indices]


def _folds(
    answers: Array, groups: NDArray[np.str_], count: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(answers)), answers, groups))


# ----------------------------------------------------------- one classifier


def _fit_one(name: str, rows: list[Row], regions: Regions, seed: int) -> tuple[Components, Model, float]:
    """Components, model, and what was chosen for it within these rows."""
    answers = answers_of(rows, name)
    if KINDS[name] is Neighbours:
        components = _components(name, [row.slab for row in rows], regions)
        inputs = inputs_of(name, [row.slab for row in rows], regions, components)
        count = _best(
            NEIGHBOURS, lambda k, x, y: _neighbours(x, y, int(k)), inputs, answers, _groups(rows), seed
        )
        return components, _neighbours(inputs, answers, int(count)), count
    slabs, answers, groups = _with_copies(rows, answers, seed)
    components = _components(name, slabs, regions)
    inputs = inputs_of(name, slabs, regions, components)
    if KINDS[name] is Boosted:
        return components, _boosted(inputs, answers, seed), float(ROUNDS)
    strength = _best(STRENGTHS, lambda c, x, y: _regression(x, y, c), inputs, answers, groups, seed)
    return components, _regression(inputs, answers, strength), strength


def _groups(rows: Sequence[Row]) -> NDArray[np.str_]:
    return np.array([row.patient_id for row in rows])


def _with_copies(rows: list[Row], answers: Array, seed: int) -> tuple[list[Picture], Array, NDArray[np.str_]]:
    """Pictures with changed copies, their answers and patients."""
    slabs: list[Picture] = []
    for number, row in enumerate(rows):
        rng = generator(seed, 7, number)
        slabs += [row.slab] + [changed(row.slab, rng) for _ in range(COPIES)]
    times = COPIES + 1
    return slabs, np.repeat(answers, times), np.repeat(_groups(rows), times)


def changed(slab: Picture, rng: np.random.Generator) -> Picture:
    """The picture as another camera and another registration might have given it."""
    out = slab[:, ::-1] if rng.random() < 0.5 else slab
    out = ndimage.gaussian_filter(out, float(rng.uniform(0.0, 1.6)))
    out = ndimage.shift(out, rng.normal(0, 0.7, 2), order=1, mode="nearest")
    return np.asarray(out * np.exp(rng.normal(0, 0.04)) + rng.normal(0, 0.02), dtype=np.float32)


def _components(name: str, slabs: Sequence[Picture], regions: Regions) -> Components:
    """Principal components of the view; the largest element of each axis is positive."""
    rows = np.stack([picture_vector(name, slab, regions) for slab in slabs])
    mean = rows.mean(axis=0)
    _, _, axes = np.linalg.svd(rows - mean, full_matrices=False)
    axes = axes[: min(COMPONENTS, len(axes))]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return Components(mean=mean, axes=axes * signs[:, None])


def _standard(inputs: Array) -> tuple[Array, Array]:
    return inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-6)


def _neighbours(inputs: Array, answers: Array, k: int) -> Neighbours:
    mean, scale = _standard(inputs)
    # Components carry less of the picture the later they come: they count for as much as they vary.
    return Neighbours(
        mean=mean, scale=scale, points=(inputs - mean) / scale, answers=answers, k=np.array([float(k)])
    )


def _regression(inputs: Array, answers: Array, strength: float) -> Regression:
    mean, scale = _standard(inputs)
    solved = LogisticRegression(C=strength, max_iter=2000, tol=1e-8).fit((inputs - mean) / scale, answers)
    return Regression(
        mean=mean,
        scale=scale,
        weights=np.asarray(solved.coef_[0], dtype=np.float64),
        bias=np.asarray(solved.intercept_, dtype=np.float64),
    )


def _boosted(inputs: Array, answers: Array, seed: int) -> Boosted:
    data = xgboost.DMatrix(inputs, label=answers, nthread=1)
    return Boosted(xgboost.train(TREES | {"seed": seed}, data, num_boost_round=ROUNDS))


def _best(
    settings: Sequence[float],
    fit: Callable[[float, Array, Array], Model],
    inputs: Array,
    answers: Array,
    groups: NDArray[np.str_],
    seed: int,
) -> float:
    """The setting with the least log loss on inner folds."""
    losses = np.zeros(len(settings))
    for learn, check in _folds(answers, groups, INNER_FOLDS, seed):
        for number, setting in enumerate(settings):
            found = fit(setting, inputs[learn], answers[learn]).probability(inputs[check])
            losses[number] += _log_loss(found, answers[check])
    return float(settings[int(losses.argmin())])


def _log_loss(probability: Array, answers: Array) -> float:
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return float(-(answers * np.log(inside) + (1 - answers) * np.log(1 - inside)).sum())


def _held_out(
    inputs: Array, answers: Array, folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Array:
    out = np.zeros(len(answers))
    for learn, check in folds:
        out[check] = _regression(inputs[learn], answers[learn], FINAL_STRENGTH).probability(inputs[check])
    return out


def _platt(raw: Array, answers: Array) -> Array:
    """Slope and intercept on log odds; the slope is never negative."""
    odds = log_odds(raw)[:, None]
    solved = LogisticRegression(C=1e3, max_iter=2000, tol=1e-8).fit(odds, answers)
    return np.array([max(float(solved.coef_[0, 0]), 0.0), float(solved.intercept_[0])])
