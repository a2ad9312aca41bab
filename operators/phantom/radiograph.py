"""Radiographs of a phantom: rays through solids, what a detector counts, how a vendor shows it.

In come signed distances and attenuation; out go line integrals, counts and grey values. Nothing
here knows anatomy or DICOM. Coordinates are millimetres in any right- or left-handed frame; the
object plane is the plane through `Beam.centre_mm` across the central ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from operators.phantom.fields import Field, Points

Vector = NDArray[np.float64]

TILE = 6
"""Pixels and depth samples of a block that is looked at, or left out, as a whole."""
TILES_AT_ONCE = 2500
DISTANCE_SLACK = 1.35
"""Smooth unions and ellipsoids give distances that may be this much too large."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beam:
    """A cone of rays from a focus to a flat detector across the central ray.

    Args:
        centre_mm: ``(3,)`` where the central ray meets the object plane.
        across: ``(3,)`` unit vector of growing columns.
        down: ``(3,)`` unit vector of growing rows.
        along: ``(3,)`` unit vector of the central ray, away from the focus.
        source_mm: From the focus to the object plane.
        detector_mm: From the focus to the detector.
    """

    centre_mm: Vector
    across: Vector
    down: Vector
    along: Vector
    source_mm: float
    detector_mm: float

    @property
    def magnification(self) -> float:
        """Millimetres on the detector for one in the object plane."""
        return self.detector_mm / self.source_mm

    def points(self, v_mm: Field, u_mm: Field, depth_mm: Field) -> Points:
        """Positions on the rays through object-plane positions, at a depth beyond that plane."""
        scale = 1 + depth_mm * np.float32(1 / self.source_mm)
        u, v = u_mm * scale, v_mm * scale
        x, y, z = (
            np.asarray(
                u * np.float32(self.across[i])
                + v * np.float32(self.down[i])
                + depth_mm * np.float32(self.along[i])
                + np.float32(self.centre_mm[i]),
                dtype=np.float32,
            )
            for i in range(3)
        )
        return x, y, z

    def project(self, positions: Vector) -> Vector:
        """Row and column, mm in the object plane, of ``(n, 3)`` positions: ``(n, 2)``.

        >>> beam = Beam(centre_mm=np.zeros(3), across=np.array([1.0, 0, 0]), down=np.array([0, 0, -1.0]),
        ...             along=np.array([0, 1.0, 0]), source_mm=1000.0, detector_mm=1150.0)
        >>> beam.project(np.array([[10.0, 0, 20], [11, 100, 22]])).round(6).tolist()
        [[-20.0, 10.0], [-20.0, 10.0]]
        """
        offset = np.asarray(positions, dtype=float) - self.centre_mm
        scale = 1 + offset @ self.along / self.source_mm
        return np.stack([offset @ self.down / scale, offset @ self.across / scale], axis=1)

    def depth_mm(self, positions: Vector) -> Vector:
        """Depth beyond the object plane of ``(n, 3)`` positions: ``(n,)``."""
        return np.asarray((np.asarray(positions, dtype=float) - self.centre_mm) @ self.along)


@dataclass(frozen=True, eq=False)
class Solid:
    """Something that rays pass.

    Args:
        distance: Signed distance, mm, negative inside; asked anywhere.
        attenuation: Attenuation per mm of points inside, from the points and their distances.
        corners_mm: ``(n, 3)`` positions between which it lies.
    """

    distance: Callable[[Points], Field]
    attenuation: Callable[[Points, Field], Field]
    corners_mm: Vector


@dataclass(frozen=True)
class Raster:
    """Evenly spaced rays in the object plane.

    Args:
        top_mm, left_mm: Of the first ray.
        step_mm: Between rays, both ways.
        rows, columns: How many.
    """

    top_mm: float
    left_mm: float
    step_mm: float
    rows: int
    columns: int

    @property
    def v_mm(self) -> Field:
        """``(rows,)`` float32."""
        return (self.top_mm + self.step_mm * np.arange(self.rows)).astype(np.float32)

    @property
    def u_mm(self) -> Field:
        """``(columns,)`` float32."""
        return (self.left_mm + self.step_mm * np.arange(self.columns)).astype(np.float32)

    def coarser(self, step_mm: float) -> Raster:
        """About the same field with wider steps, one beyond each border."""
        rows = int(np.ceil((self.rows - 1) * self.step_mm / step_mm)) + 3
        columns = int(np.ceil((self.columns - 1) * self.step_mm / step_mm)) + 3
        return Raster(self.top_mm - step_mm, self.left_mm - step_mm, step_mm, rows, columns)


