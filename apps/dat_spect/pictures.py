"""Key images of dat_spect: what a nuclear physician checks the numbers on.

The first shows the slab from which features are read, with regions drawn, the probability of each
feature, and where the patient lies against the range of normal at every age. The second shows
axial slices of the scan itself with the same regions, so that a wrong place is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from apps.dat_spect.findings import ABNORMAL_FROM, NORMAL_BELOW, SAID, Findings, said_probability
from apps.dat_spect.labels import LABELS, Feature, Side
from apps.dat_spect.quantify import SLAB_PIXEL_MM
from operators.encode.messages import Picture
from operators.encode.pictures import (
    BACKGROUND,
    FAINT,
    PALE,
    CanonicalVolume,
    Palette,
    View,
    bare,
    canonical,
    colormap,
    draw_colour_bar,
    draw_outline,
    draw_plane,
    mark_sides,
    new_figure,
    rendered,
    write_statement,
)

COLOURS = {"caudate": "#ffffff", "putamen": "#7ee081", "reference": "#56c8ff"}
VOI_COLOUR = "#9fb0bf"
SIDE_COLOURS = {Side.RIGHT: "#ffb454", Side.LEFT: "#ff7eb6"}
SLICES = 6
CROP_MARGIN_MM = 12.0
LEAST_SCALE = 4.0
"""Top of the binding ratio's colours: a scan without uptake must not be blown up to look like one."""
AGES_YEARS = (30.0, 90.0)
BAR_COLOURS = {"sure": "#ff8a80", "unsure": "#ffd27f", "not": "#7ee081"}
LONG_BAR = 0.75
"""A longer bar has its number inside."""
FEATURE_NAMES = {
    Feature.LOW_UPTAKE: "F1  low uptake",
    Feature.ASYMMETRY: "F2  asymmetric",
    Feature.DOT_SHAPE: "F3  dot shape",
}


def key_images(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """The key images, in reading order."""
    return (
        Picture(
            rgb_yxc=_summary(findings, statement),
            description="Mean binding ratio over 44 mm with regions, features, and place against age.",
        ),
        Picture(
            rgb_yxc=_slices(findings, statement),
            description="Axial slices of the binding ratio with outlines of the regions.",
        ),
    )


# ------------------------------------------------------------------ summary


def _summary(findings: Findings, statement: str) -> NDArray[np.uint8]:
    figure = new_figure(12.4, 4.5)
    # Columns without a picture leave room for the numbers and names left of the next one.
    grid = figure.add_gridspec(
        1, 6, width_ratios=[1.75, 0.05, 0.6, 1.0, 0.1, 1.25], left=0.02, right=0.985, top=0.87, bottom=0.2,
        wspace=0.06,
    )  # fmt: skip
    _draw_slab(figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1]), findings)
    _draw_features(figure.add_subplot(grid[0, 3]), findings)
    _draw_ages(figure.add_subplot(grid[0, 5]), findings)
    entries = [(0.07, "caudate"), (0.15, "putamen")]
    legend = [(across, name, COLOURS[name]) for across, name in entries]
    _legend(figure, [*legend, (0.28, "volume of Bolt's ratio", VOI_COLOUR)], 0.62)
    write_statement(figure, statement)
    return rendered(figure)


def _draw_slab(axes: Axes, bar: Axes, findings: Findings) -> None:
    slab = findings.scan.uptake.slab_yx
    highest = max(float(np.percentile(slab, 99.8)), LEAST_SCALE / 2)
    extent = (0.0, slab.shape[1] * SLAB_PIXEL_MM, slab.shape[0] * SLAB_PIXEL_MM, 0.0)
    axes.imshow(
        slab,
        cmap=colormap(Palette.HOT_METAL_BLUE),
        vmin=0,
        vmax=highest,
        extent=extent,
        interpolation="bicubic",
    )
    for name, mask in findings.outlines.items():
        kind = name.rsplit("_", 1)[0]
        if kind == "voi":
            draw_outline(axes, mask, extent, VOI_COLOUR, "dotted")
        else:
            draw_outline(axes, mask, extent, COLOURS[kind])
    bare(axes)
    mark_sides(axes)
    axes.set_title("Mean binding ratio over 44 mm, in template space", color=PALE, fontsize=10, pad=6)
    draw_colour_bar(bar, Palette.HOT_METAL_BLUE, (0.0, highest))


def _draw_features(axes: Axes, findings: Findings) -> None:
    if not findings.features:
        bare(axes)
        _plain(axes, "No probabilities: see warnings")
        return
    rows = [(FEATURE_NAMES[feature], value) for feature, value in findings.features.items()]
    if findings.probability is not None:
        rows.append(("Deficit\n(F1, F2, F3, age)", findings.probability))
    for place, (_, value) in enumerate(rows):
        shade = "sure" if value >= ABNORMAL_FROM else "unsure" if value >= NORMAL_BELOW else "not"
        axes.barh(place, value, height=0.55, color=BAR_COLOURS[shade])
        is_long = value > LONG_BAR
        axes.text(
            value - 0.03 if is_long else value + 0.03, place, said_probability(value), fontsize=10,
            fontweight="bold", color=BACKGROUND if is_long else PALE, va="center",
            ha="right" if is_long else "left",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=PALE, fontsize=9.5)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for threshold in (NORMAL_BELOW, ABNORMAL_FROM):
        axes.axvline(threshold, color=FAINT, linestyle="dotted", linewidth=0.8)
    _plain(axes, f"AI: {'probabilities' if findings.answer is None else SAID[findings.answer]}")


