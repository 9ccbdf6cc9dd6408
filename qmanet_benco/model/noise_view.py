"""MNFM, the Multi-domain Noise-sensitive Fusion Module: the high-frequency noise view X_noise (section 3.2).

SRM (Fridrich and Kodovsky 2012; the three kernels of Zhou et al. 2018), BayarConv (Bayar and Stamm 2018) and
NoisePrint++ (Guillaro et al. 2023), concatenated and fused by one convolution. All of it is computed in float32 from
the de-normalised image, whatever autocast says: residuals are differences of nearly equal numbers.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qmanet_benco.images import IMAGENET_MEAN, IMAGENET_STD
from qmanet_benco.model.libraries.timm_layers import trunc_normal_
from qmanet_benco.model.noiseprint import NoisePrintPP

GREY_LEVELS = 255.0
RESIDUAL_UNIT = 8.0
"""Grey levels that SRM and Bayar residuals are divided by: they enter the fusion at about unit scale (CHOICE)."""
SRM_TRUNCATION = 3.0
"""Bound of the SRM residual in residual units; strong edges would drown the noise (CHOICE; SRM truncates too)."""
NOISEPRINT_UNIT = 0.2
"""Standard deviation of NoisePrint++ on photos: its residual is divided by it (CHOICE)."""

# Zhou et al. 2018, figure 4; the divisors are theirs
SRM_KERNELS = (
    (4.0, ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))),
    (12.0, ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))),
    (2.0, ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))),
)


class Denormalise(nn.Module):
    """ImageNet-normalised image (... x 3 x H x W), as the framework's datasets give it -> RGB in [0, 1], float32."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return image.float() * self.deviation + self.mean


class SRM(nn.Module):
    """The three fixed kernels on the mean of the three colours; each kernel sums to zero."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = np.stack([np.array(rows, np.float32)[None] / np.float32(divisor) for divisor, rows in SRM_KERNELS])
        self.register_buffer("kernels", torch.tensor(kernels), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        """B x 3 x H x W in [0, 1] -> B x 3 x H x W, float32, in units of 8 grey levels, truncated to [-3, 3]."""
        with torch.autocast(rgb.device.type, enabled=False):
            grey = rgb.float().mean(dim=1, keepdim=True) * (GREY_LEVELS / RESIDUAL_UNIT)
            residual = F.conv2d(F.pad(grey, (2, 2, 2, 2), mode="replicate"), self.kernels)
            return residual.clamp(-SRM_TRUNCATION, SRM_TRUNCATION)


class BayarConv(nn.Module):
    """Constrained 5x5 convolution that predicts a pixel from its neighbours and returns the error.

    For each pair of output and input channel the centre is -1 and the other 24 weights sum to 1. The constraint is a
    parametrisation: the 24 free weights minus their mean plus 1/24, the nearest point that fulfils it. Dividing by the
    sum, as in the original, has a pole where the sum is zero; this has none.
    """

    TAPS = 24

    def __init__(self, in_channels: int = 3, out_channels: int = 3) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(out_channels, in_channels, self.TAPS))
        trunc_normal_(self.raw, std=1 / self.TAPS)

    def weight(self) -> Tensor:
        """The constrained kernels, out x in x 5 x 5."""
        raw = self.raw.float()
        taps = raw - raw.mean(dim=-1, keepdim=True) + 1 / self.TAPS
        centre = -torch.ones_like(taps[..., :1])
        half = self.TAPS // 2
        return torch.cat([taps[..., :half], centre, taps[..., half:]], dim=-1).unflatten(-1, (5, 5))

    def forward(self, rgb: Tensor) -> Tensor:
        """B x in x H x W in [0, 1] -> B x out x H x W in units of 8 grey levels."""
        padded = F.pad(rgb * (GREY_LEVELS / RESIDUAL_UNIT), (2, 2, 2, 2), mode="replicate")
        return F.conv2d(padded, self.weight()) / rgb.shape[1]


class NoiseView(nn.Module):
    """MNFM: image -> noise view.

    Args:
        sources: which of ``srm``, ``bayar``, ``noiseprint``; with none of them the fusion sees the image itself.
        residual_gain: factor of the SRM and Bayar residuals; see the configuration.
    """

    CHANNELS = {"srm": 3, "bayar": 3, "noiseprint": 1}  # noqa: RUF012

    def __init__(self, sources: tuple[str, ...], residual_gain: float = 1.0) -> None:
        super().__init__()
        self.sources = sources
        self.residual_gain = residual_gain
        self.denormalise = Denormalise()
        self.srm = SRM() if "srm" in sources else None
        self.bayar = BayarConv() if "bayar" in sources else None
        self.noiseprint = NoisePrintPP() if "noiseprint" in sources else None
        channels = sum(self.CHANNELS[source] for source in sources) or 3
        self.fusion = nn.Conv2d(channels, 3, 3, padding=1)  # CHOICE: one 3x3; the paper leaves the fusion open

    def forward(self, image: Tensor, srm: Tensor | None = None, noiseprint: Tensor | None = None) -> Tensor:
        """Compute the noise view.

        Args:
            image: B x 3 x H x W, ImageNet-normalised.
            srm: the image's :class:`SRM` residual, if the data loader has computed it already.
            noiseprint: the image's NoisePrint++ residual, B x 1 x H x W, if it is known already.

        Returns:
            B x 3 x H x W in float32.

        Raises:
            RequestError: NoisePrint++ is a source and has no weights.
        """
        with torch.autocast(image.device.type, enabled=False):
            rgb = self.denormalise(image)
            residuals = []
            if self.srm is not None:
                residuals.append(self._amplified(self.srm(rgb) if srm is None else srm.float()))
            if self.bayar is not None:
                residuals.append(self._amplified(self.bayar(rgb)))
            if self.noiseprint is not None:
                residual = self.noiseprint(rgb) if noiseprint is None else noiseprint.float()
                residuals.append(residual / NOISEPRINT_UNIT)
            return self.fusion(torch.cat(residuals, dim=1) if residuals else image.float())

    def _amplified(self, residual: Tensor) -> Tensor:
        """Faint noise made larger, strong edges bounded; unchanged where the gain is 1."""
        if self.residual_gain == 1:
            return residual
        return SRM_TRUNCATION * torch.tanh(self.residual_gain / SRM_TRUNCATION * residual)
