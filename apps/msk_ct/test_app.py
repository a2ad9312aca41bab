"""msk_ct from DICOM files to DICOM objects, with the true segments of a phantom for a model.

What the shipped model does with the sample study, turned and tilted, is tested last; how well
it does is what ``dicom-node evaluate`` measures.
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
from pydicom.uid import DeflatedExplicitVRLittleEndian

from apps.msk_ct import app as msk
from apps.msk_ct import results
from apps.msk_ct.codes import CODES
from apps.msk_ct.findings import title_of
from apps.msk_ct.phantom import simulate, study_of
from apps.msk_ct.quantify import quantify
from apps.msk_ct.results import SEGMENT_DESCRIPTIONS
from apps.msk_ct.segment import segment
from apps.msk_ct.segmentation import Segmentation
from apps.msk_ct.structures import SEGMENTS, Side, classes_of, segment_number
from operators.encode.encode_parametric_map import encode as encode_map
from operators.encode.encode_segmentation import encode as encode_segmentation
from operators.encode.segmentation import SegmentationKind
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.job import AnalysisJob
from operators.package import job_of_folder
from operators.phantom.ct_writer import CtPhantomStudy, write_ct_series
from operators.read.ct import CtVolume, read_ct_volume
from tests.dicom_checks import JAPANESE_NAME, dciodvfy_errors, instances_of, name_in_japanese, references_of

APP_DIR = Path(__file__).resolve().parent
SAMPLE = APP_DIR.parents[1] / "sample_dicom" / "msk_ct"
STATEMENT = "research use, trained on synthetic data"
SEED = 4
"""From pelvis to knee, so that every structure is there."""
SLICE_MM = 3.0
"""The coarse phantom is written with thinner slices than it has; only stand-ins look at it."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the stand-in for the network finds in a folder's CT."""

    segments_zyx: np.ndarray
    geometry: VolumeGeometry


@pytest.fixture(scope="module")
def phantom():
    return simulate(SEED, coarse=True)


@pytest.fixture(scope="module")
def case(phantom, tmp_path_factory) -> tuple[Path, Truth]:
    """A CT of a phantom patient with a Japanese name in the usual Japanese encoding."""
    folder = tmp_path_factory.mktemp("phantom")
    grid = phantom.scanner.geometry
    _, row_mm, column_mm = grid.spacing_mm_zyx
    geometry = dataclasses.replace(grid, spacing_mm_zyx=(SLICE_MM, row_mm, column_mm))
    study = dataclasses.replace(study_of(phantom), contrast="")
    write_ct_series(folder, phantom.hu_zyx, geometry, study)
    for path in folder.iterdir():
        name_in_japanese(path)
    return folder, Truth(phantom.segments_zyx, geometry)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A bundle that says how its model was trained; the true segments stand in for the model."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").write_text('{"training": {"kind": "synthetic"}}')
    return folder


DOUBTFUL = segment_number("piriformis", Side.LEFT)
NOT_KNOWN = segment_number("sacrum")


def stand_in(segments_zyx: np.ndarray) -> Segmentation:
    """True segments with an uncertainty that is all made up."""
    z, y, x = np.indices(segments_zyx.shape, sparse=True)
    uncertainty = ((segments_zyx > 0) * (0.01 + 0.0001 * ((z + y + x) % 7))).astype(np.float32)
    numbers = [int(n) for n in np.unique(segments_zyx) if n]
    return Segmentation(
        segments_zyx=segments_zyx,
        uncertainty_zyx=uncertainty,
        psv={n: 0.001 * n for n in numbers},
        predictive_dice={n: 1 - 0.002 * n for n in numbers},
        low_confidence=frozenset({DOUBTFUL}),
        unknown_confidence=frozenset({NOT_KNOWN}),
        passes=10,
        profile="cpu",
        warnings=("The model has something to say.",),
    )


