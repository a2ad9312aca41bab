"""What the scanner makes of a painted patient: field of view, contrast, coil, bias, blur, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apps.spine_metastasis.anatomy import CORNERS, Spine
from apps.spine_metastasis.canvas import Canvas, Volume
from apps.spine_metastasis.paint import Tissues
from apps.spine_metastasis.population import FieldOfView
from operators.geometry import VolumeGeometry

Rng = np.random.Generator

SUB_PLANES = ((-0.3, 0.3), (0.0, 0.4), (0.3, 0.3))
"""Place in a slice, as a part of its thickness, and weight: the slice's profile."""
TISSUES: Tissues = {
    "fat": (0.03, 0.97, 0.07),
    "epidural_fat": (0.05, 0.85, 0.1),
    "marrow": (0.36, 0.98, 0.19),
    "cortex": (0.06, 0.02, 0.05),
    "ligament": (0.09, 0.02, 0.07),
    "disc": (0.36, 0.0, 0.3),
    "csf": (0.15, 0.0, 1.0),
    "cord": (0.42, 0.0, 0.42),
    "roots": (0.36, 0.0, 0.5),
    "muscle": (0.31, 0.01, 0.27),
}
"""Water of T1, fat of T1, and STIR, as parts of fat's T1 and of CSF's STIR.

Marrow's are those of red marrow and of yellow marrow alone.
"""


@dataclass(frozen=True, kw_only=True)
class Department:
    """The scanners of a hospital.

    Args:
        fields_t: Magnetic fields in use.
        matrix: Columns and rows to choose from.
        fov_mm: Lowest and highest for each of `FieldOfView`, in its order.
        thickness_mm: Lowest and highest.
        slices: Lowest and highest number.
        snr: Lowest and highest, of marrow fat in T1 and of CSF in STIR.
        blur_px: Full width of the point spread.
        bias: Largest relative deviation.
        coil_mm: Lowest and highest depth at which the coil sees 1/e.
        water_t1: Factor on the T1 signal of water.
    """

    fields_t: tuple[float, ...]
    matrix: tuple[int, ...]
    fov_mm: tuple[tuple[float, float], ...]
    thickness_mm: tuple[float, float]
    slices: tuple[int, int]
    snr: tuple[float, float]
    blur_px: tuple[float, float]
    bias: float
    coil_mm: tuple[float, float]
    water_t1: float


DEPARTMENT_A = Department(
    fields_t=(1.5, 1.5, 3.0),
    matrix=(320, 352, 384, 416, 448),
    fov_mm=((265.0, 315.0), (285.0, 330.0), (345.0, 400.0), (280.0, 330.0)),
    thickness_mm=(3.0, 4.5),
    slices=(11, 15),
    snr=(17.0, 40.0),
    blur_px=(1.0, 1.7),
    bias=0.2,
    coil_mm=(110.0, 320.0),
    water_t1=1.0,
)
DEPARTMENT_B = Department(
    fields_t=(3.0, 3.0, 1.0),
    matrix=(288, 320, 384, 448),
    fov_mm=((250.0, 340.0), (270.0, 345.0), (350.0, 420.0), (260.0, 345.0)),
    thickness_mm=(3.5, 5.0),
    slices=(11, 17),
    snr=(13.0, 32.0),
    blur_px=(1.2, 2.1),
    bias=0.3,
    coil_mm=(80.0, 260.0),
    water_t1=1.15,
)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Which slices both series have.

    Args:
        x_mm: Middles of the slices, falling: from the patient's left to the right.
        thickness_mm: Of a slice.
        middle_yz: Of the field of view.
        field_t: Magnetic field.
    """

    x_mm: tuple[float, ...]
    thickness_mm: float
    middle_yz: tuple[float, float]
    field_t: float

    @property
    def step_mm(self) -> float:
        """Distance of slices."""
        return self.x_mm[0] - self.x_mm[1]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One sequence.

    Args:
        name: ``t1`` or ``stir``.
        geometry: Of the series.
        moved_yz: How far the patient has moved since the first series, mm.
        snr: Signal to noise.
        blur_px: Full width of the point spread at half its height.
        phase_blur: How much wider it is along the phase encoding.
        sharpen: Strength of the scanner's edge filter, 0 for none.
        shift_px: Chemical shift of fat along the columns; negative upwards.
        ghost: Strength of a ghost along the phase encoding, 0 for none.
        ghost_px: How far it is shifted.
        ghost_rows: Along rows (head to feet) rather than columns.
        coil_mm: Depth at which the coil sees 1/e.
        saturation: Signal left in front of the spine under a saturation band; 1 without a band.
        gain: Stored value of signal 1.
        tissues: Contrast.
        repetition_ms, echo_ms, inversion_ms: Times.
    """

    name: str
    geometry: VolumeGeometry
    moved_yz: tuple[float, float]
    snr: float
    blur_px: float
    phase_blur: float
    sharpen: float
    shift_px: float
    ghost: float
    ghost_px: int
    ghost_rows: bool
    coil_mm: float
    saturation: float
    gain: float
    tissues: Tissues
    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None

    def index_zyx(self, x_mm: float, yz: tuple[float, float]) -> tuple[float, float, float]:
        """Slice, row and column of a place of the patient, fractional."""
        spacing, origin = self.geometry.spacing_mm_zyx, self.geometry.origin_mm_lps
        return (
            (origin[0] - x_mm) / spacing[0],
            (origin[2] - (yz[1] + self.moved_yz[1])) / spacing[1],
            (yz[0] + self.moved_yz[0] - origin[1]) / spacing[2],
        )


