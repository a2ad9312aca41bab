"""The three answers as the report's classes, and how a decision is said."""

from __future__ import annotations

from apps.hip_fracture.findings import HipFindings
from apps.hip_fracture.labels import CLASSES, Fracture
from operators.encode import codes
from operators.encode.classification import Answer, decision_text

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
    """The answer for a reader, such as ``femoral neck fracture 93 %``."""
    return decision_text(ANSWERS, hip.probabilities.tolist(), hip.decision)
