"""The striatal template: where structures lie in a brain, and what a scan of it is made of.

Its coordinates are millimetres, x to the left, y to the back, z to the head, 0 between the
striata. Everything is a map on one grid: the chance of each structure, and of brain.
A bundle holds it as safetensors, quantised to 1/255.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from apps.dat_spect.labels import PARTS
from operators.errors import BrokenBundle
from operators.geometry import VolumeGeometry
from operators.measure.region import voxel_places_mm_lps
from operators.preprocess.resample import CANONICAL_DIRECTION

SPACING_MM = 2.5
SHAPE_ZYX = (72, 84, 68)
"""180 x 210 x 170 mm: a head."""
CENTRE_ZYX = (31.0, 36.0, 33.5)
"""Index of the template's origin: there is more brain above and behind the striata."""
GRID = VolumeGeometry(
    shape_zyx=SHAPE_ZYX,
    spacing_mm_zyx=(SPACING_MM,) * 3,
    origin_mm_lps=(-CENTRE_ZYX[2] * SPACING_MM, -CENTRE_ZYX[1] * SPACING_MM, -CENTRE_ZYX[0] * SPACING_MM),
    direction_lps_zyx=CANONICAL_DIRECTION,
)
"""The template's grid, in its own millimetres, whose axes run like the patient's (LPS)."""
FILE = "models/template.safetensors"
MAPS = (*PARTS, "brain")
HIGHEST = 255.0

NOMINAL_FWHM_MM = 10.0
"""What a scan's tissue maps are blurred with; real scans are between 8 and 12 mm."""
VOI_MARGIN_MM = 12.0
"""The volume of Bolt's ratio reaches this far around the striatum, in the slab."""
SLAB_MM = 44.0
"""Height of that volume and of the slab picture."""
INNER_BRAIN_MM = 12.0
"""The reference region keeps this far from the brain's edge, where air blurs in."""
APART_MM = 16.0
"""And this far from the striata, whose counts blur out."""
REFERENCE_SLAB_MM = 60.0
"""Height of the reference region: that of the striata and a little more."""
RIM_MM, DEPTH_MM = 20.0, 34.0
"""Below the brain's surface: where its rim ends and its depth begins."""
LIKELY = 0.5


@dataclass(frozen=True, eq=False)
class Template:
    """Chance maps of structures and brain.

    Args:
        maps: Name of `MAPS` to ``(z, y, x)`` float32, 0 to 1, on the grid of this module.
    """

    maps: dict[str, NDArray[np.float32]]

    @cached_property
    def points_mm(self) -> NDArray[np.float64]:
        """Places of the grid's voxels, ``(z, y, x, 3)`` float64, template mm (x, y, z)."""
        return voxel_places_mm_lps(GRID)

    def blurred(self, name: str, fwhm_mm: float = NOMINAL_FWHM_MM) -> NDArray[np.float32]:
        """A map as a camera would see it."""
        sigma = fwhm_mm / 2.3548 / SPACING_MM
        return np.asarray(ndimage.gaussian_filter(self.maps[name], sigma), dtype=np.float32)

    def striatum(self, side: str) -> NDArray[np.float32]:
        """Chance of one side's caudate or putamen."""
        parts = [self.maps[part] for part in PARTS if part.endswith(side)]
        return np.asarray(np.clip(np.sum(parts, axis=0), 0, 1), dtype=np.float32)

    @cached_property
    def voi(self) -> dict[str, NDArray[np.bool_]]:
        """Bolt's generous volume of each side, ``(z, y, x)`` bool: the two do not touch."""
        x, z = self.points_mm[..., 0], self.points_mm[..., 2]
        slab = np.abs(z) <= SLAB_MM / 2
        out = {}
        for side, half in (("right", x < 0), ("left", x >= 0)):
            near = _distance_mm(self.striatum(side) > LIKELY) <= VOI_MARGIN_MM
            out[side] = near & slab & half
        return out

    @cached_property
    def _below_surface_mm(self) -> NDArray[np.float64]:
        return np.asarray(
            ndimage.distance_transform_edt(self.maps["brain"] > LIKELY) * SPACING_MM, dtype=np.float64
        )

    @cached_property
    def reference(self) -> NDArray[np.bool_]:
        """Brain without striatal uptake, ``(z, y, x)`` bool."""
        striata = (self.striatum("right") > LIKELY) | (self.striatum("left") > LIKELY)
        slab = np.abs(self.points_mm[..., 2]) <= REFERENCE_SLAB_MM / 2
        apart = _distance_mm(striata) >= APART_MM
        return np.asarray((self._below_surface_mm >= INNER_BRAIN_MM) & apart & slab, dtype=np.bool_)

    @cached_property
    def rim(self) -> NDArray[np.bool_]:
        """The outer part of the reference region."""
        return np.asarray(self.reference & (self._below_surface_mm < RIM_MM), dtype=np.bool_)

    @cached_property
    def depth(self) -> NDArray[np.bool_]:
        """The inner part of the reference region."""
        return np.asarray(self.reference & (self._below_surface_mm >= DEPTH_MM), dtype=np.bool_)


def _distance_mm(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each voxel to the mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask) * SPACING_MM, dtype=np.float64)


def save_template(template: Template, bundle: Path) -> None:
    """Write the template into a bundle."""
    path = bundle / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    quantised = {
        name: np.ascontiguousarray(np.rint(np.clip(template.maps[name], 0, 1) * HIGHEST).astype(np.uint8))
        for name in MAPS
    }
    save_file(quantised, path)


def load_template(bundle: Path) -> Template:
    """The template of a bundle.

    Raises:
        BrokenBundle: It is missing or not a template of this grid.
    """
    try:
        stored = load_file(bundle / FILE)
    except (OSError, SafetensorError) as broken:
        raise BrokenBundle(f"{FILE} cannot be read: {broken}") from broken
    if set(stored) != set(MAPS) or any(m.shape != SHAPE_ZYX for m in stored.values()):
        raise BrokenBundle(f"{FILE} does not hold the maps {', '.join(MAPS)} of {SHAPE_ZYX}")
    return Template({name: stored[name].astype(np.float32) / np.float32(HIGHEST) for name in MAPS})
