"""Parametric Maps: valid, on the source's slices, and with values that can be had back."""

from __future__ import annotations

import copy

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, NuclearMedicineImageStorage

from operators.encode import codes
from operators.encode.parametric_map import MapStorage, build_parametric_map, reduced
from operators.encode.report import Group, Number, build_report
from operators.geometry import VolumeGeometry
from tests.made_results import COLUMNS, ROWS, SLICES, ct_slice

VARIANCE = codes.private("VOXEL_VARIANCE", "Predictive variance of a voxel")


@pytest.fixture
def values_zyx(geometry) -> np.ndarray:
    """Values on both sides of zero, with many that are exactly zero."""
    values = np.random.default_rng(3).normal(0.0, 2.0, geometry.shape_zyx).astype(np.float32)
    values[:, :4] = 0.0
    return values


@pytest.fixture
def ct() -> list[Dataset]:
    """Slices of a CT, in no order."""
    return [ct_slice(number) for number in (2, 0, 3, 1)]


@pytest.fixture
def ct_geometry() -> VolumeGeometry:
    return VolumeGeometry(
        (SLICES, ROWS, COLUMNS), (5.0, 2.0, 2.0), (-16.0, -12.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )


def _build(values, geometry, sources, producer, **arguments):
    return build_parametric_map(
        values,
        geometry,
        sources,
        quantity=VARIANCE,
        unit=codes.NO_UNITS,
        label="Predictive variance",
        producer=producer,
        **arguments,
    )


def _read_back(encoded, tmp_path, geometry):
    """The values as any reader gets them: stored values through Real World Value Mapping, on their grid."""
    path = tmp_path / "map.dcm"
    encoded.dataset.save_as(path, enforce_file_format=True)
    volume = hd.imread(path).get_volume(apply_real_world_transform=True)
    values, affine = volume.array, volume.affine.copy()
    if np.dot(affine[:3, 0], geometry.direction_lps_zyx[0]) < 0:  # highdicom reads right-handed
        values, affine[:3, 3] = values[::-1], affine[:3, 3] + affine[:3, 0] * (len(values) - 1)
        affine[:3, 0] *= -1
    return values, affine


@pytest.mark.parametrize("storage", MapStorage)
@pytest.mark.parametrize("step", [1, 2])
def test_map_of_nm_has_no_dciodvfy_error_and_gives_the_values_back(
    spect, values_zyx, geometry, producer, dicom_errors, tmp_path, storage, step
):
    encoded = _build(values_zyx, geometry, [spect], producer, storage=storage, in_plane_step=step)
    assert dicom_errors(encoded.dataset) == []
    expected, grid = reduced(values_zyx, geometry, step)
    values, affine = _read_back(encoded, tmp_path, geometry)
    tolerance = encoded.slope / 2 * 1.001 if storage is MapStorage.INTEGER_16 else 0.0
    assert np.abs(values - expected).max() <= tolerance
    assert np.allclose(affine, grid.affine_lps, atol=1e-4)
    assert (values[expected == 0] == 0).all()


@pytest.mark.parametrize("storage", MapStorage)
@pytest.mark.parametrize("step", [1, 3])
def test_map_of_ct_slices_in_any_order_has_no_dciodvfy_error_and_gives_the_values_back(
    ct, ct_geometry, producer, dicom_errors, tmp_path, storage, step
):
    values = np.random.default_rng(4).gamma(0.5, 0.01, ct_geometry.shape_zyx).astype(np.float32)
    encoded = _build(values, ct_geometry, ct, producer, storage=storage, in_plane_step=step)
    assert dicom_errors(encoded.dataset) == []
    expected, grid = reduced(values, ct_geometry, step)
    read, affine = _read_back(encoded, tmp_path, ct_geometry)
    assert np.abs(read - expected).max() <= encoded.slope / 2 * 1.001
    assert np.allclose(affine, grid.affine_lps, atol=1e-4)


def test_map_names_quantity_unit_limits_and_maker(ct, ct_geometry, producer):
    encoded = _build(np.ones(ct_geometry.shape_zyx, np.float32), ct_geometry, ct, producer)
    made = encoded.dataset
    shared = made.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == ("VOXEL_VARIANCE", "99DAIN")
    assert made.ContentQualification == "RESEARCH"
    assert made.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
    assert producer.statement in made.SeriesDescription
    assert made.PatientName == ct[0].PatientName
    assert made.SOPInstanceUID == producer.uid("parametric_map")
    assert made.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99DAIN"


def _derived_from(made: Dataset) -> list[tuple[str, int | None]]:
    """UID and frame of the source of each frame, in the map's order."""
    items = [
        frame.DerivationImageSequence[0].SourceImageSequence[0]
        for frame in made.PerFrameFunctionalGroupsSequence
    ]
    return [(i.ReferencedSOPInstanceUID, i.get("ReferencedFrameNumber")) for i in items]


@pytest.mark.parametrize("step", [1, 2])
def test_each_frame_names_the_slice_at_its_place(ct, ct_geometry, producer, step):
    made = _build(
        np.ones(ct_geometry.shape_zyx, np.float32), ct_geometry, ct, producer, in_plane_step=step
    ).dataset
    height = {slice_.SOPInstanceUID: slice_.ImagePositionPatient[2] for slice_ in ct}
    for frame, (uid, _) in zip(made.PerFrameFunctionalGroupsSequence, _derived_from(made), strict=True):
        assert frame.PlanePositionSequence[0].ImagePositionPatient[2] == height[uid]
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedSOPClassUID == CTImageStorage
        assert item.SpatialLocationsPreserved == ("YES" if step == 1 else "NO")


@pytest.mark.parametrize("step", [1, 2])
def test_frames_of_nm_in_any_order_keep_their_values_and_numbers(
    spect, values_zyx, geometry, producer, tmp_path, step
):
    frames = tuple(np.random.default_rng(5).permutation(geometry.shape_zyx[0]) + 1)
    encoded = _build(values_zyx, geometry, [spect], producer, frame_numbers=frames, in_plane_step=step)
    expected, _ = reduced(values_zyx, geometry, step)
    values, _ = _read_back(encoded, tmp_path, geometry)
    assert np.abs(values - expected).max() <= encoded.slope / 2 * 1.001
    made = encoded.dataset
    for frame, (uid, number) in zip(made.PerFrameFunctionalGroupsSequence, _derived_from(made), strict=True):
        assert uid == spect.SOPInstanceUID
        z = frames.index(number)
        assert np.allclose(
            frame.PlanePositionSequence[0].ImagePositionPatient[2], geometry.position_mm_lps((z, 0, 0))[2]
        )
    assert made.SourceImageSequence[0].ReferencedSOPClassUID == NuclearMedicineImageStorage


@pytest.mark.parametrize("step", [1, 2])
def test_map_of_nm_slices_of_one_object_each(
    spect, values_zyx, geometry, producer, dicom_errors, tmp_path, step
):
    slices = []
    for z in range(geometry.shape_zyx[0]):
        one = copy.deepcopy(spect)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{z}"
        one.NumberOfFrames = 1
        one.DetectorInformationSequence[0].ImagePositionPatient = geometry.position_mm_lps((z, 0, 0)).tolist()
        slices.append(one)
    encoded = _build(values_zyx, geometry, slices, producer, in_plane_step=step)
    assert dicom_errors(encoded.dataset) == []
    values, _ = _read_back(encoded, tmp_path, geometry)
    assert np.abs(values - reduced(values_zyx, geometry, step)[0]).max() <= encoded.slope / 2 * 1.001
    assert encoded.dataset.SourceImageSequence[0].ReferencedSOPClassUID == NuclearMedicineImageStorage


@pytest.mark.parametrize("value", [0.0, -3.25, 1e-9, 4e7])
@pytest.mark.parametrize("storage", MapStorage)
def test_a_map_of_one_value_gives_it_back(ct, ct_geometry, producer, dicom_errors, tmp_path, value, storage):
    values = np.full(ct_geometry.shape_zyx, value, np.float32)
    encoded = _build(values, ct_geometry, ct, producer, storage=storage)
    assert dicom_errors(encoded.dataset) == []
    read, _ = _read_back(encoded, tmp_path, ct_geometry)
    assert np.allclose(read, value, rtol=2e-5, atol=0)


def test_the_window_is_what_was_asked_for(ct, ct_geometry, producer):
    values = np.linspace(-2, 10, int(np.prod(ct_geometry.shape_zyx)), dtype=np.float32)
    encoded = _build(values.reshape(ct_geometry.shape_zyx), ct_geometry, ct, producer, window=(0.0, 8.0))
    voi = encoded.dataset.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert float(voi.WindowCenter) * encoded.slope + encoded.intercept == pytest.approx(4.0, abs=1e-3)
    assert float(voi.WindowWidth) * encoded.slope == pytest.approx(8.0, abs=1e-3)


def test_a_map_is_evidence_of_the_report(ct, ct_geometry, producer, dicom_errors):
    encoded = _build(np.ones(ct_geometry.shape_zyx, np.float32), ct_geometry, ct, producer)
    group = Group(
        tracking_id="Femur",
        finding=codes.HEART,
        numbers=(Number(name=codes.VOLUME, value=1.0, unit=codes.MILLILITRE),),
    )
    report = build_report([group], ct, producer, procedure=codes.private("CT", "CT"), maps=[encoded])
    assert dicom_errors(report) == []
    assert encoded.dataset.SOPInstanceUID in {
        instance.ReferencedSOPInstanceUID
        for series in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }


def test_values_that_are_not_finite_are_an_error(ct, ct_geometry, producer):
    values = np.ones(ct_geometry.shape_zyx, np.float32)
    values[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        _build(values, ct_geometry, ct, producer)


def test_values_off_the_grid_are_an_error(ct, ct_geometry, producer):
    with pytest.raises(ValueError, match="shape"):
        _build(np.ones((2, 2, 2), np.float32), ct_geometry, ct, producer)
    with pytest.raises(ValueError, match="source slices"):
        _build(np.ones(ct_geometry.shape_zyx, np.float32), ct_geometry, ct[:2], producer)


def test_the_same_analysis_makes_the_same_map(ct, ct_geometry, producer):
    one, two = (
        _build(np.ones(ct_geometry.shape_zyx, np.float32), ct_geometry, ct, producer).dataset
        for _ in range(2)
    )
    assert one.SOPInstanceUID == two.SOPInstanceUID
    assert one == two
