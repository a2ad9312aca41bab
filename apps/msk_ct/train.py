"""Training of the network on case folders, and the calibration of what its uncertainty means.

The same command makes the weights that ship and a hospital's own. A part of the patients is held
out: on them, analysed as any study is, it is measured how uncertain a structure is when it is
well outlined, which is where the flag for low expected accuracy comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses.dice import DiceLoss
from rich.console import Console
from rich.progress import Progress, track
from torch import nn
from torch.nn import functional

from apps.msk_ct.augment import draw_slice
from apps.msk_ct.cases import read_case
from apps.msk_ct.confidence import calibrate
from apps.msk_ct.elsewhere import elsewhere_samples
from apps.msk_ct.evaluate import measure_case
from apps.msk_ct.prepare import CHANNELS, CONTEXT_MM, PIXEL_MM, SLICE_MM
from apps.msk_ct.samples import Sample, read_samples, slice_weights
from apps.msk_ct.segment import PROFILES
from apps.msk_ct.structures import STRUCTURES
from operators.bundle import (
    build_network,
    choose_device,
    described_model,
    inference_settings,
    load_metadata,
    save_weights,
    write_configuration,
)
from operators.infer.bayesian_unet import BayesianUNet
from operators.phantom.identity import generator
from operators.read.case_folders import find_cases, refuse_hospital_b, training_kind
from operators.train.loop import Schedule, bars
from operators.train.shards import LossOf, train_in_shards
from operators.train.split import split_patients

STEPS = 4200
SHARDS = 2
SLICES_EACH = 8
"""Of a step, for each shard."""
LEARNING_RATE = 2e-3
VALIDATION_SHARE = 0.1
"""Of patients; they only measure."""
FIRST_RARITY = 0.6
"""Exponent of a class's rarity as its weight, at the first step; it falls to 0."""
EVEN_AFTER = 0.5
"""Share of the steps after which all classes weigh the same."""
MOST_RARE = 30.0
CALIBRATED = "cpu"
"""Profile that limits of uncertainty are measured with."""
ELSEWHERE_SEEDS = range(24)
ELSEWHERE_SHARE = 0.04
"""Of slices that are of another part of the body."""
NETWORK = {
    "_target_": "operators.infer.bayesian_unet.BayesianUNet",
    "in_channels": CHANNELS,
    "out_channels": len(STRUCTURES) + 1,
    "features": [32, 48, 96, 192, 256, 32],
    "channel_dropout": 0.2,
}


def train(
    data: Path,
    bundle: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    steps: int = STEPS,
    cache: Path | None = None,
) -> None:
    """Trains the network and writes a bundle.

    The same seed and cases give the same weights, bit for bit on the CPU of one kind of machine,
    within rounding on a GPU. Limits of uncertainty are measured on the CPU either way.

    Args:
        data: Folder of case folders.
        bundle: Folder to write: configs and weights.
        seed: Of everything random.
        device: ``auto``, ``cpu`` or ``cuda``; ``auto`` is a GPU where there is one.
        steps: Optimiser steps.
        cache: Folder in which prepared cases are kept between runs.

    Raises:
        FileNotFoundError: The folder holds no case.
        ValueError: A phantom is of hospital B, which is kept for evaluation.
        Refused: A case cannot be used.
    """
    refuse_hospital_b(data)
    torch.manual_seed(seed)
    where = choose_device(device)
    settings = inference_configuration()
    with bars() as progress:
        samples = _read(data, cache, progress)
        learning, held_out = split_patients(
            [sample.patient_id for sample in samples], share=VALIDATION_SHARE, seed=seed
        )
        network = build_network(settings, "structures")
        learned = train_in_shards(
            network,
            slice_loss([samples[i] for i in learning], list(elsewhere_samples(ELSEWHERE_SEEDS)), seed, steps),
            Schedule(steps=steps, learning_rate=LEARNING_RATE),
            shards=SHARDS,
            title="learning structures",
            progress=progress,
            device=where,
        )
    training = {
        "kind": training_kind(data),
        "seed": seed,
        "steps": steps,
        "slices_a_step": SHARDS * SLICES_EACH,
        "patients": len(learning),
        "held_out_patients": len(held_out),
    }
    save_weights(learned, bundle, "structures")
    write_configuration(bundle, "inference", settings)
    write_configuration(bundle, "metadata", metadata(training))
    folders = find_cases(data)
    calibrate_bundle(bundle, [folders[i] for i in held_out])


