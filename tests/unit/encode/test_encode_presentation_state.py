"""A presentation state draws the marks where they are, and leaves the image as it was."""

from __future__ import annotations

import copy
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)

from operators.encode import codes
from operators.encode.marks import Box, Point
from operators.encode.messages import Markings
from operators.encode.presentation_state import build_presentation_states
from operators.encode.report import Group, Region, build_report

DCMP2PGM = "/usr/bin/dcmp2pgm"
BOX = Box(corners_yx=((10, 20), (30, 44.5)), label="Right hip", target="Right hip")


@pytest.fixture
def digital(radiograph: Dataset) -> Dataset:
    """A DX image for presentation, bone bright."""
    dx = copy.deepcopy(radiograph)
    dx.SOPClassUID = dx.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dx.Modality, dx.PhotometricInterpretation, dx.PresentationLUTShape = "DX", "MONOCHROME2", "IDENTITY"
    dx.PresentationIntentType = "FOR PRESENTATION"
    dx.RescaleIntercept, dx.RescaleSlope, dx.RescaleType = "0", "1", "US"
    dx.PixelSpacing = [0.18, 0.18]
    return dx


@pytest.fixture
def sagittal_mr(radiograph: Dataset) -> list[Dataset]:
    """Three slices of a sagittal series, the last with a window of its own."""
    slices = []
    for number in range(3):
        mr = copy.deepcopy(radiograph)
        mr.SOPClassUID = mr.file_meta.MediaStorageSOPClassUID = MRImageStorage
        mr.SOPInstanceUID = mr.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.3.{number}"
        mr.Modality, mr.PhotometricInterpretation = "MR", "MONOCHROME2"
        del mr.ImagerPixelSpacing
        mr.PixelSpacing, mr.FrameOfReferenceUID = [0.7, 0.7], "1.2.826.0.1.3680043.8.498.3.9"
        mr.ImagePositionPatient = [4.0 * number, -20.0, 20.0]
        mr.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        slices.append(mr)
    slices[2].WindowCenter = "300"
    return slices


def _state(source: Dataset, producer, **content):
    content = {"boxes": (BOX,)} | content
    (encoded,) = build_presentation_states([Markings(source=source, **content)], producer)
    return encoded.dataset


