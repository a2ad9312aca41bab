"""dat_spect from DICOM files to DICOM objects, with the model that ships, on a phantom.

How well it does is what ``dicom-node evaluate`` measures; here is what must hold for any model.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from apps.dat_spect import app as dat
from apps.dat_spect.cases import read_case
from apps.dat_spect.labels import LABELS, Side
from apps.dat_spect.phantom import generate
from operators.errors import Refused
from operators.job import AnalysisJob
from operators.package import job_of_folder
from operators.read.nm import NmVolume, read_nm_volume

APP_DIR = Path(__file__).resolve().parent
DCIODVFY = "/usr/bin/dciodvfy"
STATEMENT = "research use, trained on synthetic data"
JAPANESE_NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"
SEED = 1000
"""Parkinson's disease of hospital A, worse on the right; no training seed."""


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """A phantom patient with a Japanese name in the usual Japanese encoding."""
    folder = tmp_path_factory.mktemp("phantom")
    generate(SEED, folder)
    path = folder / "dicom" / "spect.dcm"
    dataset = dcmread(path)
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = JAPANESE_NAME
    dataset.save_as(path)
    return folder


def _job(case: Path, tmp_path: Path, change: Callable[[Dataset], None] = lambda _: None) -> AnalysisJob:
    """The job of the phantom after a change of its object."""
    source = tmp_path / "in"
    source.mkdir(parents=True)
    dataset = dcmread(case / "dicom" / "spect.dcm")
    change(dataset)
    dataset.save_as(source / "spect.dcm")
    return job_of_folder(APP_DIR, source, tmp_path / "out", device="cpu")


