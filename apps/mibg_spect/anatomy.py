"""The patients of the phantom: an XCAT-like chest of smooth shapes with MIBG in it.

Millimetres, LPS axes, the origin in the middle of the chest. `Patient.rasterise` gives
activity and attenuation on any grid, `Patient.labels` the truth; who the patients are is in
`apps.mibg_spect.population`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from operators.phantom.shapes import Capsule, Ellipsoid, Points, soft

MU_SOFT, MU_LUNG, MU_BONE = 0.147, 0.04, 0.25
"""Linear attenuation at 159 keV, per cm."""
BASE_CUT = 0.7
"""The left ventricle ends at this fraction of its half length towards the base."""
HEART_DENERVATED_BELOW = 1.6
"""Myocardial uptake, in multiples of blood, below which a heart counts as denervated."""


@dataclass(frozen=True, kw_only=True)
class Heart:
    """The left ventricle with its uptake.

    Args:
        outer: Epicardium.
        inner: Endocardium.
        right: Right ventricle.
        uptake: Myocardium, in multiples of blood.
        cavity_uptake: Inside the ventricle.
        defects: Directions in the heart's own axes (axis 0 from base to apex) of the centres of
            perfusion-like defects, with half-angle in radians and remaining fraction.
    """

    outer: Ellipsoid
    inner: Ellipsoid
    right: Ellipsoid
    uptake: float
    cavity_uptake: float
    defects: tuple[tuple[tuple[float, float, float], float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient: shapes and activities at the time of injection."""

    weight_kg: float
    age_years: int
    sex: str
    torso: Ellipsoid
    neck: Capsule
    arms: tuple[Capsule, ...]
    spine: Capsule
    mediastinum: tuple[Ellipsoid, ...]
    lung_right: Ellipsoid
    lung_left: Ellipsoid
    domes: tuple[Ellipsoid, Ellipsoid]
    liver: tuple[Ellipsoid, ...]
    spleen: Ellipsoid
    others: tuple[tuple[Ellipsoid, float], ...]
    heart: Heart
    activity: dict[str, float]
    texture: float
    lung_gradient: float

    @property
    def is_denervated(self) -> bool:
        """True when the myocardium is hardly brighter than blood."""
        return self.heart.uptake < HEART_DENERVATED_BELOW

    def washed_out(self, heart_fraction: float, others: dict[str, float]) -> Patient:
        """The same patient hours later, before physical decay: activities times what is left."""
        activity = {name: value * others.get(name, 1.0) for name, value in self.activity.items()}
        heart = replace(
            self.heart,
            uptake=self.heart.uptake * heart_fraction,
            cavity_uptake=self.heart.cavity_uptake * others.get("blood", 1.0),
        )
        if self.heart.cavity_uptake == self.heart.uptake:
            heart = replace(heart, cavity_uptake=heart.uptake)
        rest = tuple((shape, value * others.get("background", 1.0)) for shape, value in self.others)
        return replace(self, activity=activity, heart=heart, others=rest)

    def labels(self, points: Points) -> NDArray[np.uint8]:
        """Labels at points ``(..., 3)``: 1 right lung, 2 left lung, 3 liver, 4 heart, uint8."""
        out = np.zeros(points.shape[:-1], dtype=np.uint8)
        lung_right, lung_left, liver, heart = self._organ_depths(points)
        for value, depth in ((1, lung_right), (2, lung_left), (3, liver), (4, heart)):
            out[depth > 0] = value
        return out

    def rasterise(
        self, points: Points, voxel_mm: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Activity (multiples of blood) and attenuation (per cm) at points ``(z, y, x, 3)``.

        `rng` draws the texture only; draw it afresh from the same seed to get the same organs.
        """
        body = self._body(points, voxel_mm)
        activity = body * np.float32(self.activity["background"])
        mu = body * np.float32(MU_SOFT)
        bone = soft(self.spine.depth_mm(points), voxel_mm) * body
        _paint(mu, bone, MU_BONE)
        _paint(activity, bone, self.activity["background"] * 1.2)
        for column in self.mediastinum:
            _paint(activity, soft(column.depth_mm(points), voxel_mm) * body, self.activity["blood"])
        for shape, value in self.others:
            _paint(activity, soft(shape.depth_mm(points), voxel_mm) * body, value)
        _paint(activity, soft(self.spleen.depth_mm(points), voxel_mm) * body, self.activity["spleen"])
        lung_right, lung_left, liver, _ = self._organ_depths(points)
        lungs = np.maximum(soft(lung_right, voxel_mm), soft(lung_left, voxel_mm))
        dependent = 1 + self.lung_gradient * np.clip(points[..., 1] / 80, -1, 1)
        _paint(activity, lungs, self.activity["lung"] * dependent)
        _paint(mu, lungs, MU_LUNG)
        _paint(activity, soft(liver, voxel_mm), self.activity["liver"])
        self._paint_heart(activity, mu, points, voxel_mm)
        return activity * self._texture_of(activity.shape, voxel_mm, rng), mu

    def _body(self, points: Points, voxel_mm: float) -> NDArray[np.float32]:
        body = soft(self.torso.depth_mm(points), voxel_mm)
        for limb in (self.neck, *self.arms):
            np.maximum(body, soft(limb.depth_mm(points), voxel_mm), out=body)
        return body

    def _organ_depths(self, points: Points) -> tuple[NDArray[np.float32], ...]:
        heart = self.heart.outer.depth_mm(points)
        along = self.heart.outer.local_mm(points)[..., 0]
        heart = np.minimum(heart, along + BASE_CUT * self.heart.outer.semi_axes_mm[0])
        both_hearts = np.maximum(heart, self.heart.right.depth_mm(points))
        belly = np.maximum(self.domes[0].depth_mm(points), self.domes[1].depth_mm(points))
        inside = self.torso.depth_mm(points) - 12
        free = np.minimum(np.minimum(-both_hearts - 3, -belly - 3), inside)
        lung_right = np.minimum(self.lung_right.depth_mm(points), free)
        lung_left = np.minimum(self.lung_left.depth_mm(points), free)
        liver = np.maximum(self.liver[0].depth_mm(points), self.liver[1].depth_mm(points))
        liver = np.minimum(np.minimum(liver, belly), np.minimum(inside, -both_hearts - 3))
        return lung_right, lung_left, liver, heart

    def _paint_heart(
        self, activity: NDArray[np.float32], mu: NDArray[np.float32], points: Points, voxel_mm: float
    ) -> None:
        heart = self.heart
        right = soft(heart.right.depth_mm(points), voxel_mm)
        blood = self.activity["blood"]
        _paint(activity, right, blood + 0.15 * max(heart.uptake - blood, 0.0))
        _paint(mu, right, MU_SOFT)
        whole = soft(self._organ_depths(points)[3], voxel_mm)
        wall = heart.uptake * self._remaining(points)
        _paint(activity, whole, wall)
        _paint(mu, whole, MU_SOFT)
        cavity = np.minimum(soft(heart.inner.depth_mm(points), voxel_mm), whole)
        _paint(activity, cavity, heart.cavity_uptake)

    def _remaining(self, points: Points) -> NDArray[np.float32]:
        left = np.ones(points.shape[:-1], dtype=np.float32)
        if not self.heart.defects:
            return left
        local = self.heart.outer.local_mm(points)
        unit = local / np.maximum(np.linalg.norm(local, axis=-1, keepdims=True), 1e-3)
        for direction, half_angle, remaining in self.heart.defects:
            cosine = unit @ np.asarray(direction, dtype=np.float32)
            inside = np.clip((cosine - np.cos(half_angle)) * 6 + 0.5, 0, 1)
            left *= 1 - inside * np.float32(1 - remaining)
        return left

    def _texture_of(
        self, shape: tuple[int, ...], voxel_mm: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        coarse = rng.standard_normal([max(n // 3, 2) for n in shape]).astype(np.float32)
        smooth = ndimage.gaussian_filter(coarse, 12 / voxel_mm / 3 * 2)
        smooth *= self.texture / max(float(smooth.std()), 1e-6)
        full = ndimage.zoom(smooth, [n / m for n, m in zip(shape, smooth.shape, strict=True)], order=1)
        return np.clip(1 + full, 0.5, 1.5).astype(np.float32)


def _paint(target: NDArray[np.float32], share: NDArray[np.float32], value: object) -> None:
    """Replaces by `value` what `share` of each voxel covers, in place."""
    target += share * (np.asarray(value, dtype=np.float32) - target)
