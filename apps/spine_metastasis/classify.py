"""Fractured or not, osteoporotic or malignant: each sequence by its own ensemble, then together.

Every vertebra is judged in every sequence. The mean over the sequences says whether it is freshly
fractured; where it is, the same mean says how probable a malignant cause is against an osteoporotic
one, which is the question that a reader asks of a fracture.

Whether there is a fracture may be as uncertain as what caused it: a vertebra that one sequence calls
broken and the other sound, or that neither is sure of, is a possible fracture and never a sound one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apps.spine_metastasis.crops import PIXELS, crop, is_inside, outside_share, white_of
from apps.spine_metastasis.labels import FractureClass, Weighting
from apps.spine_metastasis.levels import Vertebra
from apps.spine_metastasis.stack import SagittalStack
from operators.bundle import inference_settings
from operators.infer.classifier import Classifier
from operators.infer.grad_cam import heat_map
from operators.measure.decision import Decision, decide, fuse, sharpened

CAUSES = ("osteoporotic fracture", "malignant fracture")
OSTEOPOROTIC, MALIGNANT = 0, 1
"""Indices of `CAUSES`."""
FRACTURED_FROM = 0.5
HIGHEST_LIMIT = 0.5
"""Of `Calibration.fractured_from`: a vertebra that is more probably fractured than not is called so."""
DOUBTFUL_FROM = 0.3
"""Fused probability of a fracture from which a vertebra is not called sound."""
LEAST_PROBABILITY = 0.6
SURE = 0.7
"""Sequences that differ count as disagreeing only where both are at least this sure."""
MOST_OUTSIDE = 0.1
"""Share of a vertebra's picture beyond the border of the series; more, and it is not called sound.

