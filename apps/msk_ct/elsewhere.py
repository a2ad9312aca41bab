"""Chests, heads and bottles on the model's grid: what the network must find nothing in.

Crude on purpose: their only lesson is that a body, a bone or a bright ring is not yet a hip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.anatomy import OTHER
from apps.msk_ct.prepare import AIR_HU, PIXEL_MM, SLICE_MM
from apps.msk_ct.samples import Sample
from operators.phantom.identity import generator

SHAPE_ZYX = (24, 112, 176)
Mesh = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def elsewhere_samples(seeds: Sequence[int]) -> Iterator[Sample]:
    """A volume of another part of the body for each seed, without a single label."""
    kinds: tuple[Callable[[Mesh, np.random.Generator], NDArray[np.float32]], ...] = (_chest, _head, _bottle)
    for seed in seeds:
        rng = generator(seed, 77)
        hu = kinds[seed % len(kinds)](_mesh(), rng)
        hu = ndimage.gaussian_filter(hu, (0.2, 0.5, 0.5)) + rng.normal(0, 6, hu.shape)
        air = hu < AIR_HU / 2
        yield Sample(
            patient_id=f"elsewhere {seed}",
            hu_zyx=np.clip(hu, AIR_HU, 3000).astype(np.int16),
            classes_zyx=np.zeros(SHAPE_ZYX, dtype=np.uint8),
            tissues_zyx=np.where(air, 0, OTHER["muscle_other"]).astype(np.uint8),
        )


def _mesh() -> Mesh:
    """Places in mm from the middle, along z, y and x."""
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * mm
        for n, mm in zip(SHAPE_ZYX, (SLICE_MM, PIXEL_MM, PIXEL_MM), strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z, y, x


def _inside(
    mesh: Mesh, centre_yx: tuple[float, float], radii_yx: tuple[float, float], drift: float = 0.0
) -> NDArray[np.float32]:
    """Below 1 inside an elliptic cylinder that becomes wider along the body by `drift` for each metre."""
    z, y, x = mesh
    size = 1 + drift * z / 1000
    return np.asarray(
        np.hypot((y - centre_yx[0]) / radii_yx[0], (x - centre_yx[1]) / radii_yx[1]) / size, dtype=np.float32
    )


def _chest(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.float32]:
    """Skin, muscle, ribs, lungs, heart, spine and now and then arms."""
    z, y, x = mesh
    height, width = rng.uniform(95, 125), rng.uniform(140, 190)
    trunk = _inside(mesh, (0, 0), (height, width), rng.normal(0, 1))
    hu = np.full(SHAPE_ZYX, AIR_HU, dtype=np.float32)
    hu[trunk < 1] = rng.uniform(-120, -80)
    wall = rng.uniform(0.78, 0.92)
    hu[trunk < wall] = rng.uniform(30, 70)
    rib = (trunk < wall - 0.06) & (trunk > wall - 0.13)
    angle = np.arctan2(y, x) + z * rng.uniform(0.005, 0.03)
    hu[rib & (np.sin(angle * rng.integers(9, 15)) > 0.3)] = rng.uniform(250, 800)
    hu[trunk < wall - 0.14] = rng.uniform(-880, -750) if rng.random() < 0.75 else rng.uniform(20, 60)
    hu[_inside(mesh, (-height * 0.2, rng.uniform(0, 30)), (45, 60)) < 1] = rng.uniform(30, 200)
    for side in (-1, 1):
        if rng.random() < 0.5:
            arm = _inside(mesh, (0, side * (width + 35)), (38, 34))
            hu[arm < 1], hu[arm < 0.85], hu[arm < 0.35], hu[arm < 0.2] = -100, 50, 900, 20
    spine = _inside(mesh, (height * 0.6, 0), (rng.uniform(15, 20), rng.uniform(18, 24)))
    hu[spine < 1], hu[spine < 0.85] = rng.uniform(400, 900), rng.uniform(100, 250)
    return hu


def _head(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.float32]:
    """Skull, brain, ventricles, now and then the sinuses."""
    shape = _inside(mesh, (0, 0), (rng.uniform(85, 105), rng.uniform(65, 82)), rng.normal(0, 3))
    hu = np.full(SHAPE_ZYX, AIR_HU, dtype=np.float32)
    hu[shape < 1], hu[shape < 0.93] = rng.uniform(-60, 40), rng.uniform(900, 1500)
    hu[shape < rng.uniform(0.82, 0.87)] = rng.uniform(25, 45)
    hu[_inside(mesh, (0, 0), (30, 12)) < 1] = 5
    if rng.random() < 0.5:
        hu[_inside(mesh, (-60, rng.normal(0, 6)), (18, 22)) < 1] = -900
        for side in (-1, 1):
            hu[_inside(mesh, (30, side * 50), (18, 16)) < 1] = rng.uniform(500, 1200)
    return hu


def _bottle(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.float32]:
    """A quality phantom: a cylinder with rods."""
    shape = _inside(mesh, (0, 0), (rng.uniform(70, 120),) * 2)
    hu = np.full(SHAPE_ZYX, AIR_HU, dtype=np.float32)
    hu[shape < 1], hu[shape < 0.95] = rng.uniform(50, 250), rng.uniform(-40, 60)
    for _ in range(int(rng.integers(0, 7))):
        centre = rng.uniform(-60, 60, 2)
        hu[_inside(mesh, (centre[0], centre[1]), (rng.uniform(5, 22),) * 2) < 1] = rng.choice(
            [-900, -100, 120, 340, 900]
        )
    return hu
