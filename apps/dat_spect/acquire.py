"""The gamma cameras of the phantom: how a hospital images a `Head`.

Projection with attenuation, distance-dependent blur and a residual tail, Poisson noise,
OSEM or backprojection, post filter, and attenuation correction after Chang or none. The
frame of the physics is the camera's: origin in its centre, axes LPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from apps.dat_spect.anatomy import MU_SOFT, Head
from operators.geometry import VolumeGeometry
from operators.phantom import spect
from operators.phantom.shapes import Points, rotation_about
from operators.preprocess.transmission import attenuation_factor

SIMULATION_MM = 3.5
SIMULATION_SHAPE = (60, 66, 66)
"""Grid of the physics; the collimator's blur is more than twice as wide as its voxels."""
FINE_DIVISIONS = 3
"""A voxel is divided so often along each axis where it may hold striatum."""
VIEWS = 120
HEAD_RADIUS_MM = 118.0
"""Half of what is reconstructed across; around it the matrix stays empty."""
Range = tuple[float, float]


class Correction(StrEnum):
    """How attenuation is corrected."""

    NONE = "none"
    CHANG = "chang"


@dataclass(frozen=True, kw_only=True)
class Department:
    """A hospital's protocols.

    Args:
        matrices: (pixels, pixel size mm, slices) in use.
        collimators: In use; their penetration is what scatter correction leaves.
        corrected_share: Share of studies with attenuation correction.
        backprojected_share: Share by filtered backprojection.
        iterations: Of OSEM, from and to.
        smoothing_mm: FWHM of the post filter, or about the same by Butterworth.
        counts: All views together.
        orbit_mm: Radius of rotation.
        tilt_deg: Standard deviation of the head's rotation about each axis; at most 15.
        shift_mm: Half-width of the head's place along each axis.
        head_first_share: Share of volumes whose first slice is the uppermost.
    """

    matrices: tuple[tuple[int, float, int], ...]
    collimators: tuple[spect.Collimator, ...]
    corrected_share: float
    backprojected_share: float
    iterations: tuple[int, int]
    smoothing_mm: Range
    counts: Range
    orbit_mm: Range
    tilt_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    head_first_share: float


