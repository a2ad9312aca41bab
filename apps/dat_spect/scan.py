"""One scan measured: corrected for attenuation where that was left undone, located, in ratios.

What training, evaluation and the graph have in common. Whether attenuation was corrected is said by
Corrected Image (0028,0051), else by Series Description, else by how much darker the depth
of the brain is than its rim; the picture is asked always, and a contradiction withholds the decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from apps.dat_spect.attenuation import (
    chang_corrected,
    described_correction,
    is_attenuation_corrected,
    mu_of,
)
from apps.dat_spect.orientation import SURELY_EXPLAINED, check_orientation
from apps.dat_spect.quantify import Uptake, measure_uptake
from apps.dat_spect.register import Registration, register
from apps.dat_spect.template import GRID, Template
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.preprocess.resample import resample
from operators.read.nm import NmVolume
from operators.read.nm_position import position_contradiction

LEAST_DEPTH_SHARE = 0.90
"""Counts deep in the brain over those at its rim: phantoms have 0.77 to 0.84 uncorrected, from 1.01 on else.

White matter and ventricles make a patient's depth a little darker than a phantom's.
"""
SURELY_DARK, SURELY_FLAT = 0.85, 0.95
"""Shares from which on the picture contradicts a header that says otherwise."""


class Source(StrEnum):
    """How it is known whether the scanner corrected attenuation."""

    STATED = "stated"
    DESCRIBED = "by the series' description"
    PRESUMED = "presumed from the picture"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """A scan with everything measured on it that needs no age.

    Args:
        volume: As read.
        counts_zyx: ``(z, y, x)`` float32, what ratios were measured on.
        registration: Where the template lies.
        uptake: Ratios, masks, slab.
        is_corrected_here: True when attenuation was corrected by this app.
        correction_source: How it is known whether the scanner had.
        why_undecided: Why nothing may be concluded from the numbers; "" where it may.
        warnings: Sentences that a reader must see.
    """

    volume: NmVolume
    counts_zyx: NDArray[np.float32]
    registration: Registration
    uptake: Uptake
    is_corrected_here: bool
    correction_source: Source
    why_undecided: str = ""
    warnings: tuple[str, ...] = ()


def measure_scan(volume: NmVolume, template: Template, *, striatum_ml: float) -> Scan:
    """Corrects, locates and measures.

    Args:
        volume: The SPECT.
        template: Of the bundle.
        striatum_ml: Volume of one striatum in Bolt's formula.

    Raises:
        Refused: No brain is found, it is cut off, or it does not lie as the header says.
    """
    contradiction = position_contradiction(volume.instances[0])
    if contradiction is not None:
        raise Refused(contradiction[0], attribute=contradiction[1])
    placed = None
    warnings: list[str] = []
    said, source = _said(volume)
    if said is None:
        placed = register(volume.counts_zyx, volume.geometry, template)
        share = depth_share(volume.counts_zyx, volume.geometry, template, placed)
        said = share >= LEAST_DEPTH_SHARE
        seems = "seems to be corrected" if said else "seems not to be corrected"
        warnings.append(
            f"the images do not state whether attenuation was corrected; by the brain's depth "
            f"({share:.0%} of the counts at its rim) it {seems}"
        )
    elif source is Source.DESCRIBED:
        warnings.append(
            "the images do not state whether attenuation was corrected; by the series' description it was"
            f"{'' if said else ' not'}"
        )
    counts = volume.counts_zyx
    if not said:
        counts, placed = _corrected(volume), None
        warnings.append(
            f"attenuation was corrected here after Chang (uniform {mu_of(volume)} per cm within the head's "
            "outline): binding ratios are less certain"
        )
    if placed is None:
        placed = register(counts, volume.geometry, template)
    check_orientation(counts, volume.geometry, template, placed)
    uptake = measure_uptake(counts, volume.geometry, template, placed, striatum_ml=striatum_ml)
    doubts = _doubts(volume, template, placed, is_said_corrected=said, source=source)
    return Scan(
        volume=volume,
        counts_zyx=counts,
        registration=placed,
        uptake=uptake,
        is_corrected_here=not said,
        correction_source=source,
        why_undecided="; ".join(doubts),
        warnings=(*warnings, *doubts, *uptake.warnings),
    )


def _said(volume: NmVolume) -> tuple[bool | None, Source]:
    """What the header says of attenuation correction, and where."""
    stated = is_attenuation_corrected(volume)
    if stated is not None:
        return stated, Source.STATED
    described = described_correction(volume)
    return described, Source.PRESUMED if described is None else Source.DESCRIBED


def _doubts(
    volume: NmVolume,
    template: Template,
    placed: Registration,
    *,
    is_said_corrected: bool,
    source: Source,
) -> list[str]:
    """Why nothing may be concluded from the numbers of a scan."""
    doubts = []
    if placed.explained < SURELY_EXPLAINED:
        doubts.append(
            f"the striata could not be told from the background as the template has them "
            f"({max(placed.explained, 0.0):.0%} explained, {SURELY_EXPLAINED:.0%} needed): binding may be "
            "almost lost, or the tracer another one; look where the regions lie"
        )
    share = depth_share(volume.counts_zyx, volume.geometry, template, placed)
    is_contradicted = share < SURELY_DARK if is_said_corrected else share > SURELY_FLAT
    if source is not Source.PRESUMED and is_contradicted:
        where = "Corrected Image" if source is Source.STATED else "Series Description"
        doubts.append(
            f"{where} says that attenuation was {'' if is_said_corrected else 'not '}corrected, but the "
            f"brain's depth has {share:.0%} of the counts at its rim, as if it was "
            f"{'not' if is_said_corrected else 'corrected'}: binding ratios may be wrong by a fifth to a half"
        )
    described = described_correction(volume)
    is_confirmed = share > SURELY_FLAT if is_said_corrected else share < SURELY_DARK
    if source is Source.STATED and described == (not is_said_corrected) and not is_confirmed:
        doubts.append("Corrected Image and Series Description disagree on whether attenuation was corrected")
    return doubts


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