def _read(dataset: Dataset) -> Dataset:
    """What another program finds in the file."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return dcmread(BytesIO(file.getvalue()))


def _j2k(image: Dataset) -> Dataset:
    compressed = copy.deepcopy(image)
    compressed.BitsAllocated, compressed.BitsStored, compressed.HighBit = 16, 16, 15
    compressed.compress(JPEG2000Lossless)
    return compressed


# ------------------------------------------------------------------ validity


def test_a_state_over_a_cr_has_no_dciodvfy_error(radiograph, producer, dicom_errors):
    assert dicom_errors(_state(radiograph, producer)) == []


def test_a_state_over_a_dx_has_no_dciodvfy_error(digital, producer, dicom_errors):
    assert dicom_errors(_state(digital, producer)) == []


def test_a_state_over_slices_of_an_mr_has_no_dciodvfy_error(sagittal_mr, producer, dicom_errors):
    (encoded,) = build_presentation_states([Markings(source=s, boxes=(BOX,)) for s in sagittal_mr], producer)
    assert dicom_errors(encoded.dataset) == []


def test_a_state_over_a_jpeg_2000_image_is_itself_uncompressed_and_valid(radiograph, producer, dicom_errors):
    state = _state(_j2k(radiograph), producer)
    assert state.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert "PixelData" not in state
    assert dicom_errors(state) == []


@pytest.mark.parametrize("name", ["RG2_J2KI", "RG3_J2KI"])
def test_states_over_real_radiographs_are_valid_and_show_them_as_before(
    name, shared_data, producer, dicom_errors, tmp_path
):
    """Bone bright with known pixels, and bone dark (MONOCHROME1) without."""
    image = dcmread(shared_data / "real_cr_nm" / name)
    box = Box(corners_yx=((300, 400), (900, 1000)), label="Hip")
    state = _state(image, producer, boxes=(box,))
    assert dicom_errors(state) == []
    image.decompress()
    before, after = _as_shown(image, None, tmp_path), _as_shown(image, state, tmp_path)
    assert before.shape == (image.Rows, image.Columns)
    assert np.ptp(before) > 200
    assert np.abs(after.astype(int) - before).max() <= 1


# ------------------------------------------------------------------ marks


def test_a_box_is_a_closed_line_in_pixels_and_its_label_stands_above_it(radiograph, producer):
    findings = _read(_state(radiograph, producer)).GraphicAnnotationSequence[0]
    (graphic,) = findings.GraphicObjectSequence
    assert (graphic.GraphicType, graphic.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
    points = np.array(graphic.GraphicData).reshape(-1, 2)
    assert points.tolist() == [[20, 10], [44.5, 10], [44.5, 30], [20, 30], [20, 10]]
    (label,) = findings.TextObjectSequence
    assert label.UnformattedTextValue == "Right hip"
    assert label.BoundingBoxBottomRightHandCorner[1] == 10
    assert label.BoundingBoxTopLeftHandCorner[0] == 20


def test_the_label_of_a_box_at_the_upper_border_stands_below_it(radiograph, producer):
    box = Box(corners_yx=((0, 0), (30, 40)), label="Hip")
    (label,) = _state(radiograph, producer, boxes=(box,)).GraphicAnnotationSequence[0].TextObjectSequence
    assert label.BoundingBoxTopLeftHandCorner[1] == 30


def test_a_label_stays_inside_an_image_that_its_mark_fills(radiograph, producer):
    box = Box(corners_yx=((0, 0), (48, 64)), label="Hip")
    (label,) = _state(radiograph, producer, boxes=(box,)).GraphicAnnotationSequence[0].TextObjectSequence
    assert label.BoundingBoxBottomRightHandCorner[1] == pytest.approx(48, abs=1e-4)


def test_a_box_that_leaves_the_image_is_cut_at_its_border(radiograph, producer):
    state = _state(radiograph, producer, boxes=(Box(corners_yx=((-5, 50), (20, 99))),))
    points = np.array(state.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicData).reshape(-1, 2)
    assert (points.min(axis=0).tolist(), points.max(axis=0).tolist()) == ([50, 0], [64, 20])


def test_a_box_outside_of_the_image_is_refused(radiograph, producer):
    with pytest.raises(ValueError, match="corner of a box"):
        _state(radiograph, producer, boxes=(Box(corners_yx=((60, 50), (70, 60))),))


def test_a_point_outside_of_the_image_is_refused(radiograph, producer):
    with pytest.raises(ValueError, match="outside of its image"):
        _state(radiograph, producer, points=(Point(position_yx=(50, 3)),))


def test_an_image_is_not_marked_twice(radiograph, producer):
    twice = [Markings(source=radiograph, boxes=(BOX,))] * 2
    with pytest.raises(ValueError, match="marked twice"):
        build_presentation_states(twice, producer)


def test_a_mark_carries_the_tracking_identifier_of_its_group_in_the_report(radiograph, producer):
    """So that a reader of both knows which measurements belong to which box."""
    graphic = _state(radiograph, producer).GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    group = Group(tracking_id="Right hip", finding=codes.HIP_JOINT, region=Region(image=radiograph, box=BOX))
    report = build_report(
        (group,), [radiograph], producer, procedure=codes.private("HIP_XRAY", "Hip radiograph")
    )
    items = report.ContentSequence[-2].ContentSequence[0].ContentSequence
    assert graphic.TrackingID == "Right hip"
    assert graphic.TrackingUID in [item.UID for item in items if item.ValueType == "UIDREF"]


def test_the_verdict_and_the_statement_are_drawn_over_every_image(sagittal_mr, producer):
    markings = [
        Markings(source=s, verdict=("L1: indeterminate", "T1 and STIR disagree")) for s in sagittal_mr
    ]
    (encoded,) = build_presentation_states(markings, producer)
    drawn: dict[str, list[str]] = {}
    for annotation in encoded.dataset.GraphicAnnotationSequence:
        for image in annotation.ReferencedImageSequence:
            texts = [text.UnformattedTextValue for text in annotation.TextObjectSequence]
            drawn.setdefault(image.ReferencedSOPInstanceUID, []).extend(texts)
    statement = "Research use, trained on synthetic data"
    expected = ["L1: indeterminate", "T1 and STIR disagree", statement]
    assert drawn == {str(s.SOPInstanceUID): expected for s in sagittal_mr}


def test_lines_of_the_verdict_do_not_cover_each_other(radiograph, producer):
    state = _state(radiograph, producer, boxes=(), verdict=("one", "two"))
    first, second = state.GraphicAnnotationSequence[0].TextObjectSequence
    assert second.BoundingBoxTopLeftHandCorner[1] >= first.BoundingBoxBottomRightHandCorner[1]


# ------------------------------------------------------------------ which images share a state


def test_slices_of_a_series_share_a_state_that_names_each_of_them(sagittal_mr, producer):
    (encoded,) = build_presentation_states([Markings(source=s, boxes=(BOX,)) for s in sagittal_mr], producer)
    (series,) = encoded.dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sagittal_mr[0].SeriesInstanceUID
    named = [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in series.ReferencedImageSequence]
    assert named == [(MRImageStorage, s.SOPInstanceUID) for s in sagittal_mr]


def test_each_slice_keeps_its_own_window(sagittal_mr, producer):
    (encoded,) = build_presentation_states([Markings(source=s, boxes=(BOX,)) for s in sagittal_mr], producer)
    windows = {
        image.ReferencedSOPInstanceUID: float(item.WindowCenter)
        for item in _read(encoded.dataset).SoftcopyVOILUTSequence
        for image in item.ReferencedImageSequence
    }
    assert list(windows.values()) == [511.0, 511.0, 300.0]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("Rows", 40),
        ("PhotometricInterpretation", "MONOCHROME2"),
        ("SeriesInstanceUID", "1.2.826.0.1.3680043.8.498.2.7"),
        ("ImagerPixelSpacing", [0.15, 0.15]),
        ("ShutterShape", "RECTANGULAR"),
    ],
)
def test_images_that_differ_in_what_a_state_says_once_get_one_each(radiograph, producer, keyword, value):
    other = copy.deepcopy(radiograph)
    other.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.2.9"
    setattr(other, keyword, value)
    states = build_presentation_states(
        [Markings(source=s, boxes=(BOX,)) for s in (radiograph, other)], producer
    )
    assert [state.number for state in states] == [1, 2]
    assert len({state.dataset.SOPInstanceUID for state in states}) == 2
    assert len({state.dataset.SeriesInstanceUID for state in states}) == 1
    assert [state.dataset.InstanceNumber for state in states] == [1, 2]


# ------------------------------------------------------------------ the image stays as it was


def _as_shown(image: Dataset, state: Dataset | None, folder: Path) -> np.ndarray:
    """What DCMTK shows of an image, with or without a state, ``(row, column)`` uint8."""
    dcmwrite(folder / "image.dcm", image, enforce_file_format=True)
    arguments = [DCMP2PGM, "image.dcm", "shown.pgm"]
    if state is not None:
        state.save_as(folder / "state.dcm", enforce_file_format=True)
        arguments[1:1] = ["--pstate", "state.dcm"]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with Image.open(folder / "shown.pgm") as shown:
        return np.asarray(shown)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_another_program_shows_the_image_as_dark_and_light_as_without_the_state(
    radiograph, producer, tmp_path, photometric
):
    radiograph.PhotometricInterpretation = photometric
    radiograph.WindowCenter, radiograph.WindowWidth = "400", "300"
    ramp = np.tile(np.linspace(0, 1023, 64).astype("<u2"), (48, 1))
    radiograph.PixelData = ramp.tobytes()
    state = _state(radiograph, producer)
    before, after = _as_shown(radiograph, None, tmp_path), _as_shown(radiograph, state, tmp_path)
    assert before.min() == 0
    assert before.max() == 255
    assert np.abs(after.astype(int) - before).max() <= 1


def test_window_and_look_up_table_of_an_image_with_both_are_kept(radiograph, producer):
    """Radiographs come so, and a viewer lets the reader choose."""
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [1024, 0, 12])
    table.LUTExplanation = "Bone"
    table.add_new("LUTData", "OW", np.arange(0, 4096, 4, dtype="<u2").tobytes())
    radiograph.VOILUTSequence = [table]
    radiograph.WindowCenterWidthExplanation, radiograph.VOILUTFunction = "Normal", "SIGMOID"
    (item,) = _read(_state(radiograph, producer)).SoftcopyVOILUTSequence
    assert (float(item.WindowCenter), float(item.WindowWidth)) == (511.0, 1024.0)
    assert (item.WindowCenterWidthExplanation, item.VOILUTFunction) == ("Normal", "SIGMOID")
    (kept,) = item.VOILUTSequence
    assert (list(kept.LUTDescriptor), kept.LUTExplanation) == ([1024, 0, 12], "Bone")
    assert bytes(kept.LUTData) == bytes(table.LUTData)


def test_a_look_up_table_survives_a_source_in_implicit_vr(radiograph, producer):
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [256, 0, 16])
    table.add_new("LUTData", "OW", np.arange(256, dtype="<u2").tobytes())
    radiograph.VOILUTSequence = [table]
    file = BytesIO()
    radiograph.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    radiograph.save_as(file, enforce_file_format=True)
    implicit = dcmread(BytesIO(file.getvalue()), stop_before_pixels=True)
    (item,) = _read(_state(implicit, producer)).SoftcopyVOILUTSequence
    kept = item.VOILUTSequence[0]
    assert list(kept.LUTDescriptor) == [256, 0, 16]
    assert np.array_equal(np.frombuffer(bytes(kept.LUTData), "<u2"), np.arange(256))


@pytest.mark.parametrize(("centre", "width"), [("511", "0"), ("", ""), (None, None), (["1", "2"], "3")])
def test_a_window_that_shows_nothing_is_left_away(radiograph, producer, centre, width):
    radiograph.WindowCenter, radiograph.WindowWidth = centre, width
    assert "SoftcopyVOILUTSequence" not in _state(radiograph, producer)


def test_rescaling_is_that_of_the_image_and_always_has_a_type(radiograph, producer):
    assert "RescaleSlope" not in _state(radiograph, producer)
    radiograph.RescaleIntercept, radiograph.RescaleSlope = "-1024", "2"
    state = _state(radiograph, producer)
    assert (float(state.RescaleIntercept), float(state.RescaleSlope)) == (-1024.0, 2.0)
    assert state.RescaleType == "US"


def test_a_shutter_stays_closed(radiograph, producer, dicom_errors):
    radiograph.ShutterShape = "RECTANGULAR"
    radiograph.ShutterLeftVerticalEdge, radiograph.ShutterRightVerticalEdge = 4, 60
    radiograph.ShutterUpperHorizontalEdge, radiograph.ShutterLowerHorizontalEdge = 3, 40
    state = _state(radiograph, producer)
    assert (state.ShutterShape, state.ShutterLowerHorizontalEdge) == ("RECTANGULAR", 40)
    assert state.ShutterPresentationValue == 0
    assert dicom_errors(state) == []


def _with_overlay(image: Dataset, group: int) -> Dataset:
    """The image with a bitmap of its size, whose upper left corner is drawn."""
    marked = copy.deepcopy(image)
    bits = np.zeros((int(image.Rows), int(image.Columns)), np.uint8)
    bits[:8, :8] = 1
    for element, vr, value in (
        (0x0010, "US", int(image.Rows)),
        (0x0011, "US", int(image.Columns)),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", np.packbits(bits, bitorder="little").tobytes()),
    ):
        marked.add_new((group, element), vr, value)
    return marked


def test_every_overlay_of_the_image_has_a_layer_below_what_is_drawn(radiograph, producer, dicom_errors):
    """A console's R and L are such overlays; a state without a layer for them hides them."""
    assert not [tag for tag in _state(radiograph, producer).keys() if tag.group in range(0x6000, 0x6020)]
    marked = _with_overlay(_with_overlay(radiograph, 0x6000), 0x6004)
    state = _state(marked, producer)
    assert dicom_errors(state) == []
    told = [(tag.group, tag.element, state[tag].value) for tag in state.keys() if tag.group >= 0x6000]
    assert told == [(0x6000, 0x1001, "IMAGE OVERLAYS"), (0x6004, 0x1001, "IMAGE OVERLAYS")]
    order = sorted(state.GraphicLayerSequence, key=lambda layer: layer.GraphicLayerOrder)
    assert [layer.GraphicLayer for layer in order] == ["IMAGE OVERLAYS", "AI FINDINGS", "AI STATEMENT"]


