"""Evaluation of a bundle on case folders, structure by structure, with bootstrap intervals over patients.

The folder decides what the numbers mean. For phantoms it must hold patients of hospital B, which
training never sees; a case of hospital A among them is named in the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from apps.msk_ct.cases import TruthCase, read_case
from apps.msk_ct.confidence import failed_below, relative_variance
from apps.msk_ct.segment import segment
from apps.msk_ct.structures import SEGMENTS, STRUCTURES
from operators.bundle import inference_settings
from operators.errors import Refused
from operators.evaluate import Evaluation
from operators.evaluate.bootstrap import Columns, bootstrap, mean_of
from operators.evaluate.cases import cases_of
from operators.evaluate.surface import average_surface_distance_mm
from operators.select.digests import bundle_digest

LEAST_ML = 3.0
"""A structure of which less than this lies in the field of view is not counted."""
COLUMNS = (
    "structure",
    "dice",
    "asd_mm",
    "volume_percent",
    "hu",
    "psv",
    "predictive_dice",
    "relative_variance",
)
MISSING = float("nan")
LEAST_FOR_CORRELATION = 6
"""Values of a structure below which its correlation is not computed."""


def evaluate(data: Path, *, bundle: Path, device: str = "auto", profile: str = "auto") -> Evaluation:
    """The metrics of the outside interface over the cases of a folder.

    Every segment of which at least `LEAST_ML` is in the field of view counts once, and so does one of
    which as much was found and nothing is there. ``dice_mean`` and ``asd_mean_mm`` are means over
    segments; ``volume_bias_percent`` and ``hu_bias`` are means of signed errors; ``uncertainty_r`` is
    the mean over structures of the absolute Pearson correlation between PSV and Dice;
    ``failure_auroc`` tells segments with Dice below the bundle's failure threshold from the others by
    their PSV over the limit of their structure. A segment that is not found, one that is not there,
    and all of a refused case count with Dice 0. For ``failure_auroc`` a segment that is not found
    has the lowest uncertainty, because nothing marks it; refused cases are left out of it, because
    the refusal does. Surface distance and attenuation know only segments that are there and found.

    Raises:
        FileNotFoundError: The folder holds no case.
        BrokenBundle: The bundle cannot be used.
        ValueError: The bundle has no limits of uncertainty.
    """
    settings = inference_settings(bundle)
    if "confidence" not in settings:
        raise ValueError(f"{bundle} has no limits of uncertainty: no patient was held out of its training")
    rows: list[dict[str, float]] = []
    patients: list[str] = []
    notes: list[str] = []
    graded: dict[str, list[float]] = {}
    for case in cases_of(data, read_case, notes):
        found = measure_case(case, bundle, device, notes, profile=profile)
        rows += found
        patients += [case.patient_id] * len(found)
        grade = str(case.truth.get("difficulty", "not graded"))
        graded.setdefault(grade, []).extend(row["dice"] for row in found)
    columns = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    limit = failed_below(settings)
    statistics: dict[str, Callable[[Columns], float]] = {
        "dice_mean": mean_of("dice"),
        "asd_mean_mm": mean_of("asd_mm"),
        "volume_bias_percent": mean_of("volume_percent"),
        "hu_bias": mean_of("hu"),
        "uncertainty_r": mean_correlation,
        "failure_auroc": failure_auroc(limit),
    }
    notes += describe_counts(columns)
    notes += describe_failures(columns, limit)
    notes += [f"{grade}: Dice {np.mean(values):.3f}" for grade, values in sorted(graded.items())]
    notes += describe_structures(columns)
    return Evaluation(
        app="msk_ct",
        n=len(set(patients)),
        model_digest=bundle_digest(bundle),
        metrics={name: bootstrap(columns, s, patient_ids=patients) for name, s in statistics.items()},
        notes=tuple(notes),
    )


def measure_case(
    case: TruthCase, bundle: Path, device: str, notes: list[str], *, profile: str = "auto"
) -> list[dict[str, float]]:
    """A row of `COLUMNS` for each segment of a patient that counts."""
    volume, truth = case.volume, case.segments_zyx
    try:
        found = segment(volume, bundle=bundle, device=device, profile=profile)
    except Refused as refused:
        notes.append(f"{case.name} was refused: {refused.reason}")
        return [_missed(number, MISSING) for number in counted(truth, volume.geometry.voxel_volume_ml)]
    scores = relative_variance(found.psv, inference_settings(bundle))
    rows = []
    for number in counted(truth, volume.geometry.voxel_volume_ml):
        if number not in found.psv or not (found.segments_zyx == number).any():
            notes.append(f"{case.name}: {SEGMENTS[number - 1].name} was not found")
            rows.append(_missed(number, 0.0))
            continue
        row = compare(
            truth == number, found.segments_zyx == number, volume.hu_zyx, volume.geometry.spacing_mm_zyx
        )
        rows.append(
            row
            | {
                "structure": float(SEGMENTS[number - 1].class_value),
                "psv": found.psv[number],
                "predictive_dice": found.predictive_dice[number],
                "relative_variance": scores.get(number, MISSING),
            }
        )
    for number in invented(truth, found.segments_zyx, volume.geometry.voxel_volume_ml):
        notes.append(f"{case.name}: {SEGMENTS[number - 1].name} was found and is not there")
        rows.append(
            _missed(number, scores.get(number, MISSING))
            | {
                "volume_percent": MISSING,
                "psv": found.psv.get(number, MISSING),
                "predictive_dice": found.predictive_dice.get(number, MISSING),
            }
        )
    return rows


def counted(truth_zyx: NDArray[np.uint8], voxel_ml: float) -> list[int]:
    """Numbers of the segments of which enough is in the field of view."""
    sizes = np.bincount(truth_zyx.ravel(), minlength=len(SEGMENTS) + 1) * voxel_ml
    return [number for number in range(1, len(SEGMENTS) + 1) if sizes[number] >= LEAST_ML]


def invented(truth_zyx: NDArray[np.uint8], found_zyx: NDArray[np.uint8], voxel_ml: float) -> list[int]:
    """Numbers of the segments of which `LEAST_ML` was found and nothing is in the field of view.

    >>> truth, found = np.array([[[1, 1, 3, 0]]]), np.array([[[1, 2, 3, 4]]])
    >>> invented(truth, found, 3.0), invented(truth, found, 2.9)
    ([2, 4], [])
    """
    there = set(np.unique(truth_zyx).tolist())
    return [number for number in counted(found_zyx, voxel_ml) if number not in there]


def compare(
    truth: NDArray[np.bool_],
    found: NDArray[np.bool_],
    hu_zyx: NDArray[np.float32],
    spacing_mm_zyx: tuple[float, float, float],
) -> dict[str, float]:
    """Dice, surface distance, volume and attenuation of one segment against the truth."""
    box = tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(truth | found))
    truth, found, hu = truth[box], found[box], hu_zyx[box]
    sizes = int(truth.sum()), int(found.sum())
    return {
        "dice": 2 * int((truth & found).sum()) / sum(sizes),
        "asd_mm": average_surface_distance_mm(found, truth, spacing_mm_zyx),
        "volume_percent": 100 * (sizes[1] - sizes[0]) / sizes[0],
        "hu": float(hu[found].mean() - hu[truth].mean()),
    }


def _missed(number: int, relative: float) -> dict[str, float]:
    return dict.fromkeys(COLUMNS, MISSING) | {
        "structure": float(SEGMENTS[number - 1].class_value),
        "dice": 0.0,
        "volume_percent": -100.0,
        "relative_variance": relative,
    }


def correlations(columns: Columns) -> dict[int, float]:
    """Pearson's r between PSV and Dice by class value, of structures with enough values."""
    out = {}
    for value in range(1, len(STRUCTURES) + 1):
        of = (columns["structure"] == value) & np.isfinite(columns["psv"])
        psv, dice = columns["psv"][of], columns["dice"][of]
        if len(psv) >= LEAST_FOR_CORRELATION and psv.std() > 0 and dice.std() > 0:
            out[value] = float(np.corrcoef(psv, dice)[0, 1])
    return out


