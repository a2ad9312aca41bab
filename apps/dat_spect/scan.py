"""One scan measured: corrected for attenuation where that was left undone, located, in ratios.

What training, evaluation and the graph have in common. Whether attenuation was corrected is said by
Corrected Image (0028,0051); where that is absent, by how much darker the depth of the brain is
than its rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.dat_spect.attenuation import chang_corrected, is_attenuation_corrected, mu_of
from apps.dat_spect.quantify import Uptake, measure_uptake
from apps.dat_spect.register import Registration, register
from apps.dat_spect.template import GRID, Template
from operators.geometry import VolumeGeometry
from operators.preprocess.resample import resample
from operators.read.nm import NmVolume

LEAST_DEPTH_SHARE = 0.83
"""Counts deep in the brain over those at its rim; attenuation makes them 0.5 to 0.75."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """A scan with everything measured on it that needs no age.

    Args:
        volume: As read.
        counts_zyx: ``(z, y, x)`` float32, what ratios were measured on.
        registration: Where the template lies.
        uptake: Ratios, masks, slab.
        is_corrected_here: True when attenuation was corrected by this app.
        warnings: Sentences that a reader must see.
    """

    volume: NmVolume
    counts_zyx: NDArray[np.float32]
    registration: Registration
    uptake: Uptake
    is_corrected_here: bool
    warnings: tuple[str, ...] = ()


def measure_scan(volume: NmVolume, template: Template, *, striatum_ml: float) -> Scan:
    """Corrects, locates and measures.

    Args:
        volume: The SPECT.
        template: Of the bundle.
        striatum_ml: Volume of one striatum in Bolt's formula.

    Raises:
        Refused: No brain is found, or it is cut off.
    """
    placed = None
    warnings: list[str] = []
    stated = is_attenuation_corrected(volume)
    if stated is None:
        placed = register(volume.counts_zyx, volume.geometry, template)
        share = depth_share(volume.counts_zyx, volume.geometry, template, placed)
        stated = share >= LEAST_DEPTH_SHARE
        said = "seems to be corrected" if stated else "seems not to be corrected"
        warnings.append(
            f"the images do not state whether attenuation was corrected; by the brain's depth "
            f"({share:.0%} of the counts at its rim) it {said}"
        )
    counts = volume.counts_zyx
    if not stated:
        counts, placed = _corrected(volume), None
        warnings.append(
            f"attenuation was corrected here after Chang (uniform {mu_of(volume)} per cm within the head's "
            "outline): binding ratios are less certain"
        )
    if placed is None:
        placed = register(counts, volume.geometry, template)
    uptake = measure_uptake(counts, volume.geometry, template, placed, striatum_ml=striatum_ml)
    return Scan(
        volume=volume,
        counts_zyx=counts,
        registration=placed,
        uptake=uptake,
        is_corrected_here=not stated,
        warnings=tuple(warnings),
    )


def corrected_counts(volume: NmVolume) -> tuple[NDArray[np.float32], bool]:
    """Counts corrected for attenuation, by the header alone, and whether that was done here."""
    if is_attenuation_corrected(volume) is False:
        return _corrected(volume), True
    return volume.counts_zyx, False


def _corrected(volume: NmVolume) -> NDArray[np.float32]:
    return chang_corrected(volume.counts_zyx, volume.geometry, mu_per_cm=mu_of(volume))


def depth_share(
    counts_zyx: NDArray[np.float32],
    geometry: VolumeGeometry,
    template: Template,
    registration: Registration,
) -> float:
    """Mean counts of the unspecific brain's depth over those of its rim."""
    seen = resample(counts_zyx, geometry, GRID, source_from_target_lps=registration.patient_from_template)
    values = seen[0].numpy()
    return float(values[template.depth].mean() / max(float(values[template.rim].mean()), 1e-9))
