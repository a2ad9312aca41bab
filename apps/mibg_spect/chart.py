"""Ratios and washout of mibg_spect as bars, for the report's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from apps.mibg_spect.findings import value_of
from apps.mibg_spect.labels import Phase
from apps.mibg_spect.quantify import Measurements
from operators.encode.messages import Picture
from operators.encode.pictures import new_figure, rendered, write_statement

NORMAL_HMR = 2.2
"""Lower limit of normal of the standardised planar ratio (Nakajima 2018, Japanese database)."""
PHASE_COLOURS = {Phase.EARLY: "#3d6fa5", Phase.LATE: "#c8553d"}
WASHOUT_COLOUR = "#5b7a5a"
INK = "#1b2a38"
RATIOS = (
    ("hmr_std", "planar HMR,\nstandardised"),
    ("hmr", "planar HMR"),
    ("heart_mediastinum", "SPECT\nheart/mediast."),
    ("heart_lung", "SPECT\nheart/lung"),
    ("heart_liver", "SPECT\nheart/liver"),
)
WASHOUTS = (
    ("washout_planar_bg", "planar,\nbackgr. corr."),
    ("washout_planar", "planar"),
    ("washout_spect_bg", "SPECT,\nbackgr. corr."),
    ("washout_spect", "SPECT"),
)


@dataclass(frozen=True)
class _Style:
    width: float
    colour: str
    digits: int
    label: str = ""


def chart(measurements: Measurements, statement: str) -> Picture:
    """Ratios and washout as bars; what could not be had is a dash."""
    figure = new_figure(7.2, 2.45)
    figure.set_facecolor("white")
    grid = figure.add_gridspec(1, 2, width_ratios=(1.65, 1), left=0.06, right=0.985, top=0.87, bottom=0.26)
    _draw_ratios(figure.add_subplot(grid[0, 0]), measurements)
    _draw_washouts(figure.add_subplot(grid[0, 1]), measurements)
    write_statement(figure, statement)
    return Picture(rgb_yxc=rendered(figure), description="Ratios and washout; a dash: not measured.")


def _draw_ratios(axes: Axes, measurements: Measurements) -> None:
    for offset, phase in ((-0.19, Phase.EARLY), (0.19, Phase.LATE)):
        values = [value_of(measurements, f"{name}_{phase}") for name, _ in RATIOS]
        _draw_bars(axes, offset, values, _Style(0.36, PHASE_COLOURS[phase], 2, phase.value))
    axes.plot([-0.42, 0.42], [NORMAL_HMR] * 2, color="#444444", linestyle="dashed", linewidth=1)
    title = f"Uptake ratios (dashed: lower limit of normal, {NORMAL_HMR})"
    _finish(axes, title, [label for _, label in RATIOS])
    axes.legend(fontsize=7, frameon=False, loc="upper right")


def _draw_washouts(axes: Axes, measurements: Measurements) -> None:
    values = [value_of(measurements, name) for name, _ in WASHOUTS]
    _draw_bars(axes, 0.0, values, _Style(0.55, WASHOUT_COLOUR, 0))
    _finish(axes, "Washout, %", [label for _, label in WASHOUTS])


def _draw_bars(axes: Axes, offset: float, values: Sequence[float | None], style: _Style) -> None:
    for index, value in enumerate(values):
        place = index + offset
        label = style.label if index == 0 else None
        axes.bar(place, value or 0.0, style.width, color=style.colour, label=label)
        text = "–" if value is None else f"{value:.{style.digits}f}"
        at = (place, max(value or 0.0, 0.0))
        axes.annotate(
            text, at, xytext=(0, 1.5), textcoords="offset points", ha="center", va="bottom", fontsize=7
        )


def _finish(axes: Axes, title: str, labels: list[str]) -> None:
    axes.set_title(title, fontsize=9, loc="left", color=INK)
    axes.set_xticks(range(len(labels)), labels, fontsize=6.6)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylim(top=max(axes.get_ylim()[1] * 1.18, 1.0))
    axes.tick_params(axis="y", labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
