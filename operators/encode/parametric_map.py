"""A quantity in each voxel as a DICOM Parametric Map (PS3.3 A.75).

Sources are CT or MR slices, one multi-frame NM image, or NM slices of one frame each. The
map lies on their slices, in their rows and columns or in coarser ones. Stored values are
16-bit integers or 32-bit floats; Real World Value Mapping (PS3.3 C.7.6.16.2.11) says what
they are, and is the only way to read them.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from operators.encode.context import complete
from operators.encode.identity import LONG_STRING_LIMIT, Producer
from operators.encode.planes import name_dimensions, on_grid, restore_sop_classes, source_planes
from operators.geometry import VolumeGeometry

HIGHEST_STORED = 65535
SHORT_STRING_LIMIT = 16
"""Longest value of VR SH (PS3.5 6.2)."""


class MapStorage(enum.Enum):
    """How values are stored. Few viewers show floats, and 65536 steps are finer than any map here is true."""

    INTEGER_16 = "INTEGER_16"
    FLOAT_32 = "FLOAT_32"


@dataclass(frozen=True)
class EncodedMap:
    """A parametric map.

    Args:
        dataset: The object.
        role: Of the object in its analysis.
        slope: Of the stored values; half of it is the largest error of a value.
        intercept: The value that is stored as 0.
        geometry: Grid of the map, which is coarser than the source's when that was asked for.
    """

    dataset: hd.pm.ParametricMap
    role: str
    slope: float
    intercept: float
    geometry: VolumeGeometry


def build_parametric_map(
    values_zyx: NDArray[np.floating],
    geometry: VolumeGeometry,
    sources: Sequence[Dataset],
    *,
    quantity: Code,
    unit: Code,
    label: str,
    producer: Producer,
    role: str = "parametric_map",
    series_label: str = "Map",
    ordinal: int = 5,
    frame_numbers: Sequence[int] | None = None,
    storage: MapStorage = MapStorage.INTEGER_16,
    in_plane_step: int = 1,
    window: tuple[float, float] | None = None,
) -> EncodedMap:
    """The Parametric Map of values that lie on the grid of their source.

    Args:
        values_zyx: ``(z, y, x)`` float, in ``unit``; finite.
        geometry: Grid of the values; slice ``z`` must be a slice (or frame) of the source.
        sources: Headers of the source slices, or of one multi-frame image. NM slices
            come in the order of the geometry, others in any order.
        quantity: What the values are (Quantity Definition Sequence).
        unit: UCUM.
        label: What they are, for a person; at most 64 characters.
        producer: Who made it.
        role: Part of what the UIDs derive from.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is (see `Producer.series_number`).
        frame_numbers: For each slice ``z`` its 1-based frame in a multi-frame source;
            None: frames are in the order of slices.
        storage: How the values are stored.
        in_plane_step: Pixels of the source, along rows and along columns, of which one pixel
            of the map is the mean.
        window: The two values between which a viewer first shows the map; None: all of them.

    Raises:
        ValueError: A value is not finite, the values do not lie on the grid of the sources,
            or the label is too long.
    """
    if values_zyx.shape != geometry.shape_zyx:
        raise ValueError(f"values have shape {values_zyx.shape}, their geometry {geometry.shape_zyx}")
    if len(label) > LONG_STRING_LIMIT:
        raise ValueError(f"label {label!r} is longer than {LONG_STRING_LIMIT} characters")
    if not all(np.isfinite(plane).all() for plane in values_zyx):
        raise ValueError("a value of the map is not finite")
    frames = list(range(1, geometry.shape_zyx[0] + 1) if frame_numbers is None else frame_numbers)
    planes = source_planes(sources, geometry, frames)
    is_multiframe = len(planes) == 1 and len(frames) > 1
    if in_plane_step > 1:
        values_zyx, geometry = reduced(values_zyx, geometry, in_plane_step)
        planes = on_grid(planes, geometry, frames)
    stored_zyx, slope, intercept = _stored(values_zyx, storage)
    with warnings.catch_warnings():
        # Sources may lack attributes that only matter when pixels are decoded.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(highdicom|pydicom)(\.|$)")
        dataset = hd.pm.ParametricMap(
            source_images=planes,
            pixel_array=stored_zyx[np.argsort(frames)] if is_multiframe else stored_zyx,
            series_instance_uid=producer.uid(f"series/{role}"),
            series_number=producer.series_number(ordinal),
            sop_instance_uid=producer.uid(role),
            instance_number=1,
            manufacturer="",
            manufacturer_model_name=producer.model_name,
            software_versions=list(producer.software_versions),  # type: ignore[arg-type]
            device_serial_number=producer.device_serial_number,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[_mapping(stored_zyx, slope, intercept, quantity, unit, label)],
            voi_lut_transformations=[_window(values_zyx, slope, intercept, window)],
            content_label="MAP",
            content_description=producer.series_description(series_label),
            content_qualification=hd.ContentQualificationValues.RESEARCH,
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
    dataset.Laterality = ""  # of the series, which may show several organs; the type 2C attribute stays empty
    restore_sop_classes(dataset, sources)
    name_dimensions(dataset, producer.uid(f"dimensions/{role}"))
    if in_plane_step > 1:
        dataset.walk(_locations_are_not_preserved)
    complete(dataset, sources[0], producer, label=series_label, texts=[label])
    return EncodedMap(dataset, role, slope, intercept, geometry)


def reduced(
    values_zyx: NDArray[np.floating], geometry: VolumeGeometry, step: int
) -> tuple[NDArray[np.float32], VolumeGeometry]:
    """Means of ``step`` x ``step`` pixels of each slice, and their grid.

    A last row or column that fills no block is repeated until it does.

    >>> g = VolumeGeometry((1, 2, 2), (5., 1., 1.), (0., 0., 0.), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    >>> values, coarse = reduced(np.array([[[1., 2.], [3., 4.]]]), g, 2)
    >>> values.tolist(), coarse.spacing_mm_zyx, coarse.origin_mm_lps
    ([[[2.5]]], (5.0, 2.0, 2.0), (0.5, 0.5, 0.0))
    """
    slices, rows, columns = values_zyx.shape
    shape = (slices, -(-rows // step), -(-columns // step))
    missing = ((0, shape[1] * step - rows), (0, shape[2] * step - columns))
    means = np.empty(shape, dtype=np.float32)
    for z, plane in enumerate(values_zyx):
        blocks = np.pad(plane, missing, mode="edge").reshape(shape[1], step, shape[2], step)
        means[z] = blocks.mean(axis=(1, 3), dtype=np.float64)
    slice_mm, row_mm, column_mm = geometry.spacing_mm_zyx
    origin = geometry.position_mm_lps((0, (step - 1) / 2, (step - 1) / 2)).tolist()
    coarse = VolumeGeometry(
        shape,
        (slice_mm, row_mm * step, column_mm * step),
        (origin[0], origin[1], origin[2]),
        geometry.direction_lps_zyx,
    )
    return means, coarse


def _stored(
    values_zyx: NDArray[np.floating], storage: MapStorage
) -> tuple[NDArray[np.uint16] | NDArray[np.float32], float, float]:
    """Stored values, and slope and intercept that make the values of them; zero stays exactly zero."""
    if storage is MapStorage.FLOAT_32:
        return np.asarray(values_zyx, dtype=np.float32), 1.0, 0.0
    lowest, highest = min(float(values_zyx.min()), 0.0), max(float(values_zyx.max()), 0.0)
    # One step is kept free, so that moving zero onto a step does not push the highest value out.
    slope = (highest - lowest) / (HIGHEST_STORED - 1) or 1.0
    below_zero = int(np.ceil(-lowest / slope))
    stored = np.empty(values_zyx.shape, dtype=np.uint16)
    for z, plane in enumerate(values_zyx):
        stored[z] = np.clip(np.rint(np.asarray(plane, np.float64) / slope) + below_zero, 0, HIGHEST_STORED)
    return stored, slope, -slope * below_zero


def _mapping(
    stored_zyx: NDArray[np.uint16] | NDArray[np.float32],
    slope: float,
    intercept: float,
    quantity: Code,
    unit: Code,
    label: str,
) -> hd.pm.RealWorldValueMapping:
    is_integer = stored_zyx.dtype == np.uint16
    # The type of the range tells highdicom how values are stored, so these must be floats for floats.
    stored_range = (0, HIGHEST_STORED) if is_integer else (float(stored_zyx.min()), float(stored_zyx.max()))
    return hd.pm.RealWorldValueMapping(
        lut_label=quantity.value[:SHORT_STRING_LIMIT],
        lut_explanation=label,
        unit=unit,
        value_range=stored_range,
        slope=slope,
        intercept=intercept,
        quantity_definition=quantity,
    )


def _window(
    values_zyx: NDArray[np.floating],
    slope: float,
    intercept: float,
    window: tuple[float, float] | None,
) -> hd.VOILUTTransformation:
    """What a viewer first shows, in stored values as the standard has it (PS3.3 C.11.2.1.2)."""
    low, high = window or (float(values_zyx.min()), float(values_zyx.max()))
    centre, width = ((low + high) / 2 - intercept) / slope, (high - low) / slope
    return hd.VOILUTTransformation(
        window_center=float(f"{centre:.8g}"),
        window_width=float(f"{width:.8g}") if width > 0 else 1.0,
        voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,
    )


def _locations_are_not_preserved(item: Dataset, element: DataElement) -> None:
    if element.keyword == "SpatialLocationsPreserved":
        item.SpatialLocationsPreserved = "NO"
