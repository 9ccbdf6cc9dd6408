"""The baselines of the paper's comparison, one row of data each; :mod:`~qmanet_benco.benco.zoo.build` builds them.

Footnotes say what the framework's version of a method does differently from what its authors published, or what makes
a comparison with it unfair. Each was read in the framework's source (file and line are those of IMDL-BenCo 0.1.45).
The framework's recipes are those of its own ``demo_train_*.sh``; the paper trained all of them for 150 epochs.
"""

from __future__ import annotations

from dataclasses import replace

from qmanet_benco.benco.zoo.row import NO_EVAL, Baseline, Weights

_CAT_PAGE = "https://github.com/mjkwon2021/CAT-Net"
_TRUFOR_BRANCH = (
    "ImageNet weights reach the RGB branch only; the noise branch (extra_*) starts at random (trufor.py:31; the "
    "authors' loader fills both)"
)
_TRUFOR_RATE = (
    "trained with the learning rate of the framework's script, 4e-6; its benchmark's paper says 4e-5 (IMDLBenCo issue "
    "134): --lr 4e-5 trains it so"
)
_BICUBIC = "the mask is enlarged bicubically and may leave [0, 1] (cat_net.py:45)"

_CAT_NET = Baseline(
    "Cat_Net",
    "CAT-Net",  # Kwon et al. 2022, IJCV
    fresh={"cfg_file": "stock:CAT_full.yaml"},
    weights=(
        Weights("cfg_file", "HRNet-W48, ImageNet: hrnetv2_w48_imagenet_pretrained.pth", _CAT_PAGE, "PRETRAINED_RGB"),
        Weights("cfg_file", "DCT stream, double JPEG: DCT_djpeg.pth.tar", _CAT_PAGE, "PRETRAINED_DCT"),
    ),
    footnotes=(
        "its DCT stream does not see the image: the post function gets the normalised image and casts it to uint8, "
        "which leaves {0, 1, 2, 254, 255}, and compresses that (cat_net_post_function.py, datasets/utils.py:39)",
        "its RGB stream gets (normalised - 127.5) / 127.5: between -1.02 and -0.97 (cat_net.py:68)",
        _BICUBIC,
        "the configuration's weight files are the authors' own paths; where they are absent it starts at random "
        "with a warning only",
    ),
)
_TRUFOR = Baseline(
    "Trufor",
    "TruFor",  # Guillaro et al. 2023, CVPR
    fresh={
        "config_path": "stock:trufor.yaml",
        "np_pretrain_weights": "random",
        "mit_b2_pretrain_weights": "random",
    },
    training={"np_pretrain_weights": "noiseprint++", "mit_b2_pretrain_weights": "mit_b2"},
    script_flags=("--if_predict_label", "--if_not_amp", "--find_unused_parameters"),
    learning_rate=(4e-6, 0.0),
    weights=(
        Weights("np_pretrain_weights", "NoisePrint++ (non-profit use only)", "`qmanet weights fetch noiseprint++`"),
        Weights("mit_b2_pretrain_weights", "MiT-B2, ImageNet-1K", "`qmanet weights fetch mit_b2`"),
    ),
    footnotes=(
        "the image is normalised twice, and NoisePrint++ gets the normalised image instead of RGB / 256 "
        "(cmx/builder_np_conf.py:166)",
        "the frozen NoisePrint++ stays in training mode: its BatchNorms use the batch's statistics and move",
        _TRUFOR_BRANCH,
        _TRUFOR_RATE,
        "phase 2 trains the localization only; confidence and detection heads need a second run with --phase 3",
    ),
    cost_note="3.2 % below the published cost, whose counting rule is not given: this is phase 2; the confidence "
    "head, which it does not use, would add 18.2 G; fvcore's rule, blind to fused attention, counts 211.5 G",
)

