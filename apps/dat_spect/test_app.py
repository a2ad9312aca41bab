"""dat_spect from DICOM files to DICOM objects, with the model that ships, on a phantom.

How well it does is what ``dicom-node evaluate`` measures; here is what must hold for any model that is
of any use: nothing here asks which way it decides.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from apps.dat_spect import app as dat
from apps.dat_spect.cases import read_case
from apps.dat_spect.findings import Answer, answer_of
from apps.dat_spect.labels import LABELS, Side
from apps.dat_spect.phantom import generate
from operators.errors import Refused
from operators.job import AnalysisJob
from operators.package import job_of_folder
from operators.read.nm import NmVolume, read_nm_volume
from tests.dicom_checks import JAPANESE_NAME, dciodvfy_errors, instances_of, name_in_japanese, references_of

APP_DIR = Path(__file__).resolve().parent
STATEMENT = "research use, trained on synthetic data"
SEED = 1000
"""Parkinson's disease of hospital A, worse on the right; no training seed."""


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """A phantom patient with a Japanese name in the usual Japanese encoding."""
    folder = tmp_path_factory.mktemp("phantom")
    generate(SEED, folder)
    name_in_japanese(folder / "dicom" / "spect.dcm")
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
        assert dciodvfy_errors(path) == [], path


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
    answers: list[tuple[str, str]] = []
    questions: dict[tuple[str, str], str] = {}

    def collect(item: Dataset, element) -> None:
        if element.keyword == "ConceptCodeSequence":
            answers.extend((c.CodingSchemeDesignator, c.CodeValue) for c in element.value)
            name = item.ConceptNameCodeSequence[0]
            questions[name.CodingSchemeDesignator, name.CodeValue] = element.value[0].CodeValue

    _objects(job)["report"].walk(collect)
    decision = {Answer.NORMAL: "17621005", Answer.EQUIVOCAL: "42425007", Answer.ABNORMAL: "263654008"}
    found = decision[answer_of(result["measurements"]["p_deficit"]["value"])]
    for wanted in (("SCT", found), ("99DAIN", "DAT_F2"), ("99DAIN", "DAT_DEFICIT"), ("SCT", "31428008")):
        assert wanted in answers, wanted
    # Diseases are asked, and answered with "indeterminate": none is ever an answer.
    assert questions["I10", "G20"] == questions["I10", "G31.8"] == "82334004"
    assert not [one for one in answers if one[0] == "I10"]


def test_a_code_has_one_meaning_and_a_z_its_measurement(done):
    job, result = done
    meanings: dict[tuple[str, str], set[str]] = {}
    zs: list[str] = []

    def collect(item: Dataset, element) -> None:
        if element.VR == "SQ" and element.keyword.endswith("CodeSequence"):
            for code in element.value:
                if "CodeValue" in code and code.CodingSchemeDesignator == "99DAIN":
                    meanings.setdefault((element.keyword, code.CodeValue), set()).add(code.CodeMeaning)

    def look(item: Dataset, parent: str) -> None:
        for child in item.get("ContentSequence", []):
            name = child.ConceptNameCodeSequence[0].CodeValue
            if name == "121416":
                assert child.RelationshipType == "HAS PROPERTIES"
                zs.append(parent)
                assert any(
                    one.ConceptNameCodeSequence[0].CodeValue == "121405" for one in item.ContentSequence
                )
            look(child, name)

    report = _objects(job)["report"]
    report.walk(collect)
    look(report, "")
    assert {key: names for key, names in meanings.items() if len(names) > 1} == {}
    wanted = [name for name, value in _values(result).items() if name.startswith("z_") and value is not None]
    assert len(zs) == len(wanted) == 7
    assert set(zs) == {"SBR", "SBR_ROI"}


def test_references_resolve_to_what_was_received_or_made(done):
    job, _ = done
    sources = [dcmread(path) for files in job.inputs.values() for path in files]
    made = _objects(job)
    named = references_of(made.values())
    assert len(named) > 10
    assert set(named) <= instances_of([*sources, *made.values()])


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


def _lying_askew(dataset: Dataset) -> None:
    """The whole scan lies 8 degrees nodded and 5 turned in the patient's coordinates, as its header says."""
    turn = Rotation.from_euler("xz", [8, 5], degrees=True).as_matrix()
    detector = dataset.DetectorInformationSequence[0]
    place = turn @ np.array(detector.ImagePositionPatient, float)
    detector.ImagePositionPatient = [float(f"{v:.6f}") for v in place]
    axes = [turn @ np.array(detector.ImageOrientationPatient[i : i + 3], float) for i in (0, 3)]
    detector.ImageOrientationPatient = [float(f"{v:.9f}") for axis in axes for v in axis]


