"""A model folder: a MONAI bundle whose weights are safetensors and whose settings are data.

``configs/metadata.json`` says what the model is, ``configs/inference.json`` which networks
it has, ``models/*.safetensors`` are their weights. Nothing is unpickled and nothing in a
configuration is evaluated: a network is one of `NETWORKS` with literal arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.basic_unet import BasicUNet
from monai.networks.nets.densenet import DenseNet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.efficientnet import EfficientNetBN
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from operators.errors import BrokenBundle
from operators.infer.bayesian_unet import BayesianUNet
from operators.select.digests import file_digest

NETWORKS: dict[str, type[nn.Module]] = {
    f"monai.networks.nets.{network.__name__}": network
    for network in (BasicUNet, DenseNet, DynUNet, EfficientNetBN, ResNet, SegResNet, UNet)
} | {"operators.infer.bayesian_unet.BayesianUNet": BayesianUNet}
"""What ``_target_`` of a network in inference.json may name."""

DISTRIBUTIONS = {"monai": "monai", "pytorch": "torch", "numpy": "numpy", "xgboost": "xgboost"}
"""What metadata.json calls a library, and its package."""
LIBRARIES = ("monai", "pytorch", "numpy")
"""Of a network."""


def load_metadata(bundle: Path) -> dict[str, Any]:
    """The bundle's metadata.json.

    Raises:
        BrokenBundle: It is missing or not JSON.
    """
    return _read_json(bundle / "configs" / "metadata.json")


def choose_device(wanted: str) -> torch.device:
    """The device to compute on: ``auto`` is CUDA where there is one, else the CPU.

    >>> choose_device("cpu").type
    'cpu'
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def load_network(bundle: Path, name: str, device: torch.device) -> nn.Module:
    """A network of the bundle with its weights, in evaluation mode; cached in the process.

    The cache follows the content of the files: a bundle that has been trained again is read again.

    Raises:
        BrokenBundle: The network is not declared, not allowed, or its weights do not fit.
    """
    files = (bundle / "configs" / "inference.json", _weights(bundle, name))
    content = tuple(file_digest(path) if path.is_file() else "" for path in files)
    return _cached_network(bundle.resolve(), name, str(device), content)


@lru_cache(maxsize=32)
def _cached_network(bundle: Path, name: str, device: str, _content: tuple[str, ...]) -> nn.Module:
    network = build_network(inference_settings(bundle), name)
    weights = _weights(bundle, name)
    try:
        state = {
            key: value.float() if value.is_floating_point() else value
            for key, value in load_file(weights).items()
        }
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as broken:
        raise BrokenBundle(f"{weights.name} does not hold the weights of {name}: {broken}") from broken
    return network.to(device).eval()


def _weights(bundle: Path, name: str) -> Path:
    return bundle / "models" / f"{name}.safetensors"


def inference_settings(bundle: Path) -> dict[str, Any]:
    """The bundle's inference.json.

    Raises:
        BrokenBundle: It is missing or not JSON.
    """
    return _read_json(bundle / "configs" / "inference.json")


def build_network(settings: dict[str, Any], name: str) -> nn.Module:
    """An untrained network as declared under ``networks`` in inference.json.

    Raises:
        BrokenBundle: It is not declared or not one of `NETWORKS`.
    """
    declared = dict(settings.get("networks", {}).get(name) or {})
    target = str(declared.pop("_target_", ""))
    if target not in NETWORKS:
        raise BrokenBundle(f"network {name!r} is {target or 'not declared'}; allowed: {', '.join(NETWORKS)}")
    return NETWORKS[target](**declared)


def save_weights(network: nn.Module, bundle: Path, name: str) -> None:
    """Writes a network's weights into the bundle, floats in half precision to keep it small."""
    state = {
        key: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    (bundle / "models").mkdir(parents=True, exist_ok=True)
    save_file(state, _weights(bundle, name))


def update_inference(bundle: Path, settings: Mapping[str, Any]) -> None:
    """Adds settings to the bundle's inference.json; groups that are in both are joined by name.

    A bundle of several models grows so: each writes the networks that it has learned.

    Raises:
        BrokenBundle: There is an inference.json that cannot be read.
    """
    path = bundle / "configs" / "inference.json"
    held = _read_json(path) if path.is_file() else {}
    for key, value in settings.items():
        earlier = held.get(key)
        both = isinstance(earlier, dict) and isinstance(value, Mapping)
        held[key] = dict(earlier or {}) | dict(value) if both else value
    write_configuration(bundle, "inference", held)


def write_configuration(
    bundle: Path, name: str, content: Mapping[str, Any], *, indent: int | None = 2
) -> None:
    """Writes one of the bundle's JSON files.

    Args:
        bundle: Made when missing.
        name: ``inference``, ``metadata``, or what else the app keeps there.
        content: Of the file.
        indent: None writes one line, for long lists of numbers.
    """
    configs = bundle / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    (configs / f"{name}.json").write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")


def described_model(
    *,
    app: str,
    task: str,
    description: str,
    data_source: str,
    data_type: str,
    training: Mapping[str, Any],
    libraries: Sequence[str] = LIBRARIES,
) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification; without the network's format.

    Args:
        app: Its name.
        task: What the model does.
        description: How.
        data_source: What it was trained on.
        data_type: Modality.
        training: What a reader may want to know of it; ``kind`` is what results say.
        libraries: Whose versions are told, see `DISTRIBUTIONS`.

    >>> said = described_model(app="a", task="t", description="d", data_source="phantoms", data_type="CT",
    ...                        training={"kind": "synthetic"}, libraries=("numpy",))
    >>> said["name"], sorted(key for key in said if key.endswith("_version"))
    ('a', ['numpy_version'])
    """
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "first weights"},
        **{f"{name}_version": version(DISTRIBUTIONS[name]).partition("+")[0] for name in libraries},
        "name": app,
        "task": task,
        "description": description,
        "authors": "dicom-node contributors",
        "copyright": "Apache-2.0",
        "data_source": data_source,
        "data_type": data_type,
        "intended_use": "Research use only. Not for diagnosis.",
        "training": dict(training),
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        raise BrokenBundle(f"{path} cannot be read: {broken}") from broken
    if not isinstance(content, dict):
        raise BrokenBundle(f"{path} does not hold an object")
    return content
