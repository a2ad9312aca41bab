"""RGB frames to an MP4 whose H.264 stream fits DICOM's High Profile, Level 4.1 (PS3.5 8.2.7)."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from operators.video.photographic import Codec, StreamFacts

CONSTANT_RATE_FACTOR = 23
"""x264's own measure of quality; lower is better and larger."""


def write_h264(
    frames: Iterable[NDArray[np.uint8]], frame_rate: Fraction, *, quality: int = CONSTANT_RATE_FACTOR
) -> tuple[bytes, StreamFacts]:
    """The MP4 with these frames, and its facts; the same frames give the same bytes.

    Args:
        frames: ``(row, column, 3)`` uint8 RGB each, all of one size; odd sides lose their last row or column.
        frame_rate: Frames per second.
        quality: Constant rate factor.

    Raises:
        ValueError: There is no frame.
    """
    buffer = io.BytesIO()
    count, rows, columns = 0, 0, 0
    options = {
        "crf": str(quality), "preset": "veryfast", "profile": "high", "level": "4.1",
        "x264-params": "keyint=60:threads=1",
    }  # fmt: skip
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=frame_rate, options=options)
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            if not count:
                rows, columns = (side - side % 2 for side in frame.shape[:2])
                stream.height, stream.width = rows, columns
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:rows, :columns]), format="rgb24")
            picture.pts = count
            container.mux(stream.encode(picture))
            count += 1
        if count:
            container.mux(stream.encode())
    if not count:
        raise ValueError("a video needs at least one frame")
    data = buffer.getvalue()
    facts = StreamFacts(
        codec=Codec.H264,
        columns=columns,
        rows=rows,
        frames=count,
        frame_rate=frame_rate,
        byte_count=len(data),
    )
    return data, facts
