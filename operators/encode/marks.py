"""Where in an image something lies: boxes and points that a report and a presentation state share.

Coordinates are those of both (PS3.3 C.10.5.1.2, C.18.6.1): pixels of the image as it is stored,
row first, (0, 0) is the outer corner of the first pixel and the middle of that pixel is
(0.5, 0.5). A box is therefore what ``image[y0:y1, x0:x1]`` cuts out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PointYx = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of an image.

    Args:
        corners_yx: Upper left and lower right corner, pixels, ``((y0, x0), (y1, x1))``.
        label: What a reader sees beside it; short, without the patient.
        target: Tracking identifier of the report's group that it belongs to; empty when there is none.

    Raises:
        ValueError: The corners enclose nothing, or are not finite.
    """

    corners_yx: tuple[PointYx, PointYx]
    label: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no rectangle."""
        (top, left), (bottom, right) = self.corners_yx
        if not all(map(math.isfinite, (top, left, bottom, right))) or top >= bottom or left >= right:
            raise ValueError(f"{self.corners_yx} are not the upper left and lower right corner of a box")

    def inside(self, rows: int, columns: int) -> Box:
        """The part of the box that lies in an image of this size.

        Raises:
            ValueError: No part of it does.

        >>> Box(corners_yx=((-4.0, 2.0), (8.0, 99.0))).inside(10, 20).corners_yx
        ((0.0, 2.0), (8.0, 20.0))
        """
        (top, left), (bottom, right) = self.corners_yx
        corners = (
            (max(float(top), 0.0), max(float(left), 0.0)),
            (min(float(bottom), float(rows)), min(float(right), float(columns))),
        )
        return Box(corners_yx=corners, label=self.label, target=self.target)

    @property
    def outline_xy(self) -> tuple[PointYx, ...]:
        """The corners, column first, as a closed line: the first one is also the last.

        >>> Box(corners_yx=((1, 2), (3, 4))).outline_xy
        ((2, 1), (4, 1), (4, 3), (2, 3), (2, 1))
        """
        (top, left), (bottom, right) = self.corners_yx
        return ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place in an image.

    Args:
        position_yx: Pixels, ``(y, x)``; ``(0.5, 0.5)`` is the middle of the first pixel.
        label: What a reader sees beside it; short, without the patient.
        target: Tracking identifier of the report's group that it belongs to; empty when there is none.
    """

    position_yx: PointYx
    label: str = ""
    target: str = ""
