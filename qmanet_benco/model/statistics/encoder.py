"""What a small U-Net makes of the statistics of an image's blocks, seen absolutely and relative to their image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.model.libraries.timm_layers import LayerNorm2d
from qmanet_benco.model.statistics.measured import ImageStatistics, mirrored, transposed

ORIENTATIONS = 8
"""Of a picture: the symmetries of a square."""


class StatisticsEncoder(nn.Module):
    """A U-Net of three levels on the blocks' statistics.

    Args:
        width: channels at one token per block; the two coarser levels have twice as many.
        noise_channels: channels of the noise branch at stride 8.
    """

    def __init__(self, width: int, noise_channels: int) -> None:
        super().__init__()
        self.measured = ImageStatistics()
        self.stem = nn.Conv2d(ImageStatistics.CHANNELS + ImageStatistics.COMPARED, width, 1)
        self.fine = nn.Sequential(RelativeBlock(width), RelativeBlock(width))
        self.to_middle = nn.Conv2d(width, 2 * width, 2, 2)
        self.middle = nn.Sequential(RelativeBlock(2 * width), RelativeBlock(2 * width))
        self.to_coarse = nn.Conv2d(2 * width, 2 * width, 2, 2)
        self.coarse = nn.Sequential(RelativeBlock(2 * width), RelativeBlock(2 * width))
        self.from_coarse = nn.Conv2d(4 * width, 2 * width, 1)
        self.middle_again = RelativeBlock(2 * width)
        self.from_middle = nn.Conv2d(3 * width, width, 1)
        self.fine_again = RelativeBlock(width)
        self.norm = LayerNorm2d(width)
        self.head = nn.Conv2d(width, 1, 1)
        self.to_noise = nn.Conv2d(width, noise_channels, 1)
        _silence(self.to_noise)  # a trained noise branch is not disturbed

    def forward(self, image: Tensor) -> Tensor:
        """The image B x 3 x H x W, ImageNet-normalised -> features B x width x ceil(H / 8) x ceil(W / 8)."""
        return self.encode(self.measured(image))

    def encode(self, statistics: Tensor) -> Tensor:
        """Statistics B x 175 x h x w -> features B x width x h x w."""
        relative = _relative(statistics[:, : ImageStatistics.COMPARED])
        fine = self.fine(self.stem(torch.cat([relative, statistics], dim=1)))
        middle = self.middle(self.to_middle(_even(fine)))
        coarse = self.coarse(self.to_coarse(_even(middle)))
        middle = self.middle_again(self.from_coarse(torch.cat([middle, _enlarged(coarse, middle)], dim=1)))
        return self.norm(self.fine_again(self.from_middle(torch.cat([fine, _enlarged(middle, fine)], dim=1))))

    def logits(self, statistics: Tensor, features: Tensor) -> Tensor:
        """Says by itself where was tampered, B x 1 x h x w; outside of training as the mean over eight orientations.

        Args:
            statistics: B x 175 x h x w.
            features: what :meth:`encode` made of them.
        """
        answers = [self.head(features)]
        turned = statistics
        for turns in range(0 if self.training else ORIENTATIONS - 1):  # by turns mirrored and transposed
            turned = transposed(turned) if turns % 2 else mirrored(turned)
            answer = self.head(self.encode(turned))
            for turn in reversed(range(turns + 1)):
                answer = answer.transpose(2, 3) if turn % 2 else answer.flip(3)
            answers.append(answer)
        return torch.stack(answers).mean(0)


class RelativeBlock(nn.Module):
    """A residual 3 x 3 convolution whose result is seen absolutely and relative to its image.

    Args:
        channels: width; the shape B x C x h x w is kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.projection = nn.Conv2d(2 * channels, channels, 1)
        _silence(self.projection)

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.relu(self.convolution(self.norm(features)))
        return features + self.projection(torch.cat([hidden, _relative(hidden)], dim=1))


def _relative(features: Tensor) -> Tensor:
    """Each channel with the mean 0 and the variance 1 over its image; torch's own cannot be exported to ONNX here."""
    centred = features - features.mean((2, 3), keepdim=True)
    return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def _silence(layer: nn.Module) -> None:
    for tensor in layer.parameters():
        nn.init.zeros_(tensor)


def _even(features: Tensor) -> Tensor:
    return F.pad(features, (0, features.shape[3] % 2, 0, features.shape[2] % 2), mode="replicate")


def _enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, scale_factor=2, mode="nearest")[..., : fine.shape[2], : fine.shape[3]]
