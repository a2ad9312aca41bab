"""Key images: each hip in each view, with its box in the picture, where the evidence lies, and the verdict.

A crop is shown as its picture hangs, not mirrored or turned as the classifiers see it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from apps.hip_fracture.answers import lines_of, verdict_of
from apps.hip_fracture.classify import Reading
from apps.hip_fracture.detect import box_yx
from apps.hip_fracture.findings import Findings, HipFindings
from apps.hip_fracture.labels import CLASSES, VIEW_TITLES, Fracture
from apps.hip_fracture.prepare import patient_spacing_mm_yx
from operators.encode.classification import percent_text
from operators.encode.heat_map import HeatMapPanel, Tone, draw_heat_maps
from operators.encode.marks import Box
from operators.encode.messages import Picture
from operators.read.projection import Side, View
from operators.read.radiograph import Radiograph

WHOLE_PX = 640
"""Longest side of a whole picture in a key image."""
PART_PX = 480
"""Longest side of the part with a hip."""


def key_images(findings: Findings, statement: str) -> tuple[Picture, ...]:
    """The radiographs with the hips that were found, then each hip with the evidence.

    Args:
        findings: What was found.
        statement: For every reader.
    """
    return (_overview(findings, statement), *(_key_image(hip, statement) for hip in findings.hips))


def _overview(findings: Findings, statement: str) -> Picture:
    panels = [_whole(findings, radiograph) for radiograph in findings.radiographs]
    said = "; ".join(lines_of(findings))
    return Picture(
        rgb_yxc=draw_heat_maps(panels, title=said, statement=statement),
        description=f"The radiographs, with a box around each hip that was read. {said}.",
    )


def _whole(findings: Findings, radiograph: Radiograph) -> HeatMapPanel:
    """A radiograph with the box of each hip that was read in it."""
    grey_yx, scale = fitted(radiograph.pixels_yx, WHOLE_PX)
    seen = [(hip, one) for hip in findings.hips for one in hip.readings if one.radiograph is radiograph]
    boxes = []
    for hip, reading in seen:
        (top, left), (bottom, right) = box_yx(reading.placement, radiograph.pixels_yx.shape)
        corners = ((top * scale, left * scale), (bottom * scale, right * scale))
        boxes.append(Box(corners_yx=corners, label=hip.title))
    view = seen[0][1].hip.view
    marks = {"left_mark": "R", "right_mark": "L"} if view is View.AP else {}
    return HeatMapPanel(
        grey_yx=grey_yx,
        spacing_mm_yx=_spacing(radiograph, scale),
        title=VIEW_TITLES[view],
        boxes=tuple(boxes),
        **marks,
    )


def _key_image(hip: HipFindings, statement: str) -> Picture:
    views = " and ".join(name for name, _ in hip.named_readings)
    return Picture(
        rgb_yxc=draw_heat_maps(
            [_part(hip, name, reading) for name, reading in hip.named_readings],
            title=f"{hip.title}: {verdict_of(hip)}",
            statement=statement,
        ),
        description=f"{hip.title}, {views}, and where the evidence for the likeliest answer lies. "
        f"{verdict_of(hip)}.",
    )


def _part(hip: HipFindings, name: str, reading: Reading) -> HeatMapPanel:
    """A hip in one view, with the evidence."""
    grey_yx, heat_yx, scale = seen_part(reading)
    likeliest = int(np.argmax(reading.probabilities))
    return HeatMapPanel(
        grey_yx=grey_yx,
        heat_yx=heat_yx,
        spacing_mm_yx=_spacing(reading.radiograph, scale),
        title=f"{hip.title}, {name}",
        verdict=f"{CLASSES[likeliest].title} {percent_text(float(reading.probabilities[likeliest]))}",
        tone=_tone(hip),
        **_side_mark(hip.side),
    )


def _spacing(radiograph: Radiograph, scale: float) -> tuple[float, float]:
    """Of a picture's pixels in the patient, as far as that is known, after its sides were multiplied."""
    row_mm, column_mm = patient_spacing_mm_yx(radiograph)
    return row_mm / scale, column_mm / scale


def _side_mark(side: Side) -> dict[str, str]:
    return {"left_mark": "R"} if side is Side.RIGHT else {"right_mark": "L"}


def _tone(hip: HipFindings) -> Tone:
    if hip.decision.class_index is None:
        return Tone.POSITIVE if hip.is_surely_broken else Tone.UNSURE
    return Tone.NEGATIVE if CLASSES[hip.decision.class_index] is Fracture.NONE else Tone.POSITIVE


def fitted(image_yx: NDArray[np.float32], longest_px: int) -> tuple[NDArray[np.float32], float]:
    """An image with its longest side at most this long, and by how much its sides were multiplied.

    >>> small, scale = fitted(np.zeros((100, 50), dtype=np.float32), 20)
    >>> small.shape, scale
    ((20, 10), 0.2)
    """
    rows, columns = image_yx.shape
    scale = min(longest_px / max(rows, columns), 1.0)
    size = max(round(columns * scale), 1), max(round(rows * scale), 1)
    return np.asarray(cv2.resize(image_yx, size, interpolation=cv2.INTER_AREA), dtype=np.float32), scale


def seen_part(reading: Reading) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Greys and evidence of the part of a picture around a hip, as the picture hangs.

    Returns:
        ``(y, x)`` float32 greys, contrast spread, ``(y, x)`` float32 evidence of the same size, and by how
        much the sides of the picture's pixels were multiplied.
    """
    pixels_yx = reading.radiograph.pixels_yx
    (top, left), (bottom, right) = box_yx(reading.placement, pixels_yx.shape)
    first = math.floor(top), math.floor(left)
    part = pixels_yx[first[0] : math.ceil(bottom), first[1] : math.ceil(right)]
    low, high = np.percentile(part, (1.0, 99.5))
    grey_yx, scale = fitted(np.clip((part - low) / max(float(high - low), 1e-6), 0, 1), PART_PX)
    # From a pixel of the part to the crop: back to the picture, then by the inverse of the placement.
    to_image = np.array(
        [[1 / scale, 0.0, first[1] - 0.5 + 0.5 / scale], [0.0, 1 / scale, first[0] - 0.5 + 0.5 / scale]]
    )
    to_image = np.vstack([to_image, [0.0, 0.0, 1.0]])
    crop_to_image = np.vstack([reading.placement.matrix, [0.0, 0.0, 1.0]])
    to_crop = np.linalg.solve(crop_to_image, to_image)[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    heat_yx = cv2.warpAffine(
        reading.heat_yx, to_crop, grey_yx.shape[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT
    )
    return grey_yx, np.asarray(heat_yx, dtype=np.float32), scale
