"""A parametric map is checked like a segmentation, but may have other pixels than its source."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ParametricMapStorage

from dicom_node.errors import BrokenPromise
from dicom_node.verify import OutputPromise, verify_results
from dicom_node.verify.geometry import check_geometry
from dicom_node.verify.sources import Sources, known_instance
from operators.encode import codes
from operators.encode.identity import Producer
from operators.encode.parametric_map import MapStorage, build_parametric_map
from tests.made_results import (
    IDENTITY,
    OUTPUTS,
    STATEMENT,
    MadeResult,
    ct_grid,
    make_result,
)

GRID = ct_grid()
PRODUCER = Producer(
    app=IDENTITY.app,
    app_version=IDENTITY.app_version,
    title="Test",
    intended_use="A test.",
    model_digest=IDENTITY.model_digest,
    input_digest=IDENTITY.input_digest,
    training_kind="synthetic",
    statement=STATEMENT,
    created=datetime(2026, 1, 2, tzinfo=UTC),
)


def make_map(
    sources: list[Dataset], *, step: int = 1, storage: MapStorage = MapStorage.INTEGER_16
) -> Dataset:
    values = np.random.default_rng(0).gamma(1.0, 1.0, GRID.shape_zyx).astype(np.float32)
    return build_parametric_map(
        values,
        GRID,
        sources,
        quantity=codes.private("VARIANCE", "Variance"),
        unit=codes.NO_UNITS,
        label="Variance",
        producer=PRODUCER,
        in_plane_step=step,
        storage=storage,
    ).dataset


@pytest.fixture
def result(tmp_path: Path) -> MadeResult:
    """A result with a map in addition."""
    made = make_result(tmp_path)
    dataset = make_map([dcmread(path) for path in made.inputs])
    dataset.save_as(made.directory / "parametric_map.dcm", enforce_file_format=True)
    made.edit_manifest(
        lambda manifest: manifest["objects"].append(
            {"role": "parametric_map", "file": "parametric_map.dcm", "bytes": 1}
        )
    )
    return made


def verify(result: MadeResult) -> None:
    verify_results(
        result.directory,
        (*OUTPUTS, OutputPromise(role="parametric_map", sop_class=ParametricMapStorage)),
        result.inputs,
        study_instances=result.study_instances,
        identity=IDENTITY,
    )


def refuse(result: MadeResult, change: Callable[[Dataset], object], why: str) -> None:
    result.edit("parametric_map.dcm", change)
    with pytest.raises(BrokenPromise, match=why):
        verify(result)


@pytest.mark.parametrize("storage", MapStorage)
@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_map_of_the_source_or_coarser_passes(result: MadeResult, step: int, storage: MapStorage) -> None:
    dataset = make_map([dcmread(path) for path in result.inputs], step=step, storage=storage)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(result.directory / "parametric_map.dcm", enforce_file_format=True)
    verify(result)


def test_a_map_that_is_cut_is_broken(result: MadeResult) -> None:
    def cut(dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[:-100]

    refuse(result, cut, "shorter than its rows")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_broken(result: MadeResult, value: float) -> None:
    dataset = make_map([dcmread(path) for path in result.inputs], storage=MapStorage.FLOAT_32)
    stored = np.frombuffer(dataset.FloatPixelData, "<f4").copy()
    stored[77] = value
    dataset.FloatPixelData = stored.tobytes()
    dataset.save_as(result.directory / "parametric_map.dcm", enforce_file_format=True)
    with pytest.raises(BrokenPromise, match="FloatPixelData is not finite"):
        verify(result)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RealWorldValueSlope", 0.0),
        ("RealWorldValueSlope", float("nan")),
        ("RealWorldValueIntercept", float("inf")),
        ("MeasurementUnitsCodeSequence", []),
        ("QuantityDefinitionSequence", []),
    ],
)
def test_values_that_nobody_can_read_are_broken(result: MadeResult, keyword: str, value: object) -> None:
    def change(dataset: Dataset) -> None:
        setattr(dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0], keyword, value)

    refuse(result, change, keyword)


def test_a_map_without_mapping_is_broken(result: MadeResult) -> None:
    def change(dataset: Dataset) -> None:
        del dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence

    refuse(result, change, "RealWorldValueMappingSequence")


def test_a_map_of_another_patient_is_broken(result: MadeResult) -> None:
    refuse(result, lambda dataset: setattr(dataset, "PatientID", "OTHER"), "PatientID")


def test_a_map_of_an_image_that_was_never_received_is_broken(result: MadeResult) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = "2.25.404"

    refuse(result, change, "neither a received instance")


@pytest.mark.parametrize(
    ("position", "why"),
    [
        ([-16.0, -12.0, 2.5], "2.5 mm away from the nearest slice"),
        ([-30.0, -12.0, 0.0], "out of the slice"),
        ([-16.0, 2.0, 0.0], "out of the slice"),
    ],
)
def test_a_frame_beside_the_slices_is_broken(result: MadeResult, position: list[float], why: str) -> None:
    def change(dataset: Dataset) -> None:
        dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = position

    refuse(result, change, why)


def test_a_frame_turned_against_the_slices_is_broken(result: MadeResult) -> None:
    def change(dataset: Dataset) -> None:
        orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        orientation.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]

    refuse(result, change, "another orientation")


def test_pixels_that_make_a_frame_larger_than_its_slice_are_broken(result: MadeResult) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [2.0, 3.0]

    refuse(result, change, "out of the slice")


def test_a_frame_that_names_another_slice_than_its_own_is_broken(result: MadeResult) -> None:
    def change(dataset: Dataset) -> None:
        frames = dataset.PerFrameFunctionalGroupsSequence
        one, other = (frames[n].PlanePositionSequence[0].ImagePositionPatient for n in (0, 2))
        frames[0].PlanePositionSequence[0].ImagePositionPatient = other
        frames[2].PlanePositionSequence[0].ImagePositionPatient = one

    refuse(result, change, "lie elsewhere")


def test_sizes_in_the_table_of_contents_are_for_people(result: MadeResult) -> None:
    verify(result)
    assert json.loads((result.directory / "result.json").read_text())["objects"][-1]["bytes"] == 1


def test_slices_of_several_orientations_in_one_series_are_told_apart(result: MadeResult) -> None:
    """A localizer of other size that begins where a slice begins does not hide it."""
    slices = [dcmread(path) for path in result.inputs]
    segmentation = dcmread(result.directory / "segmentation.dcm")
    map_ = make_map(slices)
    scout = dcmread(result.inputs[0])
    scout.SOPInstanceUID = "2.25.555"
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.Rows, scout.Columns, scout.PixelSpacing = 99, 77, [1.0, 1.0]
    for made in (segmentation, map_):
        reference = Dataset()
        reference.ReferencedSOPInstanceUID = scout.SOPInstanceUID
        made.SourceImageSequence = [*made.get("SourceImageSequence", []), reference]
        for order in ([scout, *slices], [*slices, scout]):
            known = {str(one.SOPInstanceUID): known_instance(one) for one in order}
            check_geometry("made.dcm", made, Sources(tuple(order), known))