def line_integrals(beam: Beam, raster: Raster, solid: Solid, *, depth_step_mm: float) -> Field:
    """Attenuation of a solid along each ray, ``(rows, columns)`` float32, without unit.

    Blocks of rays and depths that the solid does not reach cost nothing.

    Args:
        beam: Where the rays are.
        raster: Which rays.
        solid: What they pass.
        depth_step_mm: Between samples along a ray; edges are soft over one step.
    """
    out = np.zeros((raster.rows, raster.columns), dtype=np.float32)
    block = _reach(beam, raster, solid, depth_step_mm)
    if block is None:
        return out
    depths = block[2]
    tile_v, tile_u, tile_t = _tiles_inside(beam, raster, solid, block, depth_step_mm)
    inner = np.arange(TILE)
    for start in range(0, tile_v.size, TILES_AT_ONCE):
        some = slice(start, start + TILES_AT_ONCE)
        v = raster.top_mm + raster.step_mm * (tile_v[some, None] + inner)
        u = raster.left_mm + raster.step_mm * (tile_u[some, None] + inner)
        t = depths[0] + depth_step_mm * (tile_t[some, None] + inner)
        sums = _block_sums(
            beam,
            solid,
            (v[:, :, None, None], u[:, None, :, None], t[:, None, None, :]),
            depth_step_mm,
        )
        _put(out, sums, tile_v[some], tile_u[some])
    slant = 1 + (raster.v_mm[:, None] ** 2 + raster.u_mm[None, :] ** 2) / np.float32(beam.source_mm**2)
    return np.asarray(out * np.sqrt(slant), dtype=np.float32)


def _block_sums(
    beam: Beam,
    solid: Solid,
    vut: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]],
    depth_step_mm: float,
) -> Field:
    """Sums over the depth of blocks, ``(blocks, rows, columns)``."""
    v, u, t = (axis.astype(np.float32) for axis in vut)
    points = beam.points(v, u, t)
    shape = np.broadcast_shapes(v.shape, u.shape, t.shape)
    points = tuple(np.broadcast_to(axis, shape) for axis in points)  # type: ignore[assignment]
    distance = solid.distance(points)
    share = np.clip(np.float32(0.5) - distance * np.float32(1 / depth_step_mm), 0, 1)
    inside = share > 0
    share[inside] *= solid.attenuation(
        (points[0][inside], points[1][inside], points[2][inside]), distance[inside]
    )
    return np.asarray(share.sum(axis=3) * np.float32(depth_step_mm), dtype=np.float32)


def _put(out: Field, sums: Field, tile_v: NDArray[np.integer], tile_u: NDArray[np.integer]) -> None:
    inner = np.arange(TILE)
    v = np.broadcast_to((tile_v[:, None] + inner)[:, :, None], sums.shape)
    u = np.broadcast_to((tile_u[:, None] + inner)[:, None, :], sums.shape)
    seen = (v < out.shape[0]) & (u < out.shape[1])
    flat = v[seen] * out.shape[1] + u[seen]
    out += np.bincount(flat, weights=sums[seen], minlength=out.size).reshape(out.shape).astype(np.float32)


