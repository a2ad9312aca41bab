"""A landmark detector applied: where in an image the hills are that its network draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn
from torch.nn import functional

from operators.bundle import inference_settings, load_network
from operators.errors import BrokenBundle

SIDE_UNIT = 16
"""A side of what the network sees is a multiple of it."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A landmark found.

    Args:
        y_mm, x_mm: From the centre of the image's first pixel, along its columns and rows.
        score: Height of the hill, 0..1.
    """

    y_mm: float
    x_mm: float
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A network that draws a hill for each landmark.

    Args:
        name: In the bundle.
        names: Of the landmarks, one for each channel of its output.
        channels: Of its images.
        spacing_mm: Of the images that it sees.
        min_distance_mm: Two landmarks of a name are at least so far apart.
        threshold: Lower hills are none.
        size_yx: Of the images that it learned from, pixels; a smaller image is put into the middle of one.
        network: In evaluation mode.
        device: Of the network.
    """

    name: str
    names: tuple[str, ...]
    channels: int
    spacing_mm: float
    min_distance_mm: float
    threshold: float
    size_yx: tuple[int, int]
    network: nn.Module
    device: torch.device

    @classmethod
    def load(cls, bundle: Path, name: str, device: torch.device) -> Detector:
        """The detector of a name in a bundle.

        Raises:
            BrokenBundle: It is not declared there, or its weights do not fit.
        """
        declared: dict[str, Any] | None = inference_settings(bundle).get("landmarks", {}).get(name)
        if declared is None:
            raise BrokenBundle(f"inference.json declares no landmarks {name!r}")
        try:
            return cls(
                name=name,
                names=tuple(str(one) for one in declared["names"]),
                channels=int(declared["channels"]),
                spacing_mm=float(declared["spacing_mm"]),
                min_distance_mm=float(declared["min_distance_mm"]),
                threshold=float(declared["threshold"]),
                size_yx=_size(declared.get("size_yx", (0, 0))),
                network=load_network(bundle, str(declared["network"]), device),
                device=device,
            )
        except (KeyError, TypeError, ValueError) as broken:
            raise BrokenBundle(f"landmarks {name!r} are not fully declared: {broken!r}") from broken

    def find(
        self, image_cyx: NDArray[np.floating[Any]], spacing_mm_yx: tuple[float, float]
    ) -> dict[str, list[Peak]]:
        """Landmarks of an image by name, the highest hill first.

        Args:
            image_cyx: ``(c, y, x)`` or ``(y, x)`` float, 0..1.
            spacing_mm_yx: Of its pixels.

        Raises:
            ValueError: It has another number of channels than the network takes.
        """
        return self.candidates(image_cyx, spacing_mm_yx, self.threshold)

    def candidates(
        self, image_cyx: NDArray[np.floating[Any]], spacing_mm_yx: tuple[float, float], threshold: float
    ) -> dict[str, list[Peak]]:
        """As `find`, with another threshold."""
        maps = self.heat_maps(image_cyx, spacing_mm_yx)
        distance_px = self.min_distance_mm / self.spacing_mm
        return {
            name: [
                Peak(y_mm=y * self.spacing_mm, x_mm=x * self.spacing_mm, score=height)
                for y, x, height in find_peaks(heat_map, threshold=threshold, min_distance_px=distance_px)
            ]
            for name, heat_map in zip(self.names, maps, strict=True)
        }

    @torch.inference_mode()
    def heat_maps(
        self, image_cyx: NDArray[np.floating[Any]], spacing_mm_yx: tuple[float, float]
    ) -> NDArray[np.float32]:
        """Hills ``(names, y, x)`` float32, 0..1, at the detector's spacing."""
        image = torch.from_numpy(resampled(image_cyx, spacing_mm_yx, self.spacing_mm))
        if len(image) != self.channels:
            raise ValueError(f"{self.name} takes images of {self.channels} channels, not {len(image)}")
        rows, columns = image.shape[1:]
        (above, below), (before, behind) = (
            margins(side, least) for side, least in zip((rows, columns), self.size_yx, strict=True)
        )
        padded = functional.pad(image, (before, behind, above, below))
        scores = torch.sigmoid(self.network(padded[None].to(self.device)).float())
        inside = scores[0, :, above : above + rows, before : before + columns]
        return np.asarray(inside.cpu().numpy(), dtype=np.float32)


