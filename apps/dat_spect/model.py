"""The bundle of dat_spect as one object: template, classifiers, ranges of normal, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from apps.dat_spect.classifiers import Classifiers, load_classifiers
from apps.dat_spect.features import Regions, regions_of
from apps.dat_spect.normal import NormalRange
from apps.dat_spect.template import Template, load_template
from operators.bundle import inference_settings
from operators.errors import BrokenBundle
from operators.select.digests import bundle_digest


@dataclass(frozen=True, kw_only=True)
class ScannerLine:
    """Calibration of Bolt's ratio: true = slope * measured + offset, from scans of known binding.

    Args:
        slope, offset: 1 and 0 where no scan of known binding was given.
        n: Striata that it is made of; 0 without.
    """

    slope: float = 1.0
    offset: float = 0.0
    n: int = 0

    def __call__(self, measured: float) -> float:
        """The calibrated ratio."""
        return self.slope * measured + self.offset


@dataclass(frozen=True, kw_only=True, eq=False)
class DatModel:
    """Everything that one analysis needs.

    Args:
        template: The striatal template.
        regions: Its parts seen from above.
        classifiers: F1 to F4 and the fusions.
        normal: Quantity name to range of normal; empty without normal subjects.
        calibration: Of Bolt's ratio.
        striatum_ml: Volume of one striatum in Bolt's formula.
    """

    template: Template
    regions: Regions
    classifiers: Classifiers
    normal: dict[str, NormalRange]
    calibration: ScannerLine
    striatum_ml: float


def load_model(bundle: Path) -> DatModel:
    """The bundle; cached in the process as long as its files stay the same.

    Raises:
        BrokenBundle: Something is missing or broken.
    """
    return _cached(bundle.resolve(), bundle_digest(bundle))


@lru_cache(maxsize=4)
def _cached(bundle: Path, _digest: str) -> DatModel:
    settings = inference_settings(bundle)
    template = load_template(bundle)
    try:
        normal = {name: NormalRange(**numbers) for name, numbers in settings["normal"].items()}
        calibration = ScannerLine(**settings["calibration"])
        striatum_ml = float(settings["striatum_ml"])
    except (KeyError, TypeError, ValueError) as broken:
        raise BrokenBundle(f"inference.json: {broken}") from broken
    return DatModel(
        template=template,
        regions=regions_of(template),
        classifiers=load_classifiers(bundle),
        normal=normal,
        calibration=calibration,
        striatum_ml=striatum_ml,
    )


def settings_of(
    normal: dict[str, NormalRange], calibration: ScannerLine, striatum_ml: float, chosen: dict[str, float]
) -> dict[str, Any]:
    """Content of inference.json."""
    return {
        "striatum_ml": striatum_ml,
        "calibration": {
            "slope": round(calibration.slope, 6),
            "offset": round(calibration.offset, 6),
            "n": calibration.n,
        },
        "normal": {name: one.to_json_dict() for name, one in normal.items()},
        "chosen": chosen,
    }
