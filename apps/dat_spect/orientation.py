"""Does the picture lie as its header says?

A head that the header turns upside down or back to front still looks like a brain, but its striata
are not where the template has them: the same scan, turned back, is explained better. Turns by half
a circle about x, y and z are tried. The template's sides are alike, so a turn about y also stands
for slices that run the other way, and one about z for front and back exchanged; a mirror of right
and left alone cannot be seen in the picture (`operators.read.nm_position` asks the header).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from apps.dat_spect.register import Registration, register
from apps.dat_spect.template import Template
from operators.errors import Refused
from operators.geometry import VolumeGeometry

SURELY_EXPLAINED = 0.80
"""Where so much is explained around the striata they are taken as found, and no turn is tried.

Of 100 phantoms of hospital B 98 that lie as stated have 0.80 to 0.96 and two, with little uptake, 0.64
and 0.77; turned ones have 0.71 at most, and those whose striata take up nothing 0.14 at most.
"""
CLEARLY_BETTER = 0.10
"""A turn that explains so much more of the striata's neighbourhood shows that the header is wrong."""
TURNS = {
    "upside down (or its slices run the other way)": (-1.0, 1.0, -1.0),
    "back to front": (-1.0, -1.0, 1.0),
    "upside down and back to front": (1.0, -1.0, -1.0),
}


def check_orientation(
    counts_zyx: NDArray[np.float32], geometry: VolumeGeometry, template: Template, placed: Registration
) -> None:
    """Refuses a scan that is explained clearly better when it is turned.

    Args:
        counts_zyx: ``(z, y, x)`` float32.
        geometry: Where the header says that its voxels are.
        template: Of the bundle.
        placed: Where the template lies in it as it is.

    Raises:
        Refused: The stated orientation contradicts the picture.
    """
    if placed.explained >= SURELY_EXPLAINED:
        return
    found = {}
    for name, signs in TURNS.items():
        try:
            found[name] = register(counts_zyx, turned(geometry, signs), template).explained
        except Refused:
            # No brain is found that way round: this turn is not the true one.
            continue
    best = max(found, key=lambda name: found[name], default="")
    if best and found[best] >= placed.explained + CLEARLY_BETTER:
        raise Refused(
            f"the stated orientation contradicts the picture: the head lies {best} (striata explained "
            f"{placed.explained:.0%} as stated, {found[best]:.0%} when turned)",
            attribute="DetectorInformationSequence.ImageOrientationPatient",
        )


def turned(geometry: VolumeGeometry, signs: tuple[float, float, float]) -> VolumeGeometry:
    """The same voxels turned about the middle of their volume.

    Args:
        geometry: Of the scan.
        signs: Of x, y, z; two of them -1.
    """
    middle = geometry.position_mm_lps(tuple((n - 1) / 2 for n in geometry.shape_zyx))  # type: ignore[arg-type]
    sign = np.asarray(signs)
    x, y, z = middle + sign * (np.asarray(geometry.origin_mm_lps) - middle)
    across, down, along = (
        (float(a), float(b), float(c)) for a, b, c in np.asarray(geometry.direction_lps_zyx) * sign
    )
    return replace(
        geometry, origin_mm_lps=(float(x), float(y), float(z)), direction_lps_zyx=(across, down, along)
    )
