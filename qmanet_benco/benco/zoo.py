"""The baselines of the framework's zoo: how each is built afresh, and what a reader of its numbers should know."""

from __future__ import annotations

import hashlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.hub
import torch.utils.model_zoo
from torch import nn

from qmanet_benco.benco import compat
from qmanet_benco.benco.patches import Patches
from qmanet_benco.errors import RequestError


@dataclass(frozen=True)
class Baseline:
    """One model of the framework's zoo."""

    name: str
    """In the framework's registry."""
    row: str
    """In the paper's tables."""
    fresh: Mapping[str, Any] = field(default_factory=dict)
    """Flags of a random start without downloads; ``{framework}`` stands for the installed framework's folder."""
    footnotes: tuple[str, ...] = ()
    """Known faults of the framework's copy, for the report."""
    image_size: int = 512


BASELINES = {
    baseline.name: baseline
    for baseline in (
        Baseline("MantraNet", "ManTra-Net"),
        Baseline("PSCC_Net", "PSCC-Net", dict(pretrain_path="", input_size=512)),
        Baseline("MVSSNet", "MVSS-Net", dict(pretrained_base=False)),
        Baseline(
            "Cat_Net",
            "CAT-Net",
            dict(cfg_file="{framework}/statics/model_zoo/configs/CAT_full.yaml"),
            (
                "the framework feeds CAT-Net's DCT stream with the normalised image cast to 8 bits, whose values are "
                "0, 1, 2, 254 and 255, and not with a JPEG's coefficients",
            ),
        ),
        Baseline(
            "Trufor",
            "TruFor",
            dict(config_path="{framework}/statics/model_zoo/configs/trufor.yaml"),
            footnotes=("the framework normalises TruFor's input twice, so NoisePrint++ does not see a photo",),
        ),
        Baseline("IML_ViT", "IML-ViT", dict(input_size=512)),
        Baseline("Mesorch", "Mesorch", footnotes=("its output is fixed at 512 x 512",)),
    )
}


def model_class(name: str) -> Callable[..., nn.Module]:
    """A model of the framework's registry, with this package's registered beside the zoo's.

    Raises:
        RequestError: there is none of this name.
    """
    import IMDLBenCo.model_zoo  # noqa: F401  # registers
    from IMDLBenCo.registry import MODELS

    import qmanet_benco.benco.floor
    import qmanet_benco.benco.plugin  # noqa: F401  # registers

    known = sorted(MODELS._module_dict)
    if name not in known:
        close = get_close_matches(name, known, 3)
        cure = f"did you mean {' or '.join(close)}?" if close else ""
        raise RequestError(f"model {name!r}", "a model of the framework's registry", cure)
    found: Callable[..., nn.Module] = MODELS.get(name)
    return found


def check_flags(name: str, flags: Mapping[str, Any]) -> None:
    """Check a model's name and the names of its flags.

    Raises:
        RequestError: one is unknown.
    """
    parameters = inspect.signature(model_class(name)).parameters
    for flag in flags:
        if flag not in parameters:
            close = get_close_matches(flag, parameters, 1)
            cure = f"did you mean {close[0]}?" if close else ""
            raise RequestError(f"{name} has no flag {flag!r}", f"one of {', '.join(parameters) or 'none'}", cure)


def build_model(name: str, flags: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """Build a registered model from a random start that the seed decides.

    Args:
        name: in the framework's registry.
        flags: of its constructor; those of a fresh start are filled in where they are not given.
        seed: of Python's, numpy's and torch's generators; all are as they were afterwards.

    Raises:
        RequestError: the name or a flag is unknown, or the model cannot be built from these flags.
    """
    check_flags(name, flags)
    former = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count())
    with compat.without_cuda(), _without_downloads(), torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            return model_class(name)(**{**fresh_flags(name), **flags})
        except RequestError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise RequestError(
                f"{name} cannot be built ({type(error).__name__}: {reason})",
                "flags and files that its constructor accepts",
                f"see `qmanet benco test --model {name} --help`",
            ) from error
        finally:
            random.setstate(former[0])
            np.random.set_state(former[1])


class _Absent(dict[str, Any]):
    """What stands for pretrained weights that were not given."""


@contextmanager
def _without_downloads() -> Iterator[None]:
    """Constructors that load pretrained weights keep their random start where no file was given.

    MVSS-Net fetches a ResNet at construction (mvss_net/mvssnet.py), TruFor loads two files without asking whether they
    were named (trufor/trufor.py:27). A file that the user names is loaded as ever.
    """
    stock_load, stock_fill = torch.load, nn.Module.load_state_dict

    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        return _Absent() if f is None or f == "" else stock_load(f, *args, **kwargs)

    def fill(self: nn.Module, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        return None if isinstance(state, _Absent) else stock_fill(self, state, *args, **kwargs)

    def fetch(*_: Any, **__: Any) -> _Absent:
        return _Absent()

    with Patches() as patches:
        patches.set(torch, "load", load)
        patches.set(nn.Module, "load_state_dict", fill)
        patches.set(torch.hub, "load_state_dict_from_url", fetch)
        patches.set(torch.utils.model_zoo, "load_url", fetch)
        yield


def fresh_flags(name: str) -> dict[str, Any]:
    """Flags with which a baseline can be built on any machine; empty for models that need none."""
    if name not in BASELINES:
        return {}
    spec = find_spec("IMDLBenCo")
    framework = str(Path(spec.origin).parent) if spec and spec.origin else ""
    return {
        flag: value.replace("{framework}", framework) if isinstance(value, str) else value
        for flag, value in BASELINES[name].fresh.items()
    }


def post_function(name: str) -> Callable[[dict[str, Any]], None] | None:
    """What the framework does to a sample for this model, found as the stock scripts find it; None: nothing."""
    from IMDLBenCo.registry import POSTFUNCS

    model_class(name)
    try:
        found: Callable[[dict[str, Any]], None] = POSTFUNCS.get_lower(f"{name.lower()}_post_func")
    except Exception:  # the registry's error for an absent name is a bare one
        return None
    return found


def footnotes(name: str) -> tuple[str, ...]:
    """Known faults of the framework's copy of a model."""
    return BASELINES[name].footnotes if name in BASELINES else ()


def source_hash(name: str) -> str:
    """SHA-256 of the file that defines a model, which need not belong to a released version of anything."""
    path = inspect.getsourcefile(inspect.unwrap(model_class(name)))
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
