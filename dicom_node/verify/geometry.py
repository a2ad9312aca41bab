"""A segmentation or parametric map lies on the grid of the images that it was made from.

A map may have other pixels than its source, but lies on its slices and inside them. Positions
are millimetres in the DICOM patient system, LPS (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.errors import BrokenPromise
from dicom_node.verify.references import references_in
from dicom_node.verify.sources import Sources

POSITION_TOLERANCE_MM = 0.01
"""Decimal strings have 16 characters; anything further apart is another place."""

ORIENTATION_TOLERANCE = 1e-4
"""Per direction cosine: 0.05 mm over a field of view of 500 mm."""

SPACING_TOLERANCE_MM = 1e-4
"""Per pixel: 0.05 mm over 512 pixels."""

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"


@dataclass(frozen=True)
class Planes:
    """Frames in the patient.

    Args:
        sizes: ``(n, 2)`` int: rows and columns of each frame.
        positions_mm_lps: ``(n, 3)`` float64: centre of the first pixel of each frame.
        orientations: ``(n, 6)`` float64: direction cosines of row and column.
        spacings_mm: ``(n, 2)`` float64: distance of rows, of columns.
        names: SOP Instance UID and frame number of each frame; for a result, those of
            the source frames that it says each frame was derived from.
    """

    sizes: NDArray[np.int64]
    positions_mm_lps: NDArray[np.float64]
    orientations: NDArray[np.float64]
    spacings_mm: NDArray[np.float64]
    names: tuple[frozenset[tuple[str, int]], ...]


def check_geometry(name: str, dataset: Dataset, sources: Sources) -> None:
    """The frames coincide with frames of one of the series that the object refers to.

    A source without positions (a radiograph, a planar scintigram) is compared in rows
    and columns only.

    Args:
        name: The object's file name, for the sentence.
        dataset: A segmentation or parametric map.
        sources: The inputs.

    Raises:
        BrokenPromise: It names no received image, or its grid is not that image's.
    """
    series = sources.by_series(reference.sop_instance_uid for reference in references_in(dataset))
    if not series:
        raise BrokenPromise(f"{name} names no received image as its source")
    complaints = [_complaint(dataset, datasets) for datasets in series.values()]
    if all(complaints):
        raise BrokenPromise(f"{name}: {complaints[0]}")


def _complaint(dataset: Dataset, sources: Sequence[Dataset]) -> str:
    """What is wrong with the object on the grid of this series; empty when nothing is."""
    frames_of_reference = {str(source.get("FrameOfReferenceUID") or "") for source in sources} - {""}
    if frames_of_reference and str(dataset.get("FrameOfReferenceUID", "")) not in frames_of_reference:
        return "FrameOfReferenceUID is not the source's"
    grids = list(source_grids(sources))
    if not grids:
        return _other_size(_size(dataset), np.array([_size(source) for source in sources]))
    planes = frame_planes(dataset)
    if planes is None:
        return "its frames have no position, orientation or spacing, the source's have"
    compare = _map_mismatch if str(dataset.get("SOPClassUID", "")) == PARAMETRIC_MAP else _mismatch
    answers = [compare(planes, grid) for grid in grids]
    return "" if "" in answers else answers[0]


def _size(image: Dataset) -> tuple[int, int]:
    return int(image.get("Rows") or 0), int(image.get("Columns") or 0)


def _other_size(size: Sequence[int], allowed: NDArray[np.int64]) -> str:
    """A complaint when none of the sources has this size."""
    if (allowed == np.asarray(size)).all(axis=1).any():
        return ""
    return f"{size[0]} rows and {size[1]} columns, the source has {allowed[0][0]} and {allowed[0][1]}"


def source_grids(sources: Sequence[Dataset]) -> Iterator[Planes]:
    """The planes of a series; both directions of progression where the standard leaves it open.

    Args:
        sources: Data sets of one series: single-frame images, or multi-frame images.

    Yields:
        Nothing when the images have no position in the patient.
    """
    yield from _nm_grids([source for source in sources if source.get("DetectorInformationSequence")])
    stacks = [frame_planes(source) for source in sources]
    planes = [stack for stack in stacks if stack is not None]
    if planes:
        yield Planes(
            np.concatenate([stack.sizes for stack in planes]),
            np.concatenate([stack.positions_mm_lps for stack in planes]),
            np.concatenate([stack.orientations for stack in planes]),
            np.concatenate([stack.spacings_mm for stack in planes]),
            tuple(
                frozenset({(str(source.SOPInstanceUID), number + 1)})
                for source, stack in zip(sources, stacks, strict=True)
                if stack is not None
                for number in range(len(stack.positions_mm_lps))
            ),
        )


def _nm_grids(sources: Sequence[Dataset]) -> Iterator[Planes]:
    """Reconstructed NM (PS3.3 C.8.4.15): of one object each, or of one object per slice together."""
    slices = [plane for source in sources if _frame_count(source) == 1 for plane in _nm_stack(source, 1.0)]
    if slices:
        yield Planes(
            np.concatenate([one.sizes for one in slices]),
            np.concatenate([one.positions_mm_lps for one in slices]),
            np.concatenate([one.orientations for one in slices]),
            np.concatenate([one.spacings_mm for one in slices]),
            tuple(name for one in slices for name in one.names),
        )
    for source in sources:
        if _frame_count(source) > 1:
            for sign in (1.0, -1.0):
                yield from _nm_stack(source, sign)


def _frame_count(source: Dataset) -> int:
    return int(source.get("NumberOfFrames") or 1)


def _nm_stack(source: Dataset, sign: float) -> Iterator[Planes]:
    """The frames of one object: one position, slices along either normal, in Slice Vector's order."""
    detector = source.DetectorInformationSequence[0]
    position = _floats(detector, "ImagePositionPatient", 3)
    orientation = _floats(detector, "ImageOrientationPatient", 6)
    spacing = _floats(source, "PixelSpacing", 2)
    step = source.get("SpacingBetweenSlices") or source.get("SliceThickness")
    if position is None or orientation is None or spacing is None or not step:
        return
    count = _frame_count(source)
    normal = np.cross(orientation[:3], orientation[3:])
    offsets = sign * float(step) * np.arange(count, dtype=np.float64)[:, None]
    yield Planes(
        np.tile(_size(source), (count, 1)),
        position + offsets * normal,
        np.tile(orientation, (count, 1)),
        np.tile(spacing, (count, 1)),
        tuple(
            frozenset({(str(source.SOPInstanceUID), number)}) for number in _frames_by_slice(source, count)
        ),
    )


