"""Evaluation: the metrics of a bundle on cases that it was not trained on, with intervals over patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operators.evaluate import Evaluation
from operators.evaluate.bootstrap import bootstrap, mean_of
from operators.evaluate.overlap import dice
from operators.select.digests import bundle_digest

from .body import find_body
from .cases import read_cases

APP = Path(__file__).resolve().parent.name


def evaluate(data: Path, *, bundle: Path, device: str = "auto") -> Evaluation:  # noqa: ARG001
    """``dice_body`` and ``volume_error_percent`` (absolute) over the cases of a folder.

    Args:
        data: Folder of case folders; for a fair figure, phantoms of hospital B.
        bundle: The model.
        device: Of no use here.

    Raises:
        FileNotFoundError: There is no case.
    """
    overlaps, errors, patients = [], [], []
    for case in read_cases(data):
        found = find_body(case.volume.hu_zyx, case.volume.geometry, bundle)
        overlaps.append(dice(found, case.body_zyx))
        errors.append(100.0 * abs(float(found.sum()) / float(case.body_zyx.sum()) - 1.0))
        patients.append(case.patient_id)
    rows = {"dice_body": np.array(overlaps), "volume_error_percent": np.array(errors)}
    return Evaluation(
        app=APP,
        n=len(set(patients)),
        model_digest=bundle_digest(bundle),
        metrics={name: bootstrap(rows, mean_of(name), patient_ids=patients) for name in rows},
        notes=("phantoms show that the pipeline is right, not how well it does on patients",),
    )
