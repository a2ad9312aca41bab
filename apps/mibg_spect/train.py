"""Training of both networks on case folders, on the simulator's wide world, or both.

The same command makes the weights that ship and a hospital's own: a site gives a folder of
cases (see `apps.mibg_spect.cases`), and the simulated patients widen what the model has seen.
Evaluation cases are never trained on: the simulator's training patients come of another
hospital and of other seeds than those of ``--shift``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import nn

from apps.mibg_spect.labels import LABELS
from apps.mibg_spect.prepare import CUBE, SPACING_MM
from apps.mibg_spect.samples import FIRST_SYNTHETIC_SEED, Sample, sample_of_folder, simulated_samples
from apps.mibg_spect.segment import with_organs
from operators.bundle import (
    build_network,
    choose_device,
    described_model,
    load_network,
    save_weights,
    write_configuration,
)
from operators.phantom.identity import generator
from operators.read.case_folders import SYNTHETIC, find_cases, training_kind
from operators.select.digests import bundle_digest
from operators.train.augment import Augmentation, augment
from operators.train.loop import Batch, Schedule, bars, train_network
from operators.train.split import split_patients

VALIDATION_SHARE = 0.1
"""Of patients; they only measure."""
SYNTHETIC_SEEDS = range(FIRST_SYNTHETIC_SEED, FIRST_SYNTHETIC_SEED + 300)
"""Simulated patients besides the folder's."""
LEARNING_RATE = 2e-3
LEARNING_RATE_GOING_ON = 1e-3
"""From weights that already know what a chest looks like."""
FOLDER_SHARE = 0.35
"""Of steps that take a case of the folder, where there is one; the others are simulated."""
NETWORKS = {
    "organs": {
        "_target_": "monai.networks.nets.UNet",
        "spatial_dims": 3,
        "in_channels": 2,
        "out_channels": 4,
        "channels": [16, 32, 64, 80, 96],
        "strides": [2, 2, 2, 2],
        "num_res_units": 1,
    },
    "heart": {
        "_target_": "monai.networks.nets.UNet",
        "spatial_dims": 3,
        "in_channels": 5,
        "out_channels": 2,
        "channels": [16, 32, 64, 80, 96],
        "strides": [2, 2, 2, 2],
        "num_res_units": 1,
    },
}
"""Stage 1: background, right lung, left lung, liver. Stage 2: background, heart, from the
images and the three probability maps of stage 1."""


def train(
    data: Path,
    bundle: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    minutes: float | None = None,
    steps: int = 2400,
    synthetic_seeds: Sequence[int] = SYNTHETIC_SEEDS,
    cache: Path | None = None,
    start: Path | None = None,
) -> None:
    """Trains both networks and writes a bundle.

    Args:
        data: Folder of case folders.
        bundle: Folder to write: configs and weights.
        seed: Of everything random.
        device: ``auto``, ``cpu`` or ``cuda``.
        minutes: Wall-clock limit for both networks together; None trains all steps, which is
            the only way to get the same weights again.
        steps: Optimiser steps of each network.
        synthetic_seeds: Of the simulated patients to train on besides those of the folder.
        cache: Folder in which simulated samples are kept between runs.
        start: Bundle whose weights training goes on from, such as the one that ships.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: A case cannot be used.
    """
    torch.manual_seed(seed)
    where = choose_device(device)
    with bars() as progress:
        samples, count = _load(data, synthetic_seeds, cache, progress)
        learning, checking = split_patients(
            [sample.patient_id for sample in samples], share=VALIDATION_SHARE, seed=seed
        )
        schedule = Schedule(
            steps=steps,
            minutes=None if minutes is None else minutes / 2,
            learning_rate=LEARNING_RATE if start is None else LEARNING_RATE_GOING_ON,
        )
        settings = inference_configuration()
        organs = train_network(
            _first_weights(settings, "organs", start),
            _organ_batches(samples, learning, count, seed),
            schedule,
            where,
            title="stage 1: lungs and liver",
            progress=progress,
        )
        heart = train_network(
            _first_weights(settings, "heart", start),
            _heart_batches(samples, learning, count, seed, organs, where),
            schedule,
            where,
            title="stage 2: heart",
            progress=progress,
        )
        taken = progress.tasks[-len(NETWORKS) :]
    dice = validate(organs, heart, [samples[i] for i in checking], where)
    _write_bundle(
        bundle,
        organs,
        heart,
        {
            "kind": SYNTHETIC if synthetic_seeds else training_kind(data),
            "seed": seed,
            "start": None if start is None else bundle_digest(start),
            "steps": steps,
            "steps_taken": {name: int(task.completed) for name, task in zip(NETWORKS, taken, strict=True)},
            "minutes": minutes,
            "cases": count,
            "simulated": len(samples) - count,
            "simulated_seeds": spans(synthetic_seeds),
            "validation_patients": len(checking),
            "validation_dice": dice,
        },
    )


