"""mibg_spect from DICOM files to DICOM objects, with the true masks of a phantom for a model.

What the shipped model does with a phantom is tested last; how well it does it is what
``dicom-node evaluate`` measures.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from apps.mibg_spect import app as mibg
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.phantom import generate
from apps.mibg_spect.results import MEDIASTINUM_LABEL
from apps.mibg_spect.segment import Segmentation
from operators.errors import Refused
from operators.graph import Call, Graph, LooseEnd, NoResult
from operators.job import AnalysisJob
from operators.package import job_of_folder
from operators.read.nm import NmVolume, read_nm_volume
from tests.dicom_checks import JAPANESE_NAME, dciodvfy_errors, instances_of, name_in_japanese, references_of

APP_DIR = Path(__file__).resolve().parent
STATEMENT = "research use, trained on synthetic data"
SEED = 7
COEFFICIENTS = {"LEHR": 0.55, "LME": 0.73, "MEGP": 0.88}


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """A phantom patient with a Japanese name in the usual Japanese encoding."""
    folder = tmp_path_factory.mktemp("phantom")
    generate(SEED, folder)
    for path in (folder / "dicom").iterdir():
        name_in_japanese(path)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A bundle that says how its model was trained; the true masks stand in for the model."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").write_text('{"training": {"kind": "synthetic"}}')
    return folder


def _true_labels(case: Path, phase: Phase, volume: NmVolume) -> np.ndarray:
    """The phantom's labels at the voxels of a volume."""
    image = nibabel.load(case / ("truth.nii.gz" if phase is Phase.EARLY else "truth_late.nii.gz"))
    truth = np.asarray(image.dataobj)
    index = np.indices(volume.geometry.shape_zyx).reshape(3, -1)
    lps = volume.geometry.affine_lps @ np.vstack([index, np.ones(index.shape[1])])
    ras = lps * np.array([[-1], [-1], [1], [1]])
    places = np.rint((np.linalg.inv(image.affine) @ ras)[:3]).astype(int)
    inside = np.all((places >= 0) & (places < np.array(truth.shape)[:, None]), axis=0)
    labels = np.zeros(index.shape[1], dtype=np.uint8)
    labels[inside] = truth[tuple(places[:, inside])]
    return labels.reshape(volume.geometry.shape_zyx)


@pytest.fixture
def true_masks(case, monkeypatch):
    """The app with the phantom's masks instead of a network's."""

    def segment(early, late, *, bundle, device):
        volumes = {p: v for p, v in ((Phase.EARLY, early), (Phase.LATE, late)) if v is not None}
        labels = {phase: _true_labels(case, phase, volume) for phase, volume in volumes.items()}
        reference = next(iter(labels))
        truth = json.loads((case / "truth.json").read_text())
        return Segmentation(
            reference=reference,
            labels_zyx=labels,
            heart_probability_zyx=(labels[reference] == LABELS["heart"]).astype(np.float32),
            late_from_early_lps=np.array(truth["late_from_early_lps"]),
            warnings=(),
        )

    monkeypatch.setattr(mibg, "segment", segment)


def _job(case: Path, bundle: Path, tmp_path: Path, *names: str) -> AnalysisJob:
    source = tmp_path / "in"
    source.mkdir(parents=True)
    for name in names or ("early", "late", "planar_early", "planar_late"):
        shutil.copy(case / "dicom" / f"{name}.dcm", source)
    job = job_of_folder(APP_DIR, source, tmp_path / "out", bundle, "cpu")
    return dataclasses.replace(job, settings={"collimator_coefficients": COEFFICIENTS})


def _run(job: AnalysisJob) -> dict:
    mibg.build_app(job).run()
    return json.loads((job.output_dir / "result.json").read_text(encoding="utf-8"))


def _objects(job: AnalysisJob) -> dict[str, Dataset]:
    return {path.stem: dcmread(path) for path in sorted(job.output_dir.glob("*.dcm"))}


def _labels_of_segmentation(path: Path, volume: NmVolume) -> np.ndarray:
    """Segment numbers on the grid of the volume; slices without any segment are not in the file."""
    read = hd.seg.segread(path).get_volume(combine_segments=True)
    to_index = np.linalg.inv(volume.geometry.affine_lps) @ read.affine
    step, first = to_index[:3, :3], to_index[:3, 3]
    assert np.allclose(np.abs(step), np.eye(3), atol=1e-4)
    assert np.allclose(first[1:], 0, atol=1e-3)
    labels = np.zeros(volume.geometry.shape_zyx, dtype=np.uint8)
    for index, plane in enumerate(read.array):
        z = first[0] + index * step[0, 0]
        assert abs(z - round(z)) < 1e-3
        labels[round(z)] = plane
    return labels


