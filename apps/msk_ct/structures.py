"""The 22 structures of msk_ct, in their authors' order, and the 43 segments by side.

A *class* is a structure without its side, as the network sees it: 1 to 22, 0 is background.
A *segment* is a structure on one side, as a reader sees it: 1 to 43, 0 is background. The
list is that of Hiasa et al., IEEE TMI 2020;39:1030-1040; codes are in `apps.msk_ct.codes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Side(Enum):
    """The patient's side."""

    RIGHT = "right"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One bone or muscle, of both sides.

    Args:
        name: As in file names and JSON.
        title: For readers.
        is_bone: Bone or muscle.
        is_paired: Whether there is one on each side.
    """

    name: str
    title: str
    is_bone: bool = False
    is_paired: bool = True


STRUCTURES: tuple[Structure, ...] = (
    Structure(name="pelvis", title="Hip bone", is_bone=True),
    Structure(name="femur", title="Femur", is_bone=True),
    Structure(name="adductor_muscles", title="Adductor muscles"),
    Structure(name="biceps_femoris", title="Biceps femoris"),
    Structure(name="gluteus_maximus", title="Gluteus maximus"),
    Structure(name="gluteus_medius", title="Gluteus medius"),
    Structure(name="gluteus_minimus", title="Gluteus minimus"),
    Structure(name="gracilis", title="Gracilis"),
    Structure(name="iliacus", title="Iliacus"),
    Structure(name="obturator_externus", title="Obturator externus"),
    Structure(name="obturator_internus", title="Obturator internus"),
    Structure(name="pectineus", title="Pectineus"),
    Structure(name="piriformis", title="Piriformis"),
    Structure(name="psoas_major", title="Psoas major"),
    Structure(name="rectus_femoris", title="Rectus femoris"),
    Structure(name="sartorius", title="Sartorius"),
    Structure(name="semimembranosus", title="Semimembranosus"),
    Structure(name="semitendinosus", title="Semitendinosus"),
    Structure(name="tensor_fasciae_latae", title="Tensor fasciae latae"),
    Structure(
        name="vastus_lateralis_and_vastus_intermedius", title="Vastus lateralis and vastus intermedius"
    ),
    Structure(name="vastus_medialis", title="Vastus medialis"),
    Structure(name="sacrum", title="Sacrum", is_bone=True, is_paired=False),
)
"""Class value of a structure: its index here + 1."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One structure on one side.

    Args:
        number: 1 to 43, the value in label volumes and the Segment Number.
        structure: What it is.
        side: None for what is not paired.
    """

    number: int
    structure: Structure
    side: Side | None

    @property
    def name(self) -> str:
        """Such as ``pelvis_right``; ``sacrum`` alone has no side."""
        return self.structure.name if self.side is None else f"{self.structure.name}_{self.side.value}"

    @property
    def class_value(self) -> int:
        """1 to 22, the value of the structure without its side."""
        return STRUCTURES.index(self.structure) + 1

    @property
    def other_side(self) -> int | None:
        """Number of the same structure on the other side; None for what is not paired."""
        if self.side is None:
            return None
        return self.number + (1 if self.side is Side.RIGHT else -1)


def _segments() -> tuple[Segment, ...]:
    pairs = [
        (structure, side)
        for structure in STRUCTURES
        for side in ((Side.RIGHT, Side.LEFT) if structure.is_paired else (None,))
    ]
    return tuple(Segment(number=i, structure=s, side=side) for i, (s, side) in enumerate(pairs, start=1))


SEGMENTS: tuple[Segment, ...] = _segments()
"""Segment with number n is ``SEGMENTS[n - 1]``: for each structure right, left; the sacrum once."""

CLASS_OF_SEGMENT: NDArray[np.uint8] = np.array([0, *(s.class_value for s in SEGMENTS)], dtype=np.uint8)
"""Class value by segment number, 0 for background."""


def classes_of(segments_zyx: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Class values 0..22 of segment numbers 0..43, uint8 of the same shape.

    >>> classes_of(np.array([0, 1, 2, 3, 43])).tolist()
    [0, 1, 1, 2, 22]
    """
    return np.asarray(CLASS_OF_SEGMENT[segments_zyx], dtype=np.uint8)


def segment_number(name: str, side: Side | None = None) -> int:
    """Number of the segment of a structure, by the structure's name and side.

    Raises:
        KeyError: There is no such segment.

    >>> segment_number("femur", Side.LEFT), segment_number("sacrum")
    (4, 43)
    """
    for segment in SEGMENTS:
        if segment.structure.name == name and segment.side is side:
            return segment.number
    raise KeyError(f"no segment {name!r} of side {side}")
