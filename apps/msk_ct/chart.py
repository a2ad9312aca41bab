"""The two sides of each muscle against one another, as bars."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from apps.msk_ct.quantify import Measurements
from apps.msk_ct.structures import STRUCTURES, Side
from operators.encode.messages import Picture
from operators.encode.pictures import BACKGROUND, FAINT, PALE, new_figure, rendered, write_statement

COLOURS = {Side.RIGHT: "#56c8ff", Side.LEFT: "#ffb454"}
LEAST_PERCENT, LEAST_HU = 20.0, 15.0
"""An axis is never shorter, so that small differences look small."""


def chart(measurements: Measurements, statement: str) -> Picture:
    """Deficits of volume and of attenuation, each drawn to the side that has less."""
    muscles = [s for s in STRUCTURES if not s.is_bone]
    figure = new_figure(9.4, 7.2)
    left, right = figure.subplots(1, 2, sharey=True)
    names = [
        muscle.title.replace("Vastus lateralis and vastus intermedius", "Vastus lat. + int.")
        for muscle in muscles
    ]
    percents: list[tuple[float, Side] | None] = []
    attenuations: list[tuple[float, Side] | None] = []
    for muscle in muscles:
        difference = measurements.differences.get(muscle.name)
        percents.append(None if difference is None else (difference.atrophy_percent, difference.smaller))
        attenuations.append(
            None if difference is None else (difference.attenuation_deficit_hu, difference.less_dense)
        )
    reasons = [measurements.not_compared.get(muscle.name, "not found") for muscle in muscles]
    _bars(left, percents, reasons, "less volume, % of the larger side", LEAST_PERCENT)
    _bars(right, attenuations, [""] * len(muscles), "lower mean attenuation, HU", LEAST_HU)
    left.set_yticks(range(len(muscles)), names, fontsize=9)
    left.invert_yaxis()
    figure.subplots_adjust(left=0.2, right=0.98, top=0.93, bottom=0.13, wspace=0.06)
    figure.text(0.59, 0.965, "Which side has less", color=PALE, ha="center", fontsize=11)
    write_statement(figure, statement)
    return Picture(
        rgb_yxc=rendered(figure),
        description="The two sides compared: deficits of volume and attenuation.",
    )


def _bars(
    axes: Axes,
    deficits: Sequence[tuple[float, Side] | None],
    reasons: Sequence[str],
    title: str,
    least: float,
) -> None:
    longest = max([least, *(one[0] for one in deficits if one is not None)]) * 1.08
    for row, (one, reason) in enumerate(zip(deficits, reasons, strict=True)):
        if one is None:
            axes.text(0, row, reason, color=FAINT, fontsize=7, ha="center", va="center")
            continue
        value, side = one
        axes.barh(row, -value if side is Side.RIGHT else value, color=COLOURS[side], height=0.7)
        x = -value if side is Side.RIGHT else value
        axes.text(
            x, row, f" {value:.0f} ", color=PALE, fontsize=8, va="center",
            ha="right" if side is Side.RIGHT else "left",
        )  # fmt: skip
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(-longest * 1.12, longest * 1.12)
    axes.set_ylim(-0.6, len(deficits) - 0.4)
    axes.set_facecolor(BACKGROUND)
    axes.set_xlabel(f"right  ←  {title}  →  left", color=PALE, fontsize=9)
    axes.tick_params(axis="x", colors=FAINT, labelsize=8, length=2)
    axes.tick_params(axis="y", length=0)
    for tick in axes.get_yticklabels():
        tick.set_color(PALE)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    for spine in axes.spines.values():
        spine.set_visible(False)
