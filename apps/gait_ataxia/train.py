"""Training: five Transformers by patient, the ridge baseline beside them, and their interval.

Phantom cases bring joints: from those the errors of the pose estimator are learned, and many
more walks are simulated with such errors. A site's cases bring videos and scores only: then the
models learn from those alone.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from apps.gait_ataxia.baseline import Ridge, fit_ridge
from apps.gait_ataxia.cases import Clip, load_clips
from apps.gait_ataxia.network import (
    GAIT_SCALE,
    LONGEST,
    PATCH,
    SARA_SCALE,
    VIEWS,
    GaitTransformer,
    Size,
    Standard,
    batch_of,
    windows,
)
from apps.gait_ataxia.samples import Sample, error_bank, seen_sample, simulated_samples
from operators.bundle import choose_device, described_model, save_weights, write_configuration
from operators.train.loop import average, cycle
from operators.train.split import fold_of

FOLDS = 5
BATCH = 32
LEARNING_RATE = 1e-3
SEEN_WEIGHT = 8
"""A clip that the estimator really saw is drawn as often as so many simulated ones."""
COVERAGE = 0.90
"""Of the interval that is reported."""
SHARED_SIZE = Size()


def train(
    data: Path,
    bundle: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    simulated: int = 2400,
    epochs: int = 20,
) -> None:
    """Trains the ensemble and the baseline on case folders and writes a bundle.

    Args:
        data: Folder of case folders, phantoms' or a site's.
        bundle: Folder to write.
        seed: Of everything random; the same seed gives the same weights on the same machine.
        device: ``auto``, ``cpu`` or ``cuda``.
        simulated: Simulated walks beside phantom cases.
        epochs: Passes over all walks, for each of the five models.

    Raises:
        FileNotFoundError: There is no case.
        ValueError: There are fewer than can be divided into five folds.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        samples, clips = _samples(data, simulated, seed, progress)
        folds = np.array([fold_of(sample.patient, folds=FOLDS, seed=seed) for sample in samples])
        if len(samples) < 2 * FOLDS or len(set(folds.tolist())) < FOLDS:
            raise ValueError(f"{len(samples)} usable walks are too few for {FOLDS} folds by patient")
        standard = Standard.of([sample.features for sample in samples])
        prepared = [_Prepared(sample, standard) for sample in samples]
        networks, found = [], np.full((len(samples), 2), np.nan)
        for fold in range(FOLDS):
            torch.manual_seed(seed * 100 + fold)
            network = _fit(
                [one for one, k in zip(prepared, folds, strict=True) if k != fold],
                epochs,
                np.random.default_rng([seed, fold]),
                choose_device(device),
                progress,
                f"model {fold + 1} of {FOLDS}",
            )
            held_out = np.flatnonzero(folds == fold)
            found[held_out] = predict_with(network, [prepared[k] for k in held_out])
            networks.append(network)
    ridge, ridge_found = _baseline(samples, folds)
    report = _report(samples, found[:, 0], ridge_found)
    _write(
        bundle,
        networks,
        standard,
        ridge,
        samples,
        found[:, 0],
        {"seed": seed, "epochs": epochs, "clips": clips, **report},
    )


def _samples(data: Path, simulated: int, seed: int, progress: Progress) -> tuple[list[Sample], int]:
    bar = progress.add_task("reading cases", total=None)
    clips: list[Clip] = []
    for clip in load_clips(data):
        clips.append(clip)
        progress.advance(bar)
    samples = [sample for sample in map(seen_sample, clips) if sample is not None]
    bank = error_bank(clips)
    if bank:
        bar = progress.add_task("simulating walks", total=simulated)
        for sample in simulated_samples(simulated, bank, seed):
            samples.append(sample)
            progress.advance(bar)
    return samples, len(clips)