def test_images_with_other_overlays_get_a_state_of_their_own(radiograph, producer):
    other = _with_overlay(radiograph, 0x6000)
    other.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.2.9"
    states = build_presentation_states(
        [Markings(source=s, boxes=(BOX,)) for s in (radiograph, other)], producer
    )
    assert [(0x6000, 0x1001) in one.dataset for one in states] == [False, True]


def test_the_whole_image_is_shown_in_its_proportions(radiograph, digital, producer):
    (area,) = _state(radiograph, producer).DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [64, 48]
    assert list(area.PresentationPixelSpacing) == [0.2, 0.2]
    (area,) = _state(digital, producer).DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelSpacing) == [0.18, 0.18]


def test_without_a_size_of_pixels_their_proportions_are_given(radiograph, producer):
    del radiograph.ImagerPixelSpacing
    (area,) = _state(radiograph, producer).DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == [1, 1]
    radiograph.PixelAspectRatio = [3, 2]
    (area,) = _state(radiograph, producer).DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == [3, 2]
    assert "PresentationPixelSpacing" not in area


def test_images_in_colour_or_of_several_frames_are_refused(radiograph, producer):
    radiograph.NumberOfFrames = 2
    with pytest.raises(ValueError, match="one frame"):
        _state(radiograph, producer)
    del radiograph.NumberOfFrames
    radiograph.SamplesPerPixel, radiograph.PhotometricInterpretation = 3, "RGB"
    with pytest.raises(ValueError, match="single sample"):
        _state(radiograph, producer)


