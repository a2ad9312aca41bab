"""Evaluation of a bundle on case folders, patient-wise, with bootstrap intervals.

The folder decides what the numbers mean. For phantoms it must hold patients of hospital B
with seeds from `phantom.FIRST_HOSPITAL_B_SEED` on, which training never sees; a case of
hospital A among them is named in the notes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.mibg_spect.cases import TruthCase, read_case
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.quantify import quantify
from apps.mibg_spect.segment import segment
from operators.evaluate import Evaluation
from operators.evaluate.bootstrap import bootstrap, determination, mean_of
from operators.evaluate.cases import NamedCase, Row, measure_patients
from operators.evaluate.overlap import dice
from operators.measure.decay import normalised_counts
from operators.select.digests import bundle_digest

MISSING = float("nan")
OVERLAPS = ("dice_heart", "dice_heart_denervated", "dice_lung", "dice_liver")
TWICE = ("true", "found", "hmr")
"""Columns of which there is one for each phase."""


def evaluate(data: Path, *, bundle: Path, device: str = "auto") -> Evaluation:
    """The metrics of the outside interface over the cases of a folder.

    ``dice_lung`` is of both lungs together, ``dice_heart`` of all patients,
    ``dice_heart_denervated`` of those whose heart is nearly as faint as blood, all on the early
    SPECT in its own grid. ``r2_heart_counts`` compares normalised mean heart counts, early and
    late, between the mask found and the true one. ``hmr_mae`` is the mean absolute error of the
    standardised planar ratio, early and late. A refused case counts with Dice 0.

    Raises:
        FileNotFoundError: The folder holds no case.
        BrokenBundle: The bundle cannot be used.
    """
    found = measure_patients(
        data, read_case, lambda case, _notes: measure_case(case, bundle, device), _refused_row, _refused_row
    )
    columns = found.columns(*OVERLAPS, *(f"{name}_{phase}" for name in TWICE for phase in Phase))
    patients = found.patient_ids
    # Early and late counts of one patient are two rows of the same patient.
    both = {name: np.concatenate([columns[f"{name}_{phase}"] for phase in Phase]) for name in TWICE}
    twice = patients * 2
    metrics = {name: bootstrap(columns, mean_of(name), patient_ids=patients) for name in OVERLAPS}
    metrics["r2_heart_counts"] = bootstrap(both, determination("true", "found"), patient_ids=twice)
    metrics["hmr_mae"] = bootstrap(both, mean_of("hmr"), patient_ids=twice)
    return Evaluation(
        app="mibg_spect",
        n=len(set(patients)),
        model_digest=bundle_digest(bundle),
        metrics=metrics,
        notes=tuple(found.notes),
    )


def measure_case(case: TruthCase, bundle: Path, device: str) -> Row:
    """What one patient contributes, by column; absent where the case has no truth for it.

    Raises:
        Refused: The model finds no chest in the images.
    """
    found = segment(case.volumes.get(Phase.EARLY), case.volumes.get(Phase.LATE), bundle=bundle, device=device)
    labels, truth = found.labels_zyx[found.reference], case.labels_zyx
    row = {
        "dice_lung": dice(np.isin(labels, (1, 2)), np.isin(truth, (1, 2))),
        "dice_liver": dice(labels == LABELS["liver"], truth == LABELS["liver"]),
        "dice_heart": dice(labels == LABELS["heart"], truth == LABELS["heart"]),
    }
    if case.truth.get("denervated"):
        row["dice_heart_denervated"] = row["dice_heart"]
    measured = quantify(
        case.volumes,
        found,
        planar=case.planar,
        collimator_coefficients=case.truth.get("collimator_coefficients"),
    )
    for phase in case.volumes:
        row[f"true_{phase}"] = _true_counts(case, phase)
        row[f"found_{phase}"] = measured.value(f"heart_counts_norm_{phase}") or MISSING
    values = {quantity.name: quantity.value for quantity in measured.quantities}
    for phase in Phase:
        true, seen = case.truth.get(f"hmr_std_{phase}"), values.get(f"hmr_std_{phase}")
        if true is not None and seen is not None:
            row[f"hmr_{phase}"] = abs(seen - float(true))
    return row


def _true_counts(case: TruthCase, phase: Phase) -> float:
    """Normalised counts in the true mask: of truth.json, or of the labels in the early volume."""
    stated = case.truth.get(f"heart_counts_norm_{phase}")
    if stated is not None:
        return float(stated)
    volume = case.volumes[phase]
    is_reference = phase is Phase.EARLY or Phase.EARLY not in case.volumes
    minutes, weight, dose = (
        volume.minutes_after_injection,
        volume.patient_weight_kg,
        volume.administered_activity_mbq,
    )
    heart = case.labels_zyx == LABELS["heart"]
    if not (is_reference and heart.any() and minutes is not None and weight and dose):
        return MISSING
    return normalised_counts(
        float(volume.counts_zyx[heart].mean()),
        hours_after_injection=minutes / 60,
        weight_kg=weight,
        activity_mbq=dose,
    )


def _refused_row(case: NamedCase) -> Row:
    row = {"dice_heart": 0.0, "dice_lung": 0.0, "dice_liver": 0.0}
    return row | ({"dice_heart_denervated": 0.0} if case.truth.get("denervated") else {})
