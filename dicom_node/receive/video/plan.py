"""How a video becomes one that DICOM takes: as it is, copied into a new container, or encoded anew.

Pure functions. ``WHOLE_FILE`` and ``COPY_PICTURES`` leave every coded picture as it is; the
reasons say what kept a video from the way before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from dicom_node.errors import Refused
from dicom_node.receive.video.h264 import misfits
from dicom_node.receive.video.probe import VideoFacts
from dicom_node.receive.video.turn import Turn
from operators.video.photographic import LEVELS, Level, level_for

AUDIO_CODECS: Final = frozenset({"aac", "ac3", "mp2", "mp3"})
"""Codings of sound that may accompany H.264 (PS3.5 8.2.12) and that an MP4 can hold."""

LARGEST: Final = (1920, 1080)
"""Pixels of the longer and the shorter side above which a picture is made smaller."""

MOST_REPEATS: Final = 3
"""Times each frame may be repeated, on average, to make a variable rate constant."""

_FEW_FRAMES: Final = 100

SMALLEST_SIDE: Final = 16
"""Pixels; a picture with a shorter side has no person in it and no macroblock."""


class Way(StrEnum):
    """What is done with the pictures."""

    WHOLE_FILE = "whole file"
    COPY_PICTURES = "copy pictures"
    ENCODE = "encode"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a video.

    Attributes:
        way: What is done with its pictures.
        level: Of the stream that comes of it, with its transfer syntax.
        reasons: Why the pictures are copied or encoded; empty for the whole file.
        keep_sound: Whether the sound stays.
        width: Of the picture that comes of it, pixels.
        height: Likewise.
        rate: Frames per second of it.
    """

    way: Way
    level: Level
    reasons: tuple[str, ...]
    keep_sound: bool
    width: int
    height: int
    rate: Fraction


def plan(facts: VideoFacts, *, keep_sound: bool = False) -> Plan:
    """What is to be done with a video.

    Args:
        facts: What it is.
        keep_sound: Whether its sound may stay.

    Raises:
        Refused: It is damaged, most of it is missing, or its picture is too small.
    """
    if facts.damage:
        raise Refused(f"the video is damaged: {facts.damage}")
    expected = facts.timing.duration_s * facts.timing.rate
    if expected > MOST_REPEATS * (facts.frame_count - facts.hidden_frames + _FEW_FRAMES):
        raise Refused(
            f"most of its frames are missing: {facts.frame_count} in {facts.timing.duration_s:.0f} s, "
            f"which at {float(facts.timing.rate):g} frames/s are {expected:.0f}"
        )
    if min(facts.width, facts.height) < SMALLEST_SIDE:
        raise Refused(f"its frames have {facts.width} x {facts.height} pixels; {SMALLEST_SIDE} is the least")
    sound = keep_sound and bool(facts.audio_codec)
    misfit: list[str] = []
    for level in LEVELS:
        found = _misfits(facts, level, keep_sound=sound)
        if not found:
            rewritten = tuple(_container_reasons(facts, keep_sound=sound))
            way = Way.COPY_PICTURES if rewritten else Way.WHOLE_FILE
            size = (facts.width, facts.height)
            return Plan(way, level, rewritten, sound, *size, facts.timing.rate)
        misfit = misfit or found
    width, height = target_size(facts)
    level, rate = target_level(width, height, facts.timing.rate)
    return Plan(Way.ENCODE, level, tuple(misfit), sound, width, height, rate)


def _misfits(facts: VideoFacts, level: Level, *, keep_sound: bool) -> list[str]:
    if facts.codec != "h264":
        return [f"it is coded as {facts.codec}, not as H.264"]
    if facts.sps is None:
        return ["its H.264 parameters cannot be read"]
    reasons = misfits(facts.sps, level, facts.timing.rate, facts.peak_bits_per_s)
    if (facts.sps.width, facts.sps.height) != (facts.width, facts.height):
        reasons.append("its picture is cropped outside of the stream")
    if facts.turn is not Turn.NONE:
        reasons.append(f"its picture is to be turned ({facts.turn.name.replace('_', ' ').lower()})")
    if facts.pixel_aspect != 1 and "its pixels are not square" not in reasons:
        reasons.append("its pixels are not square")
    if facts.hidden_frames:
        reasons.append(f"its container hides {facts.hidden_frames} of the coded frames")
    if not facts.timing.is_constant:
        reasons.append("its frame rate is not constant")
    if keep_sound and facts.audio_codec not in AUDIO_CODECS:
        reasons.append(f"its sound is coded as {facts.audio_codec}")
    return reasons


def _container_reasons(facts: VideoFacts, *, keep_sound: bool) -> list[str]:
    reasons = []
    if facts.audio_codec and not keep_sound:
        reasons.append("its sound is left out")
    if facts.has_other_streams:
        reasons.append("it holds more than one stream of pictures, or data")
    if not facts.is_bare:
        reasons.append("its container is no MP4, or holds more than the stream")
    return reasons


def target_size(facts: VideoFacts) -> tuple[int, int]:
    """Width and height to encode: upright, square pixels, even, not above `LARGEST`."""
    width, height = Fraction(facts.width), Fraction(facts.height)
    if facts.pixel_aspect > 1:
        width *= facts.pixel_aspect
    else:
        height /= facts.pixel_aspect
    if facts.turn.swaps_sides:
        width, height = height, width
    shrink = min(Fraction(1), LARGEST[0] / max(width, height), LARGEST[1] / min(width, height))
    return _even(width * shrink), _even(height * shrink)


def _even(length: Fraction) -> int:
    """An even number of pixels, as 4:2:0 needs; an odd one loses a line."""
    return max(2 * int(length / 2), SMALLEST_SIDE)


def target_level(width: int, height: int, rate: Fraction) -> tuple[Level, Fraction]:
    """The level and the frame rate that such a picture is encoded with.

    A rate above what level 4.2 can is halved until it fits.

    Example:
        >>> level, rate = target_level(1920, 1080, Fraction(240))
        >>> level.name, level.transfer_syntax_uid.name, rate
        ('4.2', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video', Fraction(60, 1))
    """
    while (level := level_for(width, height, rate)) is None:
        rate /= 2
    return level, rate
