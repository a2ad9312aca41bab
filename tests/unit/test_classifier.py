"""The ensemble of 2-D classifiers: what it learns, what it must not learn, and that it can be repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from operators.bundle import build_network, load_network, update_inference
from operators.errors import BrokenBundle
from operators.infer.classifier import Classifier
from operators.infer.grad_cam import heat_map
from operators.train.augment_images import NO_CHANGE, ImageAugmentation, augment_images
from operators.train.backbone import load_backbone, read_backbone, resnet_sizes
from operators.train.classifier import (
    ClassifierPlan,
    LabelledImages,
    TrainedClassifier,
    centred,
    shuffled_labels,
    train_classifier,
)
from operators.train.loop import bars
from operators.train.split import even_folds

CPU = torch.device("cpu")
SMALL = {
    "_target_": "monai.networks.nets.ResNet",
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [8, 16, 24, 32],
    "conv1_t_size": 3,
    "conv1_t_stride": 2,
    "spatial_dims": 2,
}
PLAN = ClassifierPlan(
    classes=("left", "right"), size_yx=(64, 64), network=SMALL, folds=3, steps=30, batch=16, averaging=0.9
)


def bright_bars(count: int = 60, seed: int = 0) -> LabelledImages:
    """A bright bar in the left or right half of noise; two images a patient, of the same side."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(60, 120, (count, 1, 72, 72)).astype(np.uint8)
    labels = np.repeat(rng.integers(0, 2, count // 2), 2)
    for image, label in zip(images, labels, strict=True):
        column = int(rng.integers(12, 24)) + 34 * int(label)
        image[0, 14:-14, column : column + 4] = 220
    return LabelledImages(
        images_ncyx=images, labels=labels, patient_ids=tuple(f"P{k // 2}" for k in range(count))
    )


def trained_on(
    cases: LabelledImages, bundle: Path, plan: ClassifierPlan = PLAN, **options: object
) -> TrainedClassifier:
    with bars() as progress:
        return train_classifier(
            cases,
            plan,
            bundle=bundle,
            name="bar",
            seed=int(options.pop("seed", 0)),  # type: ignore[call-overload]
            device=CPU,
            progress=progress,
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedClassifier]:
    bundle = tmp_path_factory.mktemp("bars")
    return bundle, trained_on(bright_bars(), bundle)


def test_a_simple_difference_is_learned_and_known_of_patients_never_seen(learned) -> None:
    bundle, trained = learned
    assert trained.report["out_of_fold"]["accuracy"] >= 0.95
    new = bright_bars(40, seed=5)
    found = Classifier.load(bundle, "bar", CPU).probabilities(centred(new.images_ncyx, (64, 64)))
    assert (found.argmax(axis=1) == new.labels).mean() >= 0.95
    assert found.sum(axis=1) == pytest.approx(np.ones(40))


def test_shuffled_labels_are_learned_by_nobody(tmp_path) -> None:
    trained = trained_on(bright_bars(80), tmp_path, shuffle_labels=True)
    assert trained.report["shuffled_labels"] is True
    assert 0.25 <= trained.report["out_of_fold"]["auc"] <= 0.75
    sure = trained.out_of_fold.max(axis=1)
    assert sure.mean() < 0.75, "what knows nothing is not sure either, once calibrated"


def test_shuffling_keeps_a_patients_images_together_and_how_many_there_are_of_each_class() -> None:
    cases = bright_bars()
    shuffled = shuffled_labels(cases, seed=3)
    assert (shuffled[::2] == shuffled[1::2]).all()
    assert sorted(shuffled) == sorted(cases.labels)
    assert (shuffled != cases.labels).any()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, learned) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trained_on(bright_bars(), tmp_path / "again")
    finally:
        torch.set_num_threads(threads)
    trained_on(bright_bars(), tmp_path / "other", plan=replace(PLAN, steps=1), seed=1)
    for name in ("models/bar_fold_1.safetensors", "models/bar_fold_3.safetensors", "configs/inference.json"):
        assert (tmp_path / "again" / name).read_bytes() == (learned[0] / name).read_bytes()
    other = (tmp_path / "other/models/bar_fold_1.safetensors").read_bytes()
    assert other != (learned[0] / "models/bar_fold_1.safetensors").read_bytes()


def test_probabilities_out_of_fold_come_of_the_network_that_has_not_seen_the_patient(learned) -> None:
    bundle, trained = learned
    cases = bright_bars()
    for fold in range(PLAN.folds):
        held_out = np.flatnonzero(trained.folds == fold)
        network = load_network(bundle, f"bar_fold_{fold + 1}", CPU)
        images = torch.from_numpy(centred(cases.images_ncyx[held_out], (64, 64))) * 2 - 1
        with torch.inference_mode():
            found = torch.softmax(network(images) / trained.temperature, dim=1).numpy()
        assert found == pytest.approx(trained.out_of_fold[held_out], abs=1e-5)


def test_no_patient_is_in_two_folds_and_a_rare_class_is_in_all() -> None:
    patients = [f"P{k // 3}" for k in range(90)]
    labels = [2 if k // 3 % 6 == 0 else k // 3 % 2 for k in range(90)]
    folds = even_folds(patients, labels, folds=5, seed=1)
    by_patient = {p: {int(f) for f, q in zip(folds, patients, strict=True) if q == p} for p in patients}
    assert all(len(found) == 1 for found in by_patient.values())
    assert {int(f) for f, label in zip(folds, labels, strict=True) if label == 2} == set(range(5))
    assert np.ptp(np.bincount(folds)) <= 3


def test_members_that_differ_show_as_spread(learned) -> None:
    classifier = Classifier.load(learned[0], "bar", CPU)
    certain = centred(bright_bars(6, seed=5).images_ncyx, (64, 64))
    nothing = np.random.default_rng(0).uniform(0.2, 0.5, (6, 1, 64, 64)).astype(np.float32)
    assert classifier.predict(nothing).spread.mean() > classifier.predict(certain).spread.mean()


def test_stored_bytes_and_floats_mean_the_same(learned) -> None:
    classifier = Classifier.load(learned[0], "bar", CPU)
    whole = bright_bars(4).images_ncyx[:, :, 4:-4, 4:-4]
    assert classifier.probabilities(whole) == pytest.approx(
        classifier.probabilities((whole / 255).astype(np.float32)), abs=1e-6
    )


def test_images_of_another_size_are_not_taken(learned) -> None:
    classifier = Classifier.load(learned[0], "bar", CPU)
    with pytest.raises(ValueError, match="takes images"):
        classifier.probabilities(np.zeros((1, 1, 72, 72), dtype=np.float32))
    with pytest.raises(ValueError, match="takes images"):
        heat_map(classifier, np.zeros((3, 64, 64), dtype=np.float32), 0)


def spots(count: int, seed: int) -> tuple[LabelledImages, np.ndarray]:
    """Noise, in every other image with a bright spot; and where it is in the middle 96 x 96."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(60, 120, (count, 1, 104, 104))
    places = rng.uniform(18, 86, (count, 2))
    rows, columns = np.mgrid[:104, :104]
    for number in range(1, count, 2):
        y, x = places[number]
        images[number, 0][np.hypot(rows - y, columns - x) < 7] = 220
    cases = LabelledImages(
        images_ncyx=images.astype(np.uint8),
        labels=np.arange(count) % 2,
        patient_ids=tuple(f"P{k}" for k in range(count)),
    )
    return cases, places - 4


def test_a_heat_map_shows_where_the_evidence_is_and_is_the_same_again(tmp_path) -> None:
    plan = replace(PLAN, classes=("none", "spot"), size_yx=(96, 96), folds=2, steps=40)
    trained_on(spots(60, seed=0)[0], tmp_path, plan=plan)
    classifier = Classifier.load(tmp_path, "bar", CPU)
    cases, places = spots(20, seed=4)
    images = centred(cases.images_ncyx, (96, 96))
    away = []
    for number in range(1, 20, 2):
        shown = heat_map(classifier, images[number], 1)
        assert (shown.shape, float(shown.max())) == ((96, 96), 1.0)
        assert float(shown.min()) >= 0
        highest = np.array(np.unravel_index(int(shown.argmax()), shown.shape))
        away.append(float(np.hypot(*(highest - places[number]))))
    assert np.median(away) < 16
    assert (heat_map(classifier, images[19], 1) == shown).all()


def test_a_heat_map_leaves_the_networks_as_they_were(learned) -> None:
    classifier = Classifier.load(learned[0], "bar", CPU)
    image = centred(bright_bars(2).images_ncyx, (64, 64))
    before = classifier.probabilities(image)
    heat_map(classifier, image[0], 1)
    assert (classifier.probabilities(image) == before).all()
    for network in classifier.networks:
        assert not any(part._forward_hooks or part._backward_hooks for part in network.modules())


def test_a_classifier_that_is_not_declared_or_only_in_part_is_a_broken_bundle(tmp_path, learned) -> None:
    with pytest.raises(BrokenBundle, match="declares no classifier 'lateral'"):
        Classifier.load(learned[0], "lateral", CPU)
    update_inference(tmp_path, {"classifiers": {"bar": {"classes": ["a", "b"]}}})
    with pytest.raises(BrokenBundle, match="not fully declared"):
        Classifier.load(tmp_path, "bar", CPU)


def test_two_classifiers_live_in_one_bundle(tmp_path, learned) -> None:
    update_inference(tmp_path, {"classifiers": {"ap": {"temperature": 1}}, "hip": {"crop_mm": 1}})
    update_inference(tmp_path, {"classifiers": {"lateral": {"temperature": 2}}, "hip": {"crop_mm": 2}})
    held = json.loads((tmp_path / "configs" / "inference.json").read_text())
    assert held == {
        "classifiers": {"ap": {"temperature": 1}, "lateral": {"temperature": 2}},
        "hip": {"crop_mm": 2},
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"folds": 40}, "30 patients are too few for 40 folds"),
        ({"size_yx": (50, 64)}, "multiples of 32"),
        ({"size_yx": (96, 96)}, "smaller than"),
        ({"classes": ("left", "right", "middle")}, "are not those of"),
        ({"classes": ("left",)}, "are not those of"),
        ({"network": {"_target_": "monai.networks.nets.UNet"}}, "UNet is no classifier"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(tmp_path, change, said) -> None:
    with pytest.raises(ValueError, match=said):
        trained_on(bright_bars(), tmp_path / "bundle", plan=replace(PLAN, **change))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("target", ["EfficientNetBN", "DenseNet"])
def test_other_networks_of_monai_can_be_trained_and_looked_into(tmp_path, target) -> None:
    networks = {
        "EfficientNetBN": {"model_name": "efficientnet-b0", "pretrained": False, "spatial_dims": 2},
        "DenseNet": {"spatial_dims": 2, "init_features": 8, "growth_rate": 4, "block_config": [1, 1]},
    }
    network = {"_target_": f"monai.networks.nets.{target}", **networks[target]}
    trained_on(bright_bars(12), tmp_path, plan=replace(PLAN, folds=2, steps=1, batch=4, network=network))
    classifier = Classifier.load(tmp_path, "bar", CPU)
    image = centred(bright_bars(2).images_ncyx, (64, 64))
    assert classifier.probabilities(image).shape == (2, 2)
    assert heat_map(classifier, image[0], 0).shape == (64, 64)


def torchvision_like(path: Path, planes: tuple[int, ...] = (8, 16, 24, 32)) -> Path:
    """A ResNet's file for colour images and ten classes, in torchvision's names."""
    torch.manual_seed(11)
    settings = {
        "networks": {
            "net": SMALL | {"block_inplanes": list(planes), "n_input_channels": 3, "num_classes": 10}
        }
    }
    state = build_network(settings, "net").state_dict()
    # torchvision's shortcuts have no bias
    state = {k: v.contiguous() for k, v in state.items() if not k.endswith("downsample.0.bias")}
    save_file(state, path)
    return path


def test_a_backbone_is_what_training_begins_with(tmp_path) -> None:
    path = torchvision_like(tmp_path / "resnet.safetensors")
    plan = replace(PLAN, steps=1, learning_rate=0.0, folds=2, batch=4)
    trained = trained_on(bright_bars(12), tmp_path / "bundle", plan=plan, backbone=path)
    assert trained.report["backbone"] == "resnet.safetensors"
    offered = read_backbone(path)
    kept = load_network(tmp_path / "bundle", "bar_fold_2", CPU).state_dict()
    assert kept["layer3.0.conv2.weight"] == pytest.approx(offered["layer3.0.conv2.weight"], abs=1e-3)
    # a grey image gives what the same image gave in three colours
    assert kept["conv1.weight"][:, 0] == pytest.approx(offered["conv1.weight"].sum(dim=1), abs=2e-3)


def test_a_backbone_of_another_size_decides_the_size_of_the_network(tmp_path) -> None:
    path = torchvision_like(tmp_path / "wide.safetensors", planes=(12, 16, 20, 24))
    assert resnet_sizes(read_backbone(path)) == {
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [12, 16, 20, 24],
        "conv1_t_size": 3,
    }
    plan = replace(PLAN, steps=1, folds=2, batch=4)
    trained_on(bright_bars(12), tmp_path / "bundle", plan=plan, backbone=path)
    declared = json.loads((tmp_path / "bundle/configs/inference.json").read_text())["networks"]["bar_fold_1"]
    assert declared["block_inplanes"] == [12, 16, 20, 24]


def test_a_file_of_something_else_is_no_backbone_and_both_are_named(tmp_path) -> None:
    save_file({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match=r"only 0% .*bn1\.bias \(8,\).*features\.0\.weight \(4, 3, 3, 3\)"):
        trained_on(bright_bars(), tmp_path / "bundle", backbone=tmp_path / "vgg.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not at all")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        read_backbone(tmp_path / "broken.safetensors")


def test_whole_numbers_of_a_backbone_stay_whole(tmp_path) -> None:
    network = build_network({"networks": {"net": SMALL | {"n_input_channels": 1, "num_classes": 2}}}, "net")
    state = read_backbone(torchvision_like(tmp_path / "resnet.safetensors"))
    assert 0.9 < load_backbone(network, state) < 1
    assert network.state_dict()["bn1.num_batches_tracked"].dtype == torch.int64


def test_augmentation_stays_in_range_and_depends_on_its_generator_alone() -> None:
    images = torch.rand(8, 2, 72, 72, generator=torch.Generator().manual_seed(0))
    strong = ImageAugmentation(noise=0.3, contrast=1.0, hidden_share=1.0, inverted_share=0.5, flip_share=0.5)
    one, again, other = (
        augment_images(images.clone(), np.random.default_rng(seed), strong, (64, 64)) for seed in (0, 0, 1)
    )
    assert one.shape == (8, 2, 64, 64)
    assert (float(one.min()), float(one.max())) == (0.0, 1.0)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_change_the_middle_of_an_image_comes_back_as_it_was() -> None:
    images = torch.rand(3, 1, 72, 80, generator=torch.Generator().manual_seed(0))
    same = augment_images(images.clone(), np.random.default_rng(0), NO_CHANGE, (64, 64))
    assert torch.allclose(same, images[:, :, 4:-4, 8:-8], atol=1e-5)


def test_what_is_beside_a_turned_image_comes_into_view_where_the_image_is_larger() -> None:
    images = torch.ones(16, 1, 96, 96)
    turned = replace(NO_CHANGE, turn_deg=15.0, shift=0.05)
    small = augment_images(images[:, :, 16:-16, 16:-16], np.random.default_rng(0), turned, (64, 64))
    large = augment_images(images, np.random.default_rng(0), turned, (64, 64))
    assert float(small.min()) == 0.0
    assert float(large.min()) == pytest.approx(1.0, abs=1e-5)
