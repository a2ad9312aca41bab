"""Reconstructed NM has one position and leaves the direction of its slices open."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from dicom_node.errors import BrokenPromise
from dicom_node.verify.geometry import check_geometry
from dicom_node.verify.sources import Sources, known_instance

SOURCE_UID = "2.25.31"


def nm_source(*, spacing_between_slices_mm: float = 4.0, frames: int = 5) -> Dataset:
    detector = Dataset()
    detector.ImagePositionPatient = [-10.0, -20.0, 100.0]
    detector.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    source = Dataset()
    source.SOPClassUID = NuclearMedicineImageStorage
    source.SOPInstanceUID = SOURCE_UID
    source.SeriesInstanceUID = "2.25.32"
    source.StudyInstanceUID = "2.25.33"
    source.NumberOfFrames = frames
    source.Rows = source.Columns = 8
    source.PixelSpacing = [4.0, 4.0]
    source.SpacingBetweenSlices = spacing_between_slices_mm
    source.DetectorInformationSequence = [detector]
    return source


def segmentation(positions_z_mm: dict[float, int]) -> Dataset:
    """Frames at these positions, each said to be derived from that frame of the source."""
    made = Dataset()
    made.Rows = made.Columns = 8
    made.FrameOfReferenceUID = "2.25.34"
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [4.0, 4.0]
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [
        frame_at(z_mm, number) for z_mm, number in positions_z_mm.items()
    ]
    return made


def frame_at(z_mm: float, source_frame: int) -> Dataset:
    frame, position, derivation, source = Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [-10.0, -20.0, z_mm]
    source.ReferencedSOPInstanceUID = SOURCE_UID
    source.ReferencedFrameNumber = source_frame
    derivation.SourceImageSequence = [source]
    frame.PlanePositionSequence = [position]
    frame.DerivationImageSequence = [derivation]
    return frame


def sources(*datasets: Dataset) -> Sources:
    return Sources(datasets, {str(dataset.SOPInstanceUID): known_instance(dataset) for dataset in datasets})


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_slices_may_progress_along_either_normal(sign: float) -> None:
    made = segmentation({100.0 + sign * 4.0: 2, 100.0 + sign * 8.0: 3})
    check_geometry("segmentation.dcm", made, sources(nm_source()))


def test_a_negative_spacing_between_slices_is_as_good() -> None:
    made = segmentation({96.0: 2})
    check_geometry("segmentation.dcm", made, sources(nm_source(spacing_between_slices_mm=-4.0)))


def test_slices_on_both_sides_are_on_no_grid() -> None:
    made = segmentation({96.0: 2, 104.0: 2})
    with pytest.raises(BrokenPromise, match="frame 1 lies 4 mm away"):
        check_geometry("segmentation.dcm", made, sources(nm_source()))


def test_a_frame_with_the_position_of_another_slice_than_it_names_is_broken() -> None:
    made = segmentation({104.0: 3})
    with pytest.raises(BrokenPromise, match="lie elsewhere"):
        check_geometry("segmentation.dcm", made, sources(nm_source()))


def test_a_frame_between_two_slices_is_broken() -> None:
    made = segmentation({102.0: 1})
    with pytest.raises(BrokenPromise, match="2 mm away"):
        check_geometry("segmentation.dcm", made, sources(nm_source()))


def test_slice_thickness_stands_in_for_a_missing_spacing() -> None:
    source = nm_source()
    del source.SpacingBetweenSlices
    source.SliceThickness = 4.0
    check_geometry("segmentation.dcm", segmentation({104.0: 2}), sources(source))


def test_a_source_without_frame_of_reference_leaves_it_to_the_result() -> None:
    check_geometry("segmentation.dcm", segmentation({104.0: 2}), sources(nm_source()))


def test_the_frame_of_reference_of_the_source_is_kept() -> None:
    source = nm_source()
    source.FrameOfReferenceUID = "2.25.35"
    with pytest.raises(BrokenPromise, match="FrameOfReferenceUID"):
        check_geometry("segmentation.dcm", segmentation({104.0: 2}), sources(source))


def test_a_source_without_position_is_compared_in_rows_and_columns() -> None:
    source = nm_source()
    del source.DetectorInformationSequence
    made = segmentation({0.0: 1})
    check_geometry("segmentation.dcm", made, sources(source))
    made.Rows = 9
    with pytest.raises(BrokenPromise, match="9 rows"):
        check_geometry("segmentation.dcm", made, sources(source))


def test_the_grid_of_one_of_two_sources_is_enough() -> None:
    late = nm_source()
    late.SOPInstanceUID = "2.25.41"
    late.SeriesInstanceUID = "2.25.42"
    late.DetectorInformationSequence[0].ImagePositionPatient = [0.0, 0.0, 0.0]
    made = segmentation({104.0: 2})
    made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence.append(
        reference_to(late)
    )
    check_geometry("segmentation.dcm", made, sources(late, nm_source()))


def test_two_volumes_in_one_series_are_two_grids() -> None:
    late = nm_source()
    late.SOPInstanceUID = "2.25.41"
    late.DetectorInformationSequence[0].ImagePositionPatient = [0.0, 0.0, 0.0]
    made = segmentation({104.0: 2})
    made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence.append(
        reference_to(late)
    )
    check_geometry("segmentation.dcm", made, sources(late, nm_source()))
    made = segmentation({105.0: 2})
    with pytest.raises(BrokenPromise, match="frame 1 lies"):
        check_geometry("segmentation.dcm", made, sources(late, nm_source()))


def reference_to(dataset: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    reference.ReferencedFrameNumber = 1
    return reference
