"""Segmentation with the weights that ship, alignment, and a training of a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.mibg_spect.cases import TruthCase, read_case
from apps.mibg_spect.evaluate import evaluate
from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.phantom import FIRST_HOSPITAL_B_SEED, generate, simulate
from apps.mibg_spect.prepare import CUBE, GriddedVolume, cube_around, network_input
from apps.mibg_spect.samples import FIRST_SYNTHETIC_SEED
from apps.mibg_spect.segment import segment
from apps.mibg_spect.train import metadata, train
from operators.errors import Refused
from operators.evaluate.overlap import dice
from operators.geometry import VolumeGeometry
from operators.phantom.hospital import Hospital
from operators.preprocess.align import align_rigid
from operators.preprocess.resample import canonical_grid, resample
from operators.read.nm import NmVolume
from operators.train.augment import Augmentation, augment

BUNDLE = Path(__file__).resolve().parents[2] / "apps" / "mibg_spect" / "model"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> TruthCase:
    """A patient of hospital A with a bright heart; no training seed."""
    folder = tmp_path_factory.mktemp("cases") / "case"
    generate(702, folder)
    return read_case(folder)


def dices(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {name: dice(labels == value, truth == value) for name, value in LABELS.items()}


def test_organs_are_found_on_early_and_late(case: TruthCase) -> None:
    found = segment(case.volumes[Phase.EARLY], case.volumes[Phase.LATE], bundle=BUNDLE, device="cpu")
    assert found.reference is Phase.EARLY
    scores = dices(found.labels_zyx[Phase.EARLY], case.labels_zyx)
    assert min(scores["lung_right"], scores["lung_left"], scores["liver"]) > 0.85, scores
    assert scores["heart"] > 0.7, scores
    assert found.labels_zyx[Phase.LATE].shape == case.volumes[Phase.LATE].geometry.shape_zyx
    assert found.heart_probability_zyx.shape == case.labels_zyx.shape


@pytest.mark.parametrize("phase", list(Phase))
def test_one_acquisition_is_enough(case: TruthCase, phase: Phase) -> None:
    volumes = {Phase.EARLY: None, Phase.LATE: None, phase: case.volumes[phase]}
    found = segment(volumes[Phase.EARLY], volumes[Phase.LATE], bundle=BUNDLE, device="cpu")
    assert found.reference is phase
    assert set(found.labels_zyx) == {phase}
    assert (found.labels_zyx[phase] == LABELS["heart"]).any()


def turned_over(volume: NmVolume) -> NmVolume:
    """The same volume with its slices in the opposite order."""
    geometry = volume.geometry
    last = geometry.position_mm_lps((geometry.shape_zyx[0] - 1, 0, 0))
    directions = (tuple(-d for d in geometry.direction_lps_zyx[0]), *geometry.direction_lps_zyx[1:])
    flipped = VolumeGeometry(geometry.shape_zyx, geometry.spacing_mm_zyx, tuple(last), directions)
    return replace(volume, counts_zyx=volume.counts_zyx[::-1].copy(), geometry=flipped)


def test_the_order_of_slices_does_not_change_the_anatomy(case: TruthCase) -> None:
    early = case.volumes[Phase.EARLY]
    one = segment(early, None, bundle=BUNDLE, device="cpu").labels_zyx[Phase.EARLY]
    other = segment(turned_over(early), None, bundle=BUNDLE, device="cpu").labels_zyx[Phase.EARLY]
    assert (one == other[::-1]).mean() > 0.999


def test_what_is_no_chest_is_refused(case: TruthCase) -> None:
    early = case.volumes[Phase.EARLY]
    z, y, x = np.indices(early.counts_zyx.shape)
    centre = [n / 2 for n in early.counts_zyx.shape]
    ball = ((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 40).astype(np.float32)
    with pytest.raises(Refused, match="lung"):
        segment(replace(early, counts_zyx=ball * 500), None, bundle=BUNDLE, device="cpu")


def test_a_uniform_cylinder_is_never_reported_without_a_warning(case: TruthCase) -> None:
    early = case.volumes[Phase.EARLY]
    z, y, x = np.indices(early.counts_zyx.shape) * early.geometry.spacing_mm_zyx[0]
    across = np.hypot(y - y.mean(), x - x.mean())
    cylinder = ((across < 100) & (np.abs(z - z.mean()) < 150)) * 40.0
    noisy = np.random.default_rng(0).poisson(cylinder).astype(np.float32)
    try:
        found = segment(replace(early, counts_zyx=noisy), None, bundle=BUNDLE, device="cpu")
    except Refused:
        return
    assert found.warnings


def test_neither_volume_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="neither"):
        segment(None, None, bundle=BUNDLE)


def test_alignment_recovers_a_movement() -> None:
    grid = canonical_grid(np.array([10.0, -20.0, 30.0]), size=48, spacing_mm=8.0)
    index = np.indices(grid.shape_zyx).astype(np.float32)
    maps = np.stack(
        [
            1 / (1 + np.exp(np.sqrt(((index - np.array(c).reshape(3, 1, 1, 1)) ** 2).sum(axis=0)) - r))
            for c, r in (((24, 22, 14), 7), ((24, 24, 34), 6), ((12, 20, 18), 7))
        ]
    ).astype(np.float32)
    moved = np.eye(4)
    moved[:3, 3] = [9.0, -5.0, 12.0]
    other = resample(maps, grid, grid, source_from_target_lps=np.linalg.inv(moved)).numpy()
    found = align_rigid(maps, other, grid)
    assert found is not None
    centre = np.array([10.0, -20.0, 30.0, 1.0])
    np.testing.assert_allclose(found @ centre, moved @ centre, atol=0.7)


def test_an_absent_acquisition_is_an_empty_channel() -> None:
    case = simulate(3, Hospital.A)
    volume = GriddedVolume(counts_zyx=case.volumes_zyx[Phase.LATE], geometry=case.camera.geometry)
    image = network_input({Phase.LATE: volume}, cube_around(volume), np.eye(4))
    assert image.shape == (2, CUBE, CUBE, CUBE)
    assert float(image[0].abs().max()) == 0
    assert 0 < float(image[1].max()) <= 3


def test_augmentation_follows_its_generator() -> None:
    image, labels = torch.rand(2, 16, 16, 16), torch.randint(0, 5, (16, 16, 16))
    results = [augment(image, labels, np.random.default_rng(seed), Augmentation()) for seed in (1, 1, 2)]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])
    assert set(results[0][1].unique().tolist()) <= set(range(5))


def test_training_and_evaluation_seeds_are_apart() -> None:
    assert FIRST_SYNTHETIC_SEED + 10_000 < FIRST_HOSPITAL_B_SEED


def test_a_few_steps_of_training_make_a_bundle_that_can_be_evaluated(tmp_path: Path) -> None:
    data, bundle = tmp_path / "data", tmp_path / "bundle"
    generate(0, data / "case_0")
    train(data, bundle, steps=2, synthetic_seeds=[1000], cache=tmp_path / "cache", device="cpu")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["training"]["cases"] == 1
    assert metadata["training"]["kind"] == "synthetic"
    assert metadata["training"]["steps_taken"] == {"organs": 2, "heart": 2}
    evaluation = evaluate(data, bundle=bundle, device="cpu")
    assert evaluation.n == 1
    assert set(evaluation.metrics) == {
        "dice_heart",
        "dice_heart_denervated",
        "dice_lung",
        "dice_liver",
        "r2_heart_counts",
        "hmr_mae",
    }
    assert evaluation.notes, "a case of the training hospital is named"


def test_what_a_bundle_says_of_its_training_follows_from_the_training_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the digest, and with it every UID of a result, would differ by the day of the training."""
    training = {"kind": "synthetic", "seed": 1, "simulated": 0}
    said = metadata(training)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert metadata(training) == said
    assert said["training"] == training


def test_training_without_cases_says_what_a_case_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a case is a folder"):
        train(tmp_path, tmp_path / "bundle")