def _first_weights(settings: dict[str, Any], name: str, start: Path | None) -> nn.Module:
    network = build_network(settings, name)
    if start is not None:
        earlier = load_network(start, name, torch.device("cpu"))
        network.load_state_dict(earlier.state_dict())
    return network


def spans(seeds: Sequence[int]) -> list[list[int]]:
    """First and last of each run of consecutive numbers.

    >>> spans([1, 2, 3, 7])
    [[1, 3], [7, 7]]
    """
    out: list[list[int]] = []
    for seed in sorted(seeds):
        if out and seed == out[-1][1] + 1:
            out[-1][1] = seed
        else:
            out.append([seed, seed])
    return out


def _load(
    data: Path, synthetic_seeds: Sequence[int], cache: Path | None, progress: Progress
) -> tuple[list[Sample], int]:
    """Samples of the folder first, then simulated ones; and how many are of the folder."""
    folders = find_cases(data)
    bar = progress.add_task("reading cases", total=len(folders), loss=float("nan"))
    samples = []
    for folder in folders:
        samples.append(sample_of_folder(folder))
        progress.advance(bar)
    bar = progress.add_task("simulating patients", total=len(synthetic_seeds), loss=float("nan"))
    for sample in simulated_samples(synthetic_seeds, cache):
        samples.append(sample)
        progress.advance(bar)
    return samples, len(folders)


def _organ_batches(samples: list[Sample], learning: list[int], of_folder: int, seed: int):  # noqa: ANN202
    def draw(step: int) -> Batch:
        image, labels = _augmented(samples, learning, of_folder, generator(seed, 1, step))
        labels[labels == LABELS["heart"]] = 0
        return image[None], labels[None]

    return draw


def _heart_batches(  # noqa: ANN202
    samples: list[Sample],
    learning: list[int],
    of_folder: int,
    seed: int,
    organs: nn.Module,
    device: torch.device,
):
    def draw(step: int) -> Batch:
        image, labels = _augmented(samples, learning, of_folder, generator(seed, 2, step))
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            seen = with_organs(organs, image[None].to(device))
        return seen, (labels == LABELS["heart"]).long()[None]

    return draw


def _augmented(
    samples: list[Sample], learning: list[int], of_folder: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    own = [i for i in learning if i < of_folder]
    simulated = [i for i in learning if i >= of_folder]
    pool = own if own and (not simulated or rng.random() < FOLDER_SHARE) else simulated
    sample = samples[pool[int(rng.integers(len(pool)))]]
    return augment(sample.image.float(), sample.labels.long(), rng, Augmentation())


@torch.no_grad()
def validate(
    organs: nn.Module, heart: nn.Module, samples: list[Sample], device: torch.device
) -> dict[str, float]:
    """Mean Dice of each label over samples, unchanged and with both channels."""
    if not samples:
        return {}
    found: dict[str, list[float]] = {name: [] for name in LABELS}
    for sample in samples:
        image = sample.image.float()[None].to(device)
        seen = with_organs(organs, image)
        labels = organs(image).argmax(dim=1)[0].cpu()
        labels[heart(seen).argmax(dim=1)[0].cpu() == 1] = LABELS["heart"]
        for name, value in LABELS.items():
            found[name].append(_dice(labels == value, sample.labels == value))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def _dice(one: torch.Tensor, other: torch.Tensor) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def inference_configuration() -> dict[str, Any]:
    """Content of inference.json: the networks and the grid that they expect."""
    return {"networks": NETWORKS, "grid": {"size": CUBE, "spacing_mm": SPACING_MM}, "labels": LABELS}


def _write_bundle(bundle: Path, organs: nn.Module, heart: nn.Module, training: dict[str, Any]) -> None:
    save_weights(organs, bundle, "organs")
    save_weights(heart, bundle, "heart")
    write_configuration(bundle, "inference", inference_configuration())
    write_configuration(bundle, "metadata", metadata(training))


def metadata(training: dict[str, Any]) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification."""
    channels = {str(i): {"description": name} for i, name in enumerate(("early counts", "late counts"))}
    head = described_model(
        app="mibg_spect",
        task="Segmentation of lungs, liver and heart on I-123 MIBG SPECT",
        description="Two 3-D U-Nets: lungs and liver first, then the heart with their probabilities. "
        "Research use only.",
        data_source=f"{training['kind']}; {training['simulated']} simulated patients besides",
        data_type="NM",
        training=training,
    )
    return head | {
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "counts",
                    "modality": "NM",
                    "num_channels": 2,
                    "spatial_shape": [CUBE] * 3,
                    "dtype": "float32",
                    "value_range": [0, 3],
                    "is_patch_data": False,
                    "channel_def": {str(i): c["description"] for i, c in enumerate(channels.values())},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": 5,
                    "spatial_shape": [CUBE] * 3,
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": "background", **{str(v): n for n, v in LABELS.items()}},
                }
            },
        },
    }
