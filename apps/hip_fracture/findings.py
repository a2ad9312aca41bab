"""From the radiographs of a study to what is said of each hip: the science of the app, without DICOM objects.

Every picture is looked at on its own: what is wrong with it leaves it out with a sentence. Each hip is then
read in each view, and its views are fused. A hip with metal, or in a cast, in any view is left out
altogether.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apps.hip_fracture.classify import Reading, read_hip
from apps.hip_fracture.detect import NAME as DETECTOR
from apps.hip_fracture.detect import Problem, find_hips
from apps.hip_fracture.labels import CLASSES, SIDE_TITLES, SIDES, VIEW_TITLES, VIEWS
from operators.bundle import inference_settings
from operators.errors import Refused
from operators.infer.landmarks import Detector
from operators.measure.decision import LEAST, Decision, decide, fuse
from operators.read.projection import Side, View
from operators.read.radiograph import Radiograph


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where the app stops to answer; of the bundle.

    Args:
        least_probability: Below it nothing is decided.
        sure: Views that say different things contradict each other where both are at least this sure.
        unreadable_from: Probability of metal or a cast from which a hip is left out.
        fusion_temperature: Makes fused probabilities as sure as they are right.
    """

    least_probability: float = LEAST
    sure: float = LEAST
    unreadable_from: float = 0.5
    fusion_temperature: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class HipFindings:
    """What is said of one hip.

    Args:
        side: Of the patient.
        readings: One of each view in which it was seen, AP first.
        probabilities: ``(3,)`` float64, of `CLASSES`, over the views.
        decision: The answer, or why there is none.
    """

    side: Side
    readings: tuple[Reading, ...]
    probabilities: NDArray[np.float64]
    decision: Decision

    @property
    def title(self) -> str:
        """Such as ``Right hip``."""
        return f"{SIDE_TITLES[self.side].capitalize()} hip"

    @property
    def missing_views(self) -> tuple[View, ...]:
        """Views in which it was not read."""
        seen = {reading.hip.view for reading in self.readings}
        return tuple(view for view in VIEWS if view not in seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What is said of a study.

    Args:
        hips: Those that could be read, right before left; at least one.
        warnings: Sentences that a reader must see: what was left out and why, which view is missing.
    """

    hips: tuple[HipFindings, ...]
    warnings: tuple[str, ...]

    @property
    def radiographs(self) -> tuple[Radiograph, ...]:
        """Those that an answer rests on, each once."""
        found: dict[str, Radiograph] = {}
        for hip in self.hips:
            for reading in hip.readings:
                found.setdefault(str(reading.radiograph.header.SOPInstanceUID), reading.radiograph)
        return tuple(found.values())


def limits_of(bundle: Path) -> Limits:
    """As inference.json tells.

    Raises:
        BrokenBundle: It cannot be read.
    """
    told = inference_settings(bundle).get("hip", {})
    return Limits(**{name: float(told[name]) for name in Limits.__dataclass_fields__ if name in told})


def analyse(
    radiographs: Sequence[Radiograph],
    bundle: Path,
    device: torch.device,
    *,
    warnings: Sequence[str] = (),
    looks: bool = True,
) -> Findings:
    """What is said of the hips of a study.

    Args:
        radiographs: Of the study, in any order.
        bundle: The model.
        device: To compute on.
        warnings: Sentences that come before.
        looks: Also where the evidence lies.

    Raises:
        Refused: No hip can be read; the reason names each picture's.
        BrokenBundle: The bundle is incomplete.
    """
    limits = limits_of(bundle)
    told = list(warnings)
    readings, problems = read_all(radiographs, bundle, device, looks=looks)
    told += [problem.reason for problem in problems]
    hips = []
    for side in SIDES:
        of_side = [reading for reading in readings if reading.hip.side is side]
        if not of_side:
            continue
        hidden = [one for one in of_side if one.unreadable >= limits.unreadable_from]
        if hidden:
            problems.append(_unreadable(side, hidden))
            told.append(problems[-1].reason)
            continue
        chosen, repeats = one_of_each_view(of_side)
        told += repeats
        hip = judged(side, chosen, limits)
        told += _missing(hip)
        hips.append(hip)
    if not hips:
        first = problems[0] if problems else Problem("no radiograph of a hip was found")
        raise Refused(
            "; ".join(dict.fromkeys(p.reason for p in problems)) or first.reason, attribute=first.attribute
        )
    return Findings(hips=tuple(hips), warnings=tuple(dict.fromkeys(told)))


def read_all(
    radiographs: Sequence[Radiograph], bundle: Path, device: torch.device, *, looks: bool
) -> tuple[list[Reading], list[Problem]]:
    """Every hip in every picture, and what is wrong with pictures."""
    detector = Detector.load(bundle, DETECTOR, device)
    readings: list[Reading] = []
    problems: list[Problem] = []
    for number, radiograph in enumerate(radiographs, start=1):
        name = name_of(radiograph, number)
        try:
            check_grey(radiograph)
            hips, left_out = find_hips(radiograph, detector)
        except Problem as problem:
            problems.append(Problem(f"{name}: {problem.reason}", attribute=problem.attribute))
            continue
        problems += [Problem(f"{name}: {reason}") for reason in left_out]
        readings += [read_hip(radiograph, hip, bundle, device, looks=looks) for hip in hips]
    return readings, problems


def name_of(radiograph: Radiograph, number: int) -> str:
    """What a sentence calls a picture: its numbers in the study, never a description.

    >>> from pydicom.dataset import Dataset
    >>> header = Dataset(); header.SeriesNumber, header.InstanceNumber = 2, 1
    >>> picture = Radiograph(
    ...     pixels_yx=np.zeros((1, 1), np.float32), spacing_mm_yx=(1.0, 1.0), is_magnified=False,
    ...     view=None, side=None, header=header, grey_is_suspect=False)
    >>> name_of(picture, 7)
    'image 1 of series 2'
    """
    series, instance = (radiograph.header.get(word) for word in ("SeriesNumber", "InstanceNumber"))
    return f"image {number}" if series is None or instance is None else f"image {instance} of series {series}"


def check_grey(radiograph: Radiograph) -> None:
    """The grey scale runs as its header tells.

    Raises:
        Problem: It does not.
    """
    if radiograph.grey_is_suspect:
        told = radiograph.header.get("PhotometricInterpretation", "")
        raise Problem(
            f"PhotometricInterpretation {told} contradicts the picture, whose air would be bright: "
            "the grey scale is inverted",
            attribute="PhotometricInterpretation",
        )


def one_of_each_view(readings: Sequence[Reading]) -> tuple[tuple[Reading, ...], list[str]]:
    """The plainest picture of each view of a hip, AP first, and sentences about the others."""
    chosen, remarks = [], []
    for view in VIEWS:
        seen = sorted((one for one in readings if one.hip.view is view), key=lambda one: -one.hip.score)
        chosen += seen[:1]
        if len(seen) > 1:
            remarks.append(
                f"the {SIDE_TITLES[seen[0].hip.side]} hip is in {len(seen)} {VIEW_TITLES[view]} views; "
                "only the one in which it is plainest was read"
            )
    return tuple(chosen), remarks


def judged(side: Side, readings: tuple[Reading, ...], limits: Limits) -> HipFindings:
    """The views of a hip, fused, and the decision."""
    probabilities = fused_probabilities([one.probabilities for one in readings], limits.fusion_temperature)
    parts = {one.hip.view: one.probabilities for one in readings}
    return HipFindings(
        side=side,
        readings=readings,
        probabilities=probabilities,
        decision=decision_on(probabilities, parts, limits),
    )


def decision_on(
    fused: NDArray[np.float64], parts: Mapping[View, NDArray[np.float64]], limits: Limits
) -> Decision:
    """The answer for a hip, or why there is none.

    Args:
        fused: ``(3,)`` of all views.
        parts: ``(3,)`` of each view.
        limits: Of the bundle.
    """
    return decide(
        fused,
        {VIEW_TITLES[view]: part for view, part in parts.items()} if len(parts) > 1 else {},
        classes=[fracture.title for fracture in CLASSES],
        least=limits.least_probability,
        sure=limits.sure,
    )


def fused_probabilities(parts: Sequence[NDArray[np.float64]], temperature: float) -> NDArray[np.float64]:
    """Mean probabilities of the views; of two views, as sure as they were right in training.

    >>> fused_probabilities([np.array([0.8, 0.1, 0.1]), np.array([0.6, 0.3, 0.1])], 1.0).round(2).tolist()
    [0.7, 0.2, 0.1]
    """
    mean = fuse(parts)
    if len(parts) < 2 or temperature == 1.0:
        return mean
    sharpened = mean ** (1.0 / temperature)
    return np.asarray(sharpened / sharpened.sum(), dtype=np.float64)


def _unreadable(side: Side, hidden: Sequence[Reading]) -> Problem:
    views = " and ".join(VIEW_TITLES[one.hip.view] for one in hidden)
    return Problem(
        f"the {SIDE_TITLES[side]} hip is left out: metal, or a cast, seems to hide the bone ({views}, "
        f"probability {max(one.unreadable for one in hidden):.2f}); hips that were operated on are not read"
    )


def _missing(hip: HipFindings) -> list[str]:
    return [
        f"of the {SIDE_TITLES[hip.side]} hip the {VIEW_TITLES[view]} view is missing: the answer rests on "
        f"the {VIEW_TITLES[hip.readings[0].hip.view]} view alone and is less certain"
        for view in hip.missing_views
    ]
