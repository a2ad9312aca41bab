"""Which patients a model learns from and which it is only checked on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def is_validation(patient_id: str, *, share: float, seed: int) -> bool:
    """True for about `share` of patients, always the same ones for a seed, whatever the others.

    >>> is_validation("P1", share=1.0, seed=0), is_validation("P1", share=0.0, seed=0)
    (True, False)
    """
    digest = hashlib.sha256(f"{seed}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def split_patients(patient_ids: Sequence[str], *, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to validate on; all cases of a patient are on one side.

    >>> split_patients(["a", "a", "b"], share=0.0, seed=1)
    ([0, 1, 2], [])
    """
    training: list[int] = []
    validation: list[int] = []
    for index, patient_id in enumerate(patient_ids):
        (validation if is_validation(patient_id, share=share, seed=seed) else training).append(index)
    return training, validation


def fold_of(patient_id: str, *, folds: int, seed: int) -> int:
    """The fold that a patient is held out in, whoever else there is.

    >>> fold_of("P1", folds=5, seed=0) == fold_of("P1", folds=5, seed=0)
    True
    """
    digest = hashlib.sha256(f"{seed}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % folds


def even_folds(
    patient_ids: Sequence[str], labels: Sequence[int], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold that each case is held out in, ``(n,)``: all cases of a patient in one, classes even.

    Patients are dealt like cards, one class after the other, so that even a rare class is in as
    many folds as it can be. A patient counts as of the highest label of the cases.

    >>> even_folds(["a", "a", "b", "c", "d"], [0, 1, 1, 0, 0], folds=2, seed=0).tolist()
    [1, 1, 0, 0, 1]
    """
    highest: dict[str, int] = {}
    for patient_id, label in zip(patient_ids, labels, strict=True):
        highest[patient_id] = max(int(label), highest.get(patient_id, int(label)))
    rank = {patient: hashlib.sha256(f"{seed}/{patient}".encode()).hexdigest() for patient in highest}
    dealt = sorted(highest, key=lambda patient: (highest[patient], rank[patient]))
    fold = {patient: number % folds for number, patient in enumerate(dealt)}
    return np.array([fold[patient_id] for patient_id in patient_ids], dtype=np.int64)