class _Prepared:
    """A sample as arrays for the network, also as seen in a mirror where that is another walk."""

    def __init__(self, sample: Sample, standard: Standard) -> None:
        self.view = sample.features.view
        self.patches = [standard.patches(sample.features.sequence).astype(np.float16)]
        if self.view == "frontal":
            self.patches.append(standard.patches(sample.features.flipped().sequence).astype(np.float16))
        self.vector = standard.values(sample.features)
        self.target = np.array([sample.sara / SARA_SCALE, sample.gait_item / GAIT_SCALE], np.float32)
        self.weight = SEEN_WEIGHT if sample.is_seen else 1

    def drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
        """The walk, varied: mirrored, a part of it, points dropped, noise."""
        patches = self.patches[int(rng.integers(len(self.patches)))].astype(np.float32)
        keep = min(max(int(len(patches) * rng.uniform(0.6, 1.0)), 12), LONGEST, len(patches))
        start = int(rng.integers(len(patches) - keep + 1))
        patches = patches[start : start + keep] + rng.normal(0, 0.1, (keep, patches.shape[1])).astype(
            np.float32
        )
        if rng.random() < 0.3:
            per_sample = patches.reshape(keep, PATCH, -1)
            for joint in rng.choice(25, 2, replace=False):
                per_sample[..., 3 * joint : 3 * joint + 3] = 0
                per_sample[..., 75 + 2 * joint : 77 + 2 * joint] = 0
        half = len(self.vector) // 2
        vector = self.vector.copy()
        vector[:half] += rng.normal(0, 0.10, half).astype(np.float32)
        if rng.random() < 0.15:
            vector[:half], vector[half:] = 0, 1
        else:
            dropped = rng.random(half) < 0.05
            vector[:half][dropped], vector[half:][dropped] = 0, 1
        return patches, vector, self.view


