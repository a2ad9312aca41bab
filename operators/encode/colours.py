"""Colours for many structures that a reader can tell apart, on a CT and in a legend."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LIGHTNESS_RANGE = (45.0, 92.0)
"""CIE L* of a colour that is seen on black and is not taken for bone, which a CT shows white."""
LEAST_CHROMA = 28.0
"""Greys belong to the image below."""
_GRID_STEPS = 18
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ, white D65 (IEC 61966-2-1)."""
_WHITE_XYZ = _TO_XYZ.sum(axis=1)


@lru_cache(maxsize=8)
def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours, each as far as can be from those before it; the same ones every time.

    The first ``n`` of them are those that ``distinct_colours(n)`` gives.

    >>> len(set(distinct_colours(43)))
    43
    >>> distinct_colours(3) == distinct_colours(43)[:3]
    True
    """
    steps = np.linspace(0, 255, _GRID_STEPS).round().astype(int)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = cie_lab(rgb)
    low, high = LIGHTNESS_RANGE
    usable = (lab[:, 0] >= low) & (lab[:, 0] <= high) & (np.hypot(lab[:, 1], lab[:, 2]) >= LEAST_CHROMA)
    rgb, lab = rgb[usable], lab[usable]
    chosen = [int(np.argmax(np.hypot(lab[:, 1], lab[:, 2])))]
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    return tuple((int(r), int(g), int(b)) for r, g, b in rgb[chosen])


def cie_lab(rgb: NDArray[np.integer]) -> NDArray[np.float64]:
    """sRGB, ``(n, 3)`` 0 to 255, as CIE L*, a*, b* with white D65.

    >>> cie_lab(np.array([[255, 255, 255], [255, 0, 0]])).round(0).tolist()
    [[100.0, 0.0, 0.0], [53.0, 80.0, 67.0]]
    """
    scaled = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    relative = linear @ _TO_XYZ.T / _WHITE_XYZ
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def hex_of(rgb: tuple[int, int, int]) -> str:
    """A colour as matplotlib and the web write it.

    >>> hex_of((255, 128, 0))
    '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*rgb)
