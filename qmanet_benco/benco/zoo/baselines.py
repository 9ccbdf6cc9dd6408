"""The baselines of the paper's comparison, one row of data each; :mod:`~qmanet_benco.benco.zoo.build` builds them.

Footnotes say what the framework's version of a method does differently from what its authors published, or what makes
a comparison with it unfair. Each was read in the framework's source (file and line are those of IMDL-BenCo 0.1.45).
The framework's recipes are those of its own ``demo_train_*.sh``; the paper trained all of them for 150 epochs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from qmanet_benco.errors import RequestError


@dataclass(frozen=True)
class Weights:
    """Pretrained weights that a fresh training wants."""

    flag: str
    """The flag that takes them; empty: the constructor fetches them itself."""
    what: str
    where: str


@dataclass(frozen=True)
class Baseline:
    """One model beside QMA-Net."""

    name: str
    """Under which it is registered with the framework."""
    row: str
    """Its row in the paper's tables; empty: it has none."""
    paper: str
    fresh: Mapping[str, object] = field(default_factory=dict)
    """Flags of a random start. A value ``stock:NAME`` is the framework's own configuration file NAME."""
    training: Mapping[str, object] = field(default_factory=dict)
    """Flags of a training, where they differ from ``fresh``."""
    size_flag: str = ""
    """Flag that must be the image size."""
    edge_width: int | None = None
    """Width of the edge mask (``--edge_mask_width``) that its ``forward`` needs."""
    script_flags: tuple[str, ...] = ()
    """Flags of the training script, beyond those that all share, from the framework's own script."""
    learning_rate: tuple[float, float] = (1e-4, 5e-7)
    """Highest and lowest, from the framework's own script."""
    weights: tuple[Weights, ...] = ()
    footnotes: tuple[str, ...] = ()
    corrects: str = ""
    """The stock baseline that this one corrects."""
    image_size: int = 512
    """Side of the images of its published row."""
    cost_note: str = ""
    """Why `qmanet cost` differs from its published row, where it does by more than 3 %."""


_HRNET = Weights(
    "", "HRNet-W48, ImageNet", "github.com/HRNet/HRNet-Image-Classification; path in the file of --cfg_file"
)
_DJPEG = Weights("", "DCT stream, double JPEG", "github.com/mjkwon2021/CAT-Net; path in the file of --cfg_file")
_NOISEPRINT = Weights(
    "np_pretrain_weights", "NoisePrint++ (non-profit use only)", "`qmanet weights fetch noiseprint++`"
)
_MIT_B2 = Weights("mit_b2_pretrain_weights", "MiT-B2, ImageNet-1K", "`qmanet weights fetch mit_b2`")
_CAT_PUBLISHED = "Kwon et al. 2022, IJCV"
_TRUFOR_PUBLISHED = "Guillaro et al. 2023, CVPR"
_TRUFOR_FRESH = {
    "config_path": "stock:trufor.yaml",
    "np_pretrain_weights": "random",
    "mit_b2_pretrain_weights": "random",
}
_TRUFOR_TRAINING = {"np_pretrain_weights": "noiseprint++", "mit_b2_pretrain_weights": "mit_b2"}
_TRUFOR_FLAGS = ("--if_predict_label", "--if_not_amp", "--find_unused_parameters")
_TRUFOR_BRANCH = (
    "ImageNet weights reach the RGB branch only; the noise branch (extra_*) starts at random (trufor.py:31; the "
    "authors' loader fills both)"
)
_BICUBIC = "the mask is enlarged bicubically and may leave [0, 1] (cat_net.py:45)"

