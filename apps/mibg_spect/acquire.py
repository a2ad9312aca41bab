"""The gamma cameras of the phantom: how a hospital images a `Patient`.

A `Camera` is drawn once for a patient and used for the early and the late acquisition.
Counts are in one scale throughout: sensitivity times seconds times uptake, so that
washout and normalised counts are true to the physics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.mibg_spect.anatomy import Patient
from operators.geometry import VolumeGeometry
from operators.measure.decay import decay_factor
from operators.phantom import spect
from operators.phantom.shapes import Points, rotation_about
from operators.preprocess.transmission import attenuation_factor

SIMULATION_MM = 5.5
SIMULATION_SHAPE = (80, 84, 84)
"""Grid of the physics, voxels of `SIMULATION_MM`; the collimator's blur is twice as wide."""
PLANAR_MATRIX = 256
REFERENCE_COUNTS_PER_VIEW_S = 1.6e3
"""Counts per second and view of the standard patient (111 MBq, 65 kg)."""
Range = tuple[float, float]

LEHR = spect.Collimator(name="LEHR", penetration_fraction=1.0)
LME = spect.Collimator(name="LME", fwhm_slope=0.05, penetration_fraction=0.42)
MEGP = spect.Collimator(name="MEGP", fwhm_face_mm=4.0, fwhm_slope=0.055, penetration_fraction=0.16)
"""Tail fractions are those whose conversion coefficients come out near 0.55, 0.73 and 0.88."""


@dataclass(frozen=True, kw_only=True)
class Department:
    """Ranges from which a hospital's protocols are drawn.

    Args:
        matrices: (pixels, pixel size mm, slices) of the protocols in use.
        collimators: In use.
        corrected_share: Share of studies with attenuation correction.
        backprojected_share: Share reconstructed by filtered backprojection.
        smoothing_mm: FWHM of the post filter, or for backprojection about the same by Butterworth.
        sensitivity: Against the reference.
        orbit_mm: Radius of rotation.
        offset_mm: Half-width of the patient's place against the camera's centre.
        motion_mm, motion_rad: Standard deviation of the movement between early and late.
        head_first_share: Share of volumes whose first slice is the uppermost.
        ideal_share: Share imaged by an ideal camera: activity blurred, with Poisson noise, no
            attenuation and no penetration, as other people's phantoms have it.
    """

    matrices: tuple[tuple[int, float, int], ...]
    collimators: tuple[spect.Collimator, ...]
    corrected_share: float
    backprojected_share: float
    smoothing_mm: Range
    sensitivity: Range
    orbit_mm: Range
    offset_mm: tuple[float, float, float]
    motion_mm: float
    motion_rad: float
    head_first_share: float
    ideal_share: float = 0.0