@pytest.mark.parametrize("change", [_reversed_frames, _shuffled_frames, _mirrored_columns])
def test_the_order_in_which_voxels_are_stored_plays_no_part(case, done, tmp_path, change):
    _, as_stored = done
    changed = _values(_run(_job(case, tmp_path, change)))
    for name, value in _values(as_stored).items():
        if value is not None:
            assert changed[name] == pytest.approx(value, rel=0.02, abs=0.03), name


def test_an_oblique_scan_is_the_same_scan(case, done, tmp_path):
    job, as_stored = done
    askew = _job(case, tmp_path, _lying_askew)
    found, wanted = _values(_run(askew)), _values(as_stored)
    for name in ("sbr_striatum_right", "sbr_striatum_left", "sbr_putamen_right", "sbr_caudate_left"):
        assert found[name] == pytest.approx(wanted[name], rel=0.04, abs=0.05), name
    one, other = (
        _on_grid(each.output_dir / "segmentation.dcm", read_nm_volume(each.inputs["spect"]))
        for each in (job, askew)
    )
    assert _dice((one > 0) & (one < LABELS["reference"]), (other > 0) & (other < LABELS["reference"])) > 0.9


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
        dataset.SeriesDescription = "DaT SPECT"

    result = _run(_job(case, tmp_path, unstated))
    assert any("seems to be corrected" in warning for warning in result["warnings"])
    assert not any("corrected here" in warning for warning in result["warnings"])


def test_where_the_correction_is_not_stated_the_description_decides(case, tmp_path):
    def described(dataset: Dataset) -> None:
        del dataset.CorrectedImage

    result = _run(_job(case, tmp_path, described))
    assert any("by the series' description it was" in warning for warning in result["warnings"])
    assert result["measurements"]["p_deficit"]["value"] is not None


def test_a_correction_that_the_picture_contradicts_withholds_the_decision(case, tmp_path):
    def unlisted(dataset: Dataset) -> None:
        dataset.CorrectedImage = ["DECY", "UNIF"]
        dataset.SeriesDescription = "DaT SPECT"

    job = _job(case, tmp_path, unlisted)
    result = _run(job)
    _is_withheld(job, result, "Corrected Image says that attenuation was not corrected, but")


def test_a_correction_that_is_stated_but_was_not_done_withholds_the_decision(tmp_path):
    generate(1016, tmp_path / "case")

    def overstated(dataset: Dataset) -> None:
        dataset.CorrectedImage = ["ATTN"]
        dataset.SeriesDescription = "DaT SPECT"

    job = _job(tmp_path / "case", tmp_path, overstated)
    _is_withheld(job, _run(job), "Corrected Image says that attenuation was corrected, but")


def _is_withheld(job: AnalysisJob, result: dict, why: str) -> None:
    """Numbers, but neither probabilities nor a word of normal or abnormal."""
    assert any(warning.startswith(why) for warning in result["warnings"]), result["warnings"]
    values = _values(result)
    assert values["sbr_striatum_right"] is not None
    assert all(value is None for name, value in values.items() if name.startswith("p_"))
    assert result["summary"].startswith("AI, research use: no conclusion")
    assert not re.search("normal|deficit|features", result["summary"])
    report = _objects(job)["report"]
    assert report.CompletionFlag == "PARTIAL"
    found = str(report)
    assert not any(code in found for code in ("17621005", "263654008", "42425007", "122157"))


# ------------------------------------------------------------- where it lies


def _turned(dataset: Dataset, view: tuple[int, int, int]) -> None:
    """Voxels turned against the header, which stays as it is."""
    z, y, x = view
    dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[::z, ::y, ::x]).tobytes()


@pytest.mark.parametrize("view", [(1, -1, -1), (-1, 1, -1), (-1, -1, 1), (-1, 1, 1)])
def test_a_head_that_does_not_lie_as_the_header_says_is_refused(case, tmp_path, view):
    with pytest.raises(Refused, match="contradicts the picture") as refused:
        dat.build_app(_job(case, tmp_path, lambda dataset: _turned(dataset, view))).run()
    assert refused.value.attribute.endswith("ImageOrientationPatient")


