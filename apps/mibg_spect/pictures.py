"""Key images of mibg_spect: what a nuclear physician checks the numbers on.

Early and late are drawn on one scale of counts, corrected for the decay of I-123 to
the time of injection, so that washout is seen as such; where a time is unknown, each
has its own scale and says so. Liver uptake may saturate; the scale is the chest's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from apps.mibg_spect.findings import Findings, value_of
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.quantify import Measurements
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
    draw_outline,
    draw_plane,
    new_figure,
    rendered,
    write_statement,
)
from operators.measure.decay import decay_factor
from operators.measure.planar import PlanarRegions
from operators.read.nm import NmPlanar, NmVolume

COLOURS = {"heart": "#ffffff", "lung_right": "#7ee081", "lung_left": "#7ee081", "liver": "#ffb454"}
MEDIASTINUM_COLOUR = "#56c8ff"
LEGEND = (
    ("heart", COLOURS["heart"]),
    ("lungs", COLOURS["lung_left"]),
    ("liver", COLOURS["liver"]),
    ("mediastinum", MEDIASTINUM_COLOUR),
)
AXIAL_SLICES = 6
SCALE_PERCENTILE = 99.7
CROP_MARGIN_MM = 25.0
BACKGROUND_MULTIPLE = 1.8
"""The scale never ends below this multiple of lung or mediastinum."""


@dataclass(frozen=True)
class _Scene:
    """One phase, turned for reading and cropped to the organs."""

    counts: CanonicalVolume
    masks: dict[str, CanonicalVolume]
    highest: float
    is_decay_corrected: bool

    @property
    def heart_centre(self) -> tuple[int, int, int]:
        found = np.argwhere(self.masks["heart"].array_zyx)
        if not len(found):
            shape = self.counts.array_zyx.shape
            return shape[0] // 2, shape[1] // 2, shape[2] // 2
        z, y, x = np.round(found.mean(axis=0)).astype(int)
        return int(z), int(y), int(x)

    @property
    def outlines(self) -> dict[str, tuple[CanonicalVolume, str, str]]:
        return {name: (self.masks[name], colour, "solid") for name, colour in COLOURS.items()}

    def draw(self, axes: Axes, view: View, index: int) -> None:
        """Draw a plane; the reference box is drawn in projection, as it lies above the heart."""
        draw_plane(axes, self.counts, view, index, highest=self.highest, outlines=self.outlines)
        box = self.masks["mediastinum"]
        shadow = box.plane(view, index) if view is View.AXIAL else np.any(box.array_zyx, axis=int(view))
        draw_outline(axes, np.asarray(shadow, dtype=bool), box.extent_mm(view), MEDIASTINUM_COLOUR, "dashed")


def key_images(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """The key images, in reading order: overview, axial slices, planar views if there are any."""
    scenes = _scenes(findings)
    pictures = [
        Picture(
            rgb_yxc=_overview(scenes, findings.measurements, statement),
            description="Coronal, axial and sagittal SPECT through the heart with outlines of the organs.",
        ),
        Picture(
            rgb_yxc=_axial_slices(scenes, findings.measurements, statement),
            description="Axial SPECT slices through the heart with outlines of the organs.",
        ),
    ]
    if findings.planar:
        pictures.append(
            Picture(
                rgb_yxc=_planar_views(findings, statement),
                description="Anterior planar views with both regions.",
            )
        )
    return tuple(pictures)


# ------------------------------------------------------------------- scenes


def _scenes(findings: Findings) -> dict[Phase, _Scene]:
    corrections = {phase: _decay_correction(volume) for phase, volume in findings.volumes.items()}
    is_corrected = None not in corrections.values()
    raw = {}
    for phase, volume in findings.volumes.items():
        factor = corrections[phase] if is_corrected else 1.0
        raw[phase] = np.asarray(volume.counts_zyx * np.float32(factor or 1.0))
    masks = {phase: _masks(findings, phase) for phase in findings.volumes}
    highest = {phase: _highest(raw[phase], masks[phase]) for phase in raw}
    common = max(highest.values())
    scenes = {}
    for phase, volume in findings.volumes.items():
        box = _box(masks[phase], volume)
        scenes[phase] = _Scene(
            counts=_cropped(canonical(raw[phase], volume.geometry), box),
            masks={n: _cropped(canonical(m, volume.geometry), box) for n, m in masks[phase].items()},
            highest=common if is_corrected else highest[phase],
            is_decay_corrected=is_corrected,
        )
    return scenes


def _decay_correction(volume: NmVolume) -> float | None:
    minutes = volume.minutes_after_injection
    return None if minutes is None else 1.0 / decay_factor(minutes / 60.0)


def _masks(findings: Findings, phase: Phase) -> dict[str, NDArray[np.bool_]]:
    labels = findings.segmentation.labels_zyx[phase]
    masks = {name: labels == value for name, value in LABELS.items()}
    masks["mediastinum"] = findings.measurements.mediastinum_zyx[phase]
    return masks


def _highest(counts_zyx: NDArray[np.float32], masks: Mapping[str, NDArray[np.bool_]]) -> float:
    """Top of the scale: the heart's, or for a faint heart a multiple of its surroundings."""
    tops = [float(np.finfo(np.float32).tiny)]
    if masks["heart"].any():
        tops.append(float(np.percentile(counts_zyx[masks["heart"]], SCALE_PERCENTILE)))
    lungs = masks["lung_left"] | masks["lung_right"]
    around = [float(counts_zyx[mask].mean()) for mask in (lungs, masks["mediastinum"]) if mask.any()]
    tops.append(BACKGROUND_MULTIPLE * max(around, default=0.0))
    if len(tops) == 2 and tops[1] == 0.0:
        tops.append(float(np.percentile(counts_zyx, SCALE_PERCENTILE)))
    return max(tops)


Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def _box(masks: Mapping[str, NDArray[np.bool_]], volume: NmVolume) -> Box:
    """Index ranges, in the turned array, around everything that is outlined."""
    anything = canonical(np.logical_or.reduce(list(masks.values())), volume.geometry)
    found = np.argwhere(anything.array_zyx)
    shape = anything.array_zyx.shape
    if not len(found):
        return (0, shape[0]), (0, shape[1]), (0, shape[2])
    margin = [int(np.ceil(CROP_MARGIN_MM / mm)) for mm in anything.spacing_mm_zyx]
    low, high = found.min(axis=0), found.max(axis=0)
    first, second, third = (
        (max(int(low[a]) - margin[a], 0), min(int(high[a]) + margin[a] + 1, shape[a])) for a in range(3)
    )
    return first, second, third


