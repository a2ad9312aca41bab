"""MR slices to signal with a geometry (PS3.3 A.4, one instance per slice), in any plane.

Signal has no unit: it is what the scanner stored, after the rescale where there is one. A
series that holds several echoes, inversion times or kinds of picture at one place is refused
by the attribute that tells them apart. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage

from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.read import slices
from operators.read.attributes import check_number, number_or
from operators.select.clinical import mr_weighting_of
from operators.select.headers import QUIET
from operators.select.stack import orientation_of

TELL_APART = ("EchoTime", "InversionTime", "DiffusionBValue", "ImageType", "TemporalPositionIdentifier")
"""Attributes by which slices at one place differ: echoes, magnitude and phase, time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MrVolume:
    """An MR series as one volume.

    Args:
        signal_zyx: ``(z, y, x)`` float32, without a unit, slices in the order of `geometry`.
        geometry: Where the voxels are, LPS mm.
        headers: Data sets without their pixels, one for each slice, in slice order.
        plane: ``axial``, ``sagittal``, ``coronal`` or ``oblique``.
        weighting: ``STIR``, ``T1`` or ``T2``, or None where neither timing nor text tells.
    """

    signal_zyx: NDArray[np.float32]
    geometry: VolumeGeometry
    headers: tuple[Dataset, ...]
    plane: str
    weighting: str | None


def read_mr_stack(paths: Sequence[Path]) -> MrVolume:
    """The volume of an MR series.

    Raises:
        Refused: A slice cannot be read or decoded, an attribute is missing, it is no single-frame
            MR image, the slices are of several echoes or kinds, there are more voxels than fit
            into memory, they all have one value, or they are not an evenly spaced, upright
            stack of one orientation and matrix.
    """
    pairs = [(_header(path), path) for path in paths]
    _check_one_of_each([header for header, _ in pairs])
    stack = slices.stack_of(pairs, kind="MR")
    signal_zyx = np.empty(stack.geometry.shape_zyx, dtype=np.float32)
    for z, (header, path) in enumerate(zip(stack.headers, stack.paths, strict=True)):
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            check_number(header, keyword)
        slope, intercept = number_or(header, "RescaleSlope", 1.0), number_or(header, "RescaleIntercept", 0.0)
        signal_zyx[z] = slices.stored_plane(header, path).astype(np.float32) * slope + intercept
    if signal_zyx.min() == signal_zyx.max():
        raise Refused("PixelData is constant: there is no image", attribute="PixelData")
    with QUIET:
        weighting = mr_weighting_of(stack.headers[0])
    return MrVolume(
        signal_zyx=signal_zyx,
        geometry=stack.geometry,
        headers=stack.headers,
        plane=orientation_of(stack.headers[0]) or "oblique",
        weighting=weighting,
    )


def _header(path: Path) -> Dataset:
    header = slices.read_header(path, ("SOPClassUID",))
    if header.SOPClassUID != MRImageStorage:
        name = UID(header.SOPClassUID).name
        raise Refused(f"SOPClassUID is {name!r}; MR Image Storage is needed", attribute="SOPClassUID")
    slices.check_has(header, slices.NEEDED)
    return header


def _check_one_of_each(headers: Sequence[Dataset]) -> None:
    """Accepts slices at different places; what tells those at one place apart is named."""
    if len({str(header.ImagePositionPatient) for header in headers}) == len(headers):
        return
    for keyword in TELL_APART:
        values = {str(header.get(keyword) or "") for header in headers}
        if len(values) > 1:
            raise Refused(
                f"{keyword} has {len(values)} values among slices at the same place; "
                "a series with one picture for each place is needed",
                attribute=keyword,
            )
