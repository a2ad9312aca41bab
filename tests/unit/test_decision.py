"""When an app decides, when it does not, and what it says then."""

from __future__ import annotations

import numpy as np
import pytest

from operators.measure.decision import decide, fuse

CLASSES = ("no fracture", "neck fracture", "trochanteric fracture")


def test_views_that_agree_decide_together() -> None:
    views = {"AP": np.array([0.1, 0.8, 0.1]), "lateral": np.array([0.2, 0.6, 0.2])}
    fused = fuse(list(views.values()))
    assert fused == pytest.approx([0.15, 0.7, 0.15])
    decision = decide(fused, views, classes=CLASSES)
    assert (decision.class_index, decision.reason, decision.is_indeterminate) == (1, "", False)


def test_a_weight_counts() -> None:
    assert fuse([np.array([1.0, 0.0]), np.array([0.0, 1.0])], weights=[3, 1]) == pytest.approx([0.75, 0.25])


def test_of_one_view_its_own_probability_decides() -> None:
    alone = np.array([0.05, 0.05, 0.9])
    assert decide(fuse([alone]), {"AP": alone}, classes=CLASSES).class_index == 2


def test_nothing_likely_enough_is_indeterminate_and_says_what_and_how_likely() -> None:
    decision = decide(np.array([0.3, 0.55, 0.15]), {}, classes=CLASSES, least=0.7)
    assert decision.is_indeterminate
    assert decision.reason == "the most likely class, neck fracture, has a probability of 0.55, below 0.70"


def test_two_sure_views_that_contradict_each_other_are_indeterminate_and_say_who_said_what() -> None:
    # One view much surer than the other: their mean alone would decide.
    views = {"AP": np.array([0.01, 0.98, 0.01]), "lateral": np.array([0.65, 0.25, 0.1])}
    decision = decide(fuse(list(views.values())), views, classes=CLASSES)
    assert decision.is_indeterminate
    assert decision.reason == "AP says neck fracture (0.98), lateral says no fracture (0.65)"


def test_a_view_that_is_not_sure_does_not_contradict() -> None:
    views = {"AP": np.array([0.0, 1.0, 0.0]), "lateral": np.array([0.5, 0.45, 0.05])}
    assert decide(fuse(list(views.values())), views, classes=CLASSES).class_index == 1


def test_exactly_the_least_probability_is_enough() -> None:
    assert decide(np.array([0.6, 0.4, 0.0]), {}, classes=CLASSES).class_index == 0


def test_nothing_to_fuse_is_an_error() -> None:
    with pytest.raises(ValueError, match="no probability"):
        fuse([])
