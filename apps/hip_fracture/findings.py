"""From the radiographs of a study to what is said of each hip: the science of the app, without DICOM objects.

Every picture is looked at on its own: what is wrong with it leaves it out with a sentence. Each hip is then
read in each picture, and its views are fused. A hip with metal, or in a cast, in any view is left out
altogether. What was not read is said by name: silence about a hip would look like a sound one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from apps.hip_fracture.age import check_age
from apps.hip_fracture.classify import Reading, read_hip
from apps.hip_fracture.detect import NAME as DETECTOR
from apps.hip_fracture.detect import Problem, find_hips
from apps.hip_fracture.labels import CLASSES, SIDE_TITLES, SIDES, VIEW_TITLES, VIEWS, Fracture
from operators.bundle import inference_settings
from operators.errors import Refused
from operators.infer.landmarks import Detector
from operators.measure.decision import LEAST, Decision, decide, fuse, sharpened
from operators.read.projection import Side, View
from operators.read.radiograph import Radiograph, has_contradicting_shape


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


SOUND = CLASSES.index(Fracture.NONE)
SOUND_BELOW = 0.4
"""No hip is called sound of which any picture gives a fracture this probability."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HipFindings:
    """What is said of one hip.

    Args:
        side: Of the patient.
        readings: Every picture that the answer rests on, AP first.
        probabilities: ``(3,)`` float64, of `CLASSES`, over the views.
        decision: The answer, or why there is none.
        earlier: Readings of days before the last one; they can only withhold an answer.
    """

    side: Side
    readings: tuple[Reading, ...]
    probabilities: NDArray[np.float64]
    decision: Decision
    earlier: tuple[Reading, ...] = ()

    @property
    def title(self) -> str:
        """Such as ``Right hip``."""
        return f"{SIDE_TITLES[self.side].capitalize()} hip"

    @property
    def missing_views(self) -> tuple[View, ...]:
        """Views in which it was not read."""
        seen = {reading.hip.view for reading in self.readings}
        return tuple(view for view in VIEWS if view not in seen)

    @property
    def named_readings(self) -> tuple[tuple[str, Reading], ...]:
        """Readings with the name of each: ``AP``, and ``AP 2`` of a second picture of the view."""
        return tuple(zip(_names(self.readings), self.readings, strict=True))

    @property
    def is_surely_broken(self) -> bool:
        """True where every picture rather shows a fracture, whatever its type."""
        return _is_surely_broken(self.probabilities, [one.probabilities for one in self.readings])


