"""Key image of a classifier: what it saw, and where its evidence lay, over the grey image.

Each panel is one image or one crop of it. It is drawn twice, one above the other: plain, with
marks, so that a reader can judge it undisturbed; and with the heat map over it, see-through
where there is little evidence.
"""

from __future__ import annotations

import enum
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from operators.encode.marks import Box, Point
from operators.encode.pictures import (
    BACKGROUND,
    FAINT,
    PALE,
    Palette,
    bare,
    colormap,
    draw_colour_bar,
    new_figure,
    rendered,
    write_statement,
)

PALETTE = Palette.HOT_IRON
HIGHEST_OPACITY = 0.6
"""Of the heat map where the evidence is strongest: the bone below must still be seen."""
CLEAR_BELOW = 0.15
"""Evidence, 0 to 1, that is not drawn at all."""
MARK_COLOUR = "#ffc107"
OUTLINED = (withStroke(linewidth=2.5, foreground=BACKGROUND),)
"""Of letters over an image, which may be as bright as they are."""
PANELS_ACROSS = 4
PANEL_INCH = 4.4
"""Height of a picture; its width follows from its proportions."""
TITLE_INCH, LINE_INCH, BAR_INCH, SIDE_INCH, FOOT_INCH, GAP_INCH = 0.42, 0.22, 0.95, 0.2, 0.5, 0.12
LETTER_INCH = 0.118
"""Mean width of a bold letter; longer texts are broken into lines."""
LEAST_WIDTH_INCH = 6.5
"""For title and statement of a single narrow panel."""
SCALES_MM = (5, 10, 20, 50, 100, 200)
LONGEST_SCALE = 0.3
"""Of the bar that shows a length, as a share of the panel's width."""


class Tone(enum.Enum):
    """What a verdict means to a reader; the value is the colour of its text."""

    POSITIVE = "#ff8a80"
    NEGATIVE = "#7ee081"
    UNSURE = "#ffd27f"
    OTHER = "#6ebeff"
    """Neither of them: something else was found."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatMapPanel:
    """One image, or a crop of one.

    Args:
        grey_yx: ``(y, x)`` float, 0 black to 1 white.
        spacing_mm_yx: Of its pixels, along rows' and columns' index.
        title: What it is, such as "Right hip, AP".
        verdict: What was found in it; empty when it only contributes.
        tone: Of the verdict.
        heat_yx: ``(y, x)`` float, 0 to 1, where the evidence lies: any number of pixels that cover
            the grey image from border to border. None when there is none to show.
        boxes: In pixels of ``grey_yx``.
        points: In pixels of ``grey_yx``.
        left_mark: Beside the upper left corner, such as the side of the patient that is there.
        right_mark: Beside the upper right corner.
    """

    grey_yx: NDArray[np.floating]
    spacing_mm_yx: tuple[float, float]
    title: str
    verdict: str = ""
    tone: Tone = Tone.UNSURE
    heat_yx: NDArray[np.floating] | None = None
    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()
    left_mark: str = ""
    right_mark: str = ""

    @property
    def size_mm_yx(self) -> tuple[float, float]:
        """Height and width."""
        rows, columns = self.grey_yx.shape
        return rows * self.spacing_mm_yx[0], columns * self.spacing_mm_yx[1]

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top, for matplotlib's ``imshow``."""
        height, width = self.size_mm_yx
        return 0.0, width, height, 0.0

    @property
    def proportion(self) -> float:
        """Width over height."""
        height, width = self.size_mm_yx
        return width / height


