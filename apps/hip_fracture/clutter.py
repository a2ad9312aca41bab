"""What else a radiograph shows: gas, stool, folds, clothes, pads, tubes, calcium, lead letters.

Everything is attenuation on the raster of the picture, and nothing depends on the fracture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from apps.hip_fracture.population import Person
from operators.phantom.fields import Field
from operators.phantom.radiograph import Beam, Raster, resampled

GAS_PER_MM = 0.0205
LEAD = 4.0
GLYPHS = {
    "R": ("1110", "1001", "1001", "1110", "1010", "1001", "1001"),
    "L": ("1000", "1000", "1000", "1000", "1000", "1000", "1111"),
}


@dataclass(frozen=True, eq=False)
class Clutter:
    """Attenuation to add, ``(y, x)`` float32, without unit."""

    attenuation: Field


def clutter(
    raster: Raster,
    beam: Beam,
    technique: str,
    side: str,
    person: Person,
    opening: Field,
    rng: np.random.Generator,
) -> Clutter:
    """All of it for one picture."""
    v, u = raster.v_mm[:, None], raster.u_mm[None, :]
    p = np.zeros((raster.rows, raster.columns), dtype=np.float32)
    p += _muscle_mottle(raster, rng)
    if technique != "cross-table":
        p += _bowel(raster, beam, rng)
    for _ in range(int(rng.integers(0, 4))):
        p += _fold(raster, rng)
    if rng.random() < 0.35:
        p += _cloth(raster, rng)
    if rng.random() < 0.3:
        p += _pad(v, u, rng)
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.3 else 0):
        p += _tube(raster, rng)
    if rng.random() < 0.2 + 0.3 * (person.age_years > 75):
        p += _vessel_calcium(raster, rng)
    for _ in range(int(rng.integers(0, 4))):
        p += _stone(v, u, rng)
    p += _letter(raster, technique, side, opening, rng)
    return Clutter(p)


def smooth_noise(shape: tuple[int, int], sigma_px: float, rng: np.random.Generator) -> Field:
    """Unit noise smoothed over `sigma_px`, ``shape`` float32."""
    factor = max(1, int(sigma_px / 3))
    small = rng.standard_normal((shape[0] // factor + 10, shape[1] // factor + 10)).astype(np.float32)
    small = ndimage.gaussian_filter(small, sigma_px / factor, mode="nearest").astype(np.float32)
    small /= small.std()
    of = Raster(0.0, 0.0, float(factor), *small.shape)
    return resampled(small, of, Raster(2.0 * factor, 2.0 * factor, 1.0, *shape))


def _muscle_mottle(raster: Raster, rng: np.random.Generator) -> Field:
    """Fat between and in the muscles."""
    shape = (raster.rows, raster.columns)
    wide = smooth_noise(shape, 9 / raster.step_mm, rng) * np.float32(rng.uniform(0.02, 0.06))
    fine = smooth_noise(shape, 2.2 / raster.step_mm, rng) * np.float32(rng.uniform(0.005, 0.02))
    return np.asarray(wide + fine, dtype=np.float32)


def _bowel(raster: Raster, beam: Beam, rng: np.random.Generator) -> Field:
    """Gas and stool in the pelvis and above, as chords of lumpy ellipsoids."""
    out = np.zeros((raster.rows, raster.columns), dtype=np.float32)
    shape = out.shape
    v = raster.v_mm[:, None] + smooth_noise(shape, 7 / raster.step_mm, rng) * np.float32(2.5)
    u = raster.u_mm[None, :] + smooth_noise(shape, 7 / raster.step_mm, rng) * np.float32(2.5)
    for _ in range(int(rng.integers(0, 12))):
        body = np.array([rng.normal(0, 45), -40.0, rng.uniform(15, 160)])
        cv, cu = beam.project(body[None])[0]
        a, b = float(rng.uniform(6, 20)), float(rng.uniform(6, 16))
        turn = float(rng.uniform(0, np.pi))
        x = (u - cu) * np.cos(turn) + (v - cv) * np.sin(turn)
        y = (v - cv) * np.cos(turn) - (u - cu) * np.sin(turn)
        square = (x / (a * rng.uniform(1, 2.2))) ** 2 + (y / b) ** 2
        chord = 2 * b * np.sqrt(np.clip(1 - square, 0, None))
        out -= np.float32(GAS_PER_MM * rng.uniform(0.5, 1.0)) * chord
    if rng.random() < 0.5:
        grain = smooth_noise(shape, 2.5 / raster.step_mm, rng)
        cv, cu = beam.project(np.array([[rng.normal(0, 40), 0, rng.uniform(20, 120)]]))[0]
        bed = np.exp(-(((u - cu) / 40) ** 2 + ((v - cv) / 35) ** 2))
        out += bed * (np.float32(0.12) - np.float32(0.1) * np.maximum(grain, 0))
    return np.asarray(out, dtype=np.float32)


def _curve(raster: Raster, rng: np.random.Generator) -> tuple[Field, Field]:
    """Signed distance to, and place along, a gently bent line somewhere in the picture, mm."""
    height, width = raster.rows * raster.step_mm, raster.columns * raster.step_mm
    cv, cu = rng.uniform(-0.4, 0.4) * height, rng.uniform(-0.4, 0.4) * width
    turn = float(rng.uniform(0, np.pi))
    v, u = raster.v_mm[:, None] - np.float32(cv), raster.u_mm[None, :] - np.float32(cu)
    along = u * np.float32(np.cos(turn)) + v * np.float32(np.sin(turn))
    across = v * np.float32(np.cos(turn)) - u * np.float32(np.sin(turn))
    across = across - along**2 * np.float32(rng.normal(0, 0.0025))
    across = across + np.float32(rng.uniform(0, 3)) * np.sin(along / np.float32(rng.uniform(12, 40)))
    return across.astype(np.float32), along.astype(np.float32)


def _fold(raster: Raster, rng: np.random.Generator) -> Field:
    """A skin fold or a plane of fat: a line with a soft and a sharp border, brighter or darker."""
    across, along = _curve(raster, rng)
    width, length = float(rng.uniform(0.6, 6)), float(rng.uniform(25, 120))
    level = float(rng.normal(0, 0.05))
    band = (
        np.clip(across / width, 0, 1) * (across < width)
        if rng.random() < 0.5
        else np.exp(-((across / width) ** 2))
    )
    return np.asarray(level * band * np.exp(-((along / length) ** 4)), dtype=np.float32)


def _cloth(raster: Raster, rng: np.random.Generator) -> Field:
    """Creases of underwear, a nappy or a sheet, and its edge."""
    across, along = _curve(raster, rng)
    ripple = smooth_noise((raster.rows, raster.columns), 4 / raster.step_mm, rng)
    pleats = np.abs(np.sin(along / np.float32(rng.uniform(3, 9)) + ripple)) ** 6
    sheet = np.clip(across / np.float32(1.5), 0, 1) * np.float32(rng.uniform(0.01, 0.05))
    return np.asarray(sheet * (1 + pleats * np.float32(rng.uniform(0.3, 1.2))), dtype=np.float32)


def _pad(v: Field, u: Field, rng: np.random.Generator) -> Field:
    """A cushion or board with straight borders."""
    turn = float(rng.normal(0, 0.3)) + float(rng.integers(2)) * np.pi / 2
    across = v * np.cos(turn) - u * np.sin(turn) - rng.uniform(-120, 120)
    wide = float(rng.uniform(30, 150))
    edge = np.clip(across / 1.2 + 0.5, 0, 1) * np.clip((wide - across) / 1.2 + 0.5, 0, 1)
    return np.asarray(edge * rng.uniform(0.02, 0.12), dtype=np.float32)


def _tube(raster: Raster, rng: np.random.Generator) -> Field:
    """A catheter, a drain or a wire."""
    across, _along = _curve(raster, rng)
    radius = float(rng.uniform(0.6, 3.2))
    chord = np.sqrt(np.clip(1 - (across / radius) ** 2, 0, None))
    bore = np.sqrt(np.clip(1 - (across / (0.65 * radius)) ** 2, 0, None))
    return np.asarray((chord - 0.6 * bore) * rng.uniform(0.05, 0.3), dtype=np.float32)


def _vessel_calcium(raster: Raster, rng: np.random.Generator) -> Field:
    """Two broken lines of calcium in the wall of an artery."""
    across, along = _curve(raster, rng)
    wall = np.exp(-(((np.abs(across) - rng.uniform(2, 4)) / 0.6) ** 2))
    patchy = np.clip(smooth_noise((raster.rows, raster.columns), 4 / raster.step_mm, rng), 0, 1.5)
    reach = np.exp(-((along / rng.uniform(25, 70)) ** 4))
    return np.asarray(wall * patchy * reach * rng.uniform(0.03, 0.15), dtype=np.float32)


def _stone(v: Field, u: Field, rng: np.random.Generator) -> Field:
    """A phlebolith, a calcified node, an injection granuloma, or a button."""
    cv, cu, radius = rng.uniform(-130, 130), rng.uniform(-150, 150), rng.uniform(1.2, 4)
    square = ((v - cv) ** 2 + (u - cu) ** 2) / radius**2
    ring = np.sqrt(np.clip(1 - square, 0, None))
    return np.asarray(ring * rng.uniform(0.03, 0.25), dtype=np.float32)


def _letter(raster: Raster, technique: str, side: str, opening: Field, rng: np.random.Generator) -> Field:
    """A lead letter near a border of the field; some pictures have none."""
    out = np.zeros((raster.rows, raster.columns), dtype=np.float32)
    if rng.random() < 0.12:
        return out
    letter = side if side != "B" else ("R" if rng.random() < 0.6 else "L")
    height = float(rng.uniform(9, 18)) / raster.step_mm
    stroke = height / 7
    glyph = np.array([[int(c) for c in row] for row in GLYPHS[letter]], dtype=np.float32)
    n = max(2, round(stroke))
    block = ndimage.gaussian_filter(np.kron(glyph, np.ones((n, n), dtype=np.float32)), 0.35 * n)
    block = ndimage.rotate(block, float(rng.normal(0, 8)), order=1, reshape=True, mode="constant")
    on_left = (letter == "R") if technique != "cross-table" else rng.random() < 0.5
    y = int(rng.uniform(0.04, 0.8) * (raster.rows - block.shape[0]))
    if technique == "cross-table":
        y = int(rng.choice([0.05, 0.85]) * (raster.rows - block.shape[0]))
    x = int(
        (rng.uniform(0.02, 0.1) if on_left else rng.uniform(0.9, 0.98)) * (raster.columns - block.shape[1])
    )
    if y < 0 or x < 0 or opening[y : y + block.shape[0], x : x + block.shape[1]].min() < 0.5:
        x = int(np.clip(x, 0.12 * raster.columns, 0.88 * raster.columns - block.shape[1]))
    if x >= 0 and y >= 0:
        out[y : y + block.shape[0], x : x + block.shape[1]] += np.float32(LEAD) * block.clip(0, 1)
    return out
