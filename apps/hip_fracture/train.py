"""Training: cases to a bundle, the same from the same cases and seed on one kind of processor.

Three models: the detector of hips from pictures whose landmarks were marked (or that of the bundle that
ships, where a site has marked none), and a classifier for each view from crops of its hips, each with five
folds of patients. What the networks say of patients they have not learned from gives the temperatures.
No case of the evaluation's hospital is touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from apps.hip_fracture.classify import CLASSIFIER_NAMES, UNREADABLE, readable_part
from apps.hip_fracture.detect import NAME as DETECTOR
from apps.hip_fracture.findings import Limits, by_title, decision_on, fused_probabilities
from apps.hip_fracture.fit import HeldOut, fit_limits
from apps.hip_fracture.labels import CLASSES, VIEWS, Landmark
from apps.hip_fracture.prepare import CROP_PX, OVERVIEW_MM
from apps.hip_fracture.samples import UNREADABLE_LABEL, CaseSamples, HipSample, Overview, read_samples
from operators.bundle import (
    choose_device,
    described_model,
    inference_settings,
    update_inference,
    write_configuration,
)
from operators.errors import Refused
from operators.infer.landmarks import Detector
from operators.measure.decision import fuse
from operators.read.case_folders import find_cases, refuse_hospital_b, training_kind
from operators.read.projection import Side, View
from operators.train.augment_images import ImageAugmentation
from operators.train.classifier import ClassifierPlan, LabelledImages, TrainedClassifier, train_classifier
from operators.train.landmarks import LandmarkCase, LandmarkPlan, train_landmarks
from operators.train.loop import bars

OWN_BUNDLE = Path(__file__).parent / "model"
LEAST_MARKED = 20
"""Pictures with landmarks that a detector needs."""
MOST_LOST = 0.1
"""Share of pictures that may be of no use; more means that something is wrong with all of them."""
STEPS = 420
"""Of each network of a classifier."""
DETECTOR_STEPS = 2500
NETWORK: dict[str, Any] = {
    "_target_": "monai.networks.nets.ResNet",
    "block": "basic",
    "layers": [2, 2, 2, 2],
    "block_inplanes": [24, 48, 64, 80],
    "conv1_t_size": 7,
    "conv1_t_stride": 2,
    "spatial_dims": 2,
}
"""0.46 million weights: ten of them in half precision are 9 MB."""


def train(
    data: Path,
    bundle: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    steps: int | None = None,
    shuffle_labels: bool = False,
    backbone: Path | None = None,
) -> None:
    """Learns from cases and writes the bundle.

    Args:
        data: Folder of case folders, see `apps.hip_fracture.cases`.
        bundle: Folder to write: configs and weights.
        seed: Of everything random.
        device: ``auto``, ``cpu`` or ``cuda``.
        steps: Of each network of the classifiers and of the detector; None is what the shipped ones had.
        shuffle_labels: Gives patients the answers of others, to see that chance is all that is left.
        backbone: A safetensors file that the classifiers start from.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: More than `MOST_LOST` of the pictures cannot be used.
        ValueError: There are too few cases, or a class without one.
    """
    folders = find_cases(data)
    refuse_hospital_b(data)
    where = choose_device(device)
    bundle.mkdir(parents=True, exist_ok=True)
    with bars() as progress:
        samples = _read(folders, None, progress)
        told: dict[str, Any] = {"cases": len(folders), "seed": seed}
        overviews = [overview for case in samples for overview in case.overviews]
        if len(overviews) < LEAST_MARKED:
            _take_shipped_detector(bundle)
            told["detector"] = "that of the bundle that ships"
        else:
            told["detector"] = _train_detector(overviews, bundle, seed, where, steps, progress)
        if any(not case.overviews for case in samples):
            samples = _read(folders, Detector.load(bundle, DETECTOR, where), progress)
        _check(samples, progress)
        plan = _plan(steps)
        views: dict[View, Trained] = {}
        for view in VIEWS:
            hips = [hip for case in samples for hip in case.hips if hip.view is view]
            views[view] = Trained(
                hips=hips,
                result=train_classifier(
                    _labelled(hips),
                    plan,
                    bundle=bundle,
                    name=CLASSIFIER_NAMES[view],
                    seed=seed,
                    device=where,
                    progress=progress,
                    shuffle_labels=shuffle_labels,
                    backbone=backbone,
                ),
            )
    held_out = () if shuffle_labels else held_out_of(views)
    _write(bundle, views, held_out, told | {"kind": training_kind(folders)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A classifier's hips, and what came of training with them."""

    hips: list[HipSample]
    result: TrainedClassifier


def _plan(steps: int | None) -> ClassifierPlan:
    return ClassifierPlan(
        classes=(*(fracture.value for fracture in CLASSES), UNREADABLE),
        size_yx=(CROP_PX, CROP_PX),
        network=NETWORK,
        steps=STEPS if steps is None else steps,
        augmentation=ImageAugmentation(),
    )


def _read(folders: Sequence[Path], detector: Detector | None, progress: Progress) -> list[CaseSamples]:
    bar = progress.add_task("reading cases", total=len(folders), loss=float("nan"))
    samples = []
    for case in read_samples(folders, detector):
        samples.append(case)
        progress.advance(bar)
    return samples


