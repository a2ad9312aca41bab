"""Random changes of a training slice: another body, another scanner, another field of view.

The attenuation of every tissue is drawn anew within what CT allows (domain randomisation by
labels, after SynthSeg, Billot et al. 2023), so that the network learns shapes and relations and not
the phantom's Hounsfield units. Bone keeps a cortex that is brighter than what is inside of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from apps.msk_ct.anatomy import OTHER
from apps.msk_ct.prepare import AIR_HU, CONTEXT_MM, SLICE_MM, channels, context_slices
from apps.msk_ct.samples import Sample
from apps.msk_ct.structures import SEGMENTS

CANVAS_YX = (112, 176)
"""Pixels of a training slice, of `prepare.PIXEL_MM`: 27 x 42 cm."""
MUSCLES = np.array([*(s.number for s in SEGMENTS if not s.structure.is_bone), OTHER["muscle_other"]])
"""Tissue values of anatomy.nii.gz, as are the next three."""
ORGANS = np.arange(OTHER["mesentery"], OTHER["genitals"] + 1)
FAT = np.array([OTHER["fat"], OTHER["skin"]])
BONES = np.arange(OTHER["cortical_bone"], OTHER["spinal_canal"] + 1)
METAL_HU = 3071.0


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far slices are changed: standard deviations, largest values or probabilities."""

    turn_rad: float = 0.12
    scale: float = 0.16
    aspect: float = 0.05
    shift_pixels: float = 14.0
    elastic_pixels: float = 2.2
    stretch_along: float = 0.12
    muscle_hu: float = 12.0
    each_muscle_hu: float = 6.0
    organ_hu: float = 60.0
    fat_hu: float = 12.0
    bone_gain: float = 0.2
    drawn_anew_share: float = 0.15
    noise_hu: float = 28.0
    blurred_share: float = 0.35
    coarse_share: float = 0.2
    view_cut_share: float = 0.2
    one_side_share: float = 0.12
    ends_cut_share: float = 0.25
    metal_share: float = 0.04


def draw_slice(
    sample: Sample, index: int, rng: np.random.Generator, strength: Strength = Strength()
) -> tuple[torch.Tensor, torch.Tensor]:
    """A changed slice with what is around it, ``(CHANNELS, y, x)`` float32, and ``(y, x)`` int64 classes."""
    slices = context_slices(
        len(sample.hu_zyx), index, SLICE_MM, float(np.exp(rng.normal(0, strength.stretch_along)))
    )
    if rng.random() < strength.ends_cut_share:
        slices = _without_one_end(slices, index, rng)
    hu, tissues = _gathered(sample, slices)
    hu = _other_tissues(hu, tissues, rng, strength)
    grid = _placement(hu.shape[1:], rng, strength)
    image = (
        functional.grid_sample(torch.from_numpy(hu - np.float32(AIR_HU))[None], grid, align_corners=False)[0]
        + AIR_HU
    )
    label = torch.from_numpy(sample.classes_zyx[index])[None, None].float()
    classes = functional.grid_sample(label, grid, mode="nearest", align_corners=False)[0, 0].long()
    if rng.random() < strength.metal_share:
        image = _with_metal(image, classes, rng)
    image = _other_scanner(image, rng, strength)
    image, classes = _other_view(image, classes, rng, strength)
    return channels(image), classes