def _cropped(volume: CanonicalVolume, box: Box) -> CanonicalVolume:
    (z0, z1), (y0, y1), (x0, x1) = box
    return CanonicalVolume(volume.array_zyx[z0:z1, y0:y1, x0:x1], volume.spacing_mm_zyx)


# ----------------------------------------------------------------- pictures


def _overview(
    scenes: Mapping[Phase, _Scene], measurements: Measurements, statement: str
) -> NDArray[np.uint8]:
    figure = new_figure(11.0, 0.75 + 3.55 * len(scenes))
    first = next(iter(scenes.values()))
    widths = [_aspect(first, view) for view in (View.CORONAL, View.AXIAL, View.SAGITTAL)]
    top, bottom = _margins(figure)
    grid = figure.add_gridspec(
        len(scenes), 4, width_ratios=[*widths, 0.055], left=0.045, right=0.945, top=top, bottom=bottom,
        wspace=0.04, hspace=0.16,
    )  # fmt: skip
    for row, (phase, scene) in enumerate(scenes.items()):
        z, y, x = scene.heart_centre
        for column, (view, index) in enumerate(((View.CORONAL, y), (View.AXIAL, z), (View.SAGITTAL, x))):
            axes = figure.add_subplot(grid[row, column])
            scene.draw(axes, view, index)
            _direction_letters(axes, view)
            _corner(axes, 0.5, view.name.lower())
            if column == 0:
                _row_label(axes, phase, measurements)
        _colour_bar(figure.add_subplot(grid[row, 3]), scene)
    _legend(figure)
    write_statement(figure, statement)
    return rendered(figure)


def _axial_slices(
    scenes: Mapping[Phase, _Scene], measurements: Measurements, statement: str
) -> NDArray[np.uint8]:
    widest = max(_aspect(scene, View.AXIAL) for scene in scenes.values())
    figure = new_figure(12.4, 0.98 + (0.28 + 1.82 / widest) * len(scenes))
    top, bottom = _margins(figure)
    grid = figure.add_gridspec(
        len(scenes), AXIAL_SLICES + 1, width_ratios=[1.0] * AXIAL_SLICES + [0.06], left=0.04, right=0.95,
        top=top, bottom=bottom, wspace=0.04, hspace=0.2,
    )  # fmt: skip
    for row, (phase, scene) in enumerate(scenes.items()):
        for column, z in enumerate(_heart_slices(scene)):
            axes = figure.add_subplot(grid[row, column])
            scene.draw(axes, View.AXIAL, z)
            if column == 0:
                _row_label(axes, phase, measurements)
                _direction_letters(axes, View.AXIAL)
        _colour_bar(figure.add_subplot(grid[row, AXIAL_SLICES]), scene)
    _legend(figure)
    write_statement(figure, statement)
    return rendered(figure)


