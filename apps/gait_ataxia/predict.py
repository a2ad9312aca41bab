"""The ensemble's estimate of SARA from a walk, with its interval and the baseline beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from apps.gait_ataxia.baseline import Ridge
from apps.gait_ataxia.features import Features
from apps.gait_ataxia.network import (
    GAIT_SCALE,
    SARA_SCALE,
    GaitTransformer,
    Standard,
    batch_of,
    size_of,
    windows,
)
from operators.bundle import choose_device, inference_settings
from operators.errors import BrokenBundle
from operators.select.digests import bundle_digest

UNUSUAL = 3.0
"""Standard deviations beyond which a parameter is unlike the training walks."""
UNUSUAL_SHARE = 0.15


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """What the models say of a walk.

    Args:
        sara: SARA total, 0 to 40.
        low: Lower end of the interval.
        high: Upper end of the interval.
        coverage: Share of patients that the interval is made to hold, 0 to 1.
        gait_item: SARA gait item, 0 to 8.
        ridge: The baseline's SARA total, or None when it has no model for the view.
        spread: Standard deviation of the models of the ensemble.
        unusual_share: Share of the known gait parameters that are unlike the training walks.
    """

    sara: float
    low: float
    high: float
    coverage: float
    gait_item: float
    ridge: float | None
    spread: float
    unusual_share: float

    @property
    def is_unusual(self) -> bool:
        """True when the walk is unlike what the models learned from."""
        return self.unusual_share > UNUSUAL_SHARE


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """The models of a bundle.

    Args:
        networks: In evaluation mode.
        standard: Of the training data.
        ridge: View to baseline.
        half_width: Of the interval.
        coverage: Of the interval.
        device: Of the networks.
    """

    networks: tuple[GaitTransformer, ...]
    standard: Standard
    ridge: dict[str, Ridge]
    half_width: float
    coverage: float
    device: torch.device

    @torch.no_grad()
    def estimate(self, features: Features) -> Estimate:
        """The mean of the models over windows of the walk."""
        patches = windows(self.standard.patches(features.sequence))
        vector = self.standard.values(features)
        inputs = [
            part.to(self.device) for part in batch_of([(one, vector, features.view) for one in patches])
        ]
        outputs = np.stack([network(*inputs).mean(dim=0).float().cpu().numpy() for network in self.networks])
        totals = np.clip(outputs[:, 0] * SARA_SCALE, 0, 40)
        sara = float(totals.mean())
        mean, spread = self.standard.vector[features.view]
        away = np.abs((features.vector - mean) / spread)
        baseline = self.ridge.get(features.view)
        return Estimate(
            sara=sara,
            low=max(0.0, sara - self.half_width),
            high=min(40.0, sara + self.half_width),
            coverage=self.coverage,
            gait_item=float(np.clip(outputs[:, 1].mean() * GAIT_SCALE, 0, 8)),
            ridge=None
            if baseline is None
            else float(baseline.predict(features.vector[None].astype(float))[0]),
            spread=float(totals.std()),
            unusual_share=float(np.nanmean(away > UNUSUAL)),
        )


def load_ensemble(bundle: Path, device: str = "auto") -> Ensemble:
    """The models of a bundle; cached in the process until the bundle changes.

    Raises:
        BrokenBundle: The bundle is incomplete.
    """
    return _cached(bundle.resolve(), str(choose_device(device)), bundle_digest(bundle))


@lru_cache(maxsize=4)
def _cached(bundle: Path, device: str, _digest: str) -> Ensemble:
    settings = inference_settings(bundle)
    try:
        size = size_of(settings["network"])
        networks = []
        for number in range(1, int(settings["folds"]) + 1):
            network = GaitTransformer(size)
            state = load_file(bundle / "models" / f"fold_{number}.safetensors")
            network.load_state_dict({name: value.float() for name, value in state.items()})
            networks.append(network.to(device).eval())
        return Ensemble(
            networks=tuple(networks),
            standard=Standard.from_json_dict(settings["standard"]),
            ridge={view: Ridge.from_json_dict(raw) for view, raw in settings["ridge"].items()},
            half_width=float(settings["interval"]["half_width"]),
            coverage=float(settings["interval"]["coverage"]),
            device=torch.device(device),
        )
    except (KeyError, TypeError, ValueError, OSError, SafetensorError, RuntimeError) as broken:
        raise BrokenBundle(f"{bundle.name} does not hold a model of gait_ataxia: {broken}") from broken


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """The patients that the interval and the picture of the cohort come from, held out when estimated."""

    sara: NDArray[np.float64]
    estimated: NDArray[np.float64]


def load_cohort(bundle: Path) -> Cohort | None:
    """The cohort of a bundle; None for a bundle without one."""
    path = bundle / "configs" / "cohort.json"
    if not path.is_file():
        return None
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Cohort(sara=np.array(raw["sara"], float), estimated=np.array(raw["estimated"], float))
