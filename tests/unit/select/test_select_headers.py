"""Files to headers: what is read, what is refused, and that nothing of it is ever logged."""

from __future__ import annotations

import logging
import warnings
import zlib

import pytest
from pydicom import config
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from operators.select.digests import bundle_digest, input_digest
from operators.select.headers import UnreadableInstance, group_series, read_header, read_series


def written(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_pixels_are_counted_but_not_read(build, tmp_path):
    header = read_header(written(build.spect(), tmp_path / "a.dcm"))
    assert header.pixel_bytes == 2 * 64 * 64 * 30
    assert "PixelData" not in header.dataset
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert header.text("PatientID") == "SECRET-4711"


def test_a_header_in_memory_is_the_header_of_the_file(build, tmp_path):
    dataset = build.spect()
    read = read_header(written(dataset, tmp_path / "a.dcm"))
    (memory,) = build.headers(dataset)
    assert (read.pixel_bytes, read.transfer_syntax_uid) == (memory.pixel_bytes, memory.transfer_syntax_uid)
    assert read.text("Modality") == memory.text("Modality")


def test_a_truncated_pixel_data_counts_only_what_is_there(build, tmp_path):
    path = written(build.spect(), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-5000])
    assert read_header(path).pixel_bytes == 2 * 64 * 64 * 30 - 5000


def test_a_file_cut_anywhere_is_a_header_or_a_typed_error(build, tmp_path):
    whole = written(build.spect(), tmp_path / "a.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    reasons = []
    for length in [*range(0, 1500, 13), len(whole) - 1]:
        path.write_bytes(whole[:length])
        _, unreadable = read_series([path])
        reasons.extend(error.reason for error in unreadable)
    assert any("damaged" in reason for reason in reasons)
    assert any("not a DICOM file" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a DICOM file"),
        (b"hello", "not a DICOM file"),
        (b"\0" * 128 + b"DICM", "damaged"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 64, "its data set is empty"),
    ],
)
def test_what_is_no_instance_says_so(tmp_path, content, reason):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(UnreadableInstance, match=reason):
        read_header(tmp_path / "a.dcm")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UnreadableInstance, match="cannot be read: No such file"):
        read_header(tmp_path / "a.dcm")


def test_an_element_that_claims_gigabytes_is_not_believed(build, tmp_path):
    dataset = build.spect()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    content = bytearray(written(dataset, tmp_path / "a.dcm").read_bytes())
    at = content.index(b"SECRET-4711")
    content[at - 4 : at] = (0xFFFFFFF0).to_bytes(4, "little")
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(UnreadableInstance, match="claims 4294967280 bytes") as error:
        read_header(tmp_path / "a.dcm")
    assert "SECRET" not in error.value.reason


def test_a_deflated_file_is_read_and_a_bomb_is_not_inflated(build, tmp_path, monkeypatch):
    dataset = build.spect()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = written(dataset, tmp_path / "a.dcm")
    assert read_header(path).pixel_bytes == 2 * 64 * 64 * 30
    monkeypatch.setattr("operators.select.headers.LARGEST_HEADER_BYTES", 8192)
    assert read_header(path).text("Modality") == "NM"
    meta_length = read_header(path).dataset_offset
    path.write_bytes(path.read_bytes()[:meta_length] + zlib.compress(b"not raw deflate"))
    with pytest.raises(UnreadableInstance, match="damaged"):
        read_header(path)


def test_nothing_of_a_malformed_value_is_warned_or_logged(build, tmp_path, caplog):
    dataset = build.spect(PatientID="SECRET" * 40, PatientBirthDate="SECRETDATE")
    with config.disable_value_validation():
        path = written(dataset, tmp_path / "a.dcm")
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = read_header(path)
        assert header.text("PatientID").startswith("SECRET")
    assert "SECRET" not in caplog.text
    assert not caught
    assert not logging.getLogger("pydicom").disabled


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("ISO_IR 192", "心筋"),
        (["", "ISO 2022 IR 87"], "心筋"),
        ("ISO_IR 13", "ｼﾝｷﾝ"),
        ("ISO_IR 100", "Müller"),
    ],
)
def test_legacy_character_sets_are_read(build, tmp_path, charset, text):
    path = written(build.spect(SpecificCharacterSet=charset, SeriesDescription=text), tmp_path / "a.dcm")
    assert read_header(path).text("SeriesDescription") == text


def test_an_unknown_character_set_does_not_hide_the_rest(build, tmp_path):
    path = written(build.spect(SeriesDescription="Heart"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO_IR 999"))
    assert read_header(path).text("Modality") == "NM"


def test_files_are_grouped_by_series_and_study_in_a_fixed_order(build, tmp_path):
    second = build.spect(SeriesInstanceUID="1.2.3.9", SOPInstanceUID="1.2.3.10")
    other_study = build.spect(StudyInstanceUID="1.2.99", SOPInstanceUID="1.2.3.11")
    paths = [written(d, tmp_path / f"{n}.dcm") for n, d in enumerate([second, build.spect(), other_study])]
    (tmp_path / "notes.txt").write_text("no DICOM")
    series, unreadable = read_series([*paths, tmp_path / "notes.txt"])
    assert [one.series_instance_uid for one in series] == ["1.2.3.2", "1.2.3.2", "1.2.3.9"]
    assert [one.path.name for one in unreadable] == ["notes.txt"]


def test_instances_are_ordered_by_number(build):
    slices = [build.ct_slice(n, float(n)) for n in (10, 2, 1)]
    (series,) = group_series(build.headers(*slices))
    assert [one.text("InstanceNumber") for one in series.instances] == ["1", "2", "10"]


def test_the_input_digest_depends_on_content_and_name_but_not_on_order_or_place(build, tmp_path):
    one = read_header(written(build.spect(), tmp_path / "a.dcm"))
    two = read_header(written(build.spect(SOPInstanceUID="1.2.3.4"), tmp_path / "b.dcm"))
    moved = build.spect()
    moved.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    again = read_header(written(moved, tmp_path / "c.dcm"))
    changed = read_header(written(build.spect(Rows=63), tmp_path / "d.dcm"))
    digest = input_digest({"early": [one, two]})
    assert digest.startswith("sha256:")
    assert digest == input_digest({"early": [two, again]})
    assert digest != input_digest({"late": [one, two]})
    assert digest != input_digest({"early": [changed, two]})


def test_the_bundle_digest_depends_on_names_and_contents(tmp_path):
    (tmp_path / "m" / "configs").mkdir(parents=True)
    (tmp_path / "m" / "configs" / "metadata.json").write_text("{}")
    first = bundle_digest(tmp_path / "m")
    (tmp_path / "m" / "README.md").write_text("words")
    (tmp_path / "m" / ".hidden").write_text("x")
    assert bundle_digest(tmp_path / "m") == first
    (tmp_path / "m" / "configs" / "metadata.json").rename(tmp_path / "m" / "metadata.json")
    assert bundle_digest(tmp_path / "m") != first
    with pytest.raises(NotADirectoryError):
        bundle_digest(tmp_path / "none")