def _planar_views(findings: Findings, statement: str) -> NDArray[np.uint8]:
    views = findings.planar
    figure = new_figure(0.6 + 4.6 * len(views), 5.6)
    top, bottom = _margins(figure)
    for column, (phase, view) in enumerate(views.items()):
        axes = figure.add_subplot(1, len(views), column + 1)
        height, width = view.counts_yx.shape
        extent = (0.0, width * view.spacing_mm_yx[1], height * view.spacing_mm_yx[0], 0.0)
        regions = findings.measurements.planar.get(phase)
        highest = _planar_highest(view, regions)
        axes.imshow(
            view.counts_yx, cmap="gray_r", vmin=0, vmax=highest, extent=extent, interpolation="bicubic"
        )
        if regions is not None:
            draw_outline(axes, regions.heart_yx, extent, "#d81b60")
            draw_outline(axes, regions.mediastinum_yx, extent, "#0069c0", "dashed")
        bare(axes)
        _corner(axes, 0.02, "R")
        _corner(axes, 0.98, "L")
        axes.set_title(_planar_title(phase, findings.measurements), color=PALE, fontsize=11, pad=6)
    figure.subplots_adjust(left=0.02, right=0.98, top=top, bottom=bottom, wspace=0.05)
    note = "anterior; circle: heart, dashed: mediastinum"
    figure.text(0.5, bottom - 0.012, note, color=FAINT, ha="center", va="top", fontsize=9)
    write_statement(figure, statement)
    return rendered(figure)


def _planar_highest(view: NmPlanar, regions: PlanarRegions | None) -> float:
    """Top of the grey scale: above heart and mediastinum, so that the liver may saturate."""
    if regions is None:
        return float(np.percentile(view.counts_yx, SCALE_PERCENTILE)) or 1.0
    chest = view.counts_yx[regions.heart_yx | regions.mediastinum_yx]
    return BACKGROUND_MULTIPLE * float(np.percentile(chest, 95)) or 1.0


def _margins(figure: Figure) -> tuple[float, float]:
    """Top and bottom of the grid, leaving lines for titles, legend and statement."""
    height = figure.get_figheight()
    return 1 - 0.34 / height, 0.58 / height


def _aspect(scene: _Scene, view: View) -> float:
    _, width, height, _ = scene.counts.extent_mm(view)
    return width / height


def _heart_slices(scene: _Scene) -> list[int]:
    """Slices evenly over the heart, head first."""
    occupied = np.nonzero(scene.masks["heart"].array_zyx.any(axis=(1, 2)))[0]
    if not len(occupied):
        occupied = np.arange(scene.counts.array_zyx.shape[0])
    low, high = int(occupied.min()), int(occupied.max())
    inset = (high - low) * 0.08
    return [round(float(z)) for z in np.linspace(low + inset, high - inset, AXIAL_SLICES)]


def _row_label(axes: Axes, phase: Phase, measurements: Measurements) -> None:
    minutes = value_of(measurements, f"minutes_after_injection_{phase}")
    label = phase.value.capitalize() if minutes is None else f"{phase.value.capitalize()}, {minutes:.0f} min"
    numbers = [
        ("heart", value_of(measurements, f"heart_counts_{phase}"), "measured counts/voxel", 1),
        ("heart/mediastinum", value_of(measurements, f"heart_mediastinum_{phase}"), "", 2),
        ("heart/lung", value_of(measurements, f"heart_lung_{phase}"), "", 2),
        ("heart/liver", value_of(measurements, f"heart_liver_{phase}"), "", 2),
    ]
    parts = [
        f"{name} {value:.{digits}f} {unit}".rstrip()
        for name, value, unit, digits in numbers
        if value is not None
    ]
    axes.set_title("   ·   ".join([label, *parts]), loc="left", color=PALE, fontsize=10.5, pad=5)


def _direction_letters(axes: Axes, view: View) -> None:
    left, right = ("A", "P") if view is View.SAGITTAL else ("R", "L")
    _corner(axes, 0.02, left)
    _corner(axes, 0.98, right)


def _corner(axes: Axes, x: float, letter: str) -> None:
    axes.text(
        x, 0.98, letter, color=FAINT, fontsize=9, va="top", ha={0.5: "center", 0.98: "right"}.get(x, "left"),
        transform=axes.transAxes,
    )  # fmt: skip


def _colour_bar(axes: Axes, scene: _Scene) -> None:
    ramp = np.linspace(0, 1, 256).reshape(256, 1)
    axes.imshow(
        ramp,
        cmap=colormap(Palette.HOT_METAL_BLUE),
        origin="lower",
        aspect="auto",
        extent=(0, 1, 0, scene.highest),
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.tick_params(colors=FAINT, labelsize=8, length=2)
    note = "counts, decay-corrected" if scene.is_decay_corrected else "counts, own scale"
    axes.set_ylabel(note, color=FAINT, fontsize=8)
    for spine in axes.spines.values():
        spine.set_edgecolor(FAINT)


def _legend(figure: Figure) -> None:
    y = 0.4 / figure.get_figheight()
    for number, (name, colour) in enumerate(LEGEND):
        x = 0.5 + (number - (len(LEGEND) - 1) / 2) * 0.105
        figure.text(x, y, f"— {name}", color=colour, ha="center", va="center", fontsize=9.5)


def _planar_title(phase: Phase, measurements: Measurements) -> str:
    standardised, raw = (value_of(measurements, f"{n}_{phase}") for n in ("hmr_std", "hmr"))
    parts = [phase.value]
    parts += [f"HMR {raw:.2f}"] if raw is not None else []
    parts += [f"standardised {standardised:.2f}"] if standardised is not None else []
    return ", ".join(parts)
