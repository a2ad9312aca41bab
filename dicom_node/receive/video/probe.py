"""Reads of a video file what decides how it can be wrapped; decodes only a few frames of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error
import av.logging
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.video.stream import VideoStream

from dicom_node.errors import Refused
from dicom_node.receive.video import h264
from dicom_node.receive.video.mp4 import is_bare
from dicom_node.receive.video.timing import Timing, peak_bits_per_s, timing_of
from dicom_node.receive.video.turn import Turn, turn_of

CONTAINERS: Final = "mov,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,mxf,ivf"
"""Forms of video file that are read. No playlist or picture series: those name other files."""

LARGEST_PICTURE: Final = 8192 * 4320
"""Pixels of a frame; more is not a camera's but meant to fill memory."""

LONGEST_TITLE: Final = 64
"""Characters of maker and model; LO (PS3.5 6.2)."""

_CHECKED_KEY_FRAMES: Final = 24
_ATTACHED_PICTURE: Final = av.stream.Disposition.attached_pic
_INDEXED: Final = ("mp4", "matroska")
"""Containers in which a key frame can be found by its time."""

_FULL_RANGE: Final = 2
"""Value of color_range, ITU-T H.273."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a video file is.

    Attributes:
        container: Its form, as FFmpeg names it.
        is_bare: Its container holds the pictures, and sound, and nothing else; see `mp4.is_bare`.
        has_other_streams: It holds subtitles, data or further pictures.
        codec: Of the pictures.
        sps: Of an H.264 stream; None for any other.
        pixel_format: Of the decoded pictures.
        is_full_range: Its samples use 0 to 255 and not 16 to 235.
        is_rgb: Its pictures are not luminance and chrominance.
        width: Of the decoded picture, before any turning, pixels.
        height: Likewise.
        pixel_aspect: Width to height of a pixel.
        turn: How the picture is to be turned for display.
        is_interlaced: A frame holds two fields of different times.
        frame_count: Coded frames, also those that the container hides.
        hidden_frames: Frames that the container says not to show.
        timing: When frames are shown.
        ticks: When each coded frame is shown, in coding order, on the container's clock.
        peak_bits_per_s: The most in any second.
        audio_codec: Of the sound; empty when there is none.
        audio_channels: Number of its channels.
        recorded_at: When, if the file says so.
        maker: Of the camera, if the file says so.
        model: Likewise.
        damage: What is wrong with the coded pictures; empty when nothing was found.
    """

    container: str
    is_bare: bool
    has_other_streams: bool
    codec: str
    sps: h264.SequenceParameters | None
    pixel_format: str
    is_full_range: bool
    is_rgb: bool
    width: int
    height: int
    pixel_aspect: Fraction
    turn: Turn
    is_interlaced: bool
    frame_count: int
    hidden_frames: int
    timing: Timing
    ticks: tuple[int, ...] = field(repr=False)
    peak_bits_per_s: float
    audio_codec: str
    audio_channels: int
    recorded_at: datetime | None
    maker: str
    model: str
    damage: str


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its stream of pictures.

    Raises:
        Refused: It is no video file that can be read; the message says what it is instead.
    """
    av.logging.set_level(av.logging.PANIC)  # what is wrong is said by us, once
    if path.stat().st_size == 0:
        raise Refused("the file is empty")
    try:
        container = av.open(
            str(path.resolve()),
            options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused(
            "the file cannot be read as a video: it is no video file of a known form, damaged, or cut off "
            f"before its index ({getattr(error, 'strerror', None) or error})"
        ) from None
    with container:
        yield container, _pictures_of(container)


def _pictures_of(container: InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & _ATTACHED_PICTURE]
    if not streams:
        has_sound = bool(container.streams.audio)
        raise Refused(
            "the file has sound but no pictures" if has_sound else "the file has no stream of pictures"
        )
    stream = streams[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > LARGEST_PICTURE:
        raise Refused(f"its frames have {width} x {height} pixels; at most {LARGEST_PICTURE} are read")
    return stream


@dataclass(slots=True)
class _Packets:
    """What the coded pictures of a file are, in coding order; `shown` are the times of those not hidden."""

    ticks: list[int]
    shown: list[int]
    sizes: list[int]
    key_ticks: list[int]
    hidden: int = 0
    broken: int = 0
    untimed: int = 0


def probe(path: Path) -> VideoFacts:
    """What a video file is.

    Reads all coded pictures and checks their structure; decodes the first frame and some key
    frames over its length.

    Raises:
        Refused: It is no video, or has fewer than two frames.
    """
    with open_video(path) as (container, stream):
        sps, length_bytes = _sps_of(stream)
        packets = _read_packets(container, stream, length_bytes)
        _require_frames(packets, stream)
        timing = _timing(packets, stream)
        first, damage = _decode_some(container, stream, packets.key_ticks)
        audio = container.streams.audio[0] if container.streams.audio else None
        with path.open("rb") as file:
            bare = is_bare(file)
        tags = {str(key).lower(): str(value) for key, value in container.metadata.items()}
        return VideoFacts(
            container=container.format.name,
            is_bare=bare,
            has_other_streams=len(container.streams) != 1 + (audio is not None),
            codec=stream.codec_context.name,
            sps=sps,
            pixel_format=first.format.name,
            is_full_range=first.color_range == _FULL_RANGE or first.format.name.startswith("yuvj"),
            is_rgb=bool(first.format.is_rgb),
            width=first.width,
            height=first.height,
            pixel_aspect=_pixel_aspect(stream, sps),
            turn=_turn_of(first),
            is_interlaced=bool(first.interlaced_frame) or (sps is not None and not sps.is_progressive),
            frame_count=len(packets.sizes),
            hidden_frames=packets.hidden,
            timing=timing,
            ticks=tuple(packets.ticks),
            peak_bits_per_s=peak_bits_per_s(packets.ticks, packets.sizes, _time_base(stream)),
            audio_codec=audio.codec_context.name if audio else "",
            audio_channels=audio.codec_context.channels if audio else 0,
            recorded_at=_recorded_at(
                tags.get("com.apple.quicktime.creationdate") or tags.get("creation_time")
            ),
            maker=(tags.get("com.apple.quicktime.make") or tags.get("make", ""))[:LONGEST_TITLE],
            model=(tags.get("com.apple.quicktime.model") or tags.get("model", ""))[:LONGEST_TITLE],
            damage=_damage(packets, stream) or damage,
        )


def _turn_of(frame: Any) -> Turn:
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    return turn_of(None if matrix is None else bytes(matrix))


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 90_000)


def _sps_of(stream: VideoStream) -> tuple[h264.SequenceParameters | None, int | None]:
    if stream.codec_context.name != "h264":
        return None, None
    extradata = bytes(stream.codec_context.extradata or b"")
    try:
        return h264.sps_of(extradata), h264.nal_length_bytes(extradata)
    except h264.NotH264:
        return None, None


def _read_packets(container: InputContainer, stream: VideoStream, length_bytes: int | None) -> _Packets:
    packets = _Packets([], [], [], [])
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            tick = packet.pts if packet.pts is not None else packet.dts
            packets.untimed += tick is None
            packets.ticks.append(0 if tick is None else tick)
            packets.sizes.append(packet.size)
            if packet.is_discard:
                packets.hidden += 1
            else:
                packets.shown.append(packets.ticks[-1])
            is_whole = length_bytes is None or h264.is_whole_picture(bytes(packet), length_bytes)
            packets.broken += packet.is_corrupt or not is_whole
            if packet.is_keyframe and tick is not None:
                packets.key_ticks.append(tick)
    except av.error.FFmpegError as error:
        raise Refused(f"the file is damaged: after {len(packets.sizes)} frames, {error.strerror}") from None
    return packets


def _require_frames(packets: _Packets, stream: VideoStream) -> None:
    count = len(packets.shown)
    if count == 0:
        promised = f" although its index names {stream.frames}" if stream.frames else ""
        raise Refused(f"the video has no frame{promised}")
    if count == 1:
        raise Refused("the video has a single frame: it is a picture and has no frame time")


def _timing(packets: _Packets, stream: VideoStream) -> Timing:
    base = _time_base(stream)
    rate = stream.average_rate or stream.guessed_rate
    if packets.untimed or len(set(packets.shown)) != len(packets.shown):
        if not rate:
            raise Refused("the file says neither when its frames are shown nor at which rate")
        return Timing(Fraction(rate), is_constant=False, duration_s=float(len(packets.shown) / rate))
    return timing_of(packets.shown, base)


def _pixel_aspect(stream: VideoStream, sps: h264.SequenceParameters | None) -> Fraction:
    said = stream.sample_aspect_ratio or Fraction(0)
    return Fraction(said) if said > 0 else (sps.sample_aspect_ratio if sps else Fraction(1))


def _decode_some(container: InputContainer, stream: VideoStream, key_ticks: list[int]) -> tuple[Any, str]:
    """The first frame, and what keeps frames over the video's length from being decoded."""
    container.seek(0)
    first = _next_frame(container, stream)
    if first is None:
        raise Refused(f"no frame of the video can be decoded ({stream.codec_context.name})")
    if not any(form in container.format.name for form in _INDEXED):
        return first, ""
    step = max(len(key_ticks) // _CHECKED_KEY_FRAMES, 1)
    for tick in sorted(key_ticks)[step::step]:
        container.seek(tick, stream=stream)
        frame = _next_frame(container, stream)
        at_s = float(tick * _time_base(stream))
        if frame is None:
            return first, f"the frame at {at_s:.1f} s cannot be decoded"
        if (frame.width, frame.height) != (first.width, first.height):
            return first, f"the size of its frames changes before {at_s:.1f} s"
    return first, ""


def _next_frame(container: InputContainer, stream: VideoStream) -> Any:
    """The frame at which the file stands; None when it, or all that follow, cannot be decoded."""
    try:
        frame = next(container.decode(stream), None)
    except av.error.FFmpegError:
        return None
    return None if frame is None or frame.is_corrupt else frame


def _damage(packets: _Packets, stream: VideoStream) -> str:
    count = len(packets.sizes)
    if stream.frames > count and "mp4" in stream.container.format.name:
        return f"it is cut off: its index names {stream.frames} frames, {count} are there"
    if packets.broken:
        return f"{packets.broken} of its {count} coded frames are damaged"
    return ""


def _recorded_at(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if at is None or at.year < 1990:  # an unset clock: 1904 is the zero of MP4, 1970 that of the camera
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
