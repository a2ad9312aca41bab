"""Options of the training command reach those trainings that know them, and no other."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from operators import command


def offer(monkeypatch: pytest.MonkeyPatch, train: Any) -> None:
    module = ModuleType("apps.made_up.train")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apps.made_up", ModuleType("apps.made_up"))
    monkeypatch.setitem(sys.modules, "apps.made_up.train", module)


def run(tmp_path: Path, *options: str) -> Any:
    arguments = ["train", "made_up", "--data", str(tmp_path), "--output", str(tmp_path / "bundle"), *options]
    return CliRunner().invoke(command.main, arguments)


def test_a_classifier_is_told_to_shuffle_labels_and_where_to_start(tmp_path, monkeypatch):
    told: dict[str, Any] = {}

    def train(data, bundle, *, seed=0, device="auto", shuffle_labels=False, backbone=None):
        told.update(seed=seed, device=device, shuffle_labels=shuffle_labels, backbone=backbone)

    offer(monkeypatch, train)
    weights = tmp_path / "resnet.safetensors"
    weights.write_bytes(b"")
    finished = run(tmp_path, "--seed", "3", "--shuffle-labels", "--backbone", str(weights))
    assert finished.exit_code == 0, finished.output
    assert told == {"seed": 3, "device": "auto", "shuffle_labels": True, "backbone": weights}


def test_a_training_without_these_options_is_called_as_ever(tmp_path, monkeypatch):
    told: dict[str, Any] = {}

    def train(data, bundle, *, seed=0, device="auto"):
        told.update(seed=seed, device=device)

    offer(monkeypatch, train)
    assert run(tmp_path, "--device", "cpu").exit_code == 0
    assert told == {"seed": 0, "device": "cpu"}


def test_an_option_that_a_training_does_not_know_is_wrong_use_and_nothing_is_trained(tmp_path, monkeypatch):
    def train(data, bundle, *, seed=0, device="auto"):
        pytest.fail("nothing may be trained")

    offer(monkeypatch, train)
    finished = run(tmp_path, "--shuffle-labels")
    assert finished.exit_code == 2
    assert "training of made_up has no --shuffle-labels" in finished.output
