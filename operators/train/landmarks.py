"""Training of a landmark detector: a small U-Net that draws a hill wherever a landmark is.

Images come in any size and spacing and are brought to one spacing; the network learns cut-outs of one
size and is later applied to whole images. A share of the patients only measures, and decides how high a
hill must be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.spatial.distance import cdist

from operators.bundle import build_network, save_weights, update_inference
from operators.infer.landmarks import Detector, Peak, resampled
from operators.infer.monte_carlo import on_cores
from operators.phantom.identity import generator
from operators.train.augment_images import ImageAugmentation, change_intensities, motions, moved
from operators.train.loop import Batch, Schedule, in_channels_last, train_network
from operators.train.split import split_patients

POINTS_PER_HILL = 40.0
"""How much more a pixel on the top of a hill weighs than one without a hill."""
THRESHOLDS = tuple(round(0.1 + 0.05 * k, 2) for k in range(15))
LOWEST = 0.05
"""Peaks below this are never asked about."""

Points = Sequence[tuple[float, float]]
"""``(y_mm, x_mm)`` from the centre of the first pixel."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LandmarkCase:
    """One image and where its landmarks are.

    Args:
        image_cyx: ``(c, y, x)`` or ``(y, x)`` float, 0..1.
        spacing_mm_yx: Of its pixels.
        points_mm: For each name of the plan the landmarks of this name, any number, also none.
        patient_id: What held-out patients go by.
    """

    image_cyx: NDArray[np.floating[Any]]
    spacing_mm_yx: tuple[float, float]
    points_mm: tuple[Points, ...]
    patient_id: str


@dataclass(frozen=True, kw_only=True)
class LandmarkPlan:
    """How a detector is trained.

    Args:
        names: Of the landmarks, a channel for each.
        spacing_mm: That all images are brought to.
        size_yx: Of the cut-outs that are learned, pixels of this spacing; multiples of 16.
        sigma_mm: Standard deviation of a hill.
        min_distance_mm: Two landmarks of a name are at least so far apart.
        close_mm: A landmark counts as found when a peak is so near.
        features: Channels of the U-Net's levels, six numbers as MONAI's BasicUNet takes them.
        steps: Optimiser steps.
        batch: Cut-outs of a step.
        learning_rate: Highest of the cycle.
        held_out_share: Of patients, who only measure.
        is_exclusive: A place is of one name only, such as a joint of one side or view: a hill in the
            channel of another name costs there as much as a missing one, so that names are told apart.
        augmentation: How images are changed.
    """

    names: tuple[str, ...]
    spacing_mm: float
    size_yx: tuple[int, int]
    sigma_mm: float
    min_distance_mm: float
    close_mm: float = 15.0
    features: tuple[int, ...] = (16, 16, 32, 48, 64, 16)
    steps: int = 400
    batch: int = 8
    learning_rate: float = 2e-3
    held_out_share: float = 0.15
    is_exclusive: bool = False
    augmentation: ImageAugmentation = field(
        default_factory=lambda: ImageAugmentation(turn_deg=12, scale=0.15, shift=0.15, hidden_share=0.15)
    )