DEPARTMENT_A = Department(
    matrices=((64, 6.6, 60), (64, 6.4, 58)),
    collimators=(LEHR, MEGP),
    corrected_share=0.3,
    backprojected_share=0.2,
    smoothing_mm=(8.0, 11.0),
    sensitivity=(0.7, 1.4),
    orbit_mm=(210.0, 250.0),
    offset_mm=(12.0, 12.0, 15.0),
    motion_mm=3.0,
    motion_rad=0.01,
    head_first_share=0.5,
)
DEPARTMENT_B = Department(
    matrices=((128, 4.8, 78), (128, 4.42, 84), (64, 5.9, 64)),
    collimators=(LEHR, LME, MEGP),
    corrected_share=0.5,
    backprojected_share=0.5,
    smoothing_mm=(9.0, 14.0),
    sensitivity=(0.4, 1.0),
    orbit_mm=(230.0, 280.0),
    offset_mm=(20.0, 20.0, 25.0),
    motion_mm=6.0,
    motion_rad=0.03,
    head_first_share=0.5,
)
ANY_DEPARTMENT = Department(
    matrices=((64, 6.6, 58), (96, 5.0, 72), (80, 5.5, 68)),
    collimators=(LEHR, LME, MEGP, spect.Collimator(name="IDEAL", penetration_fraction=0.0)),
    corrected_share=0.5,
    backprojected_share=0.25,
    smoothing_mm=(4.0, 15.0),
    sensitivity=(0.3, 2.5),
    orbit_mm=(190.0, 300.0),
    offset_mm=(22.0, 22.0, 30.0),
    motion_mm=5.0,
    motion_rad=0.03,
    head_first_share=0.5,
    ideal_share=0.35,
)
"""Wider than both hospitals: what the model is trained on (domain randomisation)."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One protocol on one camera, with a patient on its table.

    Args:
        matrix: Pixels along a side.
        pixel_mm: Of projections and reconstructed voxels.
        slices: Reconstructed.
        views: Over 360 degrees.
        collimator: In use.
        orbit_mm: Radius of rotation.
        is_corrected: Attenuation is corrected.
        is_backprojected: Filtered backprojection instead of OSEM.
        iterations: Of OSEM, with ten subsets.
        smoothing_mm: FWHM of the post filter.
        sensitivity: Against the reference.
        origin_mm_lps: Of the camera's centre in the patient system of the instances.
        is_head_first: The first slice is the uppermost.
        is_ideal: The activity is blurred and noise added; nothing else is simulated.
    """

    matrix: int
    pixel_mm: float
    slices: int
    views: int = 60
    collimator: spect.Collimator
    orbit_mm: float
    is_corrected: bool
    is_backprojected: bool
    iterations: int
    smoothing_mm: float
    sensitivity: float
    origin_mm_lps: tuple[float, float, float]
    is_head_first: bool
    is_ideal: bool = False

    @property
    def method(self) -> str:
        """Reconstruction Method as it is written."""
        return "FBP" if self.is_backprojected else f"OSEM {self.iterations}i10s"

    @property
    def geometry(self) -> VolumeGeometry:
        """Grid of the volumes it reconstructs."""
        return spect.volume_grid(
            matrix=self.matrix,
            slices=self.slices,
            pixel_mm=self.pixel_mm,
            centre_mm_lps=self.origin_mm_lps,
            is_head_first=self.is_head_first,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """Where a patient lies: camera centre coordinates to the patient's own, rigid."""

    rotation: NDArray[np.float64]
    shift_mm: NDArray[np.float64]

    def to_patient(self, points: Points) -> Points:
        """Points ``(..., 3)`` given against the camera's centre, in the patient's own axes."""
        moved = points - self.shift_mm.astype(np.float32)
        return np.asarray(moved @ self.rotation.astype(np.float32), dtype=np.float32)


def draw_camera(rng: np.random.Generator, department: Department) -> Camera:
    """One protocol of a department."""
    matrix, pixel_mm, slices = department.matrices[rng.integers(len(department.matrices))]
    return Camera(
        matrix=matrix,
        pixel_mm=pixel_mm,
        slices=slices,
        collimator=department.collimators[rng.integers(len(department.collimators))],
        orbit_mm=float(rng.uniform(*department.orbit_mm)),
        is_corrected=bool(rng.random() < department.corrected_share),
        is_backprojected=bool(rng.random() < department.backprojected_share),
        iterations=int(rng.integers(2, 6)),
        smoothing_mm=float(rng.uniform(*department.smoothing_mm)),
        sensitivity=float(rng.uniform(*department.sensitivity)),
        origin_mm_lps=tuple(float(np.round(v, 1)) for v in rng.uniform(-60, 60, 3)),  # type: ignore[arg-type]
        is_head_first=bool(rng.random() < department.head_first_share),
        # Asked last and only where it can be, so that hospitals A and B draw the same as ever.
        is_ideal=bool(department.ideal_share and rng.random() < department.ideal_share),
    )


def draw_poses(rng: np.random.Generator, department: Department) -> tuple[Pose, Pose]:
    """Where the patient lies early, and where late after having moved."""
    early = Pose(
        rotation=_small_rotation(rng, 0.03), shift_mm=rng.uniform(-1, 1, 3) * np.asarray(department.offset_mm)
    )
    late = Pose(
        rotation=_small_rotation(rng, department.motion_rad) @ early.rotation,
        shift_mm=early.shift_mm + rng.normal(0, department.motion_mm, 3),
    )
    return early, late


def _small_rotation(rng: np.random.Generator, sd_rad: float) -> NDArray[np.float64]:
    axis = rng.standard_normal(3)
    return rotation_about((float(axis[0]), float(axis[1]), float(axis[2])), float(rng.normal(0, sd_rad)))


def simulation_points() -> Points:
    """Centres of the simulation's voxels against the camera's centre, ``(z, y, x, 3)`` float32, mm."""
    return spect.grid_points(SIMULATION_SHAPE, SIMULATION_MM)


def volume_points(camera: Camera) -> Points:
    """Centres of a reconstructed volume's voxels against the camera's centre, ``(z, y, x, 3)``, mm."""
    return spect.volume_points(camera.geometry, camera.origin_mm_lps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A patient in place, rasterised for the physics: activity now, and attenuation.

    Args:
        activity: ``(z, y, x)`` float32, multiples of blood.
        mu_per_cm: ``(z, y, x)`` float32.
        strength: Activity of one unit now: dose per weight against the standard patient, decayed.
    """

    activity: NDArray[np.float32]
    mu_per_cm: NDArray[np.float32]
    strength: float


def set_scene(
    patient: Patient, pose: Pose, *, dose_mbq: float, hours: float, rng: np.random.Generator
) -> Scene:
    """The patient on the table some hours after injection."""
    activity, mu = patient.rasterise(pose.to_patient(simulation_points()), SIMULATION_MM, rng)
    strength = dose_mbq / patient.weight_kg / (111 / 65) * decay_factor(hours)
    return Scene(activity=activity, mu_per_cm=mu, strength=strength)


def _view_counts(camera: Camera, scene: Scene, seconds: float) -> float:
    """Counts per unit of line integral (uptake times voxels)."""
    return REFERENCE_COUNTS_PER_VIEW_S * camera.sensitivity * scene.strength * seconds / STANDARD_VIEW_SUM


STANDARD_VIEW_SUM = 7.7e4
"""Sum of one attenuated projection of the standard patient, uptake times voxels, no tail."""


def tomogram(
    camera: Camera, scene: Scene, *, seconds_per_view: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A reconstructed volume ``(z, y, x)`` float32 in the camera's grid, counts per voxel."""
    if camera.is_ideal:
        volume = _ideal_volume(camera, scene, seconds_per_view, rng)
        return volume[::-1].copy() if camera.is_head_first else volume
    angles = 2 * np.pi * np.arange(camera.views) / camera.views
    ideal = spect.project(
        scene.activity,
        scene.mu_per_cm,
        spacing_mm=SIMULATION_MM,
        angles_rad=list(angles),
        orbit_mm=camera.orbit_mm,
        collimator=camera.collimator,
    )
    expected = spect.onto_detector(
        ideal, spacing_mm=SIMULATION_MM, pixel_mm=camera.pixel_mm, shape_zx=(camera.slices, camera.matrix)
    ) * np.float32(_view_counts(camera, scene, seconds_per_view))
    counts = rng.poisson(expected).astype(np.float32)
    volume = reconstruct(camera, counts)
    if camera.is_corrected:
        volume = volume / transmission(camera, scene.mu_per_cm)
    return volume[::-1].copy() if camera.is_head_first else volume


def _ideal_volume(
    camera: Camera, scene: Scene, seconds_per_view: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The activity in the camera's grid, blurred once, with Poisson noise, feet first."""
    blurred = spect.gaussian(
        _onto_grid(camera, scene.activity), float(np.hypot(camera.smoothing_mm, 6.0)), camera.pixel_mm
    )
    per_voxel = _view_counts(camera, scene, seconds_per_view) * camera.views
    expected = np.maximum(blurred, 0) * per_voxel * (camera.pixel_mm / SIMULATION_MM) ** 3
    return spect.gaussian(rng.poisson(expected).astype(np.float32), IDEAL_SMOOTHING_MM, camera.pixel_mm)


IDEAL_SMOOTHING_MM = 5.0
"""FWHM of what is left of a post filter on an ideal camera's volumes."""


def reconstruct(camera: Camera, counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts ``(view, z, x)`` to a volume ``(z, y, x)``, feet first, in counts of all views."""
    if camera.is_backprojected:
        cutoff = 10 * 0.6 / camera.smoothing_mm
        volume = spect.butterworth(
            spect.filtered_backprojection(counts), cutoff_per_cm=cutoff, order=8, spacing_mm=camera.pixel_mm
        )
        volume = np.maximum(volume, 0)
    else:
        volume = spect.gaussian(
            spect.osem(counts, iterations=camera.iterations, subsets=10), camera.smoothing_mm, camera.pixel_mm
        )
    return np.asarray(volume * camera.views, dtype=np.float32)


def transmission(camera: Camera, mu_per_cm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean transmission on the camera's grid, ``(z, y, x)`` float32, feet first, never near 0."""
    angles = 2 * np.pi * np.arange(0, camera.views, 4) / camera.views
    factor = attenuation_factor(mu_per_cm, spacing_mm=SIMULATION_MM, angles_rad=list(angles))
    return np.maximum(_onto_grid(camera, factor), 0.05)


def _onto_grid(camera: Camera, volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """A volume of the simulation on the camera's grid, ``(z, y, x)`` float32, feet first."""
    return spect.onto_volume(
        volume,
        spacing_mm=SIMULATION_MM,
        pixel_mm=camera.pixel_mm,
        shape_zyx=(camera.slices, camera.matrix, camera.matrix),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanarView:
    """An anterior view.

    Args:
        counts_yx: ``(y, x)`` float32, rows from head to feet.
        pixel_mm: Pixel size.
    """

    counts_yx: NDArray[np.float32]
    pixel_mm: float


def planar_view(
    camera: Camera,
    scene: Scene,
    *,
    seconds: float,
    pixel_mm: float,
    offset_mm: float,
    rng: np.random.Generator | None,
) -> PlanarView:
    """An anterior view; without a generator, without noise.

    Args:
        camera: Its collimator and sensitivity are used.
        scene: The patient.
        seconds: Duration.
        pixel_mm: Pixel size of the 256 matrix.
        offset_mm: How far above the tomograph's centre the detector's centre is.
        rng: For the noise.
    """
    ideal = spect.project(
        scene.activity,
        scene.mu_per_cm,
        spacing_mm=SIMULATION_MM,
        angles_rad=[0.0],
        orbit_mm=0.5 * camera.orbit_mm + 40,
        collimator=camera.collimator,
    )
    expected = spect.onto_detector(
        ideal,
        spacing_mm=SIMULATION_MM,
        pixel_mm=pixel_mm,
        shape_zx=(PLANAR_MATRIX, PLANAR_MATRIX),
        centre_offset_mm_z=offset_mm,
    )[0] * np.float32(_view_counts(camera, scene, seconds))
    counts = expected if rng is None else rng.poisson(expected).astype(np.float32)
    return PlanarView(counts_yx=np.ascontiguousarray(counts[::-1]), pixel_mm=pixel_mm)


def shadow(mask: NDArray[np.bool_], *, pixel_mm: float, offset_mm: float) -> NDArray[np.bool_]:
    """Anterior shadow of a mask on the simulation's grid, ``(y, x)`` bool, rows from head to feet."""
    depth = mask.sum(axis=1).astype(np.float32)[None]
    seen = (
        spect.onto_detector(
            depth,
            spacing_mm=SIMULATION_MM,
            pixel_mm=pixel_mm,
            shape_zx=(PLANAR_MATRIX, PLANAR_MATRIX),
            centre_offset_mm_z=offset_mm,
        )[0]
        / (pixel_mm / SIMULATION_MM) ** 2
    )
    return np.ascontiguousarray(seen[::-1] > 0.5)
