"""Stage `measure` of mibg_spect: counts, ratios and washout out of images and masks.

Every number comes as a `Quantity`, those that could not be had with the reason.
Nothing is standardised with a guessed collimator coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.mibg_spect.segment import Phase, Segmentation
from operators.measure.planar import PlanarRegions
from operators.measure.quantity import Quantity
from operators.read.nm import NmPlanar, NmVolume


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """Everything measured on one study.

    Args:
        quantities: In the order of the report; names are unique.
        mediastinum_zyx: For each SPECT phase, ``(z, y, x)`` bool in that volume's own grid:
            the reference box of the heart-to-mediastinum ratio.
        planar: For each planar view present, its regions.
        warnings: Sentences that a reader of the results must see.
    """

    quantities: tuple[Quantity, ...]
    mediastinum_zyx: dict[Phase, NDArray[np.bool_]]
    planar: dict[Phase, PlanarRegions]
    warnings: tuple[str, ...] = ()

    def value(self, name: str) -> float | None:
        """The value of one quantity; None when it could not be had.

        Raises:
            KeyError: No quantity has this name.
        """
        return {q.name: q.value for q in self.quantities}[name]


def quantify(
    volumes: Mapping[Phase, NmVolume],
    segmentation: Segmentation,
    *,
    planar: Mapping[Phase, NmPlanar],
    collimator_coefficients: Mapping[str, float] | None = None,
) -> Measurements:
    """All numbers of the report.

    Args:
        volumes: The SPECT volumes present.
        segmentation: Of the same volumes.
        planar: The anterior views present; may be empty.
        collimator_coefficients: Collimator/Grid Name (upper case) to conversion coefficient
            of this site's camera: the route's setting ``collimator_coefficients``. A name
            that is not listed leaves the ratio unstandardised, with a warning.
    """
    raise NotImplementedError
