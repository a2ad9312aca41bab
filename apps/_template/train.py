"""Training: cases to a bundle, the same from the same seed, for phantoms and a hospital's own cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from operators.bundle import write_configuration
from operators.phantom.identity import generator
from operators.read.case_folders import training_kind

from .body import WEIGHTS, smoothed
from .cases import Case, read_cases

VOXELS_PER_CASE = 4000
TISSUE_HU = -0.5
"""Inside the body, what is darker than this (thousands of HU) is lung or gas and not learned as tissue."""


def train(data: Path, bundle: Path, *, seed: int = 0, device: str = "auto") -> None:  # noqa: ARG001
    """Learn tissue from air and write the bundle.

    Args:
        data: Folder of case folders.
        bundle: Where the bundle is written.
        seed: Of the choice of voxels.
        device: Of no use here: two numbers need no accelerator.

    Raises:
        FileNotFoundError: There is no case.
    """
    cases = read_cases(data)
    drawn = [_voxels(case, generator(seed, number)) for number, case in enumerate(cases)]
    values, labels = (np.concatenate(column) for column in zip(*drawn, strict=True))
    fitted = LogisticRegression(C=1e4).fit(values[:, None], labels)
    (bundle / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": fitted.coef_[0].astype(np.float64), "bias": fitted.intercept_.astype(np.float64)}
    save_file(tensors, bundle / WEIGHTS)
    _write_configs(bundle, kind=training_kind(data), cases=len(cases), seed=seed)


def _voxels(case: Case, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed attenuation and truth of some voxels; lung and gas count as air."""
    hu = smoothed(case.volume.hu_zyx, case.volume.geometry).ravel()
    tissue = case.body_zyx.ravel() & (hu > TISSUE_HU)
    air = ~case.body_zyx.ravel()
    half = VOXELS_PER_CASE // 2
    chosen = np.concatenate([rng.choice(np.flatnonzero(mask), half) for mask in (tissue, air)])
    return hu[chosen], tissue[chosen].astype(int)


def _write_configs(bundle: Path, *, kind: str, cases: int, seed: int) -> None:
    """What a MONAI bundle says of itself, and how it is applied."""
    metadata = {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "task": "tissue or air, voxel by voxel, on CT",
        "description": "Logistic regression on smoothed attenuation.",
        "intended_use": "An example.",
        "data_type": "CT",
        "training": {"kind": kind, "cases": cases, "seed": seed},
    }
    inference = {"weights": WEIGHTS, "input": "smoothed attenuation, thousands of Hounsfield units"}
    write_configuration(bundle, "metadata", metadata)
    write_configuration(bundle, "inference", inference)