def test_a_head_with_no_uptake_in_its_striata_has_numbers_but_no_decision(case, tmp_path):
    def empty(dataset: Dataset) -> None:
        pixels = dataset.pixel_array
        level = np.median(pixels[pixels > pixels.mean()])
        dataset.PixelData = np.minimum(pixels, level).astype(pixels.dtype).tobytes()

    job = _job(case, tmp_path, empty)
    result = _run(job)
    _is_withheld(job, result, "the striata could not be told from the background")
    assert _values(result)["sbr_striatum_right"] < 1.0
    assert _values(result)["striata_explained"] < 0.3


@pytest.mark.parametrize("is_upper", [True, False])
def test_a_head_cut_off_and_padded_is_refused(case, tmp_path, is_upper):
    def pad(dataset: Dataset) -> None:
        pixels = dataset.pixel_array.copy()
        third = len(pixels) // 3
        pixels[slice(None, third) if is_upper else slice(-third, None)] = 0
        dataset.PixelData = pixels.tobytes()

    with pytest.raises(Refused, match="no counts at all"):
        dat.build_app(_job(case, tmp_path, pad)).run()


def _lay(dataset: Dataset, *, prone: bool, feet_first: bool) -> None:
    modifier = dataset.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence[0]
    modifier.CodeValue, modifier.CodeMeaning = ("1240000", "prone") if prone else ("40199007", "supine")
    gantry = dataset.PatientGantryRelationshipCodeSequence[0]
    gantry.CodeValue = "102541007" if feet_first else "102540008"
    gantry.CodeMeaning = "feet-first" if feet_first else "headfirst"


@pytest.mark.parametrize(("prone", "feet_first"), [(True, False), (False, True), (True, True)])
def test_a_position_with_the_axes_of_another_one_is_refused(case, tmp_path, prone, feet_first):
    with pytest.raises(Refused, match="may be exchanged") as refused:
        dat.build_app(
            _job(case, tmp_path, lambda dataset: _lay(dataset, prone=prone, feet_first=feet_first))
        ).run()
    assert refused.value.attribute.startswith("Patient")


@pytest.mark.parametrize(("prone", "feet_first"), [(True, False), (False, True)])
def test_a_position_with_its_own_axes_gives_the_same_sides(case, done, tmp_path, prone, feet_first):
    """A scanner's axes run the other way in a patient who lies the other way."""
    signs = np.array([-1, -1 if prone else 1, -1 if feet_first else 1])

    def lie(dataset: Dataset) -> None:
        _lay(dataset, prone=prone, feet_first=feet_first)
        detector = dataset.DetectorInformationSequence[0]
        row, column = (np.array(detector.ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
        step = float(dataset.SpacingBetweenSlices) * np.cross(row, column)
        z, y, x = dataset.pixel_array.shape
        far = np.array(detector.ImagePositionPatient, float)
        # The voxels are stored along the new axes: each reversed axis starts at its other end.
        far += row * float(dataset.PixelSpacing[1]) * (x - 1)
        far += column * float(dataset.PixelSpacing[0]) * (y - 1) * (signs[1] < 0)
        far += step * (z - 1) * (signs[2] < 0)
        detector.ImagePositionPatient = [float(f"{v:.6f}") for v in far]
        detector.ImageOrientationPatient = [*(row * signs[0]), *(column * signs[1])]
        dataset.PixelData = np.ascontiguousarray(
            dataset.pixel_array[:: signs[2], :: signs[1], :: signs[0]]
        ).tobytes()
        if signs[0] * signs[1] * signs[2] < 0:
            dataset.SpacingBetweenSlices = -float(dataset.SpacingBetweenSlices)

    _, as_stored = done
    found = _values(_run(_job(case, tmp_path, lie)))
    for name in ("sbr_striatum_right", "sbr_striatum_left", "sbr_putamen_right"):
        assert found[name] == pytest.approx(_values(as_stored)[name], abs=0.03), name


# ------------------------------------------------------------------- the age


@pytest.mark.parametrize("stated", ["000Y", "004Y", "120Y"])
def test_an_age_that_nobody_has_gives_neither_z_nor_probability(case, tmp_path, stated):
    def aged(dataset: Dataset) -> None:
        dataset.PatientAge = stated

    found = _run(_job(case, tmp_path, aged))
    assert _values(found)["z_striatum_mean"] is None
    assert _values(found)["p_deficit"] is None
    assert "none of an adult" in found["measurements"]["p_deficit"]["why_missing"]


def test_an_age_that_contradicts_the_date_of_birth_is_told(case, tmp_path):
    def aged(dataset: Dataset) -> None:
        dataset.PatientAge = f"{int(dataset.PatientAge[:3]) - 5:03d}Y"

    warnings = _run(_job(case, tmp_path, aged))["warnings"]
    assert any("contradicts the date of birth" in warning for warning in warnings)


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