def _check(samples: Sequence[CaseSamples], progress: Progress) -> None:
    """Names what could not be used.

    Raises:
        Refused: It is too much.
    """
    remarks = [remark for case in samples for remark in case.remarks]
    for remark in remarks:
        progress.console.print(f"left out of training: {remark}", markup=False)
    hips = sum(len(case.hips) for case in samples)
    if len(remarks) > MOST_LOST * (hips + len(remarks)):
        raise Refused(f"{len(remarks)} pictures cannot be used; first {remarks[0]}", attribute="PixelData")


def _take_shipped_detector(bundle: Path) -> None:
    shipped = inference_settings(OWN_BUNDLE)
    (bundle / "models").mkdir(parents=True, exist_ok=True)
    shutil.copy(OWN_BUNDLE / "models" / f"{DETECTOR}.safetensors", bundle / "models")
    update_inference(
        bundle, {group: {DETECTOR: shipped[group][DETECTOR]} for group in ("networks", "landmarks")}
    )


def _train_detector(
    overviews: Sequence[Overview],
    bundle: Path,
    seed: int,
    device: torch.device,
    steps: int | None,
    progress: Progress,
) -> dict[str, Any]:
    plan = LandmarkPlan(
        names=tuple(landmark.name.lower() for landmark in Landmark),
        spacing_mm=OVERVIEW_MM,
        size_yx=(128, 160),
        sigma_mm=8.0,
        min_distance_mm=60.0,
        is_exclusive=True,
        steps=DETECTOR_STEPS if steps is None else steps,
    )
    cases = [
        LandmarkCase(
            image_cyx=one.image_yx.astype(np.float32) / 255,
            spacing_mm_yx=one.spacing_mm_yx,
            points_mm=one.points_mm,
            patient_id=one.patient_id,
        )
        for one in overviews
    ]
    return train_landmarks(
        cases, plan, bundle=bundle, name=DETECTOR, seed=seed, device=device, progress=progress
    )


def _labelled(hips: Sequence[HipSample]) -> LabelledImages:
    if not hips:
        raise ValueError("no case shows a hip of each view")
    return LabelledImages(
        images_ncyx=np.stack([hip.image_cyx for hip in hips]),
        labels=np.array([hip.label for hip in hips], dtype=np.int64),
        patient_ids=tuple(hip.patient_id for hip in hips),
    )


def _write(
    bundle: Path, views: dict[View, Trained], held_out: Sequence[HeldOut], told: dict[str, Any]
) -> None:
    limits = fit_limits(held_out)
    update_inference(bundle, {"hip": asdict(limits)})
    training = told | {CLASSIFIER_NAMES[view]: trained.result.report for view, trained in views.items()}
    training["both_views"] = {"hips": len(held_out)}
    if held_out:
        training["both_views"] |= out_of_fold_figures(held_out, limits)
    write_configuration(bundle, "metadata", metadata(training))


def metadata(training: dict[str, Any]) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification."""
    return described_model(
        app="hip_fracture",
        task="Fracture of the proximal femur on AP and lateral radiographs of the hip",
        description="A detector of hip joints and trochanters (U-Net), and for each view five residual "
        "networks that tell neck fracture, trochanteric fracture, none, and what cannot be read. "
        "Research use only.",
        data_source=str(training["kind"]),
        data_type="CR, DX",
        training=training,
    )


def held_out_of(views: dict[View, Trained]) -> tuple[HeldOut, ...]:
    """Readable hips with both views, and what networks say that have not learned from the patient."""
    by_hip: dict[tuple[str, Side], dict[View, list[NDArray[np.float64]]]] = {}
    answers: dict[tuple[str, Side], int] = {}
    for view, trained in views.items():
        for hip, label, probabilities in zip(
            trained.hips, trained.result.labels, trained.result.out_of_fold, strict=True
        ):
            if int(label) == UNREADABLE_LABEL:
                continue
            key = hip.case, hip.side
            by_hip.setdefault(key, {}).setdefault(view, []).append(readable_part(probabilities)[0])
            answers[key] = int(label)
    return tuple(
        HeldOut(parts={view: fuse(parts) for view, parts in seen.items()}, answer=answers[key])
        for key, seen in by_hip.items()
        if len(seen) == len(VIEWS)
    )


def out_of_fold_figures(held_out: Sequence[HeldOut], limits: Limits) -> dict[str, float]:
    """Accuracy of the likeliest answer, one network for each view: fused and alone; and the undecided."""
    answers = np.array([hip.answer for hip in held_out])
    fused = [fused_probabilities(list(hip.parts.values()), limits.fusion_temperature) for hip in held_out]
    decisions = [
        decision_on(one, by_title(hip.parts), limits) for one, hip in zip(fused, held_out, strict=True)
    ]
    figures = {"accuracy": np.mean(np.stack(fused).argmax(axis=1) == answers)}
    for view in VIEWS:
        alone = np.stack([hip.parts[view] for hip in held_out])
        figures[f"accuracy_{CLASSIFIER_NAMES[view]}"] = np.mean(alone.argmax(axis=1) == answers)
    figures["indeterminate_share"] = np.mean([decision.is_indeterminate for decision in decisions])
    return {name: round(float(value), 4) for name, value in figures.items()}
