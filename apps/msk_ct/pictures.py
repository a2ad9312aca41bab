"""Key images of msk_ct: what a physician checks the numbers on.

A coronal plane and axial slices, once with the outlines of all structures in the colours of
the SEG, once with the uncertainty. The patient's right is on the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from apps.msk_ct.findings import Findings, title_of
from apps.msk_ct.structures import SEGMENTS, STRUCTURES, Side
from operators.encode.colours import distinct_colours, hex_of
from operators.encode.messages import Picture
from operators.encode.pictures import (
    FAINT,
    PALE,
    CanonicalVolume,
    Palette,
    View,
    bare,
    canonical,
    colormap,
    draw_colour_bar,
    mark_sides,
    new_figure,
    rendered,
    write_statement,
)

WINDOW_HU = (-160.0, 260.0)
AXIAL_SLICES = 6
FILL = 0.28
"""Share of a segment's colour inside of its outline."""
LEFT_SHADE = 0.78
"""The left side has the colours of the right one, darker by this."""
TOP_PERCENTILE = 99.5
"""Of the uncertainty inside of segments; brighter voxels saturate."""
MARGIN_MM = 25.0
"""Around the segments, so that the skin is seen."""


def _segment_colours() -> dict[int, tuple[int, int, int]]:
    of_structure = dict(zip((s.name for s in STRUCTURES), distinct_colours(len(STRUCTURES)), strict=True))
    colours = {}
    for segment in SEGMENTS:
        shade = LEFT_SHADE if segment.side is Side.LEFT else 1.0
        red, green, blue = (round(value * shade) for value in of_structure[segment.structure.name])
        colours[segment.number] = (red, green, blue)
    return colours


