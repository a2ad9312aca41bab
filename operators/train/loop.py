"""One loop for networks of any kind: AdamW, one cycle, averaged weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from monai.losses.dice import DiceCELoss
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images ``(b, c, [z,] y, x)`` float32 and what is to be learned of them, such as labels
``(b, z, y, x)`` int64."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Scores float32 and what was to be learned to the loss."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a network learns.

    Args:
        steps: Optimiser steps.
        minutes: The loop ends early, its learning rate already low, when this much time has
            passed; None leaves the steps alone, which alone is reproducible.
        learning_rate: Highest of the cycle.
        averaging: Decay of the running mean of the weights, which is what is kept.
        weight_decay: Of AdamW.
    """

    steps: int
    minutes: float | None = None
    learning_rate: float = 2e-3
    averaging: float = 0.997
    weight_decay: float = 1e-4


def train_network(
    network: nn.Module,
    draw: Callable[[int], Batch],
    schedule: Schedule,
    device: torch.device,
    *,
    title: str,
    progress: Progress,
    loss_of: Loss | None = None,
) -> nn.Module:
    """The network with its averaged weights after the schedule.

    Args:
        network: Trained in place; a copy with averaged weights comes back.
        draw: Step number to a batch; decides everything random, so that a seed decides it.
        schedule: See there.
        device: To train on; bfloat16 is used for speed, the weights stay float32.
        title: Shown beside the bar.
        progress: Where the bar is shown.
        loss_of: Cross entropy and Dice of a segmentation where none is given.
    """
    network.to(device).train()
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    loss_of = loss_of or segmentation_loss()
    bar = progress.add_task(title, total=schedule.steps, loss=float("nan"))
    started, smooth = time.monotonic(), None
    for step, (images, wanted) in enumerate(drawn_ahead(draw, schedule.steps)):
        done = max(step / schedule.steps, _time_done(schedule, started))
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate * cycle(done)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            scores = network(images.to(device))
        loss = loss_of(scores.float(), wanted.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        average(averaged, network, min(schedule.averaging, (step + 1) / (step + 10)))
        smooth = float(loss.detach()) if smooth is None else 0.98 * smooth + 0.02 * float(loss.detach())
        progress.update(bar, completed=step + 1, loss=smooth)
    return averaged


def segmentation_loss() -> Loss:
    """Cross entropy and Dice of scores ``(b, classes, z, y, x)`` and labels ``(b, z, y, x)``."""
    both = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)

    def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = both(scores, labels[:, None])
        return found

    return loss


def in_channels_last(network: nn.Module) -> nn.Module:
    """A 2-D network with its weights in the order in which convolutions are fastest on a CPU."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def drawn_ahead(draw: Callable[[int], Batch], steps: int) -> Iterator[Batch]:
    """Batches in order, the next one drawn in a thread while the last one is learned from."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(draw, 0)
        for step in range(steps):
            batch = coming.result()
            if step + 1 < steps:
                coming = thread.submit(draw, step + 1)
            yield batch


def cycle(done: float) -> float:
    """Learning rate against its highest: warms up over 3 %, then a half cosine down to 0.

    >>> round(cycle(0.03), 3), round(cycle(1.0), 3)
    (1.0, 0.0)
    """
    warm = 0.03
    if done < warm:
        return max(done / warm, 0.02)
    return 0.5 * (1 + float(torch.cos(torch.tensor((done - warm) / (1 - warm) * torch.pi))))


def bars() -> Progress:
    """The progress display of a training."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        console=Console(stderr=True),
    )


def _time_done(schedule: Schedule, started: float) -> float:
    if schedule.minutes is None:
        return 0.0
    return (time.monotonic() - started) / (60 * schedule.minutes)


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the network's by ``1 - decay``; buffers are copied."""
    for kept, new in zip(averaged.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for held, fresh in zip(averaged.buffers(), network.buffers(), strict=True):
        held.copy_(fresh)
