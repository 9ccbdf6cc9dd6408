"""mmsegmentation's ``MixVisionTransformer`` with less memory and time, and without mmcv's compiled operators.

Attention is computed by ``scaled_dot_product_attention`` without ever holding the attention matrix: mmcv asks
``nn.MultiheadAttention`` for its weights, which at 3008x2000 takes 8.8 GB in one layer of stage 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from qmanet_benco.errors import missing_module
from qmanet_benco.model.config import QMANetConfig
from qmanet_benco.model.libraries.deferred import mix_vision_transformer


class FusedAttention(nn.Module):
    """``nn.MultiheadAttention`` of a given layer, its parameters and names, without the attention matrix.

    Args:
        layer: the layer that is taken over; it attends to packed projections and has no dropout.
    """

    def __init__(self, layer: nn.MultiheadAttention) -> None:
        super().__init__()
        if layer.dropout or not layer._qkv_same_embed_dim or layer.bias_k is not None:
            raise ValueError("expected a plain nn.MultiheadAttention with packed projections and no dropout")
        self.num_heads = layer.num_heads
        self.in_proj_weight = layer.in_proj_weight
        self.in_proj_bias = layer.in_proj_bias
        self.out_proj = layer.out_proj

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, None]:
        """L x B x C queries, S x B x C keys and values -> (L x B x C, no weights)."""
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        inputs = (query, key, value)
        q, k, v = (
            F.linear(x, w, b).reshape(x.shape[0], x.shape[1], self.num_heads, -1).permute(1, 2, 0, 3)
            for x, w, b in zip(inputs, weights, biases, strict=True)
        )
        attended = F.scaled_dot_product_attention(q, k, v)  # B x heads x L x C / heads
        return self.out_proj(attended.permute(2, 0, 1, 3).flatten(2)), None


class TokenMixFFN(nn.Module):
    """mmsegmentation's ``MixFFN`` of a given layer, its parameters and names, on tokens instead of maps.

    Its 1x1 convolutions are linear layers, and B x (h w) x C tokens are a channels-last map as they lie in memory: so
    nothing is copied between them, and no convolution falls back to torch's slow kernel, as it does on one thread. The
    depthwise kernel has to be channels-last too, or torch lays out the map anew.

    Args:
        layer: the layer that is taken over; it has no dropout.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layers = layer.layers  # fc1, depthwise 3x3, GELU, dropout, fc2, dropout
        self.dropout_layer = layer.dropout_layer
        expand, depthwise, _, dropout, contract, _ = layer.layers
        if expand.kernel_size != (1, 1) or contract.kernel_size != (1, 1) or depthwise.kernel_size != (3, 3):
            raise ValueError("expected a MixFFN of a 1x1, a depthwise 3x3 and a 1x1 convolution")
        if dropout.p:
            raise ValueError("expected a MixFFN without dropout")

    def forward(self, tokens: Tensor, size: Sequence[int], identity: Tensor | None = None) -> Tensor:
        """B x (h w) x C tokens of a map of ``size`` = (h, w), and what they are added to (by default themselves)."""
        expand, depthwise, activation, _, contract, _ = self.layers
        inner = F.linear(tokens, expand.weight.flatten(1), expand.bias)
        kernel = depthwise.weight.clone(memory_format=torch.channels_last)
        weights = [kernel, depthwise.bias, contract.weight.flatten(1), contract.bias]
        if self.training and torch.is_grad_enabled() and not _is_traced():
            cast = [weight.to(inner.dtype) for weight in weights]
            mixed = _RecomputedMix.apply(activation, tuple(size), inner, *cast)
        else:
            mixed = F.linear(_convolved(activation, size, inner, *weights[:2]), *weights[2:])
        return (tokens if identity is None else identity) + self.dropout_layer(mixed)


def _is_traced() -> bool:
    """Tell whether a tracer, which sees no operators inside :class:`_RecomputedMix`, or a compiler is at work."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def _convolved(activation: Any, size: Sequence[int], inner: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Depthwise convolution and activation of B x (h w) x C' tokens."""
    features = inner.transpose(1, 2).unflatten(2, tuple(size))  # B x C' x h x w, channels last
    features = F.conv2d(features, kernel, bias, padding=1, groups=features.shape[1])
    return activation(features.flatten(2).transpose(1, 2))


class _RecomputedMix(torch.autograd.Function):
    """Depthwise convolution, activation and the contracting layer, which keep nothing but their input for backward.

    Convolution and activation are computed again there. Their outputs are two of the three widest tensors of a block,
    a third of all that the encoders would keep, and cost little beside the matrix products, which are not repeated.
    """

    @staticmethod
    def forward(ctx: Any, activation: Any, size: tuple[int, ...], inner: Tensor, *weights: Tensor) -> Tensor:
        ctx.activation, ctx.size = activation, size
        ctx.save_for_backward(inner, *weights)
        return F.linear(_convolved(activation, size, inner, *weights[:2]), *weights[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        inner, kernel, bias, contraction, offset = ctx.saved_tensors
        grad = grad.to(inner.dtype)
        with torch.enable_grad():
            inputs = [tensor.detach().requires_grad_() for tensor in (inner, kernel, bias)]
            activated = _convolved(ctx.activation, ctx.size, *inputs)
        grads_of_inputs = torch.autograd.grad(activated, inputs, grad @ contraction)
        rows = grad.flatten(0, 1)
        return None, None, *grads_of_inputs, rows.t() @ activated.detach().flatten(0, 1), rows.sum(0).to(offset.dtype)


def import_mit() -> Any:
    """Import mmsegmentation's ``MixVisionTransformer``.

    Raises:
        RequestError: mmsegmentation or what it needs is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mix_vision_transformer()
    except ImportError as error:
        raise missing_module(error) from error


def build_mit(config: QMANetConfig) -> Any:
    """mmsegmentation's ``MixVisionTransformer`` of a configuration, its attention and Mix-FFN computed as above.

    Raises:
        RequestError: see :func:`import_mit`.
    """
    mit = import_mit()
    with _RatesOnCpu():
        encoder = mit(
            embed_dims=config.embed_dim,
            num_layers=config.depths,
            num_heads=config.heads,
            sr_ratios=config.reductions,
            drop_path_rate=config.drop_path,
        )
    encoder.init_weights()
    for _, blocks, _ in encoder.layers:
        for block in blocks:
            block.attn.attn = FusedAttention(block.attn.attn)
            block.ffn = TokenMixFFN(block.ffn)
    return encoder


class _RatesOnCpu(TorchFunctionMode):
    """MixVisionTransformer reads its drop path rates off a tensor, which fails under ``torch.device("meta")``."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)
