"""spine_metastasis from DICOM files to DICOM objects, with the model that ships, on phantoms.

How well it does is what ``dicom-node evaluate`` measures; here is what must hold for any model that is
of any use.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from apps.spine_metastasis import app as spine
from apps.spine_metastasis.cases import read_case, true_chain
from apps.spine_metastasis.classify import causes_of, fused_causes
from apps.spine_metastasis.crops import PIXELS, crop, white_of
from apps.spine_metastasis.evaluate import evaluate, matched
from apps.spine_metastasis.findings import NOT_ASSESSED, NOT_FOUND
from apps.spine_metastasis.fit import HeldOut, fit_calibration
from apps.spine_metastasis.labels import FractureClass, Weighting
from apps.spine_metastasis.levels import Point, chain, merge
from apps.spine_metastasis.phantom import generate
from apps.spine_metastasis.regions import box_in, labels_of
from apps.spine_metastasis.samples import chosen_vertebrae, prepared
from apps.spine_metastasis.stack import index_in, turned
from apps.spine_metastasis.train import train
from operators.errors import Refused
from operators.job import AnalysisJob
from operators.package import job_of_folder
from operators.read.mr import read_mr_stack
from tests.dicom_checks import (
    JAPANESE_NAME,
    dciodvfy_errors,
    instances_of,
    name_in_japanese,
    references_of,
)

APP_DIR = Path(__file__).resolve().parent
SHOULDER = APP_DIR.parents[2] / "shared" / "data" / "real_mr_shoulder"
STATEMENT = "research use, trained on synthetic data"
SEED = 910_003
"""A patient of hospital A with fractures in both sequences, and the sacrum in view; no training seed."""
SOUND_SEED = 910_035
"""A patient of hospital A without a fresh fracture; no training seed."""


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """A phantom patient with a Japanese name in the usual Japanese encoding."""
    folder = tmp_path_factory.mktemp("phantom")
    generate(SEED, folder)
    for path in _files(folder):
        name_in_japanese(path)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A phantom patient without a fresh fracture."""
    folder = tmp_path_factory.mktemp("sound")
    generate(SOUND_SEED, folder)
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "dicom").rglob("*.dcm"))


def _is_t1(dataset: Dataset) -> bool:
    return "InversionTime" not in dataset


def _study(
    case: Path,
    folder: Path,
    change: Callable[[Dataset], None] = lambda _: None,
    *,
    keep: Callable[[Dataset], bool] = lambda _: True,
) -> Path:
    """The study of a case after a change of each kept slice."""
    folder.mkdir(parents=True)
    for number, path in enumerate(_files(case)):
        dataset = dcmread(path)
        if keep(dataset):
            change(dataset)
            dataset.save_as(folder / f"{number}.dcm")
    return folder


def _job(
    case: Path,
    tmp_path: Path,
    change: Callable[[Dataset], None] = lambda _: None,
    *,
    keep: Callable[[Dataset], bool] = lambda _: True,
) -> AnalysisJob:
    return job_of_folder(
        APP_DIR, _study(case, tmp_path / "in", change, keep=keep), tmp_path / "out", device="cpu"
    )


def _run(job: AnalysisJob) -> dict:
    spine.build_app(job).run()
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


def _coded(report: Dataset) -> list[tuple[str, str, str]]:
    """Every coded answer: question, scheme and value."""
    found: list[tuple[str, str, str]] = []

    def collect(item: Dataset, element) -> None:
        if element.keyword == "ConceptCodeSequence":
            question = item.ConceptNameCodeSequence[0].CodeValue
            found.extend((question, code.CodingSchemeDesignator, code.CodeValue) for code in element.value)

    report.walk(collect)
    return found


# ------------------------------------------------------------------ objects


def test_a_study_gives_every_object_that_is_promised(done):
    job, result = done
    roles = {entry["role"] for entry in result["objects"]}
    assert roles == {"segmentation", "presentation_state", "report", "key_image", "report_pdf"}
    assert all((job.output_dir / entry["file"]).is_file() for entry in result["objects"])
    assert (job.output_dir / result["pdf"]).read_bytes().startswith(b"%PDF-")
    assert result["training_kind"] == "synthetic"


