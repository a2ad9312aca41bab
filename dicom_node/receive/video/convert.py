"""Makes the bit stream of a planned video: copied pictures in a bare MP4, or H.264 made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.stream import VideoStream

from dicom_node.errors import Refused
from dicom_node.receive.video.plan import AUDIO_CODECS, Plan, Way
from dicom_node.receive.video.probe import VideoFacts, open_video

OnProgress = Callable[[float], None]
"""Told the share of the work that is done, 0 to 1."""

CONSTANT_RATE_FACTOR: Final = 18
"""Quality of encoding: differences to the source that are not seen."""

_X264: Final = {"preset": "veryfast", "crf": str(CONSTANT_RATE_FACTOR), "profile": "high"}
_VBV_KBITS: Final = 40_000
_KEY_FRAME_EVERY_S: Final = 1
_PARTIAL_RANGE: Final = 1
_BT709: Final = 1
"""Values of color_range and of primaries, transfer and matrix, ITU-T H.273."""

_REPORTED_EVERY: Final = 30


def convert(source: Path, target: Path, facts: VideoFacts, plan: Plan, on_progress: OnProgress) -> None:
    """Write the bit stream that the plan asks for.

    Args:
        source: The video.
        target: The MP4 to write.
        facts: What the video is.
        plan: What is to be done; with `Way.WHOLE_FILE` the file is copied.
        on_progress: Told how far it is.

    Raises:
        Refused: The pictures cannot be decoded or copied.
    """
    if plan.way is Way.WHOLE_FILE:
        shutil.copyfile(source, target)
        return
    try:
        with (
            open_video(source) as (container, stream),
            av.open(
                str(target),
                "w",
                format="mp4",
                options={"movflags": "+faststart", "avoid_negative_ts": "make_zero"},
            ) as output,
        ):
            if plan.way is Way.COPY_PICTURES:
                _copy(container, stream, output, facts, plan, on_progress)
            else:
                _encode(container, stream, output, facts, plan, on_progress)
    except av.error.FFmpegError as error:
        raise Refused(f"the video cannot be converted: {error.strerror}") from None


def _copy(
    container: InputContainer,
    stream: VideoStream,
    output: OutputContainer,
    facts: VideoFacts,
    plan: Plan,
    on_progress: OnProgress,
) -> None:
    streams = [stream, *(container.streams.audio[:1] if plan.keep_sound else ())]
    copies = {source.index: output.add_stream_from_template(source) for source in streams}
    times = iter(decoding_times(facts.ticks))
    done = 0
    for packet in container.demux(streams):
        if not packet.size:
            continue
        if packet.stream.index == stream.index:
            packet.dts = next(times)  # Matroska stores none
            done += 1
            if done % _REPORTED_EVERY == 0:
                on_progress(done / facts.frame_count)
        packet.stream = copies[packet.stream.index]
        output.mux(packet)


def decoding_times(ticks: Sequence[int]) -> list[int]:
    """When frames are to be decoded, so that each is before it is shown.

    Args:
        ticks: When they are shown, in coding order.

    Example:
        >>> decoding_times([0, 3, 1, 2])
        [-1, 0, 1, 2]
    """
    shown = sorted(ticks)
    early = max((ideal - tick for ideal, tick in zip(shown, ticks, strict=True)), default=0)
    return [ideal - early for ideal in shown]


class _Sound:
    """The sound of a video on its way into the new one: copied where it may stay, else as AAC."""

    def __init__(
        self, container: InputContainer, output: OutputContainer, *, keep: bool, start_s: float
    ) -> None:
        self._source = container.streams.audio[0] if keep else None
        self._start_s = start_s
        self._output = output
        self._resampler: AudioResampler | None = None
        self._target: Any = None
        if self._source is None:
            return
        if self._source.codec_context.name in AUDIO_CODECS:
            self._target = output.add_stream_from_template(self._source)
        else:
            rate, layout = self._source.codec_context.sample_rate, self._source.codec_context.layout.name
            self._target = output.add_stream("aac", rate=rate, layout=layout)
            self._resampler = AudioResampler("fltp", layout, rate, frame_size=1024)

    @property
    def streams(self) -> list[Any]:
        return [] if self._source is None else [self._source]

    def take(self, packet: Any) -> None:
        """Pass on one packet."""
        if self._resampler is not None:
            for frame in packet.decode():
                frame.pts = None if frame.pts is None else frame.pts - self._ticks(frame.time_base)
                self._write(self._resampler.resample(frame))
        elif packet.size and packet.dts is not None:
            before = self._ticks(packet.time_base)
            packet.pts, packet.dts = packet.pts - before, packet.dts - before
            packet.stream = self._target
            if packet.pts >= 0:
                self._output.mux(packet)

    def _ticks(self, time_base: Fraction) -> int:
        """By how much the sound's clock is ahead of the new video's, which begins at zero."""
        return round(self._start_s / time_base)

    def finish(self) -> None:
        """Write what is held back."""
        if self._resampler is not None:
            self._write(self._resampler.resample(None))
            self._output.mux(self._target.encode(None))

    def _write(self, frames: list[Any]) -> None:
        for frame in frames:
            self._output.mux(self._target.encode(frame))


def _encode(
    container: InputContainer,
    stream: VideoStream,
    output: OutputContainer,
    facts: VideoFacts,
    plan: Plan,
    on_progress: OnProgress,
) -> None:
    stream.thread_type = "AUTO"
    encoder = _encoder(output, plan, stream, facts)
    sound = _Sound(container, output, keep=plan.keep_sound, start_s=facts.timing.start_s)
    pictures = _Pictures(stream, facts, plan)
    written = 0
    for packet in container.demux([stream, *sound.streams]):
        if packet.stream.index != stream.index:
            sound.take(packet)
            continue
        for frame in pictures.of(packet):
            output.mux(encoder.encode(frame))
            written += 1
            if written % _REPORTED_EVERY == 0:
                on_progress(min(written / (facts.timing.duration_s * plan.rate), 1.0))
    output.mux(encoder.encode(None))
    sound.finish()
    if written == 0:
        raise Refused("no frame of the video can be decoded")


def _encoder(output: OutputContainer, plan: Plan, source: VideoStream, facts: VideoFacts) -> VideoStream:
    options = _X264 | {"level": plan.level.name, "maxrate": f"{_VBV_KBITS}k", "bufsize": f"{_VBV_KBITS}k"}
    encoder: VideoStream = output.add_stream("libx264", rate=plan.rate, options=options)
    encoder.width, encoder.height, encoder.pix_fmt = plan.width, plan.height, "yuv420p"
    context = encoder.codec_context
    context.time_base = 1 / plan.rate
    context.color_range = _PARTIAL_RANGE
    for keyword in ("color_primaries", "color_trc", "colorspace"):
        setattr(context, keyword, _BT709 if facts.is_rgb else getattr(source.codec_context, keyword))
    context.gop_size = max(round(plan.rate * _KEY_FRAME_EVERY_S), 1)
    return encoder


class _Pictures:
    """Decodes, and makes pictures upright, progressive, of square pixels and of constant rate."""

    def __init__(self, stream: VideoStream, facts: VideoFacts, plan: Plan) -> None:
        self._stream = stream
        self._facts = facts
        self._plan = plan
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        self._decoded = self._made = 0

    def of(self, packet: Any) -> Iterator[Any]:
        """The pictures that come out of a packet; of the last one, empty, what was held back."""
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            raise Refused(f"the video is damaged after frame {self._decoded}: {error.strerror}") from None
        for frame in frames:
            self._decoded += 1
            self._require_whole(frame)
            if self._graph is None:
                self._graph = _graph(frame, self._facts, self._plan)
            self._graph.push(frame)
            yield from self._ready()
        if not packet.size and self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _require_whole(self, frame: Any) -> None:
        shape = (frame.width, frame.height, frame.format.name)
        self._shape = self._shape or shape
        if frame.is_corrupt:
            raise Refused(f"the video is damaged: frame {self._decoded} cannot be decoded wholly")
        if shape != self._shape:
            raise Refused(f"the size or colour of its frames changes at frame {self._decoded}")

    def _ready(self) -> Iterator[Any]:
        while self._graph is not None:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            frame.pts, frame.time_base = self._made, 1 / self._plan.rate
            frame.pict_type = 0  # the encoder decides, not what the source had
            self._made += 1
            yield frame


def filters(facts: VideoFacts, plan: Plan) -> list[tuple[str, str]]:
    """Names and arguments of the filters between decoder and encoder, in order.

    Args:
        facts: What the video is.
        plan: What is to come of it.
    """
    chain: list[tuple[str, str]] = []
    if facts.is_interlaced:
        chain.append(("yadif", "mode=send_frame:deint=all"))
    chain += facts.turn.value
    chain.append(("fps", f"fps={plan.rate}:round=near"))
    chain.append(("scale", f"{plan.width}:{plan.height}:flags=bicubic:{_colour(facts)}"))
    chain += [("setsar", "1"), ("format", "yuv420p")]
    return chain


def _colour(facts: VideoFacts) -> str:
    """Partial range, as YBR_PARTIAL_420 has it (PS3.3 C.7.6.3.1.2)."""
    source = "full" if facts.is_full_range else "auto"
    matrix = ":out_color_matrix=bt709" if facts.is_rgb else ""
    return f"in_range={source}:out_range=tv{matrix}"


def _graph(frame: Any, facts: VideoFacts, plan: Plan) -> Graph:
    graph = Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
    ]
    nodes += [graph.add(name, arguments or None) for name, arguments in filters(facts, plan)]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
