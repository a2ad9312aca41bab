"""A public CT of abdomen and pelvis as a check of msk_ct from outside, and a reference for its bones.

``example_ct.nii.gz`` of TotalSegmentator's repository: 3 mm, lower abdomen to lesser trochanter, an implant
in the left femur. The labels beside it, ``example_seg.nii.gz``, are of its upper 30 slices only, from
kidneys to liver: of the structures of msk_ct they hold a piece of the psoas and nothing else. So hip
bones and femora are compared with a reference made here: bone by attenuation, filled slice by slice,
and the borders between bones set by hand in the pictures (femoral head as a sphere, sacroiliac
joint as a plane). It is of no use for the sacrum, whose edges attenuation does not show here, nor
for muscles.

``python -m tests.msk_real_ct FOLDER OUTPUT`` writes the CT as DICOM and a picture, and prints agreement.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.msk_ct.segment import segment
from apps.msk_ct.segmentation import Segmentation
from apps.msk_ct.structures import SEGMENTS, Side, segment_number
from operators.encode.pictures import canonical, new_figure, png_of, rendered
from operators.evaluate.overlap import dice
from operators.evaluate.surface import average_surface_distance_mm
from operators.geometry import VolumeGeometry
from operators.phantom.ct_writer import CtPhantomStudy, write_ct_series
from operators.read.ct import CtVolume, read_ct_volume

MODEL = Path(__file__).resolve().parents[1] / "apps" / "msk_ct" / "model"
BONE_HU = 130.0
"""The cortex in front of the trochanters is thin; with more it has gaps."""
CLOSED_VOXELS = 3
LEAST_VOXELS = 200
LABELLED_FROM = 82
"""Slice from which on example_seg labels example_ct: where liver and vertebrae have their attenuation."""
PSOAS = {Side.LEFT: 88, Side.RIGHT: 89}
"""Iliopsoas in the numbers of TotalSegmentator's task `total`, version 2."""
STUDY = CtPhantomStudy(
    kind="REALCT",
    seed=1,
    station="PUBLIC",
    body_part="PELVIS",
    description="public CT of abdomen and pelvis, TotalSegmentator example",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class RealCt:
    """The CT with its references.

    Args:
        hu_zyx: ``(z, y, x)`` float32, slices to the head, rows to the front, columns to the right.
        geometry: Its grid.
        bones: Segment number to ``(z, y, x)`` bool.
        psoas: Side to ``(z, y, x)`` bool, only in the slices from `LABELLED_FROM`.
    """

    hu_zyx: NDArray[np.float32]
    geometry: VolumeGeometry
    bones: dict[int, NDArray[np.bool_]]
    psoas: dict[Side, NDArray[np.bool_]]


def read_real_ct(folder: Path) -> RealCt:
    """The CT of ``real_ct_abdomen_pelvis``."""
    image = nibabel.load(folder / "example_ct.nii.gz")
    hu = np.asarray(image.dataobj).transpose(2, 1, 0).astype(np.float32)
    spacing = tuple(float(v) for v in image.header.get_zooms())
    x, y, z = (float(v) for v in image.affine[:3, 3])
    geometry = VolumeGeometry(
        shape_zyx=hu.shape,
        spacing_mm_zyx=(spacing[2], spacing[1], spacing[0]),
        origin_mm_lps=(-x, -y, z),
        direction_lps_zyx=((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)),
    )
    labels = np.asarray(nibabel.load(folder / "example_seg.nii.gz").dataobj).transpose(2, 1, 0)
    psoas = {}
    for side, value in PSOAS.items():
        psoas[side] = np.zeros(hu.shape, dtype=bool)
        psoas[side][LABELLED_FROM:] = labels == value
    return RealCt(hu_zyx=hu, geometry=geometry, bones=_bones(hu), psoas=psoas)


def _bones(hu_zyx: NDArray[np.float32]) -> dict[int, NDArray[np.bool_]]:
    """Hip bones and femora; numbers below are indices in this CT, read off its pictures."""
    z, y, x = np.indices(hu_zyx.shape)
    bone = hu_zyx > BONE_HU
    out: dict[int, NDArray[np.bool_]] = {}
    for side in Side:
        across = x if side is Side.RIGHT else hu_zyx.shape[2] - 3 - x
        head = (across - 88) ** 2 + (y - 43.5) ** 2 + (z - 12.5) ** 2 < 8.4**2
        shaft = (z <= 4) & (across > 86.5)
        neck = (z > 4) & (z <= 9) & (across > 92.5)
        trochanter = (z > 9) & (z < 14) & (across > 101)
        femur = (head | shaft | neck | trochanter) & (across > 60) & (z <= 21)
        joint = 74 + (y - 18) * (79 - 74) / (35 - 18)
        hip = (across > 59.5) & ~femur & (z <= 60)
        hip &= ~((z >= 16) & (z < 31) & (y < 26))
        hip &= ~((z >= 31) & (z <= 48) & (across < joint)) & ~((z > 48) & (across < 74))
        solid = _filled(bone & (across > 59.5))
        for name, region in (("femur", femur), ("pelvis", hip)):
            out[segment_number(name, side)] = _large(solid & region)
    return out


def _filled(bone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bone with gaps of the cortex closed and marrow filled in, slice by slice."""
    planes = []
    for plane in _large(bone):
        closed = ndimage.binary_closing(np.pad(plane, 6), iterations=CLOSED_VOXELS)[6:-6, 6:-6]
        planes.append(ndimage.binary_fill_holes(closed))
    return np.stack(planes)


def _large(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Parts of at least `LEAST_VOXELS`."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= LEAST_VOXELS)[parts])


def write_as_dicom(real: RealCt, folder: Path) -> CtVolume:
    """Writes the CT as a series of slices and reads it as the app does."""
    return read_ct_volume(write_ct_series(folder, real.hu_zyx, real.geometry, STUDY))


def agreement(real: RealCt, volume: CtVolume, found: Segmentation) -> dict[str, tuple[float, float]]:
    """Dice and surface distance in mm by name, in the grid of the reference."""
    labels = found.segments_zyx
    for axis in range(3):
        here, there = (np.asarray(g.direction_lps_zyx[axis]) for g in (real.geometry, volume.geometry))
        labels = labels if float(here @ there) > 0 else np.flip(labels, axis)
    out = {}
    for number, mask in real.bones.items():
        out[SEGMENTS[number - 1].name] = _compared(labels == number, mask, real)
    for side, mask in real.psoas.items():
        number = segment_number("psoas_major", side)
        cut = labels == number
        cut[:LABELLED_FROM] = False
        out[f"psoas_major_{side.value}, upper slices"] = _compared(cut, mask, real)
    return out


def _compared(found: NDArray[np.bool_], reference: NDArray[np.bool_], real: RealCt) -> tuple[float, float]:
    distance = average_surface_distance_mm(found, reference, real.geometry.spacing_mm_zyx)
    return dice(found, reference), distance


def picture(volume: CtVolume, found: Segmentation, *, every: int = 4) -> bytes:
    """PNG of 18 slices from the feet up with coloured structures, the patient's right on the left."""
    image, labels = (
        canonical(a, volume.geometry).array_zyx[::-1] for a in (volume.hu_zyx, found.segments_zyx)
    )
    figure = new_figure(14.0, 7.4)
    for place, index in enumerate(range(0, min(len(image), 18 * every), every), start=1):
        axes = figure.add_subplot(3, 6, place)
        axes.imshow(image[index], cmap="gray", vmin=-150, vmax=350)
        shown = np.ma.masked_where(labels[index] == 0, labels[index].astype(int) * 7 % 43 + 1)
        axes.imshow(shown, cmap="nipy_spectral", vmin=0, vmax=44, alpha=0.45, interpolation="nearest")
        axes.set_axis_off()
    figure.subplots_adjust(left=0, right=1, top=1, bottom=0, wspace=0.01, hspace=0.01)
    return png_of(rendered(figure))


def main(folder: Path, output: Path) -> None:
    """Writes ``dicom/`` and ``agreement.png``, prints a line for each structure compared."""
    real = read_real_ct(folder)
    volume = write_as_dicom(real, output / "dicom")
    found = segment(volume, bundle=MODEL)
    for name, (overlap, distance) in agreement(real, volume, found).items():
        sys.stdout.write(f"{name}: Dice {overlap:.3f}, surface distance {distance:.2f} mm\n")
    (output / "agreement.png").write_bytes(picture(volume, found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
