"""Training samples: small pictures with their landmarks, and crops of hips with their answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.hip_fracture.cases import TrueImage, TruthCase, read_case
from apps.hip_fracture.cast import with_cast
from apps.hip_fracture.detect import Hip, Problem, find_hips
from apps.hip_fracture.labels import CLASSES, VIEWS, Landmark
from apps.hip_fracture.prepare import (
    CROP_MM_PER_PX,
    MARGIN_PX,
    channels,
    cut_out,
    overview,
    patient_spacing_mm_yx,
)
from operators.infer.landmarks import Detector
from operators.phantom.identity import generator
from operators.read.projection import Side, View

WORKERS = 2
"""Processes that read cases."""
UNREADABLE_LABEL = len(CLASSES)
"""Of hips with metal or in a cast: the classifiers' last class."""
INVERTED_EVERY = 4
"""One picture in so many is also learned inverted, as one that shows no hip."""
CLEAR_MM = 60.0
"""Around a joint: what is beyond in a strip of the picture shows no hip."""
LEAST_STRIP_MM = 100.0
CAST_EVERY = 15
"""One hip in so many is also learned in a cast."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview:
    """A picture as the detector sees it.

    Args:
        patient_id: What splits go by.
        image_yx: ``(y, x)`` uint8.
        spacing_mm_yx: Of its pixels.
        points_mm: For each `Landmark` its places, ``(y_mm, x_mm)``.
    """

    patient_id: str
    image_yx: NDArray[np.uint8]
    spacing_mm_yx: tuple[float, float]
    points_mm: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class HipSample:
    """A hip in one picture, with its answer.

    Args:
        case: Name of the case folder: two studies of a patient are two cases.
        patient_id: What splits go by.
        side: Of the patient.
        view: From where it is seen.
        label: Index of `CLASSES`, or `UNREADABLE_LABEL`.
        image_cyx: ``(c, y, x)`` uint8, the crop with its margin.
    """

    case: str
    patient_id: str
    side: Side
    view: View
    label: int
    image_cyx: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseSamples:
    """What a case folder gives.

    Args:
        patient_id: What splits go by.
        overviews: Empty where nobody marked landmarks.
        hips: All that were marked or found.
        remarks: What could not be used, a sentence each.
    """

    patient_id: str
    overviews: tuple[Overview, ...]
    hips: tuple[HipSample, ...]
    remarks: tuple[str, ...] = ()


def read_samples(folders: Sequence[Path], detector: Detector | None) -> Iterator[CaseSamples]:
    """Samples of case folders in their order.

    Args:
        folders: Of cases.
        detector: Finds the hips of pictures that nobody marked; None passes over them.

    Raises:
        Refused: A case holds no picture that can be read.
        ValueError: A case's truth.json names no answer.
    """
    if detector is not None:
        yield from (samples_of(read_case(folder), detector) for folder in folders)
        return
    # A fork of a process whose threads have computed may stop for ever in the first lock that they held.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_marked_samples, folders)


def _marked_samples(folder: Path) -> CaseSamples:
    return samples_of(read_case(folder), None)


def samples_of(case: TruthCase, detector: Detector | None) -> CaseSamples:
    """Samples of one case."""
    overviews: list[Overview] = []
    hips: list[HipSample] = []
    remarks = list(case.problems)
    for image in case.images:
        if image.radiograph.grey_is_suspect:
            remarks.append(f"{case.name}: the picture of an image contradicts its polarity")
            continue
        if image.marks:
            is_inverted_too = number_of(image, "inverted") % INVERTED_EVERY == 0
            overviews += overviews_of(case.patient_id, image, is_inverted_too=is_inverted_too)
        try:
            seen = _marked_hips(image) if image.marks else _found_hips(image, detector)
        except Problem as problem:
            remarks.append(f"{case.name}: {problem.reason}")
            continue
        for hip in (hip for hip in seen if hip.side in case.hips):
            hips += _hip_samples(case, image, hip)
    return CaseSamples(
        patient_id=case.patient_id, overviews=tuple(overviews), hips=tuple(hips), remarks=tuple(remarks)
    )


def _marked_hips(image: TrueImage) -> list[Hip]:
    if image.view not in VIEWS:
        return []
    return [
        Hip(
            side=side,
            view=image.view,
            joint_px_yx=marks.joint_px_yx,
            trochanters_px_yx=marks.trochanters_px_yx,
            score=1.0,
        )
        for side, marks in image.marks.items()
        if marks.is_centred
    ]


def _found_hips(image: TrueImage, detector: Detector | None) -> tuple[Hip, ...]:
    return () if detector is None else find_hips(image.radiograph, detector)[0]


def _hip_samples(case: TruthCase, image: TrueImage, hip: Hip) -> list[HipSample]:
    """A hip as it is, and one in `CAST_EVERY` once more in a cast."""
    truth = case.hips[hip.side]
    radiograph = image.radiograph
    crop = cut_out(radiograph.pixels_yx, hip.placement(radiograph), MARGIN_PX)
    told = UNREADABLE_LABEL if truth.is_operated else CLASSES.index(truth.fracture)
    looks = [(told, crop)]
    number = number_of(image, hip.side)
    if number % CAST_EVERY == 0:
        in_cast = with_cast(crop, (CROP_MM_PER_PX, CROP_MM_PER_PX), generator(number))
        looks.append((UNREADABLE_LABEL, in_cast))
    return [
        HipSample(
            case=case.name,
            patient_id=case.patient_id,
            side=hip.side,
            view=hip.view,
            label=label,
            image_cyx=channels(crop_yx),
        )
        for label, crop_yx in looks
    ]


def number_of(image: TrueImage, purpose: str) -> int:
    """A number that depends on the image and a purpose, and on nothing else."""
    key = f"{image.radiograph.header.SOPInstanceUID}/{purpose}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])


def overviews_of(patient_id: str, image: TrueImage, *, is_inverted_too: bool) -> list[Overview]:
    """A marked picture, the same inverted, and strips of it that show no hip: what is to be refused."""
    image_yx, spacing = overview(image.radiograph)
    points = points_of(image)
    out = [Overview(patient_id=patient_id, image_yx=image_yx, spacing_mm_yx=spacing, points_mm=points)]
    nothing: tuple[tuple[tuple[float, float], ...], ...] = tuple(() for _ in Landmark)
    empty = [255 - image_yx] if is_inverted_too else []
    joints_mm = [joint[0] for channel in points for joint in channel]
    rows_mm = len(image_yx) * spacing[0]
    for top_mm, bottom_mm in ((0.0, min(joints_mm) - CLEAR_MM), (max(joints_mm) + CLEAR_MM, rows_mm)):
        if bottom_mm - top_mm >= LEAST_STRIP_MM:
            empty.append(image_yx[int(top_mm / spacing[0]) : int(bottom_mm / spacing[0])])
    out += [
        Overview(patient_id=patient_id, image_yx=one, spacing_mm_yx=spacing, points_mm=nothing)
        for one in empty
    ]
    return out


def points_of(image: TrueImage) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Places of each landmark in a marked picture, mm in the patient from the first pixel."""
    row_mm, column_mm = patient_spacing_mm_yx(image.radiograph)
    points: dict[Landmark, list[tuple[float, float]]] = {landmark: [] for landmark in Landmark}
    joints = {Side.RIGHT: Landmark.RIGHT_JOINT_AP, Side.LEFT: Landmark.LEFT_JOINT_AP}
    for side, marks in image.marks.items():
        joint = Landmark.JOINT_LATERAL if image.view is View.LATERAL else joints[side]
        for landmark, (y, x) in ((joint, marks.joint_px_yx), (Landmark.TROCHANTERS, marks.trochanters_px_yx)):
            if _is_inside(y, x, image):
                points[landmark].append((y * row_mm, x * column_mm))
    return tuple(tuple(points[landmark]) for landmark in Landmark)


def _is_inside(y: float, x: float, image: TrueImage) -> bool:
    rows, columns = image.radiograph.pixels_yx.shape
    return 0 <= y < rows and 0 <= x < columns
