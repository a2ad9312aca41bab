"""Where a classifier looked: Grad-CAM (Selvaraju et al. 2017) of an ensemble."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.visualize.class_activation_maps import GradCAM
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from operators.infer.classifier import Classifier, as_input

FAINTEST = 1e-8
"""A map that is nowhere higher than this shows nothing."""


def heat_map(classifier: Classifier, image_cyx: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
    """Where the evidence for a class is in an image, ``(y, x)`` float32, 0..1, 1 = most.

    The mean of the members' maps, each against its own highest; all 0 where nothing speaks for the class.

    Args:
        classifier: Whose decision is shown.
        image_cyx: ``(c, *size_yx)``, 0..1.
        class_index: Of the class.

    Raises:
        ValueError: The image is of another shape, or there is no such class.
    """
    classifier.check(image_cyx[None])
    if not 0 <= class_index < len(classifier.classes):
        raise ValueError(f"{classifier.name} has no class {class_index}")
    total = np.zeros(classifier.size_yx, dtype=np.float64)
    for network in classifier.networks:
        total += _against_highest(_evidence(network, classifier, image_cyx, class_index))
    return _against_highest(total).astype(np.float32)


def _evidence(
    network: nn.Module, classifier: Classifier, image_cyx: NDArray[np.float32], class_index: int
) -> NDArray[np.float64]:
    """Positive evidence of one network, in the size of the image."""
    camera = GradCAM(
        _copy_to_look_into(network), classifier.heat_map_layer, upsampler=_as_it_is, postprocessing=_unchanged
    )
    with torch.enable_grad():
        # A layer that is the first one too is only looked into where its input asks for gradients.
        image = as_input(image_cyx[None]).to(classifier.device).requires_grad_(True)
        found = camera(image, class_idx=class_index)
    sized = functional.interpolate(
        found.detach().float(), size=classifier.size_yx, mode="bilinear", align_corners=False
    )
    return np.asarray(sized[0, 0].double().cpu().numpy())


def _copy_to_look_into(network: nn.Module) -> nn.Module:
    """A copy, because hooks stay and gradients are kept, and the network itself serves other threads.

    Nothing in it works in place: what a hook has been shown must not change afterwards.
    """
    seen = copy.deepcopy(network).requires_grad_(True)
    for part in seen.modules():
        if hasattr(part, "inplace"):
            setattr(part, "inplace", False)  # noqa: B010, typed as a module otherwise
    return seen


def _as_it_is(_size: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    return _unchanged


def _unchanged(maps: torch.Tensor) -> torch.Tensor:
    return maps


def _against_highest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    highest = float(values.max())
    return values / highest if highest > FAINTEST else np.zeros_like(values)