def test_no_object_has_a_dciodvfy_error(done):
    job, result = done
    paths = list(job.output_dir.glob("*.dcm"))
    assert len(paths) == len(result["objects"])
    for path in paths:
        assert dciodvfy_errors(path) == [], path


def test_references_resolve_to_what_was_received_or_made(done):
    job, _ = done
    sources = [dcmread(path) for files in job.inputs.values() for path in files]
    made = list(_objects(job).values())
    named = references_of(made)
    assert len(named) > 10
    assert set(named) <= instances_of([*sources, *made])


def test_patient_and_study_are_unaltered_in_japanese(done):
    job, _ = done
    source = dcmread(job.inputs["t1"][0])
    for name, dataset in _objects(job).items():
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


def test_the_same_study_gives_the_same_uids_in_any_order_of_files(case, done, tmp_path):
    job, _ = done
    again = _job(case, tmp_path)
    again = dataclasses.replace(again, inputs={n: list(reversed(f)) for n, f in again.inputs.items()})
    result = _run(again)
    one, two = _objects(job), _objects(again)
    assert {n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in one.items()} == {
        n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in two.items()
    }
    assert _values(result) == _values(done[1])


def test_label_map_by_setting(case, tmp_path):
    job = dataclasses.replace(_job(case, tmp_path), settings={"segmentation_kind": "LABELMAP"})
    _run(job)
    assert _objects(job)["segmentation"].SegmentationType == "LABELMAP"


def test_the_engine_prints_nothing_of_the_patient(case, tmp_path, capfd):
    _run(_job(case, tmp_path))
    assert "".join(capfd.readouterr()) == ""


def test_every_fractured_vertebra_has_a_group_with_its_level_and_an_answer(done):
    job, result = done
    values = _values(result)
    named = [name.removesuffix("_p_fractured") for name in values if name.endswith("_p_fractured")]
    assert named
    assert len(named) == values["fractured_vertebrae"] + values["possibly_fractured_vertebrae"]
    report = _objects(job)["report"]
    answers = [value for question, _, value in _coded(report) if question == "AI_CLASS"]
    # One of each fracture and one of the patient.
    assert len(answers) == len(named) + 1
    assert set(answers) <= {"C79.5", "M80", "82334004"}
    sites = {
        value for question, scheme, value in _coded(report) if scheme == "SCT" and question == "363698007"
    }
    assert sites
    equivalents: list[str] = []
    report.walk(
        lambda _, e: (
            equivalents.extend(code.CodeValue for code in e.value)
            if e.keyword == "EquivalentCodeSequence"
            else None
        )
    )
    assert "94222008" in equivalents


def test_the_report_says_every_probability(done):
    job, result = done
    numbers: list[float] = []
    _objects(job)["report"].walk(
        lambda _, e: numbers.append(float(e.value)) if e.keyword == "NumericValue" else None
    )
    for name, value in _values(result).items():
        if value is not None and "_p_" in name:
            assert any(abs(value - number) <= 1e-5 for number in numbers), name


def test_the_patients_probability_is_the_highest_of_the_fractures(done):
    values = _values(done[1])
    fused = [value for name, value in values.items() if name.endswith("_p_malignant")]
    assert values["p_malignant"] == max(fused)


def test_regions_are_drawn_around_the_fractures_that_are_named(case, done):
    job, _ = done
    seg = hd.seg.segread(job.output_dir / "segmentation.dcm")
    truth = read_case(case)
    fractured = [one for one in truth.vertebrae if one.fracture != FractureClass.NOT_FRACTURED]
    volume = seg.get_volume(combine_segments=True)
    index = np.linalg.inv(volume.affine) @ np.array([*fractured[0].centre, 1.0])
    place = tuple(np.clip(np.round(index[:3]).astype(int), 0, np.array(volume.array.shape) - 1))
    assert volume.array[place] > 0