def draw_stack(rng: Rng, department: Department, spine: Spine, view: FieldOfView) -> tuple[Stack, float]:
    """The slices, and the size of the field of view in mm."""
    by_level = {v.level: v for v in spine.vertebrae}
    fov = float(rng.uniform(*department.fov_mm[list(FieldOfView).index(view)])) * spine.posture.size**0.5
    last = f"L{spine.posture.lumbar_count}"
    if view in (FieldOfView.LUMBAR, FieldOfView.LONG):
        below = by_level["S3" if rng.random() < 0.6 else "S2"].centre_yz[1]
        below = min(below, *(by_level["S1"].corner(name)[1] - 3 for name in CORNERS))
        middle_z = below - float(rng.uniform(0, 14)) + fov / 2
    elif view is FieldOfView.THORACOLUMBAR:
        middle_z = by_level["T12"].centre_yz[1] + float(rng.uniform(-12, 12))
        # The sacrum stays outside.
        middle_z = max(middle_z, by_level[last].centre_yz[1] - 4 + fov / 2)
    else:
        middle_z = by_level["T8"].centre_yz[1] + float(rng.uniform(-15, 15))
        middle_z = max(middle_z, by_level["L3"].centre_yz[1] + fov / 2)
    seen = [v for v in spine.vertebrae if abs(v.centre_yz[1] - middle_z) < fov / 2]
    middle_y = float(np.mean([v.centre_yz[0] for v in seen])) - float(rng.uniform(0, 18)) - 0.06 * (fov - 250)
    middle_x = float(np.mean([v.x_mm for v in seen])) + float(rng.normal(0, 1.5))
    thickness = round(float(rng.uniform(*department.thickness_mm)), 1)
    step = round(thickness * float(rng.choice((1.0, 1.1, 1.1, 1.2))), 2)
    count = int(rng.integers(department.slices[0], department.slices[1] + 1))
    places = middle_x + step * (np.arange(count)[::-1] - (count - 1) / 2)
    stack = Stack(
        x_mm=tuple(round(float(x), 3) for x in places),
        thickness_mm=thickness,
        middle_yz=(middle_y, middle_z),
        field_t=float(rng.choice(department.fields_t)),
    )
    return stack, fov