Vertebrae at the border of a phantom's picture break more rarely than others, so that black beside a
vertebra speaks against a fracture to the networks. It says nothing of a patient.
"""
SETTINGS = "spine"
"""Key of inference.json."""
TINY = 1e-6


class Presence(Enum):
    """Whether a vertebra is freshly fractured."""

    FRACTURED = "fractured"
    POSSIBLE = "possible fracture"
    NOT_FRACTURED = "not fractured"
    NOT_ASSESSED = "not assessed"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was learned on held-out patients beside the networks.

    Args:
        fractured_from: Probability from which a vertebra counts as fractured, `HIGHEST_LIMIT` at most.
        fusion_temperature: Divides the log odds of the fused probability: the mean of two is too cautious.
    """

    fractured_from: float = FRACTURED_FROM
    fusion_temperature: float = 1.0

    @classmethod
    def load(cls, bundle: Path) -> Calibration:
        """Of a bundle; one without it has the defaults.

        Raises:
            BrokenBundle: The bundle cannot be read.
        """
        given: dict[str, Any] = inference_settings(bundle).get(SETTINGS, {})
        return cls(
            fractured_from=min(float(given.get("fractured_from", FRACTURED_FROM)), HIGHEST_LIMIT),
            fusion_temperature=float(given.get("fusion_temperature", 1.0)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedVertebra:
    """One vertebra with everything that the classifiers say of it.

    Args:
        vertebra: Where it is.
        probabilities: For each sequence in which it lies ``(3,)``: not fractured, osteoporotic, malignant.
        fused: Their mean, ``(3,)``.
        presence: Whether it is freshly fractured.
        doubt: Why that is uncertain or not assessed; "" where it is neither.
        causes: ``(2,)``, osteoporotic and malignant of a fractured vertebra; sum 1.
        causes_by_sequence: The same of each sequence that sees a fracture.
        decision: Of the cause; its class index is one of `CAUSES`.
        crops: For each sequence its picture, ``(3, 128, 128)`` uint8; of (possible) fractures alone.
        heat_maps: For each sequence where the evidence is, ``(128, 128)`` float32, 0..1.
    """

    vertebra: Vertebra
    probabilities: Mapping[Weighting, NDArray[np.float64]]
    fused: NDArray[np.float64]
    presence: Presence
    causes: NDArray[np.float64]
    causes_by_sequence: Mapping[Weighting, NDArray[np.float64]]
    decision: Decision
    doubt: str = ""
    crops: Mapping[Weighting, NDArray[np.uint8]] = field(default_factory=dict)
    heat_maps: Mapping[Weighting, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def is_fractured(self) -> bool:
        """True when it is judged to be freshly fractured."""
        return self.presence is Presence.FRACTURED

    @property
    def is_told(self) -> bool:
        """True for a fracture and for a possible one: a reader must look at it."""
        return self.presence in {Presence.FRACTURED, Presence.POSSIBLE}

    @property
    def p_fractured_by_sequence(self) -> dict[Weighting, float]:
        """Probability of a fresh fracture in each sequence alone."""
        return {weighting: p_fractured_of(part) for weighting, part in self.probabilities.items()}

    @property
    def p_malignant(self) -> float:
        """Probability that the fracture is malignant, if it is one."""
        return float(self.causes[MALIGNANT])

    @property
    def p_fractured(self) -> float:
        """Probability of a fresh fracture."""
        return p_fractured_of(self.fused)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """The classifiers of a bundle.

    Args:
        classifiers: One for each sequence.
        calibration: Of the fusion.
    """

    classifiers: Mapping[Weighting, Classifier]
    calibration: Calibration

    @classmethod
    def load(cls, bundle: Path, device: torch.device) -> Judge:
        """Of a bundle.

        Raises:
            BrokenBundle: A network is missing or does not fit.
        """
        return cls(
            classifiers={w: Classifier.load(bundle, w.value, device) for w in Weighting},
            calibration=Calibration.load(bundle),
        )

    def judge(
        self,
        stacks: Mapping[Weighting, SagittalStack],
        vertebrae: Sequence[Vertebra],
        *,
        least: float = LEAST_PROBABILITY,
        maps: bool = True,
    ) -> tuple[JudgedVertebra, ...]:
        """Every vertebra that lies in a sequence, from head to feet.

        Args:
            stacks: The sequences, in one frame of reference.
            vertebrae: Of the spine.
            least: Probability below which the cause is indeterminate.
            maps: Whether heat maps are computed for fractured ones.
        """
        crops: dict[Weighting, dict[int, NDArray[np.uint8]]] = {}
        found: dict[Weighting, dict[int, NDArray[np.float64]]] = {weighting: {} for weighting in stacks}
        for weighting, stack in stacks.items():
            crops[weighting] = crops_of(stack, vertebrae)
            if crops[weighting]:
                images = np.stack(list(crops[weighting].values()))
                values = self.classifiers[weighting].probabilities(images)
                found[weighting] = dict(zip(crops[weighting], values, strict=True))
        out = []
        for index, vertebra in enumerate(vertebrae):
            parts = {w: found[w][index] for w in stacks if index in found[w]}
            if not parts:
                continue
            own = {w: crops[w][index] for w in parts}
            is_whole = any(outside_share(stacks[w], vertebra) <= MOST_OUTSIDE for w in parts)
            out.append(self._judged(vertebra, parts, own, is_whole=is_whole, least=least, maps=maps))
        return tuple(out)

    def _judged(
        self,
        vertebra: Vertebra,
        parts: Mapping[Weighting, NDArray[np.float64]],
        crops: Mapping[Weighting, NDArray[np.uint8]],
        *,
        is_whole: bool,
        least: float,
        maps: bool,
    ) -> JudgedVertebra:
        limit = self.calibration.fractured_from
        fused = fuse(list(parts.values()))
        causes = fused_causes(list(parts.values()), self.calibration.fusion_temperature)
        # What a sequence that sees no fracture would make of one says nothing of its cause.
        alone = {w: causes_of(part) for w, part in parts.items() if p_fractured_of(part) >= limit}
        presence, doubt = presence_of(parts, limit=limit, is_whole=is_whole)
        is_told = presence in {Presence.FRACTURED, Presence.POSSIBLE}
        shown = int(np.argmax(causes)) + FractureClass.OSTEOPOROTIC
        return JudgedVertebra(
            vertebra=vertebra,
            probabilities=parts,
            fused=fused,
            presence=presence,
            doubt=doubt,
            causes=causes,
            causes_by_sequence=alone,
            decision=decide(
                causes,
                {w.spoken: part for w, part in alone.items()},
                classes=CAUSES,
                least=least,
                sure=SURE,
            )
            if presence is Presence.FRACTURED
            else Decision(class_index=None, reason=doubt),
            crops=crops if is_told else {},
            heat_maps={
                w: heat_map(self.classifiers[w], image.astype(np.float32) / 255.0, shown)
                for w, image in crops.items()
            }
            if is_told and maps
            else {},
        )


def presence_of(
    parts: Mapping[Weighting, NDArray[np.float64]], *, limit: float, is_whole: bool = True
) -> tuple[Presence, str]:
    """Whether a vertebra is fractured, and why that is uncertain.

    Args:
        parts: For each sequence ``(3,)`` probabilities.
        limit: Fused probability from which it is.
        is_whole: Its picture lies inside of a series.

    >>> sound, broken = np.array([0.98, 0.01, 0.01]), np.array([0.12, 0.0, 0.88])
    >>> presence_of({Weighting.T1: sound, Weighting.STIR: broken}, limit=0.5)
    (<Presence.POSSIBLE: 'possible fracture'>, 'T1 sees no fracture (0.02), STIR sees one (0.88)')
    >>> presence_of({Weighting.T1: broken}, limit=0.5)
    (<Presence.FRACTURED: 'fractured'>, '')
    """
    alone = {weighting.spoken: p_fractured_of(part) for weighting, part in parts.items()}
    fused = p_fractured_of(fuse(list(parts.values())))
    seeing = [f"{name} sees one ({p:.2f})" for name, p in alone.items() if p >= SURE]
    denying = [f"{name} sees no fracture ({p:.2f})" for name, p in alone.items() if p <= 1 - SURE]
    if seeing and denying:
        return Presence.POSSIBLE, ", ".join([*denying, *seeing])
    if fused >= limit:
        return Presence.FRACTURED, ""
    if fused >= DOUBTFUL_FROM:
        return (
            Presence.POSSIBLE,
            f"the probability of a fracture is {fused:.2f}, too low to call it one, too high to exclude it",
        )
    if not is_whole:
        return Presence.NOT_ASSESSED, "it lies at the border of the pictures"
    return Presence.NOT_FRACTURED, ""


def p_fractured_of(probabilities: NDArray[np.float64]) -> float:
    """Probability of a fresh fracture.

    >>> p_fractured_of(np.array([0.25, 0.5, 0.25]))
    0.75
    """
    return 1.0 - float(probabilities[FractureClass.NOT_FRACTURED])


def crops_of(
    stack: SagittalStack, vertebrae: Sequence[Vertebra], *, pixels: int = PIXELS
) -> dict[int, NDArray[np.uint8]]:
    """Pictures of the vertebrae that lie in a sequence, by index, ``(3, pixels, pixels)`` uint8."""
    inside = {index: one for index, one in enumerate(vertebrae) if is_inside(stack, one)}
    if not inside:
        return {}
    white = white_of(stack, list(inside.values()))
    return {index: crop(stack, one, white, pixels=pixels) for index, one in inside.items()}


def causes_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Osteoporotic and malignant of a vertebra that is taken to be fractured, ``(2,)``, sum 1.

    >>> causes_of(np.array([0.5, 0.1, 0.4])).round(3).tolist()
    [0.2, 0.8]
    """
    both = np.asarray(probabilities, dtype=np.float64)[FractureClass.OSTEOPOROTIC :] + TINY
    return np.asarray(both / both.sum(), dtype=np.float64)


def fused_causes(parts: Sequence[NDArray[np.float64]], temperature: float) -> NDArray[np.float64]:
    """Causes of the mean of several sequences, ``(2,)``; sharpened where there are two of them.

    >>> fused_causes([np.array([0.0, 0.2, 0.8])], 0.5).round(3).tolist()
    [0.2, 0.8]
    >>> fused_causes([np.array([0.0, 0.2, 0.8])] * 2, 0.5).round(3).tolist()
    [0.059, 0.941]
    """
    return sharpened(causes_of(fuse(parts)), temperature, parts=len(parts))
