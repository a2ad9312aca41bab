"""Training of an ensemble of 2-D classifiers: one network for each fold of patients, calibrated.

Each network learns without a fifth of the patients and is then asked about them; from these
answers comes the temperature that makes the ensemble as sure as it is right, and what a model card
can say without another cohort. Folds are computed beside one another, a core for each; the same seed
gives the same weights bit for bit on the CPU of one kind of machine, however many cores it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import nn
from torch.nn import functional

from operators.bundle import build_network, load_network, save_weights, update_inference
from operators.evaluate.calibration import expected_calibration_error
from operators.evaluate.classification import macro_area_under_curve
from operators.infer.classifier import as_unit, logits_of, softmax, to_network
from operators.infer.monte_carlo import on_cores
from operators.phantom.identity import generator
from operators.train.augment_images import NO_CHANGE, ImageAugmentation, augment_images, motions, moved
from operators.train.backbone import load_backbone, read_backbone, resnet_sizes
from operators.train.loop import Batch, Schedule, in_channels_last, train_network
from operators.train.split import even_folds
from operators.train.temperature import fit_temperature

RESNET: dict[str, Any] = {
    "_target_": "monai.networks.nets.ResNet",
    "block": "basic",
    "layers": [2, 2, 2, 2],
    "block_inplanes": [32, 64, 96, 128],
    "conv1_t_size": 7,
    "conv1_t_stride": 2,
    "spatial_dims": 2,
}
"""A ResNet of 18 layers with about a third of the usual channels: 1.0 million weights."""
HEAT_MAP_LAYERS = {"ResNet": "layer3", "DenseNet": "features", "EfficientNetBN": "_conv_head"}
"""Whose activations a heat map shows. Of a ResNet the last stage but one, 14 x 14 of 224 x 224 pixels: made
objects were found there within their own size, in the last stage's 7 x 7 they were not."""
STATISTICS_BATCHES = 24
"""From which the averaged weights get statistics of their own."""
SIZE_UNIT = 32
"""A side of an image is a multiple of it, for the strides of the network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """What a classifier learns from.

    Args:
        images_ncyx: ``(n, c, y, x)`` uint8 0..255 or float16 0..1. Larger than the plan's size where
            turned and shifted images are to show what is beside them instead of nothing.
        labels: ``(n,)`` int64, index of the class.
        patient_ids: Of each image; all images of a patient are in one fold.

    Raises:
        ValueError: The numbers of images, labels and patients differ.
    """

    images_ncyx: NDArray[np.uint8] | NDArray[np.float16]
    labels: NDArray[np.int64]
    patient_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = {len(self.images_ncyx), len(self.labels), len(self.patient_ids)}
        if len(counts) > 1 or self.images_ncyx.ndim != 4:
            raise ValueError(
                f"images {self.images_ncyx.shape}, {len(self.labels)} labels and {len(self.patient_ids)} "
                "patients do not belong together"
            )


@dataclass(frozen=True, kw_only=True)
class ClassifierPlan:
    """How a classifier is trained.

    Args:
        classes: What is told apart, in the order of the labels.
        size_yx: Of the images that the networks see; multiples of 32.
        network: ``_target_`` and arguments as in inference.json, without channels and classes;
            None is `RESNET`.
        folds: Of patients, and so networks.
        steps: Optimiser steps of each network.
        batch: Images of a step.
        learning_rate: Highest of the cycle.
        averaging: Decay of the running mean of the weights.
        weight_decay: Of AdamW.
        evenness: 0 draws classes as often as they are, 1 all equally often.
        smoothing: Share of a label's certainty that is given to the other classes.
        augmentation: How images are changed.
    """

    classes: tuple[str, ...]
    size_yx: tuple[int, int] = (224, 224)
    network: dict[str, Any] | None = None
    folds: int = 5
    steps: int = 350
    batch: int = 32
    learning_rate: float = 2e-3
    averaging: float = 0.99
    weight_decay: float = 0.02
    evenness: float = 0.5
    smoothing: float = 0.05
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedClassifier:
    """What came of a training, beside the bundle.

    Args:
        out_of_fold: ``(n, classes)`` float64, calibrated probabilities by the network that has not
            learned from the patient.
        folds: ``(n,)`` int64, the fold that each image was held out in.
        labels: ``(n,)`` int64, as learned.
        temperature: Divides the scores.
        report: For ``training`` in metadata.json: how much, how long, how well out of fold.
    """

    out_of_fold: NDArray[np.float64]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    temperature: float
    report: dict[str, Any]


def train_classifier(
    cases: LabelledImages,
    plan: ClassifierPlan,
    *,
    bundle: Path,
    name: str,
    seed: int,
    device: torch.device,
    progress: Progress,
    shuffle_labels: bool = False,
    backbone: Path | None = None,
) -> TrainedClassifier:
    """Trains the networks, calibrates them, and writes both into a bundle.

    Args:
        cases: To learn from.
        plan: How.
        bundle: Gets ``models/<name>_fold_<k>.safetensors`` and its part of inference.json.
        name: Of the classifier in the bundle.
        seed: Of everything random.
        device: To train on.
        progress: Where bars are shown, such as `operators.train.loop.bars`.
        shuffle_labels: Gives patients the labels of others: whatever is learned then is a leak.
        backbone: A safetensors file that the networks start from.

    Raises:
        ValueError: The cases are too few for the folds, a class has no case, the size does not
            fit, or the backbone does not.
    """
    _check(cases, plan)
    labels = shuffled_labels(cases, seed) if shuffle_labels else cases.labels.astype(np.int64)
    folds = even_folds(cases.patient_ids, labels.tolist(), folds=plan.folds, seed=seed)
    start = None if backbone is None else read_backbone(backbone)
    declared = declared_network(plan, cases.images_ncyx.shape[1], start)
    names = [f"{name}_fold_{number}" for number in range(1, plan.folds + 1)]
    settings = {"networks": dict.fromkeys(names, declared)}
    update_inference(bundle, settings)

    networks = [_first_weights(settings, one, start, seed + fold) for fold, one in enumerate(names)]
    schedule = Schedule(
        steps=plan.steps,
        learning_rate=plan.learning_rate,
        averaging=plan.averaging,
        weight_decay=plan.weight_decay,
    )

    def learn(part: range) -> range:
        for fold in part:
            draw = batches(cases, labels, np.flatnonzero(folds != fold), plan, (seed, fold))
            learned = train_network(
                networks[fold],
                draw,
                schedule,
                device,
                title=f"{name}, network {fold + 1} of {plan.folds}",
                progress=progress,
                loss_of=cross_entropy(plan.smoothing),
            )
            renew_statistics(learned, draw, device)
            save_weights(learned, bundle, names[fold])
        return part

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in on_cores(learn, _beside_one_another(declared, plan.folds), device):
            pass  # a core for each: results do not depend on how many there are
    # With what inference will read, half precision included.
    logits = np.zeros((len(labels), len(plan.classes)))
    for fold, network_name in enumerate(names):
        held_out = np.flatnonzero(folds == fold)
        if len(held_out):
            seen = centred(cases.images_ncyx[held_out], plan.size_yx)
            logits[held_out] = logits_of(load_network(bundle, network_name, device), seen, device)
    temperature = round(fit_temperature(logits, labels), 4)
    update_inference(bundle, {"classifiers": {name: _declaration(plan, names, declared, temperature)}})
    out_of_fold = softmax(logits / temperature)
    return TrainedClassifier(
        out_of_fold=out_of_fold,
        folds=folds,
        labels=labels,
        temperature=temperature,
        report=_report(cases, plan, labels, out_of_fold, softmax(logits))
        | {"seed": seed, "shuffled_labels": shuffle_labels, "temperature": temperature}
        | ({} if backbone is None else {"backbone": backbone.name}),
    )


def _check(cases: LabelledImages, plan: ClassifierPlan) -> None:
    if any(side % SIZE_UNIT for side in plan.size_yx):
        raise ValueError(f"images of {plan.size_yx} pixels: sides have to be multiples of {SIZE_UNIT}")
    if any(held < side for held, side in zip(cases.images_ncyx.shape[2:], plan.size_yx, strict=True)):
        raise ValueError(f"images {cases.images_ncyx.shape} are smaller than {plan.size_yx}")
    patients = len(set(cases.patient_ids))
    if patients < 2 * plan.folds:
        raise ValueError(
            f"{patients} patients are too few for {plan.folds} folds; {2 * plan.folds} are needed"
        )
    missing = [one for number, one in enumerate(plan.classes) if not (cases.labels == number).any()]
    if missing or not set(cases.labels.tolist()) <= set(range(len(plan.classes))):
        raise ValueError(f"labels {sorted(set(cases.labels.tolist()))} are not those of {plan.classes}")


def shuffled_labels(cases: LabelledImages, seed: int) -> NDArray[np.int64]:
    """Labels of other patients, ``(n,)``: what one patient's images share stays together.

    Were images shuffled alone, a patient in two folds would go unnoticed.
    """
    rows: dict[str, list[int]] = {}
    for row, patient_id in enumerate(cases.patient_ids):
        rows.setdefault(patient_id, []).append(row)
    patients = list(rows)
    giving = generator(seed, 7).permutation(len(patients))
    given = [row for number in giving for row in rows[patients[number]]]
    taking = [row for patient_id in patients for row in rows[patient_id]]
    labels = np.empty(len(cases.labels), dtype=np.int64)
    labels[taking] = cases.labels[given]
    return labels


def declared_network(
    plan: ClassifierPlan, channels: int, start: dict[str, torch.Tensor] | None
) -> dict[str, Any]:
    """The network as inference.json declares it; a ResNet is of the size of the file that it starts from."""
    declared = dict(plan.network or RESNET)
    target = str(declared["_target_"]).rsplit(".", 1)[-1]
    if start is not None and target == "ResNet":
        declared |= resnet_sizes(start) or {}
    names = {
        "ResNet": ("n_input_channels", "num_classes"),
        "EfficientNetBN": ("in_channels", "num_classes"),
        "DenseNet": ("in_channels", "out_channels"),
    }
    if target not in names:
        raise ValueError(f"{target} is no classifier; there are {', '.join(names)}")
    return declared | dict(zip(names[target], (channels, len(plan.classes)), strict=True))


def _beside_one_another(declared: dict[str, Any], folds: int) -> list[range]:
    """Which folds are learned in one thread: each in its own, unless the network itself draws by chance.

    Threads share the generator of such draws, so that they would come in another order each time.
    """
    draws = "EfficientNetBN" in str(declared["_target_"]) or bool(declared.get("dropout_prob"))
    return [range(folds)] if draws else [range(fold, fold + 1) for fold in range(folds)]


def _first_weights(
    settings: dict[str, Any], name: str, start: dict[str, torch.Tensor] | None, seed: int
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(settings, name)
    if start is not None:
        load_backbone(network, start)
    return in_channels_last(network)


def batches(
    cases: LabelledImages,
    labels: NDArray[np.int64],
    learning: NDArray[np.int64],
    plan: ClassifierPlan,
    seeds: Sequence[int],
) -> Callable[[int], Batch]:
    """Step to a batch of changed images ``(b, c, y, x)`` float32 -1..1 and their classes ``(b,)`` int64."""
    chances = drawing_chances(labels[learning], len(plan.classes), plan.evenness)

    def draw(step: int) -> Batch:
        rng = generator(*seeds, step)
        chosen = learning[rng.choice(len(learning), plan.batch, p=chances)]
        images = as_unit(cases.images_ncyx[chosen])
        changed = augment_images(images, rng, plan.augmentation, plan.size_yx)
        return to_network(changed), torch.from_numpy(labels[chosen])

    return draw


def drawing_chances(labels: NDArray[np.int64], classes: int, evenness: float) -> NDArray[np.float64]:
    """How often each case is drawn, ``(n,)``, sum 1.

    >>> drawing_chances(np.array([0, 0, 0, 1]), 2, 1.0).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    counts = np.bincount(labels, minlength=classes)
    weight = counts[labels] ** -float(evenness)
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def cross_entropy(smoothing: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Cross entropy of scores ``(b, classes)`` and classes ``(b,)``."""

    def loss(scores: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(scores, classes, label_smoothing=smoothing)

    return loss


@torch.no_grad()
def renew_statistics(network: nn.Module, draw: Callable[[int], Batch], device: torch.device) -> None:
    """Gives averaged weights statistics of their own: those copied are of the weights before averaging."""
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [part.momentum for part in norms]
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # the mean over all batches
        part.train()
    for step in range(STATISTICS_BATCHES):
        network(draw(step)[0].to(device))
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
        part.eval()


def centred(images_ncyx: NDArray[Any], size_yx: tuple[int, int]) -> NDArray[np.float32]:
    """The middle of images as inference sees them, ``(n, c, *size_yx)`` float32 0..1.

    >>> centred(np.array([[[[0, 64, 128, 255]]]], dtype=np.float16) / 256, (1, 2)).tolist()
    [[[[0.25, 0.5]]]]
    """
    unit = as_unit(images_ncyx)
    still = motions(np.random.default_rng(0), len(unit), NO_CHANGE)
    return moved(unit, still, size_yx).numpy()


def _declaration(
    plan: ClassifierPlan, names: list[str], declared: dict[str, Any], temperature: float
) -> dict[str, Any]:
    return {
        "networks": names,
        "classes": list(plan.classes),
        "size_yx": list(plan.size_yx),
        "channels": declared.get("n_input_channels", declared.get("in_channels")),
        "temperature": temperature,
        "heat_map_layer": HEAT_MAP_LAYERS[str(declared["_target_"]).rsplit(".", 1)[-1]],
    }


def _report(
    cases: LabelledImages,
    plan: ClassifierPlan,
    labels: NDArray[np.int64],
    calibrated: NDArray[np.float64],
    raw: NDArray[np.float64],
) -> dict[str, Any]:
    is_right = calibrated.argmax(axis=1) == labels
    return {
        "patients": len(set(cases.patient_ids)),
        "images": len(labels),
        "images_by_class": {one: int((labels == k).sum()) for k, one in enumerate(plan.classes)},
        "folds": plan.folds,
        "steps": plan.steps,
        "batch": plan.batch,
        "out_of_fold": {
            "accuracy": round(float(is_right.mean()), 4),
            "auc": round(macro_area_under_curve(labels, calibrated), 4),
            "ece": round(expected_calibration_error(calibrated.max(axis=1), is_right), 4),
            "ece_before_calibration": round(expected_calibration_error(raw.max(axis=1), is_right), 4),
        },
    }
