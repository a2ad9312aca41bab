"""Where a judged vertebra is in the images as they are stored: a box for marks, voxels for a SEG.

Both are regions, not outlines: as high as body and half a disc on each side, and as deep and broad as
a large vertebral body, along the spine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from apps.spine_metastasis.levels import Vertebra
from apps.spine_metastasis.stack import SagittalStack, index_in
from operators.encode.marks import Box

HALF_HEIGHT = 0.47
"""Of the distance to the next vertebra."""
HALF_DEPTH_MM = 20.0
HALF_BREADTH_MM = 18.0


def box_in(stack: SagittalStack, vertebra: Vertebra, *, label: str, target: str) -> tuple[Dataset, Box]:
    """The image through the vertebra's middle, and its region there.

    Args:
        stack: A sequence in which the vertebra lies.
        vertebra: Of the chain.
        label: Beside the box.
        target: Tracking identifier of the group that the box belongs to.
    """
    volume = stack.volume
    down, back, _ = frame_of(stack, vertebra)
    reach = HALF_HEIGHT * vertebra.pitch_mm
    corners = np.array(
        [vertebra.centre + v * reach * down + h * HALF_DEPTH_MM * back for v in (-1, 1) for h in (-1, 1)]
    )
    # The middle of the first stored pixel is (0.5, 0.5) for marks, and (0, 0) for the geometry.
    places = index_in(volume.geometry, corners)[:, 1:] + 0.5
    number = int(
        np.clip(round(float(index_in(volume.geometry, vertebra.centre)[0])), 0, len(stack.headers) - 1)
    )
    header = stack.headers[number]
    (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
    box = Box(
        corners_yx=((float(top), float(left)), (float(bottom), float(right))), label=label, target=target
    )
    return header, box.inside(int(header.Rows), int(header.Columns))


def labels_of(stack: SagittalStack, vertebrae: Sequence[Vertebra]) -> NDArray[np.uint8]:
    """Regions on the grid of the stored images, ``(z, y, x)`` uint8: 1 for the first vertebra, and so on.

    A voxel between two vertebrae belongs to the nearer one.
    """
    geometry = stack.volume.geometry
    labels = np.zeros(geometry.shape_zyx, dtype=np.uint8)
    nearest = np.full(geometry.shape_zyx, np.inf, dtype=np.float32)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape_zyx), indexing="ij"), axis=-1)
    affine = geometry.affine_lps
    positions = (index @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    for value, vertebra in enumerate(vertebrae, start=1):
        down, back, left = (axis.astype(np.float32) for axis in frame_of(stack, vertebra))
        off = positions - vertebra.centre.astype(np.float32)
        along = np.abs(off @ down)
        inside = (
            (along <= HALF_HEIGHT * vertebra.pitch_mm)
            & (np.abs(off @ back) <= HALF_DEPTH_MM)
            & (np.abs(off @ left) <= HALF_BREADTH_MM)
            & (along < nearest)
        )
        labels[inside] = value
        nearest[inside] = along[inside]
    return labels


def frame_of(
    stack: SagittalStack, vertebra: Vertebra
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors in LPS, perpendicular to one another: down the spine, to its back, across the slices."""
    across = np.asarray(stack.geometry.direction_lps_zyx[0])
    down = np.asarray(vertebra.axis_lps) - np.dot(vertebra.axis_lps, across) * across
    down = down / np.linalg.norm(down)
    back = np.cross(across, down)
    if np.dot(back, stack.geometry.direction_lps_zyx[2]) < 0:
        back = -back
    return down, back, across