# ------------------------------------------------------------------ who, when, what


def test_patient_and_study_are_the_sources_japanese_name_included(radiograph, producer):
    state = _read(_state(radiograph, producer))
    assert str(state.PatientName) == "Yamada^Hanako=山田^花子=やまだ^はなこ"
    for keyword in ("PatientID", "AccessionNumber", "StudyDescription", "ReferringPhysicianName"):
        assert state[keyword].value == radiograph[keyword].value
    assert state["SpecificCharacterSet"].value == radiograph["SpecificCharacterSet"].value


def test_japanese_text_is_stored_in_unicode_and_the_name_survives(radiograph, producer):
    state = _read(_state(radiograph, producer, verdict=("右大腿骨頚部骨折",)))
    assert state.SpecificCharacterSet == "ISO_IR 192"
    assert str(state.PatientName) == "Yamada^Hanako=山田^花子=やまだ^はなこ"
    assert state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue == "右大腿骨頚部骨折"


def test_a_state_names_its_maker_its_time_and_what_the_model_was_trained_on(radiograph, producer):
    radiograph.TimezoneOffsetFromUTC = "+0900"
    state = _state(radiograph, producer)
    assert (state.ContentLabel, state.ContentCreatorName) == ("AI MARKS", "mibg_spect^DICOM node")
    assert state.ContentDescription == "Marks: research use, trained on synthetic data"
    assert (state.PresentationCreationDate, state.PresentationCreationTime) == ("20260102", "120405")
    assert state.SeriesDescription == state.ContentDescription


def test_the_same_analysis_makes_the_same_bytes(radiograph, producer):
    files = [BytesIO(), BytesIO()]
    for file in files:
        _state(radiograph, producer).save_as(file, enforce_file_format=True)
    assert files[0].getvalue() == files[1].getvalue()


def test_an_app_with_clinical_training_draws_no_statement_but_its_marks(radiograph, producer):
    clinical = replace(producer, statement="", training_kind="Hospital")
    state = _state(radiograph, clinical)
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == ["AI FINDINGS"]
    with pytest.raises(ValueError, match="nothing to draw"):
        _state(radiograph, clinical, boxes=())