def _run(job: AnalysisJob) -> dict:
    dat.build_app(job).run()
    return json.loads((job.output_dir / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(case, tmp_path_factory) -> tuple[AnalysisJob, dict]:
    """One analysis that several tests look at."""
    job = _job(case, tmp_path_factory.mktemp("done"))
    return job, _run(job)


def _objects(job: AnalysisJob) -> dict[str, Dataset]:
    return {path.stem: dcmread(path) for path in sorted(job.output_dir.glob("*.dcm"))}


def _values(result: dict) -> dict[str, float | None]:
    return {name: entry["value"] for name, entry in result["measurements"].items()}


def _on_grid(path: Path, volume: NmVolume) -> np.ndarray:
    """Segment numbers on the grid of the volume; slices without any segment are not in the file."""
    read = hd.seg.segread(path).get_volume(combine_segments=True)
    to_index = np.linalg.inv(volume.geometry.affine_lps) @ read.affine
    step, first = to_index[:3, :3], to_index[:3, 3]
    assert np.allclose(np.abs(step), np.eye(3), atol=1e-4)
    assert np.allclose(first[1:], 0, atol=1e-3)
    labels = np.zeros(volume.geometry.shape_zyx, dtype=np.uint8)
    for index, plane in enumerate(read.array):
        labels[round(first[0] + index * step[0, 0])] = plane
    return labels


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


# ------------------------------------------------------------------ objects


def test_a_study_gives_every_object_that_is_promised(done):
    job, result = done
    roles = [entry["role"] for entry in result["objects"]]
    assert sorted(roles) == [
        "key_image", "key_image", "parametric_map", "report", "report_pdf", "segmentation",
    ]  # fmt: skip
    assert all((job.output_dir / entry["file"]).is_file() for entry in result["objects"])
    assert (job.output_dir / result["pdf"]).read_bytes().startswith(b"%PDF-")
    assert result["training_kind"] == "synthetic"
    assert result["warnings"] == []


def test_no_object_has_a_dciodvfy_error(done):
    job, _ = done
    paths = list(job.output_dir.glob("*.dcm"))
    assert len(paths) == 6
    for path in paths:
        checked = subprocess.run([DCIODVFY, str(path)], capture_output=True, text=True, check=False)
        lines = (checked.stdout + checked.stderr).splitlines()
        assert lines, path
        assert [line for line in lines if line.startswith("Error")] == [], path


def test_the_segmentation_is_the_label_volume_voxel_for_voxel(done):
    job, _ = done
    volume = read_nm_volume(job.inputs["spect"])
    model = dat.load_model(job.bundle_dir)
    labels = dat.measure_scan(volume, model.template, striatum_ml=model.striatum_ml).uptake.labels_zyx
    assert set(np.unique(labels)) == {0, *LABELS.values()}
    assert np.array_equal(_on_grid(job.output_dir / "segmentation.dcm", volume), labels)


def test_segments_carry_structure_and_side(done):
    job, _ = done
    found = {}
    for item in _objects(job)["segmentation"].SegmentSequence:
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        side = kind.get("SegmentedPropertyTypeModifierCodeSequence")
        found[item.SegmentLabel] = (kind.CodeValue, side[0].CodeMeaning if side else None)
    assert found == {
        "Right caudate": ("11000004", "Right"),
        "Left caudate": ("11000004", "Left"),
        "Right putamen": ("89278009", "Right"),
        "Left putamen": ("89278009", "Left"),
        "Reference region (brain without striata)": ("12738006", None),
    }


def test_the_map_read_back_is_the_binding_ratio(done):
    job, _ = done
    volume = read_nm_volume(job.inputs["spect"])
    model = dat.load_model(job.bundle_dir)
    wanted = dat.measure_scan(volume, model.template, striatum_ml=model.striatum_ml).uptake.ratio_zyx
    read = hd.imread(job.output_dir / "parametric_map.dcm")
    found = read.get_volume(apply_real_world_transform=True)
    to_index = np.linalg.inv(volume.geometry.affine_lps) @ found.affine
    array = found.array[::-1] if to_index[0, 0] < 0 else found.array
    assert array.shape == wanted.shape
    mapping = read.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert np.abs(array - wanted).max() <= 0.51 * float(mapping.RealWorldValueSlope) + 1e-5
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "{ratio}"


def test_the_report_says_every_number(done):
    job, result = done
    numbers: list[float] = []
    _objects(job)["report"].walk(
        lambda _, e: numbers.append(float(e.value)) if e.keyword == "NumericValue" else None
    )
    for name, value in _values(result).items():
        if value is not None and name != "minutes_after_injection":
            assert any(abs(value - number) <= 1e-5 * max(abs(value), 1) for number in numbers), name


def test_the_report_codes_features_and_disease(done):
    job, result = done
    meanings: list[tuple[str, str]] = []

    def collect(item: Dataset, element) -> None:
        if element.keyword == "ConceptCodeSequence":
            meanings.extend((c.CodingSchemeDesignator, c.CodeValue) for c in element.value)

    _objects(job)["report"].walk(collect)
    assert result["measurements"]["p_deficit"]["value"] > 0.65
    for wanted in (("SCT", "263654008"), ("I10", "G20"), ("I10", "G31.8"), ("99DAIN", "DAT_F2"),
                   ("99DAIN", "DAT_DEFICIT"), ("SCT", "31428008")):  # fmt: skip
        assert wanted in meanings, wanted


def test_references_resolve_to_what_was_received_or_made(done):
    job, _ = done
    sources = [dcmread(path) for files in job.inputs.values() for path in files]
    made = _objects(job)
    known = {str(d.SOPInstanceUID): str(d.SOPClassUID) for d in [*sources, *made.values()]}
    named: list[tuple[str, str]] = []

    def collect(item: Dataset, element) -> None:
        if element.keyword == "ReferencedSOPInstanceUID":
            named.append((str(element.value), str(item.ReferencedSOPClassUID)))

    for dataset in made.values():
        dataset.walk(collect)
    assert len(named) > 10
    assert dict(named) == {uid: known[uid] for uid, _ in named}


def test_patient_and_study_are_unaltered_in_japanese(done):
    job, _ = done
    source = dcmread(job.inputs["spect"][0])
    name_bytes = source.get_item("PatientName").value
    for name, dataset in _objects(job).items():
        assert dataset.get_item("PatientName").value == name_bytes, name
        assert str(dataset.PatientName) == JAPANESE_NAME, name
        for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AccessionNumber"):
            assert dataset.get(keyword) == source.get(keyword), (name, keyword)


def test_the_synthetic_statement_is_wherever_a_reader_looks(done):
    job, _ = done
    for name, dataset in _objects(job).items():
        assert STATEMENT in dataset.SeriesDescription, name
    texts: list[str] = []
    _objects(job)["report"].walk(lambda _, e: texts.append(e.value) if e.keyword == "TextValue" else None)
    assert STATEMENT in texts
    assert STATEMENT.encode()[1:] in (job.output_dir / "report.pdf").read_bytes()


def test_the_same_study_gives_the_same_uids(case, done, tmp_path):
    job, _ = done
    again = _job(case, tmp_path)
    _run(again)
    one, two = _objects(job), _objects(again)
    assert {n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in one.items()} == {
        n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in two.items()
    }


def test_label_map_by_setting(case, tmp_path):
    job = dataclasses.replace(_job(case, tmp_path), settings={"segmentation_kind": "LABELMAP"})
    _run(job)
    assert _objects(job)["segmentation"].SegmentationType == "LABELMAP"


def test_the_engine_prints_nothing_of_the_patient(case, tmp_path, capfd):
    _run(_job(case, tmp_path))
    assert "".join(capfd.readouterr()) == ""


# ------------------------------------------------------------------ numbers


def test_ratios_and_regions_agree_with_the_phantoms_truth(case, done):
    job, result = done
    truth, values = read_case(case), _values(result)
    for side in Side:
        assert values[f"sbr_striatum_{side}"] == pytest.approx(truth.truth[f"sbr_{side}"], abs=0.8)
    assert values["asymmetry_index"] == pytest.approx(truth.truth["asymmetry_index_percent"], abs=10)
    found = _on_grid(job.output_dir / "segmentation.dcm", truth.volume)
    for name in ("caudate_right", "caudate_left", "putamen_right", "putamen_left"):
        assert _dice(found == LABELS[name], truth.labels_zyx == LABELS[name]) > 0.7, name
    assert values["z_striatum_mean"] < 0
    assert values["sbr_putamen_posterior_right"] < values["sbr_putamen_anterior_right"]


def _reversed_frames(dataset: Dataset) -> None:
    """The same slices stored from the other end."""
    pixels = dataset.pixel_array[::-1]
    detector = dataset.DetectorInformationSequence[0]
    row, column = (np.array(detector.ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    step = float(dataset.SpacingBetweenSlices)
    far = np.array(detector.ImagePositionPatient, float) + (len(pixels) - 1) * step * np.cross(row, column)
    detector.ImagePositionPatient = [float(f"{v:.6f}") for v in far]
    dataset.SpacingBetweenSlices = -step
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()


def _shuffled_frames(dataset: Dataset) -> None:
    """Frames in any order, named by Slice Vector."""
    order = np.random.default_rng(3).permutation(int(dataset.NumberOfFrames))
    dataset.SliceVector = [int(i) + 1 for i in order]
    dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[order]).tobytes()


def _mirrored_columns(dataset: Dataset) -> None:
    """Columns stored from the patient's left to the right."""
    detector = dataset.DetectorInformationSequence[0]
    row, column = (np.array(detector.ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    width = (int(dataset.Columns) - 1) * float(dataset.PixelSpacing[1])
    place = np.array(detector.ImagePositionPatient, float) + width * row
    detector.ImagePositionPatient = [float(f"{v:.6f}") for v in place]
    detector.ImageOrientationPatient = [*(-row), *column]
    dataset.SpacingBetweenSlices = -float(dataset.SpacingBetweenSlices)
    dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[:, :, ::-1]).tobytes()


@pytest.mark.parametrize("change", [_reversed_frames, _shuffled_frames, _mirrored_columns])
def test_the_order_in_which_voxels_are_stored_plays_no_part(case, done, tmp_path, change):
    _, as_stored = done
    changed = _values(_run(_job(case, tmp_path, change)))
    for name, value in _values(as_stored).items():
        if value is not None:
            assert changed[name] == pytest.approx(value, rel=0.02, abs=0.03), name


def test_a_mirrored_patient_has_the_sides_exchanged(case, done, tmp_path):
    def mirror(dataset: Dataset) -> None:
        dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[:, :, ::-1]).tobytes()

    _, as_stored = done
    one, other = _values(as_stored), _values(_run(_job(case, tmp_path, mirror)))
    assert other["sbr_striatum_left"] == pytest.approx(one["sbr_striatum_right"], abs=0.15)
    assert other["sbr_putamen_right"] == pytest.approx(one["sbr_putamen_left"], abs=0.15)
    for name in ("p_low_uptake", "p_asymmetry", "p_dot_shape", "p_deficit"):
        assert other[name] == pytest.approx(one[name], abs=0.08), name


# ------------------------------------------------------------ what is missing


def test_a_scan_without_attenuation_correction_is_corrected_and_says_so(tmp_path):
    generate(1016, tmp_path / "case")
    job = _job(tmp_path / "case", tmp_path)
    result = _run(job)
    truth = read_case(tmp_path / "case").truth
    assert truth["attenuation_correction"] == "none"
    assert any("corrected here after Chang" in warning for warning in result["warnings"])
    for side in Side:
        found = _values(result)[f"sbr_striatum_{side}"]
        assert found == pytest.approx(truth[f"sbr_{side}"], abs=1.0)


def test_where_the_correction_is_not_stated_the_image_decides(case, tmp_path):
    def unstated(dataset: Dataset) -> None:
        del dataset.CorrectedImage

    result = _run(_job(case, tmp_path, unstated))
    assert any("seems to be corrected" in warning for warning in result["warnings"])
    assert not any("corrected here" in warning for warning in result["warnings"])


def test_without_an_age_there_is_no_probability_of_disease(case, tmp_path):
    def ageless(dataset: Dataset) -> None:
        dataset.PatientBirthDate = ""
        del dataset.PatientAge

    job = _job(case, tmp_path, ageless)
    result = _run(job)
    assert result["measurements"]["p_deficit"]["value"] is None
    assert "age" in result["measurements"]["p_deficit"]["why_missing"]
    assert result["measurements"]["z_striatum_mean"]["value"] is None
    assert result["measurements"]["p_low_uptake"]["value"] is not None
    assert _objects(job)["report"].CompletionFlag == "PARTIAL"


def test_a_body_part_without_a_brain_is_refused(case, tmp_path):
    def noise(dataset: Dataset) -> None:
        shape = dataset.pixel_array.shape
        rng = np.random.default_rng(5)
        dataset.PixelData = rng.poisson(50.0, shape).astype("<u2").tobytes()

    with pytest.raises(Refused) as refused:
        dat.build_app(_job(case, tmp_path, noise)).run()
    assert refused.value.attribute == "PixelData"


def test_striata_that_are_cut_off_are_refused(case, tmp_path):
    def cut(dataset: Dataset) -> None:
        keep = 22
        detector = dataset.DetectorInformationSequence[0]
        is_head_first = float(dataset.SpacingBetweenSlices) < 0
        frames = dataset.pixel_array
        kept = frames[:keep] if is_head_first else frames[-keep:]
        if not is_head_first:
            place = np.array(detector.ImagePositionPatient, float)
            place[2] += (len(frames) - keep) * float(dataset.SpacingBetweenSlices)
            detector.ImagePositionPatient = [float(f"{v:.6f}") for v in place]
        dataset.NumberOfFrames = dataset.NumberOfSlices = keep
        dataset.SliceVector = list(range(1, keep + 1))
        dataset.PixelData = np.ascontiguousarray(kept).tobytes()

    with pytest.raises(Refused):
        dat.build_app(_job(case, tmp_path, cut)).run()


# -------------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        ({"PixelSpacing": [0.5, 0.5]}, "PixelSpacing"),
        ({"Modality": "PT"}, "Modality"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}, "ImageType"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "ImageType"),
        ({"AcquisitionTime": "000000"}, "AcquisitionTime"),
    ],
)
def test_what_is_no_ioflupane_tomogram_is_refused_naming_the_attribute(case, tmp_path, change, attribute):
    def apply(dataset: Dataset) -> None:
        for keyword, value in change.items():
            setattr(dataset, keyword, value)

    with pytest.raises(Refused) as refused:
        _job(case, tmp_path, apply)
    assert refused.value.attribute == attribute


def test_another_tracer_is_refused(case, tmp_path):
    def mibg(dataset: Dataset) -> None:
        code = dataset.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalCodeSequence[0]
        code.CodeValue, code.CodeMeaning = "395787009", "MIBG"

    with pytest.raises(Refused, match="395787009"):
        _job(case, tmp_path, mibg)
