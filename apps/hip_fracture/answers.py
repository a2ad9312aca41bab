"""The three answers as the report's classes, and how a decision is said."""

from __future__ import annotations

from apps.hip_fracture.findings import Findings, HipFindings
from apps.hip_fracture.labels import CLASSES, SIDES, VIEW_TITLES, VIEWS, Fracture
from operators.encode import codes
from operators.encode.classification import Answer, decision_text, percent_text

ANSWERS_BY_FRACTURE = {
    Fracture.NONE: Answer(key="none", text=Fracture.NONE.title, code=codes.NO_FRACTURE),
    Fracture.NECK: Answer(
        key="neck",
        text=Fracture.NECK.title,
        code=codes.FEMORAL_NECK_FRACTURE,
        equivalents=(codes.FEMORAL_NECK_FRACTURE_SCT,),
    ),
    Fracture.TROCHANTERIC: Answer(
        key="trochanteric", text=Fracture.TROCHANTERIC.title, code=codes.PERTROCHANTERIC_FRACTURE
    ),
}
ANSWERS = tuple(ANSWERS_BY_FRACTURE[fracture] for fracture in CLASSES)


def verdict_of(hip: HipFindings) -> str:
    """The answer for a reader, such as ``femoral neck fracture 93 %, AP alone``."""
    text = decision_text(ANSWERS, hip.probabilities.tolist(), hip.decision)
    if hip.decision.is_indeterminate and hip.is_surely_broken:
        # Whoever reads "indeterminate" alone would not hurry to a patient whose hip is broken.
        broken = 1 - float(hip.probabilities[CLASSES.index(Fracture.NONE)])
        text = f"fracture {percent_text(broken)}, type {text}"
    return ", ".join(
        [
            text,
            *(
                f"{VIEW_TITLES[one]} alone"
                for one in VIEWS
                if hip.missing_views and one not in hip.missing_views
            ),
        ]
    )


def lines_of(findings: Findings) -> tuple[str, ...]:
    """What is said of each hip of the study, also of those that were not read."""
    answered = {hip.side: f"{hip.title}: {verdict_of(hip)}" for hip in findings.hips}
    answered |= {hip.side: hip.text for hip in findings.unread}
    return tuple(answered[side] for side in SIDES if side in answered)
