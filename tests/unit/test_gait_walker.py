"""Synthetic walkers: their scores, their feet and their truth."""

from __future__ import annotations

import numpy as np
import pytest

from apps.gait_ataxia.phantom import case_truth, simulate
from apps.gait_ataxia.walker import SARA_ITEMS, draw_walker, walk
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.pose.body25 import MIRRORED, Joint


def test_a_cohort_has_the_scores_of_a_clinic():
    rng = np.random.default_rng(1)
    totals = np.array([draw_walker(rng).sara for _ in range(1500)])
    assert totals.mean() == pytest.approx(12.0, abs=0.7)
    assert totals.std() == pytest.approx(5.8, abs=0.6)
    assert totals.min() >= 0
    assert totals.max() <= 40


def test_walkers_have_a_gait_item_of_one_to_seven():
    rng = np.random.default_rng(2)
    items = [draw_walker(rng).items for _ in range(200)]
    assert {name for one in items for name in one} == set(SARA_ITEMS)
    assert all(1 <= one["gait"] <= 7 for one in items)


def test_severity_slows_widens_and_unsteadies_a_walk():
    rng = np.random.default_rng(3)
    walkers = [draw_walker(rng) for _ in range(400)]
    mild = [w for w in walkers if w.severity < 0.25]
    severe = [w for w in walkers if w.severity > 0.55]
    for name, grows in (
        ("speed_m_s", False),
        ("cadence_per_min", False),
        ("stride_time_cv_percent", True),
        ("step_width_cm", True),
        ("sway_cm", True),
        ("double_support_percent", True),
    ):
        low, high = (np.mean([w.signs[name] for w in group]) for group in (mild, severe))
        assert bool(high > low) is grows, name


def test_a_foot_that_stands_does_not_slide():
    rng = np.random.default_rng(4)
    walker = draw_walker(rng)
    motion = walk(walker, 8.0, 30.0, rng)
    t = np.arange(len(motion.joints_m)) / 30
    for side, heel in (("L", Joint.L_HEEL), ("R", Joint.R_HEEL)):
        for strike in motion.strikes[side][:-1]:
            flat = (t > strike + 0.20) & (t < strike + 0.35)
            if flat.sum() > 2:
                assert np.ptp(motion.joints_m[flat, heel, 0]) < 0.012


def test_bones_keep_their_length():
    rng = np.random.default_rng(5)
    walker = draw_walker(rng)
    joints = walk(walker, 6.0, 30.0, rng).joints_m
    thigh = np.linalg.norm(joints[:, Joint.L_HIP] - joints[:, Joint.L_KNEE], axis=1)
    assert np.allclose(thigh, walker.body.thigh, rtol=0.03)


def test_realised_parameters_follow_the_drawn_ones():
    rng = np.random.default_rng(6)
    pairs = []
    for _ in range(60):
        walker = draw_walker(rng)
        motion = walk(walker, 12.0, 30.0, rng)
        pairs.append((walker.signs["cadence_per_min"], motion.realised["cadence_per_min"]))
    drawn, real = np.array(pairs).T
    assert np.corrcoef(drawn, real)[0, 1] > 0.9


def test_the_same_seed_gives_the_same_walk_and_another_hospital_another():
    one, two, other = simulate(11), simulate(11), simulate(11, Hospital.B)
    assert np.array_equal(one.points_m, two.points_m)
    assert one.walker.signs != other.walker.signs


def test_truth_holds_joints_and_events_of_every_frame():
    case = simulate(12)
    truth = case_truth(case)
    assert np.array(truth["joints_px"]).shape == (len(case.points_m), 25, 2)
    strikes = sorted(t for times in truth["heel_strikes_s"].values() for t in times)
    assert len(strikes) > 5
    assert truth["sara_total"] == sum(truth["sara_items"].values())


def test_mirroring_twice_is_nothing():
    assert [MIRRORED[MIRRORED[k]] for k in range(25)] == list(range(25))


def test_phantoms_are_long_enough_to_be_analysed():
    for seed in range(40):
        for hospital in (Hospital.A, Hospital.B):
            case = simulate(seed, hospital)
            assert case.shot.duration_s >= 3.0
            assert case.motion.realised["strides"] >= 3


def test_generators_of_different_parts_differ():
    assert generator(1, 2).random() != generator(2, 1).random()
