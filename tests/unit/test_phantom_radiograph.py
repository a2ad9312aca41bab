"""Rays, counts and grey values of phantom radiographs against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from operators.phantom.fields import Field, Points
from operators.phantom.radiograph import (
    Beam,
    Detector,
    Processing,
    Raster,
    Solid,
    exposed,
    line_integrals,
    processed,
    resampled,
    wide_gaussian,
)

WATER_PER_MM = 0.02
FAR_FOCUS = Beam(
    centre_mm=np.zeros(3),
    across=np.array([1.0, 0, 0]),
    down=np.array([0, 0, -1.0]),
    along=np.array([0, 1.0, 0]),
    source_mm=1e6,
    detector_mm=1.1e6,
)
NEAR_FOCUS = Beam(
    centre_mm=np.zeros(3),
    across=np.array([1.0, 0, 0]),
    down=np.array([0, 0, -1.0]),
    along=np.array([0, 1.0, 0]),
    source_mm=1000.0,
    detector_mm=1150.0,
)


def water(points: Points, _distance: Field) -> Field:
    """Everywhere that of water."""
    return np.full(points[0].shape, WATER_PER_MM, dtype=np.float32)


def corners(half: float) -> np.ndarray:
    """Of a cube."""
    return half * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)


def slab(half_mm: float) -> Solid:
    """Water between two planes across the central ray."""
    return Solid(lambda points: np.abs(points[1]) - np.float32(half_mm), water, corners(120.0))


def ball(radius_mm: float) -> Solid:
    """Of water, about the origin."""
    return Solid(
        lambda points: np.sqrt(sum((axis * axis for axis in points), np.float32(0))) - np.float32(radius_mm),
        water,
        corners(radius_mm),
    )


def test_parallel_rays_through_a_water_slab_count_its_thickness() -> None:
    raster = Raster(-20.0, -20.0, 1.0, 41, 41)

    p = line_integrals(FAR_FOCUS, raster, slab(50.0), depth_step_mm=1.0)

    np.testing.assert_allclose(p, 100 * WATER_PER_MM, rtol=2e-3)


def test_slanting_rays_pass_more_of_a_slab() -> None:
    raster = Raster(0.0, 0.0, 100.0, 1, 2)

    straight, slant = line_integrals(NEAR_FOCUS, raster, slab(10.0), depth_step_mm=0.5)[0]

    assert slant / straight == pytest.approx(np.sqrt(1 + 0.1**2), rel=2e-3)


def test_a_ball_casts_the_chords_of_a_circle() -> None:
    raster = Raster(-36.0, -36.0, 0.5, 145, 145)
    v, u = raster.v_mm[:, None], raster.u_mm[None, :]
    chord = 2 * np.sqrt(np.clip(30.0**2 - v**2 - u**2, 0, None))

    p = line_integrals(FAR_FOCUS, raster, ball(30.0), depth_step_mm=0.5)

    deep = chord > 15
    np.testing.assert_allclose(p[deep], chord[deep] * WATER_PER_MM, atol=0.012)
    assert p.sum() == pytest.approx(chord.sum() * WATER_PER_MM, rel=5e-3)
    assert np.all(p[np.hypot(v, u) > 31.5] == 0)


def test_a_solid_beside_the_picture_costs_and_adds_nothing() -> None:
    def never(_points: Points) -> Field:
        raise AssertionError("asked for a distance")

    raster = Raster(200.0, 200.0, 1.0, 20, 20)

    p = line_integrals(NEAR_FOCUS, raster, Solid(never, water, corners(20.0)), depth_step_mm=1.0)

    assert not p.any()


def test_what_is_nearer_to_the_focus_is_magnified_more() -> None:
    vu = NEAR_FOCUS.project(np.array([[50.0, -100.0, 0.0], [50.0, 0.0, 0.0], [50.0, 100.0, 0.0]]))

    assert vu[:, 1].tolist() == pytest.approx([50 / 0.9, 50.0, 50 / 1.1])


def test_points_of_rays_are_projected_back_to_their_rays() -> None:
    v, u, t = (np.array([value], dtype=np.float32) for value in (17.0, -31.0, 80.0))

    (position,) = np.stack(NEAR_FOCUS.points(v, u, t), axis=1)

    np.testing.assert_allclose(NEAR_FOCUS.project(position[None].astype(float))[0], [17.0, -31.0], atol=1e-3)


def test_a_gap_of_a_millimetre_shows_between_two_blocks() -> None:
    def halves(points: Points) -> Field:
        return np.maximum(np.abs(points[1]) - 15, np.float32(0.5) - np.abs(points[0])).astype(np.float32)

    raster = Raster(0.0, -6.0, 0.5, 1, 25)

    p = line_integrals(FAR_FOCUS, raster, Solid(halves, water, corners(20.0)), depth_step_mm=1.0)[0]

    assert p[12] < 0.6 * p[0]


def test_resampling_keeps_a_plane_exactly() -> None:
    coarse = Raster(-10.0, -10.0, 5.0, 9, 9)
    plane = 2 * coarse.v_mm[:, None] - 3 * coarse.u_mm[None, :]
    fine = Raster(0.0, 0.0, 0.7, 20, 25)

    np.testing.assert_allclose(
        resampled(plane, coarse, fine), 2 * fine.v_mm[:, None] - 3 * fine.u_mm[None, :], atol=1e-3
    )


def test_a_wide_blur_keeps_the_mean_and_flattens() -> None:
    image = np.zeros((200, 180), dtype=np.float32)
    image[100, 90] = 1e4

    blurred = wide_gaussian(image, 25.0)

    assert blurred.sum() == pytest.approx(1e4, rel=0.03)
    assert blurred.max() == pytest.approx(1e4 / (2 * np.pi * 25**2), rel=0.1)


def test_counts_follow_beer_and_lambert_and_poisson() -> None:
    p = np.full((200, 200), 1.5, dtype=np.float32)
    detector = Detector(pixel_mm=0.4, counts=1e4, scatter=0.0, blur_mm=0.0, heel=0.0, fixed_noise=0.0)

    counts = exposed(p, np.ones_like(p), detector, np.random.default_rng(0))

    expected = 1e4 * np.exp(-1.5)
    assert counts.mean() == pytest.approx(expected, rel=2e-3)
    assert counts.var() == pytest.approx(expected, rel=0.05)


def test_scatter_adds_its_share_of_the_primary() -> None:
    p = np.full((150, 150), 1.0, dtype=np.float32)
    plain = Detector(pixel_mm=0.4, counts=1e6, scatter=0.0, heel=0.0, fixed_noise=0.0)
    hazy = Detector(pixel_mm=0.4, counts=1e6, scatter=0.5, heel=0.0, fixed_noise=0.0)

    ratio = (
        exposed(p, np.ones_like(p), hazy, np.random.default_rng(0)).mean()
        / exposed(p, np.ones_like(p), plain, np.random.default_rng(0)).mean()
    )

    assert ratio == pytest.approx(1.5, rel=5e-3)


def test_bone_is_bright_and_air_is_black() -> None:
    counts = np.full((100, 120), 5000.0, dtype=np.float32)
    counts[:, :30] = 1e6
    counts[40:60, 60:80] = 500
    field = np.ones(counts.shape, dtype=bool)
    field[:, :30] = False

    grey = processed(counts, field, 0.4, Processing(equalise=0.0, detail=0.0, high=100.0))

    assert grey.min() >= 0
    assert grey.max() <= 1
    assert grey[:, :25].max() < 0.02
    assert grey[50, 70] > 0.9 > grey[10, 100]
