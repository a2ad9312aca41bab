"""The network, the baseline and a training on a few simulated walks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.gait_ataxia import train as training
from apps.gait_ataxia.baseline import Ridge, fit_ridge
from apps.gait_ataxia.cases import Clip
from apps.gait_ataxia.evaluate import agreement
from apps.gait_ataxia.features import COUNT, Features
from apps.gait_ataxia.network import LONGEST, PATCH, GaitTransformer, Size, Standard, batch_of, windows
from apps.gait_ataxia.parameters import NAMES
from apps.gait_ataxia.phantom import case_truth, simulate
from apps.gait_ataxia.predict import load_cohort, load_ensemble
from apps.gait_ataxia.samples import error_bank, seen_sample
from operators.bundle import load_metadata
from operators.errors import BrokenBundle
from operators.pose.body25 import PoseSeries
from operators.select.digests import bundle_digest
from operators.train.split import fold_of


def _clip(seed: int) -> Clip:
    case = simulate(seed)
    camera = case.shot.camera
    rng = np.random.default_rng(seed)
    joints = case.joints_px + rng.normal(0, 2.5, case.joints_px.shape)
    points = np.concatenate([joints, np.full((len(joints), 25, 1), 0.9)], axis=2).astype(np.float32)
    pose = PoseSeries(
        points=points,
        frame_rate=camera.frame_rate,
        columns=camera.columns,
        rows=camera.rows,
        estimator="test",
    )
    return Clip(name=str(seed), patient=f"P{seed}", pose=pose, view=camera.view, truth=case_truth(case))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [_clip(seed) for seed in range(700, 716)]


@pytest.fixture(scope="module")
def bundle(clips, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_clips", lambda _data: iter(clips))
        training.train(folder, folder, simulated=16, epochs=1, device="cpu")
    return folder


def test_a_training_writes_a_bundle_that_can_be_used(bundle, clips):
    assert load_metadata(bundle)["training"]["kind"] == "synthetic"
    assert len(list((bundle / "models").glob("*.safetensors"))) == training.FOLDS
    ensemble = load_ensemble(bundle, "cpu")
    estimate = ensemble.estimate(seen_sample(clips[0]).features)
    assert 0 <= estimate.low <= estimate.sara <= estimate.high <= 40
    assert estimate.ridge is not None
    cohort = load_cohort(bundle)
    assert len(cohort.sara) == len(cohort.estimated) > 0


def test_a_training_is_reproducible_from_its_seed(bundle, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "load_clips", lambda _data: iter(clips))
    training.train(tmp_path, tmp_path / "again", simulated=16, epochs=1, device="cpu")
    assert bundle_digest(tmp_path / "again") == bundle_digest(bundle)


def test_a_damaged_bundle_says_so(bundle, tmp_path):
    copy = tmp_path / "copy"
    (copy / "configs").mkdir(parents=True)
    for path in (bundle / "configs").iterdir():
        (copy / "configs" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BrokenBundle):
        load_ensemble(copy, "cpu")


def test_too_few_cases_are_no_training_data(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "load_clips", lambda _data: iter(clips[:2]))
    with pytest.raises(ValueError, match="too few"):
        training.train(tmp_path, tmp_path, simulated=0, epochs=1)


def test_clips_of_one_patient_are_held_out_together():
    assert {fold_of("P7", folds=5, seed=3) for _ in range(5)} == {fold_of("P7", folds=5, seed=3)}
    assert {fold_of(f"P{k}", folds=5, seed=0) for k in range(60)} == set(range(5))


def test_padding_changes_nothing():
    torch.manual_seed(0)
    network = GaitTransformer(Size()).eval()
    rng = np.random.default_rng(0)
    short = rng.normal(size=(20, PATCH * COUNT)).astype(np.float32)
    long = rng.normal(size=(50, PATCH * COUNT)).astype(np.float32)
    vector = np.zeros(2 * len(NAMES), np.float32)
    alone = network(*batch_of([(short, vector, "frontal")]))
    together = network(*batch_of([(short, vector, "frontal"), (long, vector, "sagittal")]))
    assert torch.allclose(alone[0], together[0], atol=1e-4)


def test_a_long_walk_is_seen_in_windows_that_cover_it():
    patches = np.arange(300 * 2, dtype=np.float32).reshape(300, 2)
    parts = windows(patches)
    assert all(len(part) == LONGEST for part in parts)
    assert set(np.concatenate(parts)[:, 0]) == set(patches[:, 0])


def test_the_standard_survives_the_bundle(clips):
    features = [seen_sample(clip).features for clip in clips[:6]]
    standard = Standard.of(features)
    again = Standard.from_json_dict(json.loads(json.dumps(standard.to_json_dict())))
    assert np.allclose(again.values(features[0]), standard.values(features[0]), atol=1e-5)


def test_missing_parameters_are_told_to_the_network():
    features = Features(
        sequence=np.zeros((40, COUNT), np.float32),
        vector=np.full(len(NAMES), np.nan, np.float32),
        view="frontal",
    )
    values = Standard.of([features]).values(features)
    assert (values[: len(NAMES)] == 0).all()
    assert (values[len(NAMES) :] == 1).all()


def test_ridge_finds_a_linear_truth_and_leaves_out_what_is_missing():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, len(NAMES)))
    sara = 12 + 3 * vectors[:, 0] - 2 * vectors[:, 2]
    vectors[:, 5] = np.nan
    model = fit_ridge(vectors, sara)
    assert 5 not in model.columns
    assert np.abs(model.predict(vectors) - np.clip(sara, 0, 40)).mean() < 0.3
    again = Ridge.from_json_dict(json.loads(json.dumps(model.to_json_dict())))
    assert np.allclose(again.predict(vectors), model.predict(vectors))


def test_the_interval_holds_its_share():
    rng = np.random.default_rng(0)
    width = training.conformal_half_width(rng.normal(0, 3, 400))
    assert np.mean(np.abs(rng.normal(0, 3, 4000)) < width) == pytest.approx(training.COVERAGE, abs=0.04)


def test_agreement_falls_with_a_shift_that_correlation_does_not_see():
    truth = np.linspace(0, 30, 40)
    perfect = agreement("t", "e")({"t": truth, "e": truth})
    shifted = agreement("t", "e")({"t": truth, "e": truth + 8})
    assert perfect == pytest.approx(1)
    assert shifted < 0.85


def test_a_bank_of_errors_needs_joints(clips):
    without = Clip(
        name="x",
        patient="x",
        pose=clips[0].pose,
        view=None,
        truth={"sara_total": 3.0, "sara_items": {"gait": 1}},
    )
    assert error_bank([without]) == []


def test_shuffled_scores_cannot_be_learned(clips):
    samples = [sample for sample in map(seen_sample, [*clips, *map(_clip, range(740, 790))]) if sample]
    folds = np.array([fold_of(sample.patient, folds=training.FOLDS, seed=0) for sample in samples])
    true = np.array([sample.sara for sample in samples])
    shuffled = np.random.default_rng(1).permutation(true)
    r2 = {}
    for name, scores in (("true", true), ("shuffled", shuffled)):
        relabelled = [dataclasses.replace(s, sara=float(y)) for s, y in zip(samples, scores, strict=True)]
        _, found = training._baseline(relabelled, folds)
        known = np.isfinite(found)
        r2[name] = 1 - ((found - scores)[known] ** 2).mean() / scores[known].var()
    assert r2["true"] > 0.35
    assert r2["shuffled"] < 0.15
