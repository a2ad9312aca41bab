"""A cast over a radiograph, so that the classifiers learn to leave such hips out.

In the picture's greys and not in its physics: layers of a bandage, a handbreadth wide, wound around the
limb; each brightens what lies beneath it, with lumps and the weave of its cloth. Nobody would read a hip
through it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LAYERS = (5, 9)
"""Bandages that overlap in a picture."""
WIDTH_MM = (60.0, 150.0)
BRIGHTER = (0.04, 0.10)
"""Grey that a layer adds, of 1."""
WEAVE_MM = (2.0, 4.5)
"""Distance of the threads of fibreglass."""
LUMPS_MM = 9.0


def with_cast(
    pixels_yx: NDArray[np.float32], spacing_mm_yx: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """A picture of the same hip in a cast, ``(y, x)`` float32, 0 to 1.

    Args:
        pixels_yx: ``(y, x)`` float32, 0 to 1, bone bright.
        spacing_mm_yx: Of its pixels.
        rng: Decides everything random.

    >>> rng = np.random.default_rng(0)
    >>> float(with_cast(np.full((64, 64), 0.5, np.float32), (2.0, 2.0), rng).mean()) > 0.55
    True
    """
    rows, columns = pixels_yx.shape
    y = (np.arange(rows, dtype=np.float32) * spacing_mm_yx[0])[:, None]
    x = (np.arange(columns, dtype=np.float32) * spacing_mm_yx[1])[None, :]
    added = np.zeros(pixels_yx.shape, dtype=np.float32)
    limb_rad = float(rng.uniform(-0.4, 0.4))
    for _ in range(int(rng.integers(LAYERS[0], LAYERS[1] + 1))):
        turn = limb_rad + float(rng.normal(0.0, 0.3))
        along = y * np.cos(turn) + x * np.sin(turn)
        across = x * np.cos(turn) - y * np.sin(turn)
        start = float(rng.uniform(along.min() - 60.0, along.max()))
        is_beneath = (along > start) & (along < start + float(rng.uniform(*WIDTH_MM)))
        period = float(rng.uniform(*WEAVE_MM))
        weave = np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / (1.3 * period))
        added += float(rng.uniform(*BRIGHTER)) * is_beneath * (1.0 + 0.35 * weave)
    lumps = ndimage.gaussian_filter(
        rng.standard_normal(pixels_yx.shape).astype(np.float32), [LUMPS_MM / side for side in spacing_mm_yx]
    )
    added *= 1.0 + 0.3 * lumps / max(float(lumps.std()), 1e-6)
    added += float(rng.uniform(0.05, 0.12))
    return np.clip(pixels_yx * 0.75 + added, 0.0, 1.0).astype(np.float32)