SEGMENT_COLOURS: dict[int, tuple[int, int, int]] = _segment_colours()
"""Of the SEG and of the pictures, by segment number."""
_TABLE = np.array([(0, 0, 0), *(SEGMENT_COLOURS[s.number] for s in SEGMENTS)], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Scene:
    """CT, segments and uncertainty, turned for reading and cropped to the segments."""

    hu: CanonicalVolume
    segments: CanonicalVolume
    uncertainty: CanonicalVolume

    @property
    def coronal_index(self) -> int:
        """The plane through most of the structures."""
        return int(np.argmax((self.segments.array_zyx > 0).sum(axis=(0, 2))))

    @property
    def axial_indices(self) -> list[int]:
        """Slices evenly over the structures, head first."""
        occupied = np.flatnonzero(self.segments.array_zyx.any(axis=(1, 2)))
        low, high = int(occupied.min()), int(occupied.max())
        inset = (high - low) * 0.06
        return [round(float(z)) for z in np.linspace(low + inset, high - inset, AXIAL_SLICES)]


def key_images(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """Outlines and uncertainty, in reading order."""
    scene = _scene(findings)
    return (
        Picture(
            rgb_yxc=_outlines(scene, findings, statement),
            description="Coronal and axial planes with the outlines of muscles and bones.",
        ),
        Picture(
            rgb_yxc=_uncertainty(scene, findings, statement),
            description="The same planes with the uncertainty of the segmentation.",
        ),
    )


def _scene(findings: Findings) -> _Scene:
    geometry = findings.volume.geometry
    hu = canonical(findings.volume.hu_zyx, geometry)
    segments = canonical(findings.segmentation.segments_zyx, geometry)
    uncertainty = canonical(findings.segmentation.uncertainty_zyx, geometry)
    return _Scene(*_cropped(hu, segments, uncertainty, segments=segments))


def _cropped(*volumes: CanonicalVolume, segments: CanonicalVolume) -> tuple[CanonicalVolume, ...]:
    """Rows and columns around the segments, with a margin for the skin; all slices."""
    ranges = []
    for axis in (1, 2):
        found = np.flatnonzero(segments.array_zyx.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = round(MARGIN_MM / segments.spacing_mm_zyx[axis])
        ranges.append(slice(max(int(found[0]) - margin, 0), int(found[-1]) + margin + 1))
    rows, columns = ranges
    return tuple(CanonicalVolume(v.array_zyx[:, rows, columns], v.spacing_mm_zyx) for v in volumes)


# ----------------------------------------------------------------- pictures


def _outlines(scene: _Scene, findings: Findings, statement: str) -> NDArray[np.uint8]:
    figure, panels, side = _layout(scene)
    for axes, view, index in panels:
        grey = _grey(scene.hu.plane(view, index))
        rgb = coloured(grey, scene.segments.plane(view, index))
        axes.imshow(rgb, extent=scene.hu.extent_mm(view), interpolation="antialiased", aspect="equal")
        _finish(axes, view)
    _legend(side, findings)
    write_statement(figure, statement)
    return rendered(figure)


def _uncertainty(scene: _Scene, findings: Findings, statement: str) -> NDArray[np.uint8]:
    figure, panels, side = _layout(scene)
    inside = findings.segmentation.uncertainty_zyx[findings.segmentation.segments_zyx > 0]
    top = float(np.percentile(inside, TOP_PERCENTILE)) if len(inside) else 0.0
    top = max(top, float(np.finfo(np.float32).tiny))
    palette = colormap(Palette.HOT_IRON)
    for axes, view, index in panels:
        grey = _grey(scene.hu.plane(view, index))
        share = np.clip(scene.uncertainty.plane(view, index) / top, 0.0, 1.0)
        weight = np.clip(2.5 * share, 0.0, 0.9)[..., None]
        rgb = grey[..., None] * 0.6 * (1 - weight) + palette(share)[..., :3] * weight
        axes.imshow(rgb, extent=scene.hu.extent_mm(view), interpolation="antialiased", aspect="equal")
        _finish(axes, view)
    _scale(side, top, findings)
    write_statement(figure, statement)
    return rendered(figure)


def coloured(grey_yx: NDArray[np.float32], segments_yx: NDArray[np.integer]) -> NDArray[np.float32]:
    """A grey plane with segments in their colours: pale inside, full on the outline.

    Args:
        grey_yx: ``(y, x)``, 0 to 1.
        segments_yx: ``(y, x)`` segment numbers.

    Returns:
        ``(y, x, 3)`` float32, 0 to 1.
    """
    colours = _TABLE[segments_yx] / 255.0
    weight = np.where(segments_yx > 0, FILL, 0.0)
    weight[_border(segments_yx)] = 0.95
    return np.asarray(
        grey_yx[..., None] * (1 - weight[..., None]) + colours * weight[..., None], dtype=np.float32
    )


def _border(segments_yx: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of a segment with a neighbour of another number, above, below, left or right."""
    padded = np.pad(segments_yx, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    border: NDArray[np.bool_] = (centre > 0) & np.logical_or.reduce([one != centre for one in around])
    return border


def _grey(hu_yx: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = WINDOW_HU
    return np.asarray(np.clip((hu_yx - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def _layout(scene: _Scene) -> tuple[Figure, list[tuple[Axes, View, int]], Axes]:
    """A coronal plane on the left, axial slices in two rows, a column for the legend."""
    aspects = [_aspect(scene, View.CORONAL), *[_aspect(scene, View.AXIAL)] * (AXIAL_SLICES // 2)]
    height = 6.4
    coronal_width = min(max(aspects[0] * (height - 0.5), 1.8), 4.6)
    axial_width = min(aspects[1] * (height - 0.5) / 2, 4.0)
    widths = [coronal_width, *[axial_width] * (AXIAL_SLICES // 2), 2.5]
    figure = new_figure(sum(widths) + 0.3, height)
    grid = figure.add_gridspec(
        2, len(widths), width_ratios=widths, left=0.01, right=0.995, top=0.985, bottom=0.06, wspace=0.03,
        hspace=0.03,
    )  # fmt: skip
    panels = [(figure.add_subplot(grid[:, 0]), View.CORONAL, scene.coronal_index)]
    for number, z in enumerate(scene.axial_indices):
        row, column = divmod(number, AXIAL_SLICES // 2)
        panels.append((figure.add_subplot(grid[row, 1 + column]), View.AXIAL, z))
    side = figure.add_subplot(grid[:, -1])
    bare(side)
    side.set_xlim(0, 1)
    side.set_ylim(0, 1)
    return figure, panels, side


def _aspect(scene: _Scene, view: View) -> float:
    _, width, height, _ = scene.hu.extent_mm(view)
    return width / height


def _finish(axes: Axes, view: View) -> None:
    bare(axes)
    mark_sides(axes)
    if view is View.CORONAL:
        axes.text(0.5, 0.01, "coronal", color=FAINT, fontsize=9, ha="center", transform=axes.transAxes)


def _legend(axes: Axes, findings: Findings) -> None:
    """Colour and name of each structure; faint where it was not found."""
    found = {one.segment.structure.name for one in findings.measurements.structures.values()}
    colours = {s.structure.name: SEGMENT_COLOURS[s.number] for s in reversed(SEGMENTS)}
    for row, structure in enumerate(STRUCTURES):
        y = 0.975 - row * 0.0435
        is_found = structure.name in found
        axes.text(0.03, y, "■", color=hex_of(colours[structure.name]), fontsize=11, va="center")
        name = structure.title.replace("Vastus lateralis and vastus intermedius", "Vastus lat. + intermed.")
        label, colour = (name, PALE) if is_found else (f"{name} (not found)", FAINT)
        axes.text(0.13, y, label, color=colour, fontsize=8.5, va="center")
    axes.text(0.03, 0.01, "left side darker", color=FAINT, fontsize=8, va="bottom")


def _scale(axes: Axes, top: float, findings: Findings) -> None:
    """The colour bar, and the structures whose outlines are to be checked."""
    draw_colour_bar(axes.inset_axes((0.06, 0.56, 0.08, 0.4)), Palette.HOT_IRON, (0.0, top))
    axes.text(
        0.5, 0.78, "variance of the\nprobabilities,\nmean over classes", color=PALE, fontsize=8.5, va="center"
    )
    doubtful = [title_of(m.segment) for m in findings.measurements.structures.values() if m.is_unreliable]
    axes.text(0.03, 0.5, "Low expected accuracy:" if doubtful else "", color=PALE, fontsize=8.5)
    shown = doubtful[:16] + ([f"and {len(doubtful) - 16} more"] if len(doubtful) > 16 else [])
    for row, name in enumerate(shown):
        axes.text(0.05, 0.465 - 0.027 * row, name[:34], color=FAINT, fontsize=7.5)