@pytest.fixture
def true_segments(case, monkeypatch) -> Truth:
    """The app with the phantom's segments instead of a network's."""
    _, truth = case

    def segment_by_truth(volume, *, bundle, device, profile, passes, report_progress):
        report_progress(0.5)
        on_grid = truth.segments_zyx
        if volume.geometry.direction_lps_zyx[0][2] * truth.geometry.direction_lps_zyx[0][2] < 0:
            on_grid = on_grid[::-1]
        return stand_in(np.ascontiguousarray(on_grid))

    monkeypatch.setattr(msk, "segment", segment_by_truth)
    return truth


def _job(source: Path, bundle: Path, tmp_path: Path, **settings: object) -> AnalysisJob:
    job = job_of_folder(APP_DIR, source, tmp_path / "out", bundle, "cpu")
    return dataclasses.replace(job, settings=settings)


def _run(job: AnalysisJob) -> dict:
    msk.build_app(job).run()
    return json.loads((job.output_dir / "result.json").read_text(encoding="utf-8"))


def _objects(job: AnalysisJob) -> dict[str, Dataset]:
    return {path.stem: dcmread(path) for path in sorted(job.output_dir.glob("*.dcm"))}


def _slices_on(volume: CtVolume, read: hd.Volume) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the CT's slices that a derived object holds, and its planes in that order."""
    to_index = np.linalg.inv(volume.geometry.affine_lps) @ read.affine
    first = to_index[:3, 3]
    assert np.allclose(np.abs(to_index[0, 0]), 1, atol=1e-4)
    assert np.allclose(first[1:], 0, atol=1e-3)
    return np.rint(first[0] + np.arange(len(read.array)) * to_index[0, 0]).astype(int), read.array


# ------------------------------------------------------------------ results


@pytest.fixture(scope="module")
def done(case, bundle, tmp_path_factory) -> AnalysisJob:
    """The whole analysis of the phantom, once for the tests that look at its objects."""
    folder, truth = case
    patch = pytest.MonkeyPatch()
    patch.setattr(msk, "segment", lambda _volume, **_: stand_in(truth.segments_zyx))
    job = _job(folder, bundle, tmp_path_factory.mktemp("done"))
    _run(job)
    patch.undo()
    return job


@pytest.fixture(scope="module")
def result(done) -> dict:
    return json.loads((done.output_dir / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def objects(done) -> dict[str, Dataset]:
    return _objects(done)


@pytest.fixture(scope="module")
def volume(done) -> CtVolume:
    return read_ct_volume(done.inputs["ct"])


@pytest.fixture(scope="module")
def measurements(volume, case):
    _, truth = case
    found = stand_in(truth.segments_zyx)
    return quantify(
        volume.hu_zyx,
        found.segments_zyx,
        volume.geometry,
        psv=found.psv,
        predictive_dice=found.predictive_dice,
        unreliable=found.low_confidence,
        unknown=found.unknown_confidence,
    )


def test_every_object_that_is_promised_is_made(done, result):
    roles = [entry["role"] for entry in result["objects"]]
    assert sorted(roles) == [
        "key_image", "key_image", "key_image", "parametric_map", "report", "report_pdf", "segmentation",
    ]  # fmt: skip
    assert all((done.output_dir / entry["file"]).is_file() for entry in result["objects"])
    assert all(
        entry["bytes"] == (done.output_dir / entry["file"]).stat().st_size for entry in result["objects"]
    )
    assert (done.output_dir / result["pdf"]).read_bytes().startswith(b"%PDF-")
    assert all((done.output_dir / name).read_bytes()[1:4] == b"PNG" for name in result["previews"])
    assert result["training_kind"] == "synthetic"
    assert result["input_digest"] == done.input_digest


def test_no_object_has_a_dciodvfy_error(done):
    paths = list(done.output_dir.glob("*.dcm"))
    assert len(paths) == 7
    for path in paths:
        assert dciodvfy_errors(path) == [], path


def test_the_segmentation_is_written_deflated(done):
    syntax = dcmread(
        done.output_dir / "segmentation.dcm", stop_before_pixels=True
    ).file_meta.TransferSyntaxUID
    assert syntax == DeflatedExplicitVRLittleEndian


def test_the_segmentation_read_back_is_the_label_volume_voxel_for_voxel(done, objects, volume, case):
    _, truth = case
    seg = hd.seg.segread(done.output_dir / "segmentation.dcm")
    labels = np.zeros(volume.geometry.shape_zyx, dtype=np.uint8)
    places, planes = _slices_on(volume, seg.get_volume(combine_segments=True))
    labels[places] = planes
    present = [n for n in range(1, 44) if (truth.segments_zyx == n).any()]
    assert len(present) == 43
    assert np.array_equal(labels, truth.segments_zyx)
    assert objects["segmentation"].SegmentationType == "BINARY"


def test_segments_have_codes_sides_names_and_colours_of_their_own(objects):
    described = objects["segmentation"].SegmentSequence
    assert [item.SegmentLabel for item in described] == [title_of(s) for s in SEGMENTS]
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in described}) == 43
    for item, one in zip(described, SEGMENTS, strict=True):
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        coded = CODES[one.structure.name]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (
            coded.primary.value, coded.primary.scheme_designator,
        )  # fmt: skip
        equivalent = [code.CodeValue for code in kind.get("EquivalentCodeSequence", [])]
        assert equivalent == [code.value for code in coded.equivalents]
        parts = [code.CodeValue for code in item.get("PrimaryAnatomicStructureSequence", [])]
        assert parts == [code.value for code in coded.parts]
        side = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [code.CodeMeaning.lower() for code in side] == ([one.side.value] if one.side else [])