ROWS = (
    Baseline(
        "MantraNet",
        "ManTra-Net",  # Wu et al. 2019, CVPR
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
        "PSCC-Net",  # Liu et al. 2022, TCSVT
        fresh={"pretrain_path": ""},
        size_flags={"input_size": int},
        script_flags=("--if_predict_label", "--if_not_amp"),
        learning_rate=(1e-4, 0.0),
        weights=(
            Weights(
                "pretrain_path",
                "HRNet-W18-small-v2, ImageNet",
                "https://github.com/proteus1991/PSCC-Net/blob/main/models/hrnet_w18_small_v2.pth",
            ),
        ),
        footnotes=("the framework's script trains it at 256 x 256; the paper's comparison says 512 for all",),
        cost_note="3.2 % below the published cost, whose counting rule is not given; fvcore's rule counts 356.5 G",
    ),
    Baseline(
        "MVSSNet",
        "MVSS-Net",  # Chen et al. 2021, ICCV
        fresh={"pretrained_base": False},
        training={"pretrained_base": True},
        edge_width=7,
        script_flags=("--if_not_amp", "--find_unused_parameters", NO_EVAL),
        learning_rate=(2e-5, 5e-7),
        weights=(
            Weights(
                "pretrained_base",
                "ResNet-50, ImageNet: resnet50-19c8e357.pth",
                "fetched when training starts, into $TORCH_HOME/hub/checkpoints",
            ),
        ),
        footnotes=(
            "scored in training mode, as the framework's scripts test it (--no_model_eval): its BatchNorms use the "
            "test batch and its dropout draws, so a prediction depends on the other images of its batch and on a seed",
            "the image-level loss puts a sigmoid on a sigmoid (mvssnet.py:258)",
        ),
    ),
    _CAT_NET,
    _TRUFOR,
    Baseline(
        "IML_ViT",
        "IML-ViT",  # Ma et al. 2023, arXiv 2307.14863
        size_flags={"input_size": int},
        edge_width=7,
        weights=(
            Weights(
                "vit_pretrain_path",
                "ViT-B, MAE",
                "https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth",
            ),
        ),
        footnotes=("the framework's script trains it at 1024 with padding; the paper's comparison says 512 for all",),
    ),
    Baseline(
        "Mesorch",
        "Mesorch",  # Zhu et al. 2025, AAAI
        script_flags=("--find_unused_parameters",),
        weights=(
            Weights("seg_pretrain_path", "MiT-B3, ImageNet-1K", "`qmanet weights fetch mit_b3`"),
            Weights("conv_pretrain", "ConvNeXt-T, ImageNet", "true: timm fetches convnext_tiny when training starts"),
        ),
        footnotes=("its output is always 512 x 512 (mesorch.py:506); at another size it is set to the image's here",),
    ),
    replace(
        _CAT_NET,
        name="Cat_Net_RealDCT",
        row="",
        footnotes=(
            "corrected: both streams get the image's own pixels; the DCT coefficients are those of a JPEG of quality "
            "100, as the authors use for images that are no JPEG (resizing has undone the file's own grid)",
            _BICUBIC,
        ),
        corrects="Cat_Net",
    ),
    replace(
        _TRUFOR,
        name="Trufor_RGB",
        row="",
        footnotes=(
            "corrected: NoisePrint++ gets RGB / 256 and stays in eval mode; the image is normalised once",
            _TRUFOR_BRANCH,
            _TRUFOR_RATE,
        ),
        cost_note="",
        corrects="Trufor",
    ),
    Baseline(
        "SAM",
        "SAM",  # Kirillov et al. 2023, ICCV
        fresh={"weights": "random"},
        training={"weights": "facebook/sam-vit-large"},
        size_flags={"input_size": int},
        weights=(Weights("weights", "SAM ViT-L", "https://huggingface.co/facebook/sam-vit-large"),),
        footnotes=(
            "not in the framework's zoo: built here on transformers' SamModel; the paper does not say how it prompts "
            "SAM; here the prompt is a learnt embedding, and encoder and mask decoder are fine-tuned",
            "the published cost is at 1024 x 1024; the paper's comparison trains all models at 512",
        ),
        image_size=1024,
    ),
    Baseline(
        "SparseViT",
        "",  # Su et al. 2025, AAAI
        script_flags=("--find_unused_parameters",),
        learning_rate=(2e-4, 0.0),
        weights=(
            Weights(
                "pretrained_path",
                "UniFormer-B, ImageNet-1K: uniformer_base_in1k.pth",
                "https://huggingface.co/Sense-X/uniformer_image/tree/main",
            ),
        ),
        footnotes=(
            "of its pretrained weights only those of convolutions stay: after they are loaded all Linear and LayerNorm "
            "layers are initialised again (sparse_vit.py:362 and 449)",
            "its sparse attention divides the map into blocks: 512 works, 256 and 128 do not",
        ),
    ),
    Baseline(
        "ObjectFormer",
        "",  # Wang et al. 2022, CVPR
        size_flags={"input_size": int, "num_prototypes": lambda side: 2 * (side // 16) ** 2},
        edge_width=7,
        learning_rate=(1e-4, 5e-7),
        weights=(
            Weights(
                "init_weight_path",
                "ViT-B/16, ImageNet, taken apart for its eight layers",
                "https://github.com/scu-zjz/IMDLBenCo/issues/41 says how",
            ),
        ),
        footnotes=(
            "the framework's own reimplementation: its authors published no code",
            "the framework's script trains it at 224 x 224, and its pretrained positions fit no other size",
        ),
        image_size=224,
    ),
    Baseline(
        "MSCDI_Net",
        "",  # https://github.com/csust-sonie/MSCDI-Net
        fresh={"backbone_weights_path": "random"},
        training={"backbone_weights_path": "mit_b4"},
        edge_width=7,
        learning_rate=(1e-4, 5e-7),
        weights=(Weights("backbone_weights_path", "MiT-B4, ImageNet-1K", "`qmanet weights fetch mit_b4`"),),
        footnotes=("its attention divides the map into blocks: 512 works, 128 does not",),
    ),
)

BASELINES: dict[str, Baseline] = {row.name: row for row in ROWS}
"""The baselines by their registered names."""

NOT_BUILT = {
    "IMDPrompter": "no public code: its published row is all there is",
    "SPAN": "the framework's copy makes new random layers for its output at every call (SPAN.py:25), so that no "
    "training and no checkpoint reaches them: its masks are noise",
}
"""Models that cannot be run, and why."""
