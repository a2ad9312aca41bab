"""What an H.264 stream says about itself, and whether DICOM takes it as it is (PS3.5 8.2.7, 8.2.8).

Pure functions over bytes: the sequence parameter set (ITU-T H.264 7.3.2.1.1), whether it is within
the limits of a level, and the structure of a coded picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from operators.video.photographic import MACROBLOCK, Level

HIGH_PROFILE_IDC: Final = 100
_SPS: Final = 7
_LAST_NAL_TYPE: Final = 23
_CHROMA_PROFILES: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_SAR: Final = 255
_SAR: Final = (
    None, (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
"""Sample aspect ratios by index, ITU-T H.264 table E-1."""


class NotH264(ValueError):
    """The bytes are not what H.264 has there."""


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """A sequence parameter set, as far as it decides what a decoder must be able to do.

    Attributes:
        chroma_format_idc: 1 is 4:2:0.
        width: Of the picture after cropping, pixels.
        height: Likewise.
        macroblocks: Of a coded frame, before cropping.
        sample_aspect_ratio: Width to height of a pixel; 1 when not said.
    """

    profile_idc: int
    level_idc: int
    chroma_format_idc: int
    bit_depth: int
    reference_frames: int
    width: int
    height: int
    macroblocks: int
    is_progressive: bool
    sample_aspect_ratio: Fraction


class _Bits:
    """Reads a raw byte sequence payload bit by bit (ITU-T H.264 7.2, 9.1)."""

    def __init__(self, payload: bytes) -> None:
        data = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def u(self, count: int) -> int:
        if count > self._left:
            raise NotH264("the sequence parameter set ends early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise NotH264("the sequence parameter set has no sense")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def parse_sps(nal: bytes) -> SequenceParameters:
    """The parameters in a NAL unit of type 7, its header byte included.

    Raises:
        NotH264: It is none, or ends early.

    Example:
        >>> sps = parse_sps(bytes.fromhex("67640029acd940780227e5c044000003000400000300f03c60c658"))
        >>> sps.profile_idc, sps.level_idc, sps.width, sps.height, sps.is_progressive
        (100, 41, 1920, 1080, True)
    """
    if not nal or nal[0] & 0x1F != _SPS:
        raise NotH264("there is no sequence parameter set")
    bits = _Bits(nal[1:])
    profile, _, level = bits.u(8), bits.u(8), bits.u(8)
    bits.ue()  # seq_parameter_set_id
    chroma, depth = _chroma(bits, profile)
    bits.ue()  # log2_max_frame_num_minus4
    _skip_picture_order(bits)
    reference_frames = bits.ue()
    bits.u(1)  # gaps_in_frame_num_value_allowed_flag
    columns_mb, rows_units = bits.ue() + 1, bits.ue() + 1
    is_progressive = bool(bits.u(1))
    rows_mb = rows_units * (1 if is_progressive else 2)
    if not is_progressive:
        bits.u(1)  # mb_adaptive_frame_field_flag
    bits.u(1)  # direct_8x8_inference_flag
    left, right, top, bottom = _crop(bits, chroma, is_progressive=is_progressive)
    return SequenceParameters(
        profile_idc=profile,
        level_idc=level,
        chroma_format_idc=chroma,
        bit_depth=depth,
        reference_frames=reference_frames,
        width=columns_mb * MACROBLOCK - left - right,
        height=rows_mb * MACROBLOCK - top - bottom,
        macroblocks=columns_mb * rows_mb,
        is_progressive=is_progressive,
        sample_aspect_ratio=_sample_aspect_ratio(bits),
    )


def _chroma(bits: _Bits, profile: int) -> tuple[int, int]:
    if profile not in _CHROMA_PROFILES:
        return 1, 8
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)  # separate_colour_plane_flag
    depth = 8 + max(bits.ue(), bits.ue())
    bits.u(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.u(1):
        for index in range(8 if chroma != 3 else 12):
            if bits.u(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, depth


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_picture_order(bits: _Bits) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue()):
            bits.se()


def _crop(bits: _Bits, chroma: int, *, is_progressive: bool) -> tuple[int, int, int, int]:
    if not bits.u(1):
        return 0, 0, 0, 0
    across = 2 if chroma in (1, 2) else 1
    down = (2 if chroma == 1 else 1) * (1 if is_progressive else 2)
    left, right, top, bottom = (bits.ue() for _ in range(4))
    return left * across, right * across, top * down, bottom * down


def _sample_aspect_ratio(bits: _Bits) -> Fraction:
    if not (bits.u(1) and bits.u(1)):  # vui_parameters_present_flag, aspect_ratio_info_present_flag
        return Fraction(1)
    index = bits.u(8)
    if index == _EXTENDED_SAR:
        width, height = bits.u(16), bits.u(16)
        return Fraction(width, height) if width and height else Fraction(1)
    ratio = _SAR[index] if index < len(_SAR) else None
    return Fraction(*ratio) if ratio else Fraction(1)


def nal_length_bytes(extradata: bytes) -> int:
    r"""Bytes of the length before each NAL unit; 0 when start codes separate them (ISO 14496-15 5.3.3).

    Example:
        >>> nal_length_bytes(bytes.fromhex("01640029ffe10000")), nal_length_bytes(bytes(3) + b"\1")
        (4, 0)
    """
    return (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0


def sps_of(extradata: bytes) -> SequenceParameters:
    """The first sequence parameter set of a decoder configuration, in either form.

    Raises:
        NotH264: There is none.
    """
    if nal_length_bytes(extradata):
        length = int.from_bytes(extradata[6:8], "big")
        return parse_sps(extradata[8 : 8 + length])
    for nal in extradata.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
        if nal and nal[0] & 0x1F == _SPS:
            return parse_sps(nal)
    raise NotH264("there is no sequence parameter set")


def _nal_headers(picture: bytes, length_bytes: int) -> Iterator[int]:
    if not length_bytes:
        if not picture.startswith((b"\0\0\1", b"\0\0\0\1")):
            raise NotH264("a picture does not begin with a start code")
        yield from (piece[0] for piece in picture.split(b"\0\0\1")[1:] if piece)
        return
    at = 0
    while at < len(picture):
        length = int.from_bytes(picture[at : at + length_bytes], "big")
        at += length_bytes
        if length == 0 or at + length > len(picture):
            raise NotH264("a NAL unit does not end where its picture ends")
        yield picture[at]
        at += length


def is_whole_picture(picture: bytes, length_bytes: int) -> bool:
    """Whether the NAL units of a coded picture fill it exactly, with headers that exist and a slice.

    Example:
        >>> is_whole_picture(bytes.fromhex("00000002650a"), 4)
        True
        >>> is_whole_picture(bytes.fromhex("00000003650a"), 4)  # one byte short
        False
    """
    try:
        headers = list(_nal_headers(picture, length_bytes))
    except NotH264:
        return False
    kinds = {header & 0x1F for header in headers}
    is_known = all(header < 0x80 and 1 <= header & 0x1F <= _LAST_NAL_TYPE for header in headers)
    return is_known and bool(kinds & {1, 2, 5})


def misfits(sps: SequenceParameters, level: Level, rate: Fraction, peak_bits_per_s: float) -> list[str]:
    """Why the stream is not within the High profile at this level; empty when it is.

    Args:
        sps: Its parameters.
        level: One that DICOM has.
        rate: Frames per second.
        peak_bits_per_s: The most bits in one second.

    Example:
        >>> from operators.video.photographic import LEVEL_4_1
        >>> hd = SequenceParameters(100, 40, 1, 8, 4, 1920, 1080, 8160, True, Fraction(1))
        >>> misfits(hd, LEVEL_4_1, Fraction(30), 8e6)
        []
        >>> misfits(hd, LEVEL_4_1, Fraction(60), 8e6)
        ['489600 macroblocks a second, level 4.1 has at most 245760']
    """
    return [reason for is_so, reason in _checks(sps, level, rate, peak_bits_per_s) if is_so]


def _checks(
    sps: SequenceParameters, level: Level, rate: Fraction, peak_bits_per_s: float
) -> list[tuple[bool, str]]:
    per_s = sps.macroblocks * rate
    buffered = sps.macroblocks * sps.reference_frames
    most = level.name + " has at most"
    return [
        (sps.profile_idc != HIGH_PROFILE_IDC, f"its profile is {sps.profile_idc}, not High (100)"),
        (sps.level_idc > level.idc, f"its level is {sps.level_idc / 10:g}, above {level.name}"),
        (sps.chroma_format_idc != 1, "its colour is not 4:2:0"),
        (sps.bit_depth != 8, f"it has {sps.bit_depth} bits a sample, not 8"),
        (not sps.is_progressive, "it is coded interlaced"),
        (sps.sample_aspect_ratio != 1, "its pixels are not square"),
        (
            sps.macroblocks > level.frame_macroblocks,
            f"{sps.macroblocks} macroblocks a frame, level {most} {level.frame_macroblocks}",
        ),
        (
            per_s > level.macroblocks_per_s,
            f"{float(per_s):.0f} macroblocks a second, level {most} {level.macroblocks_per_s}",
        ),
        (buffered > level.buffer_macroblocks, f"{sps.reference_frames} reference frames are too many"),
        (
            peak_bits_per_s > level.bits_per_s,
            f"{peak_bits_per_s / 1e6:.1f} Mbit/s, level {most} {level.bits_per_s / 1e6:g}",
        ),
    ]