def test_the_map_is_the_uncertainty(objects, volume, case, done):
    _, truth = case
    image = hd.imread(done.output_dir / "parametric_map.dcm")
    read = image.get_volume(dtype=np.float64)
    places, planes = _slices_on(volume, read)
    values = np.zeros(volume.geometry.shape_zyx)
    values[places] = planes
    wanted = stand_in(truth.segments_zyx).uncertainty_zyx
    mapping = objects["parametric_map"].SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert np.abs(values - wanted).max() <= 0.51 * float(mapping.RealWorldValueSlope)
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "VOXEL_VARIANCE"


def _groups(report: Dataset) -> dict[str, Dataset]:
    """Measurement groups by their tracking identifier."""
    (container,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    found = {}
    for group in container.ContentSequence:
        names = [
            i.TextValue for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "112039"
        ]
        found[names[0]] = group
    return found


def _number(group: Dataset, code: str, derivation: str = "") -> float | None:
    for item in group.ContentSequence:
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == code:
            said = [
                sub.ConceptCodeSequence[0].CodeValue
                for sub in item.get("ContentSequence", [])
                if sub.ConceptNameCodeSequence[0].CodeValue == "121401"
            ]
            if not derivation or said == [derivation]:
                return float(item.MeasuredValueSequence[0].NumericValue)
    return None


def _codes(group: Dataset, name: str) -> list[str]:
    return [
        item.ConceptCodeSequence[0].CodeValue
        for item in group.ContentSequence
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeValue == name
    ]


def test_the_report_has_a_group_for_each_structure_with_the_numbers_that_were_measured(objects, measurements):
    groups = _groups(objects["report"])
    assert len(groups) == 44
    for one in measurements.structures.values():
        group = groups[title_of(one.segment)]
        for code, derivation, value in (
            ("118565006", "", one.volume_ml),
            ("112031", "373098007", one.mean_hu),
            ("112031", "386136009", one.sd_hu),
            ("FAT_FRACTION", "", one.fat_fraction_percent),
            ("LEAN_MASS", "", one.lean_mass_g),
            ("VBMD", "", one.density_mg_cm3),
            ("PSV", "", one.psv),
            ("PDC", "", one.predictive_dice),
        ):
            told = _number(group, code, derivation)
            assert told == (None if value is None else pytest.approx(value, rel=1e-6)), (
                one.segment.name,
                code,
            )
        assert _codes(group, "TRUNCATED") == ["52101004" if one.is_truncated else "272519000"]
        expected = {True: ["52101004"], False: ["272519000"], None: []}
        assert _codes(group, "LOW_ACCURACY") == expected[one.is_unreliable]
        segments = [i.ReferencedSOPSequence[0] for i in group.ContentSequence if i.ValueType == "IMAGE"]
        assert [int(s.ReferencedSegmentNumber) for s in segments if "ReferencedSegmentNumber" in s] == [
            one.segment.number
        ]
    assert _number(groups["Segmentation"], "MC_SAMPLES") == 10


def test_the_side_that_has_less_says_how_much(objects, measurements):
    groups = _groups(objects["report"])
    assert measurements.differences
    for name, difference in measurements.differences.items():
        for side in Side:
            group = groups[title_of(SEGMENTS[segment_number(name, side) - 1])]
            percent = difference.atrophy_percent if side is difference.smaller else None
            deficit = difference.attenuation_deficit_hu if side is difference.less_dense else None
            for code, value in (("ATROPHY_RATIO", percent), ("FATTY_DEGEN_HU", deficit)):
                told = _number(group, code)
                assert told == (None if value is None else pytest.approx(value, rel=1e-6)), (name, side)
    doubtful = groups[title_of(SEGMENTS[DOUBTFUL - 1])]
    assert [
        i.TextValue
        for i in doubtful.ContentSequence
        if i.ValueType == "TEXT" and "Not compared" in i.TextValue
    ]


def test_merged_muscles_name_their_parts(objects):
    group = _groups(objects["report"])["Left vastus lateralis and vastus intermedius"]
    assert _codes(group, "121071") == ["VASTUS_LAT_INT"]
    assert _codes(group, "363698007") == ["22431", "22433"]


def test_numbers_agree_with_the_phantoms_truth(phantom, case, result):
    """The true segments on noisy images give the truth's volumes, and its mean attenuation within noise."""
    _, truth = case
    voxel_ml = truth.geometry.voxel_volume_ml
    for one in SEGMENTS:
        inside = truth.segments_zyx == one.number
        told = result["measurements"]
        assert told[f"{one.name}_volume"]["value"] == pytest.approx(inside.sum() * voxel_ml)
        wanted = float(np.clip(np.rint(phantom.hu_zyx[inside]), -1024, 3071).mean())
        assert told[f"{one.name}_mean_hu"]["value"] == pytest.approx(wanted, abs=0.01)


def test_references_resolve_to_what_was_received_or_made(done, objects):
    sources = [dcmread(path, stop_before_pixels=True) for path in done.inputs["ct"]]
    named = set(references_of(objects.values()))
    assert len(named) > len(sources)
    assert named <= instances_of([*sources, *objects.values()])


def test_patient_and_study_are_unaltered_in_japanese(done, objects):
    source = dcmread(done.inputs["ct"][0])
    name_bytes = source.get_item("PatientName").value
    for name, dataset in objects.items():
        written = dcmread(done.output_dir / f"{name}.dcm")
        if written.SpecificCharacterSet == "ISO_IR 192":
            assert name == "report_pdf"  # its title is Japanese, which not every source can hold
        else:
            assert written.get_item("PatientName").value == name_bytes, name
        assert str(dataset.PatientName) == JAPANESE_NAME, name
        for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
            assert dataset.get(keyword) == source.get(keyword), (name, keyword)


def test_the_synthetic_statement_is_wherever_a_reader_looks(done, objects):
    for name, dataset in objects.items():
        assert STATEMENT in dataset.SeriesDescription, name
    texts: list[str] = []
    objects["report"].walk(lambda _, e: texts.append(e.value) if e.keyword == "TextValue" else None)
    assert STATEMENT in texts
    assert "The model has something to say." in texts
    (series,) = {
        dataset.SeriesDescription
        for dataset in objects.values()
        if dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    }
    assert any("'Uncertainty'" in text for text in texts)
    assert series.startswith("Uncertainty")
    assert STATEMENT.encode()[1:] in (done.output_dir / "report.pdf").read_bytes()


def test_density_is_uncalibrated_unless_the_site_says_its_line(result, objects):
    assert any("not calibrated" in warning for warning in result["warnings"])
    assert '"UNCALIBRATED"' in objects["report"].to_json()


def test_a_site_chooses_label_map_and_calibration_and_sees_progress(
    case, bundle, tmp_path, true_segments, capfd
):
    folder, truth = case
    told: list[tuple[str, float]] = []
    line = {"slope": 1.1, "intercept": -7.0}
    job = dataclasses.replace(
        _job(folder, bundle, tmp_path, segmentation_kind="LABELMAP", bmd_calibration=line),
        report_progress=lambda stage, share: told.append((stage, share)),
    )
    result = _run(job)
    assert "".join(capfd.readouterr()) == ""
    assert ("segmenting", 0.5) in told
    assert list(dict.fromkeys(stage for stage, _ in told)) == [
        "reading slices", "segmenting", "measuring", "drawing and encoding",
    ]  # fmt: skip
    assert not any("not calibrated" in warning for warning in result["warnings"])
    mean = result["measurements"]["femur_left_mean_hu"]["value"]
    assert result["measurements"]["femur_left_density"]["value"] == pytest.approx(1.1 * mean - 7.0)
    assert '"SITE_CALIBRATED"' in _objects(job)["report"].to_json()
    seg = hd.seg.segread(job.output_dir / "segmentation.dcm")
    assert seg.SegmentationType == "LABELMAP"
    volume = read_ct_volume(job.inputs["ct"])
    labels = np.zeros(volume.geometry.shape_zyx, dtype=np.uint8)
    places, planes = _slices_on(volume, seg.get_volume(combine_segments=True))
    labels[places] = planes
    assert np.array_equal(labels, truth.segments_zyx)


def test_one_side_alone_says_so(case, volume, done):
    _, truth = case
    right = [s.number for s in SEGMENTS if s.side is not Side.LEFT]
    one_sided = np.where(np.isin(truth.segments_zyx, right), truth.segments_zyx, 0)
    findings = msk.measure_study(done, volume, stand_in(one_sided))
    assert "Only the right side was found: sides are not compared." in findings.warnings
    assert findings.measurements.differences == {}
    assert findings.measurements.not_compared["gluteus_medius"] == "one side was not found"


# ----------------------------------------------------------------- refusals


def _changed(case: tuple[Path, Truth], tmp_path: Path, change: Callable[[Dataset, int], None]) -> Path:
    """A copy of the phantom's slices, each changed."""
    source = tmp_path / "in"
    source.mkdir(parents=True)
    for number, path in enumerate(sorted(case[0].iterdir())):
        dataset = dcmread(path)
        change(dataset, number)
        dataset.save_as(source / path.name)
    return source


def test_metal_of_one_hip_marks_its_side_and_metal_of_both_is_refused(case, bundle, tmp_path, volume):
    _, truth = case
    found = stand_in(truth.segments_zyx)
    job = _job(case[0], bundle, tmp_path)
    heads = {}
    for side in Side:
        femur = np.argwhere(found.segments_zyx == segment_number("femur", side))
        heads[side] = tuple(femur[femur[:, 0] > femur[:, 0].max() - 6].mean(axis=0).astype(int))
    implant = volume.hu_zyx.copy()
    for side, words in ((Side.LEFT, "Metal on the left side"), (Side.RIGHT, "")):
        z, y, x = heads[side]
        implant[z - 2 : z + 3, y - 3 : y + 4, x - 3 : x + 4] = 3071.0
        changed = dataclasses.replace(volume, hu_zyx=implant)
        if words:
            findings = msk.measure_study(job, changed, found)
            assert any(warning.startswith(words) for warning in findings.warnings)
            structures = findings.measurements.structures
            assert structures[segment_number("femur", Side.LEFT)].is_unreliable
            assert not structures[segment_number("femur", Side.RIGHT)].is_unreliable
            assert "gluteus_medius" in findings.measurements.not_compared
        else:
            with pytest.raises(Refused, match="both sides") as refused:
                msk.measure_study(job, changed, found)
            assert refused.value.attribute == "PixelData"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d, n: setattr(d, "ImagePositionPatient", _moved(d, y=0.4 * n)), "tilted"),
        (lambda d, n: setattr(d, "ImagePositionPatient", _moved(d, z=3.0 * (n > 40))), "slices are missing"),
        (lambda d, n: setattr(d, "ImagePositionPatient", _moved(d, z=1.0 * (n > 40))), "evenly spaced"),
        (lambda d, _: setattr(d, "BodyPartExamined", "CHEST"), "the body part"),
        (lambda d, _: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
        (lambda d, _: setattr(d, "ImageType", ["DERIVED", "SECONDARY", "MPR"]), "reformatted"),
    ],
)
def test_a_study_that_the_rules_do_not_take_is_refused_with_the_reason(case, bundle, tmp_path, change, words):
    with pytest.raises(Refused, match=words):
        _job(_changed(case, tmp_path, change), bundle, tmp_path)


