"""The slab picture as what classifiers see: views that leave out what a feature must not use.

All start from one picture in template space: the mean binding ratio over 44 mm. A mirrored patient
has the same features: low uptake and shape do not depend on the side, asymmetry has none.

==============  ==========================================================================
view            what is in it
==============  ==========================================================================
`both_sides`    the mean of the picture and its mirror image: how much uptake, where
`difference`    |left - right| over the mean uptake of the striata
`worse_side`    the half with the lesser putamen, over the uptake of its own caudate
`whole`         the picture as it is, for the direct classifier
==============  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.dat_spect.labels import LABELS, PARTS, Feature, Side
from apps.dat_spect.quantify import SLAB_GRID, SLAB_PIXEL_MM, sum_of_parts
from apps.dat_spect.template import GRID, LIKELY, Template
from operators.preprocess.resample import resample

Picture = NDArray[np.float32]
"""``(48, 64)`` float32, row 0 in front, column 0 the patient's right."""

SMOOTHING_MM = 6.0
"""FWHM: cameras of different sharpness become alike."""
LEAST_UPTAKE = 0.15
"""Slab ratios below this are noise and are not divided by."""
HIGHEST_SHARE = 3.0
THINNING = 2
"""Pictures are shown to principal components at 4 mm."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The parts of the striata seen from above.

    Args:
        weights: Name of `PARTS` to ``(48, 64)`` float32 that sum to 1.
        outlines: Caudates, putamina and Bolt's volumes (``voi_right``, ``voi_left``) to ``(48, 64)`` bool:
            what they cover, seen from above.
    """

    weights: dict[str, Picture]
    outlines: dict[str, NDArray[np.bool_]]

    @cached_property
    def _stack(self) -> NDArray[np.float32]:
        return np.stack([self.weights[part].ravel() for part in PARTS])

    def uptake(self, slab: Picture) -> dict[str, float]:
        """Mean of the slab picture in each part."""
        return dict(zip(PARTS, (self._stack @ slab.ravel()).tolist(), strict=True))


def regions_of(template: Template) -> Regions:
    """The template's parts, summed over the height of the slab, and what they cover."""
    stack = np.stack(
        [template.maps[part] for part in PARTS] + [template.voi[side].astype(np.float32) for side in Side]
    )
    above = resample(stack, GRID, SLAB_GRID).numpy()
    flat = dict(zip(PARTS, above[: len(PARTS)].sum(axis=1), strict=True))
    chances = dict(zip(PARTS, above, strict=False))
    outlines = {
        name: (sum_of_parts(chances, name) > LIKELY).any(axis=0) for name in LABELS if name != "reference"
    }
    for side, volume in zip(Side, above[len(PARTS) :], strict=True):
        outlines[f"voi_{side}"] = (volume > LIKELY).any(axis=0)
    weights = {part: np.asarray(one / one.sum(), dtype=np.float32) for part, one in flat.items()}
    return Regions(weights, outlines)


def smoothed(slab: Picture) -> Picture:
    """The picture at the sharpness that all cameras have."""
    return np.asarray(ndimage.gaussian_filter(slab, SMOOTHING_MM / 2.3548 / SLAB_PIXEL_MM), dtype=np.float32)


# -------------------------------------------------------------------- views


def both_sides(slab: Picture, _regions: Regions) -> Picture:
    """Mean of the picture and its mirror image."""
    return (slab + slab[:, ::-1]) / 2


def difference(slab: Picture, regions: Regions) -> Picture:
    """What one side has more than the other, over the mean uptake; the left half of it."""
    mean = max(float(np.mean(list(regions.uptake(slab).values()))), LEAST_UPTAKE)
    return np.asarray(np.abs(slab - slab[:, ::-1])[:, : slab.shape[1] // 2] / mean, dtype=np.float32)


def worse_side(slab: Picture, regions: Regions) -> Picture:
    """The half with the lesser putamen over its caudate's uptake, drawn as a right one."""
    uptake = regions.uptake(slab)
    worse = min(Side, key=lambda side: sum(v for n, v in uptake.items() if "putamen" in n and side in n))
    turned = slab if worse is Side.RIGHT else slab[:, ::-1]
    caudate = max(uptake[f"caudate_{worse}"], LEAST_UPTAKE)
    half = turned[:, : slab.shape[1] // 2] / caudate
    return np.asarray(np.clip(half, -HIGHEST_SHARE, HIGHEST_SHARE), dtype=np.float32)


def whole(slab: Picture, _regions: Regions) -> Picture:
    """The picture itself."""
    return slab


VIEWS: dict[str, Callable[[Picture, Regions], Picture]] = {
    Feature.LOW_UPTAKE: both_sides,
    Feature.ASYMMETRY: difference,
    Feature.DOT_SHAPE: worse_side,
    "direct": whole,
}
"""The picture of each classifier."""


def picture_vector(name: str, slab: Picture, regions: Regions) -> NDArray[np.float64]:
    """A classifier's view as numbers, at 4 mm."""
    view = VIEWS[name](smoothed(slab), regions)
    rows, columns = (n // THINNING for n in view.shape)
    blocks = view.reshape(rows, THINNING, columns, THINNING).mean(axis=(1, 3))
    return np.asarray(blocks.ravel(), dtype=np.float64)


# ------------------------------------------------------------------ numbers


def numbers(name: str, slab: Picture, regions: Regions) -> NDArray[np.float64]:
    """What a reader would measure for a feature, beside the picture; none for the direct classifier."""
    if name == "direct":
        return np.zeros(0)
    uptake = regions.uptake(slab)
    pairs = [
        (uptake[f"{kind}_right"], uptake[f"{kind}_left"])
        for kind in ("caudate", "putamen_anterior", "putamen_posterior")
    ]
    pairs.append((sum(right for right, _ in pairs) / 3, sum(left for _, left in pairs) / 3))
    if name == Feature.LOW_UPTAKE:
        return np.array([[(right + left) / 2, min(right, left)] for right, left in pairs]).ravel()
    if name == Feature.ASYMMETRY:
        return np.array([_asymmetry(right, left) for right, left in pairs])
    ratios = []
    for front, back in ((0, 2), (1, 2), (0, 1)):
        both = sorted(
            _share(back_side, front_side)
            for front_side, back_side in zip(pairs[front], pairs[back], strict=True)
        )
        ratios += both
    return np.array(ratios)


def _asymmetry(right: float, left: float) -> float:
    total = max(right, 0.0) + max(left, 0.0)
    return abs(right - left) / max(total, 2 * LEAST_UPTAKE)


def _share(part: float, of: float) -> float:
    return float(np.clip(part / max(of, LEAST_UPTAKE), -HIGHEST_SHARE, HIGHEST_SHARE))
