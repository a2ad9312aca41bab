"""What is wrong with a vertebra: fractures, metastases, haemangiomas, and where in it they lie.

Fields are functions of the vertebra's own normalised axes: t from front -1 to back 1, s from the lower
-1 to the upper end-plate 1, q from right -1 to left 1; each gives a weight of 0 (marrow) to 1 (lesion).
T1 and STIR have an extent and a strength of their own each, because readers see them differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
SEQUENCES = ("t1", "stir")


class Kind(StrEnum):
    """Why a vertebra broke; OLD is a healed osteoporotic fracture."""

    OSTEOPOROTIC = "osteoporotic"
    MALIGNANT = "malignant"
    OLD = "old"


class Collapse(StrEnum):
    """Form of a collapsed body (Genant)."""

    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a lesion shows in one sequence.

    Args:
        extent: How far from its origin it reaches, 1 for the far end of the body.
        signal: Its own signal, as of the tissue table.
        variation: Standard deviation of its signal inside.
    """

    extent: float
    signal: float
    variation: float


@dataclass(frozen=True, kw_only=True)
class Fracture:
    """A broken vertebra.

    Args:
        kind: Why.
        is_atypical: It has features of the other kind.
        collapse: Form.
        depth: Largest loss of height, 0..1.
        superior_share: Part of the loss at the upper end-plate, 0..1.
        t1, stir: How the marrow shows.
        softness: Width of the lesion's margin, in half heights.
        spared_behind: Marrow at the back is preserved.
        fluid_mm: Thickness of a pocket of fluid below the end-plate; 0 for none.
        line: A dark line along the broken end-plate.
        retropulsion_mm: How far an edge stands into the canal.
        convex_mm: How far the posterior wall bulges.
        pedicle: Sides with marrow replaced: 0 none, -1 right, 1 left, 2 both.
        pedicle_signal: Weight of that, 0..1.
        epidural_mm: Thickness of a mass in the canal; 0 for none.
        epidural_side: Where its middle is, mm to the left.
        paravertebral_mm: Thickness of soft tissue in front and at the sides.
        origin: t, s, q of the point from which a metastasis grew.
    """

    kind: Kind
    is_atypical: bool
    collapse: Collapse
    depth: float
    superior_share: float
    t1: Look
    stir: Look
    softness: float
    spared_behind: bool = False
    fluid_mm: float = 0.0
    line: bool = False
    retropulsion_mm: float = 0.0
    convex_mm: float = 0.0
    pedicle: int = 0
    pedicle_signal: float = 0.0
    epidural_mm: float = 0.0
    epidural_side: float = 0.0
    paravertebral_mm: float = 0.0
    origin: tuple[float, float, float] = (0.4, 0.0, 0.0)

    def loss(self, t: Field) -> Field:
        """Loss of height at a place from front -1 to back 1, 0..1.

        >>> wedge = Fracture(kind=Kind.OLD, is_atypical=False, collapse=Collapse.WEDGE, depth=0.4,
        ...                  superior_share=1, t1=Look(extent=0, signal=0, variation=0),
        ...                  stir=Look(extent=0, signal=0, variation=0), softness=0.1)
        >>> [round(float(v), 2) for v in wedge.loss(np.array([-1.0, 1.0], dtype=np.float32))]
        [0.4, 0.04]
        """
        forward = (1 - np.clip(t, -1, 1)) / 2
        if self.collapse is Collapse.WEDGE:
            shape = 0.1 + 0.9 * forward**1.25
        elif self.collapse is Collapse.BICONCAVE:
            shape = 0.3 + 0.1 * forward + 0.6 * np.sqrt(np.clip(1 - t * t, 0, 1)) * (1 - 0.1 * forward)
        else:
            shape = 0.85 + 0.15 * forward
        return np.asarray(shape * self.depth, dtype=np.float32)

    @property
    def features(self) -> list[str]:
        """Names for truth.json of all that is there."""
        present = {
            str(self.collapse): True,
            "band": self.kind is Kind.OSTEOPOROTIC and self.t1.extent < 0.75,
            "diffuse_oedema": self.kind is Kind.OSTEOPOROTIC and self.t1.extent >= 0.75,
            "whole_body": self.kind is Kind.MALIGNANT and self.t1.extent >= 1.0,
            "partial_replacement": self.kind is Kind.MALIGNANT and self.t1.extent < 1.0,
            "posterior_marrow": self.spared_behind,
            "fluid_sign": self.fluid_mm > 0,
            "fracture_line": self.line,
            "retropulsion": self.retropulsion_mm > 0,
            "convex_wall": self.convex_mm > 0,
            "pedicle": self.pedicle != 0,
            "epidural_mass": self.epidural_mm > 0,
            "paravertebral_mass": self.paravertebral_mm > 0,
        }
        return [name for name, is_there in present.items() if is_there]

    def weight(self, look: Look, t: Field, s: Field, q: Field, noise: Field) -> Field:
        """Part of the marrow that is replaced or swollen, 0..1.

        Args:
            look: Of the sequence.
            t: From front -1 to back 1.
            s: From the lower -1 to the upper end-plate 1.
            q: From right -1 to left 1.
            noise: About standard normal, smooth; makes the margin irregular.
        """
        if self.kind is Kind.OLD:
            return np.zeros_like(noise)
        if self.kind is Kind.MALIGNANT:
            way = np.sqrt(
                ((t - self.origin[0]) / 1.5) ** 2
                + ((s - self.origin[1]) / 1.4) ** 2
                + ((q - self.origin[2]) / 1.5) ** 2
            )
        else:
            from_above, from_below = (1 - s) / 2, (1 + s) / 2
            if 0.35 < self.superior_share < 0.65:
                way = np.minimum(from_above, from_below) * 1.7
            else:
                way = from_above if self.superior_share >= 0.5 else from_below
            if self.spared_behind:
                way = way + 0.7 * np.clip(t - 0.15, 0, 1)
        return _step((look.extent - way + 0.09 * noise) / self.softness)

    def fluid(self, t: Field, s: Field, q: Field, height_mm: float) -> Field:
        """Pocket of fluid below the broken end-plate, 0..1."""
        middle = 0.72 if self.superior_share >= 0.5 else -0.72
        half = max(self.fluid_mm / height_mm, 0.05)
        return _step((1 - ((t + 0.25) / 0.5) ** 2 - ((s - middle) / half) ** 2 - (q / 0.6) ** 2) / 0.5)


