"""Files of a result: large label volumes and maps deflated, everything else as it is, sizes told."""

from __future__ import annotations

import json

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from operators.encode import codes
from operators.encode.parametric_map import MapStorage, build_parametric_map
from operators.encode.result import MadeObject, Outcome, save, write_result
from operators.encode.secondary_capture import build_secondary_capture
from operators.encode.segmentation import Segment, SegmentationKind, build_segmentation
from tests.made_results import ct_grid, ct_headers

ROWS, SLICES = 600, 4
GRID = ct_grid(SLICES, ROWS, ROWS)


@pytest.fixture
def large_ct():
    return ct_headers(SLICES, ROWS)


@pytest.fixture
def labels_zyx():
    """Noise in 30 labels: binary frames of 5 MB, a label map of 1.4 MB."""
    return np.random.default_rng(0).integers(0, 31, (SLICES, ROWS, ROWS)).astype(np.uint8)


SEGMENTS = tuple(Segment(label=n, name=f"Structure {n}", property_type=codes.HEART) for n in range(1, 31))


@pytest.mark.parametrize("kind", SegmentationKind)
def test_a_large_segmentation_is_deflated_and_reads_back(large_ct, labels_zyx, producer, tmp_path, kind):
    encoded = build_segmentation(labels_zyx, GRID, large_ct, SEGMENTS, producer, kind=kind)
    size = save(encoded.dataset, tmp_path / "seg.dcm")
    assert encoded.dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert size == (tmp_path / "seg.dcm").stat().st_size < len(encoded.dataset.PixelData)
    assert dcmread(tmp_path / "seg.dcm").file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    read = volume.array if volume.affine[2, 0] > 0 else volume.array[::-1]
    assert np.array_equal(read, labels_zyx)


@pytest.mark.parametrize("storage", MapStorage)
def test_a_large_map_is_deflated_and_reads_back(large_ct, producer, tmp_path, storage):
    values = np.random.default_rng(1).gamma(0.5, 1.0, GRID.shape_zyx).astype(np.float32)
    values[values < 1] = 0
    encoded = build_parametric_map(
        values,
        GRID,
        large_ct,
        quantity=codes.private("VARIANCE", "Variance"),
        unit=codes.NO_UNITS,
        label="Variance",
        producer=producer,
        storage=storage,
    )
    save(encoded.dataset, tmp_path / "map.dcm")
    read = dcmread(tmp_path / "map.dcm")
    assert read.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    volume = hd.imread(tmp_path / "map.dcm").get_volume(apply_real_world_transform=True)
    array = volume.array if volume.affine[2, 0] > 0 else volume.array[::-1]
    assert np.abs(array - values).max() <= encoded.slope / 2 * 1.001


def test_the_inflated_form_has_no_dciodvfy_error(large_ct, labels_zyx, producer, tmp_path, dicom_errors):
    encoded = build_segmentation(labels_zyx, GRID, large_ct, SEGMENTS, producer)
    save(encoded.dataset, tmp_path / "seg.dcm")
    read = dcmread(tmp_path / "seg.dcm")
    read.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert dicom_errors(read) == []


def test_small_objects_and_pictures_are_not_deflated(large_ct, producer, tmp_path):
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[0, 5:9, 5:9] = 1
    small = build_segmentation(labels, GRID, large_ct, SEGMENTS, producer).dataset
    picture = build_secondary_capture(
        np.zeros((900, 900, 3), np.uint8),
        large_ct,
        producer,
        role="key_image_1",
        instance_number=1,
        description="Black.",
    )
    for name, dataset in (("seg", small), ("picture", picture)):
        save(dataset, tmp_path / name)
        assert dcmread(tmp_path / name).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_the_table_of_contents_tells_the_size_of_each_file(large_ct, labels_zyx, producer, tmp_path):
    encoded = build_segmentation(labels_zyx, GRID, large_ct, SEGMENTS, producer)
    made = MadeObject(role="segmentation", file_stem="segmentation", dataset=encoded.dataset)
    write_result(tmp_path, producer, [made], Outcome(summary="x"))
    (entry,) = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["objects"]
    assert entry["bytes"] == (tmp_path / "segmentation.dcm").stat().st_size
