"""GAE and LAE against four other people's SegFormer encoders, loaded from files in each one's names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import tiny, tiny_network
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from qmanet_benco.errors import RequestError
from qmanet_benco.model.backbone import Encoder
from qmanet_benco.model.config import VARIANTS
from qmanet_benco.model.libraries.deferred import _MissingOperators, mix_vision_transformer
from qmanet_benco.model.mmseg_mit import FusedAttention, TokenMixFFN
from qmanet_benco.model.weights.encoders import load_encoder

pytestmark = pytest.mark.compat

CONFIG = tiny(VARIANTS["b2"], embed_dim=8, depths=(2, 1, 2, 1))
EPSILON = 1e-6
"""mmsegmentation gives it to every LayerNorm; the others leave torch's 1e-5 to those of embeddings and reductions."""


def randomised(encoder: nn.Module) -> nn.Module:
    """Values in every tensor that make every layer count."""
    with torch.no_grad():
        for name, tensor in encoder.named_parameters():
            tensor.normal_(std=0.1)
            if "norm" in name and name.endswith("weight"):
                tensor.add_(1)
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = EPSILON
    return encoder.eval()


def our_stages(encoder: Encoder, image: Tensor) -> list[Tensor]:
    """Outputs of the four stages, driven one by one."""
    features, outputs = image, []
    for index in range(4):
        features = encoder.stage(index, features)
        outputs.append(features)
    return outputs


class HuggingFace:
    """transformers' SegformerModel; the file has the names that it keeps in memory."""

    def __init__(self) -> None:
        from transformers import SegformerConfig, SegformerModel

        sizes = dict(
            hidden_sizes=list(CONFIG.widths), depths=list(CONFIG.depths), num_attention_heads=list(CONFIG.heads)
        )
        self.model = randomised(SegformerModel(SegformerConfig(**sizes, sr_ratios=list(CONFIG.reductions))))

    def save(self, folder: Path) -> Path:
        torch.save(self.model.state_dict(), folder / "model.pth")
        return folder / "model.pth"

    def stages(self, image: Tensor) -> list[Tensor]:
        return list(self.model(image, output_hidden_states=True).hidden_states)


class HuggingFaceHub(HuggingFace):
    """As above; the file is what ``save_pretrained`` writes, in the names of the hub."""

    def save(self, folder: Path) -> Path:
        self.model.save_pretrained(folder)
        return folder / "model.safetensors"


class Official:
    """The encoder of NVlabs' repository as the framework's zoo carries it, with a head of its own in the file."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zoo = importlib.import_module("IMDLBenCo.modules.backbones.segformer")
        self.model = randomised(_without_pretrained_file(zoo.MixVisionTransformer))

    def save(self, folder: Path) -> Path:
        head = {"head.weight": torch.ones(10, CONFIG.widths[3]), "head.bias": torch.ones(10)}
        torch.save({n: t for n, t in self.model.state_dict().items() if "deconv" not in n} | head, folder / "mit.pth")
        return folder / "mit.pth"

    def stages(self, image: Tensor) -> list[Tensor]:
        outputs, x = [], image
        for stage in range(1, 5):
            x, height, width = getattr(self.model, f"patch_embed{stage}")(x)
            for block in getattr(self.model, f"block{stage}"):
                x = block(x, height, width)
            x = getattr(self.model, f"norm{stage}")(x).transpose(1, 2).unflatten(2, (height, width))
            outputs.append(x)
        return outputs


class Smp:
    """segmentation_models_pytorch's encoder."""

    def __init__(self) -> None:
        pytest.importorskip("segmentation_models_pytorch")
        module = importlib.import_module("segmentation_models_pytorch.encoders.mix_transformer")
        sizes = dict(embed_dims=list(CONFIG.widths), num_heads=list(CONFIG.heads), depths=list(CONFIG.depths))
        encoder = module.MixVisionTransformerEncoder(
            out_channels=[3, 0, *CONFIG.widths], qkv_bias=True, sr_ratios=list(CONFIG.reductions), **sizes
        )
        self.model = randomised(encoder)

    def save(self, folder: Path) -> Path:
        torch.save(self.model.state_dict(), folder / "smp.pth")
        return folder / "smp.pth"

    def stages(self, image: Tensor) -> list[Tensor]:
        return self.model(image)[2:]


