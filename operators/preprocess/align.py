"""Rigid alignment of two volumes of the same patient by Gauss-Newton least squares."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry
from operators.phantom.shapes import rotation_about
from operators.preprocess.resample import resample

MAX_SHIFT_MM = 60.0
"""A result farther away than this is a failure of the method, not a movement."""
MAX_TURN_RAD = 0.3
LEVELS = ((4, 12), (2, 8))
"""Coarse to fine: voxels averaged along each side, and iterations."""
INSIDE = 0.999
"""A coarse voxel counts when all its fine ones were seen."""
SMALLEST_STEP = 1e-3
"""Iterations end when the update is below this, mm and radians."""


def align_rigid(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    geometry: VolumeGeometry,
    *,
    fixed_seen: NDArray[np.float32] | None = None,
    moving_seen: NDArray[np.float32] | None = None,
) -> NDArray[np.float64] | None:
    """Where tissue of the fixed volume is in the moving one: ``(4, 4)`` float64, LPS mm, rigid.

    Args:
        fixed: ``(c, z, y, x)`` float32 on a canonical grid; smooth maps work best.
        moving: The same channels of the other volume, on the same grid.
        geometry: That grid.
        fixed_seen: ``(z, y, x)`` float32, 1 inside the field of view, else 0; everywhere by default.
            Without it the ends of the field of view, which do not move, hold the images fast.
        moving_seen: The same for the moving volume.

    Returns:
        The transform, or None when the least squares run away: a poor match must not
        displace a mask.
    """
    everywhere = np.ones(geometry.shape_zyx, dtype=np.float32)
    seen = [everywhere if mask is None else mask for mask in (fixed_seen, moving_seen)]
    transform = np.eye(4)
    for pool, iterations in LEVELS:
        still, other = (_averaged(volume, pool) for volume in (fixed, moving))
        views = [(_averaged(mask[None], pool) > INSIDE).float() for mask in seen]
        grid = _pooled(geometry, pool)
        for _ in range(iterations):
            overlap = views[0] * resample(views[1], grid, grid, source_from_target_lps=transform)
            update = _gauss_newton_step(still, other, overlap, grid, transform)
            transform = transform @ update
            if np.abs(update - np.eye(4)).max() < SMALLEST_STEP:
                break
    return transform if _is_plausible(transform, _centre(geometry)) else None


def _averaged(volume: NDArray[np.float32], pool: int) -> torch.Tensor:
    return torch.nn.functional.avg_pool3d(torch.as_tensor(volume)[None], pool)[0]


def _gauss_newton_step(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    overlap: torch.Tensor,
    grid: VolumeGeometry,
    transform: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The rigid update, applied first, that best explains what differs now."""
    moved = resample(moving, grid, grid, source_from_target_lps=transform)
    slopes = torch.gradient(moved, spacing=grid.spacing_mm_zyx[0], dim=(1, 2, 3))
    gradient = torch.stack(slopes[::-1], dim=-1)
    arm = torch.as_tensor(_arms(grid), dtype=torch.float32).expand_as(gradient)
    jacobian = torch.cat([gradient, torch.linalg.cross(arm, gradient)], dim=-1) * overlap[..., None]
    residual = (fixed - moved) * overlap
    rows = jacobian.reshape(-1, 6)
    normal = (rows.T @ rows).double().numpy()
    pull = (rows.T @ residual.reshape(-1)).double().numpy()
    normal += np.eye(6) * 1e-6 * np.trace(normal)
    step = np.linalg.solve(normal, pull)
    return _rigid(step, _centre(grid))


def _rigid(step: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = float(np.linalg.norm(step[3:]))
    out = np.eye(4)
    if angle > 0:
        axis = step[3:] / angle
        out[:3, :3] = rotation_about((axis[0], axis[1], axis[2]), angle)
    out[:3, 3] = centre + step[:3] - out[:3, :3] @ centre
    return out


def _pooled(geometry: VolumeGeometry, pool: int) -> VolumeGeometry:
    """The grid of averages over `pool` voxels along each axis."""
    first = (pool - 1) / 2
    x, y, z = geometry.position_mm_lps((first, first, first))
    return VolumeGeometry(
        shape_zyx=tuple(n // pool for n in geometry.shape_zyx),  # type: ignore[arg-type]
        spacing_mm_zyx=tuple(s * pool for s in geometry.spacing_mm_zyx),  # type: ignore[arg-type]
        origin_mm_lps=(float(x), float(y), float(z)),
        direction_lps_zyx=geometry.direction_lps_zyx,
    )


def _arms(grid: VolumeGeometry) -> NDArray[np.float64]:
    """Places against the grid's centre, ``(z, y, x, 3)`` float64, mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_zyx), indexing="ij"), axis=-1)
    places = index @ grid.affine_lps[:3, :3].T + grid.affine_lps[:3, 3]
    return np.asarray(places - _centre(grid), dtype=np.float64)


def _centre(geometry: VolumeGeometry) -> NDArray[np.float64]:
    z, y, x = ((n - 1) / 2 for n in geometry.shape_zyx)
    return geometry.position_mm_lps((z, y, x))


def _is_plausible(transform: NDArray[np.float64], centre: NDArray[np.float64]) -> bool:
    shift = transform[:3, :3] @ centre + transform[:3, 3] - centre
    turned = float(np.arccos(np.clip((np.trace(transform[:3, :3]) - 1) / 2, -1, 1)))
    return bool(np.linalg.norm(shift) <= MAX_SHIFT_MM and turned <= MAX_TURN_RAD)