def test_a_whole_study_gives_every_object_that_is_promised(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path)
    result = _run(job)
    roles = [entry["role"] for entry in result["objects"]]
    assert roles == [
        "segmentation",
        "segmentation_late",
        "report",
        "key_image",
        "key_image",
        "key_image",
        "report_pdf",
    ]
    assert all((job.output_dir / entry["file"]).is_file() for entry in result["objects"])
    assert (job.output_dir / result["pdf"]).read_bytes().startswith(b"%PDF-")
    assert all((job.output_dir / name).read_bytes()[1:4] == b"PNG" for name in result["previews"])
    assert result["training_kind"] == "synthetic"
    assert result["input_digest"] == job.input_digest
    assert result["warnings"] == []


def test_no_object_has_a_dciodvfy_error(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path)
    _run(job)
    checked = 0
    for path in job.output_dir.glob("*.dcm"):
        assert dciodvfy_errors(path) == [], path
        checked += 1
    assert checked == 7


def test_segmentations_are_the_masks_voxel_for_voxel_on_the_grid_of_their_source(
    case, bundle, tmp_path, true_masks
):
    job = _job(case, bundle, tmp_path)
    _run(job)
    for name, phase in (("segmentation", Phase.EARLY), ("segmentation_late", Phase.LATE)):
        volume = read_nm_volume(job.inputs[phase.value])
        numbers = _labels_of_segmentation(job.output_dir / f"{name}.dcm", volume)
        assert np.array_equal(
            np.where(numbers == MEDIASTINUM_LABEL, 0, numbers), _true_labels(case, phase, volume)
        )
        assert (numbers == MEDIASTINUM_LABEL).any()


def test_numbers_agree_with_the_phantoms_truth(case, bundle, tmp_path, true_masks):
    truth = json.loads((case / "truth.json").read_text())
    measurements = _run(_job(case, bundle, tmp_path))["measurements"]
    for name in (
        "heart_counts_early",
        "heart_counts_late",
        "liver_counts_early",
        "minutes_after_injection_late",
    ):
        assert measurements[name]["value"] == pytest.approx(truth[name], rel=0.02)


def test_references_resolve_to_what_was_received_or_made(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path)
    _run(job)
    sources = [dcmread(path) for files in job.inputs.values() for path in files]
    made = _objects(job)
    named = references_of(made.values())
    assert len(named) > 20
    assert set(named) <= instances_of([*sources, *made.values()])


def test_patient_and_study_are_unaltered_in_japanese(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path)
    _run(job)
    source = dcmread(job.inputs["early"][0])
    name_bytes = source.get_item("PatientName").value
    for name, dataset in _objects(job).items():
        assert dataset.get_item("PatientName").value == name_bytes, name
        assert str(dataset.PatientName) == JAPANESE_NAME, name
        for keyword in (
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyInstanceUID",
            "StudyDate",
            "AccessionNumber",
        ):
            assert dataset.get(keyword) == source.get(keyword), (name, keyword)


def test_the_synthetic_statement_is_wherever_a_reader_looks(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path)
    _run(job)
    for name, dataset in _objects(job).items():
        assert STATEMENT in dataset.SeriesDescription, name
    texts: list[str] = []
    _objects(job)["report"].walk(lambda _, e: texts.append(e.value) if e.keyword == "TextValue" else None)
    assert STATEMENT in texts
    assert STATEMENT.encode()[1:] in (job.output_dir / "report.pdf").read_bytes()
    for path in job.output_dir.glob("preview_*.png"):
        assert _has_statement_colour(path), path


def _has_statement_colour(path: Path) -> bool:
    from PIL import Image

    foot = np.asarray(Image.open(path).convert("RGB"))[-40:].astype(int)
    return bool(
        ((foot[..., 0] > 220) & (abs(foot[..., 1] - 138) < 30) & (abs(foot[..., 2] - 128) < 30)).sum() > 50
    )


def test_the_same_study_gives_the_same_uids(case, bundle, tmp_path, true_masks):
    first, second = (_job(case, bundle, tmp_path / name) for name in ("one", "two"))
    _run(first)
    _run(second)
    one, two = _objects(first), _objects(second)
    assert {n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in one.items()} == {
        n: (d.SOPInstanceUID, d.SeriesInstanceUID) for n, d in two.items()
    }