def mean_correlation(columns: Columns) -> float:
    """Mean over structures of the absolute correlation."""
    found = [abs(r) for r in correlations(columns).values()]
    return float(np.mean(found)) if found else MISSING


def failure_auroc(limit: float) -> Callable[[Columns], float]:
    """Area under the curve of telling failed segments by their relative variance.

    >>> rows = {"dice": np.array([0.2, 0.9]), "relative_variance": np.array([3.0, 1.0])}
    >>> failure_auroc(0.7)(rows)
    1.0
    """

    def statistic(columns: Columns) -> float:
        known = np.isfinite(columns["relative_variance"])
        failed = columns["dice"][known] < limit
        if failed.all() or not failed.any():
            return MISSING
        return float(roc_auc_score(failed, columns["relative_variance"][known]))

    return statistic


def describe_counts(columns: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """What the numbers are means of, and the sign of the correlations."""
    found = list(correlations(columns).values())
    distances, attenuations, known = (
        int(np.isfinite(columns[name]).sum()) for name in ("asd_mm", "hu", "relative_variance")
    )
    told = (
        f"mean {np.mean(found):+.2f}, below 0 for {sum(r < 0 for r in found)} of {len(found)} structures"
        if found
        else "not known"
    )
    return [
        f"{len(columns['dice'])} segments; surface distance of {distances} of them, attenuation of "
        f"{attenuations}, in failure_auroc {known}",
        "uncertainty_r takes the absolute values of the correlations; with their signs (below 0: uncertain "
        f"where Dice is low) {told}; {len(STRUCTURES) - len(found)} structures have too few values",
    ]


def describe_failures(columns: Mapping[str, NDArray[np.float64]], limit: float) -> list[str]:
    """How many segments failed, and how many of them are not told by the flag."""
    failed = columns["dice"] < limit
    flagged = columns["relative_variance"] > 1
    return [
        f"{int(failed.sum())} of {len(failed)} segments have Dice below {limit:.2f}; the flag for low "
        f"confidence is on {int((failed & flagged).sum())} of them and on "
        f"{int((~failed & flagged).sum())} others; {int(np.isnan(columns['psv']).sum())} were not found"
    ]


def describe_structures(columns: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """A line for each structure."""
    found = correlations(columns)
    lines = []
    for value, structure in enumerate(STRUCTURES, start=1):
        of: dict[str, Any] = {n: c[columns["structure"] == value] for n, c in columns.items()}
        if len(of["dice"]):
            lines.append(
                f"{structure.name}: Dice {of['dice'].mean():.3f}, ASD {np.nanmean(of['asd_mm']):.2f} mm, "
                f"volume {np.nanmean(of['volume_percent']):+.1f} %, {np.nanmean(of['hu']):+.1f} HU, "
                f"r {found.get(value, MISSING):+.2f}, n {len(of['dice'])}"
            )
    return lines
