"""SEG objects: valid, on the source's grid voxel for voxel, naming the source's own frames."""

from __future__ import annotations

import copy

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, NuclearMedicineImageStorage

from operators.encode import codes
from operators.encode.colours import cie_lab, distinct_colours
from operators.encode.segmentation import Segment, SegmentationKind, build_segmentation
from operators.geometry import VolumeGeometry

SEGMENTS = (
    Segment(label=1, name="Heart", property_type=codes.HEART, colour_rgb=(230, 60, 60)),
    Segment(label=2, name="Left lung", property_type=codes.LUNG, laterality=codes.LEFT),
    Segment(label=3, name="Right lung", property_type=codes.LUNG, laterality=codes.RIGHT),
    Segment(label=4, name="Liver", property_type=codes.LIVER),
    Segment(label=5, name="Never found", property_type=codes.MEDIASTINUM),
)


def _read_back(encoded, tmp_path):
    path = tmp_path / "seg.dcm"
    encoded.dataset.save_as(path, enforce_file_format=True)
    return hd.seg.segread(path)


def _labels_of(seg, encoded, geometry):
    volume = seg.get_volume(combine_segments=True)
    label_of = {number: label for label, number in encoded.number_of.items()}
    labels = np.zeros(volume.array.shape, dtype=np.uint8)
    for number, label in label_of.items():
        labels[volume.array == number] = label
    affine = volume.affine.copy()
    if np.dot(affine[:3, 0], geometry.direction_lps_zyx[0]) < 0:  # highdicom reads right-handed
        labels, affine[:3, 3] = labels[::-1], affine[:3, 3] + affine[:3, 0] * (len(labels) - 1)
        affine[:3, 0] *= -1
    return labels, affine


def test_binary_segmentation_of_nm_has_no_dciodvfy_error(spect, labels_zyx, geometry, producer, dicom_errors):
    encoded = build_segmentation(labels_zyx, geometry, [spect], SEGMENTS, producer)
    assert dicom_errors(encoded.dataset) == []


@pytest.mark.parametrize("kind", SegmentationKind)
def test_segmentation_reads_back_voxel_for_voxel(spect, labels_zyx, geometry, producer, tmp_path, kind):
    encoded = build_segmentation(labels_zyx, geometry, [spect], SEGMENTS, producer, kind=kind)
    labels, affine = _labels_of(_read_back(encoded, tmp_path), encoded, geometry)
    assert np.array_equal(labels, labels_zyx)
    assert np.allclose(affine, geometry.affine_lps)


def test_slices_may_lie_in_any_order_in_the_frames(spect, labels_zyx, geometry, producer, tmp_path):
    frames = list(range(geometry.shape_zyx[0], 0, -1))
    encoded = build_segmentation(labels_zyx, geometry, [spect], SEGMENTS, producer, frame_numbers=frames)
    labels, affine = _labels_of(_read_back(encoded, tmp_path), encoded, geometry)
    assert np.array_equal(labels, labels_zyx)
    assert np.allclose(affine, geometry.affine_lps)
    for frame in encoded.dataset.PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        z = frames.index(number)
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, geometry.position_mm_lps((z, 0, 0)))


def test_oblique_slices_keep_their_geometry(spect, labels_zyx, producer, tmp_path):
    c, s = np.cos(0.3), np.sin(0.3)
    oblique = VolumeGeometry(
        labels_zyx.shape, (5.0, 4.5, 4.0), (1.0, 2.0, 3.0), ((0, -s, c), (0, c, s), (1, 0, 0))
    )
    encoded = build_segmentation(labels_zyx, oblique, [spect], SEGMENTS, producer)
    labels, affine = _labels_of(_read_back(encoded, tmp_path), encoded, oblique)
    assert np.array_equal(labels, labels_zyx)
    assert np.allclose(affine, oblique.affine_lps, atol=1e-5)


def test_nm_slices_of_one_frame_each_are_named_as_nm(
    spect, labels_zyx, geometry, producer, tmp_path, dicom_errors
):
    slices = []
    for z in range(geometry.shape_zyx[0]):
        one = copy.deepcopy(spect)
        one.NumberOfFrames, one.SOPInstanceUID = 1, f"{spect.SOPInstanceUID}.{z + 1}"
        del one.PixelData
        slices.append(one)
    encoded = build_segmentation(labels_zyx, geometry, slices, SEGMENTS, producer)
    assert dicom_errors(encoded.dataset) == []
    labels, _ = _labels_of(_read_back(encoded, tmp_path), encoded, geometry)
    assert np.array_equal(labels, labels_zyx)
    named = encoded.dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {i.ReferencedSOPClassUID for i in named} == {NuclearMedicineImageStorage}
    assert {i.ReferencedSOPInstanceUID for i in named} == {s.SOPInstanceUID for s in slices}


