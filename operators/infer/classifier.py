"""An ensemble of 2-D classifiers applied: calibrated probabilities and how far its members agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from operators.bundle import inference_settings, load_network
from operators.errors import BrokenBundle

AT_ONCE = 32
"""Images of a pass."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What an ensemble says of images.

    Args:
        probabilities: ``(n, classes)`` float64, calibrated, sum 1: mean over the members.
        spread: ``(n, classes)`` float64, standard deviation over the members.
    """

    probabilities: NDArray[np.float64]
    spread: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """Networks of one task, each trained without another fifth of the patients.

    Args:
        name: In the bundle.
        classes: What it tells apart, in the order of its probabilities.
        size_yx: Of its images.
        channels: Of its images.
        temperature: Divides the networks' scores.
        heat_map_layer: Whose activations a heat map shows.
        networks: In evaluation mode.
        device: Of the networks.
    """

    name: str
    classes: tuple[str, ...]
    size_yx: tuple[int, int]
    channels: int
    temperature: float
    heat_map_layer: str
    networks: tuple[nn.Module, ...]
    device: torch.device

    @classmethod
    def load(cls, bundle: Path, name: str, device: torch.device) -> Classifier:
        """The classifier of a name in a bundle.

        Raises:
            BrokenBundle: It is not declared there, or its weights do not fit.
        """
        declared: dict[str, Any] | None = inference_settings(bundle).get("classifiers", {}).get(name)
        if declared is None:
            raise BrokenBundle(f"inference.json declares no classifier {name!r}")
        try:
            rows, columns = (int(side) for side in declared["size_yx"])
            return cls(
                name=name,
                classes=tuple(str(one) for one in declared["classes"]),
                size_yx=(rows, columns),
                channels=int(declared["channels"]),
                temperature=float(declared["temperature"]),
                heat_map_layer=str(declared["heat_map_layer"]),
                networks=tuple(load_network(bundle, str(one), device) for one in declared["networks"]),
                device=device,
            )
        except (KeyError, TypeError, ValueError) as broken:
            raise BrokenBundle(f"classifier {name!r} is not fully declared: {broken!r}") from broken

    def predict(self, images_ncyx: NDArray[np.float32] | NDArray[np.uint8]) -> Prediction:
        """Probabilities of images, and how far the members differ.

        Args:
            images_ncyx: ``(n, c, *size_yx)``, float 0..1 or uint8 0..255.

        Raises:
            ValueError: They are of another shape.
        """
        self.check(images_ncyx)
        found = np.stack(
            [
                softmax(logits_of(network, images_ncyx, self.device) / self.temperature)
                for network in self.networks
            ]
        )
        return Prediction(probabilities=found.mean(axis=0), spread=found.std(axis=0))

    def probabilities(self, images_ncyx: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float64]:
        """``(n, classes)`` float64, calibrated; see `predict`."""
        return self.predict(images_ncyx).probabilities

    def check(self, images_ncyx: NDArray[Any]) -> None:
        """Images are of the shape that the networks were trained with.

        Raises:
            ValueError: They are not.
        """
        wanted = (self.channels, *self.size_yx)
        if images_ncyx.ndim != 4 or images_ncyx.shape[1:] != wanted:
            raise ValueError(f"{self.name} takes images (n, {wanted}), not {images_ncyx.shape}")


def as_input(images_ncyx: NDArray[Any]) -> torch.Tensor:
    """Images as the networks see them, ``(n, c, y, x)`` float32, -1..1.

    >>> as_input(np.array([[[[0, 255]]]], dtype=np.uint8)).flatten().tolist()
    [-1.0, 1.0]
    """
    return to_network(as_unit(images_ncyx))


def as_unit(images_ncyx: NDArray[Any]) -> torch.Tensor:
    """Stored images as float32 0..1: uint8 0..255 is divided by 255, floats stay what they are."""
    whole = np.issubdtype(images_ncyx.dtype, np.integer)
    unit = images_ncyx.astype(np.float32) / np.float32(255 if whole else 1)
    return torch.from_numpy(np.ascontiguousarray(unit))


def to_network(images: torch.Tensor) -> torch.Tensor:
    """From 0..1 to -1..1."""
    return images * 2 - 1


@torch.inference_mode()
def logits_of(network: nn.Module, images_ncyx: NDArray[Any], device: torch.device) -> NDArray[np.float64]:
    """Scores ``(n, classes)`` of one network, in full precision, a few images at a time."""
    out = [
        network(as_input(images_ncyx[start : start + AT_ONCE]).to(device)).double().cpu().numpy()
        for start in range(0, len(images_ncyx), AT_ONCE)
    ]
    return np.concatenate(out)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities ``(n, classes)`` of scores.

    >>> softmax(np.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    risen = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(risen / risen.sum(axis=1, keepdims=True), dtype=np.float64)
