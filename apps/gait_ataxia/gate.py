"""What a walk must be to be analysed; everything else is refused with a sentence."""

from __future__ import annotations

import numpy as np

from apps.gait_ataxia.parameters import GaitParameters
from apps.gait_ataxia.signals import Walk
from operators.errors import Refused
from operators.pose.body25 import Joint, PoseSeries
from operators.pose.scene import LARGEST_MOVE, Scene

LEAST_SECONDS = 3.0
LEAST_STRIDES = 4
LEAST_TRACKED = 0.70
LEAST_TRAVEL_LEGS = 1.6
LEAST_GROWTH = 0.10
"""Change of the logarithm of the size of one who comes or goes."""


def check_scene(scene: Scene, frame_rate: float, promised_frames: int | None) -> None:
    """Refuse a video that is too short, of a moving camera, or of nobody or several people.

    Args:
        scene: What was seen.
        frame_rate: Frames per second.
        promised_frames: Number of Frames of the object.

    Raises:
        Refused: The video cannot be analysed.
    """
    seconds = scene.frame_count / frame_rate
    if promised_frames and scene.frame_count < 0.98 * promised_frames:
        raise Refused(
            f"the video ends after {scene.frame_count} of {promised_frames} frames",
            attribute="NumberOfFrames",
        )
    if seconds < LEAST_SECONDS:
        raise Refused(
            f"the video lasts {seconds:.1f} s, at least {LEAST_SECONDS:.0f} s are needed",
            attribute="NumberOfFrames",
        )
    if scene.camera_move is not None and scene.camera_move > LARGEST_MOVE:
        raise Refused(
            f"the camera moves: the background shifts by {100 * scene.camera_move:.0f} % of the width",
            attribute="PixelData",
        )
    if not scene.people:
        raise Refused("nobody is seen in the video for a second or more", attribute="PixelData")
    if len(scene.walkers) > 1:
        raise Refused(
            f"{len(scene.walkers)} people walk at the same time, one is needed", attribute="PixelData"
        )


def tracked_share(pose: PoseSeries, scene: Scene) -> float:
    """Share of frames with points while the walker is in the picture, 0 to 1."""
    tracked = np.flatnonzero(pose.is_tracked)
    if not tracked.size:
        return 0.0
    first, last = int(tracked[0]), int(tracked[-1])
    if scene.walkers:
        frames = scene.walkers[0].frames
        first, last = min(first, int(frames[0])), max(last, int(frames[-1]))
    return float(pose.is_tracked[first : last + 1].mean())


def check_tracking(share: float) -> None:
    """Refuse a walk that could not be followed.

    Raises:
        Refused: Too few frames have points.
    """
    if share < LEAST_TRACKED:
        raise Refused(
            f"the walker could be followed in {100 * share:.0f} % of the frames, "
            f"{100 * LEAST_TRACKED:.0f} % are needed",
            attribute="PixelData",
        )


def check_walk(walk: Walk | None, parameters: GaitParameters | None, scene: Scene) -> None:
    """Refuse what is no walk, or too little of one.

    Raises:
        Refused: Nobody walks, or for too short a time, or with too few strides.
    """
    if walk is None or parameters is None:
        raise Refused("nobody walks in the video", attribute="PixelData")
    if not scene.walkers and not goes_somewhere(walk):
        raise Refused("nobody walks in the video", attribute="PixelData")
    if walk.duration_s < LEAST_SECONDS:
        raise Refused(
            f"the walk can be followed for {walk.duration_s:.1f} s without a break, "
            f"at least {LEAST_SECONDS:.0f} s are needed",
            attribute="PixelData",
        )
    if parameters.strides < LEAST_STRIDES:
        raise Refused(
            f"{parameters.strides} strides are seen, at least {LEAST_STRIDES} are needed",
            attribute="PixelData",
        )


def goes_somewhere(walk: Walk) -> bool:
    """True for one who crosses the picture, comes or goes."""
    way = walk.points[:, Joint.MID_HIP, 0]
    travel = abs(float(way[-1] - way[0])) / float(np.median(walk.scale))
    growth = abs(float(np.log(walk.scale[-1] / walk.scale[0])))
    return travel > LEAST_TRAVEL_LEGS or growth > LEAST_GROWTH
