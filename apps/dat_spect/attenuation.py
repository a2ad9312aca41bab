"""Attenuation correction after Chang, for volumes that were reconstructed without one.

A striatum lies deep in the head: without correction its counts are about half of what they
should be against the brain's surface, and Bolt's ratio, in which background is subtracted, suffers
most. The head's outline is taken from the counts themselves.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from operators.geometry import VolumeGeometry
from operators.infer.components import largest_component
from operators.preprocess.resample import canonical_grid, resample
from operators.preprocess.transmission import attenuation_factor
from operators.read.nm import NmVolume

MU_PER_CM = 0.147
"""Of soft tissue at 159 keV, narrow beam: where scatter was corrected."""
MU_BROAD_PER_CM = 0.12
"""Effective value where scatter was not corrected, as is usual for Chang's method on brains."""
CUBE, CUBE_MM = 60, 5.0
VIEWS = 24
OUTLINE_SHARE = 0.2
"""Counts above this share of the brain's belong to the head: half of what the scalp has."""
SMOOTHING_MM = 4.0
LEAST_TRANSMISSION = 0.1
NOT_DESCRIBED = re.compile(
    r"(?<![A-Za-z])(?:NAC|NATT?N|(?i:no|non|without|w/?o)[\s_-]*(?:AC|ATTN|(?i:attenuation))|(?i:uncorrected))"
    r"(?![a-z])|(?<![A-Za-z])AC[\s_]*(?:\(?-\)?|(?i:off))(?![A-Za-z0-9])|吸収補正[\s_]*(?:な|無|\(?-)|未補正"
)
DESCRIBED = re.compile(r"(?<![A-Za-z])(?:CT)?AC(?:SC|RR|IR|FBP|OSEM)?(?![A-Za-z])|(?i:\bchang\b)|吸収補正")
"""What a Series Description says of attenuation correction. ``AC`` in capitals only: it is short."""


def is_attenuation_corrected(volume: NmVolume) -> bool | None:
    """What Corrected Image (0028,0051) says; None where the attribute is absent.

    PS3.3 C.8.4.9: ``ATTN`` stands for attenuation correction, ``SCAT`` for scatter.
    """
    stated = _corrections(volume)
    return None if not stated else "ATTN" in stated


def described_correction(volume: NmVolume) -> bool | None:
    """What Series Description (0008,103E) says; None where it says nothing.

    It is free text: it decides only where Corrected Image does not, or together with the picture.
    """
    text = str(volume.instances[0].get("SeriesDescription") or "")
    if NOT_DESCRIBED.search(text):
        return False
    return True if DESCRIBED.search(text) else None


def mu_of(volume: NmVolume) -> float:
    """The attenuation coefficient to correct with, per cm: broad beam unless scatter was corrected."""
    return MU_PER_CM if "SCAT" in _corrections(volume) else MU_BROAD_PER_CM


def _corrections(volume: NmVolume) -> set[str]:
    stated = volume.instances[0].get("CorrectedImage") or []
    values = [stated] if isinstance(stated, str) else list(stated)
    return {str(value).strip().upper() for value in values} - {""}


def chang_corrected(
    counts_zyx: NDArray[np.float32], geometry: VolumeGeometry, *, mu_per_cm: float
) -> NDArray[np.float32]:
    """Counts divided by their mean transmission through a uniform head, ``(z, y, x)`` float32.

    Args:
        counts_zyx: ``(z, y, x)`` float32.
        geometry: Their grid.
        mu_per_cm: Of the head.
    """
    middle = geometry.position_mm_lps(tuple((n - 1) / 2 for n in geometry.shape_zyx))  # type: ignore[arg-type]
    cube = canonical_grid(middle, size=CUBE, spacing_mm=CUBE_MM)
    outline = head_outline(resample(counts_zyx, geometry, cube)[0].numpy())
    angles = [2 * np.pi * view / VIEWS for view in range(VIEWS)]
    factor = attenuation_factor(
        outline.astype(np.float32) * np.float32(mu_per_cm), spacing_mm=CUBE_MM, angles_rad=angles, step=1
    )
    # Outside of the cube there is no head; 1 is the transmission of air.
    loss = resample(1.0 - factor, cube, geometry)[0].numpy()
    return np.asarray(counts_zyx / np.maximum(1.0 - loss, LEAST_TRANSMISSION), dtype=np.float32)


def head_outline(counts_zyx: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The head on the cube's grid, ``(z, y, x)`` bool, without holes in any slice."""
    smooth = ndimage.gaussian_filter(np.clip(counts_zyx, 0, None), SMOOTHING_MM / CUBE_MM)
    bright = smooth[smooth > smooth.mean()]
    level = float(np.median(bright)) if len(bright) else 1.0
    mask = largest_component(smooth > OUTLINE_SHARE * level)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
