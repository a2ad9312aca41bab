"""The network: a small Transformer over a walk, with the gait parameters as one more token."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apps.gait_ataxia.features import COUNT, Features
from apps.gait_ataxia.parameters import NAMES

PATCH = 4
"""Samples that one token holds: 0.13 s, short beside a step."""
LONGEST = 128
"""Tokens: 17 s. What is longer is seen in windows."""
SARA_SCALE = 6.0
"""One unit of the network's output, a cohort's standard deviation."""
GAIT_SCALE = 1.6
VIEWS = ("frontal", "sagittal")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the Transformer is."""

    width: int = 64
    layers: int = 3
    heads: int = 4
    feed_forward: int = 128
    dropout: float = 0.15


class GaitTransformer(nn.Module):
    """Patches of the walk and the parameters in, SARA total and gait item out, in `SARA_SCALE` units."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.patch = nn.Linear(PATCH * COUNT, width)
        self.position = nn.Parameter(torch.randn(LONGEST, width) * 0.02)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.view = nn.Embedding(len(VIEWS), width)
        self.vector = nn.Sequential(
            nn.Linear(2 * len(NAMES), width), nn.GELU(), nn.Dropout(size.dropout), nn.Linear(width, width)
        )
        layer = nn.TransformerEncoderLayer(
            width,
            size.heads,
            size.feed_forward,
            size.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(2 * width)
        self.head = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(size.dropout), nn.Linear(width, 2)
        )

    def forward(
        self, patches: torch.Tensor, is_padding: torch.Tensor, vector: torch.Tensor, view: torch.Tensor
    ) -> torch.Tensor:
        """``(b, 2)``: SARA total and gait item, standardised.

        Args:
            patches: ``(b, token, PATCH * COUNT)``, standardised.
            is_padding: ``(b, token)``, True where there is nothing.
            vector: ``(b, 2 * parameters)``: standardised values, then 1 where one is missing.
            view: ``(b,)`` index of `VIEWS`.
        """
        tokens = self.patch(patches) + self.position[: patches.shape[1]]
        seen = self.view(view)[:, None]
        summary = (self.start + seen[:, 0])[:, None]
        measured = self.vector(vector)[:, None] + seen
        mask = torch.cat([is_padding.new_zeros(len(vector), 2), is_padding], dim=1)
        out = self.encoder(torch.cat([summary, measured, tokens], dim=1), src_key_padding_mask=mask)
        return self.head(self.norm(torch.cat([out[:, 0], out[:, 1]], dim=1)))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """Means and deviations of the training data, by which everything is divided.

    Args:
        sequence: ``(2, 129)``.
        vector: View to ``(2, parameter)``.
    """

    sequence: NDArray[np.float32]
    vector: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, features: list[Features]) -> Standard:
        """The standard of these walks."""
        stacked = np.concatenate([one.sequence for one in features[:600]])
        sequence = np.stack([stacked.mean(axis=0), stacked.std(axis=0) + 0.05])
        vector = {}
        for view in VIEWS:
            rows = np.array([one.vector for one in features if one.view == view] or [np.zeros(len(NAMES))])
            known = np.isfinite(rows)
            count = np.maximum(known.sum(axis=0), 1)
            mean = np.where(known, rows, 0).sum(axis=0) / count
            spread = np.sqrt(np.where(known, (rows - mean) ** 2, 0).sum(axis=0) / count) + 1e-3
            vector[view] = np.stack([mean, spread])
        return cls(
            sequence=sequence.astype(np.float32), vector={k: v.astype(np.float32) for k, v in vector.items()}
        )

    def patches(self, sequence: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(token, PATCH * COUNT)`` standardised."""
        whole = (len(sequence) // PATCH) * PATCH
        scaled = np.clip((sequence[:whole] - self.sequence[0]) / self.sequence[1], -5, 5)
        return np.asarray(scaled.reshape(-1, PATCH * COUNT), dtype=np.float32)

    def values(self, features: Features) -> NDArray[np.float32]:
        """``(2 * parameter,)``: standardised values, then 1 where one is missing."""
        mean, spread = self.vector[features.view]
        scaled = np.clip((features.vector - mean) / spread, -4, 4)
        missing = ~np.isfinite(scaled)
        return np.concatenate([np.where(missing, 0, scaled), missing]).astype(np.float32)

    def to_json_dict(self) -> dict[str, object]:
        """As it stands in the bundle."""
        return {"sequence": self.sequence.tolist(), "vector": {k: v.tolist() for k, v in self.vector.items()}}

    @classmethod
    def from_json_dict(cls, raw: dict[str, object]) -> Standard:
        """The inverse of `to_json_dict`."""
        vectors = raw["vector"]
        assert isinstance(vectors, dict)  # noqa: S101 - written by to_json_dict
        return cls(
            sequence=np.array(raw["sequence"], np.float32),
            vector={view: np.array(v, np.float32) for view, v in vectors.items()},
        )


def batch_of(
    items: list[tuple[NDArray[np.float32], NDArray[np.float32], str]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Patches, padding, vectors and views of walks, for `GaitTransformer.forward`."""
    longest = max(len(patches) for patches, _, _ in items)
    patches = torch.zeros(len(items), longest, PATCH * COUNT)
    is_padding = torch.ones(len(items), longest, dtype=torch.bool)
    for row, (one, _, _) in enumerate(items):
        patches[row, : len(one)] = torch.from_numpy(one)
        is_padding[row, : len(one)] = False
    vector = torch.from_numpy(np.stack([one for _, one, _ in items]))
    view = torch.tensor([VIEWS.index(name) for _, _, name in items])
    return patches, is_padding, vector, view


def windows(patches: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Stretches of at most `LONGEST` tokens that cover a walk, half overlapping."""
    if len(patches) <= LONGEST:
        return [patches]
    starts = [*range(0, len(patches) - LONGEST, LONGEST // 2), len(patches) - LONGEST]
    return [patches[start : start + LONGEST] for start in starts]


def size_of(raw: dict[str, object]) -> Size:
    """The size that inference.json declares."""
    return Size(**{name: raw[name] for name in asdict(Size()) if name in raw})  # type: ignore[arg-type]