def draw_heat_maps(
    panels: Sequence[HeatMapPanel], *, title: str, statement: str, legend: str = "Class activation"
) -> NDArray[np.uint8]:
    """The picture of a few panels, ``(row, column, 3)`` uint8, RGB.

    Args:
        panels: At least one; `PANELS_ACROSS` stand side by side.
        title: Above all of them; without the patient.
        statement: What every reader must see; empty when there is nothing to warn of.
        legend: What the colours are.

    Raises:
        ValueError: There is no panel.
    """
    if not panels:
        raise ValueError("there is no panel to draw")
    across = math.ceil(len(panels) / math.ceil(len(panels) / PANELS_ACROSS))
    blocks = [panels[start : start + across] for start in range(0, len(panels), across)]
    has_heat = any(panel.heat_yx is not None for panel in panels)
    grid = _Layout(blocks, title, has_heat=has_heat)
    figure = new_figure(grid.width_inch, grid.height_inch)
    figure.text(
        SIDE_INCH / grid.width_inch, 1 - 0.12 / grid.height_inch, "\n".join(grid.title), color=PALE,
        fontsize=13, fontweight="bold", va="top",
    )  # fmt: skip
    for number, block in enumerate(blocks):
        for column, panel in enumerate(block):
            plain = figure.add_axes(grid.place(number, column, 0, panel.proportion))
            _draw_plain(plain, panel)
            lowest = plain
            if has_heat:
                lowest = figure.add_axes(grid.place(number, column, 1, panel.proportion))
                _draw_seen(lowest, panel)
            _write_verdict(lowest, panel)
    if has_heat:
        _draw_legend(figure, grid, legend)
    write_statement(figure, statement)
    return rendered(figure)


