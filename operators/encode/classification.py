"""What a classifier says of a target, as groups of the report: the same for every app.

Each class is an `Answer`. A group holds one probability for each (NUM ``122157 DCM Probability``,
unit ``{ratio}``, with the class as modifier) and, where something was decided, the decision as a
coded answer to "AI classification". Several images of a target give a group each, without a
decision of its own, and one group for the target, which refers to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from operators.encode import codes
from operators.encode.report import Group, Number, Quality, Region
from operators.measure.decision import Decision

SUM_TOLERANCE = 1e-3
"""Probabilities come from single precision, so their sum is only nearly 1."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One class that a target may belong to.

    Args:
        key: In names of measurements, such as ``neck``.
        text: For a reader, such as "femoral neck fracture".
        code: The class.
        equivalents: The class in other schemes.
    """

    key: str
    text: str
    code: Code
    equivalents: tuple[Code, ...] = ()


def classification_group(
    *,
    target: str,
    finding: Code,
    answers: Sequence[Answer],
    probabilities: Sequence[float],
    decision: Decision | None = None,
    site: Code | None = None,
    laterality: Code | None = None,
    images: Sequence[Dataset] = (),
    region: Region | None = None,
    view: Code | None = None,
    numbers: Sequence[Number] = (),
    qualities: Sequence[Quality] = (),
    comments: Sequence[str] = (),
) -> Group:
    """The group of one target, or of one image of it.

    Args:
        target: Tracking identifier, such as "Right hip" or "Right hip, AP"; the same in each analysis.
        finding: What is asked about it, such as a fracture.
        answers: The classes.
        probabilities: Of each class, calibrated; their sum is 1.
        decision: What was decided; None for a part of a target, whose decision is elsewhere.
        site: Where it is.
        laterality: `codes.LEFT` or `codes.RIGHT`.
        images: Headers of the images that were judged; not beside a region.
        region: The part of the only image that was judged; becomes SCOORD (TID 1410).
        view: `codes.ANTERO_POSTERIOR` or `codes.LATERAL` of a single radiograph.
        numbers: Further measurements, behind the probabilities.
        qualities: Further coded answers, behind the decision.
        comments: Sentences that belong to this target.

    Raises:
        ValueError: Probabilities are not one for each class, do not add up to 1 or are
            outside 0 to 1, the decision is no class, or images and a region are both given.

    >>> yes = Answer(key="yes", text="fracture", code=codes.FEMORAL_NECK_FRACTURE)
    >>> no = Answer(key="no", text="no fracture", code=codes.NO_FRACTURE)
    >>> group = classification_group(
    ...     target="Right hip",
    ...     finding=codes.private("HIP_FRACTURE", "Proximal femoral fracture"),
    ...     answers=(yes, no),
    ...     probabilities=(0.9, 0.1),
    ...     decision=Decision(class_index=0),
    ... )
    >>> [(number.finding.value, number.value) for number in group.numbers]
    [('S72.0', 0.9), ('NO_FRACTURE', 0.1)]
    >>> [quality.value.value for quality in group.qualities]
    ['S72.0']
    """
    if images and region is not None:
        raise ValueError("a group refers to images or to a region of one, not to both")
    _check_probabilities(answers, probabilities)
    decided = () if decision is None else (decision_quality(answers, decision),)
    seen = () if view is None else (Quality(name=codes.IMAGE_VIEW, value=view),)
    reasons = (_sentence(decision.reason),) if decision is not None and decision.reason else ()
    return Group(
        tracking_id=target,
        finding=finding,
        site=site,
        laterality=laterality,
        images=tuple(images),
        region=region,
        numbers=(*map(_probability, answers, probabilities), *numbers),
        qualities=(*decided, *seen, *qualities),
        comments=(*reasons, *comments),
    )


def decision_quality(answers: Sequence[Answer], decision: Decision) -> Quality:
    """The coded decision; Indeterminate when there is none.

    Raises:
        ValueError: What was decided is not one of the classes.

    >>> decision_quality((), Decision(class_index=None)).value.meaning
    'Indeterminate'
    """
    if decision.class_index is None:
        return Quality(name=codes.AI_CLASSIFICATION, value=codes.INDETERMINATE)
    if not 0 <= decision.class_index < len(answers):
        raise ValueError(f"class {decision.class_index} was decided, there are {len(answers)}")
    answer = answers[decision.class_index]
    return Quality(name=codes.AI_CLASSIFICATION, value=answer.code, value_equivalents=answer.equivalents)


def measured_probabilities(
    prefix: str, answers: Sequence[Answer], probabilities: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """The probabilities as measurements of ``result.json``.

    >>> yes = Answer(key="neck", text="neck fracture", code=codes.FEMORAL_NECK_FRACTURE)
    >>> measured_probabilities("right_hip", (yes,), (1.0,))
    {'right_hip_p_neck': {'value': 1.0, 'unit': '{ratio}'}}
    """
    return {
        f"{prefix}_p_{answer.key}": {"value": float(probability), "unit": codes.RATIO.value}
        for answer, probability in zip(answers, probabilities, strict=True)
    }


def decision_text(answers: Sequence[Answer], probabilities: Sequence[float], decision: Decision) -> str:
    """The decision for a reader, with its probability.

    >>> yes = Answer(key="neck", text="femoral neck fracture", code=codes.FEMORAL_NECK_FRACTURE)
    >>> no = Answer(key="none", text="no fracture", code=codes.NO_FRACTURE)
    >>> decision_text((yes, no), (0.934, 0.066), Decision(class_index=0))
    'femoral neck fracture 93 %'
    >>> decision_text((yes, no), (0.52, 0.48), Decision(class_index=None))
    'indeterminate (femoral neck fracture 52 %, no fracture 48 %)'
    """
    texts = [
        f"{answer.text} {percent_text(probability)}"
        for answer, probability in zip(answers, probabilities, strict=True)
    ]
    if decision.class_index is not None:
        return texts[decision.class_index]
    likely = sorted(range(len(texts)), key=lambda index: -probabilities[index])
    return f"indeterminate ({', '.join(texts[index] for index in likely)})"


def percent_text(probability: float) -> str:
    """A probability for a reader, who is told of nothing that it is certain.

    >>> percent_text(0.934), percent_text(0.9999), percent_text(0.0)
    ('93 %', 'over 99 %', 'under 1 %')
    """
    if probability > 0.99:
        return "over 99 %"
    if probability < 0.01:
        return "under 1 %"
    return f"{100 * probability:.0f} %"


def _sentence(reason: str) -> str:
    """A reason of `operators.measure.decision` with its capital letter and its full stop.

    >>> _sentence("AP says fracture (0.90)")
    'AP says fracture (0.90).'
    """
    return reason[:1].upper() + reason[1:].rstrip(".") + "."


def _check_probabilities(answers: Sequence[Answer], probabilities: Sequence[float]) -> None:
    if len(answers) != len(probabilities):
        raise ValueError(f"{len(probabilities)} probabilities for {len(answers)} classes")
    if not all(0.0 <= p <= 1.0 for p in probabilities):
        raise ValueError("a probability lies outside 0 to 1")
    if not math.isclose(sum(probabilities), 1.0, abs_tol=SUM_TOLERANCE):
        raise ValueError(f"the probabilities add up to {sum(probabilities):.4g}")


def _probability(answer: Answer, probability: float) -> Number:
    return Number(
        name=codes.PROBABILITY,
        value=float(probability),
        unit=codes.RATIO,
        finding=answer.code,
        finding_equivalents=answer.equivalents,
    )
