"""From probabilities of several images to one decision, or to none with the reason why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 0.6
"""Probability below which nothing is decided (Yamada 2020's task; see science A15)."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is decided.

    Args:
        class_index: The class, or None where it is indeterminate.
        reason: Why it is indeterminate, a sentence without its full stop; empty where it is not.
    """

    class_index: int | None
    reason: str = ""

    @property
    def is_indeterminate(self) -> bool:
        """True when no class was decided for."""
        return self.class_index is None


def fuse(
    probabilities: Sequence[NDArray[np.float64]], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """The mean of class probabilities, ``(classes,)`` float64, sum 1.

    Args:
        probabilities: One ``(classes,)`` for each view or sequence.
        weights: Of each, positive; None is the same for all.

    Raises:
        ValueError: There is none.

    >>> fuse([np.array([0.9, 0.1]), np.array([0.5, 0.5])]).round(2).tolist()
    [0.7, 0.3]
    """
    if not len(probabilities):
        raise ValueError("there is no probability to fuse")
    mean = np.average(np.stack(probabilities), axis=0, weights=weights)
    return np.asarray(mean / mean.sum(), dtype=np.float64)


def sharpened(fused: NDArray[np.float64], temperature: float, *, parts: int) -> NDArray[np.float64]:
    """A mean of class probabilities as sure as it is right: of several parts it is too cautious.

    Args:
        fused: ``(classes,)``, as `fuse` gives it.
        temperature: Below 1 makes it surer.
        parts: Of how many it is the mean; that of one stays as it is.

    >>> sharpened(np.array([0.2, 0.8]), 0.5, parts=2).round(3).tolist()
    [0.059, 0.941]
    """
    if parts < 2 or temperature == 1.0:
        return fused
    risen = fused ** (1 / temperature)
    return np.asarray(risen / risen.sum(), dtype=np.float64)


def decide(
    fused: NDArray[np.float64],
    parts: Mapping[str, NDArray[np.float64]],
    *,
    classes: Sequence[str],
    least: float = LEAST,
    sure: float = LEAST,
) -> Decision:
    """The most likely class, or none where nothing is likely enough or the parts contradict each other.

    Args:
        fused: ``(classes,)``, what the decision is of.
        parts: Name of a view or sequence to its own ``(classes,)``.
        classes: What they are called in a sentence.
        least: Below this probability nothing is decided.
        sure: Parts with different classes contradict each other where both are at least this sure.

    >>> views = {"AP": np.array([0.1, 0.9]), "lateral": np.array([0.95, 0.05])}
    >>> decide(fuse(list(views.values())), views, classes=("no fracture", "fracture")).reason
    'AP says fracture (0.90), lateral says no fracture (0.95)'
    >>> decide(np.array([0.55, 0.45]), {}, classes=("no fracture", "fracture")).reason
    'the most likely class, no fracture, has a probability of 0.55, below 0.60'
    """
    said = {name: int(part.argmax()) for name, part in parts.items() if float(part.max()) >= sure}
    if len(set(said.values())) > 1:
        sentences = [f"{name} says {classes[k]} ({float(parts[name][k]):.2f})" for name, k in said.items()]
        return Decision(class_index=None, reason=", ".join(sentences))
    best = int(fused.argmax())
    if float(fused[best]) < least:
        return Decision(
            class_index=None,
            reason=f"the most likely class, {classes[best]}, has a probability of {float(fused[best]):.2f}, "
            f"below {least:.2f}",
        )
    return Decision(class_index=best)
