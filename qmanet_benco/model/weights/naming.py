"""Renames a MiT encoder's tensors between the four namings that are published, all of one network:

* ``official``: NVlabs' ``mit_b*.pth`` (``patch_embed1.proj``, ``block1.0.attn.q``, ``norm1``);
* ``smp``: segmentation_models_pytorch's hub copies: the official names without the classifier;
* ``mmseg``: mmsegmentation's converted ``mit_b*_*.pth`` (``layers.0.0.projection``);
* ``huggingface``: ``nvidia/mit-b*`` (``segformer.encoder.patch_embeddings.0.proj``), and the names that transformers 5
  gives the same tensors in memory (``segformer.stages.0.patch_embeddings.proj``).

Everything is brought to the official names first and from there to the wanted ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from qmanet_benco.errors import RequestError

NAMINGS = ("official", "smp", "mmseg", "huggingface")

# official name with {i} for the stage counted from 1 -> the others, stage counted from 0; {b} is the block
_EMBEDDING = {
    "patch_embed{i}.proj": ("layers.{s}.0.projection", "patch_embeddings.{s}.proj", "stages.{s}.patch_embeddings.proj"),
    "patch_embed{i}.norm": (
        "layers.{s}.0.norm",
        "patch_embeddings.{s}.layer_norm",
        "stages.{s}.patch_embeddings.layer_norm",
    ),
    "norm{i}": ("layers.{s}.2", "layer_norm.{s}", "stages.{s}.layer_norm"),
}
_BLOCK = {
    "norm1": ("norm1", "layer_norm_1", "layernorm_before"),
    "norm2": ("norm2", "layer_norm_2", "layernorm_after"),
    "attn.proj": ("attn.attn.out_proj", "attention.output.dense", "attention.o_proj"),
    "attn.sr": ("attn.sr", "attention.self.sr", "attention.sequence_reduction.sequence_reduction"),
    "attn.norm": ("attn.norm", "attention.self.layer_norm", "attention.sequence_reduction.layer_norm"),
    "mlp.fc1": ("ffn.layers.0", "mlp.dense1", "mlp.fc1"),
    "mlp.dwconv.dwconv": ("ffn.layers.1", "mlp.dwconv.dwconv", "mlp.dwconv.dwconv"),
    "mlp.fc2": ("ffn.layers.4", "mlp.dense2", "mlp.fc2"),
    "attn.q": ("", "attention.self.query", "attention.q_proj"),
    "attn.k": ("", "attention.self.key", "attention.k_proj"),
    "attn.v": ("", "attention.self.value", "attention.v_proj"),
}
_BLOCK_HOME = ("layers.{s}.1.{b}.", "block.{s}.{b}.", "stages.{s}.blocks.{b}.")
_DIALECTS = {"mmseg": 0, "huggingface": 1, "huggingface5": 2}


def detect_naming(names: Iterable[str]) -> tuple[str, str]:
    """The naming of an encoder's tensors and the prefix before the names.

    Raises:
        RequestError: the names are of no known SegFormer encoder.
    """
    marks = {
        "mmseg": "layers.0.0.projection.weight",
        "official": "patch_embed1.proj.weight",
        "huggingface": "patch_embeddings.0.proj.weight",
        "huggingface5": "stages.0.patch_embeddings.proj.weight",
    }
    names = list(names)
    for naming, mark in marks.items():
        for name in names:
            if name == mark or name.endswith("." + mark):
                return naming, name.removesuffix(mark)
    example = names[0] if names else "no tensor at all"
    raise RequestError(
        f"no SegFormer encoder among {len(names)} tensors, such as {example}",
        f"one of the namings {', '.join(NAMINGS)}",
        "give a mit_b*.pth or nvidia/mit-b* file",
    )


def to_official(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Bring an encoder's tensors to the official names.

    Args:
        state: tensors in any of the four namings, with any prefix.

    Returns:
        The tensors under the official names, the naming found, and the names that are of no encoder.

    Raises:
        RequestError: the naming is unknown or a projection is incomplete.
    """
    naming, prefix = detect_naming(state)
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    ignored = [name for name in state if not name.startswith(prefix)]
    official: dict[str, Tensor] = {}
    for name, tensor in inside.items():
        new = name if naming == "official" else _official_name(name, _DIALECTS[naming])
        if new is None or not re.match(r"(patch_embed|block|norm)\d", new):
            ignored.append(prefix + name)
        else:
            official[new] = tensor
    official = _join_keys_and_values(official)
    public = "official" if naming == "official" else naming.removesuffix("5")
    if naming == "official" and not any("head" in name for name in state):
        public = "smp"
    return official, public, tuple(ignored)