def train_landmarks(
    cases: Sequence[LandmarkCase],
    plan: LandmarkPlan,
    *,
    bundle: Path,
    name: str,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """Trains a detector, writes it into a bundle, and says how well it finds what it has not seen.

    Args:
        cases: To learn from and to measure on.
        plan: How.
        bundle: Gets ``models/<name>.safetensors`` and its part of inference.json.
        name: Of the detector in the bundle.
        seed: Of everything random.
        device: To train on.
        progress: Where the bar is shown.

    Returns:
        For ``training`` in metadata.json. The threshold is chosen on the same held-out patients whose figures
        these are, so that they are a little too good.

    Raises:
        ValueError: There is no case to learn from, or one has other landmarks than the plan.
    """
    if any(len(case.points_mm) != len(plan.names) for case in cases):
        raise ValueError(f"each case needs a list of points for each of {', '.join(plan.names)}")
    learning, measuring = split_patients(
        [case.patient_id for case in cases], share=plan.held_out_share, seed=seed
    )
    if not learning:
        raise ValueError(f"{len(cases)} cases are too few to learn landmarks from")
    prepared = [_Prepared(cases[i], plan) for i in learning]
    channels = prepared[0].image.shape[0]
    declared = {
        "_target_": "monai.networks.nets.BasicUNet",
        "spatial_dims": 2,
        "in_channels": channels,
        "out_channels": len(plan.names),
        "features": list(plan.features),
    }
    _declare(bundle, name, plan, declared, threshold=0.5)

    def learn(part: range) -> range:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network({"networks": {name: declared}}, name)
        learned = train_network(
            in_channels_last(network),
            batches(prepared, plan, seed),
            Schedule(steps=plan.steps, learning_rate=plan.learning_rate, averaging=0.99),
            device,
            title=name,
            progress=progress,
            loss_of=exclusive_hill_loss if plan.is_exclusive else hill_loss,
        )
        save_weights(learned, bundle, name)
        return part

    for _ in on_cores(learn, [range(1)], device):
        pass  # with one core: the same weights wherever there are more
    report: dict[str, Any] = {"learned_images": len(learning), "steps": plan.steps, "seed": seed}
    held_out = [cases[i] for i in measuring]
    if any(points for case in held_out for points in case.points_mm):
        detector = Detector.load(bundle, name, device)
        found = [detector.candidates(case.image_cyx, case.spacing_mm_yx, LOWEST) for case in held_out]
        scored = {at: score(held_out, found, plan, at) for at in THRESHOLDS}
        best = max(scored, key=lambda at: (round(scored[at]["f1"], 3), -abs(at - 0.4)))
        _declare(bundle, name, plan, declared, threshold=best)
        report |= {"held_out_images": len(held_out), "threshold": best, **scored[best]}
    return report


def _declare(bundle: Path, name: str, plan: LandmarkPlan, network: dict[str, Any], threshold: float) -> None:
    told = {
        "network": name,
        "names": list(plan.names),
        "channels": network["in_channels"],
        "spacing_mm": plan.spacing_mm,
        "min_distance_mm": plan.min_distance_mm,
        "threshold": threshold,
        "size_yx": list(plan.size_yx),
    }
    update_inference(bundle, {"networks": {name: network}, "landmarks": {name: told}})


class _Prepared:
    """A case at the plan's spacing: image ``(c, y, x)`` float32, points ``(n, 3)``: channel, y, x, pixels."""

    def __init__(self, case: LandmarkCase, plan: LandmarkPlan) -> None:
        self.image = torch.from_numpy(resampled(case.image_cyx, case.spacing_mm_yx, plan.spacing_mm))
        rows = [
            (channel, y_mm / plan.spacing_mm, x_mm / plan.spacing_mm)
            for channel, points in enumerate(case.points_mm)
            for y_mm, x_mm in points
        ]
        self.points = np.array(rows, dtype=np.float64).reshape(-1, 3)


def batches(prepared: Sequence[_Prepared], plan: LandmarkPlan, seed: int) -> Callable[[int], Batch]:
    """Step to cut-outs ``(b, c, y, x)`` float32 and their hills ``(b, names, y, x)`` float32, 0..1."""

    def draw(step: int) -> Batch:
        rng = generator(seed, step)
        images, hills = [], []
        for number in rng.integers(len(prepared), size=plan.batch):
            case = prepared[int(number)]
            maps = motions(rng, 1, plan.augmentation)
            height, width = case.image.shape[1:]
            # Anywhere in the image: what is larger than the cut-out is not always seen in its middle.
            slack = np.array([max(width - plan.size_yx[1], 0), max(height - plan.size_yx[0], 0)])
            maps[0, :, 2] += rng.uniform(-1, 1, 2) * slack / np.array(plan.size_yx[::-1])
            images.append(moved(case.image[None], maps, plan.size_yx)[0])
            placed = into_cut_out(case.points[:, 1:], maps[0], (height, width), plan.size_yx)
            hills.append(_hills(np.column_stack([case.points[:, 0], placed]), plan))
        changed = change_intensities(torch.stack(images), rng, plan.augmentation)
        return changed, torch.from_numpy(np.stack(hills))

    return draw


def into_cut_out(
    points_yx: NDArray[np.float64],
    map_to_input: NDArray[np.float64],
    shape_yx: tuple[int, int],
    size_yx: tuple[int, int],
) -> NDArray[np.float64]:
    """Where points of an image are in its cut-out, ``(n, 2)`` pixels; the inverse of `moved`.

    >>> points = np.array([[2.0, 3.0]])
    >>> into_cut_out(points, np.eye(2, 3), (8, 8), (4, 4)).tolist()
    [[0.0, 1.0]]
    """
    half = np.array(size_yx[::-1]) / 2
    seen_xy = points_yx[:, ::-1] - (np.array(shape_yx[::-1]) - 1) / 2
    shift = map_to_input[:, 2] * half
    back = np.linalg.solve(map_to_input[:, :2], (seen_xy - shift).T).T
    return np.asarray((back + half - 0.5)[:, ::-1], dtype=np.float64)


def _hills(points: NDArray[np.float64], plan: LandmarkPlan) -> NDArray[np.float32]:
    """Gaussian hills of height 1, ``(names, y, x)``; where two meet the higher one counts."""
    rows, columns = np.arange(plan.size_yx[0]), np.arange(plan.size_yx[1])
    sigma_px = plan.sigma_mm / plan.spacing_mm
    out = np.zeros((len(plan.names), *plan.size_yx), dtype=np.float32)
    for channel, y, x in points:
        hill = np.exp(-0.5 * ((rows[:, None] - y) ** 2 + (columns - x) ** 2) / sigma_px**2)
        np.maximum(out[int(channel)], hill, out=out[int(channel)])
    return out


def hill_loss(scores: torch.Tensor, hills: torch.Tensor) -> torch.Tensor:
    """Squared error of ``sigmoid(scores)``, pixels on hills weighing more."""
    weight = 1 + POINTS_PER_HILL * hills
    return (weight * (torch.sigmoid(scores) - hills) ** 2).mean()


def exclusive_hill_loss(scores: torch.Tensor, hills: torch.Tensor) -> torch.Tensor:
    """As `hill_loss`, but a pixel weighs more in every channel where it is on a hill of one of them.

    >>> hills = torch.tensor([[[[1.0]], [[0.0]]]])
    >>> named, other = torch.tensor([[[[9.0]], [[-9.0]]]]), torch.tensor([[[[9.0]], [[9.0]]]])
    >>> float(exclusive_hill_loss(named, hills)) < 0.01 < float(exclusive_hill_loss(other, hills))
    True
    """
    weight = 1 + POINTS_PER_HILL * hills.amax(dim=1, keepdim=True)
    return (weight * (torch.sigmoid(scores) - hills) ** 2).mean()


def score(
    cases: Sequence[LandmarkCase],
    found: Sequence[dict[str, list[Peak]]],
    plan: LandmarkPlan,
    threshold: float,
) -> dict[str, float]:
    """How well peaks above a threshold are the landmarks of cases.

    Returns:
        ``detection_rate`` and ``false_per_image``, ``f1``, and ``error_mm_median`` and ``error_mm_95`` of
        those found; NaN becomes absent.
    """
    hits, wanted, peaks = 0, 0, 0
    errors: list[float] = []
    for case, by_name in zip(cases, found, strict=True):
        for channel, name in enumerate(plan.names):
            true = list(case.points_mm[channel])
            seen = [(p.y_mm, p.x_mm) for p in by_name[name] if p.score >= threshold]
            wanted, peaks = wanted + len(true), peaks + len(seen)
            near = matched(true, seen, plan.close_mm)
            hits, errors = hits + len(near), errors + near
    out = {
        "detection_rate": round(hits / wanted, 4) if wanted else 0.0,
        "false_per_image": round((peaks - hits) / max(len(cases), 1), 4),
        "f1": round(2 * hits / max(wanted + peaks, 1), 4),
    }
    if errors:
        out |= {
            "error_mm_median": round(float(np.median(errors)), 2),
            "error_mm_95": round(float(np.percentile(errors, 95)), 2),
        }
    return out


def matched(true: Points, seen: Points, close_mm: float) -> list[float]:
    """Distances of the pairs of landmarks and peaks, each used once, the closest pairs first.

    >>> matched([(0.0, 0.0), (50.0, 0.0)], [(3.0, 4.0), (0.0, 9.0)], 15.0)
    [5.0]
    """
    if not len(true) or not len(seen):
        return []
    apart = cdist(np.array(true), np.array(seen))
    out: list[float] = []
    while apart.size and float(apart.min()) <= close_mm:
        row, column = np.unravel_index(int(apart.argmin()), apart.shape)
        out.append(float(apart[row, column]))
        apart[row, :] = np.inf
        apart[:, column] = np.inf
    return out
