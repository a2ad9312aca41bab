"""Key images of spine_metastasis: where the vertebrae are, and where the evidence for each answer is.

The first shows the middle slice of each sequence with every vertebra that was found and its name; those
after it show fractured vertebrae as the networks see them, with their heat maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from apps.spine_metastasis.classify import MALIGNANT, OSTEOPOROTIC, JudgedVertebra, Presence
from apps.spine_metastasis.crops import ACROSS_MM, PIXELS, SIZE_MM, WHITE_VALUE, white_of
from apps.spine_metastasis.findings import (
    NOT_FOUND,
    Findings,
    name_of,
    scope_of,
    sequence_verdict_of,
    short_name_of,
    verdict_of,
)
from apps.spine_metastasis.labels import Weighting
from apps.spine_metastasis.regions import HALF_DEPTH_MM, HALF_HEIGHT, frame_of
from apps.spine_metastasis.stack import SagittalStack
from operators.encode.heat_map import HeatMapPanel, Tone, draw_heat_maps
from operators.encode.messages import Picture
from operators.encode.pictures import FAINT, PALE, bare, new_figure, rendered, write_statement

VERTEBRAE_EACH = 2
"""Of a picture with heat maps."""
MOST_PICTURES = 3
"""With heat maps: the six fractures that are most probably malignant."""
TONES = {OSTEOPOROTIC: Tone.OTHER, MALIGNANT: Tone.POSITIVE, None: Tone.UNSURE}
COLOURS = {OSTEOPOROTIC: "#6ebeff", MALIGNANT: "#ff7062", None: "#ffd27f"}
MIDDLE_CHANNEL = ACROSS_MM.index(0.0)
WHITE_FACTOR = 255.0 / WHITE_VALUE
"""A picture is as bright as the networks see it."""
PANEL_INCH = 5.2


def key_images(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """The key images, in reading order."""
    overview = Picture(
        rgb_yxc=_overview(findings, statement),
        description="Middle slices with the vertebrae that were found, fractured ones in boxes.",
    )
    return (overview, *_heat_maps(findings, statement))


# ----------------------------------------------------------------- overview


def _overview(findings: Findings, statement: str) -> NDArray[np.uint8]:
    figure = new_figure(0.4 + PANEL_INCH * len(findings.sequences), PANEL_INCH + 1.1)
    panels = figure.subplots(1, len(findings.sequences), squeeze=False)[0]
    figure.subplots_adjust(left=0.02, right=0.98, top=0.9, bottom=0.09, wspace=0.04)
    for axes, weighting in zip(panels, findings.sequences, strict=True):
        _draw_sequence(axes, findings, weighting)
    said = "AI: (possibly) fractured vertebrae in boxes" if findings.told else f"AI: {NOT_FOUND}"
    figure.text(0.5, 0.975, said, color=PALE, ha="center", va="center", fontsize=12)
    figure.text(0.5, 0.942, scope_of(findings)[0], color=FAINT, ha="center", va="center", fontsize=8.5)
    write_statement(figure, statement)
    return rendered(figure)


def _draw_sequence(axes: Axes, findings: Findings, weighting: Weighting) -> None:
    stack = findings.stacks[weighting]
    vertebrae = [one.vertebra for one in findings.judged if weighting in one.probabilities]
    number = _shown_slice(findings, weighting)
    _, row_mm, column_mm = stack.geometry.spacing_mm_zyx
    rows, columns = stack.signal.shape[1:]
    extent = (-column_mm / 2, (columns - 0.5) * column_mm, (rows - 0.5) * row_mm, -row_mm / 2)
    everywhere = [one.vertebra for one in findings.judged]
    white = white_of(stack, vertebrae or everywhere) * WHITE_FACTOR
    axes.imshow(
        stack.signal[number], cmap="gray", vmin=0, vmax=white, extent=extent, interpolation="bilinear"
    )
    for one in findings.judged:
        if weighting in one.probabilities:
            _draw_vertebra(axes, stack, one)
    bare(axes)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    title = f"{weighting.spoken}, slice {number + 1} from the right"
    title += "" if vertebrae else ": shows none of the vertebrae"
    axes.set_title(title, color=PALE, fontsize=10, pad=5)
    for x, letter, align in ((0.02, "A", "left"), (0.98, "P", "right")):
        axes.text(x, 0.98, letter, color=FAINT, fontsize=9, va="top", ha=align, transform=axes.transAxes)


def _shown_slice(findings: Findings, weighting: Weighting) -> int:
    """The slice through the fracture that matters most, else through the middle of the spine."""
    stack = findings.stacks[weighting]
    worst = findings.worst
    if worst is not None and weighting in worst.probabilities:
        place = float(stack.index_of(worst.vertebra.centre)[0])
    else:
        places = stack.index_of(np.array([one.vertebra.centre for one in findings.judged]))
        place = float(np.median(places[:, 0]))
    return int(np.clip(round(place), 0, stack.signal.shape[0] - 1))


def _draw_vertebra(axes: Axes, stack: SagittalStack, one: JudgedVertebra) -> None:
    vertebra = one.vertebra
    _, row_mm, column_mm = stack.geometry.spacing_mm_zyx
    place = stack.index_of(vertebra.centre)
    x, y = float(place[2]) * column_mm, float(place[1]) * row_mm
    if not one.is_told:
        is_examined = one.presence is not Presence.NOT_ASSESSED
        axes.plot(x, y, marker="+" if is_examined else "x", markersize=5, color=FAINT, markeredgewidth=0.8)
        said = [vertebra.level or "", "" if is_examined else Presence.NOT_ASSESSED.value]
        axes.text(x + 3, y, " ".join(filter(None, said)), color=FAINT, fontsize=7, va="center")
        return
    colour = COLOURS[one.decision.class_index]
    down, back, _ = frame_of(stack, vertebra)
    reach = HALF_HEIGHT * vertebra.pitch_mm
    corners = np.array(
        [
            vertebra.centre + v * reach * down + h * HALF_DEPTH_MM * back
            for v, h in ((-1, -1), (-1, 1), (1, 1), (1, -1))
        ]
    )
    outline = stack.index_of(corners)[:, [2, 1]] * np.array([column_mm, row_mm])
    axes.add_patch(Polygon(outline, closed=True, fill=False, edgecolor=colour, linewidth=1.4))
    left = float(outline[:, 0].min())
    axes.text(
        left - 3, y, f"{short_name_of(one)}\n{verdict_of(one)}", color=colour, fontsize=7.5, va="center",
        ha="right",
    )  # fmt: skip


# ---------------------------------------------------------------- heat maps


def _heat_maps(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """Pictures of fractured vertebrae, from head to feet; where there are many, the likeliest malignant."""
    most = sorted(findings.told, key=lambda one: -one.p_malignant)[: VERTEBRAE_EACH * MOST_PICTURES]
    shown = [one for one in findings.told if any(one is other for other in most)]
    out = []
    for start in range(0, len(shown), VERTEBRAE_EACH):
        group = shown[start : start + VERTEBRAE_EACH]
        names = " and ".join(name_of(one) for one in group)
        out.append(
            Picture(
                rgb_yxc=draw_heat_maps(
                    _panels(group),
                    title="Where the evidence for the likelier cause lies",
                    statement=statement,
                    legend="Class activation",
                ),
                description=f"{names}, as the networks see it, with the evidence for the likelier cause.",
            )
        )
    return tuple(out)


def _panels(group: Sequence[JudgedVertebra]) -> list[HeatMapPanel]:
    pixel_mm = SIZE_MM / PIXELS
    return [
        HeatMapPanel(
            grey_yx=np.clip(one.crops[weighting][MIDDLE_CHANNEL].astype(np.float32) / 255.0, 0, 1),
            heat_yx=one.heat_maps[weighting],
            spacing_mm_yx=(pixel_mm, pixel_mm),
            title=f"{short_name_of(one)}, {weighting.spoken}",
            verdict=f"{verdict_of(one)}; {weighting.spoken} alone: {sequence_verdict_of(one, weighting)}",
            tone=TONES[one.decision.class_index],
            left_mark="A",
            right_mark="P",
        )
        for one in group
        for weighting in one.heat_maps
    ]
