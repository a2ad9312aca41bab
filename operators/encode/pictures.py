"""Drawing for key images: planes as a physician expects them, colours, outlines.

Pictures follow radiological convention: the patient's right is on the left, the head
is up. Colours of counts are DICOM's well-known palettes (PS3.6 B), so that a workstation
shows the same. Nothing here ever draws who the patient is.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.processing import apply_color_lut

from operators.geometry import VolumeGeometry

BACKGROUND = "#05070a"
PALE = "#e8edf2"
FAINT = "#9fb0bf"
STATEMENT_COLOUR = "#ff8a80"
OUTLINE_WIDTH = 1.3
LETTER_WIDTH = 0.56
"""Mean width of a letter as a share of the font's size."""
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


def draw_labels(
    axes: Axes,
    labels: CanonicalVolume,
    view: View,
    index: int,
    *,
    colours: Mapping[int, str],
    width: float = OUTLINE_WIDTH,
    opacity: float = 0.0,
) -> tuple[int, ...]:
    """Draw the outlines of many labels, each in its colour; those that are in the plane.

    Args:
        axes: Where; already shows the plane.
        labels: Integers, 0 is background.
        view: Which plane.
        index: Which slice of it.
        colours: Label to colour; labels that are not in it are not drawn.
        width: Of the lines, points.
        opacity: Of the filled areas: 0 draws outlines only.
    """
    plane = np.asarray(labels.plane(view, index))
    extent = labels.extent_mm(view)
    present = tuple(int(v) for v in np.flatnonzero(np.bincount(plane.ravel())) if int(v) in colours)
    if opacity > 0:
        table = np.zeros((int(plane.max()) + 1, 4))
        for label in present:
            table[label] = to_rgba(colours[label], opacity)
        axes.imshow(table[plane], extent=extent, interpolation="nearest", aspect="equal")
    for label in present:
        part, part_extent = _cropped(plane == label, extent)
        draw_outline(axes, part, part_extent, colours[label], width=width)
    left, right, bottom, top = extent  # a contour is cropped; the plane keeps its frame
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    return present


def _cropped(
    mask_yx: NDArray[np.bool_], extent_mm: tuple[float, float, float, float]
) -> tuple[NDArray[np.bool_], tuple[float, float, float, float]]:
    """The smallest part that holds the whole mask, and its extent; contours of it are far quicker."""
    rows, columns = (np.flatnonzero(mask_yx.any(axis=axis)) for axis in (1, 0))
    left, right, bottom, top = extent_mm
    height, width = mask_yx.shape
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part = (
        left + (right - left) * x0 / width,
        left + (right - left) * x1 / width,
        top + (bottom - top) * y1 / height,
        top + (bottom - top) * y0 / height,
    )
    return mask_yx[y0:y1, x0:x1], part


def draw_map(
    axes: Axes,
    values: CanonicalVolume,
    view: View,
    index: int,
    *,
    limits: tuple[float, float],
    palette: Palette = Palette.HOT_IRON,
    opacity: float = 0.6,
) -> AxesImage:
    """Lay a plane of values over another picture; the lower the value, the less it hides.

    Args:
        axes: Where; already shows the plane of the image.
        values: May have another grid than the image, of the same extent.
        view: Which plane.
        index: Which slice of it.
        limits: Values at which the map is invisible, and of the brightest colour.
        palette: Colours of the values.
        opacity: From the middle of the limits on.

    Returns:
        What `draw_colour_bar` takes.
    """
    low, high = limits
    plane = np.asarray(values.plane(view, index), dtype=float)
    share = np.clip((plane - low) / (high - low), 0.0, 1.0)
    drawn: AxesImage = axes.imshow(
        plane,
        cmap=colormap(palette),
        vmin=low,
        vmax=high,
        alpha=opacity * np.clip(2 * share, 0.0, 1.0),
        extent=values.extent_mm(view),
        interpolation="nearest",
        aspect="equal",
    )
    bare(axes)
    return drawn


def draw_colour_bar(
    figure: Figure, place: tuple[float, float, float, float], drawn: AxesImage, title: str
) -> None:
    """Draw the bar that says which colour is which value.

    Args:
        figure: Where.
        place: Left, bottom, width, height as shares of the figure; upright when higher than wide.
        drawn: Of `draw_map`.
        title: Quantity and unit.
    """
    axes = figure.add_axes(place)
    is_upright = place[3] * figure.get_figheight() > place[2] * figure.get_figwidth()
    values = ScalarMappable(norm=drawn.norm, cmap=drawn.cmap)  # without the map's transparency
    bar = figure.colorbar(values, cax=axes, orientation="vertical" if is_upright else "horizontal")
    bar.set_label(title, color=PALE, fontsize=8)
    bar.ax.tick_params(colors=PALE, labelsize=7)
    bar.locator = MaxNLocator(nbins=5)
    bar.update_ticks()
    bar.outline.set_edgecolor(FAINT)


def draw_legend(
    figure: Figure,
    place: tuple[float, float, float, float],
    entries: Sequence[tuple[str, str]],
    *,
    columns: int = 1,
) -> None:
    """Draw names beside their colours, down the columns.

    Args:
        figure: Where.
        place: Left, bottom, width, height as shares of the figure.
        entries: Name and colour.
        columns: Side by side.
    """
    axes = figure.add_axes(place)
    axes.axis("off")
    rows = -(-len(entries) // columns)
    line_points = place[3] * figure.get_figheight() * 72 / max(rows, 1)
    room_points = place[2] * figure.get_figwidth() * 72 / columns * 0.88
    longest = max((len(name) for name, _ in entries), default=1)
    size = float(np.clip(min(line_points * 0.75, room_points / (longest * LETTER_WIDTH)), 4.0, 9.0))
    for number, (name, colour) in enumerate(entries):
        column, row = divmod(number, rows)
        x, y = column / columns, 1 - (row + 0.5) / rows
        axes.plot([x + 0.01 / columns, x + 0.07 / columns], [y, y], color=colour, linewidth=size * 0.45)
        axes.text(x + 0.1 / columns, y, name, color=PALE, fontsize=size, va="center")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def draw_length(axes: Axes, length_mm: float) -> None:
    """Draw a bar of this length, with it, at the lower left of a plane."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    x, y = left + 0.04 * (right - left), bottom + 0.05 * (top - bottom)
    axes.plot([x, x + length_mm], [y, y], color=PALE, linewidth=1.6, solid_capstyle="butt")
    label = f"{length_mm / 10:g} cm" if length_mm >= 10 else f"{length_mm:g} mm"
    axes.text(x, y + 0.012 * (top - bottom), label, color=PALE, fontsize=7, va="bottom")


def draw_outline(
    axes: Axes,
    mask_yx: NDArray[np.bool_],
    extent_mm: tuple[float, float, float, float],
    colour: str,
    style: str = "solid",
    *,
    width: float = OUTLINE_WIDTH,
) -> None:
    """Draw the border of a mask between its inner and outer voxels.

    Args:
        axes: Where.
        mask_yx: ``(row, column)`` bool.
        extent_mm: Left, right, bottom, top of the mask.
        colour: Of the line.
        style: ``solid``, ``dashed`` or ``dotted``.
        width: Of the line, points.
    """
    if not mask_yx.any():
        return
    rows, columns = mask_yx.shape
    left, right, bottom, top = extent_mm
    x = left + (np.arange(-1, columns + 1) + 0.5) * (right - left) / columns
    y = top + (np.arange(-1, rows + 1) + 0.5) * (bottom - top) / rows
    padded = np.pad(mask_yx.astype(float), 1)
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)


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
