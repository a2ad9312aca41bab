"""Drawing for key images: planes as a physician expects them, colours, outlines.

Pictures follow radiological convention: the patient's right is on the left, the head
is up. Colours of counts are DICOM's well-known palettes (PS3.6 B), so that a workstation
shows the same. Nothing here ever draws who the patient is.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.processing import apply_color_lut

from operators.geometry import VolumeGeometry

BACKGROUND = "#05070a"
PALE = "#e8edf2"
FAINT = "#9fb0bf"
STATEMENT_COLOUR = "#ff8a80"
OUTLINE_WIDTH = 1.3
DPI = 110


class Palette(enum.Enum):
    """Well-known colour palettes (PS3.6 B.1), by UID."""

    HOT_IRON = "1.2.840.10008.1.5.1"
    PET = "1.2.840.10008.1.5.2"
    HOT_METAL_BLUE = "1.2.840.10008.1.5.3"


class View(enum.IntEnum):
    """A plane of a volume; the value is the canonical axis that it is perpendicular to."""

    AXIAL = 0
    CORONAL = 1
    SAGITTAL = 2


@dataclass(frozen=True)
class CanonicalVolume:
    """An array turned so that its indices grow towards feet, back and left of the patient.

    Args:
        array_zyx: ``(z, y, x)``, row 0 of each plane is where the reader expects the top.
        spacing_mm_zyx: Of the turned array.
    """

    array_zyx: NDArray[Any]
    spacing_mm_zyx: tuple[float, float, float]

    def plane(self, view: View, index: int) -> NDArray[Any]:
        """A plane, rows downwards: axial (y, x), coronal (z, x), sagittal (z, y)."""
        plane: NDArray[Any] = np.take(self.array_zyx, index, axis=int(view))
        return plane

    def extent_mm(self, view: View) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of a plane, mm, for matplotlib's ``imshow``."""
        rows, columns = (axis for axis in range(3) if axis != int(view))
        height = self.array_zyx.shape[rows] * self.spacing_mm_zyx[rows]
        width = self.array_zyx.shape[columns] * self.spacing_mm_zyx[columns]
        return 0.0, width, height, 0.0


def canonical(array_zyx: NDArray[Any], geometry: VolumeGeometry) -> CanonicalVolume:
    """The array with its axes along the nearest patient axes, in reading direction.

    >>> g = VolumeGeometry((2, 1, 1), (3., 2., 1.), (0., 0., 0.), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    >>> canonical(np.array([[[1]], [[2]]]), g).array_zyx.ravel().tolist()  # head first
    [2, 1]
    """
    directions = np.asarray(geometry.direction_lps_zyx, dtype=float)
    wanted = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    likeness = wanted @ directions.T
    order: list[int] = []
    for row in np.abs(likeness):
        free = [axis for axis in range(3) if axis not in order]
        order.append(free[int(np.argmax(row[free]))])
    turned = np.transpose(array_zyx, order)
    flipped = [axis for axis in range(3) if likeness[axis, order[axis]] < 0]
    spacing = tuple(geometry.spacing_mm_zyx[axis] for axis in order)
    return CanonicalVolume(np.flip(turned, tuple(flipped)), (spacing[0], spacing[1], spacing[2]))