def calibrate_bundle(bundle: Path, folders: Sequence[Path]) -> None:
    """Writes into a bundle what its uncertainty means, from patients that it has not learned from.

    They are analysed on the CPU with its profile, as any study is there. Without patients nothing is
    written but a warning, and whether low accuracy is to be expected is not known of any structure.

    Args:
        bundle: Weights, inference.json and metadata.json as `train` has written them.
        folders: Case folders of held-out patients.
    """
    rows = []
    told = Console(stderr=True)
    for folder in track(folders, description="calibrating", console=told):
        rows += measure_case(read_case(folder), bundle, "cpu", [], profile=CALIBRATED)
    if not any(np.isfinite(row["psv"]) for row in rows):
        told.print(
            f"Of {len(folders)} patients held out nothing was found: what accuracy is to be expected of a "
            "structure is not known, and results say so. About 10 patients are needed for it."
        )
        return
    pairs: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if np.isfinite(row["psv"]):
            name = STRUCTURES[int(row["structure"]) - 1].name
            pairs.setdefault(name, []).append((row["psv"], row["dice"]))
    confidence = calibrate(pairs, passes=PROFILES[CALIBRATED].passes, profile=CALIBRATED)
    write_configuration(bundle, "inference", inference_settings(bundle) | {"confidence": confidence})
    described = load_metadata(bundle)
    described["training"]["held_out_patients"] = len(folders)  # never their IDs
    described["training"]["held_out_dice"] = round(float(np.mean([row["dice"] for row in rows])), 4)
    write_configuration(bundle, "metadata", described)


def slice_loss(samples: list[Sample], elsewhere: list[Sample], seed: int, steps: int) -> LossOf:
    """Cross entropy and Dice on slices that seed, step and shard decide.

    Rare classes weigh more at first, so that they are found at all; later all weigh the same, so that
    their volumes are not exaggerated.
    """
    chances = slice_weights(samples)
    places = [(i, z) for i, sample in enumerate(samples) for z in range(len(sample.hu_zyx))]
    rarity = rarity_of(samples)
    overlap = DiceLoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)

    def loss(network: nn.Module, step: int, shard: int) -> torch.Tensor:
        if not isinstance(network, BayesianUNet):
            raise TypeError("a BayesianUNet is learned")
        rng = generator(seed, step, shard)
        drawn = []
        for place in rng.choice(len(places), SLICES_EACH, p=chances):
            number, index = places[int(place)]
            sample = samples[number]
            if rng.random() < ELSEWHERE_SHARE:
                sample = elsewhere[int(rng.integers(len(elsewhere)))]
                index = int(rng.integers(len(sample.hu_zyx)))
            drawn.append(draw_slice(sample, index, rng))
        where = next(network.parameters()).device
        images, classes = (torch.stack(part).to(where) for part in zip(*drawn, strict=True))
        source = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with torch.autocast(where.type, dtype=torch.bfloat16):
            keep = network.draw(len(images), generator=source, device=where)
            scores = network.decode(network.encode(images), keep)
        scores = scores.float()
        weight = (rarity ** (FIRST_RARITY * max(0.0, 1 - step / (EVEN_AFTER * steps)))).to(where)
        entropy = functional.cross_entropy(scores, classes, weight=weight)
        out: torch.Tensor = entropy + overlap(scores, classes[:, None])
        return out

    return loss


def rarity_of(samples: list[Sample]) -> torch.Tensor:
    """How much rarer than the mean class each one is, ``(classes,)`` float32, 1 and more."""
    counts = np.zeros(len(STRUCTURES) + 1)
    for sample in samples:
        counts += np.bincount(sample.classes_zyx.ravel(), minlength=len(counts))
    found = counts[1:][counts[1:] > 0]
    return torch.tensor(np.clip(found.mean() / np.maximum(counts, 1), 1, MOST_RARE), dtype=torch.float32)


def _read(data: Path, cache: Path | None, progress: Progress) -> list[Sample]:
    bar = progress.add_task("reading cases", total=len(find_cases(data)), loss=float("nan"))
    samples = []
    for sample in read_samples(data, cache):
        samples.append(sample)
        progress.advance(bar)
    return samples


def inference_configuration() -> dict[str, Any]:
    """Content of inference.json: the network, its grid and what it tells apart."""
    return {
        "networks": {"structures": NETWORK},
        "grid": {"slice_mm": SLICE_MM, "pixel_mm": PIXEL_MM, "context_mm": list(CONTEXT_MM)},
        "classes": {str(i): structure.name for i, structure in enumerate(STRUCTURES, start=1)},
    }


def metadata(training: dict[str, Any]) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification."""
    names = ["background", *(structure.name for structure in STRUCTURES)]
    head = described_model(
        app="msk_ct",
        task="Segmentation of 19 muscles and 3 bones on CT of hip and thigh, with uncertainty",
        description="Bayesian U-Net by Monte Carlo dropout on axial slices with their surroundings. "
        "Research use only.",
        data_source=str(training["kind"]),
        data_type="CT",
        training=training,
    )
    return head | {
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": CHANNELS,
                    "spatial_shape": ["16*n", "16*n"],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {
                        **{
                            str(i): f"soft-tissue window, {mm:g} mm along the body"
                            for i, mm in enumerate(CONTEXT_MM)
                        },
                        str(len(CONTEXT_MM)): "bone window",
                    },
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "segmentation",
                    "num_channels": len(names),
                    "spatial_shape": ["16*n", "16*n"],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(i): name for i, name in enumerate(names)},
                }
            },
        },
    }