def test_early_alone_works_and_says_what_is_missing(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path, "early")
    result = _run(job)
    assert [entry["role"] for entry in result["objects"]] == [
        "segmentation",
        "report",
        "key_image",
        "key_image",
        "report_pdf",
    ]
    assert any("no late SPECT" in warning for warning in result["warnings"])
    assert any("no planar view" in warning for warning in result["warnings"])
    report = _objects(job)["report"]
    assert report.CompletionFlag == "PARTIAL"
    assert "heart_counts_early" in result["measurements"]
    assert "washout_spect" not in result["measurements"]


def test_late_alone_is_segmented_on_its_own_grid(case, bundle, tmp_path, true_masks):
    job = _job(case, bundle, tmp_path, "late", "planar_late")
    result = _run(job)
    assert any("no early SPECT" in warning for warning in result["warnings"])
    volume = read_nm_volume(job.inputs["late"])
    numbers = _labels_of_segmentation(job.output_dir / "segmentation.dcm", volume)
    assert (numbers == LABELS["heart"]).any()


def test_analysis_after_late_images_names_its_predecessor(case, bundle, tmp_path, true_masks):
    early = _job(case, bundle, tmp_path / "first", "early")
    _run(early)
    whole = dataclasses.replace(
        _job(case, bundle, tmp_path / "second"), predecessors=(early.output_dir / "report.dcm",)
    )
    _run(whole)
    before, after = _objects(early)["report"], _objects(whole)["report"]
    named = after.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert after.SOPInstanceUID != before.SOPInstanceUID


def test_an_unknown_collimator_is_marked_not_guessed(case, bundle, tmp_path, true_masks):
    job = dataclasses.replace(_job(case, bundle, tmp_path), settings={})
    result = _run(job)
    assert result["measurements"]["hmr_std_late"]["value"] is None
    assert "coefficient" in result["measurements"]["hmr_std_late"]["why_missing"]
    assert any("not standardised" in warning for warning in result["warnings"])


def test_label_map_by_setting(case, bundle, tmp_path, true_masks):
    job = dataclasses.replace(
        _job(case, bundle, tmp_path, "early"), settings={"segmentation_kind": "LABELMAP"}
    )
    _run(job)
    assert _objects(job)["segmentation"].SegmentationType == "LABELMAP"


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        ({"NumberOfFrames": 16, "NumberOfSlices": 16}, "NumberOfFrames"),
        ({"PixelSpacing": [0.5, 0.5]}, "PixelSpacing"),
        ({"Modality": "PT"}, "Modality"),
    ],
)
def test_input_outside_the_envelope_is_refused_naming_the_attribute(
    case, bundle, tmp_path, change, attribute
):
    source = tmp_path / "in"
    source.mkdir()
    dataset = dcmread(case / "dicom" / "early.dcm")
    for keyword, value in change.items():
        setattr(dataset, keyword, value)
    if "NumberOfFrames" in change:
        dataset.SliceVector = list(range(1, 17))
        dataset.PixelData = dataset.PixelData[: 16 * dataset.Rows * dataset.Columns * 2]
    dataset.save_as(source / "early.dcm")
    with pytest.raises(Refused) as refused:
        job_of_folder(APP_DIR, source, tmp_path / "out", bundle)
    assert refused.value.attribute == attribute


