"""Hide the faces in a video: found by a face detector and by where poses have heads.

A face that looks to the side or is far away is missed by a face detector, so that heads are hidden
by their poses as well, also in the frames between those where they were found. The pose estimator
follows one person; each that is found is covered, and the next one looked for.
Models are those in MediaPipe's wheel: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from operators.errors import Refused
from operators.pose.body25 import Joint, PoseSeries
from operators.pose.estimate import MediaPipePose
from operators.pose.native_logs import quiet_native_logs
from operators.video.photographic import LEVEL_4_2, level_for

LEAST_FACE_SCORE: Final = 0.3
"""Below the detector's usual 0.5: a wall that is hidden costs less than a face that is not."""

FACE_MARGIN: Final = 1.6
"""Radius of what is hidden, in half the longer sides of a found face."""

HEAD_IN_TRUNKS: Final = 0.38
"""Radius of a head with hair, in lengths from neck to middle hip."""

HEAD_IN_SPREADS: Final = 1.8
"""Radius of a head, in the largest distances of nose, eyes and ears from their middle."""

KEPT_S: Final = 0.25
"""How long before and after it was found a face is hidden where it was found."""

LONGEST_GAP_S: Final = 1.5
"""Between two frames with a pose, up to which the head is taken to have moved evenly."""

BLOCKS: Final = 5
"""Blocks across a hidden face: too few to tell who it is."""

MOST_PEOPLE: Final = 4
"""That are followed; each costs one more look at the whole video."""

LEAST_SEEN_S: Final = 0.2
"""A pose seen in fewer frames is no person, and nobody else is looked for."""

COVER_MARGIN: Final = 0.1
"""Of a person's height, about the points that are known."""

_HEAD: Final = (Joint.NOSE, Joint.R_EYE, Joint.L_EYE, Joint.R_EAR, Joint.L_EAR)


@dataclass(frozen=True, slots=True)
class Circle:
    """What is hidden: centre (x, y) and radius, pixels."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Hidden:
    """What was hidden.

    Attributes:
        frames: Number of frames.
        frames_with_face: In how many of them something was hidden.
    """

    frames: int
    frames_with_face: int


def blur_faces(source: Path, target: Path) -> Hidden:
    """Write the video with its faces hidden; H.264 High profile in an MP4, sound as it was.

    Args:
        source: Upright, of constant rate.
        target: An MP4.

    Raises:
        Refused: It cannot be decoded, or no face is found in any frame.
    """
    try:
        with av.open(str(source)) as container:
            rate = Fraction(container.streams.video[0].average_rate or 0)
        if not rate:
            raise Refused("the video says no frame rate")
        faces, people = find_faces(source, rate)
        hidden = spread(faces, round(KEPT_S * rate))
        for poses in people:
            for circles, head in zip(hidden, heads(poses, round(LONGEST_GAP_S * rate)), strict=True):
                circles.extend([] if head is None else [head])
        covered = sum(bool(circles) for circles in hidden)
        if not covered:
            raise Refused("no face was found in any frame: nothing can be hidden; look at the video")
        _write(source, target, rate, hidden)
    except FFmpegError as error:
        raise Refused(f"the video cannot be decoded: {error.strerror}") from error
    return Hidden(len(hidden), covered)


def find_faces(source: Path, rate: Fraction) -> tuple[list[list[Circle]], list[PoseSeries]]:
    """Circles about the faces of each frame, and the poses of people, one series for each."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    with (
        quiet_native_logs(),
        FaceDetection(min_detection_confidence=LEAST_FACE_SCORE, model_selection=1) as detector,
    ):
        faces = [
            [_circle(found, frame.shape) for found in detector.process(frame).detections or ()]
            for frame in _decoded(source)
        ]
    people: list[PoseSeries] = []
    while len(people) < MOST_PEOPLE:
        poses = MediaPipePose().estimate(_WithoutPeople(source, people), float(rate))
        people.append(poses)
        if np.count_nonzero((poses.points[..., 2] > 0).any(axis=1)) < LEAST_SEEN_S * rate:
            break
    return faces, people


class _WithoutPeople:
    """The frames of a video with those people covered who are known; can be gone through again."""

    def __init__(self, source: Path, people: Sequence[PoseSeries]) -> None:
        self._source = source
        self._people = tuple(people)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for index, frame in enumerate(_decoded(self._source)):
            yield _covered(frame, [poses.points[index] for poses in self._people])


