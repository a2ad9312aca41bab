"""Whether what was found is hip or thigh at all; anything else is refused, not outlined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct.prepare import Prepared
from apps.msk_ct.structures import STRUCTURES
from operators.errors import Refused

BONES = ("pelvis", "femur")
LEAST_BONE_ML = 15.0
"""Hip bone and femur together: 3 cm of a shaft."""
LEAST_MUSCLE_ML = 120.0
LEAST_PROBABILITY = 0.5
"""Mean of the winning class over what was labelled."""
SURE_PROBABILITY, LEAST_SHARE = 0.8, 0.08
"""A network that is less sure than the first must have labelled this share of the body: of a head it
labels a few crumbs, of a hip a third."""
BODY_HU = -300.0
LEAST_BONE_HU = 100.0
"""Mean over voxels called bone; marrow counts too."""


def check_is_hip_or_thigh(
    classes_zyx: NDArray[np.uint8], probability_zyx: NDArray[np.float32], prepared: Prepared
) -> None:
    """Refuses a volume in which no hip or thigh was found.

    Args:
        classes_zyx: ``(z, y, x)`` uint8, class values 0..22 on the model's grid.
        probability_zyx: ``(z, y, x)`` float32, 0..1, of the class there.
        prepared: The CT on that grid.

    Raises:
        Refused: Says what was found.
    """
    volumes = np.bincount(classes_zyx.ravel(), minlength=len(STRUCTURES) + 1) * prepared.voxel_ml
    by_name = dict(zip((s.name for s in STRUCTURES), volumes[1:], strict=True))
    bone_ml = sum(by_name[name] for name in BONES)
    muscle_ml = sum(by_name[s.name] for s in STRUCTURES if not s.is_bone)
    labelled = classes_zyx > 0
    probability = float(probability_zyx[labelled].mean()) if labelled.any() else 0.0
    values = [i for i, s in enumerate(STRUCTURES, start=1) if s.name in BONES]
    bone = np.isin(classes_zyx, values)
    bone_hu = float(prepared.hu_zyx[bone].mean()) if bone.any() else 0.0
    share = float(labelled.sum() / max(1, int((prepared.hu_zyx > BODY_HU).sum())))
    found = (
        f"{bone_ml:.0f} mL of hip bone and femur (mean {bone_hu:.0f} HU) and {muscle_ml:.0f} mL of "
        f"muscle, {share:.0%} of the body, mean probability {probability:.2f}"
    )
    if (
        bone_ml < LEAST_BONE_ML
        or muscle_ml < LEAST_MUSCLE_ML
        or probability < LEAST_PROBABILITY
        or (probability < SURE_PROBABILITY and share < LEAST_SHARE)
        or bone_hu < LEAST_BONE_HU
    ):
        raise Refused(f"no hip or thigh was found in the CT: {found}", attribute="PixelData")