def draw_scan(
    rng: Rng, department: Department, stack: Stack, fov_mm: float, name: str, *, is_second: bool
) -> Scan:
    """How one sequence is run."""
    rows = int(rng.choice(department.matrix))
    spacing = round(fov_mm / rows, 4)
    columns = rows if rng.random() < 0.72 else int(round(rows * 0.75 / 16) * 16)
    middle_y, middle_z = stack.middle_yz
    geometry = VolumeGeometry(
        shape_zyx=(len(stack.x_mm), rows, columns),
        spacing_mm_zyx=(round(stack.step_mm, 3), spacing, spacing),
        origin_mm_lps=(
            stack.x_mm[0],
            round(middle_y - (columns - 1) / 2 * spacing, 4),
            round(middle_z + (rows - 1) / 2 * spacing, 4),
        ),
        direction_lps_zyx=((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    )
    is_stir = name == "stir"
    moved = rng.normal(0, 0.7, 2) if is_second else np.zeros(2)
    snr = float(rng.uniform(*department.snr)) * (0.85 if is_stir else 1.0)
    inversion = {1.5: (140, 170), 3.0: (190, 230), 1.0: (120, 135)}[stack.field_t]
    return Scan(
        name=name,
        geometry=geometry,
        moved_yz=(round(float(moved[0]), 3), round(float(moved[1]), 3)),
        snr=snr,
        blur_px=float(rng.uniform(*department.blur_px)) * (1.15 if is_stir else 1.0),
        phase_blur=float(rng.uniform(1.0, 1.5)),
        sharpen=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.3 else 0.0,
        shift_px=float(rng.uniform(0.4, 1.4)) * float(rng.choice((-1, 1))),
        ghost=float(rng.uniform(0.02, 0.07)) if rng.random() < 0.22 else 0.0,
        ghost_px=int(rng.integers(rows // 9, rows // 3)),
        ghost_rows=bool(rng.random() < 0.6),
        coil_mm=float(rng.uniform(*department.coil_mm)),
        saturation=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.35 else 1.0,
        gain=float(rng.uniform(500, 1700)),
        tissues=_contrast(rng, department, is_stir=is_stir),
        repetition_ms=round(float(rng.uniform(3000, 5200) if is_stir else rng.uniform(420, 720))),
        echo_ms=round(float(rng.uniform(35, 80) if is_stir else rng.uniform(8, 16)), 1),
        inversion_ms=float(rng.integers(*inversion)) if is_stir else None,
    )


def _contrast(rng: Rng, department: Department, *, is_stir: bool) -> Tissues:
    tissues = {}
    for name, (water, fat, stir) in TISSUES.items():
        change = rng.normal(1, 0.06, 3)
        tissues[name] = (
            float(water * change[0] * department.water_t1),
            float(fat * (1 + 0.3 * (change[1] - 1))),
            float(stir * change[2]),
        )
    residual = float(rng.uniform(0.6, 1.8))
    for name in ("fat", "epidural_fat", "marrow"):
        water, fat, stir = tissues[name]
        tissues[name] = (water, fat, stir * residual if is_stir and name != "marrow" else stir)
    return tissues


def empty_canvas(stack: Stack, scans: list[Scan], rng: Rng) -> Canvas:
    """A canvas that all series fit into, as fine as the finest of them."""
    pixel = min(scan.geometry.spacing_mm_zyx[1] for scan in scans)
    half_y = max(s.geometry.shape_zyx[2] * s.geometry.spacing_mm_zyx[2] for s in scans) / 2 + 4
    half_z = max(s.geometry.shape_zyx[1] * s.geometry.spacing_mm_zyx[1] for s in scans) / 2 + 4
    x_mm = np.array([x + part * stack.thickness_mm for x in stack.x_mm for part, _ in SUB_PLANES])
    return Canvas(
        np.sort(x_mm),
        np.arange(stack.middle_yz[0] - half_y, stack.middle_yz[0] + half_y, pixel),
        np.arange(stack.middle_yz[1] + half_z, stack.middle_yz[1] - half_z, -pixel),
        rng,
    )


def expose(canvas: Canvas, scan: Scan, back_y: NDArray[np.float64], rng: Rng) -> Volume:
    """Stored values of a series, ``(z, y, x)`` float32.

    Args:
        canvas: Painted.
        scan: Of the sequence.
        back_y: y of the skin of the back for each row of the canvas.
        rng: For bias and noise.
    """
    slices, rows, columns = scan.geometry.shape_zyx
    spacing = scan.geometry.spacing_mm_zyx[1]
    column_of = (
        scan.geometry.origin_mm_lps[1] - scan.moved_yz[0] + np.arange(columns) * spacing - canvas.y_mm[0]
    ) / canvas.pixel_mm
    row_of = (
        canvas.z_mm[0] - (scan.geometry.origin_mm_lps[2] - scan.moved_yz[1] - np.arange(rows) * spacing)
    ) / canvas.pixel_mm
    grid = np.meshgrid(column_of.astype(np.float32), row_of.astype(np.float32))
    seen = _sensitivity(canvas, scan, back_y, rng)
    bias_along_x = rng.normal(0, 0.02, slices)
    sigma = scan.blur_px / 2.355
    sigma_xy = (sigma, sigma * scan.phase_blur) if scan.ghost_rows else (sigma * scan.phase_blur, sigma)
    noise = 1 / scan.snr
    out = np.empty((slices, rows, columns), dtype=np.float32)
    coil = cv2.remap(seen, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Part of the coil's fall-off is corrected by the scanner, which raises the noise there.
    corrected = np.maximum(coil, 0.05) ** float(rng.choice((0.0, 0.4, 0.75)))
    for z in range(slices):
        planes = slice((slices - 1 - z) * len(SUB_PLANES), (slices - z) * len(SUB_PLANES))
        plane = _slice_of(canvas, scan, planes)
        plane = cv2.remap(plane, grid[0], grid[1], cv2.INTER_LINEAR)
        plane = cv2.GaussianBlur(plane, (0, 0), sigma_xy[0], sigmaY=sigma_xy[1])
        plane = plane * coil * np.float32(1 + bias_along_x[z])
        if scan.ghost:
            plane = plane + scan.ghost * np.roll(plane, scan.ghost_px, axis=0 if scan.ghost_rows else 1)
        real = plane + noise * rng.standard_normal(plane.shape, dtype=np.float32)
        imaginary = noise * rng.standard_normal(plane.shape, dtype=np.float32)
        seen_plane = np.hypot(real, imaginary)
        if scan.sharpen:
            seen_plane += scan.sharpen * (seen_plane - cv2.GaussianBlur(seen_plane, (0, 0), 1.2))
        out[z] = np.maximum(seen_plane, 0) / corrected
    return np.asarray(out * np.float32(scan.gain))


def _slice_of(canvas: Canvas, scan: Scan, planes: slice) -> Volume:
    weights = np.array([weight for _, weight in SUB_PLANES], dtype=np.float32)
    mean = lambda channel: np.tensordot(weights, canvas.signals[channel, planes], axes=1)  # noqa: E731 - a name for a call
    if scan.name == "stir":
        return np.asarray(mean(2))
    fat = mean(1)
    shift = np.array([[1, 0, 0], [0, 1, scan.shift_px]], dtype=np.float32)
    fat = cv2.warpAffine(fat, shift, fat.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(mean(0) + fat)


def _sensitivity(canvas: Canvas, scan: Scan, back_y: NDArray[np.float64], rng: Rng) -> Volume:
    """Coil, bias and saturation band of the plane, ``(row, column)``, about 1 in the spine."""
    depth = np.maximum(back_y[:, None] - canvas.y_mm[None, :], 0)
    spine_mm = 75.0
    coil = np.exp((spine_mm - depth) / scan.coil_mm)
    rows, columns = canvas.shape[1:]
    small = rng.normal(0, 1, (4, 4)).astype(np.float32)
    bias = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC)
    bias = 1 + 0.2 * bias / max(float(np.abs(bias).max()), 1e-6)
    ends = np.linspace(-1, 1, rows)[:, None]
    fall = 1 - 0.35 * np.clip(np.abs(ends) - 0.78, 0, 1) / 0.22
    out = np.clip(coil, 0, 3.2) * bias * fall
    if scan.saturation < 1:
        edge = 118 + 8 * math.sin(scan.gain)
        out = out * (scan.saturation + (1 - scan.saturation) * np.clip((edge - depth) / 18 + 0.5, 0, 1))
    return np.asarray(out, dtype=np.float32)