def test_boxes_of_the_presentation_states_hold_the_true_vertebrae(case, done):
    job, _ = done
    truth = read_case(case)
    states = [d for n, d in _objects(job).items() if n.startswith("presentation_state")]
    assert len(states) == len(truth.stacks)
    fractured = [one for one in truth.vertebrae if one.fracture != FractureClass.NOT_FRACTURED]
    for state in states:
        uid = state.ReferencedSeriesSequence[0].SeriesInstanceUID
        stack = next(s for s in truth.stacks.values() if s.headers[0].SeriesInstanceUID == uid)
        outlines = [
            np.array(graphic.GraphicData, float).reshape(-1, 2)
            for layer in state.GraphicAnnotationSequence
            for graphic in layer.get("GraphicObjectSequence", [])
        ]
        assert outlines
        row, column = index_in(stack.volume.geometry, fractured[0].centre)[1:]
        assert any(
            (box.min(axis=0) <= (column, row)).all() and (box.max(axis=0) >= (column, row)).all()
            for box in outlines
        )


# ------------------------------------------------------- one sequence, none


@pytest.mark.parametrize(("weighting", "missing"), [("t1", "STIR"), ("stir", "T1")])
def test_one_sequence_alone_is_analysed_and_the_other_is_called_missing(case, tmp_path, weighting, missing):
    job = _job(case, tmp_path, keep=lambda dataset: _is_t1(dataset) == (weighting == "t1"))
    result = _run(job)
    assert any(f"sagittal {missing}" in w and "is missing" in w for w in result["warnings"])
    values = _values(result)
    assert values["vertebrae"] >= 5
    assert values[f"p_malignant_{missing.lower()}"] is None
    assert result["measurements"][f"p_malignant_{missing.lower()}"]["why_missing"]


def test_without_a_fracture_the_result_says_so_and_not_that_there_is_no_metastasis(sound, tmp_path):
    job = _job(sound, tmp_path)
    result = _run(job)
    assert _values(result)["fractured_vertebrae"] == 0
    assert NOT_FOUND in result["summary"]
    assert result["measurements"]["p_malignant"] == {
        "value": None,
        "unit": "{ratio}",
        "why_missing": NOT_FOUND,
    }
    assert "segmentation" not in {entry["role"] for entry in result["objects"]}
    report = _objects(job)["report"]
    assert ("AI_CLASS", "99DAIN", "NO_FRACTURE") in _coded(report)
    texts: list[str] = []
    report.walk(lambda _, e: texts.append(e.value) if e.keyword == "TextValue" else None)
    assert NOT_ASSESSED in texts
    said = " ".join([*texts, result["summary"]]).replace(NOT_ASSESSED, "")
    assert "no metastasis" not in said.lower()
    for path in job.output_dir.glob("*.dcm"):
        assert dciodvfy_errors(path) == [], path


def test_sequences_of_different_frames_of_reference_are_not_mixed(case, tmp_path):
    def elsewhere(dataset: Dataset) -> None:
        if not _is_t1(dataset):
            dataset.FrameOfReferenceUID = "2.25.77"

    result = _run(_job(case, tmp_path, elsewhere))
    assert any(w.startswith("FrameOfReferenceUID") and "STIR was left out" in w for w in result["warnings"])
    assert _values(result)["p_malignant_stir"] is None


# ------------------------------------------------------------------ numbers


def test_the_vertebrae_of_the_phantom_are_found_where_they_are(case, done):
    job, _ = done
    truth = read_case(case)
    study = spine.read_job(job)
    found = spine.SpineMetastasis(job, producer=None)._find(study)  # type: ignore[arg-type]
    apart = [
        min(float(np.linalg.norm(one.centre[1:] - other.centre[1:])) for other in found.vertebrae)
        for one in truth.vertebrae[1:-1]
    ]
    assert np.median(apart) < 4.0


def _reversed(dataset: Dataset) -> None:
    """Columns stored from back to front, as some scanners do."""
    place = np.array(dataset.ImagePositionPatient, float)
    orientation = np.array(dataset.ImageOrientationPatient, float)
    width = (int(dataset.Columns) - 1) * float(dataset.PixelSpacing[1])
    dataset.ImagePositionPatient = [float(f"{v:.6f}") for v in place + orientation[:3] * width]
    dataset.ImageOrientationPatient = [*(-orientation[:3]), *orientation[3:]]
    dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[:, ::-1]).tobytes()


