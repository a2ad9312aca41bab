"""A gamma camera: its grids, projection, noise and reconstruction.

Rotate-and-sum projector with attenuation, depth-dependent blur, a septal-penetration
tail and Poisson noise; OSEM and filtered backprojection. Arrays are ``(z, y, x)``; the
rotation axis is z; view 0 looks from anterior (from -y towards +y, LPS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse

from operators.geometry import VolumeGeometry
from operators.phantom.shapes import Points
from operators.preprocess.transmission import turned_about_z

DEPTH_SLABS = 10
"""Planes at similar distance share one blur; the width of a slab is a few centimetres."""
FWHM_TO_SIGMA = 1 / 2.3548


@dataclass(frozen=True, kw_only=True)
class Collimator:
    """What a collimator does to a projection.

    Args:
        name: Collimator/Grid Name.
        fwhm_face_mm: Resolution at the collimator's face.
        fwhm_slope: Growth of the distance term, mm per mm.
        penetration_fraction: Counts added as a tail, as a fraction of the primary counts:
            the 529 keV photons of I-123 that go through the septa, and scatter.
        penetration_length_mm: Decay length of that exponential tail.
    """

    name: str
    fwhm_face_mm: float = 3.5
    fwhm_slope: float = 0.045
    penetration_fraction: float
    penetration_length_mm: float = 80.0

    def sigma_mm(self, distance_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Standard deviation of the blur at a distance from the face, mm."""
        distance = np.maximum(distance_mm, 0.0)
        return np.asarray(np.hypot(self.fwhm_face_mm, self.fwhm_slope * distance) * FWHM_TO_SIGMA)


def project(
    activity: NDArray[np.float32],
    mu_per_cm: NDArray[np.float32],
    *,
    spacing_mm: float,
    angles_rad: Sequence[float],
    orbit_mm: float,
    collimator: Collimator,
) -> NDArray[np.float32]:
    """Noise-free projections ``(view, z, x)`` float32 of one activity map.

    Args:
        activity: ``(z, y, x)`` float32, per voxel, isotropic `spacing_mm`.
        mu_per_cm: ``(z, y, x)`` float32, linear attenuation at 159 keV.
        spacing_mm: Voxel size.
        angles_rad: View angles; 0 is anterior, growing towards the patient's left.
        orbit_mm: Distance of the collimator's face from the rotation axis.
        collimator: Its blur and penetration.
    """
    stack = torch.from_numpy(np.concatenate([activity, mu_per_cm]))[None]
    blur = _slab_blur(activity.shape, spacing_mm, orbit_mm, collimator)
    views = [_one_view(stack, angle, spacing_mm, blur) for angle in angles_rad]
    projections = np.stack(views)
    return add_penetration(projections, collimator, spacing_mm)


def _one_view(
    stack: torch.Tensor, angle: float, spacing_mm: float, blur: NDArray[np.float32]
) -> NDArray[np.float32]:
    turned = stack if angle == 0 else turned_about_z(stack, angle)
    depth = turned.shape[1] // 2
    activity, mu = turned[0, :depth], turned[0, depth:]
    path = torch.cumsum(mu, dim=1) - 0.5 * mu
    seen = activity * torch.exp(-path * (spacing_mm / 10.0))
    z, y, x = seen.shape
    pad = (-y) % DEPTH_SLABS
    seen = torch.nn.functional.pad(seen, (0, 0, 0, pad))
    slabs = seen.reshape(z, DEPTH_SLABS, -1, x).sum(dim=2).numpy()
    spectrum = (fft.rfft2(slabs, axes=(0, 2)) * blur).sum(axis=1)
    view = np.maximum(fft.irfft2(spectrum, s=(z, x), axes=(0, 1)), 0)
    return np.asarray(view, dtype=np.float32)