LEHR = spect.Collimator(name="LEHR", penetration_fraction=0.03)
LMEGP = spect.Collimator(name="LMEGP", fwhm_face_mm=3.8, fwhm_slope=0.05, penetration_fraction=0.02)
LEGP = spect.Collimator(name="LEGP", fwhm_face_mm=4.0, fwhm_slope=0.052, penetration_fraction=0.06)
DEPARTMENT_A = Department(
    matrices=((128, 3.3, 52), (64, 3.9, 44)),
    collimators=(LEHR,),
    corrected_share=0.8,
    backprojected_share=0.0,
    iterations=(4, 6),
    smoothing_mm=(5.0, 6.5),
    counts=(1.9e6, 3.0e6),
    orbit_mm=(145.0, 155.0),
    tilt_deg=(5.0, 3.0, 4.0),
    shift_mm=(6.0, 8.0, 8.0),
    head_first_share=0.5,
)
DEPARTMENT_B = Department(
    matrices=((128, 2.4, 68), (64, 4.5, 38), (128, 2.95, 58)),
    collimators=(LMEGP, LEGP),
    corrected_share=0.5,
    backprojected_share=0.35,
    iterations=(3, 5),
    smoothing_mm=(4.5, 7.0),
    counts=(1.5e6, 2.4e6),
    orbit_mm=(140.0, 165.0),
    tilt_deg=(7.0, 4.0, 5.0),
    shift_mm=(8.0, 10.0, 10.0),
    head_first_share=0.5,
)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One protocol on one camera.

    Args:
        matrix: Pixels along a side.
        pixel_mm: Of projections and reconstructed voxels.
        slices: Reconstructed.
        collimator: In use.
        orbit_mm: Radius of rotation.
        correction: Of attenuation.
        is_backprojected: Filtered backprojection instead of OSEM.
        iterations: Of OSEM, with ten subsets.
        smoothing_mm: FWHM of the post filter.
        counts: Of all views.
        origin_mm_lps: Of the camera's centre in the patient system of the instance.
        is_head_first: The first slice is the uppermost.
    """

    matrix: int
    pixel_mm: float
    slices: int
    collimator: spect.Collimator
    orbit_mm: float
    correction: Correction
    is_backprojected: bool
    iterations: int
    smoothing_mm: float
    counts: float
    origin_mm_lps: tuple[float, float, float]
    is_head_first: bool

    @property
    def method(self) -> str:
        """Reconstruction Method as it is written."""
        return "FBP" if self.is_backprojected else f"OSEM {self.iterations}i10s"

    @property
    def corrections(self) -> tuple[str, ...]:
        """Corrected Image (0028,0051) as it is written."""
        attenuation = () if self.correction is Correction.NONE else ("ATTN",)
        return ("UNIF", "COR", "NRGY", "LIN", *attenuation, "SCAT")

    @property
    def resolution_mm(self) -> float:
        """FWHM in the middle of the field, of the collimator and the filter together."""
        sigma = float(self.collimator.sigma_mm(np.array([self.orbit_mm]))[0])
        return float(np.hypot(sigma / spect.FWHM_TO_SIGMA, self.smoothing_mm))

    @property
    def pixels(self) -> int:
        """Pixels across that are reconstructed, of the parity of the matrix."""
        needed = int(np.ceil(2 * HEAD_RADIUS_MM / self.pixel_mm))
        return min(self.matrix, needed + (needed - self.matrix) % 2)

    @property
    def geometry(self) -> VolumeGeometry:
        """Grid of the volume."""
        return spect.volume_grid(
            matrix=self.matrix,
            slices=self.slices,
            pixel_mm=self.pixel_mm,
            centre_mm_lps=self.origin_mm_lps,
            is_head_first=self.is_head_first,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """How the head lies: coordinates of the camera to the head's own, rigid.

    Args:
        angles_deg: Rotation about x (nodding), y (tilting to a shoulder) and z (turning).
        shift_mm: ``(3,)`` centre of the head in the camera, mm.
    """

    angles_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]

    @property
    def rotation(self) -> NDArray[np.float64]:
        """``(3, 3)`` from the head's axes to the camera's."""
        x, y, z = (
            rotation_about(axis, np.deg2rad(angle))
            for axis, angle in zip(((1, 0, 0), (0, 1, 0), (0, 0, 1)), self.angles_deg, strict=True)
        )
        return np.asarray(z @ y @ x, dtype=np.float64)

    def to_head(self, points: Points) -> Points:
        """Points ``(..., 3)`` in the camera to the head's own, float32."""
        shifted = points - np.asarray(self.shift_mm, dtype=np.float32)
        return np.asarray(shifted @ self.rotation.astype(np.float32), dtype=np.float32)

    def turned(self, offsets: Points) -> Points:
        """Offsets ``(n, 3)`` in the camera's axes to the head's axes, float32."""
        return np.asarray(offsets @ self.rotation.astype(np.float32), dtype=np.float32)


LARGEST_TILT_DEG = 15.0


def draw_camera(rng: np.random.Generator, department: Department) -> Camera:
    """A protocol of a department; the same generator state gives the same camera."""
    matrix, pixel_mm, slices = department.matrices[int(rng.integers(len(department.matrices)))]
    return Camera(
        matrix=matrix,
        pixel_mm=pixel_mm,
        slices=slices,
        collimator=department.collimators[int(rng.integers(len(department.collimators)))],
        orbit_mm=round(float(rng.uniform(*department.orbit_mm)), 1),
        correction=Correction.CHANG if rng.random() < department.corrected_share else Correction.NONE,
        is_backprojected=bool(rng.random() < department.backprojected_share),
        iterations=int(rng.integers(department.iterations[0], department.iterations[1] + 1)),
        smoothing_mm=round(float(rng.uniform(*department.smoothing_mm)), 2),
        counts=float(rng.uniform(*department.counts)),
        origin_mm_lps=tuple(float(np.round(v, 1)) for v in rng.uniform(-40, 40, 3)),  # type: ignore[arg-type]
        is_head_first=bool(rng.random() < department.head_first_share),
    )


def draw_pose(rng: np.random.Generator, department: Department) -> Pose:
    """How the head lies in the camera."""
    angles = np.clip(rng.normal(0, department.tilt_deg), -LARGEST_TILT_DEG, LARGEST_TILT_DEG)
    shift = rng.uniform(-1, 1, 3) * np.asarray(department.shift_mm)
    return Pose(
        angles_deg=(float(angles[0]), float(angles[1]), float(angles[2])),
        shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
    )


