"""Random changes of a training volume that a model must not care about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from operators.phantom.shapes import rotation_about


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far volumes are changed, standard deviations or probabilities.

    Args:
        turn_rad: Rotation about a random axis.
        shift_voxels: Displacement along each axis.
        scale: Logarithm of the size, for all axes and once more for each.
        gamma: Logarithm of the exponent on the intensities.
        noise: Highest standard deviation of added white noise.
        blur_voxels: Highest standard deviation of an extra blur.
        one_channel_share: Share of samples of which only one channel is left.
        cropped_share: Share of samples whose field of view ends early, above or below.
    """

    turn_rad: float = 0.1
    shift_voxels: float = 4.0
    scale: float = 0.06
    gamma: float = 0.15
    noise: float = 0.15
    blur_voxels: float = 1.0
    one_channel_share: float = 0.4
    cropped_share: float = 0.25


def augment(
    image: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator, settings: Augmentation
) -> tuple[torch.Tensor, torch.Tensor]:
    """An image ``(c, z, y, x)`` float32 and its labels ``(z, y, x)`` int64, both changed alike."""
    image, labels = _move(image, labels, rng, settings)
    channels = [_recount(channel, rng, settings) for channel in image]
    image = torch.stack(channels)
    if rng.random() < settings.cropped_share:
        image, labels = _crop_view(image, labels, rng)
    if len(image) == 2 and rng.random() < settings.one_channel_share:
        image[int(rng.integers(2))] = 0
    return image, labels


def _move(
    image: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator, settings: Augmentation
) -> tuple[torch.Tensor, torch.Tensor]:
    axis = rng.standard_normal(3)
    rotation = rotation_about((axis[0], axis[1], axis[2]), float(rng.normal(0, settings.turn_rad)))
    sizes = np.exp(rng.normal(0, settings.scale) + rng.normal(0, settings.scale, 3) * 0.7)
    shift = rng.normal(0, settings.shift_voxels, 3) * 2 / np.asarray(image.shape[:0:-1])
    theta: NDArray[np.float64] = np.concatenate([rotation * sizes[None, :], shift[:, None]], axis=1)
    grid = torch.nn.functional.affine_grid(
        torch.tensor(theta[None], dtype=torch.float32), [1, 1, *image.shape[1:]], align_corners=False
    )
    moved = torch.nn.functional.grid_sample(image[None], grid, align_corners=False)[0]
    named = torch.nn.functional.grid_sample(
        labels[None, None].float(), grid, mode="nearest", align_corners=False
    )[0, 0]
    return moved, named.long()


def _recount(channel: torch.Tensor, rng: np.random.Generator, settings: Augmentation) -> torch.Tensor:
    """Another gamma, contrast, resolution and noise."""
    if rng.random() < 0.3:
        channel = _blurred(channel, float(rng.uniform(0.3, settings.blur_voxels)))
    factor = float(np.exp(rng.normal(0, 0.08)))
    channel = (channel * factor).clamp(min=0) ** float(np.exp(rng.normal(0, settings.gamma)))
    if rng.random() < 0.5:
        noise = torch.from_numpy(rng.standard_normal(channel.shape, dtype=np.float32))
        noise = _blurred(noise, 1.0) * 4.0
        channel = (channel + noise * float(rng.uniform(0, settings.noise))).clamp(min=0)
    return channel


def _blurred(channel: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = max(1, int(np.ceil(2.5 * sigma)))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    out = channel[None, None]
    for axis in range(3):
        shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], padding[axis] = 2 * reach + 1, reach
        out = torch.nn.functional.conv3d(out, kernel.reshape(shape), padding=padding)
    return out[0, 0]


def _crop_view(
    image: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The field of view ends before the volume does; what is outside has no label."""
    depth = image.shape[1]
    below, above = (int(rng.integers(0, depth // 6)) for _ in range(2))
    image, labels = image.clone(), labels.clone()
    for outside in (slice(0, below), slice(depth - above, depth)):
        image[:, outside] = 0
        labels[outside] = 0
    return image, labels