def _gathered(sample: Sample, slices: list[int | None]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    shape = (len(slices), *sample.hu_zyx.shape[1:])
    hu = np.full(shape, AIR_HU, dtype=np.float32)
    tissues = np.zeros(shape, dtype=np.uint8)
    for place, one in enumerate(slices):
        if one is not None:
            hu[place], tissues[place] = sample.hu_zyx[one], sample.tissues_zyx[one]
    return hu, tissues


def _without_one_end(slices: list[int | None], index: int, rng: np.random.Generator) -> list[int | None]:
    """The scan ends somewhere near: above or below nothing is seen."""
    reach = rng.uniform(0, max(CONTEXT_MM)) / SLICE_MM
    above = rng.random() < 0.5
    return [
        None if one is not None and ((one - index) if above else (index - one)) > reach else one
        for one in slices
    ]


def _other_tissues(
    hu: NDArray[np.float32], tissues: NDArray[np.uint8], rng: np.random.Generator, strength: Strength
) -> NDArray[np.float32]:
    """Attenuation moved by tissue: of all muscles together and each alone, of organs, fat and bone."""
    gain, offset = np.ones(256, dtype=np.float32), np.zeros(256, dtype=np.float32)
    together = rng.normal(0, strength.muscle_hu)
    offset[MUSCLES] = together + rng.normal(0, strength.each_muscle_hu, len(MUSCLES))
    offset[ORGANS] = rng.normal(0, strength.organ_hu, len(ORGANS)).clip(-90, 250)
    offset[FAT] = rng.normal(0, strength.fat_hu, len(FAT))
    gain[BONES] = np.exp(rng.normal(0, strength.bone_gain, len(BONES)))
    if rng.random() < strength.drawn_anew_share:
        _draw_anew(gain, offset, rng)
    return np.asarray(hu * gain[tissues] + offset[tissues], dtype=np.float32)


def _draw_anew(gain: NDArray[np.float32], offset: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Contrast that has little to do with what was scanned: muscles darker or enhanced, each on its own."""
    offset[MUSCLES] = rng.normal(0, 30) + rng.normal(0, 22, len(MUSCLES))
    gain[MUSCLES] = rng.uniform(0.3, 1.2)
    offset[ORGANS] = rng.uniform(-60, 220, len(ORGANS))
    offset[FAT] = rng.uniform(-25, 40)
    gain[BONES] = rng.uniform(0.45, 1.5)


def _placement(shape_yx: tuple[int, ...], rng: np.random.Generator, strength: Strength) -> torch.Tensor:
    """Sampling grid of the canvas, ``(1, y, x, 2)``: turned, scaled, shifted, mirrored, bent."""
    turn = rng.normal(0, strength.turn_rad)
    size = np.exp(rng.normal(0, strength.scale)) * np.exp(np.array([1, -1]) * rng.normal(0, strength.aspect))
    half_canvas, half_source = np.asarray(CANVAS_YX[::-1]) / 2, np.asarray(shape_yx[::-1]) / 2
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / size
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    shift = np.clip(rng.normal(0, strength.shift_pixels, 2), -40, 40)
    theta = np.concatenate(
        [matrix * half_canvas[None] / half_source[:, None], (shift / half_source)[:, None]], axis=1
    )
    grid = functional.affine_grid(
        torch.tensor(theta[None], dtype=torch.float32), [1, 1, *CANVAS_YX], align_corners=False
    )
    knots = rng.normal(0, strength.elastic_pixels, (1, 2, 6, 9)) / half_source[None, :, None, None]
    bend = functional.interpolate(
        torch.tensor(knots, dtype=torch.float32), CANVAS_YX, mode="bicubic", align_corners=True
    )
    return grid + bend.permute(0, 2, 3, 1)


def _other_scanner(image: torch.Tensor, rng: np.random.Generator, strength: Strength) -> torch.Tensor:
    """Other resolution and noise."""
    if rng.random() < strength.blurred_share:
        image = blurred(image, float(rng.uniform(0.35, 1.0)))
    elif rng.random() < strength.coarse_share:
        shape = [int(n / rng.uniform(1.2, 1.8)) for n in image.shape[1:]]
        coarse = functional.interpolate(image[None], shape, mode="bilinear", antialias=True)
        image = functional.interpolate(coarse, image.shape[1:], mode="bilinear")[0]
    if rng.random() < 0.6:
        noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        if rng.random() < 0.5:
            noise = blurred(noise, 0.7) * 2.5
        image = image + noise * float(rng.uniform(0, strength.noise_hu))
    return image + float(rng.normal(0, 4))


def blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """``(c, y, x)`` smoothed in the plane."""
    reach = max(1, int(np.ceil(2.5 * sigma)))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    out = functional.pad(image[:, None], (reach,) * 4, mode="replicate")
    out = functional.conv2d(out, kernel.reshape(1, 1, -1, 1))
    return functional.conv2d(out, kernel.reshape(1, 1, 1, -1))[:, 0]


def _other_view(
    image: torch.Tensor, classes: torch.Tensor, rng: np.random.Generator, strength: Strength
) -> tuple[torch.Tensor, torch.Tensor]:
    """A field of view that leaves out the outer parts, or all of one side."""
    chance = rng.random()
    if chance >= strength.view_cut_share + strength.one_side_share:
        return image, classes
    y, x = np.mgrid[: CANVAS_YX[0], : CANVAS_YX[1]].astype(np.float32)
    middle = np.asarray(CANVAS_YX) / 2 + rng.normal(0, 8, 2)
    if chance < strength.view_cut_share:
        radius = rng.uniform(45, 90)
        seen = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    else:
        seen = x < middle[1] if rng.random() < 0.5 else x > middle[1]
    mask = torch.from_numpy(seen)
    return torch.where(mask, image, torch.tensor(AIR_HU)), torch.where(mask, classes, torch.tensor(0))


def _with_metal(image: torch.Tensor, classes: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """An implant in a bone with its streaks; the labels stay."""
    places = torch.nonzero((classes == 1) | (classes == 2))
    if not len(places):
        return image
    row, column = (float(v) for v in places[int(rng.integers(len(places)))])
    y, x = np.mgrid[: CANVAS_YX[0], : CANVAS_YX[1]].astype(np.float32)
    dy, dx = y - row, x - column
    distance = np.hypot(dy, dx)
    angle = np.arctan2(dy, dx)
    rays = sum(rng.normal() * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 9))
    streaks = rays * rng.uniform(60, 260) * np.exp(-distance / rng.uniform(8, 30))
    turned = angle - rng.uniform(0, np.pi)
    across, along = distance * np.sin(turned), distance * np.cos(turned)
    core = (across / rng.uniform(1.5, 3.5)) ** 2 + (along / rng.uniform(2, 12)) ** 2 < 1
    changed = image + torch.from_numpy(streaks.astype(np.float32))
    return torch.where(torch.from_numpy(core), torch.tensor(METAL_HU), changed)