def simulation_points() -> Points:
    """Centres of the simulation's voxels in the camera, ``(z, y, x, 3)`` float32, mm."""
    return spect.grid_points(SIMULATION_SHAPE, SIMULATION_MM)


def fine_offsets() -> Points:
    """Centres of a simulation voxel's parts around its own centre, ``(n, 3)`` float32, mm."""
    steps = ((np.arange(FINE_DIVISIONS) + 0.5) / FINE_DIVISIONS - 0.5) * SIMULATION_MM
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)


def volume_points(camera: Camera) -> Points:
    """Centres of the volume's voxels in the camera, ``(z, y, x, 3)`` float32, mm."""
    return spect.volume_points(camera.geometry, camera.origin_mm_lps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A head in the camera, rasterised for the physics.

    Args:
        activity: ``(z, y, x)`` float32, 1 in the reference region.
        mu_per_cm: ``(z, y, x)`` float32.
        outline: ``(z, y, x)`` float32, share of the head in each voxel.
    """

    activity: NDArray[np.float32]
    mu_per_cm: NDArray[np.float32]
    outline: NDArray[np.float32]


def set_scene(head: Head, pose: Pose, rng: np.random.Generator) -> Scene:
    """The head in the camera."""
    points = pose.to_head(simulation_points())
    activity, mu = head.rasterise(points, pose.turned(fine_offsets()), SIMULATION_MM, rng)
    return Scene(activity=activity, mu_per_cm=mu, outline=head.outline(points, SIMULATION_MM))


def tomogram(camera: Camera, scene: Scene, rng: np.random.Generator | None) -> NDArray[np.float32]:
    """A reconstructed volume ``(z, y, x)`` float32 in the camera's grid, counts; no noise without `rng`."""
    angles = list(2 * np.pi * np.arange(VIEWS) / VIEWS)
    ideal = spect.project(
        scene.activity,
        scene.mu_per_cm,
        spacing_mm=SIMULATION_MM,
        angles_rad=angles,
        orbit_mm=camera.orbit_mm,
        collimator=camera.collimator,
    )
    expected = spect.onto_detector(
        ideal, spacing_mm=SIMULATION_MM, pixel_mm=camera.pixel_mm, shape_zx=(camera.slices, camera.pixels)
    )
    expected *= np.float32(camera.counts / float(expected.sum()))
    counts = expected if rng is None else rng.poisson(expected).astype(np.float32)
    volume = _reconstruct(camera, counts)
    if camera.correction is Correction.CHANG:
        volume /= _transmission(camera, scene)
    margin = (camera.matrix - camera.pixels) // 2
    full = np.pad(volume, ((0, 0), (margin, margin), (margin, margin)))
    return full[::-1].copy() if camera.is_head_first else full


def _reconstruct(camera: Camera, counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts ``(view, z, x)`` to ``(z, y, x)``, feet first, in counts of all views."""
    if camera.is_backprojected:
        volume = spect.butterworth(
            spect.filtered_backprojection(counts),
            cutoff_per_cm=10 * HALF_POWER / camera.smoothing_mm,
            order=8,
            spacing_mm=camera.pixel_mm,
        )
        volume = np.maximum(volume, 0)
    else:
        volume = spect.gaussian(
            spect.osem(counts, iterations=camera.iterations, subsets=10), camera.smoothing_mm, camera.pixel_mm
        )
    return np.asarray(volume * VIEWS, dtype=np.float32)


def _transmission(camera: Camera, scene: Scene) -> NDArray[np.float32]:
    """Mean transmission through a uniform head of that outline, ``(z, y, x)``, feet first."""
    angles = list(2 * np.pi * np.arange(0, VIEWS, 4) / VIEWS)
    factor = attenuation_factor(
        scene.outline * np.float32(CHANG_MU), spacing_mm=SIMULATION_MM, angles_rad=angles
    )
    sampled = spect.onto_volume(
        factor,
        spacing_mm=SIMULATION_MM,
        pixel_mm=camera.pixel_mm,
        shape_zyx=(camera.slices, camera.pixels, camera.pixels),
    )
    return np.maximum(sampled, 0.1)


HALF_POWER = 0.42
"""Cut-off frequency times FWHM of the Gaussian that it is about as smooth as."""
CHANG_MU = MU_SOFT
"""Per cm, uniform within the outline of the head, as workstations have it."""
