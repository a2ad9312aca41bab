"""Model bundles: digests, and weights that are never unpickled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from apps.mibg_spect.train import inference_configuration
from operators.bundle import build_network, choose_device, load_network, save_weights
from operators.errors import BrokenBundle
from operators.select.digests import bundle_digest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    settings = {
        "networks": {
            "small": {
                "_target_": "monai.networks.nets.UNet",
                "spatial_dims": 3,
                "in_channels": 1,
                "out_channels": 2,
                "channels": [2, 4],
                "strides": [2],
            }
        }
    }
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(settings))
    save_weights(build_network(settings, "small"), tmp_path, "small")
    return tmp_path


def test_a_saved_network_computes_the_same_again(bundle: Path) -> None:
    network = load_network(bundle, "small", choose_device("cpu"))
    again = load_network(bundle, "small", choose_device("cpu"))
    assert network is again, "warm: the network stays in the process"
    assert not network.training


def test_the_digest_follows_every_file(bundle: Path) -> None:
    before = bundle_digest(bundle)
    assert before.startswith("sha256:")
    assert bundle_digest(bundle) == before
    settings = bundle / "configs" / "inference.json"
    settings.write_text(settings.read_text() + " ")
    assert bundle_digest(bundle) != before


def test_a_pickle_is_not_loaded(bundle: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, bundle / "models" / "small.safetensors")
    with pytest.raises(BrokenBundle, match="does not hold the weights"):
        load_network(bundle, "small", choose_device("cpu"))


@pytest.mark.parametrize("target", ["os.system", "torch.load", ""])
def test_a_configuration_cannot_name_other_code(target: str) -> None:
    with pytest.raises(BrokenBundle, match="allowed"):
        build_network({"networks": {"evil": {"_target_": target}}}, "evil")


def test_a_folder_without_configuration_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match=r"inference\.json"):
        load_network(tmp_path, "organs", torch.device("cpu"))


def test_both_networks_of_mibg_spect_can_be_built() -> None:
    settings = inference_configuration()
    assert settings["networks"]["heart"]["in_channels"] == 5
    networks = [build_network(settings, name) for name in ("organs", "heart")]
    size = sum(parameter.numel() for network in networks for parameter in network.parameters())
    assert size * 2 < 6e6, "half-precision weights stay below 6 MB"