def test_the_direction_in_which_columns_are_stored_plays_no_part(case, done, tmp_path):
    turned_round = _values(_run(_job(case, tmp_path, _reversed)))
    for name, value in _values(done[1]).items():
        assert turned_round[name] == pytest.approx(value, abs=0.02), name


def test_the_scanners_unit_of_signal_plays_no_part(case, done, tmp_path):
    def brighter(dataset: Dataset) -> None:
        dataset.PixelData = (dataset.pixel_array * 3).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 16, 15

    changed = _values(_run(_job(case, tmp_path, brighter)))
    for name, value in _values(done[1]).items():
        assert changed[name] == pytest.approx(value, abs=0.02), name


def test_a_higher_least_probability_makes_more_answers_indeterminate(case, tmp_path):
    job = dataclasses.replace(_job(case, tmp_path), settings={"least_probability": 0.999_999})
    result = _run(job)
    assert "indeterminate" in result["summary"]
    assert any("below 1.00" in warning for warning in result["warnings"])
    assert ("AI_CLASS", "SCT", "82334004") in _coded(_objects(job)["report"])


def test_pictures_without_a_spine_are_refused(case, tmp_path):
    def noise(dataset: Dataset) -> None:
        rng = np.random.default_rng(int(dataset.InstanceNumber))
        dataset.PixelData = rng.integers(0, 400, dataset.pixel_array.shape).astype("<u2").tobytes()

    with pytest.raises(Refused, match="vertebrae are found") as refused:
        spine.build_app(_job(case, tmp_path, noise)).run()
    assert refused.value.attribute == "PixelData"


# -------------------------------------------------------------------- rules


def _contrast(dataset: Dataset) -> None:
    if _is_t1(dataset):
        dataset.ContrastBolusAgent = "Gadobutrol"


def test_t1_with_contrast_agent_is_no_t1(case, tmp_path):
    job = _job(case, tmp_path, _contrast)
    assert set(job.inputs) == {"stir"}


def test_t1_with_contrast_agent_alone_is_not_analysed(case, tmp_path):
    with pytest.raises(Refused) as refused:
        _job(case, tmp_path, _contrast, keep=_is_t1)
    assert refused.value.attribute == "ContrastBolusAgent"


@pytest.mark.parametrize("text", ["sag T1 +C", "造影 T1 sag", "T1 SE sag Gd", "T1_post_contrast"])
def test_contrast_agent_is_told_by_the_series_description(case, tmp_path, text):
    def described(dataset: Dataset) -> None:
        if _is_t1(dataset):
            dataset.SeriesDescription = text

    assert set(_job(case, tmp_path, described).inputs) == {"stir"}


@pytest.mark.parametrize("text", ["T1 sag 造影なし", "T1 sag non contrast", "T1 矢状断 胸腰椎", "T1 TSE sag"])
def test_a_plain_t1_is_taken_whatever_it_is_called(case, tmp_path, text):
    def described(dataset: Dataset) -> None:
        if _is_t1(dataset):
            dataset.SeriesDescription = text
            dataset.StudyDescription = "脊椎MRI 単純+造影"
            dataset.SpecificCharacterSet = "ISO_IR 192"

    assert set(_job(case, tmp_path, described).inputs) == {"t1", "stir"}


def test_sequences_are_told_by_japanese_text_where_timing_is_missing(case, tmp_path):
    def untimed(dataset: Dataset) -> None:
        is_t1 = _is_t1(dataset)
        for keyword in ("RepetitionTime", "EchoTime", "InversionTime", "BodyPartExamined"):
            if keyword in dataset:
                del dataset[keyword]
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription = "腰椎 矢状断 T1強調" if is_t1 else "腰椎 矢状断 STIR"

    job = _job(case, tmp_path, untimed)
    assert {name: len(files) for name, files in job.inputs.items()} == {
        w.value: len(stack.headers) for w, stack in read_case(case).stacks.items()
    }


AXES = {"axial": [1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1]}


