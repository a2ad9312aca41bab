"""What a hip can have, in the order in which the networks answer."""

from __future__ import annotations

from enum import Enum, StrEnum

from operators.read.projection import Side, View


class Fracture(StrEnum):
    """The three answers; the value is that of truth.json."""

    NONE = "none"
    NECK = "neck"
    TROCHANTERIC = "trochanteric"

    @property
    def title(self) -> str:
        """What a person calls it."""
        return _TITLES[self]


_TITLES = {
    Fracture.NONE: "no fracture",
    Fracture.NECK: "femoral neck fracture",
    Fracture.TROCHANTERIC: "trochanteric fracture",
}
CLASSES = tuple(Fracture)
"""Index to answer."""


class Landmark(Enum):
    """What the detector looks for; the value is its channel.

    A right hip in an AP is the mirror image of a left one, so that the picture itself tells the side.
    """

    RIGHT_JOINT_AP = 0
    LEFT_JOINT_AP = 1
    JOINT_LATERAL = 2
    TROCHANTERS = 3


VIEWS = (View.AP, View.LATERAL)
"""Those that are read, in the order of reports."""
SIDES = (Side.RIGHT, Side.LEFT)
SIDE_TITLES = {Side.RIGHT: "right", Side.LEFT: "left"}
VIEW_TITLES = {View.AP: "AP", View.LATERAL: "lateral"}