def _fit(
    prepared: list[_Prepared],
    epochs: int,
    rng: np.random.Generator,
    device: torch.device,
    progress: Progress,
    title: str,
) -> GaitTransformer:
    """One model of the ensemble, its weights averaged over the last steps."""
    network = GaitTransformer(SHARED_SIZE).to(device)
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    weights = np.array([one.weight for one in prepared], float)
    weights /= weights.sum()
    steps = max(1, epochs * len(prepared) // BATCH)
    bar = progress.add_task(title, total=steps)
    network.train()
    for step in range(steps):
        chosen = rng.choice(len(prepared), BATCH, p=weights)
        inputs = batch_of([prepared[k].drawn(rng) for k in chosen])
        target = torch.from_numpy(np.stack([prepared[k].target for k in chosen])).to(device)
        output = network(*(tensor.to(device) for tensor in inputs))
        loss = loss_of(output, target)
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * cycle(step / steps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average(averaged, network, min(0.995, (step + 1) / (step + 10)))
        progress.advance(bar)
    return averaged.cpu()


def loss_of(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Huber loss of the total, and with a smaller part of the gait item where it is known."""
    total = nn.functional.huber_loss(output[:, 0], target[:, 0], delta=1.0)
    known = torch.isfinite(target[:, 1])
    if not bool(known.any()):
        return total
    return total + 0.3 * nn.functional.huber_loss(output[known, 1], target[known, 1], delta=1.0)


@torch.no_grad()
def predict_with(network: GaitTransformer, prepared: list[_Prepared]) -> NDArray[np.float64]:
    """``(n, 2)`` SARA total and gait item of one model, means over windows."""
    out = np.zeros((len(prepared), 2))
    for row, one in enumerate(prepared):
        parts = windows(one.patches[0].astype(np.float32))
        output = network(*batch_of([(part, one.vector, one.view) for part in parts]))
        out[row] = output.mean(dim=0).numpy() * [SARA_SCALE, GAIT_SCALE]
    return np.clip(out, 0, [40, 8])


def _baseline(
    samples: list[Sample], folds: NDArray[np.int64]
) -> tuple[dict[str, Ridge], NDArray[np.float64]]:
    """Ridge regressions by view on all walks, and out-of-fold predictions."""
    vectors = np.array([sample.features.vector for sample in samples], float)
    sara = np.array([sample.sara for sample in samples])
    views = np.array([sample.features.view for sample in samples])
    models, found = {}, np.full(len(samples), np.nan)
    for view in VIEWS:
        of_view = views == view
        if of_view.sum() < 10:
            continue
        models[view] = fit_ridge(vectors[of_view], sara[of_view])
        for fold in range(FOLDS):
            held_out = of_view & (folds == fold)
            learning = of_view & (folds != fold)
            if held_out.any() and learning.sum() >= 8:
                found[held_out] = fit_ridge(vectors[learning], sara[learning]).predict(vectors[held_out])
    return models, found


def _report(samples: list[Sample], found: NDArray[np.float64], ridge: NDArray[np.float64]) -> dict[str, Any]:
    """Out-of-fold numbers, apart for clips that were really seen and for simulated walks."""
    sara = np.array([sample.sara for sample in samples])
    seen = np.array([sample.is_seen for sample in samples])
    out: dict[str, Any] = {"walks_seen": int(seen.sum()), "walks_simulated": int((~seen).sum())}
    for name, rows in (("seen", seen), ("simulated", ~seen)):
        for model, values in (("transformer", found), ("ridge", ridge)):
            known = rows & np.isfinite(values)
            if known.sum() > 2:
                error = values[known] - sara[known]
                out[f"out_of_fold_{name}_{model}"] = {
                    "mae": round(float(np.abs(error).mean()), 3),
                    "r2": round(1 - float((error**2).mean() / sara[known].var()), 3),
                }
    return out


def conformal_half_width(residuals: NDArray[np.float64]) -> float:
    """Half width that holds `COVERAGE` of new patients (split conformal).

    >>> conformal_half_width(np.arange(1.0, 20.0))
    18.0
    """
    ranked = np.sort(np.abs(residuals))
    rank = int(np.ceil((len(ranked) + 1) * COVERAGE))
    return float(ranked[min(rank, len(ranked)) - 1])


def _write(
    bundle: Path,
    networks: list[GaitTransformer],
    standard: Standard,
    ridge: dict[str, Ridge],
    samples: list[Sample],
    found: NDArray[np.float64],
    training: dict[str, Any],
) -> None:
    for number, network in enumerate(networks, start=1):
        save_weights(network, bundle, f"fold_{number}")
    sara = np.array([sample.sara for sample in samples])
    seen = np.array([sample.is_seen for sample in samples])
    chosen = seen if seen.sum() >= 20 else np.ones(len(samples), bool)
    half_width = conformal_half_width(found[chosen] - sara[chosen])
    inference = {
        "network": {"_target_": "apps.gait_ataxia.network.GaitTransformer", **asdict(SHARED_SIZE)},
        "folds": len(networks),
        "interval": {
            "coverage": COVERAGE,
            "half_width": half_width,
            "method": "split conformal, out of fold",
        },
        "ridge": {view: model.to_json_dict() for view, model in ridge.items()},
        "standard": standard.to_json_dict(),
    }
    cohort = {
        "sara": sara[chosen].round(2).tolist(),
        "estimated": found[chosen].round(2).tolist(),
        "view": [
            sample.features.view for sample, is_chosen in zip(samples, chosen, strict=True) if is_chosen
        ],
    }
    for name, content in (("inference", inference), ("cohort", cohort), ("metadata", metadata(training))):
        write_configuration(bundle, name, content, indent=None)


def metadata(training: dict[str, Any]) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification."""
    is_synthetic = training["walks_simulated"] > 0
    return described_model(
        app="gait_ataxia",
        task="Estimate of the SARA total score from a video of a walk",
        description="Five small Transformers on body points and gait parameters."
        + (" Research use, trained on synthetic data." if is_synthetic else ""),
        data_source="synthetic walkers" if is_synthetic else "the site's own cases",
        data_type="XC",
        training={"kind": "synthetic" if is_synthetic else "the site's own cases", **training},
    )
