"""The frames of a video object or file, one at a time, as RGB."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from operators.errors import Refused
from operators.video.encapsulate import stream_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """A video object: its header, and the bit stream that it holds.

    Args:
        header: Everything but the pixels.
        stream: The bit stream with its container.
        frame_rate: Frames per second, by the header.
    """

    header: Dataset
    stream: bytes
    frame_rate: float

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """``(row, column, 3)`` uint8 RGB of each frame, every time from the start.

        Raises:
            Refused: The stream cannot be decoded, or ends early.
        """
        return decoded(self.stream)


def read_video(path: Path) -> Video:
    """The video in a DICOM file.

    Raises:
        Refused: The object holds no video stream, or says nothing of its frame rate.
    """
    dataset = dcmread(path)
    value = dataset.get("PixelData")
    if not value:
        raise Refused("the object holds no video", attribute="PixelData")
    try:
        stream = stream_of(value)
    except ValueError as error:
        raise Refused(str(error), attribute="PixelData") from error
    del dataset.PixelData
    return Video(header=dataset, stream=stream, frame_rate=frame_rate_of(dataset))


def frame_rate_of(header: Dataset) -> float:
    """Frames per second by Frame Time, else by Cine Rate (PS3.3 C.7.6.5).

    Raises:
        Refused: Neither is there, or it is out of reason.
    """
    frame_time = float(header.get("FrameTime") or 0)
    rate = 1000 / frame_time if frame_time > 0 else float(header.get("CineRate") or 0)
    if not 1 <= rate <= 1000:
        raise Refused("the frame rate of the video is not known", attribute="FrameTime")
    return rate


def decoded(stream: bytes) -> Iterator[NDArray[np.uint8]]:
    """``(row, column, 3)`` uint8 RGB of each frame of a bit stream.

    Raises:
        Refused: There is no video in it, or it cannot be decoded.
    """
    count = 0
    try:
        with av.open(io.BytesIO(stream), "r") as container:
            if not container.streams.video:
                raise Refused("the stream holds no video", attribute="PixelData")
            for frame in container.decode(video=0):
                count += 1
                yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except FFmpegError as error:
        raise Refused(f"the video cannot be decoded after frame {count}", attribute="PixelData") from error
    if not count:
        raise Refused("the video has no frame that can be decoded", attribute="NumberOfFrames")