@dataclass(frozen=True, kw_only=True)
class Deposit:
    """A metastasis in a vertebra that is not broken; axes as above.

    Args:
        centre: t, s, q.
        radius: In half depths.
        t1, stir: How it shows; the extent is not used.
    """

    centre: tuple[float, float, float]
    radius: float
    t1: Look
    stir: Look

    def weight(self, t: Field, s: Field, q: Field, noise: Field) -> Field:
        """Part of the marrow that is replaced, 0..1."""
        way = np.sqrt(sum((axis - at) ** 2 for axis, at in zip((t, s, q), self.centre, strict=True)))
        return _step((self.radius - way + 0.06 * noise) / 0.1)


@dataclass(frozen=True, kw_only=True)
class Haemangioma:
    """A bright round focus of T1 with coarse trabeculae."""

    centre: tuple[float, float, float]
    radius: float
    stir_signal: float

    def weight(self, t: Field, s: Field, q: Field) -> Field:
        """Part of the marrow that is replaced, 0..1."""
        way = np.sqrt(sum((axis - at) ** 2 for axis, at in zip((t, s, q), self.centre, strict=True)))
        return _step((self.radius - way) / 0.08)


def _step(value: Field) -> Field:
    """A smooth step from 0 to 1 around 0, of about unit width."""
    return np.asarray(np.clip(value + 0.5, 0, 1), dtype=np.float32)