class Mmseg:
    """mmsegmentation's own class with its own attention, in a file as its checkpoints are."""

    def __init__(self) -> None:
        self.model = randomised(
            mix_vision_transformer()(
                embed_dims=CONFIG.embed_dim,
                num_layers=CONFIG.depths,
                num_heads=CONFIG.heads,
                sr_ratios=CONFIG.reductions,
            )
        )

    def save(self, folder: Path) -> Path:
        state = {f"backbone.{name}": tensor for name, tensor in self.model.state_dict().items()}
        torch.save({"meta": {"epoch": 3}, "state_dict": state | {"decode_head.bias": torch.ones(2)}}, folder / "m.pth")
        return folder / "m.pth"

    def stages(self, image: Tensor) -> list[Tensor]:
        return list(self.model(image))


def _without_pretrained_file(zoo_class: type) -> nn.Module:
    """The zoo's class insists on a file of weights; it gets an empty one."""
    load = torch.load
    torch.load = lambda path: {}
    try:
        return zoo_class(
            embed_dims=list(CONFIG.widths),
            num_heads=list(CONFIG.heads),
            depths=list(CONFIG.depths),
            sr_ratios=list(CONFIG.reductions),
        )
    finally:
        torch.load = load


@pytest.mark.parametrize(
    ("reference", "naming", "ignored"),
    [
        (HuggingFace, "huggingface", ()),
        (HuggingFaceHub, "huggingface", ()),
        (Official, "official", ("head.weight", "head.bias")),
        (Smp, "smp", ()),
        (Mmseg, "mmseg", ("decode_head.bias",)),
    ],
)
def test_weights_of_other_libraries_give_their_outputs(
    reference: Callable[[], Any], naming: str, ignored: tuple[str, ...], tmp_path: Path
) -> None:
    other = reference()
    encoder = Encoder(CONFIG).eval()
    report = load_encoder(encoder.mit, other.save(tmp_path))
    assert (report.naming, report.ignored) == (naming, ignored)
    assert report.landed == len(encoder.mit.state_dict())
    for size in [(64, 64), (67, 101), (130, 90)]:
        image = torch.randn(2, 3, *size)
        with torch.inference_mode():
            stages, expected = our_stages(encoder, image), other.stages(image)
        assert len(expected) == 4
        for ours, theirs in zip(stages, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_fused_attention_is_torch_s_multi_head_attention() -> None:
    layer = nn.MultiheadAttention(40, 5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.3)
    query, keys, values = torch.randn(30, 2, 40), torch.randn(7, 2, 40), torch.randn(7, 2, 40)
    fused = FusedAttention(layer)
    output, weights = fused(query, keys, values)
    assert weights is None
    torch.testing.assert_close(output, layer(query, keys, values)[0], rtol=1e-5, atol=1e-5)
    assert fused.state_dict().keys() == layer.state_dict().keys()


@pytest.mark.parametrize("changes", [dict(dropout=0.1), dict(add_bias_kv=True), dict(kdim=8, vdim=8)])
def test_other_kinds_of_attention_are_not_taken_over(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"expected a plain nn\.MultiheadAttention"):
        FusedAttention(nn.MultiheadAttention(40, 5, **changes))


class TensorWatch(TorchDispatchMode):
    """Collects the last two sizes of every tensor that an operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, tuple | list) else (result,):
            if isinstance(output, Tensor):
                self.sizes.add(tuple(output.shape[-2:]))
        return result


def attention_matrices(height: int, width: int) -> set[tuple[int, int]]:
    """Queries x keys of the four stages; the encoders round down the number of reduced keys, the interaction up."""
    sizes = set()
    for stage, reduction in enumerate(CONFIG.reductions):
        stride = 4 * 2**stage
        rows, columns = -(-height // stride), -(-width // stride)
        sizes.add((rows * columns, (rows // reduction) * (columns // reduction)))
        sizes.add((rows * columns, -(-rows // reduction) * -(-columns // reduction)))
    return sizes


@pytest.mark.parametrize(
    ("batch", "size", "autocast"), [(1, (256, 320), False), (2, (250, 330), False), (1, (256, 320), True)]
)
def test_network_never_holds_an_attention_matrix(batch: int, size: tuple[int, int], autocast: bool) -> None:
    network = tiny_network("b2", embed_dim=8)
    with TensorWatch() as watch:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            result = network(torch.randn(batch, 3, *size))
        result.mask_logits.sum().backward()
    assert not watch.sizes & attention_matrices(*size)


def test_mmsegmentation_s_own_attention_would_be_noticed() -> None:
    with torch.no_grad(), TensorWatch() as watch:
        Mmseg().model(torch.randn(1, 3, 256, 320))
    assert attention_matrices(256, 320) <= watch.sizes


def mixed(ffn: TokenMixFFN, tokens: Tensor, again: bool, autocast: bool) -> tuple[list[Tensor], int]:
    """Output and gradients of the inputs and parameters, and the bytes kept for backward."""
    kept: dict[int, int] = {}
    owned = {parameter.untyped_storage().data_ptr() for parameter in ffn.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    ffn.zero_grad()
    asked = tokens.clone().requires_grad_()
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        ffn.train(again)
        output = ffn(asked, (5, 7))
    (output.float() ** 2).sum().backward()
    grads = [parameter.grad.clone() for parameter in ffn.parameters() if parameter.grad is not None]
    assert asked.grad is not None
    return [output.detach().float(), asked.grad, *grads], sum(kept.values())


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
def test_mix_ffn_computes_again_what_it_does_not_keep(autocast: bool) -> None:
    torch.manual_seed(0)
    ffn = Encoder(tiny(VARIANTS["b0"])).mit.layers[1][1][0].ffn
    tokens = torch.randn(2, 35, ffn.layers[0].in_channels)
    plain, more = mixed(ffn, tokens, False, autocast)
    again, less = mixed(ffn, tokens, True, autocast)
    assert len(plain) == 2 + len(list(ffn.parameters()))
    wide = tokens.numel() * ffn.layers[0].out_channels // ffn.layers[0].in_channels * (2 if autocast else 4)
    assert more - less >= 1.5 * wide  # the outputs of convolution and activation, without what small things differ
    for left, right in zip(plain, again, strict=True):
        torch.testing.assert_close(left, right, **({"rtol": 0.02, "atol": 0.02} if autocast else {}))


def test_stage_sizes_round_up() -> None:
    encoder = Encoder(CONFIG)
    sizes = [tuple(stage.shape[1:]) for stage in our_stages(encoder, torch.randn(1, 3, 65, 97))]
    assert sizes == [(8, 17, 25), (16, 9, 13), (40, 5, 7), (64, 3, 4)]


def test_stochastic_depth_rises_to_the_configured_rate() -> None:
    encoder = Encoder(tiny(VARIANTS["b2"], drop_path=0.3, depths=(1, 1, 2, 1)))
    blocks = [block for _, stage, _ in encoder.mit.layers for block in stage]
    rates = [getattr(block.attn.dropout_layer, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.075, 0.15, 0.225, 0.3])


def test_stand_in_for_compiled_operators_does_not_stay() -> None:
    if importlib.util.find_spec("mmcv._ext") is not None:
        pytest.skip("mmcv is installed with its compiled operators, so there is no stand-in")
    mix_vision_transformer()
    assert "mmseg.models.backbones.mit" in sys.modules
    assert "mmcv._ext" not in sys.modules


def test_stand_in_says_what_is_missing_when_it_is_called() -> None:
    stand_in = _MissingOperators("mmcv._ext")
    with pytest.raises(RuntimeError, match="compiled operator nms is not installed; `pip install mmcv` builds it"):
        stand_in.nms(1)
    assert not hasattr(stand_in, "__path__")


def test_missing_mmsegmentation_is_named_with_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(RequestError, match=r"the module mmseg\b.* not installed; .*pip install mmsegmentation==1.2.2"):
        Encoder(CONFIG)
