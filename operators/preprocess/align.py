"""Rigid alignment of two volumes of the same patient."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from operators.geometry import VolumeGeometry

MAX_SHIFT_MM = 60.0
"""A result farther away than this is a failure of the method, not a movement."""
MAX_TURN_RAD = 0.3


def align_rigid(
    fixed_zyx: NDArray[np.float32], moving_zyx: NDArray[np.float32], geometry: VolumeGeometry
) -> NDArray[np.float64]:
    """Where tissue of the fixed volume is in the moving one: ``(4, 4)`` float64, LPS mm, rigid.

    Both arrays are on the same canonical grid. The identity comes back when the
    registration runs away, so that a poor match never displaces a mask far.
    """
    fixed, moving = (_image(array, geometry) for array in (fixed_zyx, moving_zyx))
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(v) for v in _centre(geometry)])
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.02, 60, 0.5, 1e-5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([8.0, 4.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, inPlace=True)
    method.SetNumberOfThreads(sitk.ProcessObject.GetGlobalDefaultNumberOfThreads())
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return np.eye(4)
    return _matrix(transform, _centre(geometry))


def _image(array: NDArray[np.float32], geometry: VolumeGeometry) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
    image.SetSpacing([float(s) for s in geometry.spacing_mm_zyx[::-1]])
    image.SetOrigin([float(v) for v in geometry.origin_mm_lps])
    return image


def _centre(geometry: VolumeGeometry) -> NDArray[np.float64]:
    z, y, x = ((n - 1) / 2 for n in geometry.shape_zyx)
    return geometry.position_mm_lps((z, y, x))


def _matrix(transform: sitk.Euler3DTransform, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    shift = np.array(transform.GetTranslation())
    turned = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    if np.linalg.norm(shift) > MAX_SHIFT_MM or turned > MAX_TURN_RAD:
        return np.eye(4)
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = centre + shift - rotation @ centre
    return out