def _covered(frame: NDArray[np.uint8], people: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """The frame with grey boxes over people who are known already."""
    covered = frame.copy() if people else frame
    for points in people:
        seen = points[points[:, 2] > 0, :2]
        if len(seen):
            margin = COVER_MARGIN * float((seen.max(axis=0) - seen.min(axis=0)).max())
            left, top = np.maximum(seen.min(axis=0) - margin, 0).astype(int)
            right, bottom = (seen.max(axis=0) + margin).astype(int)
            covered[top:bottom, left:right] = 128
    return covered


def _circle(found: Any, shape: tuple[int, ...]) -> Circle:
    box = found.location_data.relative_bounding_box
    rows, columns = shape[:2]
    width, height = box.width * columns, box.height * rows
    x, y = box.xmin * columns + width / 2, box.ymin * rows + height / 2
    return Circle(x, y, FACE_MARGIN * max(width, height) / 2)


def spread(found: Sequence[Sequence[Circle]], kept: int) -> list[list[Circle]]:
    """The circles of each frame with those of the frames up to so many before and after.

    Example:
        >>> [len(circles) for circles in spread([[], [], [Circle(1, 1, 1)], [], [], []], 1)]
        [0, 1, 1, 1, 0, 0]
    """
    return [
        [circle for near in found[max(index - kept, 0) : index + kept + 1] for circle in near]
        for index in range(len(found))
    ]


def heads(poses: PoseSeries, longest_gap: int) -> list[Circle | None]:
    """The head by the pose of each frame, also of frames in gaps of up to so many frames.

    At the ends of what was found the head is taken to stay for half as long.
    """
    seen = {index: circle for index, points in enumerate(poses.points) if (circle := _head(points))}
    filled: list[Circle | None] = [None] * len(poses.points)
    known = sorted(seen)
    for index in range(len(filled)):
        at = int(np.searchsorted(known, index))
        before, after = (known[at - 1] if at else None), (known[at] if at < len(known) else None)
        if after == index:
            filled[index] = seen[index]
        elif before is not None and after is not None and after - before <= longest_gap:
            filled[index] = _between(seen[before], seen[after], (index - before) / (after - before))
        else:
            nearest = min(
                (k for k in (before, after) if k is not None), key=lambda k: abs(k - index), default=None
            )
            if nearest is not None and abs(nearest - index) <= longest_gap // 2:
                filled[index] = seen[nearest]
    return filled


def _head(points: NDArray[np.float32]) -> Circle | None:
    face = points[list(_HEAD)]
    face = face[face[:, 2] > 0, :2]
    if len(face) == 0:
        return None
    middle = face.mean(axis=0)
    radius = HEAD_IN_SPREADS * float(np.linalg.norm(face - middle, axis=1).max())
    neck, hip = points[Joint.NECK], points[Joint.MID_HIP]
    if neck[2] > 0 and hip[2] > 0:
        radius = max(radius, HEAD_IN_TRUNKS * float(np.linalg.norm(neck[:2] - hip[:2])))
    return Circle(float(middle[0]), float(middle[1]), radius) if radius > 0 else None


def _between(first: Circle, second: Circle, share: float) -> Circle:
    def mix(a: float, b: float) -> float:
        return a + (b - a) * share

    radius = max(first.radius, second.radius)
    return Circle(mix(first.x, second.x), mix(first.y, second.y), radius)


def hide(frame: NDArray[np.uint8], circles: Sequence[Circle]) -> NDArray[np.uint8]:
    """The frame with coarse blocks inside of the circles.

    Args:
        frame: ``(row, column, 3)`` uint8 RGB; is changed.
        circles: What to hide.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        >>> hidden = hide(noise.copy(), [Circle(32, 32, 20)])
        >>> bool(hidden[24:40, 24:40].std() < noise.std() / 3), bool((hidden[0] == noise[0]).all())
        (True, True)
    """
    rows, columns = frame.shape[:2]
    for circle in circles:
        left, top = max(int(circle.x - circle.radius), 0), max(int(circle.y - circle.radius), 0)
        right = min(int(circle.x + circle.radius) + 1, columns)
        bottom = min(int(circle.y + circle.radius) + 1, rows)
        if right - left < 1 or bottom - top < 1:
            continue
        part = frame[top:bottom, left:right]
        size = (right - left, bottom - top)
        coarse = cv2.resize(part, (min(BLOCKS, size[0]), min(BLOCKS, size[1])), interpolation=cv2.INTER_AREA)
        blocks = cv2.resize(coarse, size, interpolation=cv2.INTER_NEAREST)
        y, x = np.ogrid[top:bottom, left:right]
        inside = (x - circle.x) ** 2 + (y - circle.y) ** 2 <= circle.radius**2
        part[inside] = blocks[inside]
    return frame


def _decoded(source: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(source)) as container:
        for frame in container.decode(video=0):
            image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            yield image


def _write(source: Path, target: Path, rate: Fraction, hidden: Sequence[Sequence[Circle]]) -> None:
    with (
        av.open(str(source)) as container,
        av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as output,
    ):
        pictures = container.streams.video[0]
        encoder = _encoder(output, pictures, rate)
        sound = {s.index: output.add_stream_from_template(s) for s in container.streams.audio[:1]}
        index = 0
        for packet in container.demux([pictures, *container.streams.audio[:1]]):
            if packet.stream.index in sound:
                if packet.size and packet.dts is not None:
                    packet.stream = sound[packet.stream.index]
                    output.mux(packet)
                continue
            frames: list[Any] = list(packet.decode())
            for frame in frames:
                image = hide(frame.to_ndarray(format="rgb24"), hidden[index])
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture.pts, picture.time_base = index, 1 / rate
                output.mux(encoder.encode(picture))
                index += 1
        output.mux(encoder.encode(None))


def _encoder(output: Any, pictures: Any, rate: Fraction) -> Any:
    context = pictures.codec_context
    level = level_for(context.width, context.height, rate) or LEVEL_4_2
    options = {
        "preset": "veryfast",
        "crf": "18",
        "profile": "high",
        "level": level.name,
        "maxrate": "40M",
        "bufsize": "40M",
    }
    encoder = output.add_stream("libx264", rate=rate, options=options)
    encoder.width, encoder.height, encoder.pix_fmt = context.width, context.height, "yuv420p"
    encoder.codec_context.time_base = 1 / rate
    encoder.codec_context.gop_size = max(round(rate), 1)
    return encoder
