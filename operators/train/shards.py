"""A training loop for networks that know no running statistics: batches in shards, one thread each.

Every thread draws its part of the batch and computes its gradient with one core; gradients are
added in a fixed order. So a seed gives the same weights bit for bit on one kind of machine,
however busy it is, and no core waits for another within a layer. On a GPU the shards follow one
another, and weights are the same within rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from rich.progress import Progress
from torch import nn

from operators.train.loop import Schedule, average, cycle

CPU = torch.device("cpu")
LossOf = Callable[[nn.Module, int, int], torch.Tensor]
"""Network, step and shard to the loss of the samples that these two decide."""


def train_in_shards(
    network: nn.Module,
    loss_of: LossOf,
    schedule: Schedule,
    *,
    shards: int,
    title: str,
    progress: Progress,
    device: torch.device = CPU,
) -> nn.Module:
    """The network with its averaged weights after the schedule.

    Args:
        network: Trained in place; a copy with averaged weights comes back.
        loss_of: Draws samples and gives their mean loss; all randomness must come of its numbers.
        schedule: `Schedule.minutes` is not heeded: the steps alone decide.
        shards: Parts of a batch, each computed by a thread of its own.
        title: Shown beside the bar.
        progress: Where the bar is shown.
        device: To train on; `loss_of` finds the network there.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network.to(device).train()
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=schedule.learning_rate, weight_decay=1e-4)
    bar = progress.add_task(title, total=schedule.steps, loss=float("nan"))
    smooth: float | None = None

    def gradient(step: int, shard: int) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = loss_of(network, step, shard)
        return float(loss.detach()), torch.autograd.grad(loss, learned)

    at_once = shards if device.type == "cpu" else 1
    try:
        with ThreadPoolExecutor(at_once) as pool:
            for step in range(schedule.steps):
                for group in optimiser.param_groups:
                    group["lr"] = schedule.learning_rate * cycle(step / schedule.steps)
                found = list(pool.map(gradient, [step] * shards, range(shards)))
                for parameter, parts in zip(learned, zip(*(g for _, g in found), strict=True), strict=True):
                    parameter.grad = torch.stack(parts).mean(dim=0)
                nn.utils.clip_grad_norm_(learned, 5.0)
                optimiser.step()
                average(averaged, network, min(schedule.averaging, (step + 1) / (step + 10)))
                loss = sum(value for value, _ in found) / shards
                smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
                progress.update(bar, completed=step + 1, loss=smooth)
    finally:
        torch.set_num_threads(threads)
    return averaged
