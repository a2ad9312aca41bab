"""Chains of vertebrae that could mislead: a sacrum that is none, a vertebra that was not seen."""

from __future__ import annotations

import dataclasses

import pytest

from apps.spine_metastasis.levels import Point, spine_of

SACRUM = Point(position_mm_lps=(0.0, 6.0, 8.0), score=0.9)


def spine_points(count: int, *, step_mm: float = 34.0) -> list[Point]:
    """A gently curved spine above `SACRUM`, the lowest body first."""
    return [Point(position_mm_lps=(0.0, 2.0 * (i % 3), 40.0 + step_mm * i), score=0.9) for i in range(count)]


@pytest.mark.parametrize("beside_mm", [3.0, 14.0])
def test_a_sacrum_in_mid_spine_is_not_believed_and_takes_no_vertebra_away(beside_mm):
    points = spine_points(9)
    fifth = points[4].position_mm_lps
    false = Point(position_mm_lps=(0.0, fifth[1] + beside_mm, fifth[2] - 2.0), score=0.6)
    spine = spine_of(points, false)
    assert len(spine.vertebrae) == 9
    assert {one.level for one in spine.vertebrae} == {None}
    assert spine.sacrum is None
    assert spine.is_sacrum_doubted


def test_sacral_bodies_that_are_taken_for_vertebrae_do_not_discredit_the_sacrum():
    below = [Point(position_mm_lps=(0.0, 22.0 + 8 * i, -10.0 - 16.0 * i), score=0.5) for i in range(2)]
    spine = spine_of([*spine_points(7), *below], SACRUM)
    assert [one.level for one in spine.vertebrae] == ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]
    assert not spine.is_sacrum_doubted


def test_a_missed_vertebra_is_a_gap_with_and_without_a_sacrum():
    points = spine_points(8)
    del points[4]
    for sacrum in (SACRUM, None):
        spine = spine_of(points, sacrum)
        assert [(one.number, other.number) for one, other in spine.gaps if other] == [(3, 4)]


def test_a_sacrum_far_below_the_lowest_vertebra_is_a_gap():
    spine = spine_of(spine_points(7)[1:], SACRUM)
    assert spine.gaps == ((spine.vertebrae[-1], None),)


def test_a_whole_spine_has_no_gap():
    assert spine_of(spine_points(7), SACRUM).gaps == ()
    assert spine_of(spine_points(7), dataclasses.replace(SACRUM, score=0.1)).gaps == ()
