"""Stage `infer` of dat_spect, first half: where the striatal template lies in a scan.

The scan is explained as a sum of tissue maps of the template (brain, both caudates, both
halves of each putamen, and a radial shade), each with the uptake that fits best: dead striata
and bright ones are explained alike. What remains unexplained is made small by moving the template:
first a coarse search over nods and heights, then twelve parameters on the whole brain, then
the neighbourhood of the striata alone. How far each parameter may go is a prior, so that a scan
without striatal uptake is held by its brain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from apps.dat_spect.labels import PARTS
from apps.dat_spect.template import LIKELY, SPACING_MM, Template
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.infer.components import largest_component

NODS_DEG = (-16.0, 0.0, 16.0)
HEIGHTS_MM = (-25.0, 0.0, 25.0)
"""Starts of the search: how the head is nodded, and how much of it is in the field of view."""
COARSE_STEP = 3
"""The coarse search looks at every third voxel of the template along each axis."""
COARSE_FWHM_MM = 12.0
PRIOR_SPREADS = {
    "shift_mm": 25.0,
    "turn_rad": 0.25,
    "log_size": 0.10,
    "shear": 0.05,
}
"""Standard deviations around a start, first on the whole brain."""
LOCAL_SPREADS = {"shift_mm": 3.0, "turn_rad": 0.06, "log_size": 0.04, "shear": 0.02}
"""Then around the brain's place, on the neighbourhood of the striata."""
PRIOR_WEIGHT = 0.02
"""One standard deviation costs as much as this share of the scan's variation left unexplained."""
LOCAL_PRIOR_WEIGHT = 0.03
LOCAL_MARGIN_MM = 14.0
AROUND_BRAIN_MM = 25.0
LEAST_BLUR_MM = 8.0
"""FWHM of the sharpest cameras: the template's maps are as blurred."""
SLOPE_STEP = 1e-5
LEVEL_ROUNDS = 6
BRAIN_FLOOR = 0.65
"""Counts above this share of the brain's own belong to the brain, below to scalp, face and neck."""
HIGHEST_BRAIN = 12.0
"""Counts are clipped at this multiple of the brain's: glands and vessels must not pull."""
LEAST_EXPLAINED = 0.55
"""Share of the variation of the whole brain explained below which there is no brain in the scan.

That of the striata's neighbourhood is `Registration.explained`; what a low one means is
`apps.dat_spect.scan`'s to say.
"""
GROWTH = (0.6, 1.6)
"""Volume of a head over the template's: no adult's is smaller or larger."""
MOST_TURNED_DEG = 35.0
"""No head rest lets a head lie more askew against its header."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """Where the template lies.

    Args:
        patient_from_template: ``(4, 4)`` float64, template mm to LPS mm of the scan, affine.
        explained: Share of the variation around the striata that tissue maps explain, 0 to 1.
        explained_brain: The same on the whole brain.
    """

    patient_from_template: NDArray[np.float64]
    explained: float
    explained_brain: float


def register(counts_zyx: NDArray[np.float32], geometry: VolumeGeometry, template: Template) -> Registration:
    """The template laid over a scan.

    Args:
        counts_zyx: ``(z, y, x)`` float32, in any direction of slices, rows and columns.
        geometry: Where its voxels are.
        template: Of the bundle.

    Raises:
        Refused: No brain is found.
    """
    centre, level = brain_of(counts_zyx, geometry)
    clipped = np.clip(counts_zyx / np.float32(level), -1.0, HIGHEST_BRAIN)
    coarse = _Problem(clipped, geometry, template, whole_brain=True)
    base = _best_start(coarse, centre)
    whole, explained_brain = _refined(coarse, base, PRIOR_SPREADS, PRIOR_WEIGHT, size=12)
    if explained_brain < LEAST_EXPLAINED:
        raise Refused(
            f"no brain with ioflupane was found in the SPECT volume (explained {explained_brain:.0%})",
            attribute="PixelData",
        )
    fine = _Problem(clipped, geometry, template, whole_brain=False)
    local, explained = _refined(fine, whole, LOCAL_SPREADS, LOCAL_PRIOR_WEIGHT, size=9)
    _check_plausible(local)
    return Registration(patient_from_template=local, explained=explained, explained_brain=explained_brain)


def _check_plausible(patient_from_template: NDArray[np.float64]) -> None:
    """Refuses a place in which no head lies."""
    linear = patient_from_template[:3, :3]
    growth = float(np.linalg.det(linear))
    if not GROWTH[0] <= growth <= GROWTH[1]:
        raise Refused(
            f"the brain found has {growth:.0%} of a head's usual volume; voxel sizes may be wrong",
            attribute="PixelSpacing",
        )
    left, _, right = np.linalg.svd(linear)
    degrees = float(np.degrees(Rotation.from_matrix(left @ right).magnitude()))
    if degrees > MOST_TURNED_DEG:
        raise Refused(
            f"the head lies {degrees:.0f} degrees askew against the stated orientation",
            attribute="DetectorInformationSequence.ImageOrientationPatient",
        )


def affine(parameters: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """``(4, 4)`` of shifts (mm), turns (rad), logarithms of sizes, shears: 6, 9 or 12 numbers.

    >>> affine([1.0, 2.0, 3.0, 0, 0, 0])[:3, 3].tolist()
    [1.0, 2.0, 3.0]
    """
    p = np.zeros(12)
    p[: len(parameters)] = parameters
    shear = np.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = p[9:]
    out = np.eye(4)
    out[:3, :3] = Rotation.from_rotvec(p[3:6]).as_matrix() @ shear @ np.diag(np.exp(p[6:9]))
    out[:3, 3] = p[:3]
    return out


def _slopes(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, 4, 4)``: how `affine` changes with each of its parameters."""
    out = []
    for number in range(len(parameters)):
        step = np.zeros(len(parameters))
        step[number] = SLOPE_STEP
        out.append((affine(parameters + step) - affine(parameters - step)) / (2 * SLOPE_STEP))
    return np.stack(out)