def _frames_by_slice(source: Dataset, count: int) -> list[int]:
    """Frame numbers, from 1, in the order of slices: Slice Vector (0054,0080) names each frame's slice."""
    vector = source.get("SliceVector")
    slices = [int(one) for one in np.atleast_1d(vector)] if vector is not None and count > 1 else []
    if sorted(slices) != list(range(1, count + 1)):
        return list(range(1, count + 1))
    return [slices.index(number) + 1 for number in range(1, count + 1)]


def frame_planes(dataset: Dataset) -> Planes | None:
    """The planes of an image, single-frame or with functional groups; None without positions."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        groups = [(dataset, dataset, dataset)]
    else:
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        groups = [
            (
                _macro(frame, shared, "PlanePositionSequence"),
                _macro(frame, shared, "PlaneOrientationSequence"),
                _macro(frame, shared, "PixelMeasuresSequence"),
            )
            for frame in per_frame
        ]
    rows = [
        (
            _floats(position, "ImagePositionPatient", 3),
            _floats(orientation, "ImageOrientationPatient", 6),
            _floats(measures, "PixelSpacing", 2),
        )
        for position, orientation, measures in groups
    ]
    complete = [row for row in rows if all(part is not None for part in row)]
    if len(complete) != len(rows):
        return None
    positions, orientations, spacings = (
        np.array(part, dtype=np.float64) for part in zip(*complete, strict=True)
    )
    return Planes(
        np.tile(_size(dataset), (len(positions), 1)),
        positions,
        orientations,
        spacings,
        tuple(_derived_from(frame) for frame in per_frame or [dataset]),
    )


def _derived_from(frame: Dataset) -> frozenset[tuple[str, int]]:
    """The source frames of a frame (PS3.3 C.7.6.16.2.6); a reference without number is to frame 1."""
    return frozenset(
        (reference.sop_instance_uid, number)
        for reference in references_in(frame)
        if reference.path[:2] == ("DerivationImageSequence", "SourceImageSequence")
        for number in reference.frame_numbers or (1,)
    )


def _macro(frame: Dataset, shared: Dataset, keyword: str) -> Dataset:
    sequence = frame.get(keyword) or shared.get(keyword)
    return sequence[0] if sequence else Dataset()


def _floats(dataset: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    value = dataset.get(keyword)
    if value is None or len(value) != count:
        return None
    return np.array([float(number) for number in value], dtype=np.float64)


def _mismatch(planes: Planes, grid: Planes) -> str:
    """Why these are not frames of the grid; empty when each is one."""
    all_names: frozenset[tuple[str, int]] = frozenset().union(*grid.names)
    for number in range(len(planes.positions_mm_lps)):
        distance_mm = np.abs(grid.positions_mm_lps - planes.positions_mm_lps[number]).max(axis=1)
        there = np.flatnonzero(distance_mm <= POSITION_TOLERANCE_MM)
        if not there.size:
            return (
                f"frame {number + 1} lies {distance_mm.min():.3g} mm away from the nearest frame "
                f"of the source (tolerance {POSITION_TOLERANCE_MM} mm)"
            )
        # Frames of several orientations, such as a localizer's, may begin at the same place.
        there = there[_is_near(grid.orientations[there], planes.orientations[number], ORIENTATION_TOLERANCE)]
        if not there.size:
            return f"frame {number + 1} has another orientation than the source"
        there = there[_is_near(grid.spacings_mm[there], planes.spacings_mm[number], SPACING_TOLERANCE_MM)]
        if not there.size:
            return f"frame {number + 1} has another pixel spacing than the source"
        complaint = _other_size(planes.sizes[number].tolist(), grid.sizes[there])
        if complaint:
            return complaint
        if _is_from_elsewhere(planes.names[number] & all_names, grid, there):
            return f"frame {number + 1} is said to be derived from source frames that lie elsewhere"
    return ""


def _map_mismatch(planes: Planes, grid: Planes) -> str:
    """Why these frames are not within slices of the grid; empty when each is."""
    all_names: frozenset[tuple[str, int]] = frozenset().union(*grid.names)
    for number in range(len(planes.positions_mm_lps)):
        there = np.flatnonzero(
            _is_near(grid.orientations, planes.orientations[number], ORIENTATION_TOLERANCE)
        )
        if not there.size:
            return f"frame {number + 1} has another orientation than the source"
        row, column = planes.orientations[number][:3], planes.orientations[number][3:]
        offsets_mm = planes.positions_mm_lps[number] - grid.positions_mm_lps[there]
        distance_mm = np.abs(offsets_mm @ np.cross(row, column))
        if distance_mm.min() > POSITION_TOLERANCE_MM:
            return (
                f"frame {number + 1} lies {distance_mm.min():.3g} mm away from the nearest slice "
                f"of the source (tolerance {POSITION_TOLERANCE_MM} mm)"
            )
        is_on_slice = distance_mm <= POSITION_TOLERANCE_MM
        there, offsets_mm = there[is_on_slice], offsets_mm[is_on_slice]
        beyond_mm = np.maximum(
            _beyond_mm(offsets_mm @ row, planes, grid, (number, there), axis=1),
            _beyond_mm(offsets_mm @ column, planes, grid, (number, there), axis=0),
        )
        # A last block of source pixels may be incomplete: the map then ends behind it.
        inside = beyond_mm <= planes.spacings_mm[number].max() + POSITION_TOLERANCE_MM
        if not inside.any():
            return f"frame {number + 1} reaches {beyond_mm.min():.3g} mm out of the slice of the source"
        if _is_from_elsewhere(planes.names[number] & all_names, grid, there[inside]):
            return f"frame {number + 1} is said to be derived from source frames that lie elsewhere"
    return ""


def _beyond_mm(
    offsets_mm: NDArray[np.float64],
    planes: Planes,
    grid: Planes,
    which: tuple[int, NDArray[np.intp]],
    *,
    axis: int,
) -> NDArray[np.float64]:
    """How far a frame's outer edges lie outside of slices along rows' (0) or columns' (1) axis.

    Args:
        offsets_mm: Centre of the frame's first pixel, counted from that of each slice.
        planes: With the frame.
        grid: With the slices.
        which: Number of the frame, numbers of the slices.
        axis: 0 down the rows, 1 along the columns.
    """
    number, there = which
    pixel_mm, slice_pixel_mm = planes.spacings_mm[number, axis], grid.spacings_mm[there, axis]
    first = offsets_mm - pixel_mm / 2 + slice_pixel_mm / 2
    last = first + planes.sizes[number, axis] * pixel_mm
    beyond: NDArray[np.float64] = np.maximum(-first, last - grid.sizes[there, axis] * slice_pixel_mm)
    return beyond


def _is_near(rows: NDArray[np.float64], wanted: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(rows - wanted).max(axis=1) <= tolerance
    return near


def _is_from_elsewhere(said: frozenset[tuple[str, int]], grid: Planes, there: NDArray[np.intp]) -> bool:
    """True when frames of the grid are named and none of them is at the place."""
    return bool(said) and said.isdisjoint(frozenset().union(*(grid.names[index] for index in there)))
