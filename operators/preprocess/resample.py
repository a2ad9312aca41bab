"""Volumes from one grid to another through the patient's coordinates."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry

CANONICAL_DIRECTION = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Slices from feet to head, rows from front to back, columns from right to left (LPS)."""


def canonical_grid(centre_mm_lps: NDArray[np.float64], *, size: int, spacing_mm: float) -> VolumeGeometry:
    """A cube of isotropic voxels around a point, its axes those of the patient.

    >>> canonical_grid(np.zeros(3), size=3, spacing_mm=4.0).origin_mm_lps
    (-4.0, -4.0, -4.0)
    """
    x, y, z = (float(c) - (size - 1) / 2 * spacing_mm for c in centre_mm_lps)
    return VolumeGeometry((size,) * 3, (spacing_mm,) * 3, (x, y, z), CANONICAL_DIRECTION)


def resample(
    volume: NDArray[np.float32] | torch.Tensor,
    source: VolumeGeometry,
    target: VolumeGeometry,
    *,
    source_from_target_lps: NDArray[np.float64] | None = None,
    nearest: bool = False,
) -> torch.Tensor:
    """The volume on another grid, ``(c, z, y, x)`` float32; zero outside its own.

    Args:
        volume: ``(z, y, x)`` or ``(c, z, y, x)`` float32 in `source`.
        source: Its grid.
        target: The grid wanted.
        source_from_target_lps: ``(4, 4)`` from a place in the target's patient system to the
            same tissue's place in the source's; the identity by default.
        nearest: Nearest neighbour instead of trilinear interpolation, for labels.
    """
    tensor = torch.as_tensor(volume, dtype=torch.float32)
    batch = tensor[None] if tensor.ndim == 4 else tensor[None, None]
    moved = np.eye(4) if source_from_target_lps is None else source_from_target_lps
    index_map = np.linalg.inv(source.affine_lps) @ moved @ target.affine_lps
    theta = _normalised(index_map, source.shape_zyx, target.shape_zyx)
    grid = torch.nn.functional.affine_grid(
        theta.to(batch.device), [1, 1, *target.shape_zyx], align_corners=True
    )
    mode = "nearest" if nearest else "bilinear"
    return torch.nn.functional.grid_sample(batch, grid, mode=mode, align_corners=True)[0]


def _normalised(
    index_map: NDArray[np.float64], source: tuple[int, ...], target: tuple[int, ...]
) -> torch.Tensor:
    """``(1, 3, 4)`` theta of ``affine_grid`` (order x, y, z, -1..1) for a map of (z, y, x) indices."""
    half_target = np.diag([*((np.asarray(target) - 1) / 2), 1.0])
    half_target[:3, 3] = (np.asarray(target) - 1) / 2
    half_source = np.diag([*((np.asarray(source) - 1) / 2), 1.0])
    half_source[:3, 3] = (np.asarray(source) - 1) / 2
    zyx = np.linalg.inv(half_source) @ index_map @ half_target
    order = [2, 1, 0, 3]
    return torch.tensor(zyx[np.ix_(order, order)][None, :3], dtype=torch.float32)