def from_official(state: Mapping[str, Tensor], naming: str) -> dict[str, Tensor]:
    """Bring an encoder's tensors from the official names to another naming.

    Raises:
        RequestError: the naming is unknown.
    """
    if naming not in NAMINGS:
        raise RequestError(f"naming {naming!r}", f"one of {', '.join(NAMINGS)}")
    if naming in ("official", "smp"):
        return dict(state)
    split = _split_keys_and_values(state)
    dialect = _DIALECTS[naming]
    home = "segformer.encoder." if naming == "huggingface" else ""
    if dialect:
        return {home + _dialect_name(name, dialect): tensor for name, tensor in split.items()}
    return _pack_projections(split)


def _official_name(name: str, dialect: int) -> str | None:
    """Official name of another dialect's; packed projections of mmseg keep a made-up name until they are split."""
    stem, _, kind = name.rpartition(".")
    packed = re.fullmatch(r"layers\.(\d)\.1\.(\d+)\.attn\.attn", stem)
    if dialect == 0 and packed and kind.startswith("in_proj_"):
        return f"block{int(packed[1]) + 1}.{packed[2]}.attn.qkv.{kind.removeprefix('in_proj_')}"
    for official, others in _EMBEDDING.items():
        match = re.fullmatch(re.escape(others[dialect]).replace(r"\{s\}", r"(\d)"), stem)
        if match:
            return f"{official.format(i=int(match[1]) + 1)}.{kind}"
    home = re.escape(_BLOCK_HOME[dialect]).replace(r"\{s\}", r"(\d)").replace(r"\{b\}", r"(\d+)")
    match = re.fullmatch(home + "(.+)", stem)
    for official, others in _BLOCK.items():
        if match and others[dialect] == match[3]:
            return f"block{int(match[1]) + 1}.{match[2]}.{official}.{kind}"
    return None


def _dialect_name(name: str, dialect: int) -> str:
    """Another dialect's name of an official one whose keys and values are separate."""
    stem, _, kind = name.rpartition(".")
    block = re.fullmatch(r"block(\d)\.(\d+)\.(.+)", stem)
    if block:
        home = _BLOCK_HOME[dialect].format(s=int(block[1]) - 1, b=block[2])
        return f"{home}{_BLOCK[block[3]][dialect]}.{kind}"
    match = re.fullmatch(r"(patch_embed|norm)(\d)(.*)", stem)
    if match is None:
        raise RequestError(f"tensor {name!r}", "an official name of a MiT encoder")
    return f"{_EMBEDDING[f'{match[1]}{{i}}{match[3]}'][dialect].format(s=int(match[2]) - 1)}.{kind}"


def _join_keys_and_values(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Separate or packed q, k, v -> official q and kv; 1x1 convolutions of the MLP -> linear layers."""
    joined: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            query, keys_values = tensor.split([len(tensor) // 3, 2 * len(tensor) // 3])
            joined[name.replace("qkv", "q")] = query
            joined[name.replace("qkv", "kv")] = keys_values
        elif ".attn.k." in name:
            value = state.get(name.replace(".attn.k.", ".attn.v."))
            if value is None:
                raise RequestError(
                    f"{name} without its values", "keys and values of every block", "the file is damaged"
                )
            joined[name.replace(".attn.k.", ".attn.kv.")] = torch.cat([tensor, value])
        elif ".attn.v." not in name:
            flat = re.search(r"mlp\.fc\d\.weight", name) and tensor.dim() == 4
            joined[name] = tensor.flatten(1) if flat else tensor
    return joined


def _split_keys_and_values(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    split: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".attn.kv." in name:
            keys, values = tensor.chunk(2)
            split[name.replace(".kv.", ".k.")], split[name.replace(".kv.", ".v.")] = keys, values
        else:
            split[name] = tensor
    return split


def _pack_projections(split: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official names with separate q, k, v -> mmsegmentation's packed projections and 1x1 convolutions."""
    packed: dict[str, Tensor] = {}
    for name, tensor in split.items():
        if re.search(r"attn\.[kv]\.", name):
            continue
        if ".attn.q." in name:
            stage, block, kind = re.fullmatch(r"block(\d)\.(\d+)\.attn\.q\.(\w+)", name).groups()  # type: ignore[union-attr]
            try:
                parts = [split[name.replace(".attn.q.", f".attn.{part}.")] for part in "qkv"]
            except KeyError as error:
                raise RequestError(
                    f"{name} without its keys and values", "all three of every block", "the file is damaged"
                ) from error
            packed[f"layers.{int(stage) - 1}.1.{block}.attn.attn.in_proj_{kind}"] = torch.cat(parts)
        else:
            new = _dialect_name(name, 0)
            is_linear = re.search(r"mlp\.fc\d\.weight", name)
            packed[new] = tensor[:, :, None, None] if is_linear else tensor
    return packed
