"""What both networks see: early and late on one 4 mm cube, late aligned to early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from apps.mibg_spect.labels import Phase
from operators.geometry import VolumeGeometry
from operators.preprocess.counts import body_centre_mm_lps, variance_stabilised
from operators.preprocess.resample import canonical_grid, resample

CUBE = 96
"""Voxels along each side."""
SPACING_MM = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class GriddedVolume:
    """Counts with their grid: all that this module needs of an acquisition."""

    counts_zyx: NDArray[np.float32]
    geometry: VolumeGeometry


def cube_around(volume: GriddedVolume) -> VolumeGeometry:
    """The networks' grid for a volume."""
    return canonical_grid(
        body_centre_mm_lps(volume.counts_zyx, volume.geometry), size=CUBE, spacing_mm=SPACING_MM
    )


def network_input(
    volumes: Mapping[Phase, GriddedVolume],
    cube: VolumeGeometry,
    late_from_early_lps: NDArray[np.float64],
) -> torch.Tensor:
    """``(2, z, y, x)`` float32: early and late, variance-stabilised; an absent one is zero.

    Args:
        volumes: One or both.
        cube: In the early patient system, or the late one where there is no early volume.
        late_from_early_lps: Used when both are present.
    """
    channels = torch.zeros(2, *cube.shape_zyx)
    for channel, phase in enumerate((Phase.EARLY, Phase.LATE)):
        volume = volumes.get(phase)
        if volume is None:
            continue
        moved = late_from_early_lps if phase is Phase.LATE and len(volumes) == 2 else None
        counts = resample(volume.counts_zyx, volume.geometry, cube, source_from_target_lps=moved)
        channels[channel] = variance_stabilised(counts[0])
    return channels
