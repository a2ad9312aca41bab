"""Random changes of a batch of 2-D training images that a classifier or detector must not care about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """How far images are changed.

    Args:
        turn_deg: Highest rotation, either way.
        scale: Highest change of the size, as a share; a third of it for each axis besides.
        shift: Highest displacement along each axis, as a share of the image.
        flip_share: Share of images that are mirrored left to right.
        contrast: Logarithm of the factor on the contrast, standard deviation.
        brightness: Added to all intensities, standard deviation.
        gamma: Logarithm of the exponent on the intensities, standard deviation.
        noise: Highest standard deviation of added noise.
        blur_px: Highest standard deviation of an extra blur.
        blurred_share: Share of batches' halves that are blurred.
        inverted_share: Share of images in which bright is dark.
        hidden_share: Share of images in which a box is hidden.
        hidden_size: Highest side of the box, as a share of the image.
    """

    turn_deg: float = 15.0
    scale: float = 0.10
    shift: float = 0.06
    flip_share: float = 0.0
    contrast: float = 0.2
    brightness: float = 0.06
    gamma: float = 0.2
    noise: float = 0.05
    blur_px: float = 1.2
    blurred_share: float = 0.25
    inverted_share: float = 0.0
    hidden_share: float = 0.25
    hidden_size: float = 0.25


NO_CHANGE = ImageAugmentation(
    turn_deg=0,
    scale=0,
    shift=0,
    contrast=0,
    brightness=0,
    gamma=0,
    noise=0,
    blurred_share=0,
    hidden_share=0,
)
"""Only the centre of an image is cut out."""


def augment_images(
    images: torch.Tensor, rng: np.random.Generator, settings: ImageAugmentation, size_yx: tuple[int, int]
) -> torch.Tensor:
    """Images changed in place, size and intensity, and cut to a size.

    Args:
        images: ``(b, c, y, x)`` float32, 0..1; larger than `size_yx` where turned images are not to end
            in nothing.
        rng: All chance comes of it.
        settings: How far.
        size_yx: Of the images that come back, about the same centre.

    Returns:
        ``(b, c, *size_yx)`` float32, 0..1.
    """
    return change_intensities(moved(images, motions(rng, len(images), settings), size_yx), rng, settings)


def motions(rng: np.random.Generator, count: int, settings: ImageAugmentation) -> NDArray[np.float64]:
    """Affine maps ``(count, 2, 3)`` from output to input, in ``(x, y)``; the shift is in half images.

    >>> np.allclose(motions(np.random.default_rng(0), 1, NO_CHANGE), np.eye(2, 3))
    True
    """
    angle = np.deg2rad(rng.uniform(-settings.turn_deg, settings.turn_deg, count))
    both = 1 + rng.uniform(-settings.scale, settings.scale, (count, 1))
    size = both * (1 + rng.uniform(-settings.scale, settings.scale, (count, 2)) / 3)
    mirror = np.where(rng.random(count) < settings.flip_share, -1.0, 1.0)
    shift = 2 * rng.uniform(-settings.shift, settings.shift, (count, 2))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    turn[:, :, 0] *= mirror[:, None]
    return np.concatenate([turn / size[:, None, :], shift[:, :, None]], axis=2)


def moved(
    images: torch.Tensor, maps: NDArray[np.float64], size_yx: tuple[int, int], *, mode: str = "bilinear"
) -> torch.Tensor:
    """Images under affine maps, cut to a size about their centre; what was not imaged is 0.

    Args:
        images: ``(b, c, y, x)``.
        maps: As of `motions`, in units in which the output spans -1..1.
        size_yx: Of the output.
        mode: Of interpolation.

    >>> moved(torch.arange(4.0).reshape(1, 1, 1, 4), np.eye(2, 3)[None], (1, 2)).flatten().tolist()
    [1.0, 2.0]
    """
    rows, columns = size_yx
    height, width = images.shape[2:]
    # From units of half an output to units of half an input, with square pixels all the way.
    to_pixels = np.array([columns / 2, rows / 2])
    to_input = np.array([2 / width, 2 / height])
    theta = maps.copy()
    theta[:, :, :2] *= to_pixels[None, None, :] * to_input[None, :, None]
    theta[:, :, 2] *= to_pixels * to_input
    grid = functional.affine_grid(
        torch.from_numpy(theta.astype(np.float32)),
        [len(images), images.shape[1], rows, columns],
        align_corners=False,
    )
    return functional.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def change_intensities(
    images: torch.Tensor, rng: np.random.Generator, settings: ImageAugmentation
) -> torch.Tensor:
    """Another exposure, processing, noise and resolution; ``(b, c, y, x)`` float32, 0..1."""
    count, channels = images.shape[:2]
    inverted = _column(rng.random(count) < settings.inverted_share)
    images = torch.where(inverted > 0, 1 - images, images)
    images = _blurred_in_part(images, rng, settings)
    gamma = _column(np.exp(rng.normal(0, settings.gamma, (count, channels))))
    factor = _column(np.exp(rng.normal(0, settings.contrast, (count, channels))))
    offset = _column(rng.normal(0, settings.brightness, (count, channels)))
    images = images.clamp(0, 1).pow(gamma)
    images = (images - 0.5) * factor + 0.5 + offset
    if settings.noise > 0:
        source = torch.Generator().manual_seed(int(rng.integers(2**62)))
        level = _column(rng.uniform(0, settings.noise, (count, channels)))
        images = images + level * torch.randn(images.shape, generator=source)
    return _hidden_in_part(images.clamp(0, 1), rng, settings)


def _column(values: NDArray[np.float64] | NDArray[np.bool_]) -> torch.Tensor:
    """One value for each image, or each channel of it, as a tensor that multiplies images."""
    channels = values.shape[1] if values.ndim == 2 else 1
    return torch.from_numpy(values.astype(np.float32)).reshape(len(values), channels, 1, 1)


def _blurred_in_part(
    images: torch.Tensor, rng: np.random.Generator, settings: ImageAugmentation
) -> torch.Tensor:
    chosen = np.flatnonzero(rng.random(len(images)) < settings.blurred_share)
    sigma_px = float(rng.uniform(0.3, max(settings.blur_px, 0.3)))
    if not len(chosen):
        return images
    images = images.clone()
    images[chosen] = blurred(images[chosen], sigma_px)
    return images


def blurred(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Images ``(b, c, y, x)`` under a Gaussian of a standard deviation in pixels."""
    reach = max(1, int(np.ceil(2.5 * sigma_px)))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.reshape(-1, 1, *images.shape[2:])
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = functional.conv2d(flat, kernel.reshape(1, 1, -1, 1))
    return functional.conv2d(flat, kernel.reshape(1, 1, 1, -1)).reshape(images.shape)


def _hidden_in_part(
    images: torch.Tensor, rng: np.random.Generator, settings: ImageAugmentation
) -> torch.Tensor:
    """A box of some images shows nothing but one grey, as under a marker or an implant."""
    rows, columns = images.shape[2:]
    for number in np.flatnonzero(rng.random(len(images)) < settings.hidden_share):
        sides = rng.uniform(0.05, max(settings.hidden_size, 0.05), 2) * (rows, columns)
        top, left = (int(v) for v in rng.uniform(0, 1, 2) * (rows - sides[0], columns - sides[1]))
        grey = float(rng.random())
        images[number, :, top : top + int(sides[0]) + 1, left : left + int(sides[1]) + 1] = grey
    return images
