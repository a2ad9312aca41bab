"""Training samples: prepared volumes with labels, from case folders or the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apps.mibg_spect.acquire import Camera
from apps.mibg_spect.cases import TruthCase, read_case
from apps.mibg_spect.labels import Phase
from apps.mibg_spect.phantom import Case, simulate
from apps.mibg_spect.prepare import GriddedVolume, cube_around, network_input
from operators.geometry import VolumeGeometry
from operators.phantom.hospital import Hospital
from operators.preprocess.align import align_rigid
from operators.preprocess.resample import resample

FIRST_SYNTHETIC_SEED = 1_000
"""Training seeds of the simulator's wide world; evaluation uses another hospital and other seeds."""
MISALIGNED_MM = 1.5
"""Standard deviation of what inference leaves of the alignment of late to early."""
MISALIGNED_RAD = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One patient as the networks see it.

    Args:
        patient_id: What splits go by.
        image: ``(2, z, y, x)`` float16, early and late, 4 mm.
        labels: ``(z, y, x)`` uint8 in the same cube, values of `LABELS`.
    """

    patient_id: str
    image: torch.Tensor
    labels: torch.Tensor


def sample_of_folder(folder: Path) -> Sample:
    """A case folder, prepared.

    Raises:
        Refused: Its images cannot be used.
        ValueError: Its labels do not fit.
    """
    case = read_case(folder)
    volumes = {
        phase: GriddedVolume(counts_zyx=volume.counts_zyx, geometry=volume.geometry)
        for phase, volume in case.volumes.items()
    }
    reference = volumes.get(Phase.EARLY) or volumes[Phase.LATE]
    cube = cube_around(reference)
    image = network_input(volumes, cube, _late_from_early(case, volumes, cube))
    masks = torch.stack([torch.from_numpy(case.labels_zyx == value).float() for value in range(5)])
    labels = resample(masks, reference.geometry, cube).argmax(dim=0)
    return Sample(patient_id=case.patient_id, image=image.half(), labels=labels.to(torch.uint8))


def _late_from_early(
    case: TruthCase, volumes: dict[Phase, GriddedVolume], cube: VolumeGeometry
) -> NDArray[np.float64]:
    """The case's own transform where it states one, else by registration of the counts."""
    if len(volumes) < 2:
        return np.eye(4)
    if "late_from_early_lps" in case.truth:
        return np.asarray(case.truth["late_from_early_lps"], dtype=np.float64)
    moved_cube = cube_around(volumes[Phase.LATE])
    between = np.eye(4)
    between[:3, 3] = np.subtract(moved_cube.origin_mm_lps, cube.origin_mm_lps)
    unmoved = network_input(volumes, cube, between).numpy()
    views = [
        field_of_view(volumes[phase].geometry, grid)
        for phase, grid in ((Phase.EARLY, cube), (Phase.LATE, moved_cube))
    ]
    moved = align_rigid(unmoved[:1], unmoved[1:], cube, fixed_seen=views[0], moving_seen=views[1])
    return between if moved is None else np.asarray(between @ moved, dtype=np.float64)


def sample_of_simulation(case: Case, rng: np.random.Generator) -> Sample:
    """A simulated case, prepared; its labels come from the shapes, not from a coarser grid."""
    volumes = {
        phase: GriddedVolume(counts_zyx=volume, geometry=case.camera.geometry)
        for phase, volume in case.volumes_zyx.items()
    }
    cube = cube_around(volumes[Phase.EARLY])
    error = np.eye(4)
    error[:3, 3] = rng.normal(0, MISALIGNED_MM, 3)
    image = network_input(volumes, cube, case.late_from_early_lps @ error)
    points = _points_of(cube, case.camera)
    labels = case.patient.labels(case.poses[Phase.EARLY].to_patient(points))
    labels[field_of_view(case.camera.geometry, cube) < 0.5] = 0
    return Sample(
        patient_id=f"simulated {case.hospital.name} {case.seed}",
        image=image.half(),
        labels=torch.from_numpy(labels),
    )


def _points_of(grid: VolumeGeometry, camera: Camera) -> NDArray[np.float32]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_zyx), indexing="ij"), axis=-1)
    lps = index @ grid.affine_lps[:3, :3].T + grid.affine_lps[:3, 3]
    return np.asarray(lps - np.asarray(camera.origin_mm_lps), dtype=np.float32)


def field_of_view(volume: VolumeGeometry, cube: VolumeGeometry) -> NDArray[np.float32]:
    """Where the cube lies in the volume's field of view, ``(z, y, x)`` float32, 0 to 1."""
    seen = resample(np.ones(volume.shape_zyx, dtype=np.float32), volume, cube)[0]
    return np.asarray(seen.numpy(), dtype=np.float32)


def simulated_samples(seeds: Iterable[int], cache: Path | None) -> Iterator[Sample]:
    """Samples of the wide world, read from a cache folder where they are already made."""
    for seed in seeds:
        path = None if cache is None else cache / f"{seed}.npz"
        if path is not None and path.exists():
            with np.load(path) as kept:
                yield Sample(
                    patient_id=str(kept["patient_id"]),
                    image=torch.from_numpy(kept["image"]),
                    labels=torch.from_numpy(kept["labels"]),
                )
            continue
        sample = sample_of_simulation(simulate(seed, Hospital.ANY), np.random.default_rng(seed))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                path, patient_id=sample.patient_id, image=sample.image.numpy(), labels=sample.labels.numpy()
            )
        yield sample
