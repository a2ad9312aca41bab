"""Hounsfield units of the phantom's tissues, before the scanner blurs them and adds noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from apps.msk_ct.anatomy import OTHER, Anatomy
from apps.msk_ct.body import smooth_noise
from apps.msk_ct.population import Person
from apps.msk_ct.structures import SEGMENTS
from operators.phantom.fields import Field

PLAIN_HU = {
    "skin": 15,
    "muscle_other": 48,
    "bowel": 35,
    "bowel_gas": -880,
    "bowel_contents": 25,
    "bladder": 6,
    "prostate_or_uterus": 42,
    "rectum": 36,
    "vessel": 42,
    "kidney": 34,
    "liver": 56,
    "nerve": 18,
    "genitals": 38,
    "arm": 45,
    "cartilage": 45,
    "disc": 75,
    "spinal_canal": 25,
    "marrow": -35,
}


def hounsfield(anatomy: Anatomy, person: Person, spacing_mm_zyx: tuple[float, float, float]) -> Field:
    """Noise-free Hounsfield units of each voxel, before the scanner, ``(z, y, x)`` float32."""
    rng = np.random.default_rng([person.tissue_seed, 2])
    fine = anatomy.fine_zyx
    table = np.full(256, -1000.0, dtype=np.float32)
    for name, value in PLAIN_HU.items():
        table[OTHER[name]] = value + rng.normal(0, 3)
    table[OTHER["fat"]] = table[OTHER["mesentery"]] = person.fat_hu
    table[OTHER["vessel"]] += person.contrast_hu * rng.uniform(0.7, 1.2)
    table[OTHER["kidney"]] += person.contrast_hu * rng.uniform(0.8, 1.4)
    table[OTHER["liver"]] += person.contrast_hu * rng.uniform(0.2, 0.5) - max(0.0, rng.normal(0, 14))
    if person.contrast_hu and rng.random() < 0.3:
        table[OTHER["bladder"]] += rng.uniform(50, 400)
    for name in ("bowel", "rectum", "prostate_or_uterus", "muscle_other"):
        table[OTHER[name]] += 0.12 * person.contrast_hu * rng.uniform(0.3, 1.5)
    if person.oral_contrast:
        table[OTHER["bowel_contents"]] = rng.uniform(120, 420)
    hu = table[fine]
    coarse = _texture(rng, hu.shape, spacing_mm_zyx, 4.0)
    _muscle(hu, anatomy, person, rng, coarse)
    stool = fine == OTHER["bowel_contents"]
    if not person.oral_contrast:
        speckle = rng.standard_normal(int(stool.sum()), dtype=np.float32)
        hu[stool] += np.where(speckle > 1.1, -rng.uniform(100, 500), speckle * 18)
    for name, spread in (("fat", 7), ("mesentery", 14), ("bowel", 8), ("liver", 3), ("muscle_other", 9)):
        where = fine == OTHER[name]
        hu[where] += coarse[where] * spread
    _bone(hu, anatomy, person, rng, coarse)
    return hu


def _texture(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, float, float], size_mm: float
) -> Field:
    """Unit noise of `size_mm` across and three times that along the body."""
    factors = (
        max(1, round(3 * size_mm / spacing[0] / 1.5)),
        *(max(1, round(size_mm / s / 1.5)) for s in spacing[1:]),
    )
    coarse = tuple(n // f + 3 for n, f in zip(shape, factors, strict=True))
    field = smooth_noise(rng, (coarse[0], coarse[1], coarse[2]), (0.8, 0.8, 0.8))
    for d, (n, f) in enumerate(zip(shape, factors, strict=True)):
        at = np.arange(n) / f
        low = at.astype(int)
        weight_shape = [1, 1, 1]
        weight_shape[d] = n
        w = (at - low).astype(np.float32).reshape(weight_shape)
        a = np.take(field, low, axis=d)
        field = a + w * (np.take(field, low + 1, axis=d) - a)
    return np.asarray(field, dtype=np.float32)


def _muscle(
    hu: Field,
    anatomy: Anatomy,
    person: Person,
    rng: np.random.Generator,
    coarse: Field,
) -> None:
    """Muscle as a mixture of lean tissue and fat, the fat in streaks and in the planes between."""
    lean = person.muscle_hu + 4 + 0.12 * person.contrast_hu
    base = np.zeros(44, dtype=np.float32)
    for segment in SEGMENTS:
        drop = person.hu_drop.get(segment.number, 0.0)
        base[segment.number] = person.infiltration + drop / (lean - person.fat_hu)
    where = (anatomy.fine_zyx > 0) & (anatomy.fine_zyx < 44)
    number = anatomy.fine_zyx[where]
    streaks = coarse[where] * 0.7 + rng.standard_normal(number.size, dtype=np.float32) * 0.25
    fat = base[number] * np.exp(streaks * np.float32(0.75) - np.float32(0.3))
    plane = anatomy.plane_zyx[where] * np.float32(rng.uniform(0.3, 0.75))
    fat = np.clip(np.maximum(fat, plane * np.clip(0.75 + 0.5 * coarse[where], 0.1, 1.2)), 0, 0.95)
    own = lean + rng.normal(0, 2.0, 44).astype(np.float32)
    hu[where] = (1 - fat) * own[number] + fat * np.float32(person.fat_hu)
    other = anatomy.fine_zyx == OTHER["muscle_other"]
    hu[other] = lean - 4 + (person.fat_hu - lean) * np.clip(person.infiltration * 1.2, 0, 0.4)


def _bone(hu: Field, anatomy: Anatomy, person: Person, rng: np.random.Generator, coarse: Field) -> None:
    """Cortex of the given depth around spongy bone that gets denser towards joints."""
    depth = anatomy.bone_depth_zyx
    where = depth > 0
    fine = anatomy.fine_zyx[where]
    inside = depth[where] - anatomy.cortex_zyx[where]
    cortical = np.clip(0.5 - inside / np.float32(0.9), 0, 1)
    spongy = np.float32(190 * person.bmd)
    base = np.where(fine == OTHER["vertebra"], spongy * np.float32(0.85), spongy)
    base = np.where(fine == OTHER["patella"], spongy * np.float32(1.4), base)
    segment = anatomy.segments_zyx[where]
    base = np.where(np.isin(segment, (1, 2)), base * np.float32(rng.uniform(0.9, 1.5)), base)
    base = np.where(segment == 43, base * np.float32(rng.uniform(0.5, 0.9)), base)
    # Femoral heads and what lies deep under thick loads is denser than the trochanters.
    load = (
        np.clip((depth[where] - 5) / 12, 0, 1) * np.isin(segment, (3, 4)) * np.float32(rng.uniform(0.3, 1.0))
    )
    base = base * (1 + load) + coarse[where] * np.float32(45 * person.bmd + 15)
    base = np.where(fine == OTHER["marrow"], np.float32(rng.uniform(-80, 15)) + coarse[where] * 12, base)
    density = np.float32(rng.uniform(1000, 1450) * (0.85 + 0.15 * person.bmd))
    hu[where] = base + cortical * (density - base)
    parts = anatomy.fine_zyx
    hu[parts == OTHER["metal"]] = 6000.0
    labelled = where & (parts != OTHER["metal"]) & (anatomy.segments_zyx > 0) & (parts != OTHER["marrow"])
    parts[labelled] = OTHER["spongy_bone"]
    index = np.zeros(where.shape, dtype=bool)
    index[where] = cortical > 0.5
    parts[labelled & index] = OTHER["cortical_bone"]


def blurred(hu: Field, spacing_mm_zyx: tuple[float, float, float], fwhm_mm: float) -> Field:
    """As the scanner sees it without noise: point spread across, slice profile along."""
    across = [np.hypot(fwhm_mm / 2.355 / s, 0.32) for s in spacing_mm_zyx[1:]]
    out = ndimage.gaussian_filter(hu, (0.3, *across), mode="nearest", truncate=3.0)
    return np.asarray(out, dtype=np.float32)
