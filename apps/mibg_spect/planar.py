"""Where the SPECT's heart and lungs are on a planar view.

Planar instances carry no place in the patient. The SPECT is projected forwards and found
again on the view by correlation; heart and lungs move along.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, signal

from apps.mibg_spect.labels import LABELS
from apps.mibg_spect.prepare import SPACING_MM, GriddedVolume, cube_around
from operators.geometry import VolumeGeometry
from operators.measure.planar import PlanarRegions, body_width_px, place_regions
from operators.preprocess.resample import resample
from operators.read.nm import NmPlanar

DEPTH_WEIGHT_PER_MM = 0.006
"""An anterior camera sees deep counts less: about half of the attenuation of soft tissue."""
MARGIN_MM = 24.0
"""Of the template beyond heart and lungs, above and beside."""
BELOW_MM = 60.0
"""And below: the upper edge of the liver is what fixes the height."""
SMOOTHING_MM = 7.0
"""Standard deviation: noise of a single view hides what the SPECT, the sum of all views, shows."""
MAX_WALL_MM = 40.0
"""The chest reaches at most this far beyond the lungs; what is farther out is an arm."""
LEAST_CORRELATION = 0.3
"""Below this the SPECT was not found on the view."""


def regions_on(view: NmPlanar, volume: GriddedVolume, labels_zyx: NDArray[np.uint8]) -> PlanarRegions:
    """Heart and mediastinum of an anterior view, from the SPECT of the same patient.

    Args:
        view: Anterior.
        volume: A SPECT volume.
        labels_zyx: ``(z, y, x)`` uint8 in its grid.

    Raises:
        ValueError: The SPECT is not found on the view, or an organ lies outside it.
    """
    cube = cube_around(volume)
    counts = resample(np.clip(volume.counts_zyx, 0, None), volume.geometry, cube)[0]
    masks = _masks(labels_zyx, volume.geometry, cube)
    counts = counts * _chest(masks)[None, :, None]
    pixel_mm = view.spacing_mm_yx[0]
    picture = _from_front(counts, pixel_mm)
    shadows = [_from_front(mask, pixel_mm, is_mask=True) > 0.5 for mask in masks]
    heart, right, left = shadows
    if not (heart.any() and right.any() and left.any()):
        raise ValueError("heart or lungs are not in the SPECT volume")
    rows, columns = _template_window(heart | right | left, picture, pixel_mm)
    smooth = ndimage.gaussian_filter(np.sqrt(np.clip(view.counts_yx, 0, None)), SMOOTHING_MM / pixel_mm)
    found = find_template(smooth, np.sqrt(picture[rows, columns]))
    shift = (found[0] - rows.start, found[1] - columns.start)
    heart, right, left = (_moved(shadow, shift, view.counts_yx.shape) for shadow in shadows)
    lung_rows = np.nonzero((right | left).any(axis=1))[0]
    if not len(lung_rows):
        raise ValueError("the lungs are outside the planar view")
    across = np.nonzero((right | left).any(axis=0))[0]
    widest = float(across[-1] - across[0] + 1) + 2 * MAX_WALL_MM / pixel_mm
    width = min(body_width_px(view.counts_yx, slice(int(lung_rows[0]), int(lung_rows[-1]) + 1)), widest)
    return place_regions(heart, right | left, right, body_width_px=width)


def _masks(labels_zyx: NDArray[np.uint8], geometry: VolumeGeometry, cube: VolumeGeometry) -> torch.Tensor:
    """``(3, z, y, x)`` float32: heart, right lung, left lung."""
    values = (LABELS["heart"], LABELS["lung_right"], LABELS["lung_left"])
    stack = np.stack([(labels_zyx == value).astype(np.float32) for value in values])
    return (resample(stack, geometry, cube) > 0.5).float()


def _chest(masks: torch.Tensor) -> torch.Tensor:
    """``(y,)`` float32: 1 from a little in front of the organs to a little behind them.

    Reconstructions with attenuation correction have bright noise outside the body.
    """
    depths = torch.nonzero(masks.sum(dim=(0, 1, 3)) > 0)[:, 0]
    chest = torch.zeros(masks.shape[2])
    if len(depths):
        margin = round(MARGIN_MM / SPACING_MM)
        chest[max(int(depths[0]) - margin, 0) : int(depths[-1]) + margin + 1] = 1
    return chest


def _from_front(volume: torch.Tensor, pixel_mm: float, *, is_mask: bool = False) -> NDArray[np.float32]:
    """Anterior projection, ``(y, x)`` float32, rows from head to feet, in the view's pixels."""
    if is_mask:
        flat = (volume.sum(dim=1) >= 1.5).float()
    else:
        depth = torch.arange(volume.shape[1]) * SPACING_MM
        flat = (volume * torch.exp(-DEPTH_WEIGHT_PER_MM * depth)[None, :, None]).sum(dim=1)
    size = [round(n * SPACING_MM / pixel_mm) for n in flat.shape]
    scaled = torch.nn.functional.interpolate(
        flat[None, None], size=size, mode="bilinear", align_corners=False
    )[0, 0]
    return np.ascontiguousarray(scaled.numpy()[::-1])


def _template_window(
    organs: NDArray[np.bool_], picture: NDArray[np.float32], pixel_mm: float
) -> tuple[slice, slice]:
    """The part of the projection that is looked for: organs with a margin, and the liver's dome below.

    Nothing outside the SPECT's field of view is part of it: its end is no feature of the patient.
    """
    margin, below = round(MARGIN_MM / pixel_mm), round(BELOW_MM / pixel_mm)
    seen = np.nonzero(picture.sum(axis=1) > 0)[0]
    rows, columns = (np.nonzero(organs.any(axis=axis))[0] for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - margin, int(seen[0])), min(int(rows[-1]) + below, int(seen[-1])) + 1),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + margin + 1, picture.shape[1])),
    )


def find_template(picture: NDArray[np.float32], template: NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of the template's first pixel where it correlates best with the picture.

    The template may stick out of the picture by a third of its size.

    Raises:
        ValueError: No place correlates.

    >>> scene = np.zeros((40, 40), dtype=np.float32); scene[12:20, 18:24] = 1; scene[13, 19] = 5
    >>> find_template(scene, scene[10:22, 16:26])
    (10, 16)
    """
    pad = [n // 3 for n in template.shape]
    padded = np.pad(picture, [(p, p) for p in pad])
    centred = template - template.mean()
    ones = np.ones_like(template)
    overlap = signal.fftconvolve(padded, centred[::-1, ::-1], mode="valid")
    total = signal.fftconvolve(padded, ones, mode="valid")
    squares = signal.fftconvolve(padded**2, ones, mode="valid")
    spread = np.sqrt(np.maximum(squares - total**2 / template.size, 1e-6))
    score = overlap / (spread * max(float(np.linalg.norm(centred)), 1e-6))
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    if score[row, column] < LEAST_CORRELATION:
        raise ValueError("the SPECT could not be found on the planar view")
    return int(row) - pad[0], int(column) - pad[1]


def _moved(mask: NDArray[np.bool_], shift: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask laid into a picture of another shape at a shift in rows and columns."""
    out = np.zeros(shape, dtype=np.bool_)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + shift[0], columns + shift[1]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    out[rows[inside], columns[inside]] = True
    return out
