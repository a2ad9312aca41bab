"""Which patients a model learns from and which it is only checked on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


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
