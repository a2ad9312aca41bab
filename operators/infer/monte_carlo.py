"""Many stochastic passes over the slices of a volume: mean probabilities, their spread, every pass's label.

Slabs of slices are independent of one another, because a pass is the same network for all of
them; so each core takes slabs of its own, and results do not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from operators.infer.bayesian_unet import BayesianUNet, Features

DrawImages = Callable[[range], torch.Tensor]
"""Slices to images ``(b, c, y, x)`` float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Passes:
    """What stochastic passes over a volume found.

    Args:
        mean_zcyx: ``(z, classes, y, x)`` float16, 0..1, probabilities averaged over passes.
        variance_zyx: ``(z, y, x)`` float32, variance of the probabilities over passes, averaged over
            classes; unbiased, so that its expectation does not depend on the number of passes.
        labels_tzyx: ``(passes, z, y, x)`` uint8, the most likely class of each pass.
    """

    mean_zcyx: NDArray[np.float16]
    variance_zyx: NDArray[np.float32]
    labels_tzyx: NDArray[np.uint8]


def draws_of(network: BayesianUNet, passes: int, device: torch.device) -> list[Features]:
    """The same draws of the network for each volume: reports can be repeated."""
    source = torch.Generator().manual_seed(0)
    return [network.draw(1, generator=source, device=device) for _ in range(passes)]


def run_passes(
    network: BayesianUNet,
    images_of: DrawImages,
    *,
    slices: int,
    shape_yx: tuple[int, int],
    passes: int,
    device: torch.device,
    slab: int,
    done: Callable[[float], None],
) -> Passes:
    """All slices through the passes; every other pass sees the mirror image.

    Args:
        network: In evaluation mode, on `device`.
        images_of: Gives the images of slices, padded as the network needs.
        slices: How many there are.
        shape_yx: Of the slices without the padding.
        passes: At least 1.
        device: Of the network.
        slab: Slices computed together.
        done: Told the share of slices done after each slab.
    """
    classes = network.final_conv.out_channels
    mean = np.empty((slices, classes, *shape_yx), dtype=np.float16)
    variance = np.empty((slices, *shape_yx), dtype=np.float32)
    labels = np.empty((passes, slices, *shape_yx), dtype=np.uint8)
    draws = draws_of(network, passes, device)
    rows, columns = shape_yx

    def compute(part: range) -> range:
        with torch.inference_mode():
            images = images_of(part).to(device)
            encoded = [network.encode(images), network.encode(images.flip(-1)) if passes > 1 else None]
            total = torch.zeros(len(part), classes, *images.shape[2:], device=device)
            squares = torch.zeros_like(total)
            for number, keep in enumerate(draws):
                features = encoded[number % 2]
                if features is None:
                    raise AssertionError("the mirror image was not encoded")
                found = torch.softmax(network.decode(features, keep).float(), dim=1)
                found = found.flip(-1) if number % 2 else found
                total += found
                squares.addcmul_(found, found)
                best = found.argmax(dim=1)[:, :rows, :columns]
                labels[number, part.start : part.stop] = best.to(torch.uint8).cpu().numpy()
            total /= passes
            spread = ((squares - passes * total**2) / max(passes - 1, 1)).clamp(min=0).mean(dim=1)
            mean[part.start : part.stop] = total[:, :, :rows, :columns].half().cpu().numpy()
            variance[part.start : part.stop] = spread[:, :rows, :columns].cpu().numpy()
        return part

    parts = [range(start, min(start + slab, slices)) for start in range(0, slices, slab)]
    for finished, _ in enumerate(on_cores(compute, parts, device), start=1):
        done(finished / len(parts))
    return Passes(mean_zcyx=mean, variance_zyx=variance, labels_tzyx=labels)


def on_cores(work: Callable[[range], range], parts: list[range], device: torch.device) -> Iterator[range]:
    """Work on parts, one core for each at a time on the CPU; yields the parts in order as they are done.

    Whole cores for whole parts need no waiting within a layer, which costs most where other
    programs want the cores too.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield from map(work, parts)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(work, parts)
    finally:
        torch.set_num_threads(threads)
