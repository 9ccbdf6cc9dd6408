"""Corrected baselines under names of their own; the stock ones stay what the published tables compare with.

Whether a correction helps is a question for a training run; that the stock input is not what the authors' networks
were designed for is a fact of the framework's source (see the footnotes in :mod:`~qmanet_benco.benco.zoo.baselines`).
"""

from typing import Any

import numpy as np
import torch
from IMDLBenCo.model_zoo.cat_net.cat_net import Cat_Net
from IMDLBenCo.model_zoo.trufor.trufor import Trufor
from IMDLBenCo.registry import MODELS, POSTFUNCS
from numpy.typing import NDArray
from scipy.fft import dctn
from torch import Tensor, nn

from qmanet_benco.images import IMAGENET_MEAN, IMAGENET_STD
from qmanet_benco.model.noiseprint import INPUT_SCALE

LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601, as JFIF prescribes."""
BLOCK = 8


def rgb_of(image: Tensor) -> Tensor:
    """Turn ``... x 3 x H x W``, normalised as the framework does, back to RGB in [0, 1]."""
    mean, deviation = (image.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return image * deviation + mean


@MODELS.register_module(force=True)  # importing twice changes nothing
class Cat_Net_RealDCT(Cat_Net):  # noqa: N801 - beside the framework's Cat_Net
    """CAT-Net whose two streams see the image: RGB in [0, 255], and DCT coefficients of its own pixels.

    Args:
        cfg_file: the network's configuration, as for Cat_Net
    """

    def __init__(self, cfg_file: str) -> None:
        super().__init__(cfg_file)

    def forward_features(self, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the stock features of the image as 8 bit RGB, B x 3 x H x W, as its next line expects."""
        return super().forward_features((rgb_of(image) * 255).round().clamp(0, 255), *args, **kwargs)


@POSTFUNCS.register_module(force=True)
def cat_net_realdct_post_func(data_dict: dict[str, Any]) -> None:
    """Add ``DCT_coef`` (H x W) and ``qtables`` (8 x 8) of the sample's own pixels as a JPEG of quality 100."""
    data_dict["DCT_coef"] = luma_coefficients((rgb_of(data_dict["image"]) * 255).round().clamp(0, 255).numpy())
    data_dict["qtables"] = np.ones((BLOCK, BLOCK))


def luma_coefficients(rgb: NDArray[np.float32]) -> NDArray[np.float64]:
    """Quantized DCT coefficients of the luma at JPEG quality 100, whose quantization table is all ones.

    Args:
        rgb: 3 x H x W in 0..255; H and W are multiples of 8.

    Returns:
        H x W whole numbers, each 8 x 8 block's coefficients in the block's place.
    """
    luma = np.rint(np.einsum("c,chw->hw", LUMA, rgb)) - 128
    height, width = luma.shape
    blocks = luma.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return np.rint(dctn(blocks, axes=(1, 3), norm="ortho")).reshape(height, width)


@MODELS.register_module(force=True)
class Trufor_RGB(Trufor):  # noqa: N801 - beside the framework's Trufor
    """TruFor whose NoisePrint++ gets RGB / 256 and stays frozen, and whose image is normalised once.

    Args:
        phase: 2 trains the localization, 3 confidence and detection
        np_pretrain_weights: NoisePrint++ weights: a file, a name of `qmanet weights list`, or random
        mit_b2_pretrain_weights: the encoder's weights: likewise
        config_path: the network's configuration
        det_resume_ckpt: for phase 3, a checkpoint of phase 2
    """

    def __init__(
        self,
        phase: int = 2,
        np_pretrain_weights: str = "noiseprint++",
        mit_b2_pretrain_weights: str = "mit_b2",
        config_path: str = "",
        det_resume_ckpt: str = "",
    ) -> None:
        super().__init__(phase, np_pretrain_weights, mit_b2_pretrain_weights, config_path, det_resume_ckpt)
        self.model.dncnn.register_forward_pre_hook(_as_trained)

    def forward(self, image: Tensor, mask: Tensor, label: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the stock forward on RGB in [0, 1], B x 3 x H x W, which the network normalises itself."""
        return super().forward(rgb_of(image), mask, label, *args, **kwargs)

    def train(self, mode: bool = True) -> "Trufor_RGB":
        """Training mode for all but the frozen NoisePrint++, whose BatchNorm statistics must not move."""
        super().train(mode)
        self.model.dncnn.eval()
        return self


def _as_trained(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Turn RGB in [0, 1] into the RGB / 256 that NoisePrint++ was trained on."""
    return (torch.clamp(inputs[0], 0, 1) * INPUT_SCALE,)
