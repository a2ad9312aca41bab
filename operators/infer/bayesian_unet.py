"""A U-Net whose dropout stays on: every pass is one network drawn from the distribution learned.

Monte Carlo dropout (Gal and Ghahramani 2016) as in Hiasa et al., IEEE TMI 2020;39:1030-1040. Whole
channels are dropped, and only from the third level down, so the costly upper half of the encoder
is computed once for all passes; one draw holds for a whole volume, so a pass is one network
that sees all slices, and slabs of a volume fit together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.basic_unet import BasicUNet

Features = tuple[torch.Tensor, ...]
"""What the encoder hands to the decoder, finest first."""


class BayesianUNet(BasicUNet):
    """MONAI's `BasicUNet` in 2-D with dropout of channels below the second level.

    Args:
        in_channels: Of the input.
        out_channels: Classes, background included.
        features: Six numbers as `BasicUNet` takes them.
        channel_dropout: Share of channels that a pass leaves out.
    """

    def __init__(
        self, in_channels: int, out_channels: int, features: Sequence[int], channel_dropout: float = 0.3
    ) -> None:
        super().__init__(
            spatial_dims=2, in_channels=in_channels, out_channels=out_channels, features=list(features)
        )
        self.channel_dropout = channel_dropout
        self.dropped_channels = (features[3], features[4], features[3], features[2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(b, classes, y, x)`` of images ``(b, c, y, x)``; in training another draw for each."""
        keep = self.draw(len(x), device=x.device) if self.training else None
        return self.decode(self.encode(x), keep)

    def draw(
        self, count: int, *, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> Features:
        """Which channels stay: for each place of dropout ``(count, channels, 1, 1)``, 0 or 1 / (1 - p)."""
        stay = 1 - self.channel_dropout
        return tuple(
            (torch.rand(count, n, 1, 1, generator=generator) < stay).to(device=device, dtype=torch.float32)
            / stay
            for n in self.dropped_channels
        )

    def encode(self, x: torch.Tensor) -> Features:
        """All that does not depend on the draw: four levels, finest first."""
        x0 = self.conv_0(x)
        x1 = self.down_1(x0)
        x2 = self.down_2(x1)
        return x0, x1, x2, self.down_3(x2)

    def decode(self, features: Features, keep: Features | None) -> torch.Tensor:
        """Scores of encoded images with the channels of a draw; None keeps all."""
        x0, x1, x2, x3 = features
        if keep is None:
            u3 = self.upcat_3(self.upcat_4(self.down_4(x3), x3), x2)
        else:
            x3 = x3 * keep[0].to(x3.dtype)
            x4 = self.down_4(x3) * keep[1].to(x3.dtype)
            u4 = self.upcat_4(x4, x3) * keep[2].to(x3.dtype)
            u3 = self.upcat_3(u4, x2) * keep[3].to(x3.dtype)
        u1 = self.upcat_1(self.upcat_2(u3, x1), x0)
        scores: torch.Tensor = self.final_conv(u1)
        return scores
