"""What the network learns from: clips that the estimator saw, and simulated walks with its errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from apps.gait_ataxia.cases import Clip
from apps.gait_ataxia.features import Features, features_of, walking
from apps.gait_ataxia.phantom import simulate
from apps.gait_ataxia.pose_noise import Errors, errors_of, with_errors
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.pose.body25 import PoseSeries

FIRST_SIMULATED_SEED = 1_000_000
LEAST_STRIDES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One walk to learn from.

    Args:
        features: Of the walk.
        sara: SARA total.
        gait_item: SARA gait item, or not a number.
        patient: Walks of one patient stay together.
        is_seen: True when the estimator saw a video; False for simulated points.
    """

    features: Features
    sara: float
    gait_item: float
    patient: str
    is_seen: bool


def seen_sample(clip: Clip) -> Sample | None:
    """The sample of a clip; None when it cannot be analysed, as the app would refuse it."""
    features = _features(clip.pose, clip.view)
    if features is None:
        return None
    return Sample(
        features=features, sara=clip.sara, gait_item=clip.gait_item, patient=clip.patient, is_seen=True
    )


def error_bank(clips: list[Clip]) -> list[Errors]:
    """The estimator's errors in those clips whose joints are known."""
    return [
        errors_of(
            clip.pose,
            np.array(clip.truth["joints_px"]),
            {side: np.array(times) for side, times in clip.truth["heel_strikes_s"].items()},
            clip.truth["view"],
        )
        for clip in clips
        if "joints_px" in clip.truth
    ]


def simulated_samples(count: int, bank: list[Errors], seed: int) -> Iterator[Sample]:
    """Walks of a wide world with the estimator's errors; none when there is no bank of errors.

    Args:
        count: How many are tried; those without enough strides are left out.
        bank: Errors.
        seed: Of everything random.
    """
    views = {view: [errors for errors in bank if errors.view == view] for view in ("frontal", "sagittal")}
    for number in range(count):
        case = simulate(FIRST_SIMULATED_SEED + seed * 10_000_000 + number, Hospital.ANY)
        camera = case.shot.camera
        if not views[camera.view]:
            continue
        rng = generator(seed, 77, number)
        errors = views[camera.view][int(rng.integers(len(views[camera.view])))]
        pose = with_errors(
            case.joints_px,
            case.motion.strikes,
            errors,
            rng,
            columns=camera.columns,
            rows=camera.rows,
            frame_rate=camera.frame_rate,
        )
        features = _features(pose, camera.view)
        if features is not None:
            yield Sample(
                features=features,
                sara=case.walker.sara,
                gait_item=case.walker.items["gait"],
                patient=f"simulated-{number}",
                is_seen=False,
            )


def _features(pose: PoseSeries, view: str | None) -> Features | None:
    walk = walking(pose, view)
    if walk is None:
        return None
    features, _, parameters = features_of(walk)
    return features if parameters.strides >= LEAST_STRIDES else None
