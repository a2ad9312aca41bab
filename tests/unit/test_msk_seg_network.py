"""The network of msk_ct: passes, training that repeats itself, and the model that ships."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apps.msk_ct import evaluate as evaluation
from apps.msk_ct import train as training
from apps.msk_ct.cases import TruthCase, read_case
from apps.msk_ct.confidence import relative_variance
from apps.msk_ct.elsewhere import elsewhere_samples
from apps.msk_ct.phantom import Case, generate, simulate
from apps.msk_ct.prepare import PIXEL_MM, SLICE_MM
from apps.msk_ct.samples import cache_name
from apps.msk_ct.segment import segment
from apps.msk_ct.segmentation import Segmentation
from apps.msk_ct.structures import SEGMENTS, Side
from apps.msk_ct.train import calibrate_bundle, train
from operators.bundle import inference_settings, load_network
from operators.errors import Refused
from operators.geometry import VolumeGeometry
from operators.infer.bayesian_unet import BayesianUNet
from operators.infer.monte_carlo import draws_of, run_passes
from operators.read.case_folders import find_cases
from operators.read.ct import CtVolume
from operators.train.split import split_patients

MODEL = Path(__file__).resolve().parents[2] / "apps" / "msk_ct" / "model"
AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
PASSES = 4
SHIFTED_SEED = 100_000
HOLDS_ONE_OUT = 4
"""Seed of a training that holds out one of the two patients."""


@pytest.fixture(scope="module")
def case() -> Case:
    """A patient of hospital B on a coarse grid."""
    return simulate(SHIFTED_SEED, shift=True, coarse=True)


def volume_of(case: Case) -> CtVolume:
    return CtVolume(hu_zyx=case.hu_zyx.astype(np.float32), geometry=case.scanner.geometry, instances=())


@pytest.fixture(scope="module")
def found(case: Case) -> Segmentation:
    return segment(volume_of(case), bundle=MODEL, device="cpu", passes=PASSES)


def mean_dice(one: NDArray[np.uint8], other: NDArray[np.uint8], least: int = 200) -> float:
    sizes = np.bincount(one.ravel(), minlength=44), np.bincount(other.ravel(), minlength=44)
    both = np.bincount(one[one == other], minlength=44)
    values = [2 * both[n] / (sizes[0][n] + sizes[1][n]) for n in range(1, 44) if sizes[0][n] >= least]
    return float(np.mean(values))


def small_network() -> BayesianUNet:
    torch.manual_seed(0)
    return BayesianUNet(2, 4, [4, 4, 8, 8, 8, 4], 0.5).eval()


def test_without_a_draw_the_network_is_certain() -> None:
    network, image = small_network(), torch.rand(1, 2, 32, 48)
    assert torch.equal(network(image), network(image))
    first, second = (network.decode(network.encode(image), network.draw(1)) for _ in range(2))
    assert not torch.equal(first, second)


def test_slabs_do_not_change_what_passes_find() -> None:
    images = torch.rand(5, 2, 32, 48)

    def run(slab: int) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.uint8]]:
        told: list[float] = []
        passes = run_passes(
            small_network(),
            lambda part: images[part.start : part.stop],
            slices=5,
            shape_yx=(30, 41),
            passes=3,
            device=torch.device("cpu"),
            slab=slab,
            done=told.append,
        )
        assert told[-1] == 1
        assert told == sorted(told)
        return passes.mean_zcyx, passes.variance_zyx, passes.labels_tzyx

    for one, other in zip(run(5), run(2), strict=True):
        assert np.allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("passes", [2, 3, 10])
def test_the_variance_is_that_of_the_passes_without_a_bias_by_their_number(passes: int) -> None:
    network, image, cpu = small_network(), torch.rand(1, 2, 32, 48), torch.device("cpu")
    found = run_passes(
        network,
        lambda _: image,
        slices=1,
        shape_yx=(32, 48),
        passes=passes,
        device=cpu,
        slab=1,
        done=lambda _: None,
    )
    each = []
    with torch.inference_mode():
        for number, keep in enumerate(draws_of(network, passes, cpu)):
            mirror = number % 2 == 1
            scores = network.decode(network.encode(image.flip(-1) if mirror else image), keep)
            each.append(torch.softmax(scores.flip(-1) if mirror else scores, dim=1))
    expected = torch.stack(each).var(dim=0, unbiased=True).mean(dim=1)
    assert np.allclose(found.variance_zyx, expected.numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    for seed in (0, 1):
        generate(seed, folder / f"case_{seed}")
    return folder


def row_of(number: int, psv: float, dice: float) -> dict[str, float]:
    return dict.fromkeys(evaluation.COLUMNS, 0.5) | {"structure": float(number), "psv": psv, "dice": dice}


def test_training_repeats_itself_bit_for_bit_and_calibrates_on_patients_held_out(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(one: TruthCase, *_: object, **__: object) -> list[dict[str, float]]:
        measured.append(one.patient_id)
        return [row_of(2, 0.01, 0.9), row_of(2, 0.05, 0.4), row_of(3, 0.02, 0.8)]

    monkeypatch.setattr(training, "measure_case", measure)
    monkeypatch.setattr(training, "SLICES_EACH", 2)
    for name in ("one", "two"):
        train(cases, tmp_path / name, seed=HOLDS_ONE_OUT, steps=2, cache=tmp_path / "cache", device="cpu")
    weights = [
        (tmp_path / name / "models" / "structures.safetensors").read_bytes() for name in ("one", "two")
    ]
    assert weights[0] == weights[1]
    patients = [read_case(folder).patient_id for folder in find_cases(cases)]
    _, held_out = split_patients(patients, share=training.VALIDATION_SHARE, seed=HOLDS_ONE_OUT)
    assert measured == [patients[i] for i in held_out] * 2
    assert len(held_out) == 1
    text = (tmp_path / "one" / "configs" / "metadata.json").read_text(encoding="utf-8")
    described = json.loads(text)["training"]
    assert described["kind"] == "synthetic"
    assert "date" not in described
    assert described["held_out_patients"] == described["patients"] == 1
    assert described["held_out_dice"] == pytest.approx(0.7)
    assert not any(patient in text for patient in patients)
    confidence = inference_settings(tmp_path / "one")["confidence"]
    assert set(confidence["psv_limits"]) == {"femur", "adductor_muscles"}
    assert (confidence["passes"], confidence["profile"]) == (10, "cpu")
    network = load_network(tmp_path / "one", "structures", torch.device("cpu"))
    assert isinstance(network, BayesianUNet)


def test_without_patients_held_out_it_is_said_that_accuracy_is_not_known(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "inference.json").write_text("{}", encoding="utf-8")
    calibrate_bundle(tmp_path, [])
    assert "what accuracy is to be expected" in " ".join(capsys.readouterr().err.split())
    assert "confidence" not in inference_settings(tmp_path)


def test_training_computes_on_the_device_that_is_asked_for(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reached(Exception):
        """The loop."""

    def loop(*_: object, device: torch.device, **__: object) -> None:
        raise Reached(device.type)

    monkeypatch.setattr(training, "train_in_shards", loop)
    monkeypatch.setattr(training, "read_samples", lambda *_: elsewhere_samples([0]))
    monkeypatch.setattr(training, "slice_loss", lambda *_: None)
    for device in ("cuda", "cpu"):
        with pytest.raises(Reached, match=device):
            train(cases, tmp_path, device=device)


def test_patients_that_are_kept_for_evaluation_are_not_learned_from(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    (folder / "dicom").mkdir(parents=True)
    truth = {"kind": "synthetic phantom", "hospital": "B"}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    with pytest.raises(ValueError, match="hospital B"):
        train(tmp_path, tmp_path / "bundle")


def test_prepared_cases_are_not_those_of_an_earlier_phantom(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    names = set()
    for volume in (1.0, 2.0):
        (folder / "truth.json").write_text(json.dumps({"volumes_ml": volume}), encoding="utf-8")
        names |= {cache_name(folder), cache_name(folder)}
    assert len(names) == 2


def test_a_network_that_has_learned_nothing_is_refused_and_not_believed(tmp_path: Path, case: Case) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "inference.json").write_text(json.dumps(inference_settings(MODEL)), encoding="utf-8")
    from operators.bundle import build_network, save_weights

    torch.manual_seed(0)
    save_weights(build_network(inference_settings(MODEL), "structures"), tmp_path, "structures")
    with pytest.raises(Refused, match="no hip or thigh"):
        segment(volume_of(case), bundle=tmp_path, device="cpu", passes=2)


def test_the_model_that_ships_outlines_a_patient_of_another_hospital(case: Case, found: Segmentation) -> None:
    assert found.segments_zyx.shape == found.uncertainty_zyx.shape == case.hu_zyx.shape
    assert found.uncertainty_zyx.min() >= 0
    assert mean_dice(case.segments_zyx, found.segments_zyx) > 0.8
    assert set(found.psv) == set(found.predictive_dice)
    assert all(0 <= value <= 1 for value in found.predictive_dice.values())
    assert set(relative_variance(found.psv, inference_settings(MODEL))) == set(found.psv)


def test_the_same_ct_gives_the_same_result(case: Case, found: Segmentation) -> None:
    again = segment(volume_of(case), bundle=MODEL, device="cpu", passes=PASSES)
    assert np.array_equal(again.segments_zyx, found.segments_zyx)
    assert again.psv == found.psv


ORDERS = [
    ((0, 1, 2), (True, False, True)),
    ((0, 1, 2), (False, True, False)),
    ((2, 0, 1), (True, True, True)),
]


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_flipped_and_permuted_axes_find_the_same_anatomy(
    case: Case, found: Segmentation, order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    """The stored axes run another way, the patient stays where they are."""
    geometry = case.scanner.geometry
    turn = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    ends = [n - 1 if flip else 0 for n, flip in zip(geometry.shape_zyx, flips, strict=True)]
    origin = geometry.position_mm_lps(tuple(ends))
    direction = [
        tuple(-v for v in axis) if flip else axis
        for axis, flip in zip(geometry.direction_lps_zyx, flips, strict=True)
    ]
    hu = case.hu_zyx[turn].transpose(order)
    stored = VolumeGeometry(
        shape_zyx=hu.shape,
        spacing_mm_zyx=tuple(geometry.spacing_mm_zyx[a] for a in order),
        origin_mm_lps=tuple(float(v) for v in origin),
        direction_lps_zyx=tuple(direction[a] for a in order),
    )
    other = segment(
        CtVolume(hu_zyx=np.ascontiguousarray(hu, dtype=np.float32), geometry=stored, instances=()),
        bundle=MODEL,
        device="cpu",
        passes=PASSES,
    )
    expected = found.segments_zyx[turn].transpose(order)
    assert mean_dice(expected, other.segments_zyx) > 0.999


@pytest.mark.parametrize("beyond", [1, 4], ids=["to the midline", "1 cm beyond"])
def test_one_side_alone_keeps_its_side(case: Case, beyond: int) -> None:
    """Columns up to the last one of the right side, and a few more."""
    side_of = np.array([0, *(0 if s.side is None else 1 if s.side is Side.RIGHT else 2 for s in SEGMENTS)])
    truth = side_of[case.segments_zyx]
    assert case.scanner.geometry.direction_lps_zyx[2][0] > 0
    hu = case.hu_zyx.astype(np.float32).copy()
    hu[:, :, int(np.flatnonzero((truth == 1).any(axis=(0, 1)))[-1]) + beyond :] = -1000
    one = segment(
        CtVolume(hu_zyx=hu, geometry=case.scanner.geometry, instances=()),
        bundle=MODEL,
        device="cpu",
        passes=2,
    )
    told = side_of[one.segments_zyx]
    right = truth == 1
    assert (told == 1)[right].sum() > 0.9 * right.sum()
    assert (told == 2)[right].sum() < 0.005 * right.sum()


@pytest.mark.parametrize("seed", [100, 101, 102], ids=["head", "bottle", "chest"])
def test_what_is_neither_hip_nor_thigh_is_refused(seed: int) -> None:
    """Other seeds than those of the training, but crude shapes of the same kind.

    The one real CT of another part of the body is an upper abdomen (tests/integration); no real chest or head
    was tried.
    """
    (sample,) = elsewhere_samples([seed])
    hu = sample.hu_zyx.astype(np.float32)
    geometry = VolumeGeometry(hu.shape, (SLICE_MM, PIXEL_MM, PIXEL_MM), (0.0, 0.0, 0.0), AXIAL)
    with pytest.raises(Refused, match="no hip or thigh was found"):
        segment(CtVolume(hu_zyx=hu, geometry=geometry, instances=()), bundle=MODEL, device="cpu", passes=2)


def test_passes_and_profile_must_make_sense(case: Case) -> None:
    with pytest.raises(ValueError, match="too few"):
        segment(volume_of(case), bundle=MODEL, device="cpu", passes=1)
    with pytest.raises(ValueError, match="not one of auto, cpu, gpu"):
        segment(volume_of(case), bundle=MODEL, device="cpu", profile="best")


def test_progress_grows_to_its_end(case: Case) -> None:
    told: list[float] = []
    segment(volume_of(case), bundle=MODEL, device="cpu", passes=2, report_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert all(b - a < 0.3 for a, b in itertools.pairwise(told))
