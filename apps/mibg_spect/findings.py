"""What the graph of mibg_spect carries from measuring to encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.mibg_spect.labels import Phase
from apps.mibg_spect.quantify import Measurements
from apps.mibg_spect.segment import Segmentation
from operators.read.nm import NmPlanar, NmVolume


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that pictures, report and tables are made of.

    Args:
        volumes: SPECT volumes present.
        planar: Planar views present.
        segmentation: Masks.
        measurements: Numbers.
        warnings: Every sentence that a reader must see, of rules, reading, model and numbers.
    """

    volumes: Mapping[Phase, NmVolume]
    planar: Mapping[Phase, NmPlanar]
    segmentation: Segmentation
    measurements: Measurements
    warnings: tuple[str, ...]


def value_of(measurements: Measurements, name: str) -> float | None:
    """A quantity's value; None when it could not be had or does not apply."""
    return next((q.value for q in measurements.quantities if q.name == name), None)
