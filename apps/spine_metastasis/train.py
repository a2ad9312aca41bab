"""Training: case folders to a bundle, the same from the same cases and seed.

A detector learns where vertebrae are, in T1 and STIR alike; then five networks for each sequence learn what
a vertebra is, each without a fifth of the patients. What the networks say of the patients that they
have not seen calibrates them, one by one and fused, and is told in metadata.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from apps.spine_metastasis.classify import MALIGNANT, SETTINGS, Calibration, fused_causes
from apps.spine_metastasis.crops import ACROSS_MM, CHANNELS, PIXELS, SIZE_MM
from apps.spine_metastasis.detect import DETECTOR, NAMES, PIXEL_MM
from apps.spine_metastasis.fit import HeldOut, fit_calibration
from apps.spine_metastasis.labels import FractureClass, Weighting
from apps.spine_metastasis.samples import Sample, read_samples
from operators.bundle import choose_device, described_model, update_inference, write_configuration
from operators.evaluate.classification import area_under_curve
from operators.measure.decision import fuse
from operators.read.case_folders import find_cases, refuse_hospital_b, training_kind
from operators.train.classifier import (
    RESNET,
    ClassifierPlan,
    LabelledImages,
    TrainedClassifier,
    train_classifier,
)
from operators.train.landmarks import LandmarkCase, LandmarkPlan, train_landmarks
from operators.train.loop import bars

CLASSES = ("not_fractured", "osteoporotic", "malignant")
"""In the order of `FractureClass`."""
STEPS = 600
"""Of each of the ten networks that classify."""
NETWORK = RESNET | {"block_inplanes": [24, 32, 64, 80]}
"""Of 0.4 million weights: ten of them ship."""
DETECTOR_STEPS = 900
DETECTOR_SIZE = (192, 160)
"""Pixels of `PIXEL_MM` that the detector sees at once in training."""
SIGMA_MM = 5.0
NEAREST_PEAKS_MM = 12.0


def train(
    data: Path,
    bundle: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    steps: int | None = None,
    shuffle_labels: bool = False,
    backbone: Path | None = None,
    cache: Path | None = None,
) -> None:
    """Trains every network and writes a bundle.

    Args:
        data: Folder of case folders, see `apps.spine_metastasis.cases`.
        bundle: Folder to write: configs and weights.
        seed: Of everything random.
        device: ``auto``, ``cpu`` or ``cuda``.
        steps: Optimiser steps of each network; None: `STEPS`, and `DETECTOR_STEPS` of the detector.
        shuffle_labels: Gives patients the fractures of others: whatever is learned then is a leak.
        backbone: A safetensors file that the classifiers start from.
        cache: Folder in which prepared cases are kept between runs.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: The images of a case cannot be used.
        ValueError: A phantom is of hospital B, or there are too few cases of a class.
    """
    refuse_hospital_b(data)
    where = choose_device(device)
    with bars() as progress:
        samples = _read(data, cache, progress)
        learned: dict[str, Any] = {
            DETECTOR: _learn_places(samples, bundle, seed, where, steps or DETECTOR_STEPS, progress)
        }
        trained = {}
        for weighting in Weighting:
            trained[weighting] = train_classifier(
                pictures_of(samples, weighting),
                ClassifierPlan(
                    classes=CLASSES,
                    size_yx=(PIXELS, PIXELS),
                    network=NETWORK,
                    steps=steps or STEPS,
                ),
                bundle=bundle,
                name=weighting.value,
                seed=seed,
                device=where,
                progress=progress,
                shuffle_labels=shuffle_labels,
                backbone=backbone,
            )
            learned[weighting.value] = trained[weighting].report
    held_out = held_out_of(samples, trained)
    calibration = fit_calibration(held_out)
    update_inference(
        bundle,
        {
            SETTINGS: {
                "fractured_from": calibration.fractured_from,
                "fusion_temperature": calibration.fusion_temperature,
                "picture_mm": SIZE_MM,
            }
        },
    )
    training = {
        "kind": training_kind(data),
        "seed": seed,
        "patients": len({sample.patient_id for sample in samples}),
        "labels": "shuffled" if shuffle_labels else "true",
        **learned,
        "held_out": held_out_figures(held_out, calibration),
    }
    write_configuration(bundle, "metadata", metadata(training))


def pictures_of(samples: Sequence[Sample], weighting: Weighting) -> LabelledImages:
    """Every prepared vertebra of a sequence, patient after patient."""
    having = [sample for sample in samples if weighting in sample.pictures]
    if not having:
        raise ValueError(f"no case holds a {weighting.spoken}")
    return LabelledImages(
        images_ncyx=np.concatenate([sample.pictures[weighting] for sample in having]),
        labels=np.concatenate([sample.fractures[weighting] for sample in having]),
        patient_ids=tuple(
            sample.patient_id for sample in having for _ in range(len(sample.fractures[weighting]))
        ),
    )


def held_out_of(
    samples: Sequence[Sample], trained: dict[Weighting, TrainedClassifier]
) -> tuple[HeldOut, ...]:
    """What the networks say of each vertebra whose patient they have not learned from."""
    # By the case, not by the patient: one who was examined twice has two vertebrae of a number.
    found: dict[tuple[int, int], tuple[int, dict[Weighting, Any]]] = {}
    for weighting, one in trained.items():
        having = [case for case, sample in enumerate(samples) if weighting in sample.pictures]
        keys = [(case, int(n)) for case in having for n in samples[case].numbers[weighting]]
        for key, label, probabilities in zip(keys, one.labels, one.out_of_fold, strict=True):
            found.setdefault(key, (int(label), {}))[1][weighting] = probabilities
    return tuple(
        HeldOut(
            patient_id=samples[case].patient_id, number=number, fracture=FractureClass(label), parts=parts
        )
        for (case, number), (label, parts) in found.items()
    )


def held_out_figures(held_out: Sequence[HeldOut], calibration: Calibration) -> dict[str, float]:
    """How well fractures and their causes are told on vertebrae of patients that were not learned from."""
    is_fractured = np.array([one.fracture != FractureClass.NOT_FRACTURED for one in held_out])
    p_fractured = np.array(
        [1 - fuse(list(one.parts.values()))[FractureClass.NOT_FRACTURED] for one in held_out]
    )
    fractures = [one for one, yes in zip(held_out, is_fractured, strict=True) if yes]
    is_malignant = np.array([one.fracture == FractureClass.MALIGNANT for one in fractures])
    p_malignant = np.array(
        [
            fused_causes(list(one.parts.values()), calibration.fusion_temperature)[MALIGNANT]
            for one in fractures
        ]
    )
    figures = {
        "vertebrae": float(len(held_out)),
        "fractures": float(len(fractures)),
        "auc_fractured": area_under_curve(is_fractured, p_fractured),
        "auc_malignant": area_under_curve(is_malignant, p_malignant),
    }
    # JSON knows no NaN: what too few cases do not tell is left out.
    return {name: round(float(value), 4) for name, value in figures.items() if np.isfinite(value)}


def _read(data: Path, cache: Path | None, progress: Progress) -> list[Sample]:
    bar = progress.add_task("preparing cases", total=len(find_cases(data)), loss=float("nan"))
    samples = []
    for sample in read_samples(data, cache):
        samples.append(sample)
        progress.advance(bar)
    return samples


def _learn_places(
    samples: Sequence[Sample], bundle: Path, seed: int, device: torch.device, steps: int, progress: Progress
) -> dict[str, Any]:
    cases = [
        LandmarkCase(
            image_cyx=one.image[None].astype(np.float16) / np.float16(255),
            spacing_mm_yx=(PIXEL_MM, PIXEL_MM),
            points_mm=tuple(list(points) for points in one.points_mm),
            patient_id=sample.patient_id,
        )
        for sample in samples
        for one in sample.slices
    ]
    plan = LandmarkPlan(
        names=NAMES,
        spacing_mm=PIXEL_MM,
        size_yx=DETECTOR_SIZE,
        sigma_mm=SIGMA_MM,
        min_distance_mm=NEAREST_PEAKS_MM,
        steps=steps,
    )
    return dict(
        train_landmarks(
            cases, plan, bundle=bundle, name=DETECTOR, seed=seed, device=device, progress=progress
        )
    )


def metadata(training: dict[str, Any]) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification."""
    described = described_model(
        app="spine_metastasis",
        task="Osteoporotic and malignant fractures of vertebrae on sagittal T1 and STIR",
        description="A landmark network finds vertebrae; five networks for each sequence tell not "
        "fractured, osteoporotic and malignant; probabilities are calibrated and fused. Research use only.",
        data_source=str(training["kind"]),
        data_type="MR",
        training=training,
    )
    return described | {
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": CHANNELS,
                    "spatial_shape": [PIXELS, PIXELS],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {
                        str(i): f"slice {place:+.0f} mm to the right of the vertebra's middle"
                        for i, place in enumerate(ACROSS_MM)
                    },
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": len(CLASSES),
                    "spatial_shape": [1, 1],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {str(i): name for i, name in enumerate(CLASSES)},
                }
            },
        },
    }