def _moved(dataset: Dataset, *, y: float = 0.0, z: float = 0.0) -> list[float]:
    a, b, c = (float(v) for v in dataset.ImagePositionPatient)
    return [a, b + y, c + z]


@pytest.mark.parametrize(
    ("keyword", "value", "warning"),
    [
        ("KVP", 80, "tube voltage"),
        ("PatientPosition", "HFP", "lie on their back"),
        ("ImageType", ["DERIVED", "SECONDARY", "AXIAL"], "derived images"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL", "VMI"], "derived images"),
        ("LossyImageCompression", "01", "lossy compression"),
    ],
)
def test_what_attenuation_depends_on_is_warned_of(case, bundle, tmp_path, keyword, value, warning):
    plain = _job(_changed(case, tmp_path / "plain", lambda d, _: setattr(d, "KVP", 120)), bundle, tmp_path)
    assert not any(warning in told for told in plain.warnings)
    source = _changed(case, tmp_path / "changed", lambda d, _: setattr(d, keyword, value))
    assert any(warning in told for told in _job(source, bundle, tmp_path / "other").warnings)


def test_contrast_is_taken_with_a_warning(case, bundle, tmp_path, volume):
    source = _changed(case, tmp_path, lambda d, _: setattr(d, "ContrastBolusAgent", "Iohexol"))
    job = _job(source, bundle, tmp_path)
    findings = msk.measure_study(job, volume, stand_in(case[1].segments_zyx))
    assert any("contrast agent raises attenuation" in warning for warning in findings.warnings)


def test_feet_first_gives_the_same_numbers_on_the_same_sides(case, bundle, tmp_path, result):
    """Slices in the order of the feet and rows from left to right: the array turns, the patient does not."""

    def change(dataset: Dataset, number: int) -> None:
        width = (dataset.Columns - 1) * float(dataset.PixelSpacing[1])
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.PatientPosition = "FFS"
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [x + width, y, z]
        dataset.PixelData = np.ascontiguousarray(dataset.pixel_array[:, ::-1]).tobytes()

    _, truth = case
    source = _changed(case, tmp_path, change)
    job = _job(source, bundle, tmp_path)
    volume = read_ct_volume(job.inputs["ct"])
    assert volume.geometry.direction_lps_zyx[0] == (0, 0, -1)
    found = stand_in(np.ascontiguousarray(truth.segments_zyx[::-1, :, ::-1]))
    turned = quantify(
        volume.hu_zyx,
        found.segments_zyx,
        volume.geometry,
        psv=found.psv,
        predictive_dice=found.predictive_dice,
    )
    for one in turned.structures.values():
        for key, value in (("mean_hu", one.mean_hu), ("volume", one.volume_ml)):
            told = result["measurements"][f"{one.segment.name}_{key}"]["value"]
            assert value == pytest.approx(told, abs=0.01)
    for name in ("femur", "gluteus_maximus"):
        right, left = (
            volume.geometry.position_mm_lps(
                tuple(np.argwhere(found.segments_zyx == segment_number(name, side)).mean(axis=0))
            )[0]
            for side in Side
        )
        assert right < left - 100


def test_positions_rounded_by_the_scanner_end_in_results_that_verify(case, bundle, tmp_path):
    """Each slice's results lie where the slice says it is, not where an even stack would have it."""

    def change(dataset: Dataset, number: int) -> None:
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, round(z - 0.37 * number, 1)]

    source = _changed(case, tmp_path, change)
    job = _job(source, bundle, tmp_path)
    volume = read_ct_volume(job.inputs["ct"])
    found = stand_in(case[1].segments_zyx)
    producer = msk.producer_of(job, {"training": {"kind": "synthetic"}})
    findings = msk.measure_study(job, volume, found)
    fine = dataclasses.replace(results.uncertainty_map(findings), in_plane_step=2)
    for dataset in (
        encode_segmentation(results.label_volume(findings), producer, SegmentationKind.BINARY).dataset,
        encode_map(fine, producer).dataset,
    ):
        told = {
            float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
            for frame in dataset.PerFrameFunctionalGroupsSequence
        }
        assert told <= {float(one.ImagePositionPatient[2]) for one in volume.instances}