def _draw_ages(axes: Axes, findings: Findings) -> None:
    normal, values = findings.normal, {side: findings.value(f"sbr_striatum_{side}") for side in Side}
    tops = [value for value in values.values() if value is not None]
    if normal is not None:
        ages = np.linspace(*AGES_YEARS, 61)
        means = np.array([normal.expected(float(age), findings.sex) for age in ages])
        for share, alpha in ((2, 0.18), (1, 0.30)):
            axes.fill_between(
                ages, means * (1 - share * normal.spread), means * (1 + share * normal.spread),
                color="#7ee081", alpha=alpha, linewidth=0,
            )  # fmt: skip
        axes.plot(ages, means, color="#7ee081", linewidth=1.3)
        tops.append(float(means.max()) * (1 + 2 * normal.spread))
    if findings.age_years is not None:
        for side, value in values.items():
            if value is not None:
                axes.plot(
                    findings.age_years, value, marker="o" if side is Side.RIGHT else "s", markersize=7,
                    color=SIDE_COLOURS[side], markeredgecolor="black", linestyle="none", label=side.value,
                )  # fmt: skip
        axes.legend(fontsize=8, frameon=False, labelcolor=PALE, loc="upper right")
    age = findings.age_years
    axes.set_xlim(min(AGES_YEARS[0], age or 90.0), max(AGES_YEARS[1], age or 0.0))
    axes.set_ylim(min(0.0, *(v for v in tops)), max(tops) * 1.05 or 1.0)
    axes.set_xlabel("age, years", color=FAINT, fontsize=9)
    sex = {"F": "women", "M": "men"}.get(findings.sex, "between sexes")
    said = (
        "Striatal binding ratio, no range of normal"
        if normal is None
        else f"Striatal ratio; normal {sex}, 1 and 2 SD"
    )
    _plain(axes, said)


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, color=PALE, fontsize=10, pad=6)
    axes.set_facecolor("#10151b")
    axes.tick_params(axis="x", colors=FAINT, labelsize=8)
    axes.tick_params(axis="y", color=FAINT, labelcolor=PALE, labelsize=9)
    for spine in axes.spines.values():
        spine.set_edgecolor(FAINT)


# ------------------------------------------------------------------- slices


def _slices(findings: Findings, statement: str) -> NDArray[np.uint8]:
    scan = findings.scan
    ratio, labels = (
        canonical(array, scan.volume.geometry) for array in (scan.uptake.ratio_zyx, scan.uptake.labels_zyx)
    )
    box = _box(labels)
    ratio, labels = _cropped(ratio, box), _cropped(labels, box)
    striata = (labels.array_zyx > 0) & (labels.array_zyx != LABELS["reference"])
    highest = max(float(np.percentile(ratio.array_zyx[striata], 99)) if striata.any() else 0.0, LEAST_SCALE)
    _, width, height, _ = ratio.extent_mm(View.AXIAL)
    figure = new_figure(12.4, 1.15 + 1.9 * height / width)
    top, bottom = 1 - 0.38 / figure.get_figheight(), 0.62 / figure.get_figheight()
    grid = figure.add_gridspec(
        1, SLICES + 1, width_ratios=[1.0] * SLICES + [0.05], left=0.01, right=0.95, top=top, bottom=bottom,
        wspace=0.04,
    )  # fmt: skip
    outlines = {}
    for name, value in LABELS.items():
        mask = CanonicalVolume(labels.array_zyx == value, labels.spacing_mm_zyx)
        kind = name.rsplit("_", 1)[0] if name != "reference" else name
        outlines[name] = (mask, COLOURS[kind], "dotted" if name == "reference" else "solid")
    for column, z in enumerate(_striatal_slices(striata)):
        axes = figure.add_subplot(grid[0, column])
        draw_plane(axes, ratio, View.AXIAL, z, highest=highest, outlines=outlines)
        if column == 0:
            mark_sides(axes)
            axes.set_title("Binding ratio, head first", loc="left", color=PALE, fontsize=10, pad=5)
    draw_colour_bar(figure.add_subplot(grid[0, SLICES]), Palette.HOT_METAL_BLUE, (0.0, highest))
    places = (0.36, 0.5, 0.64)
    _legend(
        figure, [(x, name, colour) for x, (name, colour) in zip(places, COLOURS.items(), strict=True)], 0.42
    )
    write_statement(figure, statement)
    return rendered(figure)


def _box(labels: CanonicalVolume) -> tuple[slice, slice]:
    """Rows and columns around everything that is outlined."""
    found = np.argwhere((labels.array_zyx > 0).any(axis=0))
    out = []
    for axis in range(2):
        margin = int(np.ceil(CROP_MARGIN_MM / labels.spacing_mm_zyx[axis + 1]))
        low, high = int(found[:, axis].min()), int(found[:, axis].max())
        out.append(slice(max(low - margin, 0), high + margin + 1))
    return out[0], out[1]


def _cropped(volume: CanonicalVolume, box: tuple[slice, slice]) -> CanonicalVolume:
    return CanonicalVolume(volume.array_zyx[:, box[0], box[1]], volume.spacing_mm_zyx)


def _striatal_slices(striata: NDArray[np.bool_]) -> list[int]:
    """Slices evenly over the striata, head first."""
    occupied = np.flatnonzero(striata.any(axis=(1, 2)))
    if not len(occupied):
        occupied = np.arange(striata.shape[0])
    return [round(float(z)) for z in np.linspace(occupied.min(), occupied.max(), SLICES)]


# ------------------------------------------------------------------- shared


def _legend(figure: Figure, entries: Sequence[tuple[float, str, str]], height_inch: float) -> None:
    """Names in their lines' colours: where across, name, colour."""
    for across, name, colour in entries:
        figure.text(
            across, height_inch / figure.get_figheight(), f"— {name}", color=colour, ha="center", va="center",
            fontsize=9.5,
        )  # fmt: skip