# ---------------------------------------------------------------- the start


def brain_of(counts_zyx: NDArray[np.float32], geometry: VolumeGeometry) -> tuple[NDArray[np.float64], float]:
    """Centre of the brain, LPS mm, and the level of its unspecific counts."""
    smooth = ndimage.gaussian_filter(counts_zyx, [4.0 / mm for mm in geometry.spacing_mm_zyx])
    bright = smooth[smooth > smooth.mean()]
    if not len(bright):
        raise Refused("the SPECT volume is empty", attribute="PixelData")
    level = float(np.median(bright))
    # Scalp, face and neck are about half as bright as the brain: step by step they are left out.
    for _ in range(LEVEL_ROUNDS):
        level = float(np.median(smooth[smooth > BRAIN_FLOOR * level]))
    mask = largest_component(smooth > BRAIN_FLOOR * level)
    z, y, x = np.argwhere(mask).mean(axis=0)
    return geometry.position_mm_lps((float(z), float(y), float(x))), level


def _best_start(problem: _Problem, centre_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best of several nods and heights, each improved by moving it rigidly."""
    middle = problem.brain_centre_mm
    found = []
    for nod in NODS_DEG:
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("x", nod, degrees=True).as_matrix()
        for height in HEIGHTS_MM:
            start = turn.copy()
            start[:3, 3] = centre_mm + np.array([0, 0, height]) - turn[:3, :3] @ middle
            found.append((problem.unexplained(start), len(found), start))
    # The nearest of all starts only: the others end in the same place or in a worse one.
    tried = [
        _refined(problem, start, PRIOR_SPREADS, PRIOR_WEIGHT, size=6) for _, _, start in sorted(found)[:3]
    ]
    return max(tried, key=lambda one: one[1])[0]


# ------------------------------------------------------------ least squares


def _refined(
    problem: _Problem,
    base: NDArray[np.float64],
    spreads: dict[str, float],
    prior_weight: float,
    *,
    size: int,
) -> tuple[NDArray[np.float64], float]:
    """The base moved in the template's frame, and the share of variation explained then."""
    scale = np.repeat([spreads[name] for name in PRIOR_SPREADS], 3)[:size]
    strength = np.sqrt(prior_weight)

    def residual(unit: NDArray[np.float64]) -> NDArray[np.float64]:
        left = problem.residual(base @ affine(unit * scale))
        return np.concatenate([left, strength * unit])

    def jacobian(unit: NDArray[np.float64]) -> NDArray[np.float64]:
        changes = scale[:, None, None] * (base @ _slopes(unit * scale))
        columns = problem.jacobian(base @ affine(unit * scale), changes)
        return np.concatenate([columns, strength * np.eye(size)])

    solved = optimize.least_squares(
        residual, np.zeros(size), jac=jacobian, xtol=2e-3, ftol=1e-5, gtol=1e-8, max_nfev=25
    )
    moved = base @ affine(solved.x * scale)
    return moved, 1.0 - problem.unexplained(moved)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where a scan is looked at, and what the template has there.

    Args:
        points: ``(n, 4)``, template mm, homogeneous.
        maps: ``(n, k)``: a constant, brain, for the whole brain its shade, and each part of the striata.
        brain_centre_mm: ``(3,)``, template mm.
        fwhm_mm: What the scan is smoothed with before.
    """

    points: NDArray[np.float64]
    maps: NDArray[np.float64]
    brain_centre_mm: NDArray[np.float64]
    fwhm_mm: float


@lru_cache(maxsize=8)
def _places_of(template: Template, *, whole_brain: bool) -> _Places:
    """The whole brain seen coarsely, or the neighbourhood of the striata."""
    brain = template.maps["brain"] > LIKELY
    if whole_brain:
        step, fwhm = COARSE_STEP, COARSE_FWHM_MM
        chosen = ndimage.binary_dilation(brain, iterations=round(AROUND_BRAIN_MM / SPACING_MM))
    else:
        step, fwhm = 1, 0.0
        striata = (template.striatum("right") + template.striatum("left")) > LIKELY
        chosen = ndimage.distance_transform_edt(~striata) * SPACING_MM <= LOCAL_MARGIN_MM
    thinned = np.zeros_like(chosen)
    thinned[::step, ::step, ::step] = True
    chosen = chosen & thinned
    blur = float(np.hypot(fwhm, LEAST_BLUR_MM))
    soft = template.blurred("brain", blur)[chosen]
    inside = template.points_mm[brain]
    places = template.points_mm[chosen]
    # Attenuation that was not corrected makes a brain darker towards its middle.
    radius = np.linalg.norm((places - inside.mean(axis=0)) / inside.std(axis=0), axis=1)
    maps = [np.ones(len(places)), soft]
    maps += [soft * radius**2] if whole_brain else []
    maps += [template.blurred(part, blur)[chosen] for part in PARTS]
    return _Places(
        points=np.concatenate([places, np.ones((len(places), 1))], axis=1),
        maps=np.stack(maps, axis=1).astype(np.float64),
        brain_centre_mm=inside.mean(axis=0),
        fwhm_mm=fwhm,
    )


class _Problem:
    """A scan and the places where it is looked at."""

    def __init__(
        self,
        image_zyx: NDArray[np.float32],
        geometry: VolumeGeometry,
        template: Template,
        *,
        whole_brain: bool,
    ) -> None:
        places = _places_of(template, whole_brain=whole_brain)
        self.points, self.maps = places.points, places.maps
        self.brain_centre_mm = places.brain_centre_mm
        if places.fwhm_mm:
            sigma = [places.fwhm_mm / 2.3548 / mm for mm in geometry.spacing_mm_zyx]
            image_zyx = ndimage.gaussian_filter(image_zyx, sigma)
        self.image = np.ascontiguousarray(image_zyx, dtype=np.float32)
        self.index_from_lps = np.linalg.inv(geometry.affine_lps)
        _, rows, columns = self.image.shape
        self.strides = np.array([rows * columns, columns, 1])
        self.corner_offsets = np.array(list(np.ndindex(2, 2, 2))) @ self.strides

    def _seen(
        self, patient_from_template: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Values at the places ``(n,)``, slopes along z, y, x ``(n, 3)``, 1 where inside ``(n,)``."""
        index = self.points @ (self.index_from_lps @ patient_from_template)[:3].T
        limits = np.asarray(self.image.shape) - 1
        inside = np.all((index >= -0.5) & (index <= limits + 0.5), axis=1)
        index = np.clip(index, 0, limits - 1e-6)
        low = index.astype(np.int64)
        corners = self.image.ravel()[(low @ self.strides)[:, None] + self.corner_offsets]
        cube = corners.reshape(-1, 2, 2, 2).astype(np.float64)
        z, y, x = (index - low).T
        along_x, change_x = _between(cube, x[:, None, None])
        along_y, change_y = _between(along_x, y[:, None])
        values, change_z = _between(along_y, z)
        slope_x, _ = _between(_between(change_x, y[:, None])[0], z)
        slope_y, _ = _between(change_y, z)
        return values, np.stack([change_z, slope_y, slope_x], axis=1), inside.astype(np.float64)

    def _explained_away(self, rows: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the maps leave of ``(n,)`` or ``(n, p)`` values, 0 outside of the scan."""
        weight = inside if rows.ndim == 1 else inside[:, None]
        kept = rows * weight
        maps = self.maps * inside[:, None]
        gram = maps.T @ maps + np.eye(maps.shape[1]) * 1e-6 * max(float(inside.sum()), 1.0)
        return np.asarray(kept - maps @ np.linalg.solve(gram, maps.T @ kept))

    def _scale(self, values: NDArray[np.float64], inside: NDArray[np.float64]) -> float:
        """Makes the residual's square sum the share unexplained.

        Few places inside explain themselves: what lies outside counts as unexplained.
        """
        total = max(float(inside.sum()), 1.0)
        centred = (values - values @ inside / total) * inside
        return float(np.sqrt(len(inside) / total / max(float(centred @ centred), 1e-12)))

    def residual(self, patient_from_template: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the maps leave, ``(n,)``; its square sum is the share unexplained."""
        values, _, inside = self._seen(patient_from_template)
        return self._explained_away(values, inside) * self._scale(values, inside)

    def jacobian(
        self, patient_from_template: NDArray[np.float64], changes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How the residual changes with each of ``(p, 4, 4)`` changes of the transform, ``(n, p)``.

        By Kaufman: that the mixture of maps changes too is left out.
        """
        values, slopes, inside = self._seen(patient_from_template)
        moved = (self.index_from_lps @ changes)[:, :3].reshape(len(changes), 12)
        steps = (slopes[:, :, None] * self.points[:, None, :]).reshape(-1, 12) @ moved.T
        return self._explained_away(steps, inside) * self._scale(values, inside)

    def unexplained(self, patient_from_template: NDArray[np.float64]) -> float:
        """Share of the variation that no mixture of the maps explains."""
        left = self.residual(patient_from_template)
        return float(left @ left)


def _between(
    pairs: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear interpolation over the last axis, of length 2, and its slope."""
    first, second = pairs[..., 0], pairs[..., 1]
    return first + (second - first) * share, second - first
