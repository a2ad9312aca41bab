"""The scanner of the phantom: what part of the body, on which grid, with which noise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.anatomy import OTHER, Anatomy
from apps.msk_ct.population import Difficulty, Person
from operators.geometry import VolumeGeometry
from operators.phantom.fields import Field

Scalar = TypeVar("Scalar", bound=np.generic)

THICKEST_MM = 6.0
"""More than the app's rules take: such cases are there to be learned from, not to be sent."""
LARGEST_VOXELS = 11_500_000
NOISY_HU = (24.0, 45.0), (24.0, 80.0)
"""Noise where it is what makes a case hard: hospital A, hospital B."""
SEEN = (0.78, 0.95, 300.0), (0.65, 0.95, 230.0)
"""Field of view where it cuts the body, against the body's width, and its least in mm: hospital A, B."""


class Coverage(Enum):
    """Part of the body that was scanned: body part examined and description."""

    HIP_TO_KNEE = ("HIP", "CT hip to knee")
    PELVIS = ("PELVIS", "CT pelvis")
    ABDOMEN = ("ABDOMENPELVIS", "CT abdomen and pelvis")
    THIGH = ("THIGH", "CT thigh")
    ONE_HIP = ("HIP", "CT hip")


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """How one case was scanned.

    Args:
        coverage: Part of the body.
        z, y, x: Ascending positions of voxel centres in the body's frame, LPS mm.
        isocentre_mm: Added to positions in the DICOM objects.
        feet_first: Position on the table.
        mirrored: The columns run to the patient's right (image orientation -1, 0, 0, 0, 1, 0).
        kernel: Convolution kernel's name.
        fwhm_mm: Of the point spread.
        noise_hu: Standard deviation in the middle of an average body.
        noise_grain_px: Correlation of the noise.
        sharpening: Edge enhancement of the kernel, 0 for none.
        offset_hu, gain: Calibration error.
        kvp: Tube voltage.
        table_mm: Gap of the table under the body; None without table.
    """

    coverage: Coverage
    z: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    isocentre_mm: tuple[float, float, float]
    feet_first: bool
    mirrored: bool
    kernel: str
    fwhm_mm: float
    noise_hu: float
    noise_grain_px: float
    sharpening: float
    offset_hu: float
    gain: float
    kvp: int
    table_mm: float | None

    @property
    def spacing_mm_zyx(self) -> tuple[float, float, float]:
        """Distance of voxel centres."""
        return tuple(round(float(a[1] - a[0]), 6) for a in (self.z, self.y, self.x))  # type: ignore[return-value]

    @property
    def geometry(self) -> VolumeGeometry:
        """Grid of the arrays that `oriented` gives, which is the order in which a reader stacks."""
        sign = -1.0 if self.mirrored else 1.0
        z, x = (self.z[-1], self.x[-1]) if self.mirrored else (self.z[0], self.x[0])
        shift = self.isocentre_mm
        origin = (float(x) + shift[0], float(self.y[0]) + shift[1], float(z) + shift[2])
        return VolumeGeometry(
            (self.z.size, self.y.size, self.x.size),
            self.spacing_mm_zyx,
            tuple(round(v, 3) for v in origin),  # type: ignore[arg-type]
            ((0, 0, sign), (0, 1, 0), (sign, 0, 0)),
        )

    def oriented(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """From ascending LPS axes to the order of `geometry`."""
        return np.ascontiguousarray(array[::-1, :, ::-1] if self.mirrored else array)


def draw_scanner(
    rng: np.random.Generator, person: Person, difficulty: Difficulty, *, shift: bool, coarse: bool = False
) -> Scanner:
    """A scan of a person; `coarse` makes a small one, for tests."""
    shares = [0.46, 0.18, 0.20, 0.08, 0.08]
    if difficulty is Difficulty.TRUNCATED:
        shares = [0.1, 0.3, 0.2, 0.15, 0.25]
    if difficulty in (Difficulty.EASY, Difficulty.ATROPHY):
        shares = [0.7, 0.12, 0.18, 0.0, 0.0]
    coverage = list(Coverage)[int(rng.choice(5, p=shares))]
    low, high = _heights(rng, coverage, person)
    spacing_z = float(rng.choice([2.0, 2.5, 3.0, 3.0, 4.0, 5.0, 5.0]))
    if high - low < 260 and rng.random() < 0.3:
        spacing_z = float(rng.choice([1.0, 1.25, 1.5]))
    width = 2 * (156 * person.girth * person.size_xyz[0] + 1.1 * person.fat_mm + 0.5 * person.belly_mm)
    fov = float(np.clip(width * rng.uniform(1.04, 1.25), 350, 500))
    centre = [float(rng.normal(0, 8)), float(rng.normal(0, 10)) + 4]
    if difficulty is Difficulty.TRUNCATED and coverage is not Coverage.ONE_HIP:
        low_share, high_share, least_mm = SEEN[shift]
        fov = float(np.clip(width * rng.uniform(low_share, high_share), least_mm, 500))
    if coverage is Coverage.ONE_HIP:
        fov = float(rng.uniform(190, 260))
        centre[0] = float(rng.choice([-1, 1])) * 83.5 * person.size_xyz[0] + float(rng.normal(0, 12))
    matrix = int(rng.choice([256, 256, 256, 256, 256, 512, 320]))
    if coarse:
        matrix, spacing_z = 128, 6.0
    pixel = round(fov / matrix, 4)
    spacing_z = _affordable(spacing_z, high - low, matrix)
    rows = matrix
    z = low + spacing_z * np.arange(max(12, int((high - low) / spacing_z)))
    y = centre[1] + pixel * (np.arange(rows) - (rows - 1) / 2)
    x = centre[0] + pixel * (np.arange(matrix) - (matrix - 1) / 2)
    noise = float(rng.uniform(8, 20))
    if difficulty is Difficulty.NOISE:
        noise = float(rng.uniform(*NOISY_HU[shift]))
    sharp = rng.random() < (0.35 if shift else 0.2)
    kernels = ("B31f", "B60s") if shift else ("STANDARD", "BONE")
    feet_first = rng.random() < 0.2
    return Scanner(
        coverage=coverage,
        z=np.round(z, 4),
        y=np.asarray(y, dtype=np.float64),
        x=np.asarray(x, dtype=np.float64),
        isocentre_mm=(
            round(float(rng.normal(0, 5)), 1),
            round(float(rng.uniform(-160, 20)), 1),
            round(float(rng.uniform(-900, 300)), 1),
        ),
        feet_first=feet_first,
        mirrored=bool(feet_first and rng.random() < 0.5),
        kernel=kernels[int(sharp)],
        fwhm_mm=float(rng.uniform(0.75, 1.0) if sharp else rng.uniform(0.9, 1.4 if shift else 1.25)),
        noise_hu=noise * (1.25 if sharp else 1.0),
        noise_grain_px=float(rng.uniform(0.45, 0.6) if sharp else rng.uniform(0.65, 1.1)),
        sharpening=float(rng.uniform(0.3, 0.8)) if sharp else 0.0,
        offset_hu=float(rng.normal(2, 3)) if shift else float(rng.normal(0, 1)),
        gain=float(rng.normal(1.0, 0.015 if shift else 0.008)),
        kvp=int(rng.choice([100, 120, 120, 140])),
        table_mm=float(rng.uniform(1, 12)) if rng.random() < 0.9 else None,
    )


def _heights(rng: np.random.Generator, coverage: Coverage, person: Person) -> tuple[float, float]:
    """Lowest and highest plane in the body's frame, mm."""
    leg, trunk = person.thigh_length, person.size_xyz[2]
    low, high = {
        Coverage.HIP_TO_KNEE: ((-452, -355), (70, 165)),
        Coverage.PELVIS: ((-130, -75), (125, 170)),
        Coverage.ABDOMEN: ((-115, -55), (205, 290)),
        Coverage.THIGH: ((-430, -330), (-45, 25)),
        Coverage.ONE_HIP: ((-190, -90), (60, 150)),
    }[coverage]
    top = float(rng.uniform(*high))
    return float(rng.uniform(*low)) * leg, top * (trunk if top > 0 else leg)


def _affordable(spacing_z_mm: float, height_mm: float, matrix: int) -> float:
    for wider in (spacing_z_mm, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0):
        if wider >= spacing_z_mm and matrix**2 * height_mm / wider <= LARGEST_VOXELS:
            return wider
    return THICKEST_MM


def put_table(hu: Field, anatomy: Anatomy, scanner: Scanner, rng: np.random.Generator) -> None:
    """A table of carbon skin and foam under the body, and sometimes a sheet over it; in place."""
    air = anatomy.fine_zyx == 0
    if scanner.table_mm is not None:
        body = (~air).any(axis=(0, 2))
        lowest = scanner.y[np.flatnonzero(body)[-1]] if body.any() else scanner.y[-1]
        bend = float(rng.uniform(0, 1 / 700))
        top = lowest + scanner.table_mm - bend * 90**2 + bend * scanner.x**2
        depth = scanner.y[:, None] - top[None, :]
        thick, skin = float(rng.uniform(8, 60)), float(rng.uniform(1.2, 3.5))
        inside = (depth > 0) & (depth < thick) & (np.abs(scanner.x) < float(rng.uniform(170, 240)))[None, :]
        shell = inside & ((depth < skin) | (depth > thick - skin))
        for mask, value in ((inside, float(rng.uniform(-990, -880))), (shell, float(rng.uniform(-500, 60)))):
            where = air & mask[None]
            hu[where] = value
            anatomy.fine_zyx[where] = OTHER["table"]
    if rng.random() < 0.35:
        gap, thick = float(rng.uniform(0.5, 5)), float(rng.uniform(1, 3.5))
        cloth = (anatomy.fine_zyx == 0) & (anatomy.skin_zyx > gap) & (anatomy.skin_zyx < gap + thick)
        hu[cloth] = float(rng.uniform(-930, -600))
        anatomy.fine_zyx[cloth] = OTHER["cloth"]


def exposed(hu_zyx: Field, anatomy: Anatomy, scanner: Scanner, rng: np.random.Generator) -> Field:
    """Blurred Hounsfield units with coloured noise, edge enhancement and calibration, float32.

    The noise grows with what the rays pass: more in broad bodies, and drawn out sideways
    between the hips, where they pass most.
    """
    shape = hu_zyx.shape
    grain = scanner.noise_grain_px
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (0.25, grain, grain), mode="wrap", truncate=3.0)
    noise /= max(float(noise[: max(1, shape[0] // 8)].std()), 1e-6)
    width = (anatomy.fine_zyx > 0).sum(axis=2).max(axis=1) * scanner.spacing_mm_zyx[2]
    bone = (anatomy.bone_depth_zyx > 0).mean(axis=(1, 2))
    load = np.clip(width / 360, 0.5, 1.3) ** 2 * (0.8 + 8 * bone)
    strength = scanner.noise_hu * np.clip(load, 0.5, 1.6).astype(np.float32)
    out = hu_zyx
    if scanner.sharpening:
        soft = ndimage.gaussian_filter(hu_zyx, (0, 1.4, 1.4), mode="nearest", truncate=2.5)
        out = hu_zyx + np.float32(scanner.sharpening) * (hu_zyx - soft)
    streak = rng.standard_normal((shape[0], shape[1], shape[2] // 8 + 2), dtype=np.float32)
    streak = np.repeat(streak, 8, axis=2)[:, :, : shape[2]]
    streak = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(streak, 5.0, axis=2), grain, axis=1)
    streak *= 0.5 * bone[:, None, None].astype(np.float32) / max(float(bone.max()), 1e-3)
    out = out + (noise + streak) * strength[:, None, None]
    out = out + _metal_streaks(anatomy, scanner, rng)
    return np.asarray(
        (out + 1000) * np.float32(scanner.gain) - 1000 + np.float32(scanner.offset_hu), dtype=np.float32
    )


def _metal_streaks(anatomy: Anatomy, scanner: Scanner, rng: np.random.Generator) -> Field:
    """Bright and dark rays from metal, HU, fading with the distance from it."""
    metal = anatomy.fine_zyx == OTHER["metal"]
    out = np.zeros(metal.shape, dtype=np.float32)
    planes = np.flatnonzero(metal.any(axis=(1, 2)))
    if not planes.size:
        return out
    rays = ndimage.gaussian_filter1d(rng.standard_normal(720), 5, mode="wrap")
    rays /= rays.std()
    level = float(rng.uniform(30, 160))
    for z in planes:
        rows, columns = np.nonzero(metal[z])
        dy = scanner.y[:, None] - scanner.y[rows].mean()
        dx = scanner.x[None, :] - scanner.x[columns].mean()
        far = np.hypot(dy, dx)
        angle = np.arctan2(dy, dx) * 360 / np.pi
        turned = np.interp((angle + 2.0 * (z - planes[0])) % 720, np.arange(720), rays)
        out[z] = level * min(1.0, rows.size / 60) * turned * np.exp(-far / 55)
    return out
