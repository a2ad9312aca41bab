"""Evaluation of a bundle on case folders, patient-wise, with 95 % bootstrap intervals.

The folder decides what the numbers mean. For phantoms it must hold patients of hospital B, which
training never sees; a case of hospital A among them is named in the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.cases import TrueVertebra, TruthCase, read_case
from apps.spine_metastasis.classify import MALIGNANT, OSTEOPOROTIC, Judge, JudgedVertebra
from apps.spine_metastasis.detect import DETECTOR, find_spine
from apps.spine_metastasis.findings import Findings, findings_of
from apps.spine_metastasis.labels import LEVELS, FractureClass
from operators.bundle import choose_device
from operators.evaluate import Evaluation
from operators.evaluate.bootstrap import Columns, bootstrap, mean_of
from operators.evaluate.calibration import expected_calibration_error, reliability
from operators.evaluate.cases import Row, measure_patients
from operators.evaluate.classification import area_under_curve
from operators.infer.landmarks import Detector
from operators.select.digests import bundle_digest

MISSING = float("nan")
SAME_MM = 14.0
"""A vertebra found as near to a true one is that one."""
BINS = 10
CURVE_BINS = 5
"""Of the calibration curve that is told."""
CAUSE_OF = {FractureClass.OSTEOPOROTIC: OSTEOPOROTIC, FractureClass.MALIGNANT: MALIGNANT}


@dataclass(frozen=True, kw_only=True)
class Models:
    """The networks of a bundle."""

    detector: Detector
    judge: Judge

    @classmethod
    def load(cls, bundle: Path, device: str) -> Models:
        """Of a bundle.

        Raises:
            BrokenBundle: A network is missing or does not fit.
        """
        where = choose_device(device)
        return cls(detector=Detector.load(bundle, DETECTOR, where), judge=Judge.load(bundle, where))


def evaluate(data: Path, *, bundle: Path, device: str = "auto") -> Evaluation:
    """The metrics of the outside interface over the cases of a folder.

    ``auc`` tells patients with malignant from those with osteoporotic fractures by the probability of the
    patient; ``auc_t1`` and ``auc_stir`` do so by one sequence's. Where none of the true fractures is told, or
    the study is refused, the patient has the worst score: 0 of a malignant, 1 of an osteoporotic fracture.
    ``auc_found`` and ``ece`` are of the other patients alone, ``found_patients`` is their share.
    ``accuracy`` is that of the decision for patients with a fracture, ``sensitivity`` and ``specificity`` its
    shares of malignant and osteoporotic: right is the true cause of a patient in whom a true fracture
    has it; an indeterminate one counts as wrong. ``detection_rate`` is the share of fresh fractures that are
    told, as fractures or as possible ones; ``certain_detection_rate`` that of those told as fractures.
    ``false_alarms`` counts other vertebrae that are told, per patient, with and without fractures;
    ``possible`` the possible ones, right or wrong. ``vertebra_accuracy`` is the share of fresh fractures with
    their right cause, ``vertebra_accuracy_found`` that of those told. ``not_assessed`` is the share of found
    vertebrae at the border of the pictures that nothing is said of. ``level_accuracy`` is the share of found
    vertebrae that get their right name, where counting from the sacrum gives it.

    Raises:
        FileNotFoundError: The folder holds no case.
        BrokenBundle: The bundle cannot be used.
    """
    models = Models.load(bundle, device)
    found = measure_patients(data, read_case, lambda case, notes: measure_case(case, models, notes), _refused)
    columns = found.columns("malignant", "vertebrae", "matched", "fractures")
    statistics: dict[str, Callable[[Columns], float]] = {
        "auc": _area("score"),
        "auc_found": _area("found_score"),
        "found_patients": mean_of("is_found"),
        "auc_t1": _area("score_t1"),
        "auc_stir": _area("score_stir"),
        "accuracy": mean_of("is_right"),
        "sensitivity": mean_of("is_right_malignant"),
        "specificity": mean_of("is_right_osteoporotic"),
        "indeterminate": mean_of("is_indeterminate"),
        "ece": calibration_error,
        "detection_rate": _share("found_fractures", "fractures"),
        "certain_detection_rate": _share("certain_fractures", "fractures"),
        "false_alarms": mean_of("false_alarms"),
        "possible": mean_of("possible"),
        "not_assessed": _share("not_assessed", "judged"),
        "vertebra_accuracy": _share("right_causes", "fractures"),
        "vertebra_accuracy_found": _share("right_causes", "found_fractures"),
        "level_accuracy": _share("right_levels", "namable"),
        "wrong_level": _share("wrong_levels", "matched"),
    }
    return Evaluation(
        app="spine_metastasis",
        n=len(set(found.patient_ids)),
        model_digest=bundle_digest(bundle),
        metrics={
            name: bootstrap(columns, statistic, patient_ids=found.patient_ids)
            for name, statistic in statistics.items()
        },
        notes=(*describe(columns), *found.notes),
    )


def measure_case(case: TruthCase, models: Models, notes: list[str]) -> Row:
    """What one patient contributes, by column; absent where it does not count for a metric.

    Args:
        case: The patient.
        models: Of the bundle.
        notes: A sentence is added for a patient whose fracture is not found.

    Raises:
        Refused: There is no spine in the pictures.
    """
    spine = find_spine(case.stacks, models.detector)
    judged = models.judge.judge(case.stacks, spine.vertebrae, maps=False)
    findings = findings_of(case.stacks, spine, judged)
    pairs = matched(case.vertebrae, judged)
    out = {"vertebrae": float(len(case.vertebrae)), "matched": float(len(pairs))}
    out |= {"judged": float(len(judged)), "not_assessed": float(len(findings.not_assessed))}
    out |= _of_fractures(case, findings, pairs) | _of_levels(case, pairs)
    if case.fracture == FractureClass.NOT_FRACTURED:
        return out
    if findings.worst is None:
        notes.append(f"{case.name}: no fracture was found, there is a {case.fracture.name.lower()} one")
    return out | _of_patient(case, findings, hits_of(pairs))


def matched(
    true: Sequence[TrueVertebra], judged: Sequence[JudgedVertebra]
) -> list[tuple[TrueVertebra, JudgedVertebra]]:
    """Pairs of one vertebra in truth and findings, the nearest pairs first, each used once."""
    distances = sorted(
        (float(np.linalg.norm(one.centre - other.vertebra.centre)), i, j)
        for i, one in enumerate(true)
        for j, other in enumerate(judged)
    )
    out: list[tuple[TrueVertebra, JudgedVertebra]] = []
    seen_true: set[int] = set()
    seen_judged: set[int] = set()
    for distance, i, j in distances:
        if distance <= SAME_MM and i not in seen_true and j not in seen_judged:
            out.append((true[i], judged[j]))
            seen_true.add(i)
            seen_judged.add(j)
    return out


def _of_fractures(
    case: TruthCase, findings: Findings, pairs: Sequence[tuple[TrueVertebra, JudgedVertebra]]
) -> Row:
    hits = hits_of(pairs)
    return {
        "fractures": float(sum(one.fracture != FractureClass.NOT_FRACTURED for one in case.vertebrae)),
        "found_fractures": float(len(hits)),
        "certain_fractures": float(sum(other.is_fractured for _, other in hits)),
        "right_causes": float(sum(_has_its_cause(*hit) for hit in hits)),
        "false_alarms": float(len(findings.told) - len(hits)),
        "possible": float(len(findings.possible)),
    }


def hits_of(
    pairs: Sequence[tuple[TrueVertebra, JudgedVertebra]],
) -> list[tuple[TrueVertebra, JudgedVertebra]]:
    """Pairs of a fresh fracture that is told, as a fracture or as a possible one."""
    return [
        (one, other) for one, other in pairs if one.fracture != FractureClass.NOT_FRACTURED and other.is_told
    ]


def _has_its_cause(true: TrueVertebra, judged: JudgedVertebra) -> bool:
    return judged.decision.class_index == CAUSE_OF[true.fracture]


def _of_levels(case: TruthCase, pairs: Sequence[tuple[TrueVertebra, JudgedVertebra]]) -> Row:
    known = [(one.level, other.vertebra.level) for one, other in pairs if one.level in LEVELS]
    right = sum(true == found for true, found in known)
    wrong = sum(found is not None and true != found for true, found in known)
    out = {"wrong_levels": float(wrong)}
    if case.is_level_known:
        out |= {"namable": float(len(known)), "right_levels": float(right)}
    return out


def _of_patient(
    case: TruthCase, findings: Findings, hits: Sequence[tuple[TrueVertebra, JudgedVertebra]]
) -> Row:
    worst = findings.worst
    is_malignant = float(case.fracture == FractureClass.MALIGNANT)
    is_found = bool(hits) and worst is not None
    out = {"malignant": is_malignant, "is_found": float(is_found)}
    for weighting in findings.stacks:
        found = [
            float(one.causes_by_sequence[weighting][MALIGNANT])
            for one in findings.told
            if weighting in one.causes_by_sequence
        ]
        is_seen = any(weighting in other.causes_by_sequence for _, other in hits)
        out[f"score_{weighting}"] = max(found) if is_seen else 1 - is_malignant
    if worst is not None:
        out["is_indeterminate"] = float(findings.answer is None)
    if worst is not None and is_found:
        out["probability"] = out["found_score"] = worst.p_malignant
    out["score"] = out.get("found_score", 1 - is_malignant)
    has_its_cause = any(_has_its_cause(*hit) for hit in hits)
    is_right = float(findings.answer == CAUSE_OF[case.fracture] and has_its_cause)
    return out | {"is_right": is_right, f"is_right_{case.fracture.name.lower()}": is_right}


def _refused(case: TruthCase) -> Row:
    """A refused patient: nothing found, nothing right, the worst score."""
    out = {
        "vertebrae": float(len(case.vertebrae)),
        "matched": 0.0,
        "fractures": float(sum(one.fracture != FractureClass.NOT_FRACTURED for one in case.vertebrae)),
        "found_fractures": 0.0,
        "certain_fractures": 0.0,
        "right_causes": 0.0,
        "false_alarms": 0.0,
    }
    if case.fracture == FractureClass.NOT_FRACTURED:
        return out
    is_malignant = float(case.fracture == FractureClass.MALIGNANT)
    out |= {f"score_{weighting}": 1 - is_malignant for weighting in case.stacks}
    return out | {
        "malignant": is_malignant,
        "score": 1 - is_malignant,
        "is_found": 0.0,
        "is_right": 0.0,
        f"is_right_{case.fracture.name.lower()}": 0.0,
    }


def _area(score: str) -> Callable[[Columns], float]:
    """Area under the curve for a malignant fracture over the patients with a fracture."""

    def statistic(rows: Columns) -> float:
        if score not in rows:
            return MISSING
        known = np.isfinite(rows["malignant"]) & np.isfinite(rows[score])
        return area_under_curve(rows["malignant"][known] > 0, rows[score][known])

    return statistic


def _share(part: str, whole: str) -> Callable[[Columns], float]:
    """Sum of a column over that of another, rows that lack either left out.

    >>> _share("a", "b")({"a": np.array([1.0, 1.0, np.nan]), "b": np.array([2.0, 2.0, 5.0])})
    0.5
    """

    def statistic(rows: Columns) -> float:
        if part not in rows or whole not in rows:
            return MISSING
        known = np.isfinite(rows[part]) & np.isfinite(rows[whole])
        total = float(rows[whole][known].sum())
        return float(rows[part][known].sum()) / total if total > 0 else MISSING

    return statistic


def calibration_error(rows: Columns) -> float:
    """Expected calibration error of the fused probability over patients in whom a fracture was found."""
    if "probability" not in rows:
        return MISSING
    confidence, is_correct = confidences(rows)
    return expected_calibration_error(confidence, is_correct, bins=BINS)


def confidences(rows: Columns) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of the likelier cause, and whether it is the true one, of each patient with an answer."""
    known = np.isfinite(rows["probability"])
    p, is_malignant = rows["probability"][known], rows["malignant"][known] > 0
    return np.maximum(p, 1 - p), (p >= 0.5) == is_malignant


def describe(columns: Columns) -> list[str]:
    """What the numbers are of."""
    fractured = columns["malignant"]
    counts = {
        "patients with a fresh fracture": int(np.isfinite(fractured).sum()),
        "of them malignant": int(np.nansum(fractured)),
        "vertebrae": int(np.nansum(columns["vertebrae"])),
        "of them found": int(np.nansum(columns["matched"])),
        "fresh fractures": int(np.nansum(columns["fractures"])),
    }
    return [", ".join(f"{name} {count}" for name, count in counts.items()), *_calibration_curve(columns)]


def _calibration_curve(columns: Columns) -> list[str]:
    """How often answers of about the same probability are right."""
    if "probability" not in columns:
        return []
    points = [
        f"{one.confidence:.2f} → {one.accuracy:.2f} (n {one.count})"
        for one in reliability(*confidences(columns), bins=CURVE_BINS)
        if one.count
    ]
    return [f"calibration of the likelier cause, said → right: {', '.join(points)}"]