ROWS = (
    Baseline(
        "MantraNet",
        "ManTra-Net",
        "Wu et al. 2019, CVPR",
        footnotes=(
            "its output is already a probability, and the loss applies a sigmoid to it again "
            "(mantranet.py:615, BCEWithLogitsLoss): trained so, it cannot reach a low loss",
            "the framework's script trains it with one image a step, and fvcore cannot trace it",
            "starts from random weights; the authors pretrained its feature extractor on 385 manipulation types",
        ),
        cost_note="at 256 x 256 it needs a quarter, 271.5 G: the published 274.0 G fit that size, not 512",
    ),
    Baseline(
        "PSCC_Net",
        "PSCC-Net",
        "Liu et al. 2022, TCSVT",
        fresh={"pretrain_path": ""},
        size_flag="input_size",
        script_flags=("--if_predict_label", "--if_not_amp"),
        learning_rate=(1e-4, 0.0),
        weights=(Weights("pretrain_path", "HRNet-W18-small-v2, ImageNet", "github.com/proteus1991/PSCC-Net, models/"),),
        footnotes=("the framework's script trains it at 256 x 256; the paper's comparison says 512 for all",),
        cost_note="3.2 % below the published cost, whose counting rule is not given; fvcore's rule counts 356.5 G",
    ),
    Baseline(
        "MVSSNet",
        "MVSS-Net",
        "Chen et al. 2021, ICCV",
        fresh={"pretrained_base": False},
        training={"pretrained_base": True},
        edge_width=7,
        script_flags=("--if_not_amp", "--find_unused_parameters", "--no_model_eval"),
        learning_rate=(2e-5, 5e-7),
        weights=(
            Weights(
                "",
                "ResNet-50, ImageNet",
                "the constructor downloads resnet50-19c8e357.pth into $TORCH_HOME/hub/checkpoints",
            ),
        ),
        footnotes=(
            "the framework's scripts test it in training mode (--no_model_eval): its BatchNorms use the test batch, so "
            "a prediction depends on the other images of its batch",
            "the image-level loss puts a sigmoid on a sigmoid (mvssnet.py:258)",
        ),
    ),
    Baseline(
        "Cat_Net",
        "CAT-Net",
        _CAT_PUBLISHED,
        fresh={"cfg_file": "stock:CAT_full.yaml"},
        weights=(_HRNET, _DJPEG),
        footnotes=(
            "its DCT stream does not see the image: the post function gets the normalised image and casts it to uint8, "
            "which leaves {0, 1, 2, 254, 255}, and compresses that (cat_net_post_function.py, datasets/utils.py:39)",
            "its RGB stream gets (normalised - 127.5) / 127.5: between -1.02 and -0.97 (cat_net.py:68)",
            _BICUBIC,
            "the configuration's weight files are the authors' own paths; where they are absent it starts at random "
            "with a warning only",
        ),
    ),
    Baseline(
        "Trufor",
        "TruFor",
        _TRUFOR_PUBLISHED,
        fresh=_TRUFOR_FRESH,
        training=_TRUFOR_TRAINING,
        script_flags=_TRUFOR_FLAGS,
        learning_rate=(4e-6, 0.0),
        weights=(_NOISEPRINT, _MIT_B2),
        footnotes=(
            "the image is normalised twice, and NoisePrint++ gets the normalised image instead of RGB / 256 "
            "(cmx/builder_np_conf.py:166)",
            "the frozen NoisePrint++ stays in training mode: its BatchNorms use the batch's statistics and move",
            _TRUFOR_BRANCH,
            "phase 2 trains the localization only; confidence and detection heads need a second run with --phase 3",
        ),
        cost_note="3.2 % below the published cost, whose counting rule is not given: this is phase 2; the confidence "
        "head, which it does not use, would add 18.2 G; fvcore's rule, blind to fused attention, counts 211.5 G",
    ),
    Baseline(
        "IML_ViT",
        "IML-ViT",
        "Ma et al. 2023, arXiv 2307.14863",
        size_flag="input_size",
        edge_width=7,
        weights=(
            Weights("vit_pretrain_path", "ViT-B, MAE", "dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth"),
        ),
        footnotes=("the framework's script trains it at 1024 with padding; the paper's comparison says 512 for all",),
    ),
    Baseline(
        "Mesorch",
        "Mesorch",
        "Zhu et al. 2025, AAAI",
        script_flags=("--find_unused_parameters",),
        weights=(
            Weights("seg_pretrain_path", "MiT-B3, ImageNet-1K", "`qmanet weights fetch mit_b3`, then weights convert"),
            Weights("conv_pretrain", "ConvNeXt-T, ImageNet (true fetches it)", "timm convnext_tiny, Hugging Face hub"),
        ),
        footnotes=("its output is always 512 x 512 (mesorch.py:506); at another size it is set to the image's here",),
    ),
    Baseline(
        "Cat_Net_RealDCT",
        "",
        _CAT_PUBLISHED,
        fresh={"cfg_file": "stock:CAT_full.yaml"},
        weights=(_HRNET, _DJPEG),
        footnotes=(
            "corrected: both streams get the image's own pixels; the DCT coefficients are those of a JPEG of quality "
            "100, as the authors use for images that are no JPEG (resizing has undone the file's own grid)",
            _BICUBIC,
        ),
        corrects="Cat_Net",
    ),
    Baseline(
        "Trufor_RGB",
        "",
        _TRUFOR_PUBLISHED,
        fresh=_TRUFOR_FRESH,
        training=_TRUFOR_TRAINING,
        script_flags=_TRUFOR_FLAGS,
        learning_rate=(4e-6, 0.0),
        weights=(_NOISEPRINT, _MIT_B2),
        footnotes=(
            "corrected: NoisePrint++ gets RGB / 256 and stays in eval mode; the image is normalised once",
            _TRUFOR_BRANCH,
        ),
        corrects="Trufor",
    ),
    Baseline(
        "SAM",
        "SAM",
        "Kirillov et al. 2023, ICCV",
        fresh={"weights": "random"},
        training={"weights": "facebook/sam-vit-large"},
        size_flag="input_size",
        weights=(Weights("weights", "SAM ViT-L", "huggingface.co/facebook/sam-vit-large, or a folder with a copy"),),
        footnotes=(
            "not in the framework's zoo: built here on transformers' SamModel; the paper does not say how it prompts "
            "SAM; here the prompt is a learnt embedding, and encoder and mask decoder are fine-tuned",
            "the published cost is at 1024 x 1024; the paper's comparison trains all models at 512",
        ),
        image_size=1024,
    ),
)

BASELINES: dict[str, Baseline] = {row.name: row for row in ROWS}
"""The baselines by their registered names."""

PUBLISHED_ONLY = {"IMDPrompter": "no public code: its published row is all there is"}
"""Rows of the paper that cannot be run."""


def recipe(name: str) -> list[str]:
    """Flags of the training script for a baseline: learning rates and what the framework's own script adds.

    Raises:
        RequestError: there is no such baseline.
    """
    if name not in BASELINES:
        raise RequestError(f"baseline {name!r}", f"one of {', '.join(BASELINES)}", PUBLISHED_ONLY.get(name, ""))
    row = BASELINES[name]
    highest, lowest = row.learning_rate
    return ["--lr", str(highest), "--min_lr", str(lowest), *row.script_flags]


def main() -> int:
    """Print the recipe of the baseline that ``sys.argv[1]`` names, for ``runs/demo_train_baseline.sh``."""
    try:
        sys.stdout.write(" ".join(recipe(sys.argv[1])) + "\n")
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
