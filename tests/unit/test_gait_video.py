"""Streams in and out of DICOM, and streams that cannot be read."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import generate_uid

from apps.gait_ataxia.phantom import TASK, header_of, simulate
from operators.errors import Refused
from operators.video.encapsulate import encapsulated, stream_of
from operators.video.photographic import (
    Codec,
    StreamFacts,
    acquisition_context,
    put_video,
    transfer_syntax,
)
from operators.video.read_frames import decoded, frame_rate_of, read_video
from operators.video.write_h264 import write_h264

REPOSITORY = Path(__file__).resolve().parents[2]
GAIT_SEED = 900_007
"""As in sample_dicom/make_samples.py."""


def _frames(count: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)
    return [np.roll(base, index, axis=1) for index in range(count)]


def _object(tmp_path, stream: bytes, facts: StreamFacts):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    put_video(dataset, stream, facts)
    path = tmp_path / "video.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_the_sample_is_what_the_phantom_and_the_writer_make_today(tmp_path):
    """Bit for bit, all but the encoding of the frames, which depends on the encoder's build."""
    sample = REPOSITORY / "sample_dicom" / "gait_ataxia" / "walk.dcm"
    case = simulate(GAIT_SEED)
    camera = case.shot.camera
    stream = read_video(sample).stream
    instance = header_of(case)
    facts = StreamFacts(
        codec=Codec.H264,
        columns=camera.columns,
        rows=camera.rows,
        frames=len(case.points_m),
        frame_rate=Fraction(camera.frame_rate).limit_denominator(1001),
        byte_count=len(stream),
    )
    put_video(instance, stream, facts)
    instance.AcquisitionContextSequence = acquisition_context(view=camera.view, task=TASK, aid="none")
    dcmwrite(tmp_path / "walk.dcm", instance, enforce_file_format=True)
    assert (tmp_path / "walk.dcm").read_bytes() == sample.read_bytes()


def test_the_same_frames_give_the_same_bytes():
    assert write_h264(_frames(), Fraction(30))[0] == write_h264(_frames(), Fraction(30))[0]


def test_the_stream_comes_back_byte_for_byte(tmp_path):
    stream, facts = write_h264(_frames(), Fraction(30))
    for one in (stream, stream + b"\x00\x00\x00\x09free\x00"):
        path = _object(tmp_path, one, facts)
        assert stream_of(dcmread(path).PixelData) == one


def test_every_frame_comes_out_again(tmp_path):
    stream, facts = write_h264(_frames(17), Fraction(25))
    video = read_video(_object(tmp_path, stream, facts))
    frames = list(video)
    assert len(frames) == facts.frames == 17
    assert frames[0].shape == (90, 160, 3)
    assert video.frame_rate == pytest.approx(25)
    assert len(list(video)) == 17


def test_the_stream_is_of_the_profile_that_its_transfer_syntax_names():
    stream, facts = write_h264(_frames(), Fraction(30))
    with av.open(io.BytesIO(stream)) as container:
        context = container.streams.video[0].codec_context
        assert context.profile == "High"
        assert context.pix_fmt == "yuv420p"
    assert transfer_syntax(facts).name.startswith("MPEG-4 AVC/H.264 High Profile / Level 4.1")


@pytest.mark.parametrize(
    ("columns", "rows", "rate", "ending"),
    [(1920, 1080, 30, ".102"), (1920, 1080, 60, ".104"), (4096, 2160, 30, None)],
)
def test_the_level_decides_the_transfer_syntax(columns, rows, rate, ending):
    facts = StreamFacts(
        codec=Codec.H264, columns=columns, rows=rows, frames=1, frame_rate=Fraction(rate), byte_count=1
    )
    syntax = transfer_syntax(facts)
    assert syntax is None if ending is None else str(syntax).endswith(ending)


def test_a_cut_encapsulation_is_no_stream():
    with pytest.raises(ValueError, match="cut"):
        stream_of(encapsulated(b"abcdefgh")[:-3])


def test_a_corrupt_stream_is_refused():
    with pytest.raises(Refused, match="cannot be decoded"):
        list(decoded(b"\x00\x00\x00\x18ftypmp42" + bytes(200)))


def test_a_stream_without_its_end_is_refused_or_short():
    stream, _ = write_h264(_frames(40), Fraction(30))
    try:
        count = len(list(decoded(stream[: len(stream) // 2])))
    except Refused:
        count = 0
    assert count < 40


def test_sound_alone_is_refused():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(Refused, match="no video"):
        list(decoded(buffer.getvalue()))


def test_no_frame_makes_no_video():
    with pytest.raises(ValueError, match="at least one frame"):
        write_h264([], Fraction(30))


def test_an_object_without_a_frame_rate_is_refused():
    with pytest.raises(Refused, match="frame rate"):
        frame_rate_of(Dataset())
