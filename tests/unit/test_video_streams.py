"""What H.264, MP4, times and display matrices say: pure functions over made bytes and files."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import pytest

from dicom_node.receive.video import h264, mp4
from dicom_node.receive.video.timing import timing_of
from dicom_node.receive.video.turn import Turn, turn_of
from operators.video.encapsulate import mp4_length
from operators.video.photographic import LEVEL_4_1, LEVEL_4_2
from tests.made_videos import make_video, packets

HD = bytes.fromhex("67640029acd940780227e5c044000003000400000300f03c60c658")


def test_sequence_parameters_of_full_hd_are_read() -> None:
    sps = h264.parse_sps(HD)
    assert (sps.width, sps.height, sps.macroblocks) == (1920, 1080, 8160)
    assert (sps.chroma_format_idc, sps.bit_depth, sps.is_progressive) == (1, 8, True)
    assert sps.sample_aspect_ratio == 1


@pytest.mark.parametrize("length", range(len(HD) - 15))
def test_sequence_parameters_cut_off_anywhere_are_no_parameters(length: int) -> None:
    with pytest.raises(h264.NotH264):
        h264.parse_sps(HD[:length])


def test_parameters_are_found_in_both_forms_of_a_decoder_configuration() -> None:
    avcc = b"\1\x64\0\x29\xff\xe1" + struct.pack(">H", len(HD)) + HD
    annex_b = b"\0\0\0\1" + HD + b"\0\0\1\x68\xeb"
    assert h264.sps_of(avcc) == h264.sps_of(annex_b) == h264.parse_sps(HD)


def test_level_limits_are_those_of_the_standard() -> None:
    sps = h264.parse_sps(HD)
    assert not h264.misfits(sps, LEVEL_4_1, Fraction(30), 8e6)
    assert h264.misfits(sps, LEVEL_4_1, Fraction(60), 8e6)
    assert not h264.misfits(sps, LEVEL_4_2, Fraction(60), 8e6)
    assert h264.misfits(sps, LEVEL_4_2, Fraction(30), 63e6) == ["63.0 Mbit/s, level 4.2 has at most 62.5"]


def test_every_coded_picture_of_an_encoder_is_whole_and_none_is_when_cut(tmp_path: Path) -> None:
    coded = packets(make_video(tmp_path / "a.mp4"))
    assert all(h264.is_whole_picture(picture, 4) for picture in coded)
    assert not any(h264.is_whole_picture(picture[:-1], 4) for picture in coded)


def test_an_encoders_mp4_is_bare(tmp_path: Path) -> None:
    with make_video(tmp_path / "a.mp4").open("rb") as file:
        assert mp4.is_bare(file)


@pytest.mark.parametrize("name", ["location", "title"])
def test_an_mp4_that_says_more_than_its_stream_is_not_bare(tmp_path: Path, name: str) -> None:
    with make_video(tmp_path / "a.mp4", metadata={name: "+35.0+135.0/"}).open("rb") as file:
        assert not mp4.is_bare(file)


@pytest.mark.parametrize("box", [b"uuid", b"udta", b"free"])
def test_an_mp4_with_something_after_it_is_not_bare(tmp_path: Path, box: bytes) -> None:
    content = make_video(tmp_path / "a.mp4").read_bytes() + struct.pack(">I", 14) + box + b"secret"
    assert not mp4.is_bare(io.BytesIO(content))


def test_other_containers_are_not_bare(tmp_path: Path) -> None:
    for name in ("a.mov", "a.mkv", "a.ts"):
        with make_video(tmp_path / name).open("rb") as file:
            assert not mp4.is_bare(file), name


def test_the_end_of_an_mp4_is_found_before_padding(tmp_path: Path) -> None:
    content = make_video(tmp_path / "a.mp4").read_bytes()
    assert mp4_length(io.BytesIO(content + b"\0"), len(content) + 1) in (len(content), len(content) + 1)
    assert mp4_length(io.BytesIO(content), len(content)) == len(content)


def test_rates_of_cameras_are_recognised_through_millisecond_rounding() -> None:
    for rate in (24, 25, Fraction(30000, 1001), 30, 60):
        ticks = [round(1000 * index / Fraction(rate)) for index in range(200)]
        timing = timing_of(ticks, Fraction(1, 1000))
        assert (timing.rate, timing.is_constant) == (rate, True)


def test_a_lost_frame_makes_a_rate_variable_and_keeps_its_nominal_value() -> None:
    ticks = [index * 100 for index in range(60) if index not in (20, 21, 22)]
    timing = timing_of(ticks, Fraction(1, 3000))
    assert (timing.rate, timing.is_constant) == (30, False)


def test_jitter_of_a_camera_is_still_a_constant_rate() -> None:
    ticks = [index * 100 + index * 37 % 20 for index in range(60)]
    timing = timing_of(ticks, Fraction(1, 3000))
    assert timing.is_constant
    assert float(timing.rate) == pytest.approx(30, rel=0.002)


def test_an_unusual_but_even_rate_is_kept_exactly() -> None:
    timing = timing_of([index * 7 for index in range(50)], Fraction(1, 100))
    assert (timing.rate, timing.is_constant) == (Fraction(100, 7), True)


def test_two_frames_at_one_time_have_no_timing() -> None:
    with pytest.raises(ValueError, match="one time"):
        timing_of([0, 1, 1, 2], Fraction(1, 25))


@pytest.mark.parametrize(
    ("values", "turn"),
    [
        ((1, 0, 0, 1), Turn.NONE),
        ((0, -1, 1, 0), Turn.QUARTER_COUNTER_CLOCKWISE),
        ((0, 1, -1, 0), Turn.QUARTER_CLOCKWISE),
        ((-1, 0, 0, -1), Turn.HALF),
        ((-1, 0, 0, 1), Turn.LEFT_TO_RIGHT),
        ((0, 0, 0, 0), Turn.NONE),
    ],
)
def test_display_matrices_are_read_as_turns(values: tuple[int, ...], turn: Turn) -> None:
    a, b, c, d = (value << 16 for value in values)
    assert turn_of(struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)) is turn