@lru_cache(maxsize=8)
def colormap(palette: Palette) -> ListedColormap:
    """A well-known colour palette for matplotlib."""
    rgb = apply_color_lut(np.arange(256, dtype=np.uint8).reshape(1, 256), palette=palette.value)
    return ListedColormap(rgb.reshape(256, 3) / 255.0, name=palette.name)


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """A dark figure that no interactive window knows of."""
    figure = Figure(figsize=(width_inch, height_inch), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def draw_plane(
    axes: Axes,
    image: CanonicalVolume,
    view: View,
    index: int,
    *,
    highest: float,
    outlines: Mapping[str, tuple[CanonicalVolume, str, str]],
    palette: Palette = Palette.HOT_METAL_BLUE,
) -> None:
    """Draw a plane of counts with outlines of masks.

    Args:
        axes: Where.
        image: Counts.
        view: Which plane.
        index: Which slice of it.
        highest: Counts of the brightest colour; 0 is black.
        outlines: Name to mask, line colour and line style.
        palette: Colours of the counts.
    """
    extent = image.extent_mm(view)
    axes.imshow(
        image.plane(view, index),
        cmap=colormap(palette),
        vmin=0.0,
        vmax=highest,
        extent=extent,
        interpolation="bicubic",
        aspect="equal",
    )
    for mask, colour, style in outlines.values():
        draw_outline(axes, np.asarray(mask.plane(view, index), dtype=bool), extent, colour, style)
    bare(axes)


def draw_grey(
    axes: Axes, image: CanonicalVolume, view: View, index: int, *, window: tuple[float, float]
) -> None:
    """Draw a plane in greys.

    Args:
        axes: Where.
        image: Values, such as Hounsfield units.
        view: Which plane.
        index: Which slice of it.
        window: Values of black and of white.
    """
    low, high = window
    axes.imshow(
        image.plane(view, index),
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=image.extent_mm(view),
        interpolation="bilinear",
        aspect="equal",
    )
    bare(axes)


def draw_colour_bar(axes: Axes, palette: Palette, limits: tuple[float, float]) -> None:
    """Draw the bar that says which colour is which value.

    Args:
        axes: A narrow, upright place of its own.
        palette: Colours of the values.
        limits: Values of the lowest and the highest colour.
    """
    ramp = np.linspace(0, 1, 256).reshape(256, 1)
    axes.imshow(ramp, cmap=colormap(palette), origin="lower", aspect="auto", extent=(0, 1, *limits))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.tick_params(colors=FAINT, labelsize=8, length=2)
    for spine in axes.spines.values():
        spine.set_edgecolor(FAINT)


def mark_sides(axes: Axes) -> None:
    """Write R and L at the upper corners of a plane that shows the patient's right on the left."""
    for x, letter, align in ((0.02, "R", "left"), (0.98, "L", "right")):
        axes.text(x, 0.98, letter, color=FAINT, fontsize=9, va="top", ha=align, transform=axes.transAxes)


def draw_outline(
    axes: Axes,
    mask_yx: NDArray[np.bool_],
    extent_mm: tuple[float, float, float, float],
    colour: str,
    style: str = "solid",
) -> None:
    """Draw the border of a mask between its inner and outer voxels.

    Args:
        axes: Where.
        mask_yx: ``(row, column)`` bool.
        extent_mm: Left, right, bottom, top of the mask.
        colour: Of the line.
        style: ``solid``, ``dashed`` or ``dotted``.
    """
    if not mask_yx.any():
        return
    rows, columns = mask_yx.shape
    left, right, bottom, top = extent_mm
    x = left + (np.arange(-1, columns + 1) + 0.5) * (right - left) / columns
    y = top + (np.arange(-1, rows + 1) + 0.5) * (bottom - top) / rows
    padded = np.pad(mask_yx.astype(float), 1)
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=OUTLINE_WIDTH, linestyles=style)


def bare(axes: Axes) -> None:
    """Take ticks and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_facecolor(BACKGROUND)


def write_statement(figure: Figure, statement: str) -> None:
    """Write what every reader must see at the foot of the picture."""
    if statement:
        text = statement[:1].upper() + statement[1:]
        figure.text(0.5, 0.012, text, color=STATEMENT_COLOUR, ha="center", va="bottom", fontsize=10)


def rendered(figure: Figure) -> NDArray[np.uint8]:
    """The figure as ``(row, column, 3)`` uint8, RGB."""
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        raise TypeError("the figure was not made by new_figure")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def png_of(rgb_yxc: NDArray[np.uint8]) -> bytes:
    """A picture as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb_yxc).save(buffer, format="PNG")
    return buffer.getvalue()