class _Layout:
    """Places of a figure in inches; a block is a row of panels, each with one or two pictures."""

    def __init__(self, blocks: Sequence[Sequence[HeatMapPanel]], title: str, *, has_heat: bool) -> None:
        widest = [
            max(block[column].proportion for block in blocks if column < len(block))
            for column in range(len(blocks[0]))
        ]
        self.widths = [PANEL_INCH * proportion for proportion in widest]
        bar = BAR_INCH if has_heat else 0.0
        width = 2 * SIDE_INCH + sum(self.widths) + GAP_INCH * (len(self.widths) - 1) + bar
        self.width_inch = max(width, LEAST_WIDTH_INCH)
        self.left_inch = SIDE_INCH + (self.width_inch - width) / 2
        self.title = lines_of(title, self.width_inch - 2 * SIDE_INCH)
        self.title_inch = TITLE_INCH + LINE_INCH * (len(self.title) - 1)
        pictures = 2 if has_heat else 1
        verdict = max(len(verdict_lines(panel)) for block in blocks for panel in block)
        self.block_inch = TITLE_INCH + pictures * (PANEL_INCH + GAP_INCH) + LINE_INCH * (verdict + 1)
        self.height_inch = self.title_inch + len(blocks) * self.block_inch + FOOT_INCH

    def place(
        self, block: int, column: int, picture: int, proportion: float
    ) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a picture, as shares of the figure."""
        width = PANEL_INCH * proportion
        left = (
            self.left_inch + sum(self.widths[:column]) + GAP_INCH * column + (self.widths[column] - width) / 2
        )
        top = self.title_inch + block * self.block_inch + TITLE_INCH + picture * (PANEL_INCH + GAP_INCH)
        return (
            left / self.width_inch,
            1 - (top + PANEL_INCH) / self.height_inch,
            width / self.width_inch,
            PANEL_INCH / self.height_inch,
        )

    def bar(self) -> tuple[float, float, float, float]:
        """The place of the colour bar, beside the first heat maps."""
        _, bottom, _, height = self.place(0, 0, 1, 1.0)
        left = self.width_inch - self.left_inch - BAR_INCH + 0.25
        return left / self.width_inch, bottom, 0.18 / self.width_inch, height


def _draw_plain(axes: Axes, panel: HeatMapPanel) -> None:
    """The image with its marks, name, sides and a length."""
    _draw_grey(axes, panel)
    row_mm, column_mm = panel.spacing_mm_yx
    for box in panel.boxes:
        xy = np.array(box.outline_xy) * (column_mm, row_mm)
        axes.plot(*xy.T, color=MARK_COLOUR, linewidth=1.4)
        if box.label:
            _mark_text(axes, box.label, xy[0, 0], xy[0, 1])
    for point in panel.points:
        y, x = point.position_yx[0] * row_mm, point.position_yx[1] * column_mm
        axes.plot(x, y, marker="+", markersize=9, markeredgewidth=1.4, color=MARK_COLOUR)
        if point.label:
            _mark_text(axes, point.label, x, y)
    axes.set_title(panel.title, color=PALE, fontsize=11, pad=5, loc="left")
    for x, mark, side in ((0.025, panel.left_mark, "left"), (0.975, panel.right_mark, "right")):
        axes.text(
            x, 0.975, mark, color=PALE, fontsize=13, fontweight="bold", va="top", ha=side,
            transform=axes.transAxes, path_effects=OUTLINED,
        )  # fmt: skip
    _draw_scale(axes, panel)
    _frame(axes, panel)


def _draw_seen(axes: Axes, panel: HeatMapPanel) -> None:
    """The image with its heat map."""
    _draw_grey(axes, panel)
    if panel.heat_yx is not None:
        heat = np.clip(np.asarray(panel.heat_yx, dtype=np.float64), 0.0, 1.0)
        axes.imshow(
            heat,
            cmap=colormap(PALETTE),
            vmin=0.0,
            vmax=1.0,
            alpha=opacity(heat),
            extent=panel.extent_mm,
            interpolation="bilinear",
            aspect="equal",
        )
    _frame(axes, panel)


def _write_verdict(axes: Axes, panel: HeatMapPanel) -> None:
    axes.text(
        0.5, -0.03, "\n".join(verdict_lines(panel)), color=panel.tone.value, fontsize=12.5,
        fontweight="bold", va="top", ha="center", transform=axes.transAxes,
    )  # fmt: skip


def verdict_lines(panel: HeatMapPanel) -> list[str]:
    """The verdict in lines that are no wider than the panel."""
    return lines_of(panel.verdict, PANEL_INCH * panel.proportion)


def lines_of(text: str, width_inch: float) -> list[str]:
    """A text in lines of about this width; one empty line when there is none.

    >>> lines_of("osteoporotic 80 %; T1 alone: malignant 12 %", 4.4)
    ['osteoporotic 80 %; T1 alone:', 'malignant 12 %']
    """
    return textwrap.wrap(text, max(int(width_inch / LETTER_INCH), 1)) or [""]


def opacity(heat_yx: NDArray[np.floating]) -> NDArray[np.float64]:
    """How much of the image a heat map covers, 0 to `HIGHEST_OPACITY`, growing with the evidence.

    >>> opacity(np.array([[0.0, 0.15, 1.0]])).round(2).tolist()
    [[0.0, 0.0, 0.6]]
    """
    share = np.clip((np.asarray(heat_yx, dtype=np.float64) - CLEAR_BELOW) / (1 - CLEAR_BELOW), 0.0, 1.0)
    return HIGHEST_OPACITY * np.sqrt(share)


def scale_mm(width_mm: float) -> int:
    """The longest round length that takes up no more than `LONGEST_SCALE` of a picture, mm.

    >>> scale_mm(140.0), scale_mm(80.0), scale_mm(4.0)
    (20, 20, 5)
    """
    fitting = [length for length in SCALES_MM if length <= LONGEST_SCALE * width_mm]
    return fitting[-1] if fitting else SCALES_MM[0]


def _draw_grey(axes: Axes, panel: HeatMapPanel) -> None:
    axes.imshow(
        panel.grey_yx,
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        extent=panel.extent_mm,
        interpolation="bicubic",
        aspect="equal",
    )


def _frame(axes: Axes, panel: HeatMapPanel) -> None:
    """No ticks, and exactly the image: a mark at its border must not widen it."""
    bare(axes)
    left, right, bottom, top = panel.extent_mm
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _mark_text(axes: Axes, text: str, x_mm: float, y_mm: float) -> None:
    axes.annotate(
        text, (x_mm, y_mm), xytext=(2, 3), textcoords="offset points", color=MARK_COLOUR, fontsize=9,
        va="bottom", clip_on=True, path_effects=OUTLINED,
    )  # fmt: skip


def _draw_scale(axes: Axes, panel: HeatMapPanel) -> None:
    height, width = panel.size_mm_yx
    length = scale_mm(width)
    y, x = height * 0.965, width * 0.025
    axes.plot(
        [x, x + length], [y, y], color=PALE, linewidth=2.0, solid_capstyle="butt", path_effects=OUTLINED
    )
    axes.annotate(
        f"{length} mm", (x, y), xytext=(0, 4), textcoords="offset points", color=PALE, fontsize=8,
        va="bottom", path_effects=OUTLINED,
    )  # fmt: skip


def _draw_legend(figure: Figure, grid: _Layout, legend: str) -> None:
    bar = figure.add_axes(grid.bar())
    bar.set_facecolor(BACKGROUND)
    draw_colour_bar(bar, PALETTE, (0.0, 1.0))
    bar.set_ylabel(legend, color=FAINT, fontsize=9, rotation=90, labelpad=3)
    bar.yaxis.set_label_position("left")
