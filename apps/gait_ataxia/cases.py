"""Cases for training and evaluation: folders with ``dicom/`` and ``truth.json``, phantoms' or a site's.

A site's ``truth.json`` needs ``sara_total``; ``sara_items.gait`` helps. What a phantom knows in
addition, joints and heel strikes, is used where it is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from operators.pose.body25 import PoseSeries
from operators.pose.estimate import MediaPipePose, PoseEstimator
from operators.pose.scene import look
from operators.read.case_folders import find_cases, read_truth
from operators.video.photographic import view_of
from operators.video.read_frames import read_video

POSE_FILE = "pose.npz"
"""Points of a case, kept beside its truth because estimating them is slow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One case: what the estimator saw, and what is true.

    Args:
        name: Of its folder.
        patient: Patient ID, so that one patient's clips stay together.
        pose: Points.
        view: Camera view by the object, or None.
        truth: Of ``truth.json``.
    """

    name: str
    patient: str
    pose: PoseSeries
    view: str | None
    truth: dict[str, Any]

    @property
    def sara(self) -> float:
        """SARA total."""
        return float(self.truth["sara_total"])

    @property
    def gait_item(self) -> float:
        """SARA gait item, not a number where it is not given."""
        return float(self.truth.get("sara_items", {}).get("gait", np.nan))


@lru_cache(maxsize=1)
def estimator() -> PoseEstimator:
    """The estimator that the app uses, too."""
    return MediaPipePose()


def load_clips(data: Path) -> Iterator[Clip]:
    """Every case below a folder.

    Raises:
        FileNotFoundError: There is no case.
        ValueError: One has no video or no ``sara_total``.
    """
    for folder in find_cases(data):
        yield load_clip(folder)


def load_clip(folder: Path) -> Clip:
    """The case in a folder; its points are estimated once and then kept there, where that is allowed.

    Raises:
        ValueError: It has no video or no ``sara_total``.
    """
    truth = read_truth(folder)
    if "sara_total" not in truth:
        raise ValueError(f"{folder.name}: truth.json has no sara_total")
    videos = sorted((folder / "dicom").rglob("*.dcm"))
    if len(videos) != 1:
        raise ValueError(f"{folder.name}: one video is needed, {len(videos)} found")
    header = dcmread(videos[0], stop_before_pixels=True)
    return Clip(
        name=folder.name,
        patient=str(header.PatientID),
        pose=_pose(folder, videos[0]),
        view=view_of(header),
        truth=truth,
    )


def _pose(folder: Path, video: Path) -> PoseSeries:
    key = hashlib.sha256(video.read_bytes() + estimator().name.encode() + b"2").hexdigest()
    kept = folder / POSE_FILE
    if kept.is_file():
        with np.load(kept) as saved:
            if str(saved["key"]) == key:
                return PoseSeries(
                    points=saved["points"].astype(np.float32),
                    frame_rate=float(saved["frame_rate"]),
                    columns=int(saved["size"][0]),
                    rows=int(saved["size"][1]),
                    estimator=estimator().name,
                )
    opened = read_video(video)
    walkers = look(opened, opened.frame_rate).walkers
    pose = estimator().estimate(opened, opened.frame_rate, walkers[0] if walkers else None)
    try:
        np.savez_compressed(
            kept, key=key, points=pose.points, frame_rate=pose.frame_rate, size=[pose.columns, pose.rows]
        )
    except OSError:
        kept.unlink(missing_ok=True)  # a folder that cannot be written: estimated again next time
    return pose
