"""Weights learned elsewhere as the beginning of a training: a safetensors file of a site's own.

A ResNet's file, in the names of torchvision or MONAI, decides the size of the network too, so that
weights of natural images can be used. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

LEAST_SHARE = 0.5
"""Of a network's numbers that a file has to hold; with fewer it is of something else."""
STAGES = 4


def read_backbone(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name, float32.

    Raises:
        ValueError: It cannot be read as safetensors.
    """
    try:
        held = load_file(path)
    except (OSError, SafetensorError) as broken:
        raise ValueError(f"{path} cannot be read as safetensors: {broken}") from broken
    return {name: value.float() if value.is_floating_point() else value for name, value in held.items()}


def resnet_sizes(state: dict[str, torch.Tensor]) -> dict[str, Any] | None:
    """Arguments of MONAI's ResNet that fit a file, or None where the file is of another network.

    >>> resnet_sizes({"features.0.weight": torch.zeros(1)}) is None
    True
    """
    first = [state.get(f"layer{stage}.0.conv1.weight") for stage in range(1, STAGES + 1)]
    entry = state.get("conv1.weight")
    if entry is None or any(weight is None for weight in first):
        return None
    blocks = [
        len({name.split(".")[1] for name in state if name.startswith(f"layer{stage}.")})
        for stage in range(1, STAGES + 1)
    ]
    return {
        "block": "bottleneck" if "layer1.0.conv3.weight" in state else "basic",
        "layers": blocks,
        "block_inplanes": [int(weight.shape[0]) for weight in first if weight is not None],
        "conv1_t_size": int(entry.shape[-1]),
    }


def load_backbone(network: nn.Module, state: dict[str, torch.Tensor]) -> float:
    """Puts what fits by name and shape into a network; the share of its numbers that did.

    The first convolution may be of another number of channels: each then gets the mean over the
    file's, in the strength that keeps sums, as is usual for grey images.

    Raises:
        ValueError: Less than `LEAST_SHARE` fits.
    """
    wanted = network.state_dict()
    fitting: dict[str, torch.Tensor] = {}
    for name, weight in wanted.items():
        offered = state.get(name)
        if offered is None:
            continue
        if offered.shape == weight.shape:
            fitting[name] = offered
        elif _differs_in_channels_only(offered, weight):
            mean = offered.mean(dim=1, keepdim=True) * offered.shape[1] / weight.shape[1]
            fitting[name] = mean.expand_as(weight).clone()
    held = sum(int(value.numel()) for value in wanted.values())
    share = sum(int(value.numel()) for value in fitting.values()) / held
    if share < LEAST_SHARE:
        raise ValueError(
            f"only {share:.0%} of the network's weights are in the backbone's file by name and shape; "
            f"the network has {_named(wanted)}; the file has {_named(state)}"
        )
    network.load_state_dict(wanted | fitting)
    return share


def _differs_in_channels_only(offered: torch.Tensor, weight: torch.Tensor) -> bool:
    if not offered.ndim == weight.ndim == 4 or 3 not in (offered.shape[1], weight.shape[1]):
        return False
    return tuple(offered.shape[:1] + offered.shape[2:]) == tuple(weight.shape[:1] + weight.shape[2:])


def _named(state: dict[str, torch.Tensor]) -> str:
    """The first names with their shapes, for a person who looks for the difference."""
    shown = [f"{name} {tuple(value.shape)}" for name, value in sorted(state.items())][:3]
    return ", ".join(shown) + (", ..." if len(state) > len(shown) else "")