def test_another_tracer_is_refused(case, bundle, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    dataset = dcmread(case / "dicom" / "early.dcm")
    item = dataset.RadiopharmaceuticalInformationSequence[0]
    item.RadiopharmaceuticalCodeSequence[0].CodeValue = "429296007"
    item.RadiopharmaceuticalCodeSequence[0].CodeMeaning = "Ioflupane I-123"
    dataset.save_as(source / "early.dcm")
    with pytest.raises(Refused, match="429296007"):
        job_of_folder(APP_DIR, source, tmp_path / "out", bundle)


@pytest.mark.parametrize("text", ["ミオMIBG-I123注射液", "I-123 MIBG", "IOBENGUANE"])
def test_the_tracers_name_is_enough_without_its_code(case, bundle, tmp_path, text):
    source = tmp_path / "in"
    source.mkdir()
    dataset = dcmread(case / "dicom" / "early.dcm")
    item = dataset.RadiopharmaceuticalInformationSequence[0]
    if "RadiopharmaceuticalCodeSequence" in item:
        del item.RadiopharmaceuticalCodeSequence
    item.Radiopharmaceutical = text
    dataset.save_as(source / "early.dcm")
    assert set(job_of_folder(APP_DIR, source, tmp_path / "out", bundle).inputs) == {"early"}


def _choose(case, bundle, tmp_path, change, name="early"):
    """The job for one series after a change of its header."""
    source = tmp_path / "in"
    source.mkdir()
    dataset = dcmread(case / "dicom" / f"{name}.dcm")
    change(dataset)
    dataset.save_as(source / "one.dcm")
    return job_of_folder(APP_DIR, source, tmp_path / "out", bundle)


def _without_times(description):
    def change(dataset):
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        for keyword in ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"):
            if keyword in item:
                delattr(item, keyword)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription = description

    return change


@pytest.mark.parametrize(
    ("description", "taken"),
    [
        ("MIBG SPECT EARLY", "early"),
        ("心筋SPECT 初期像", "early"),
        ("MIBG delayed", "late"),
        ("MIBG SPECT late", "late"),
        ("心筋SPECT 後期像", "late"),
    ],
)
def test_the_description_tells_early_from_late_where_times_are_missing(
    case, bundle, tmp_path, description, taken
):
    job = _choose(case, bundle, tmp_path, _without_times(description))
    assert set(job.inputs) == {taken}
    assert any("not corrected for decay" in warning for warning in job.warnings)


def test_a_lateral_view_is_not_taken_for_a_late_one(case, bundle, tmp_path):
    with pytest.raises(Refused):
        _choose(case, bundle, tmp_path, _without_times("MIBG SPECT lateral"))


@pytest.mark.parametrize(
    ("minutes", "wanted"), [(90, "10 to 60 minutes"), (400, "150 to 330 minutes"), (3, "10 to 60")]
)
def test_a_time_outside_the_protocol_is_refused_with_the_window(case, bundle, tmp_path, minutes, wanted):
    def change(dataset):
        moment = f"{dataset.AcquisitionDate}{dataset.AcquisitionTime[:6]}"
        acquired = datetime.strptime(moment, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        injected = (acquired - timedelta(minutes=minutes)).strftime("%Y%m%d%H%M%S")
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        item.RadiopharmaceuticalStartDateTime, item.RadiopharmaceuticalStartTime = injected, injected[8:]

    with pytest.raises(Refused, match=wanted):
        _choose(case, bundle, tmp_path, change)


def test_a_short_axis_series_is_not_an_input(case, bundle, tmp_path):
    def change(dataset):
        detector = dataset.DetectorInformationSequence[0]
        detector.ImageOrientationPatient = [0.71, 0.71, 0, -0.41, 0.41, 0.82]

    with pytest.raises(Refused, match="image plane"):
        _choose(case, bundle, tmp_path, change)


def test_planar_views_alone_are_refused(case, bundle, tmp_path):
    with pytest.raises(Refused, match="planar views alone"):
        _job(case, bundle, tmp_path, "planar_early", "planar_late")


def test_an_input_that_turns_out_unreadable_leaves_the_graph_as_refused(case, bundle, tmp_path):
    job = _job(case, bundle, tmp_path, "early")
    dataset = dcmread(job.inputs["early"][0])
    dataset.PixelData = b"\x00" * len(dataset.PixelData)
    dataset.save_as(job.inputs["early"][0])
    with pytest.raises(Refused) as refused:
        mibg.build_app(job).run()
    assert refused.value.attribute == "PixelData"
    assert not (job.output_dir / "result.json").exists()


def test_the_engine_prints_nothing_of_the_patient(case, bundle, tmp_path, true_masks, capfd):
    _run(_job(case, bundle, tmp_path, "early"))
    printed = "".join(capfd.readouterr())
    assert printed == ""


def test_a_graph_with_a_loose_end_fails_before_it_runs(tmp_path):
    class Loose(Graph):
        def compose(self) -> None:
            self.add_operator(Call(self, self.once(), function=lambda: 1, emits=("study",), name="read"))

    with pytest.raises(LooseEnd, match="study"):
        Loose(tmp_path).run()


def test_a_graph_that_writes_nothing_is_an_error(tmp_path):
    class Idle(Graph):
        def compose(self) -> None:
            read = Call(self, self.once(), function=lambda: 1, emits=("study",), name="read")
            sink = Call(self, function=lambda _: None, receives=("study",), name="sink")
            self.add_flow(read, sink, {("study", "study")})

    with pytest.raises(NoResult, match="Idle"):
        Idle(tmp_path).run()


def test_the_shipped_model_runs_on_a_phantom(case, tmp_path):
    job = _job(case, APP_DIR / "model", tmp_path)
    result = _run(job)
    assert result["training_kind"] == "synthetic"
    assert result["measurements"]["heart_counts_early"]["value"] > 0
    assert "segmentation_late" in {entry["role"] for entry in result["objects"]}