def _slab_blur(
    shape: tuple[int, ...], spacing_mm: float, orbit_mm: float, collimator: Collimator
) -> NDArray[np.float32]:
    """``(kz, slab, kx)`` float32: the transfer function of each slab."""
    z, y, x = shape
    planes = -(-y // DEPTH_SLABS)
    centres = (np.arange(DEPTH_SLABS) + 0.5) * planes - 0.5
    distance = orbit_mm + (centres - (y - 1) / 2) * spacing_mm
    sigma = collimator.sigma_mm(distance) / spacing_mm
    k2 = np.fft.fftfreq(z)[:, None] ** 2 + np.fft.rfftfreq(x)[None, :] ** 2
    return np.exp(-2 * np.pi**2 * sigma[None, :, None] ** 2 * k2[:, None, :]).astype(np.float32)


def add_penetration(
    projections: NDArray[np.float32], collimator: Collimator, spacing_mm: float
) -> NDArray[np.float32]:
    """Projections ``(view, z, x)`` plus their exponential septal-penetration tail."""
    reach = int(3 * collimator.penetration_length_mm / spacing_mm)
    offsets = np.arange(-reach, reach + 1) * spacing_mm
    radius = np.hypot(offsets[:, None], offsets[None, :])
    kernel = np.exp(-radius / collimator.penetration_length_mm)
    kernel *= collimator.penetration_fraction / kernel.sum()
    size = [fft.next_fast_len(n + 2 * reach, real=True) for n in projections.shape[1:]]
    spectrum = fft.rfft2(kernel.astype(np.float32), s=size)
    tail = fft.irfft2(fft.rfft2(projections, s=size) * spectrum, s=size)
    z, x = projections.shape[1:]
    return np.asarray(projections + tail[:, reach : reach + z, reach : reach + x], dtype=np.float32)


def onto_detector(
    projections: NDArray[np.float32],
    *,
    spacing_mm: float,
    pixel_mm: float,
    shape_zx: tuple[int, int],
    centre_offset_mm_z: float = 0.0,
) -> NDArray[np.float32]:
    """Counts per detector pixel, ``(view, z, x)`` float32, centred on the rotation axis."""
    rows = interpolation_weights(projections.shape[1], shape_zx[0], spacing_mm, pixel_mm, centre_offset_mm_z)
    columns = interpolation_weights(projections.shape[2], shape_zx[1], spacing_mm, pixel_mm)
    sampled = rows @ projections @ columns.T
    return np.asarray(sampled * (pixel_mm / spacing_mm) ** 2, dtype=np.float32)


def interpolation_weights(
    source: int, target: int, spacing_mm: float, pixel_mm: float, offset_mm: float = 0.0
) -> NDArray[np.float32]:
    """``(target, source)`` linear interpolation weights of one axis; zero outside."""
    places = ((np.arange(target) - (target - 1) / 2) * pixel_mm + offset_mm) / spacing_mm + (source - 1) / 2
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(source)[None, :]), 0)
    return np.asarray(weights, dtype=np.float32)


def volume_grid(
    *,
    matrix: int,
    slices: int,
    pixel_mm: float,
    centre_mm_lps: tuple[float, float, float],
    is_head_first: bool,
) -> VolumeGeometry:
    """Grid of a reconstructed volume of cubic voxels around the camera's centre.

    Args:
        matrix: Rows and columns.
        slices: Along the rotation axis.
        pixel_mm: Edge of a voxel.
        centre_mm_lps: Of the camera, in the patient system of the instance.
        is_head_first: The first slice is the uppermost.
    """
    half = [(n - 1) / 2 * pixel_mm for n in (matrix, matrix, slices)]
    up = -1.0 if is_head_first else 1.0
    x, y, z = centre_mm_lps
    return VolumeGeometry(
        shape_zyx=(slices, matrix, matrix),
        spacing_mm_zyx=(pixel_mm,) * 3,
        origin_mm_lps=(round(x - half[0], 3), round(y - half[1], 3), round(z - up * half[2], 3)),
        direction_lps_zyx=((0.0, 0.0, up), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    )


def grid_points(shape_zyx: tuple[int, int, int], spacing_mm: float) -> Points:
    """Centres of the voxels of the physics against the camera's centre, ``(z, y, x, 3)`` float32, mm."""
    axes = [((np.arange(n) - (n - 1) / 2) * spacing_mm).astype(np.float32) for n in shape_zyx]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z], axis=-1)


def volume_points(geometry: VolumeGeometry, centre_mm_lps: tuple[float, float, float]) -> Points:
    """Centres of a volume's voxels against the camera's centre, ``(z, y, x, 3)`` float32, mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape_zyx), indexing="ij"), axis=-1)
    lps = index @ geometry.affine_lps[:3, :3].T + geometry.affine_lps[:3, 3]
    return np.asarray(lps - np.asarray(centre_mm_lps), dtype=np.float32)


def onto_volume(
    values: NDArray[np.float32], *, spacing_mm: float, pixel_mm: float, shape_zyx: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Values of the physics on the grid of a reconstructed volume, ``(z, y, x)`` float32, feet first.

    Args:
        values: ``(z, y, x)`` float32, isotropic `spacing_mm`.
        spacing_mm: Of the physics.
        pixel_mm: Of the volume, whose centre is the same.
        shape_zyx: Of the volume.
    """
    weights = [
        interpolation_weights(n, m, spacing_mm, pixel_mm)
        for n, m in zip(values.shape, shape_zyx, strict=True)
    ]
    sampled = np.einsum("zyx,Zz,Yy,Xx->ZYX", values, *weights, optimize=True)
    return np.asarray(sampled, dtype=np.float32)


# ------------------------------------------------------------ reconstruction