@dataclass(frozen=True, kw_only=True)
class UnreadHip:
    """A hip of the study of which nothing is said.

    Args:
        side: Of the patient.
        reasons: Why, sentences.
    """

    side: Side
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """Such as ``Right hip: not read: ...``."""
        return f"{SIDE_TITLES[self.side].capitalize()} hip: not read: {'; '.join(self.reasons)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What is said of a study.

    Args:
        hips: Those that could be read, right before left; at least one.
        warnings: Sentences that a reader must see: what was left out and why, which view is missing.
        unread: Hips that the study should show and of which nothing is said.
        is_every_picture_read: False where a picture, or a hip in it, was left out.
    """

    hips: tuple[HipFindings, ...]
    warnings: tuple[str, ...]
    unread: tuple[UnreadHip, ...] = ()
    is_every_picture_read: bool = True

    @property
    def is_complete(self) -> bool:
        """True where each hip was read in both views and nothing was left out."""
        has_views = all(not hip.missing_views and not hip.earlier for hip in self.hips)
        return has_views and not self.unread and self.is_every_picture_read

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
    left_out: Sequence[str] = (),
    looks: bool = True,
) -> Findings:
    """What is said of the hips of a study.

    Args:
        radiographs: Of the study, in any order.
        bundle: The model.
        device: To compute on.
        warnings: Sentences that come before.
        left_out: Sentences about radiographs of the study that are not among them.
        looks: Also where the evidence lies.

    Raises:
        Refused: No hip can be read, and the reason names each picture's; or the patient is a child.
        BrokenBundle: The bundle is incomplete.
    """
    limits = limits_of(bundle)
    told = [*warnings, *left_out, *check_age([radiograph.header for radiograph in radiographs])]
    readings, problems = read_all(radiographs, bundle, device, looks=looks)
    told += [problem.reason for problem in problems]
    names = names_of(radiographs)
    hips, unread = [], []
    for side in SIDES:
        of_side = [reading for reading in readings if reading.hip.side is side]
        hidden = [one for one in of_side if one.unreadable >= limits.unreadable_from]
        if hidden:
            problems.append(_unreadable(side, hidden))
            told.append(problems[-1].reason)
        if hidden or not of_side:
            reasons = [problem.reason for problem in problems if side in problem.sides]
            unread += [UnreadHip(side=side, reasons=tuple(dict.fromkeys(reasons)))] if reasons else []
            continue
        hip = judged(side, tuple(of_side), limits)
        told += [*_repeats(hip), *_of_earlier_days(hip, names), *_missing(hip), *_doubts(hip)]
        hips.append(hip)
    if not hips:
        first = problems[0] if problems else Problem("no radiograph of a hip was found")
        raise Refused(
            "; ".join(dict.fromkeys(p.reason for p in problems)) or first.reason, attribute=first.attribute
        )
    return Findings(
        hips=tuple(hips),
        warnings=tuple(dict.fromkeys(told)),
        unread=tuple(unread),
        is_every_picture_read=not problems and not left_out,
    )


def read_all(
    radiographs: Sequence[Radiograph], bundle: Path, device: torch.device, *, looks: bool
) -> tuple[list[Reading], list[Problem]]:
    """Every hip in every picture, and what is wrong with pictures."""
    detector = Detector.load(bundle, DETECTOR, device)
    readings: list[Reading] = []
    problems: list[Problem] = []
    for name, radiograph in zip(names_of(radiographs).values(), radiographs, strict=True):
        try:
            check_grey(radiograph)
            hips, left_out = find_hips(radiograph, detector)
        except Problem as problem:
            sides = problem.sides or sides_of(radiograph.side)
            problems.append(Problem(f"{name}: {problem.reason}", attribute=problem.attribute, sides=sides))
            continue
        problems += [Problem(f"{name}: {one.reason}", sides=(one.side,)) for one in left_out]
        readings += [read_hip(radiograph, hip, bundle, device, looks=looks) for hip in hips]
    return readings, problems


def sides_of(tagged: Side | None) -> tuple[Side, ...]:
    """The hips that a radiograph's tag speaks of.

    >>> sides_of(Side.BOTH) == SIDES, sides_of(None)
    (True, ())
    """
    if tagged is None:
        return ()
    return SIDES if tagged is Side.BOTH else (tagged,)


def names_of(radiographs: Sequence[Radiograph]) -> dict[str, str]:
    """What sentences call the pictures of a study, by SOP Instance UID, in their order."""
    return {
        str(radiograph.header.SOPInstanceUID): name_of(radiograph, number)
        for number, radiograph in enumerate(radiographs, start=1)
    }


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
    if radiograph.grey_is_suspect and has_contradicting_shape(radiograph.header):
        raise Problem(
            "PresentationLUTShape INVERSE contradicts PhotometricInterpretation MONOCHROME2: nobody knows "
            "whether bone is bright",
            attribute="PresentationLUTShape",
        )
    if radiograph.grey_is_suspect:
        told = radiograph.header.get("PhotometricInterpretation", "")
        raise Problem(
            f"PhotometricInterpretation {told} contradicts the picture, whose air would be bright: "
            "the grey scale is inverted",
            attribute="PhotometricInterpretation",
        )


def judged(side: Side, readings: Sequence[Reading], limits: Limits) -> HipFindings:
    """The views of a hip, fused, and the decision.

    Several pictures of a view count as their mean, as in training. Pictures of earlier days show another
    state of the hip and are not fused with later ones; but where one of them contradicts, nothing is decided.

    Args:
        side: Of the patient.
        readings: Every one of this hip.
        limits: Of the bundle.
    """
    last = max(day_of(one.radiograph.header) for one in readings)
    latest = _by_view(one for one in readings if day_of(one.radiograph.header) == last)
    earlier = _by_view(one for one in readings if day_of(one.radiograph.header) != last)
    views = [
        fuse([one.probabilities for one in latest if one.hip.view is view])
        for view in VIEWS
        if any(one.hip.view is view for one in latest)
    ]
    probabilities = fused_probabilities(views, limits.fusion_temperature)
    parts = dict(zip(_names(latest), (one.probabilities for one in latest), strict=True))
    parts |= {
        f"{name} of an earlier day": one.probabilities
        for name, one in zip(_names(earlier), earlier, strict=True)
    }
    doubts = [one.hip.doubt for one in latest if one.hip.doubt]
    return HipFindings(
        side=side,
        readings=latest,
        probabilities=probabilities,
        decision=decision_on(probabilities, parts, limits, doubt="; ".join(dict.fromkeys(doubts))),
        earlier=earlier,
    )


def day_of(header: Dataset) -> str:
    """The day on which a picture was made, ``YYYYMMDD``; empty where none is told."""
    days = (header.get(word) for word in ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"))
    return next((str(day).replace(".", "") for day in days if day), "")


def _by_view(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    return tuple(sorted(readings, key=lambda one: VIEWS.index(one.hip.view)))


def _names(readings: Sequence[Reading]) -> list[str]:
    """Names of readings that are in the order of their views."""
    seen: Counter[View] = Counter()
    names = []
    for one in readings:
        seen[one.hip.view] += 1
        number = f" {seen[one.hip.view]}" if seen[one.hip.view] > 1 else ""
        names.append(f"{VIEW_TITLES[one.hip.view]}{number}")
    return names


def by_title(parts: Mapping[View, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """What each view says, by its name in sentences."""
    return {VIEW_TITLES[view]: part for view, part in parts.items()}


def decision_on(
    fused: NDArray[np.float64],
    parts: Mapping[str, NDArray[np.float64]],
    limits: Limits,
    *,
    doubt: str = "",
) -> Decision:
    """The answer for a hip, or why there is none.

    A hip is called sound only where it is wholly seen and no picture rather shows a fracture, however sure
    the others are.

    Args:
        fused: ``(3,)`` of all views.
        parts: ``(3,)`` of each picture, by its name.
        limits: Of the bundle.
        doubt: Why nobody knows that all of the hip was seen; empty where it was.

    >>> views = {"AP": np.array([0.42, 0.58, 0.0]), "lateral": np.array([0.97, 0.03, 0.0])}
    >>> decision_on(fuse(list(views.values())), views, Limits()).reason
    'AP gives a fracture a probability of 0.58'
    >>> alone = {"AP": np.array([0.06, 0.5, 0.44])}
    >>> decision_on(alone["AP"], alone, Limits()).reason.partition(":")[0]
    'a fracture is likely (0.94), of which type is uncertain'
    """
    decision = decide(
        fused,
        parts if len(parts) > 1 else {},
        classes=[fracture.title for fracture in CLASSES],
        least=limits.least_probability,
        sure=limits.sure,
    )
    if decision.class_index == SOUND:
        return Decision(class_index=None, reason=against) if (against := _against(parts, doubt)) else decision
    if decision.is_indeterminate and _is_surely_broken(fused, list(parts.values())):
        reason = f"a fracture is likely ({_broken(fused):.2f}), of which type is uncertain: {decision.reason}"
        return Decision(class_index=None, reason=reason)
    return decision


def _against(parts: Mapping[str, NDArray[np.float64]], doubt: str) -> str:
    """What keeps a hip from being called sound; empty where nothing does."""
    doubted = [
        f"{name} gives a fracture a probability of {_broken(part):.2f}"
        for name, part in parts.items()
        if _broken(part) >= SOUND_BELOW
    ]
    return "; ".join([*doubted, *([doubt] if doubt else [])])


def _broken(probabilities: NDArray[np.float64]) -> float:
    """Probability of any fracture."""
    return float(1.0 - probabilities[SOUND])


def _is_surely_broken(fused: NDArray[np.float64], parts: Sequence[NDArray[np.float64]]) -> bool:
    return _broken(fused) >= LEAST and all(_broken(part) >= LEAST for part in parts)


def fused_probabilities(parts: Sequence[NDArray[np.float64]], temperature: float) -> NDArray[np.float64]:
    """Mean probabilities of the views; of two views, as sure as they were right in training.

    >>> fused_probabilities([np.array([0.8, 0.1, 0.1]), np.array([0.6, 0.3, 0.1])], 1.0).round(2).tolist()
    [0.7, 0.2, 0.1]
    """
    return sharpened(fuse(parts), temperature, parts=len(parts))


def _unreadable(side: Side, hidden: Sequence[Reading]) -> Problem:
    views = " and ".join(VIEW_TITLES[one.hip.view] for one in hidden)
    return Problem(
        f"the {SIDE_TITLES[side]} hip is left out: metal, or a cast, seems to hide the bone ({views}, "
        f"probability {max(one.unreadable for one in hidden):.2f}); hips that were operated on are not read",
        sides=(side,),
    )


def _repeats(hip: HipFindings) -> list[str]:
    """Views that were read more than once."""
    counted = Counter(one.hip.view for one in hip.readings)
    return [
        f"the {SIDE_TITLES[hip.side]} hip is in {count} {VIEW_TITLES[view]} views; their mean counts"
        for view, count in counted.items()
        if count > 1
    ]


def _of_earlier_days(hip: HipFindings, names: Mapping[str, str]) -> list[str]:
    """Pictures that are no part of the answer because later ones were made on another day."""
    told = []
    for one in hip.earlier:
        likeliest = int(one.probabilities.argmax())
        name = names[str(one.radiograph.header.SOPInstanceUID)]
        told.append(
            f"{name} shows the {SIDE_TITLES[hip.side]} hip on an earlier day and is no part of the answer; "
            f"alone it says {CLASSES[likeliest].title} ({one.probabilities[likeliest]:.2f})"
        )
    return told


def _doubts(hip: HipFindings) -> list[str]:
    return [one.hip.doubt for one in hip.readings if one.hip.doubt]


def _missing(hip: HipFindings) -> list[str]:
    return [
        f"of the {SIDE_TITLES[hip.side]} hip the {VIEW_TITLES[view]} view is missing: the answer rests on "
        f"the {VIEW_TITLES[hip.readings[0].hip.view]} view alone and is less certain"
        for view in hip.missing_views
    ]
