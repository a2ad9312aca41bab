"""Video files of every kind become objects, or are refused with a reason that names what is wrong."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from dicom_node.errors import NotDicom, Refused
from dicom_node.receive.video.dataset import Subject, View, Walk, check_subject
from dicom_node.receive.video.encapsulate import unwrap, write_object
from dicom_node.receive.video.plan import Way, plan
from dicom_node.receive.video.probe import probe
from dicom_node.receive.video.wrap import Wrapped, wrap
from operators.video.photographic import Codec, StreamFacts, put_video
from tests.made_videos import (
    X264_HIGH_41,
    colours,
    decoded,
    make_sound,
    make_video,
    packets,
    picture,
    streams,
)

SUBJECT = Subject(patient_id="4711", patient_name="TEST^ONE", birth_date="19600201", sex="F")
WALK = Walk(view=View.SAGITTAL, task="SARA gait", aid="cane", distance_m=10.0)
CORNERS = ((0.2, 0.1), (0.2, 0.9), (0.9, 0.9))  # red at the top left, blue below it, grey to the right


def wrapped(video: Path, **options: object) -> tuple[Wrapped, Dataset, Path]:
    """The object of a video: what is said of it, its attributes, and its stream taken out again."""
    result = wrap(video, video.with_suffix(".dcm"), SUBJECT, WALK, **options)
    stream = video.with_suffix(".out.mp4")
    unwrap(result.path, stream)
    dataset = dcmread(result.path, defer_size=1024)
    assert len(decoded(stream)) == dataset.NumberOfFrames == result.frame_count
    return result, dataset, stream


def test_a_stream_that_fits_is_passed_through_byte_for_byte(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4", options={**X264_HIGH_41, "bf": "2"})
    result, dataset, stream = wrapped(video)
    assert result.way is Way.WHOLE_FILE
    assert stream.read_bytes() == video.read_bytes()
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102"
    assert dataset.EncapsulatedPixelDataValueTotalLength == video.stat().st_size


def test_a_stream_of_level_4_2_gets_the_transfer_syntax_of_that_level(tmp_path: Path) -> None:
    options = X264_HIGH_41 | {"level": "4.2"}
    video = make_video(tmp_path / "walk.mp4", size=(1920, 1080), rate=60, frames=6, options=options)
    result, dataset, _ = wrapped(video)
    assert result.way is Way.WHOLE_FILE
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.104"
    assert (dataset.FrameTime, dataset.CineRate) == (pytest.approx(1000 / 60), 60)


def test_every_attribute_of_the_image_is_right(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4", rate=Fraction(30000, 1001), frames=40)
    _, dataset, _ = wrapped(video)
    expected = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4.1",
        "Modality": "XC",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "YBR_PARTIAL_420",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "Rows": 240,
        "Columns": 320,
        "NumberOfFrames": 40,
        "FrameIncrementPointer": 0x00181063,
        "CineRate": 30,
        "RecommendedDisplayFrameRate": 30,
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_14496_10",
        "RecognizableVisualFeatures": "YES",
        "BurnedInAnnotation": "NO",
        "BodyPartExamined": "WHOLEBODY",
        "PatientID": "4711",
        "PatientName": "TEST^ONE",
        "PatientBirthDate": "19600201",
        "PatientSex": "F",
    }
    assert {keyword: dataset[keyword].value for keyword in expected} == expected
    assert float(dataset.FrameTime) == pytest.approx(1001 / 30)
    ratio = 240 * 320 * 3 * 40 / video.stat().st_size
    assert float(dataset.LossyImageCompressionRatio) == pytest.approx(ratio)
    assert dataset.AnatomicRegionSequence[0].CodeValue == "38266002"
    context = {item.ConceptNameCodeSequence[0].CodeValue: item for item in dataset.AcquisitionContextSequence}
    assert context["CAMERA_VIEW"].ConceptCodeSequence[0].CodeValue == "VIEW_SAGITTAL"
    assert (context["GAIT_TASK"].TextValue, context["WALKING_AID"].TextValue) == ("SARA gait", "cane")
    assert float(context["WALKWAY_LENGTH"].NumericValue) == 10
    assert context["WALKWAY_LENGTH"].MeasurementUnitsCodeSequence[0].CodeValue == "m"


def test_codes_are_those_that_apps_read(tmp_path: Path) -> None:
    from operators.video.photographic import view_of

    _, dataset, _ = wrapped(make_video(tmp_path / "walk.mp4"))
    assert view_of(dataset) == "sagittal"


def test_what_nobody_says_stays_empty_or_absent(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4")
    result = wrap(video, tmp_path / "o.dcm", Subject(patient_id="1"), Walk(view=View.FRONTAL))
    dataset = dcmread(result.path, stop_before_pixels=True)
    empty = ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime")
    assert all(str(dataset[keyword].value or "") == "" for keyword in empty)
    assert "AcquisitionDateTime" not in dataset
    assert any("--recorded-at" in notice for notice in result.notices)


def test_the_time_and_camera_of_the_file_become_attributes_and_the_place_does_not(tmp_path: Path) -> None:
    said = {
        "creation_time": "2024-08-20T17:27:55Z",
        "location": "+35.0123+135.0456/",
        "com.apple.quicktime.make": "Acme",
        "com.apple.quicktime.model": "One",
    }
    video = make_video(tmp_path / "walk.mp4", metadata=said)
    result, dataset, _ = wrapped(video)
    assert result.way is Way.COPY_PICTURES
    at = datetime(2024, 8, 20, 17, 27, 55, tzinfo=UTC).astimezone()
    assert dataset.StudyDate == f"{at:%Y%m%d}"
    assert dataset.AcquisitionDateTime == f"{at:%Y%m%d%H%M%S%z}"
    assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("Acme", "One")
    assert b"+35.0123" in video.read_bytes()
    assert b"+35.0123" not in result.path.read_bytes()


@pytest.mark.parametrize("name", ["walk.mov", "walk.mkv", "walk.ts", "walk.avi"])
def test_pictures_in_another_container_are_copied_unchanged(tmp_path: Path, name: str) -> None:
    bf = "0" if name.endswith("avi") else "2"
    video = make_video(tmp_path / name, options={**X264_HIGH_41, "bf": bf})
    result, _, stream = wrapped(video)
    assert result.way is Way.COPY_PICTURES
    assert all(np.array_equal(a, b) for a, b in zip(decoded(video), decoded(stream), strict=True))
    if name.endswith(("mov", "mkv")):
        assert packets(stream) == packets(video)


def test_sound_is_left_out_and_the_pictures_stay_as_they_are(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4", sound="aac")
    result, dataset, stream = wrapped(video)
    assert (result.way, streams(stream)) == (Way.COPY_PICTURES, ["video"])
    assert packets(stream) == packets(video)
    assert "MultiplexedAudioChannelsDescriptionCodeSequence" not in dataset


def test_sound_is_kept_and_declared_when_asked_for(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4", sound="aac")
    result, dataset, stream = wrapped(video, keep_sound=True)
    assert result.way is Way.WHOLE_FILE
    assert stream.read_bytes() == video.read_bytes()
    channels = dataset.MultiplexedAudioChannelsDescriptionCodeSequence
    assert [(c.ChannelIdentificationCode, c.ChannelMode) for c in channels] == [(1, "STEREO"), (2, "STEREO")]


def test_sound_that_dicom_does_not_take_is_encoded_anew(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mov", sound="pcm_f32le", frames=50)
    _, _, stream = wrapped(video, keep_sound=True)
    with av.open(str(stream)) as container:
        audio = container.streams.audio[0]
        assert audio.codec_context.name == "aac"
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio)], axis=1)
    assert heard.shape[1] / 44_100 == pytest.approx(2.0, abs=0.1)
    assert np.abs(heard).max() > 0.5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        (
            "hevc.mp4",
            {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none"}},
        ),
        ("mpeg2.mpg", {"codec": "mpeg2video"}),
        ("mjpeg.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
        ("colour444.mp4", {"pixel_format": "yuv444p", "options": {"preset": "ultrafast"}}),
        ("colour422.mp4", {"pixel_format": "yuv422p", "options": {"preset": "ultrafast"}}),
        ("ten_bits.mp4", {"pixel_format": "yuv420p10le", "options": {"preset": "ultrafast"}}),
        ("baseline.mp4", {"options": {"preset": "ultrafast", "profile": "baseline"}}),
        ("level_5.mp4", {"options": X264_HIGH_41 | {"level": "5.1"}}),
        ("rgb.mkv", {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"preset": "ultrafast"}}),
    ],
)
def test_other_codings_are_encoded_to_what_dicom_takes(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    video = make_video(tmp_path / name, **options)
    result, dataset, stream = wrapped(video)
    assert result.way is Way.ENCODE
    assert result.reasons
    assert plan(probe(stream)).way is Way.WHOLE_FILE
    assert dataset.NumberOfFrames == 30
    images = decoded(stream)
    assert colours(images[0], CORNERS) == ["red", "blue", "grey"]
    original = picture(17, 320, 240).astype(int)
    assert np.abs(images[17].astype(int) - original).mean() < 12


@pytest.mark.parametrize(
    ("rotation", "size", "points"),
    [
        (90, (240, 320), ((0.1, 0.8), (0.9, 0.8), (0.9, 0.1))),
        (180, (320, 240), ((0.8, 0.9), (0.8, 0.1), (0.1, 0.1))),
        (270, (240, 320), ((0.9, 0.2), (0.1, 0.2), (0.1, 0.9))),
    ],
)
def test_a_turned_video_is_stored_upright(
    tmp_path: Path, rotation: int, size: tuple[int, int], points: tuple[tuple[float, float], ...]
) -> None:
    video = make_video(tmp_path / "walk.mp4", rotation=rotation)
    result, dataset, stream = wrapped(video)
    assert result.way is Way.ENCODE
    assert (dataset.Columns, dataset.Rows) == size
    assert colours(decoded(stream)[0], points) == ["red", "blue", "grey"]


def test_variable_frame_rate_becomes_constant_without_changing_the_time(tmp_path: Path) -> None:
    ticks = [index * 100 + (500 if index >= 15 else 0) for index in range(30)]
    video = make_video(tmp_path / "walk.mp4", ticks=ticks)
    result, dataset, stream = wrapped(video)
    assert (result.way, dataset.NumberOfFrames) == (Way.ENCODE, 35)
    assert result.duration_s == pytest.approx(35 / 25)
    facts = probe(stream)
    assert (facts.timing.rate, facts.timing.is_constant) == (25, True)


def test_frames_that_the_container_hides_are_not_in_the_object(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", frames=60, options=X264_HIGH_41 | {"g": "60"})
    video = tmp_path / "cut.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-ss", "1.2", "-i", str(whole), "-c", "copy", str(video)], check=True
    )
    result, dataset, _ = wrapped(video)
    assert (result.way, dataset.NumberOfFrames) == (Way.ENCODE, 30)


def test_interlaced_video_becomes_progressive(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "flags": "+ildct+ilme", "x264-params": "tff=1"}
    result, _, stream = wrapped(make_video(tmp_path / "walk.mp4", options=options))
    assert "it is coded interlaced" in result.reasons
    assert not probe(stream).is_interlaced


def test_odd_sizes_lose_a_line_and_a_column(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.webm", size=(321, 241), codec="libvpx-vp9", options={"cpu-used": "8"})
    _, dataset, _ = wrapped(video)
    assert (dataset.Columns, dataset.Rows) == (320, 240)


def test_a_large_picture_is_made_smaller_and_a_high_rate_halved(tmp_path: Path) -> None:
    large = make_video(tmp_path / "large.mp4", size=(3840, 2160), frames=3, options={"preset": "ultrafast"})
    _, dataset, _ = wrapped(large)
    assert (dataset.Columns, dataset.Rows) == (1920, 1080)
    fast = make_video(
        tmp_path / "fast.mp4", size=(1920, 1080), rate=240, frames=16, options={"preset": "ultrafast"}
    )
    result, dataset, _ = wrapped(fast)
    assert (dataset.CineRate, dataset.NumberOfFrames) == (60, 4)
    assert any("60" in notice for notice in result.notices)


def test_pixels_that_are_not_square_become_square(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "profile": "high", "x264-params": "8x8dct=1:sar=4\\:3"}
    options["x264-params"] = "8x8dct=1"
    video = make_video(tmp_path / "walk.mp4", options=options)
    wide = tmp_path / "wide.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(video), "-c", "copy", "-bsf:v",
         "h264_metadata=sample_aspect_ratio=4/3", str(wide)],
        check=True,
    )  # fmt: skip
    result, dataset, _ = wrapped(wide)
    assert result.way is Way.ENCODE
    assert (dataset.Columns, dataset.Rows) == (426, 240)


def truncated(tmp_path: Path) -> Path:
    video = make_video(tmp_path / "a.mp4")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    return video


def truncated_after_its_index(tmp_path: Path) -> Path:
    video = tmp_path / "b.mp4"
    whole = make_video(tmp_path / "a.mp4", frames=60)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(whole), "-c", "copy", "-movflags", "+faststart", str(video)],
        check=True,
    )
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    return video


def corrupt(tmp_path: Path) -> Path:
    video = make_video(tmp_path / "a.mp4", frames=60)
    content = bytearray(video.read_bytes())
    start = content.index(b"mdat") + 4000
    content[start : start + 3000] = bytes(255 - value for value in content[start : start + 3000])
    video.write_bytes(content)
    return video


def corrupt_to_be_encoded(tmp_path: Path) -> Path:
    video = make_video(
        tmp_path / "a.mp4", codec="libvpx-vp9", frames=60, options={"cpu-used": "8", "g": "10"}
    )
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = b"\xff" * 500
    video.write_bytes(content)
    return video


def noise(tmp_path: Path) -> Path:
    video = tmp_path / "a.mp4"
    video.write_bytes(np.random.default_rng(0).bytes(50_000))
    return video


def empty(tmp_path: Path) -> Path:
    (tmp_path / "a.mp4").touch()
    return tmp_path / "a.mp4"


def without_frames(tmp_path: Path) -> Path:
    video = tmp_path / "a.mp4"
    with av.open(str(video), "w", options={"movflags": "frag_keyframe+empty_moov"}) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        output.start_encoding()
    return video


def still_picture(tmp_path: Path) -> Path:
    from PIL import Image

    Image.fromarray(picture(0, 64, 48)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def playlist(tmp_path: Path) -> Path:
    make_video(tmp_path / "secret.mp4")
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    return tmp_path / "a.mp4"


def with_a_gap_of_an_hour(tmp_path: Path) -> Path:
    ticks = [index * 100 + (9_000_000 if index == 29 else 0) for index in range(30)]
    return make_video(tmp_path / "a.mp4", ticks=ticks)


def with_pictures_of_two_sizes(tmp_path: Path) -> Path:
    parts = [
        make_video(tmp_path / f"{height}.ts", size=(320, height), options=X264_HIGH_41)
        for height in (240, 180)
    ]
    both = tmp_path / "a.mkv"
    joined = "concat:" + "|".join(map(str, parts))
    subprocess.run(["ffmpeg", "-v", "error", "-i", joined, "-c", "copy", str(both)], check=True)
    return both


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (truncated, "cut off before its index"),
        (truncated_after_its_index, "cut off: its index names 60 frames"),
        (corrupt, "damaged"),
        (corrupt_to_be_encoded, "damaged"),
        (noise, "no video file of a known form"),
        (empty, "the file is empty"),
        (without_frames, "no frame"),
        (still_picture, "no video file of a known form"),
        (playlist, "no video file of a known form"),
        (lambda path: make_sound(path / "a.m4a"), "sound but no pictures"),
        (lambda path: make_video(path / "a.mp4", frames=1), "a single frame"),
        (lambda path: make_video(path / "a.mp4", size=(8, 8)), "8 x 8 pixels"),
        (with_a_gap_of_an_hour, "most of its frames are missing"),
        (with_pictures_of_two_sizes, "the size of its frames changes"),
    ],
)
def test_bad_files_are_refused_with_a_reason_and_leave_nothing_behind(
    tmp_path: Path, make: object, reason: str
) -> None:
    source = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refused, match=reason):
        wrap(source, tmp_path / "o.dcm", SUBJECT, WALK)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("subject", "option"),
    [
        (Subject(patient_id="  "), "--patient-id"),
        (Subject(patient_id="a\\b"), "--patient-id"),
        (Subject(patient_id="x" * 65), "--patient-id"),
        (Subject(patient_id="1", birth_date="19600230"), "--birth-date"),
        (Subject(patient_id="1", sex="X"), "--sex"),
        (Subject(patient_id="1", accession_number="x" * 17), "--accession-number"),
        (Subject(patient_id="1", study_instance_uid="1.02.3"), "--study-uid"),
        (Subject(patient_id="1", patient_name="a=b=c=d"), "--patient-name"),
    ],
)
def test_wrong_patient_data_are_refused_by_option_without_repeating_them(
    subject: Subject, option: str
) -> None:
    with pytest.raises(Refused, match=option) as refusal:
        check_subject(subject)
    assert subject.patient_id.strip() not in str(refusal.value) or len(subject.patient_id.strip()) < 2


def test_a_stream_longer_than_a_fragment_becomes_fragmentable_and_comes_back(tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4")
    content = video.read_bytes()
    result = wrap(video, tmp_path / "o.dcm", SUBJECT, WALK)
    dataset = dcmread(result.path, stop_before_pixels=True)
    write_object(tmp_path / "f.dcm", dataset, video, largest_fragment=1000)
    assert dcmread(tmp_path / "f.dcm").file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102.1"
    unwrap(tmp_path / "f.dcm", tmp_path / "back.mp4")
    assert (tmp_path / "back.mp4").read_bytes() == content


def test_the_service_and_the_operators_write_the_same_bytes(tmp_path: Path) -> None:
    """One stream, one description: the file of `wrap-video` and that of a phantom are the same."""
    video = make_video(tmp_path / "walk.mp4")
    result = wrap(video, tmp_path / "o.dcm", SUBJECT, WALK)
    whole = dcmread(result.path)
    facts = StreamFacts(
        codec=Codec.H264,
        columns=320,
        rows=240,
        frames=30,
        frame_rate=Fraction(25),
        byte_count=video.stat().st_size,
    )
    context = whole.AcquisitionContextSequence
    del whole.PixelData
    put_video(whole, video.read_bytes(), facts)
    whole.AcquisitionContextSequence = context
    dcmwrite(tmp_path / "p.dcm", whole, enforce_file_format=True)
    assert (tmp_path / "p.dcm").read_bytes() == result.path.read_bytes()


@pytest.mark.parametrize("length", [1001, 1002])
def test_a_stream_of_odd_length_comes_back_without_its_padding(tmp_path: Path, length: int) -> None:
    result = wrap(make_video(tmp_path / "walk.mp4"), tmp_path / "o.dcm", SUBJECT, WALK)
    dataset = dcmread(result.path, stop_before_pixels=True)
    (tmp_path / "stream").write_bytes(b"\x47" * length)
    write_object(tmp_path / "f.dcm", dataset, tmp_path / "stream")
    assert unwrap(tmp_path / "f.dcm", tmp_path / "back") == length
    assert (tmp_path / "back").read_bytes() == b"\x47" * length


def test_what_is_no_video_object_is_not_unwrapped(tmp_path: Path) -> None:
    result = wrap(make_video(tmp_path / "walk.mp4"), tmp_path / "o.dcm", SUBJECT, WALK)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(result.path.read_bytes()[:-20])
    for path in (cut, tmp_path / "walk.mp4"):
        with pytest.raises(NotDicom):
            unwrap(path, tmp_path / "back")
    assert not (tmp_path / "back").exists()