def test_ct_slices_are_matched_by_position_whatever_their_order(
    spect, labels_zyx, producer, tmp_path, dicom_errors
):
    grid = VolumeGeometry(
        labels_zyx.shape, (5.0, 4.5, 4.0), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )
    slices = [_ct_slice(spect, grid, z) for z in range(labels_zyx.shape[0])]
    encoded = build_segmentation(labels_zyx, grid, slices[::-1], SEGMENTS, producer)
    assert dicom_errors(encoded.dataset) == []
    labels, _ = _labels_of(_read_back(encoded, tmp_path), encoded, grid)
    assert np.array_equal(labels, labels_zyx)


def test_slices_of_a_tilted_gantry_keep_their_places(spect, labels_zyx, producer, dicom_errors):
    """Such slices are no volume for a reader, but each frame has its place."""
    sheared = VolumeGeometry(
        labels_zyx.shape,
        (5.3, 4.5, 4.0),
        (0.0, 0.0, 0.0),
        ((0, np.sin(0.34), np.cos(0.34)), (0, 1, 0), (1, 0, 0)),
    )
    slices = [_ct_slice(spect, sheared, z) for z in range(labels_zyx.shape[0])]
    encoded = build_segmentation(labels_zyx, sheared, slices, SEGMENTS, producer)
    assert dicom_errors(encoded.dataset) == []
    made = encoded.dataset
    frames = made.pixel_array
    found = np.zeros_like(labels_zyx)
    for groups, frame in zip(made.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = np.asarray(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        z = round(float(position[2]) / (5.3 * np.cos(0.34)))
        assert np.allclose(position, sheared.position_mm_lps((z, 0, 0)), atol=1e-3)
        found[z][frame > 0] = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    assert np.array_equal(found, labels_zyx)


def test_labels_off_the_grid_of_the_source_are_an_error(spect, labels_zyx, producer):
    grid = VolumeGeometry(
        labels_zyx.shape, (5.0, 4.5, 4.0), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )
    slices = [_ct_slice(spect, grid, z) for z in range(labels_zyx.shape[0])]
    slices[7].ImagePositionPatient[2] = 36.0
    with pytest.raises(ValueError, match="source slice 7"):
        build_segmentation(labels_zyx, grid, slices, SEGMENTS, producer)


def _ct_slice(spect, grid, z):
    one = copy.deepcopy(spect)
    del one.NumberOfFrames, one.PixelData, one.DetectorInformationSequence
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, f"1.2.3.{z + 1}", "CT"
    one.FrameOfReferenceUID = "1.2.3.99"
    one.ImagePositionPatient = grid.position_mm_lps((z, 0, 0)).tolist()
    one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    return one


def test_laterality_and_segment_without_a_voxel(spect, labels_zyx, geometry, producer):
    encoded = build_segmentation(labels_zyx, geometry, [spect], SEGMENTS, producer)
    items = {i.SegmentLabel: i for i in encoded.dataset.SegmentSequence}
    assert "Never found" not in items
    assert encoded.number_of == {1: 1, 2: 2, 3: 3, 4: 4}
    modifier = (
        items["Left lung"].SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    )
    assert (modifier[0].CodeValue, modifier[0].CodeMeaning) == ("7771000", "Left")
    assert items["Heart"].SegmentAlgorithmType == "AUTOMATIC"
    parameters = items["Heart"].SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert producer.model_digest in parameters


def test_a_single_segment_is_enough(spect, labels_zyx, geometry, producer, dicom_errors):
    only_heart = np.where(labels_zyx == 1, labels_zyx, 0)
    encoded = build_segmentation(only_heart, geometry, [spect], SEGMENTS, producer)
    assert encoded.number_of == {1: 1}
    assert dicom_errors(encoded.dataset) == []


@pytest.mark.parametrize("wrong", ["empty", "undeclared", "shape", "frames"])
def test_labels_that_cannot_be_encoded_are_an_error(spect, labels_zyx, geometry, producer, wrong):
    labels, sources = labels_zyx.copy(), [spect]
    if wrong == "empty":
        labels[:] = 0
    elif wrong == "undeclared":
        labels[0, 0, 0] = 77
    elif wrong == "shape":
        labels = labels[1:]
    else:
        spect.NumberOfFrames = 23
    with pytest.raises(ValueError, match=r"segmented|declares|shape|NumberOfFrames"):
        build_segmentation(labels, geometry, sources, SEGMENTS, producer)


def test_the_source_is_not_changed(spect, labels_zyx, geometry, producer, tmp_path):
    spect.save_as(tmp_path / "nm.dcm", enforce_file_format=True)
    source = dcmread(tmp_path / "nm.dcm")
    before = copy.deepcopy(source)
    build_segmentation(labels_zyx, geometry, [source], SEGMENTS, producer)
    assert source == before


def test_spacing_with_many_digits_is_written_as_far_as_dicom_holds_it(
    spect, labels_zyx, producer, tmp_path, dicom_errors
):
    fine = VolumeGeometry(
        labels_zyx.shape,
        (4.795199871063232, 4.795199871063232, 1 / 3),
        (-150.12345678901234, 1e-7, 33.333333333333336),
        ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    )
    encoded = build_segmentation(labels_zyx, fine, [spect], SEGMENTS, producer)
    assert dicom_errors(encoded.dataset) == []
    labels, affine = _labels_of(_read_back(encoded, tmp_path), encoded, fine)
    assert np.array_equal(labels, labels_zyx)
    assert np.allclose(affine, fine.affine_lps, atol=1e-4)


def test_merged_muscles_name_their_parts_and_every_code_has_its_equivalents(
    spect, labels_zyx, geometry, producer, dicom_errors
):
    fma = {number: Code(value, "FMA", name) for number, value, name in VASTI}
    merged = Segment(
        label=1,
        name="Vastus lateralis and intermedius, left",
        property_type=codes.private("VASTUS_LAT_INT", "Vastus lateralis and vastus intermedius"),
        primary_structures=(fma[1], fma[2]),
        laterality=codes.LEFT,
        anatomic_region=Code("68367000", "SCT", "Thigh"),
    )
    single = Segment(
        label=2,
        name="Gluteus maximus, right",
        property_type=Code("22314", "FMA", "Gluteus maximus"),
        equivalent_codes=(Code("206007", "SCT", "Gluteus maximus muscle"),),
        laterality=codes.RIGHT,
    )
    labels = np.where(labels_zyx <= 2, labels_zyx, 0)
    encoded = build_segmentation(labels, geometry, [spect], (merged, single), producer)
    assert dicom_errors(encoded.dataset) == []
    first, second = encoded.dataset.SegmentSequence
    assert [c.CodeValue for c in first.PrimaryAnatomicStructureSequence] == ["22431", "22433"]
    assert first.AnatomicRegionSequence[0].CodeValue == "68367000"
    property_type = second.SegmentedPropertyTypeCodeSequence[0]
    equivalent = property_type.EquivalentCodeSequence[0]
    assert (equivalent.CodeValue, equivalent.CodingSchemeDesignator) == ("206007", "SCT")
    assert property_type.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert "PrimaryAnatomicStructureSequence" not in second


VASTI = ((1, "22431", "Vastus lateralis"), (2, "22433", "Vastus intermedius"))


@pytest.mark.parametrize("kind", SegmentationKind)
def test_43_segments_of_distinct_colours_read_back(spect, geometry, producer, tmp_path, kind):
    labels = (np.arange(np.prod(geometry.shape_zyx)) % 44).astype(np.uint8).reshape(geometry.shape_zyx)
    segments = tuple(
        Segment(label=n, name=f"Structure {n}", property_type=codes.HEART, colour_rgb=colour)
        for n, colour in enumerate(distinct_colours(43), start=1)
    )
    encoded = build_segmentation(labels, geometry, [spect], segments, producer, kind=kind)
    read, _ = _labels_of(_read_back(encoded, tmp_path), encoded, geometry)
    assert np.array_equal(read, labels)
    colours = {
        tuple(item.RecommendedDisplayCIELabValue)
        for item in encoded.dataset.SegmentSequence
        if int(item.SegmentNumber) > 0
    }
    assert len(colours) == 43


def test_colours_are_as_far_apart_as_eyes_need():
    lab = cie_lab(np.array(distinct_colours(43)))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(43, dtype=bool)]
    assert distance.min() > 20


def test_the_same_analysis_makes_the_same_segmentation(spect, labels_zyx, geometry, producer):
    one, two = (build_segmentation(labels_zyx, geometry, [spect], SEGMENTS, producer) for _ in range(2))
    assert one.dataset == two.dataset
