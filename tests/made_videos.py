"""Videos for tests, made on the spot: moving shapes in any coding, size, rate and container."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

X264_HIGH_41 = {"preset": "ultrafast", "profile": "high", "level": "4.1", "x264-params": "8x8dct=1:cabac=1"}
AUDIO_RATE = 44_100


def picture(index: int, width: int, height: int) -> np.ndarray:
    """A frame: (y, x, rgb) uint8. Red at the top left, blue below, a white bar that moves to the right."""
    rgb = np.full((height, width, 3), 60, np.uint8)
    rgb[: height // 2, : width // 2] = (220, 30, 30)
    rgb[height // 2 :, : width // 2] = (30, 30, 220)
    at = index * 4 % max(width - 8, 1)
    rgb[height // 4 : height // 2, at : at + 8] = 255
    return rgb


def make_video(
    path: Path,
    *,
    frames: int = 30,
    size: tuple[int, int] = (320, 240),
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    ticks: Sequence[int] | None = None,
    rotation: int = 0,
    sound: str = "",
    metadata: dict[str, str] | None = None,
) -> Path:
    """A video file, its container by the name's ending.

    Args:
        path: To write.
        frames: How many.
        size: Width and height, pixels.
        rate: Frames per second.
        codec: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name.
        options: Of the encoder; H.264 defaults to what DICOM takes.
        ticks: When frames are shown, in units of a hundredth of a frame; default: constant rate.
        rotation: Degrees counter-clockwise that the container asks to turn the picture by.
        sound: Encoder of a tone, such as ``aac``; none without it.
        metadata: Of the container.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"} if metadata else {}) as output:
        for name, value in (metadata or {}).items():
            output.metadata[name] = value
        chosen = options if options is not None else (X264_HIGH_41 if codec == "libx264" else {})
        stream = output.add_stream(codec, rate=Fraction(rate), options=dict(chosen))
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        scale = 1 if ticks is None else 100
        stream.codec_context.time_base = 1 / (Fraction(rate) * scale)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = output.add_stream(sound, rate=AUDIO_RATE, layout="stereo") if sound else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = ticks[index] if ticks is not None else index
            frame.time_base = stream.codec_context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if tone is not None:
            _add_tone(output, tone, frames / float(rate))
    return path


def _add_tone(output: av.container.OutputContainer, tone: av.AudioStream, seconds: float) -> None:
    size = tone.codec_context.frame_size or 1024
    for start in range(0, int(seconds * AUDIO_RATE), size):
        wave = np.sin(2 * np.pi * 440 * np.arange(start, start + size) / AUDIO_RATE).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
        output.mux(tone.encode(frame))
    output.mux(tone.encode(None))


def make_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with a tone and no pictures."""
    with av.open(str(path), "w") as output:
        _add_tone(output, output.add_stream("aac", rate=AUDIO_RATE, layout="stereo"), seconds)
    return path


def decoded(path: Path) -> list[np.ndarray]:
    """Every frame as (y, x, rgb) uint8, as coded: without turning it."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets(path: Path) -> list[bytes]:
    """Every coded picture, in coding order."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def streams(path: Path) -> list[str]:
    """Kinds of the streams of a file."""
    with av.open(str(path)) as container:
        return [stream.type for stream in container.streams]


def colours(image: np.ndarray, points: Iterable[tuple[float, float]]) -> list[str]:
    """Which of red, blue and grey is at points (x, y), as shares of width and height."""
    height, width, _ = image.shape
    names = []
    for x, y in points:
        red, green, blue = (int(v) for v in image[int(y * height), int(x * width)])
        names.append("red" if red > 2 * blue else "blue" if blue > 2 * red else "grey")
        assert green < 120
    return names