@lru_cache(maxsize=4)
def system_matrix(pixels: int, views: int) -> sparse.csr_matrix:
    """``(views * bins, pixels * pixels)`` float32: linear interpolation of each pixel into two bins."""
    centre = (pixels - 1) / 2
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) - np.float32(centre)
    inside = (np.hypot(x, y) <= centre).ravel()
    index = np.flatnonzero(inside)
    rows, columns, weights = [], [], []
    for view in range(views):
        angle = 2 * np.pi * view / views
        place = (x * np.cos(angle) + y * np.sin(angle)).ravel()[inside] + centre
        low = np.clip(np.floor(place).astype(np.int64), 0, pixels - 2)
        high = (place - low).astype(np.float32)
        rows += [view * pixels + low, view * pixels + low + 1]
        columns += [index, index]
        weights += [1 - high, high]
    return sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
        shape=(views * pixels, pixels * pixels),
        dtype=np.float32,
    )


def osem(projections: NDArray[np.float32], *, iterations: int, subsets: int) -> NDArray[np.float32]:
    """Ordered-subset EM without resolution or attenuation model, ``(z, y, x)`` float32.

    Args:
        projections: ``(view, z, bin)`` counts over 360 degrees, evenly spaced views.
        iterations: Full passes.
        subsets: Must divide the number of views.
    """
    views, slices, bins = projections.shape
    counts = projections.transpose(0, 2, 1).reshape(views * bins, slices)
    image = np.full((bins * bins, slices), max(float(counts.mean()), 1e-3) / bins, dtype=np.float32)
    for _ in range(iterations):
        for part in _subset_matrices(bins, views, subsets):
            expected = part.forward @ image
            ratio = counts[part.rows] / np.maximum(expected, 1e-6)
            image *= (part.backward @ ratio) / part.sensitivity
    return _as_volume(image, bins, slices)


@dataclass(frozen=True, eq=False)
class _Subset:
    """The views of one subset: their rows, both projections, and the sensitivity ``(pixels, 1)``."""

    rows: NDArray[np.int64]
    forward: sparse.csr_matrix
    backward: sparse.csr_matrix
    sensitivity: NDArray[np.float32]


@lru_cache(maxsize=4)
def _subset_matrices(bins: int, views: int, subsets: int) -> tuple[_Subset, ...]:
    matrix = system_matrix(bins, views)
    parts = []
    for start in range(subsets):
        rows = _subset_rows(views, bins, start, subsets)
        forward = matrix[rows]
        backward = forward.T.tocsr()
        sensitivity = np.maximum(np.asarray(backward.sum(axis=1)), 1e-6)
        parts.append(_Subset(rows, forward, backward, sensitivity))
    return tuple(parts)


def _subset_rows(views: int, bins: int, start: int, subsets: int) -> NDArray[np.int64]:
    chosen = np.arange(start, views, subsets)
    return (chosen[:, None] * bins + np.arange(bins)[None, :]).ravel()


def filtered_backprojection(projections: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ramp-filtered backprojection, ``(z, y, x)`` float32, in the scale of `osem`."""
    views, slices, bins = projections.shape
    size = fft.next_fast_len(2 * bins, real=True)
    ramp = 2 * np.abs(np.fft.rfftfreq(size)).astype(np.float32)
    ramp[0] = ramp[1] / 4
    filtered = fft.irfft(fft.rfft(projections, size, axis=2) * ramp, size, axis=2)[:, :, :bins]
    flat = np.ascontiguousarray(filtered.transpose(0, 2, 1).reshape(views * bins, slices), dtype=np.float32)
    image = system_matrix(bins, views).T.tocsr() @ flat * np.float32(np.pi / (2 * views))
    return _as_volume(image, bins, slices)


def _as_volume(image: NDArray[np.float32], bins: int, slices: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(image.reshape(bins, bins, slices).transpose(2, 0, 1), dtype=np.float32)


def gaussian(volume: NDArray[np.float32], fwhm_mm: float, spacing_mm: float) -> NDArray[np.float32]:
    """A volume smoothed by a Gaussian of the given width."""
    return np.asarray(
        ndimage.gaussian_filter(volume, fwhm_mm * FWHM_TO_SIGMA / spacing_mm, mode="nearest"),
        dtype=np.float32,
    )


def butterworth(
    volume: NDArray[np.float32], *, cutoff_per_cm: float, order: int, spacing_mm: float
) -> NDArray[np.float32]:
    """A volume after the 3-D Butterworth low pass of nuclear medicine workstations."""
    axes = [np.fft.fftfreq(n, spacing_mm / 10.0) for n in volume.shape[:2]]
    last = np.fft.rfftfreq(volume.shape[2], spacing_mm / 10.0)
    k2 = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + last[None, None, :] ** 2
    transfer = 1 / np.sqrt(1 + (k2 / cutoff_per_cm**2) ** order)
    return np.asarray(
        fft.irfftn(fft.rfftn(volume) * transfer.astype(np.float32), s=volume.shape), dtype=np.float32
    )
