"""A presentation state draws inside the images that the app was given, and shows them as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from dicom_node.errors import BrokenPromise
from dicom_node.verify import OutputPromise, verify_results
from operators.encode.identity import Producer
from operators.encode.marks import Box, Point
from operators.encode.messages import Markings
from operators.encode.presentation_state import build_presentation_states
from tests.made_results import COLUMNS, IDENTITY, OUTPUTS, ROWS, STATEMENT, MadeResult, make_result, new_uid

FILE = "presentation_state_1.dcm"
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


@pytest.fixture
def result(tmp_path: Path) -> MadeResult:
    """A result with marks over two of its four images in addition."""
    made = make_result(tmp_path)
    box = Box(corners_yx=((2, 3), (ROWS, COLUMNS)), label="Hip")
    sources = [dcmread(path, stop_before_pixels=True) for path in made.inputs[:2]]
    markings = [
        Markings(source=source, boxes=(box,), points=(Point(position_yx=(1, 1)),)) for source in sources
    ]
    (state,) = build_presentation_states(markings, PRODUCER)
    state.dataset.save_as(made.directory / FILE, enforce_file_format=True)
    made.edit_manifest(
        lambda manifest: manifest["objects"].append({"role": "presentation_state", "file": FILE})
    )
    return made


def verify(result: MadeResult) -> list[str]:
    promise = OutputPromise(
        role="presentation_state", sop_class=GrayscaleSoftcopyPresentationStateStorage, count="1..n"
    )
    objects = verify_results(
        result.directory,
        (*OUTPUTS, promise),
        result.inputs,
        study_instances=result.study_instances,
        identity=IDENTITY,
    )
    return [item.role for item in objects]


def graphic(state: Dataset) -> Dataset:
    return state.GraphicAnnotationSequence[0].GraphicObjectSequence[0]


def test_marks_over_images_that_the_app_was_given_pass(result: MadeResult) -> None:
    assert "presentation_state" in verify(result)


def leave_no_image(state: Dataset) -> None:
    state.ReferencedSeriesSequence = []


def name_another_image(state: Dataset) -> None:
    state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID = new_uid()


def forget_an_image(state: Dataset) -> None:
    del state.ReferencedSeriesSequence[0].ReferencedImageSequence[1]


def name_another_series(state: Dataset) -> None:
    state.ReferencedSeriesSequence[0].SeriesInstanceUID = new_uid()


def draw_nothing(state: Dataset) -> None:
    state.GraphicAnnotationSequence = []


def draw_outside(state: Dataset) -> None:
    graphic(state).GraphicData = [0.0, 0.0, float(COLUMNS) + 1, 0.0]


def draw_in_no_layer(state: Dataset) -> None:
    del state.GraphicLayerSequence[0]


def show_a_part(state: Dataset) -> None:
    state.DisplayedAreaSelectionSequence[0].DisplayedAreaBottomRightHandCorner = [COLUMNS, ROWS - 1]


def invert(state: Dataset) -> None:
    state.PresentationLUTShape = "INVERSE"


def draw_no_statement(state: Dataset) -> None:
    state.GraphicAnnotationSequence[-1].TextObjectSequence[0].UnformattedTextValue = "AI"


def lose_an_attribute(state: Dataset) -> None:
    del graphic(state).GraphicAnnotationUnits


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (leave_no_image, "is for no image"),
        (name_another_image, "which the app was not given"),
        (forget_an_image, "on an image that ReferencedSeriesSequence does not name"),
        (name_another_series, "in a series that it is not in"),
        (draw_nothing, "draws nothing"),
        (draw_outside, "outside of its image"),
        (draw_in_no_layer, "in a layer that GraphicLayerSequence does not describe"),
        (show_a_part, "is not the whole image"),
        (invert, "inverts its image"),
        (draw_no_statement, "does not say"),
        (lose_an_attribute, "lacks GraphicAnnotationUnits"),
    ],
)
def test_a_state_that_does_not_fit_its_images_is_caught(
    result: MadeResult, change: Callable[[Dataset], None], sentence: str
) -> None:
    result.edit(FILE, change)
    with pytest.raises(BrokenPromise, match=sentence):
        verify(result)


def test_a_received_image_that_the_app_was_not_given_is_none_of_its_business(result: MadeResult) -> None:
    """It is in the study, so a reference to it resolves; but what the app saw is not in it."""
    other = new_uid()

    def name_it(state: Dataset) -> None:
        item = copy.deepcopy(state.ReferencedSeriesSequence[0].ReferencedImageSequence[0])
        item.ReferencedSOPInstanceUID = other
        state.ReferencedSeriesSequence[0].ReferencedImageSequence.append(item)

    result.edit(FILE, name_it)
    study = MadeResult(result.directory, result.inputs, result.study_instances | {other})
    with pytest.raises(BrokenPromise, match="which the app was not given"):
        verify(study)