@pytest.mark.parametrize("plane", AXES)
def test_another_plane_is_not_for_this_app(case, tmp_path, plane):
    def lie(dataset: Dataset) -> None:
        step = float(dataset.ImagePositionPatient[0])
        dataset.ImageOrientationPatient = AXES[plane]
        dataset.ImagePositionPatient = [0, 0, step] if plane == "axial" else [0, step, 0]

    with pytest.raises(Refused) as refused:
        _job(case, tmp_path, lie)
    assert refused.value.attribute == "ImageOrientationPatient"


@pytest.mark.parametrize("part", ["BRAIN", "HEAD", "SHOULDER", "KNEE", "PELVIS"])
def test_another_part_of_the_body_is_not_for_this_app(case, tmp_path, part):
    def elsewhere(dataset: Dataset) -> None:
        dataset.BodyPartExamined = part
        dataset.SeriesDescription, dataset.StudyDescription = "T1 sag", "MRI"
        if "ProtocolName" in dataset:
            dataset.ProtocolName = "sag"

    with pytest.raises(Refused) as refused:
        _job(case, tmp_path, elsewhere)
    assert refused.value.attribute == "BodyPartExamined"


def test_a_cervical_spine_is_refused_with_the_reason(case, tmp_path):
    def neck(dataset: Dataset) -> None:
        dataset.BodyPartExamined = "CSPINE"
        dataset.SeriesDescription, dataset.StudyDescription = "T1 sag", "C-spine"

    with pytest.raises(Refused, match="the cervical spine is not analysed"):
        _job(case, tmp_path, neck)


