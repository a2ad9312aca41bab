"""How much of what a voxel emits reaches a rotating camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def attenuation_factor(
    mu_per_cm: NDArray[np.float32], *, spacing_mm: float, angles_rad: Sequence[float], step: int = 2
) -> NDArray[np.float32]:
    """Mean transmission over the views for each voxel, ``(z, y, x)`` float32, 0..1 (first-order Chang).

    Args:
        mu_per_cm: ``(z, y, x)`` float32, linear attenuation.
        spacing_mm: Of its isotropic voxels.
        angles_rad: View angles; 0 is anterior, growing towards the patient's left.
        step: Voxels along an edge that are taken together.
    """
    coarse = torch.nn.functional.avg_pool3d(torch.from_numpy(mu_per_cm)[None, None], step)[0]
    total = torch.zeros_like(coarse[0])
    for angle in angles_rad:
        turned = turned_about_z(coarse, angle)[0]
        path = torch.cumsum(turned, dim=1) - 0.5 * turned
        seen = torch.exp(-path * (spacing_mm * step / 10.0))
        total += turned_about_z(seen[None], -angle)[0]
    mean = (total / len(angles_rad))[None, None]
    full = torch.nn.functional.interpolate(mean, size=mu_per_cm.shape, mode="trilinear", align_corners=False)
    return np.asarray(full[0, 0].numpy(), dtype=np.float32)


def turned_about_z(stack: torch.Tensor, angle: float) -> torch.Tensor:
    """A stack rotated about z so that the camera at an angle looks along +y.

    Args:
        stack: ``(1, z, y, x)``; each plane is turned about its centre.
        angle: Radians; 0 is anterior, growing towards the patient's left.
    """
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    matrix = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]], dtype=torch.float32)
    grid = torch.nn.functional.affine_grid(matrix, [1, 1, *stack.shape[2:]], align_corners=False)
    return torch.nn.functional.grid_sample(stack, grid, align_corners=False)
