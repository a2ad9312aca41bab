"""What the classifiers say of a hip in one picture, and where they looked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apps.hip_fracture.detect import Hip
from apps.hip_fracture.labels import CLASSES
from apps.hip_fracture.prepare import Placement, channels, cut_out
from operators.infer.classifier import Classifier
from operators.infer.grad_cam import heat_map
from operators.read.projection import View
from operators.read.radiograph import Radiograph

UNREADABLE = "unreadable"
"""The classifiers' last class: metal, or a cast, where the bone should be."""
CLASSIFIER_NAMES = {View.AP: "ap", View.LATERAL: "lateral"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A hip in one picture.

    Args:
        radiograph: The picture.
        hip: Where it is.
        placement: Of the crop.
        crop_yx: ``(y, x)`` uint8, first channel of what the classifiers saw: left mirrored, laterals turned.
        probabilities: ``(3,)`` float64, of `CLASSES`, calibrated; sum 1, given that the hip is readable.
        spread: ``(3,)`` float64, standard deviation over the networks.
        unreadable: Probability that metal or a cast hides the bone.
        heat_yx: ``(y, x)`` float32, 0 to 1, where the evidence for the likeliest of the three lies in the
            crop.
    """

    radiograph: Radiograph
    hip: Hip
    placement: Placement
    crop_yx: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    spread: NDArray[np.float64]
    unreadable: float
    heat_yx: NDArray[np.float32]


def read_hip(
    radiograph: Radiograph, hip: Hip, bundle: Path, device: torch.device, *, looks: bool = True
) -> Reading:
    """What the classifier of this view says.

    Args:
        radiograph: The picture.
        hip: In it.
        bundle: The model.
        device: To compute on.
        looks: Also where the evidence lies, which takes longer than the answer.

    Raises:
        BrokenBundle: The bundle lacks the classifier.
    """
    classifier = Classifier.load(bundle, CLASSIFIER_NAMES[hip.view], device)
    placement = hip.placement(radiograph)
    image_cyx = channels(cut_out(radiograph.pixels_yx, placement))
    found = classifier.predict(image_cyx[None])
    probabilities, unreadable = readable_part(found.probabilities[0])
    likeliest = int(np.argmax(probabilities))
    heat = np.zeros(image_cyx.shape[1:], dtype=np.float32)
    return Reading(
        radiograph=radiograph,
        hip=hip,
        placement=placement,
        crop_yx=image_cyx[0],
        probabilities=probabilities,
        spread=found.spread[0][: len(CLASSES)],
        unreadable=unreadable,
        heat_yx=heat_map(classifier, image_cyx.astype(np.float32) / 255, likeliest) if looks else heat,
    )


def readable_part(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Probabilities of the three answers, given that the hip is readable, and that it is not.

    >>> three, unreadable = readable_part(np.array([0.2, 0.2, 0.1, 0.5]))
    >>> three.tolist(), unreadable
    ([0.4, 0.4, 0.2], 0.5)
    """
    three = probabilities[: len(CLASSES)]
    total = float(three.sum())
    return (three / total if total > 0 else np.full(len(CLASSES), 1 / len(CLASSES))), float(
        probabilities[len(CLASSES)]
    )