# ---------------------------------------------------------- the shipped model


@pytest.fixture(scope="module")
def sample() -> CtVolume:
    """The upper half of the sample study, which holds both hips."""
    files = sorted(SAMPLE.glob("*.dcm"), key=lambda path: float(_header(path).ImagePositionPatient[2]))
    return read_ct_volume(files[len(files) // 2 :])


def _header(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True)


@pytest.fixture(scope="module")
def found(sample) -> Segmentation:
    """What the shipped model finds in the sample study, with as few passes as it takes."""
    return segment(sample, bundle=APP_DIR / "model", device="cpu", profile="cpu", passes=2)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1.0)


def _agreement(one: np.ndarray, other: np.ndarray, numbers: list[int]) -> float:
    return float(np.mean([_dice(one == n, other == n) for n in numbers]))


def _large(segments_zyx: np.ndarray) -> list[int]:
    counts = np.bincount(segments_zyx.ravel(), minlength=44)
    return [n for n in range(1, 44) if counts[n] > 400]


def test_the_shipped_model_finds_both_sides_of_the_sample(found):
    numbers = _large(found.segments_zyx)
    assert {
        segment_number(name, side) for name in ("pelvis", "femur", "gluteus_maximus") for side in Side
    } <= set(numbers)
    assert len(numbers) >= 30
    assert found.uncertainty_zyx.min() >= 0
    assert found.uncertainty_zyx.max() > 0


def test_the_same_anatomy_is_found_whichever_way_the_axes_run(sample, found):
    """Slices from the feet, rows from the left, columns from the back, rows and columns exchanged."""
    geometry = sample.geometry
    slices, rows, columns = geometry.shape_zyx
    directions = np.asarray(geometry.direction_lps_zyx)
    turned = VolumeGeometry(
        (slices, columns, rows),
        (geometry.spacing_mm_zyx[0], geometry.spacing_mm_zyx[2], geometry.spacing_mm_zyx[1]),
        tuple(geometry.position_mm_lps((slices - 1, rows - 1, columns - 1)).tolist()),
        tuple(map(tuple, (-directions[[0, 2, 1]]).tolist())),
    )
    hu = np.ascontiguousarray(sample.hu_zyx[::-1, ::-1, ::-1].transpose(0, 2, 1))
    again = segment(
        dataclasses.replace(sample, hu_zyx=hu, geometry=turned),
        bundle=APP_DIR / "model", device="cpu", profile="cpu", passes=2,
    )  # fmt: skip
    back = again.segments_zyx.transpose(0, 2, 1)[::-1, ::-1, ::-1]
    assert _agreement(back, found.segments_zyx, _large(found.segments_zyx)) > 0.97


def test_the_same_anatomy_is_found_when_the_patient_lies_tilted(sample, found):
    """The images rotated by four degrees in their plane, as a patient lies who is not straight."""
    from scipy import ndimage

    hu = ndimage.rotate(sample.hu_zyx, 4.0, axes=(1, 2), reshape=False, order=1, cval=-1024.0)
    again = segment(
        dataclasses.replace(sample, hu_zyx=hu),
        bundle=APP_DIR / "model", device="cpu", profile="cpu", passes=2,
    )  # fmt: skip
    expected = ndimage.rotate(found.segments_zyx, 4.0, axes=(1, 2), reshape=False, order=0)
    assert _agreement(again.segments_zyx, expected, _large(expected)) > 0.8


def _labelled_hip(folder: Path, hu_zyx: np.ndarray, spacing_mm: tuple[float, float, float]) -> Path:
    """A CT whose header says that it is a hip, whatever its pixels show."""
    geometry = VolumeGeometry(
        hu_zyx.shape, spacing_mm, (-150.0, -150.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )
    study = CtPhantomStudy(kind="OTHER", seed=1, station="A", body_part="HIP", description="CT hip")
    write_ct_series(folder, hu_zyx, geometry, study)
    return folder


def _chest() -> np.ndarray:
    """A trunk with two lungs, a heart, a spine and ribs."""
    z, y, x = np.ogrid[-40:40, -64:64, -64:64]
    hu = np.full((80, 128, 128), -1000.0)
    body = (x / 58) ** 2 + (y / 40) ** 2 < 1
    hu[np.broadcast_to(body, hu.shape)] = -90.0
    hu[np.broadcast_to((x / 54) ** 2 + (y / 36) ** 2 < 1, hu.shape)] = 45.0
    ribs = ((x / 50) ** 2 + (y / 32) ** 2 < 1) & ((z + y // 3) % 12 < 4)
    hu[ribs] = 400.0
    hu[np.broadcast_to((x / 46) ** 2 + (y / 28) ** 2 < 1, hu.shape)] = 40.0
    for side in (-1, 1):
        lung = ((x - side * 25) / 19) ** 2 + (y / 25) ** 2 + (z / 60) ** 2 < 1
        hu[lung] = -840.0
    hu[np.broadcast_to((x / 9) ** 2 + ((y - 22) / 9) ** 2 < 1, hu.shape)] = 250.0
    return hu


def _head() -> np.ndarray:
    """A skull with a brain in it."""
    z, y, x = np.ogrid[-40:40, -64:64, -64:64]
    radius = (x / 36) ** 2 + (y / 46) ** 2 + (z / 50) ** 2
    hu = np.full((80, 128, 128), -1000.0)
    hu[radius < 1.25] = 30.0
    hu[radius < 1.0] = 1100.0
    hu[radius < 0.8] = 35.0
    return hu


@pytest.mark.parametrize("make", [_chest, _head])
def test_another_part_of_the_body_that_is_labelled_hip_is_refused_by_its_content(tmp_path, make):
    noise = np.random.default_rng(0).normal(0, 12, (80, 128, 128))
    source = _labelled_hip(tmp_path / "in", make() + noise, (2.5, 2.4, 2.4))
    job = _job(source, APP_DIR / "model", tmp_path, passes=2)
    with pytest.raises(Refused, match="hip or thigh") as refused:
        msk.build_app(job).run()
    assert refused.value.attribute == "PixelData"
    assert not (job.output_dir / "result.json").exists()


def test_the_sample_study_goes_through_the_whole_app(tmp_path):
    result = _run(_job(SAMPLE, APP_DIR / "model", tmp_path, passes=2))
    assert result["training_kind"] == "synthetic"
    assert result["measurements"]["femur_left_volume"]["value"] > 50
    assert {entry["role"] for entry in result["objects"]} >= {"segmentation", "parametric_map", "report"}


def test_segments_and_classes_agree_with_their_descriptions():
    assert [s.label for s in SEGMENT_DESCRIPTIONS] == list(range(1, 44))
    assert classes_of(np.array([9, 10])).tolist() == [5, 5]
