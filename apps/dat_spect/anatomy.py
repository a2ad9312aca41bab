"""A head with its striata: what the phantom puts into the camera.

Millimetres, LPS axes of the head itself, the origin in the middle of the head.
`Head.rasterise` gives activity and attenuation on any grid, `Head.labels` the truth; whose
head it is, is in `apps.dat_spect.population`. Activity 1 is the mean of the reference
region, so that the activity of a striatum is 1 plus its binding ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.dat_spect.labels import LABELS, Side
from operators.phantom.shapes import Capsule, Ellipsoid, Points, soft

MU_SOFT, MU_BONE = 0.147, 0.25
"""Linear attenuation at 159 keV, per cm."""
STRIATAL_VOLUME_ML = 11.2
"""Of each side, caudate and putamen together: what the Southampton method divides by."""
REFERENCE_DEPTH_MM = 8.0
"""The reference region stays this far below the surface of the brain ..."""
REFERENCE_DISTANCE_MM = 14.0
"""... and this far from a striatum."""
FINE_MM = 1.0
"""Grid on which a striatum is measured."""
SCALP_MM, SKULL_MM = 4.5, 5.5
FINE_BOX_MM = ((-20.0, 22.0), (-28.0, 32.0), (-20.0, 28.0))
"""Holds every striatum in its own coordinates, (x, y, z)."""


class Part(StrEnum):
    """Of a striatum."""

    CAUDATE = "caudate"
    ANTERIOR = "putamen_anterior"
    POSTERIOR = "putamen_posterior"


PART_NUMBERS = {Part.CAUDATE: 1, Part.ANTERIOR: 2, Part.POSTERIOR: 3}


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lacune: a ball in which little binding is left.

    Args:
        centre_mm: In the striatum's own coordinates.
        radius_mm: Of the ball.
        remaining: Fraction of the binding left inside, 0..1.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    remaining: float


@dataclass(frozen=True, kw_only=True)
class Striatum:
    """One comma: caudate nucleus and putamen, described as the left one at standard size.

    Args:
        side: Of the patient.
        anchor_mm: Where its own origin lies in the head, x counted away from the midline.
        caudate: Head and body of the caudate nucleus.
        putamen: Its first axis runs from front to back.
        scale: Enlargement that makes the volume `STRIATAL_VOLUME_ML`.
        binding: Binding ratio of each part, without lesions.
        lesions: Lacunes.
    """

    side: Side
    anchor_mm: tuple[float, float, float]
    caudate: tuple[Ellipsoid, ...]
    putamen: Ellipsoid
    scale: float
    binding: dict[Part, float]
    lesions: tuple[Lesion, ...] = ()

    def local_mm(self, points: Points) -> Points:
        """Head coordinates ``(..., 3)`` to the striatum's own, float32, mm."""
        sign = 1.0 if self.side is Side.LEFT else -1.0
        mirrored = points * np.asarray([sign, 1, 1], dtype=np.float32)
        shifted = mirrored - np.asarray(self.anchor_mm, dtype=np.float32)
        return np.asarray(shifted / np.float32(self.scale), dtype=np.float32)

    def parts(self, local: Points) -> NDArray[np.uint8]:
        """Numbers of `PART_NUMBERS` at points in own coordinates, 0 outside, ``(...)`` uint8."""
        return _parts_at(local, self.caudate, self.putamen)

    def binding_at(self, local: Points, parts: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Binding ratio at points, 0 outside, ``(...)`` float32."""
        along = self.putamen.local_mm(local)[..., 0]
        # Binding falls gradually from the front of the putamen to its back.
        share = 1 / (1 + np.exp(-along / np.float32(TRANSITION_MM)))
        front, back = self.binding[Part.ANTERIOR], self.binding[Part.POSTERIOR]
        out = np.where(
            parts == PART_NUMBERS[Part.CAUDATE], self.binding[Part.CAUDATE], front + (back - front) * share
        )
        for lesion in self.lesions:
            distance = np.linalg.norm(local - np.asarray(lesion.centre_mm, dtype=np.float32), axis=-1)
            out = np.where(distance < lesion.radius_mm, out * lesion.remaining, out)
        return np.where(parts > 0, out, 0).astype(np.float32)

    def measured(self) -> dict[str, float]:
        """True binding ratio and volume of the whole, the parts and the putamen.

        Keys: ``sbr``, ``sbr_caudate``, ``sbr_putamen``, ``sbr_putamen_anterior``,
        ``sbr_putamen_posterior``, ``volume_ml``, ``volume_caudate_ml``, ``volume_putamen_ml``.
        """
        parts = _fine_parts(self.caudate, self.putamen)
        binding = self.binding_at(fine_grid(), parts)
        voxel_ml = (FINE_MM * self.scale) ** 3 / 1000
        members = {
            "": parts > 0,
            "_caudate": parts == PART_NUMBERS[Part.CAUDATE],
            "_putamen": parts >= PART_NUMBERS[Part.ANTERIOR],
            "_putamen_anterior": parts == PART_NUMBERS[Part.ANTERIOR],
            "_putamen_posterior": parts == PART_NUMBERS[Part.POSTERIOR],
        }
        out = {f"sbr{name}": float(binding[mask].mean()) for name, mask in members.items()}
        for name in ("", "_caudate", "_putamen"):
            out[f"volume{name}_ml"] = float(members[name].sum()) * voxel_ml
        return out


TRANSITION_MM = 3.0
"""Width of the change from anterior to posterior putamen."""


@cache
def fine_grid() -> Points:
    """Points that hold any striatum in its own coordinates, ``(z, y, x, 3)`` float32, mm."""
    axes = [np.arange(low, high + FINE_MM, FINE_MM, dtype=np.float32) for low, high in FINE_BOX_MM]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z], axis=-1)


def _parts_at(local: Points, caudate: tuple[Ellipsoid, ...], putamen: Ellipsoid) -> NDArray[np.uint8]:
    out = np.zeros(local.shape[:-1], dtype=np.uint8)
    along = putamen.local_mm(local)[..., 0]
    inside = putamen.depth_mm(local) > 0
    out[inside & (along <= 0)] = PART_NUMBERS[Part.ANTERIOR]
    out[inside & (along > 0)] = PART_NUMBERS[Part.POSTERIOR]
    for shape in caudate:
        out[shape.depth_mm(local) > 0] = PART_NUMBERS[Part.CAUDATE]
    return out


@lru_cache(maxsize=2)
def _fine_parts(caudate: tuple[Ellipsoid, ...], putamen: Ellipsoid) -> NDArray[np.uint8]:
    """Parts on the fine grid; both sides of a head have the same shapes, and ask more than once."""
    parts = _parts_at(fine_grid(), caudate, putamen)
    parts.setflags(write=False)
    return parts


def scale_of(caudate: tuple[Ellipsoid, ...], putamen: Ellipsoid) -> float:
    """The enlargement that gives shapes the volume of `STRIATAL_VOLUME_ML`."""
    volume_ml = float((_fine_parts(caudate, putamen) > 0).sum()) * FINE_MM**3 / 1000
    return float((STRIATAL_VOLUME_ML / volume_ml) ** (1 / 3))


@dataclass(frozen=True, kw_only=True)
class Head:
    """One head.

    Args:
        semi_axes_mm: Of the head with scalp and skull.
        neck: Below it.
        face: In front and below.
        striata: Right and left.
        structures: What in the brain differs from the rest, painted in order: shape and activity.
        texture: Standard deviation of the smooth unevenness of the brain.
        activity: Of ``scalp``, ``skull`` and ``neck``; the brain is about 1.
    """

    semi_axes_mm: tuple[float, float, float]
    neck: Capsule
    face: Ellipsoid
    striata: tuple[Striatum, Striatum]
    structures: tuple[tuple[Ellipsoid, float], ...]
    texture: float
    activity: dict[str, float] = field(default_factory=lambda: {"scalp": 0.4, "skull": 0.2, "neck": 0.4})

    def _shell(self, thickness_mm: float) -> Ellipsoid:
        x, y, z = self.semi_axes_mm
        return Ellipsoid((0, 0, 0), (x - thickness_mm, y - thickness_mm, z - thickness_mm))

    @property
    def brain(self) -> Ellipsoid:
        """Inside of the skull."""
        return self._shell(SCALP_MM + SKULL_MM)

    def outline(self, points: Points, voxel_mm: float) -> NDArray[np.float32]:
        """Share of head, face and neck in each voxel, ``(...)`` float32, 0..1."""
        whole = soft(self._shell(0).depth_mm(points), voxel_mm)
        for shape in (self.neck, self.face):
            np.maximum(whole, soft(shape.depth_mm(points), voxel_mm), out=whole)
        return whole

    def reference(self, points: Points) -> NDArray[np.bool_]:
        """The brain well below its surface and away from the striata, ``(...)`` bool."""
        inside = self.brain.depth_mm(points) > REFERENCE_DEPTH_MM
        for striatum in self.striata:
            local = striatum.local_mm(points)
            margin = -REFERENCE_DISTANCE_MM / striatum.scale
            for shape in (*striatum.caudate, striatum.putamen):
                inside &= _grown(shape, -margin).depth_mm(local) < 0
        return inside

    def labels(self, points: Points) -> NDArray[np.uint8]:
        """Values of `LABELS` at points ``(..., 3)``, uint8."""
        out = np.zeros(points.shape[:-1], dtype=np.uint8)
        out[self.reference(points)] = LABELS["reference"]
        for striatum in self.striata:
            parts = striatum.parts(striatum.local_mm(points))
            out[parts == PART_NUMBERS[Part.CAUDATE]] = LABELS[f"caudate_{striatum.side}"]
            out[parts >= PART_NUMBERS[Part.ANTERIOR]] = LABELS[f"putamen_{striatum.side}"]
        return out

    def rasterise(
        self, points: Points, fine_offsets: Points, voxel_mm: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Activity (1 in the reference) and attenuation (per cm), both ``(z, y, x)`` float32.

        Args:
            points: ``(z, y, x, 3)`` float32, centres of the voxels in head coordinates, mm.
            fine_offsets: ``(n, 3)`` float32, mm: parts of a voxel around its centre; striata
                are averaged over them, being hardly wider than a voxel.
            voxel_mm: Size of the voxels.
            rng: For the texture.
        """
        outline = self.outline(points, voxel_mm)
        activity = outline * np.float32(self.activity["neck"])
        mu = outline * np.float32(MU_SOFT)
        _paint(activity, soft(self._shell(0).depth_mm(points), voxel_mm), self.activity["scalp"])
        bone = soft(self._shell(SCALP_MM).depth_mm(points), voxel_mm)
        _paint(activity, bone, self.activity["skull"])
        _paint(mu, bone, MU_BONE)
        inside = soft(self.brain.depth_mm(points), voxel_mm)
        _paint(mu, inside, MU_SOFT)
        brain = np.ones_like(activity)
        for shape, value in self.structures:
            _paint(brain, soft(shape.depth_mm(points), voxel_mm), value)
        brain *= _texture_of(brain.shape, voxel_mm, self.texture, rng)
        brain /= brain[self.reference(points)].mean()
        _paint(activity, inside, brain)
        for striatum in self.striata:
            self._paint_striatum(activity, striatum, points, fine_offsets)
        return activity, mu

    def _paint_striatum(
        self, activity: NDArray[np.float32], striatum: Striatum, points: Points, fine_offsets: Points
    ) -> None:
        near = np.abs(striatum.local_mm(points)).max(axis=-1) < 34
        local = striatum.local_mm(points[near][:, None, :] + fine_offsets[None])
        parts = striatum.parts(local)
        binding = striatum.binding_at(local, parts).mean(axis=1)
        share = (parts > 0).mean(axis=1, dtype=np.float32)
        activity[near] = activity[near] * (1 - share) + share + binding


def _grown(shape: Ellipsoid, by_mm: float) -> Ellipsoid:
    a, b, c = shape.semi_axes_mm
    return Ellipsoid(shape.centre_mm, (a + by_mm, b + by_mm, c + by_mm), shape.axes, shape.exponent)


def _texture_of(
    shape: tuple[int, ...], voxel_mm: float, standard_deviation: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    coarse = rng.standard_normal([max(n // 2, 2) for n in shape]).astype(np.float32)
    smooth = ndimage.gaussian_filter(coarse, 8 / (2 * voxel_mm))
    smooth *= standard_deviation / max(float(smooth.std()), 1e-6)
    full = ndimage.zoom(smooth, [n / m for n, m in zip(shape, smooth.shape, strict=True)], order=1)
    return np.asarray(np.clip(1 + full, 0.6, 1.4), dtype=np.float32)


def _paint(target: NDArray[np.float32], share: NDArray[np.float32], value: object) -> None:
    """Replaces by `value` what `share` of each voxel covers, in place."""
    target += share * (np.asarray(value, dtype=np.float32) - target)