def _reach(
    beam: Beam, raster: Raster, solid: Solid, depth_step_mm: float
) -> tuple[slice, slice, tuple[float, int]] | None:
    """Rows, columns and depths (first, count) between which a solid lies; None outside the picture."""
    vu = beam.project(solid.corners_mm)
    low = np.floor((vu.min(axis=0) - (raster.top_mm, raster.left_mm)) / raster.step_mm).astype(int) - 2
    high = np.ceil((vu.max(axis=0) - (raster.top_mm, raster.left_mm)) / raster.step_mm).astype(int) + 3
    low, high = np.maximum(low, 0), np.minimum(high, (raster.rows, raster.columns))
    if (low >= high).any():
        return None
    depth = beam.depth_mm(solid.corners_mm)
    first = float(depth.min()) - depth_step_mm
    count = int(np.ceil((float(depth.max()) + depth_step_mm - first) / depth_step_mm)) + 1
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), (first, count)


def _tiles_inside(
    beam: Beam,
    raster: Raster,
    solid: Solid,
    block: tuple[slice, slice, tuple[float, int]],
    depth_step: float,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """First row, column and depth index of the blocks that the solid may reach."""
    rows, columns, (first, count) = block
    starts = (
        np.arange(rows.start, rows.stop, TILE),
        np.arange(columns.start, columns.stop, TILE),
        np.arange(0, count, TILE),
    )
    middle = (TILE - 1) / 2
    v = (raster.top_mm + raster.step_mm * (starts[0] + middle)).astype(np.float32)[:, None, None]
    u = (raster.left_mm + raster.step_mm * (starts[1] + middle)).astype(np.float32)[None, :, None]
    t = (first + depth_step * (starts[2] + middle)).astype(np.float32)[None, None, :]
    points = beam.points(v, u, t)
    shape = np.broadcast_shapes(v.shape, u.shape, t.shape)
    distance = solid.distance(tuple(np.broadcast_to(axis, shape) for axis in points))  # type: ignore[arg-type]
    half = TILE / 2 * np.sqrt(2 * raster.step_mm**2 + depth_step**2)
    i, j, k = np.nonzero(distance < DISTANCE_SLACK * half + depth_step)
    return starts[0][i], starts[1][j], starts[2][k]


def resampled(values: Field, of: Raster, at: Raster) -> Field:
    """Values known on one raster, on another, by cubic (Catmull-Rom) interpolation."""
    down = _cubic(of.top_mm, of.step_mm, of.rows, at.v_mm)
    across = _cubic(of.left_mm, of.step_mm, of.columns, at.u_mm)
    return np.ascontiguousarray((across @ (down @ values).T).T, dtype=np.float32)


def _cubic(start: float, step: float, n: int, positions: Field) -> sparse.csr_array:
    """``(len(positions), n)`` float32 interpolation matrix.

    It is sparse because a dense product, shared among threads, would not give the same bits everywhere.
    """
    at = np.clip((positions - start) / step, 0, n - 1)
    low = np.minimum(np.floor(at).astype(np.intp), n - 2)
    f = (at - low).astype(np.float32)
    weights = (
        ((-0.5 * f + 1.0) * f - 0.5) * f,
        (1.5 * f - 2.5) * f * f + 1,
        ((-1.5 * f + 2.0) * f + 0.5) * f,
        (0.5 * f - 0.5) * f * f,
    )
    rows = np.repeat(np.arange(positions.size), 4)
    columns = np.clip(low[:, None] + np.arange(-1, 3), 0, n - 1).ravel()
    values = np.stack(weights, axis=1).astype(np.float32).ravel()
    return sparse.csr_array((values, (rows, columns)), shape=(positions.size, n))


@dataclass(frozen=True, kw_only=True)
class Detector:
    """What turns rays into counts.

    Args:
        pixel_mm: Of the detector, both ways.
        counts: Of a pixel in the open beam.
        scatter: Scattered per primary radiation, after the grid.
        scatter_mm: Width (sigma) of the scatter.
        blur_mm: Sigma of the point spread, screen or light included.
        heel: Relative fall of the beam from one end to the other (anode heel effect).
        fixed_noise: Structure noise, relative.
    """

    pixel_mm: float
    counts: float
    scatter: float = 0.35
    scatter_mm: float = 40.0
    blur_mm: float = 0.15
    heel: float = 0.15
    fixed_noise: float = 0.003


def exposed(line_integral: Field, opening: Field, detector: Detector, rng: np.random.Generator) -> Field:
    """Counts of each pixel, ``(y, x)`` float32: primary, scatter, blur and Poisson noise.

    Args:
        line_integral: ``(y, x)`` without unit.
        opening: ``(y, x)`` 0..1, the share of the beam that the collimator lets through.
        detector: What counts.
        rng: Of the noise.
    """
    rows = line_integral.shape[0]
    heel = 1 + np.float32(detector.heel) * np.linspace(-0.5, 0.5, rows, dtype=np.float32)[:, None]
    primary = np.float32(detector.counts) * np.exp(-line_integral) * opening * heel
    mean = primary + np.float32(detector.scatter) * wide_gaussian(
        primary, detector.scatter_mm / detector.pixel_mm
    )
    if detector.blur_mm > 0:
        mean = ndimage.gaussian_filter(mean, detector.blur_mm / detector.pixel_mm, mode="nearest", truncate=3)
    counts = rng.poisson(np.maximum(mean, 0)).astype(np.float32)
    counts *= 1 + np.float32(detector.fixed_noise) * rng.standard_normal(counts.shape, dtype=np.float32)
    return np.asarray(counts, dtype=np.float32)


def wide_gaussian(image: Field, sigma_px: float) -> Field:
    """A Gaussian blur much wider than a pixel, made on a coarser image where that does no harm."""
    factor = max(1, int(sigma_px / 4))
    if factor == 1:
        return np.asarray(ndimage.gaussian_filter(image, sigma_px, mode="nearest"), dtype=np.float32)
    rows, columns = (-(-n // factor) for n in image.shape)
    pad = ((0, rows * factor - image.shape[0]), (0, columns * factor - image.shape[1]))
    small = np.pad(image, pad, mode="edge").reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma_px / factor, mode="nearest")
    middle = (factor - 1) / 2
    of = Raster(middle, middle, float(factor), rows, columns)
    return resampled(small.astype(np.float32), of, Raster(0.0, 0.0, 1.0, *image.shape))


@dataclass(frozen=True, kw_only=True)
class Processing:
    """How a vendor shows counts.

    Args:
        equalise: Share of the wide brightness differences that is taken away, 0..1.
        equalise_mm: What counts as wide (sigma).
        detail: Edge enhancement.
        detail_mm: Size (sigma) of what is enhanced.
        low, high: Percentiles of the irradiated field that become black and white.
        contrast: Slope of the sigmoid; 0 for a straight line.
        centre: Of the sigmoid between black and white.
    """

    equalise: float = 0.4
    equalise_mm: float = 25.0
    detail: float = 0.6
    detail_mm: float = 1.5
    low: float = 3.0
    high: float = 99.8
    contrast: float = 5.0
    centre: float = 0.5


def processed(counts: Field, field: NDArray[np.bool_], pixel_mm: float, look: Processing) -> Field:
    """Grey values 0..1, bone bright, ``(y, x)`` float32.

    Args:
        counts: ``(y, x)`` of `exposed`.
        field: ``(y, x)`` where the collimator was open; percentiles are taken there.
        pixel_mm: Of the detector.
        look: The vendor's parameters.
    """
    signal = -np.log(counts + 1)
    wide = wide_gaussian(signal, look.equalise_mm / pixel_mm)
    fine = ndimage.gaussian_filter(signal, look.detail_mm / pixel_mm, mode="nearest", truncate=3)
    shown = signal + np.float32(look.detail) * (signal - fine)
    shown -= np.float32(look.equalise) * (wide - np.float32(np.median(wide[field])))
    low, high = np.percentile(shown[field][::7], [look.low, look.high])
    grey = np.clip((shown - low) / max(float(high - low), 1e-6), 0, 1)
    if look.contrast > 0:
        ends = 1 / (1 + np.exp(-look.contrast * (np.array([0.0, 1.0]) - look.centre)))
        grey = 1 / (1 + np.exp(-np.float32(look.contrast) * (grey - np.float32(look.centre))))
        grey = (grey - ends[0]) / (ends[1] - ends[0])
    return np.asarray(np.clip(grey, 0, 1), dtype=np.float32)
