"""Evaluation of a bundle on case folders, patient-wise, with bootstrap intervals.

Every case goes the way that the app goes, from the video to the score, refusals included. For
phantoms the folder should hold hospital B: seeds from 100000 on and ``--shift``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from apps.gait_ataxia import app
from apps.gait_ataxia.findings import Findings
from operators.evaluate import Evaluation
from operators.evaluate.bootstrap import Columns, bootstrap, determination, mean_of
from operators.evaluate.cases import Row, measure_patients
from operators.job import AnalysisJob
from operators.read.case_folders import read_truth
from operators.select.digests import bundle_digest

MISSING = float("nan")


def evaluate(data: Path, *, bundle: Path, device: str = "auto") -> Evaluation:
    """The metrics of the outside interface over the cases of a folder, the baseline's beside them.

    ``mae``, ``r2`` and ``icc`` compare the estimated SARA total with the true one; ``ridge_*`` the
    ridge regression on gait parameters. ``coverage`` is the share of patients in their interval.
    Where the truth is there: ``cadence_error`` (steps per minute) and ``stride_time_error``
    (percent) are medians of absolute errors, ``joint_error`` the median distance of a point from
    its joint in percent of the body's height. A refused case counts in ``refused`` only.

    Raises:
        FileNotFoundError: The folder holds no case.
        BrokenBundle: The bundle cannot be used.
    """

    def measure(case: Film, _notes: list[str]) -> Row:
        return {"refused": 0.0, **compared(analysed(case.video, bundle, device), case.truth)}

    rows = measure_patients(data, read_film, measure, lambda _case: {"refused": 1.0})
    columns, patients = rows.columns("sara", "found", "ridge"), rows.patient_ids
    metrics = {
        name: bootstrap(columns, statistic, patient_ids=patients)
        for name, statistic in statistics(list(columns)).items()
    }
    return Evaluation(
        app="gait_ataxia",
        n=len(set(patients)),
        model_digest=bundle_digest(bundle),
        metrics=metrics,
        notes=tuple(rows.notes),
    )


@dataclass(frozen=True, kw_only=True)
class Film:
    """A case whose points are not estimated yet.

    Args:
        name: Of its folder.
        patient_id: From the object.
        video: The object.
        truth: Of truth.json.
    """

    name: str
    patient_id: str
    video: Path
    truth: dict[str, Any]


def read_film(folder: Path) -> Film:
    """The video of a case folder, not decoded."""
    video = next(iter(sorted((folder / "dicom").rglob("*.dcm"))))
    patient_id = str(dcmread(video, stop_before_pixels=True).PatientID)
    return Film(name=folder.name, patient_id=patient_id, video=video, truth=read_truth(folder))


def statistics(names: list[str]) -> dict[str, Callable[[Columns], float]]:
    """Name of a metric to what computes it of the columns that are there."""
    out: dict[str, Callable[[Columns], float]] = {
        "mae": mean_absolute("sara", "found"),
        "r2": determination("sara", "found"),
        "icc": agreement("sara", "found"),
        "ridge_mae": mean_absolute("sara", "ridge"),
        "ridge_r2": determination("sara", "ridge"),
        "ridge_icc": agreement("sara", "ridge"),
        "coverage": mean_of("covered"),
        "refused": mean_of("refused"),
    }
    for name in ("cadence_error", "stride_time_error", "joint_error"):
        if name in names:
            out[name] = median_of(name)
    out["tracked"] = mean_of("tracked")
    return {
        name: statistic
        for name, statistic in out.items()
        if name not in {"coverage", "tracked"} or "covered" in names
    }


def analysed(video: Path, bundle: Path, device: str) -> Findings:
    """What the app finds in a video.

    Raises:
        Refused: As the app refuses.
    """
    job = AnalysisJob(
        app="gait_ataxia",
        app_dir=Path(__file__).parent,
        bundle_dir=bundle,
        inputs={"walk": [video]},
        input_digest="",
        output_dir=Path(),
        device=device,
    )
    opened = app.decode(job)
    scene = app.see_people(opened)
    pose = app.find_points(job, opened, scene)
    return app.analyse(job, opened, scene, app.track(opened, scene, pose))


def compared(found: Findings, truth: dict[str, Any]) -> Row:
    """What one patient contributes, by column; absent where the case has no truth for it."""
    estimate, sara = found.estimate, float(truth["sara_total"])
    row = {
        "sara": sara,
        "found": estimate.sara,
        "ridge": MISSING if estimate.ridge is None else estimate.ridge,
        "covered": float(estimate.low <= sara <= estimate.high),
        "tracked": found.tracked_share,
    }
    gait = truth.get("gait")
    if gait:
        values = found.parameters.values
        row["cadence_error"] = abs(values["cadence_per_min"] - gait["cadence_per_min"])
        row["stride_time_error"] = 100 * abs(values["stride_time_s"] / gait["stride_time_s"] - 1)
    if "joints_px" in truth:
        row["joint_error"] = joint_error_percent(found, np.array(truth["joints_px"]))
    return row


def joint_error_percent(found: Findings, joints_px: NDArray[np.float64]) -> float:
    """Median distance of points from their joints in percent of the body's height in the picture."""
    frames = min(len(joints_px), len(found.pose.points))
    true, points = joints_px[:frames], found.pose.points[:frames]
    height = true[..., 1].max(axis=1) - true[..., 1].min(axis=1)
    distance = np.linalg.norm(points[..., :2] - true, axis=2) / height[:, None]
    return float(100 * np.median(distance[points[..., 2] > 0]))


def mean_absolute(truth: str, estimate: str) -> Callable[[Columns], float]:
    """The mean absolute error of the patients with both values."""

    def statistic(rows: Columns) -> float:
        error = np.abs(rows[estimate] - rows[truth])
        known = error[np.isfinite(error)]
        return float(known.mean()) if known.size else MISSING

    return statistic


def median_of(name: str) -> Callable[[Columns], float]:
    """The median of a column, rows without a value left out."""

    def statistic(rows: Columns) -> float:
        known = rows[name][np.isfinite(rows[name])]
        return float(np.median(known)) if known.size else MISSING

    return statistic


def agreement(truth: str, estimate: str) -> Callable[[Columns], float]:
    """ICC(2,1): absolute agreement of two raters, two-way random effects (Shrout and Fleiss).

    >>> agreement("t", "e")({"t": np.array([1.0, 2.0, 3.0]), "e": np.array([1.0, 2.0, 3.0])})
    1.0
    """

    def statistic(rows: Columns) -> float:
        known = np.isfinite(rows[truth]) & np.isfinite(rows[estimate])
        ratings = np.stack([rows[truth][known], rows[estimate][known]], axis=1)
        n, k = ratings.shape
        if n < 3:
            return MISSING
        grand = ratings.mean()
        between_rows = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
        between_raters = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
        total = ((ratings - grand) ** 2).sum()
        error = (total - between_rows * (n - 1) - between_raters * (k - 1)) / ((n - 1) * (k - 1))
        bottom = between_rows + (k - 1) * error + k * (between_raters - error) / n
        return float((between_rows - error) / bottom) if bottom > 0 else MISSING

    return statistic