@pytest.mark.parametrize(
    ("series", "order"),
    [("t1_tse_sag_c_spine", "MRI"), ("頸髄 T1 SAG", "MRI"), ("T1 sag", "頸椎MRI")],
)
def test_a_cervical_series_is_told_by_its_text(case, tmp_path, series, order):
    def neck(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.BodyPartExamined = "SPINE"
        dataset.SeriesDescription, dataset.StudyDescription = series, order

    with pytest.raises(Refused, match="the cervical spine is not analysed"):
        _job(case, tmp_path, neck)


def test_of_an_order_for_neck_and_back_the_series_must_say_which_it_shows(case, tmp_path):
    def both(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.BodyPartExamined = "SPINE"
        dataset.SeriesDescription, dataset.StudyDescription = "T1 SAG", "頸椎・腰椎MRI"

    with pytest.raises(Refused, match="nothing says which of them the series shows"):
        _job(case, tmp_path, both)


def test_too_few_slices_are_refused(case, tmp_path):
    with pytest.raises(Refused, match="5 to 60 sagittal slices"):
        _job(case, tmp_path, keep=lambda dataset: int(dataset.InstanceNumber) <= 4)


def test_a_missing_slice_is_refused(case, tmp_path):
    with pytest.raises(Refused, match="slices are missing"):
        _job(case, tmp_path, keep=lambda dataset: int(dataset.InstanceNumber) != 5)


def test_a_real_shoulder_is_refused_by_its_body_part(tmp_path):
    with pytest.raises(Refused, match=r"\(BodyPartExamined\) is 'other'") as refused:
        job_of_folder(APP_DIR, SHOULDER, tmp_path / "out")
    assert refused.value.attribute == "BodyPartExamined"


def test_a_real_axial_shoulder_that_is_tagged_spine_is_refused_by_its_plane(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, path in enumerate(sorted(SHOULDER.rglob("*image*.dcm"))):
        dataset = dcmread(path)
        dataset.BodyPartExamined = "LSPINE"
        dataset.save_as(folder / f"{number}.dcm")
    with pytest.raises(Refused, match="is 'axial', 'sagittal' is needed") as refused:
        job_of_folder(APP_DIR, folder, tmp_path / "out")
    assert refused.value.attribute == "ImageOrientationPatient"


def test_a_real_shoulder_in_the_sagittal_plane_is_refused_by_its_body_part(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, path in enumerate(sorted(SHOULDER.rglob("*.dcm"))):
        dataset = dcmread(path)
        if dataset.Modality == "MR":
            dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
            dataset.ImagePositionPatient = [3.0 * number, 0, 0]
            dataset.save_as(folder / f"{number}.dcm")
    with pytest.raises(Refused) as refused:
        job_of_folder(APP_DIR, folder, tmp_path / "out")
    assert refused.value.attribute == "BodyPartExamined"


# ------------------------------------------------------------------- levels


def _spine(count: int, *, step_mm: float = 34.0) -> list[Point]:
    """A gently curved spine of bodies above one another, the lowest one first."""
    return [
        Point(position_mm_lps=(0.0, 8.0 * float(np.sin(i / 3)), 40.0 + step_mm * i), score=0.9)
        for i in range(count)
    ]


SACRUM = Point(position_mm_lps=(0.0, 6.0, 8.0), score=0.9)


def test_levels_are_counted_upwards_from_the_sacrum():
    assert [v.level for v in chain(_spine(7), SACRUM)] == ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]


def test_without_a_sacrum_no_level_is_named():
    assert {v.level for v in chain(_spine(7))} == {None}


def test_above_a_vertebra_that_was_missed_no_level_is_named():
    points = _spine(8)
    del points[4]
    assert [v.level for v in chain(points, SACRUM)] == [None, None, None, "L2", "L3", "L4", "L5"]


def test_a_sacrum_too_far_below_the_lowest_vertebra_names_none():
    assert {v.level for v in chain(_spine(7)[2:], SACRUM)} == {None}


def test_a_point_aside_of_the_spine_is_no_vertebra():
    stray = Point(position_mm_lps=(0.0, -60.0, 150.0), score=0.99)
    assert len(chain([*_spine(7), stray], SACRUM)) == 7


def test_a_vertebra_seen_in_both_sequences_is_one():
    twice = merge([_spine(5), [dataclasses.replace(p, score=0.5) for p in _spine(5)]])
    assert len(chain(twice)) == 5


def test_above_the_highest_thoracic_vertebra_no_level_is_named():
    levels = [v.level for v in chain(_spine(19, step_mm=25.0), dataclasses.replace(SACRUM))]
    assert levels[:3] == [None, None, "T1"]


# ---------------------------------------------------- pictures of vertebrae


def test_a_picture_of_a_vertebra_has_it_in_the_middle_and_upright(case):
    truth = read_case(case)
    stack = truth.stacks[Weighting.T1]
    vertebrae = true_chain(truth)
    one = vertebrae[len(vertebrae) // 2]
    marked = dataclasses.replace(stack, signal=np.zeros_like(stack.signal))
    neighbour = vertebrae[len(vertebrae) // 2 + 1]
    for vertebra in (one, neighbour):
        z, y, x = (round(float(v)) for v in stack.index_of(vertebra.centre))
        marked.signal[:, y - 2 : y + 3, x - 2 : x + 3] = 1.0
        assert 0 <= z < len(stack.signal)
    picture = crop(marked, one, 1.0)[1] > 60
    rows, columns = np.nonzero(picture)
    upper = rows < PIXELS * 0.7
    middle = (PIXELS - 1) / 2
    assert abs(rows[upper].mean() - middle) < 3
    assert abs(columns[upper].mean() - middle) < 3
    # The next vertebra lies below.
    assert rows[~upper].size
    assert abs(columns[~upper].mean() - middle) < 12


def test_a_region_lies_around_the_middle_of_its_vertebra(case):
    truth = read_case(case)
    stack = truth.stacks[Weighting.STIR]
    one = true_chain(truth)[3]
    labels = labels_of(stack, [one])
    place = np.round(index_in(stack.volume.geometry, one.centre)).astype(int)
    assert labels[tuple(place)] == 1
    found = np.argwhere(labels)
    assert np.abs(found.mean(axis=0) - index_in(stack.volume.geometry, one.centre)).max() < 2
    header, box = box_in(stack, one, label="", target="")
    (top, left), (bottom, right) = box.corners_yx
    assert top < place[1] + 0.5 < bottom
    assert left < place[2] + 0.5 < right
    assert header.SOPInstanceUID == stack.headers[place[0]].SOPInstanceUID


def test_turning_for_reading_moves_no_voxel(case, tmp_path):
    folder = _study(case, tmp_path / "in", _reversed, keep=_is_t1)
    one = turned(read_mr_stack(sorted(p for p in _files(case) if _is_t1(dcmread(p)))))
    other = turned(read_mr_stack(sorted(folder.iterdir())))
    assert np.array_equal(one.signal, other.signal)
    for corner in ((0, 0, 0), (3, 20, 50)):
        assert np.allclose(
            one.geometry.position_mm_lps(corner), other.geometry.position_mm_lps(corner), atol=1e-3
        )


def test_white_follows_the_signal(case):
    truth = read_case(case)
    stack = truth.stacks[Weighting.T1]
    brighter = dataclasses.replace(stack, signal=stack.signal * 5)
    vertebrae = true_chain(truth)
    assert white_of(brighter, vertebrae) == pytest.approx(5 * white_of(stack, vertebrae), rel=1e-4)


# ---------------------------------------------------- calibration, training


def test_two_sequences_that_agree_are_surer_than_one():
    part = np.array([0.02, 0.28, 0.70])
    assert fused_causes([part, part], 0.6)[1] > causes_of(part)[1]
    assert fused_causes([part], 0.6)[1] == pytest.approx(causes_of(part)[1])


def test_the_temperature_of_the_fusion_makes_cautious_answers_bolder():
    rng = np.random.default_rng(1)
    held_out = []
    for number in range(300):
        fracture = FractureClass(int(rng.integers(1, 3)))
        right = rng.random() < 0.97
        p = 0.8 if (fracture == FractureClass.MALIGNANT) == right else 0.2
        part = np.array([0.0, 1 - p, p])
        held_out.append(
            HeldOut(
                patient_id=str(number),
                number=0,
                fracture=fracture,
                parts={Weighting.T1: part, Weighting.STIR: part},
            )
        )
    found = fit_calibration(held_out)
    assert fused_causes([np.array([0.0, 0.2, 0.8])] * 2, found.fusion_temperature)[1] == pytest.approx(
        0.97, abs=0.02
    )


def test_what_is_learned_of_a_patient_holds_every_fracture_and_some_of_the_others(case):
    truth = read_case(case)
    chosen = chosen_vertebrae(truth)
    fractured = {i for i, one in enumerate(truth.vertebrae) if one.fracture != FractureClass.NOT_FRACTURED}
    assert fractured < set(chosen)
    assert chosen == chosen_vertebrae(read_case(case))


def test_a_prepared_case_comes_out_of_the_cache_as_it_went_in(case, tmp_path):
    fresh, kept = prepared(case, tmp_path), prepared(case, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert fresh.patient_id == kept.patient_id
    for weighting, pictures in fresh.pictures.items():
        assert np.array_equal(pictures, kept.pictures[weighting])
        assert np.array_equal(fresh.fractures[weighting], kept.fractures[weighting])
    assert [one.points_mm for one in fresh.slices] == [one.points_mm for one in kept.slices]


def test_every_true_vertebra_is_matched_once(case):
    truth = read_case(case)
    stub = [_Judged(vertebra) for vertebra in true_chain(truth)]
    pairs = matched(truth.vertebrae, stub)  # type: ignore[arg-type]
    assert [one.centre_mm_lps for one, _ in pairs].sort() == [
        one.centre_mm_lps for one in truth.vertebrae
    ].sort()
    assert len(pairs) == len(truth.vertebrae)


@dataclasses.dataclass(frozen=True)
class _Judged:
    vertebra: object


def test_patients_of_hospital_b_are_not_trained_on(tmp_path):
    generate(100_000, tmp_path / "data" / "case", shift=True)
    with pytest.raises(ValueError, match="hospital B"):
        train(tmp_path / "data", tmp_path / "bundle", steps=1)


def test_the_model_that_ships_is_better_than_chance_on_patients_of_the_other_hospital(tmp_path):
    for seed in range(300_000, 300_006):
        generate(seed, tmp_path / "data" / f"case_{seed}", shift=True)
    evaluation = evaluate(tmp_path / "data", bundle=APP_DIR / "model", device="cpu")
    assert evaluation.n == 6
    assert evaluation.metrics["detection_rate"].value > 0.6
    assert evaluation.metrics["vertebra_accuracy"].value > 0.5
    assert evaluation.metrics["auc"].value > 0.5
    assert {"auc", "auc_t1", "auc_stir", "ece", "level_accuracy"} <= set(evaluation.metrics)
