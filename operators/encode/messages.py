"""What apps hand to the encoding operators; pure data, so that an app's science never sees DICOM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from operators.encode.marks import Box, Point
from operators.encode.parametric_map import MapStorage
from operators.encode.pdf import Page
from operators.encode.report import Group
from operators.encode.segmentation import Segment
from operators.geometry import VolumeGeometry


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelVolume:
    """A label volume on the grid of the images that it segments.

    Args:
        labels_zyx: ``(z, y, x)`` integers, 0 is background.
        geometry: Its grid.
        sources: Headers of the segmented images.
        segments: What the labels are.
        frame_numbers: For each slice its 1-based frame in a multi-frame source.
        role: Of the SEG in app.toml and in ``result.json``.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.
    """

    labels_zyx: NDArray[np.integer]
    geometry: VolumeGeometry
    sources: tuple[Dataset, ...]
    segments: tuple[Segment, ...]
    frame_numbers: tuple[int, ...] | None = None
    role: str = "segmentation"
    series_label: str = "Segmentation"
    ordinal: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class MapVolume:
    """A quantity in each voxel, on the grid of the images that it was made from.

    Args:
        values_zyx: ``(z, y, x)`` float, in the unit; finite.
        geometry: Its grid.
        sources: Headers of the images that it was made from.
        quantity: What the values are.
        unit: UCUM.
        label: What they are, for a person; at most 64 characters.
        frame_numbers: For each slice its 1-based frame in a multi-frame source.
        role: Of the map in app.toml and in ``result.json``.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.
        storage: How the values are stored.
        in_plane_step: 2 stores the means of 2 x 2 pixels, for values that are no finer than that.
        window: The two values between which a viewer first shows it; None: the whole range.
    """

    values_zyx: NDArray[np.floating]
    geometry: VolumeGeometry
    sources: tuple[Dataset, ...]
    quantity: Code
    unit: Code
    label: str
    frame_numbers: tuple[int, ...] | None = None
    role: str = "parametric_map"
    series_label: str = "Map"
    ordinal: int = 5
    storage: MapStorage = MapStorage.INTEGER_16
    in_plane_step: int = 1
    window: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Markings:
    """What a viewer draws over one image: boxes, points and a verdict.

    Args:
        source: Header of the image; of one frame.
        boxes: Rectangles, in its pixels.
        points: Places, in its pixels.
        verdict: Lines that are written at the upper left of the image; without the patient.
        role: Of the presentation state in app.toml and in ``result.json``.
        series_label: Start of the Series Description.
        ordinal: 1 to 9, the app's series this is.
    """

    source: Dataset
    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()
    verdict: tuple[str, ...] = ()
    role: str = "presentation_state"
    series_label: str = "Marks"
    ordinal: int = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """What the SR says.

    Args:
        groups: Measurement groups.
        sources: Headers of every image that was analysed.
        procedure: Reported procedure, for studies without its code.
        warnings: Sentences that a reader must see.
        is_complete: False when something that the app should report is missing.
        series_label: Start of the Series Description.
    """

    groups: tuple[Group, ...]
    sources: tuple[Dataset, ...]
    procedure: Code
    warnings: tuple[str, ...] = ()
    is_complete: bool = True
    series_label: str = "AI report"


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A key image.

    Args:
        rgb_yxc: ``(row, column, 3)`` uint8. Must not show who the patient is.
        description: What it shows, in a sentence.
    """

    rgb_yxc: NDArray[np.uint8]
    description: str


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyImages:
    """The key images of an analysis, in reading order, and the images that they show."""

    pictures: tuple[Picture, ...]
    sources: tuple[Dataset, ...]
    series_label: str = "Key images"


@dataclass(frozen=True, kw_only=True, eq=False)
class PageContent:
    """The PDF's page, and the images that it reports on."""

    page: Page
    sources: tuple[Dataset, ...]
    series_label: str = "PDF report"