def margins(side: int, least: int) -> tuple[int, int]:
    """Empty pixels before and behind a side, so that it is as long as in training and fits the strides.

    The network's norms are over the whole image: a small one has to lie in as much emptiness as when it
    was learned.

    >>> margins(100, 128), margins(130, 128), margins(128, 0)
    ((14, 14), (0, 14), (0, 0))
    """
    before = max(least - side, 0) // 2
    whole = max(side, least)
    return before, whole + -whole % SIDE_UNIT - side - before


def _size(declared: Sequence[int]) -> tuple[int, int]:
    height, width = declared
    return int(height), int(width)


def resampled(
    image_cyx: NDArray[np.floating[Any]], spacing_mm_yx: tuple[float, float], spacing_mm: float
) -> NDArray[np.float32]:
    """An image at another spacing, ``(c, y, x)`` float32; the centre of its first pixel stays where it is.

    >>> resampled(np.arange(8.0).reshape(1, 8), (1.0, 1.0), 2.0).shape
    (1, 1, 4)
    """
    image = np.asarray(image_cyx, dtype=np.float32)
    image = image[None] if image.ndim == 2 else image
    factors = np.array(spacing_mm_yx, dtype=np.float64) / spacing_mm
    shape = [max(1, round(side * factor)) for side, factor in zip(image.shape[1:], factors, strict=True)]
    # An average over what a new pixel covers, so that fine noise does not become coarse.
    sigma = [0.4 * max(0.0, 1 / factor - 1) for factor in factors]
    smooth = [ndimage.gaussian_filter(channel, sigma) for channel in image]
    return np.stack(
        [
            ndimage.affine_transform(channel, 1 / factors, output_shape=shape, order=1, mode="nearest")
            for channel in smooth
        ]
    ).astype(np.float32)


def find_peaks(
    heat_map_yx: NDArray[np.float32], *, threshold: float, min_distance_px: float
) -> list[tuple[float, float, float]]:
    """Row, column and height of hilltops, the highest first, between pixels where that is higher.

    Args:
        heat_map_yx: ``(y, x)``.
        threshold: Lower ones are none.
        min_distance_px: Of two that are closer the higher one counts.

    >>> hill = np.exp(-0.5 * ((np.arange(9)[:, None] - 4.25) ** 2 + (np.arange(9) - 3.0) ** 2) / 4)
    >>> [(round(y, 2), round(x, 2)) for y, x, _ in find_peaks(hill, threshold=0.5, min_distance_px=3)]
    [(4.25, 3.0)]
    """
    reach = max(1, int(min_distance_px / 2))
    is_top = (heat_map_yx == ndimage.maximum_filter(heat_map_yx, 2 * reach + 1)) & (heat_map_yx >= threshold)
    tops = sorted(zip(*np.nonzero(is_top), strict=True), key=lambda at: (-heat_map_yx[at], at))
    kept: list[tuple[float, float, float]] = []
    for row, column in tops:
        y, x = _between_pixels(heat_map_yx, int(row), int(column))
        if all(np.hypot(y - other[0], x - other[1]) >= min_distance_px for other in kept):
            kept.append((y, x, float(heat_map_yx[row, column])))
    return kept


def _between_pixels(heat_map_yx: NDArray[np.float32], row: int, column: int) -> tuple[float, float]:
    """The top of a Gaussian through a highest pixel and its neighbours, each axis on its own."""
    along_y = heat_map_yx[max(row - 1, 0) : row + 2, column]
    along_x = heat_map_yx[row, max(column - 1, 0) : column + 2]
    return row + _offset(along_y), column + _offset(along_x)


def _offset(three: NDArray[np.float32]) -> float:
    if len(three) < 3 or float(three.min()) <= 0:
        return 0.0
    low, top, high = np.log(three.astype(np.float64))
    bend = low - 2 * top + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0
