"""What attenuation says of tissue: fat in muscle, lean mass, density of bone.

Every function takes Hounsfield units of a plain scan; contrast agent shifts all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAN_HU = 58.0
FAT_HU = -100.0
"""Attenuation of pure muscle and pure fat, between which the fat fraction is linear."""
NO_LEAN_HU, ALL_LEAN_HU = -30.0, 30.0
"""Between these a voxel's lean share goes from 0 to 1 (Gu et al., Medical Image Analysis 2023)."""
MUSCLE_DENSITY_G_ML = 1.06


@dataclass(frozen=True, kw_only=True)
class DensityLine:
    """A line from attenuation to density of bone mineral.

    Args:
        slope: mg/cm3 for each HU.
        intercept: mg/cm3 at 0 HU.
        is_calibrated: True for a line that a site measured on its own scanner.
    """

    slope: float = 0.8
    intercept: float = 0.0
    is_calibrated: bool = False

    def density_mg_cm3(self, hu: float) -> float:
        """Density at this attenuation, mg/cm3.

        >>> DensityLine().density_mg_cm3(200.0)
        160.0
        """
        return self.slope * hu + self.intercept


def fat_fraction(hu: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of fat in each voxel, 0 to 1.

    >>> fat_fraction(np.array([58.0, -21.0, -100.0, -400.0])).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    return np.asarray(np.clip((LEAN_HU - hu) / (LEAN_HU - FAT_HU), 0.0, 1.0), dtype=np.float64)


def lean_share(hu: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of each voxel that counts as lean tissue, 0 to 1.

    >>> lean_share(np.array([-50.0, -30.0, 0.0, 30.0, 55.0])).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    return np.asarray(np.clip((hu - NO_LEAN_HU) / (ALL_LEAN_HU - NO_LEAN_HU), 0.0, 1.0), dtype=np.float64)
