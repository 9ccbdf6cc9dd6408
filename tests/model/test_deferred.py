"""What the network does not need is not loaded for it, and is there for whoever asks."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_networks import tiny_network

pytestmark = pytest.mark.compat

HEAVY = (
    "torch._dynamo",
    "torchvision",
    "transformers",
    "huggingface_hub",
    "mmengine.runner",
    "mmcv.ops",
    "timm.models",
    "sympy",
)


def printed(code: str) -> str:
    """What a fresh interpreter prints."""
    run = subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


LATER = {
    "the zoo": "import IMDLBenCo.model_zoo; print(True)",
    "timm": "import timm; print(timm.list_models('vit_tiny*')[0][:8] == 'vit_tiny')",
    "timm's release": "from timm import __version__; print(__version__[0].isdigit())",
    "timm.layers": "from timm.layers import Mlp; import timm.layers.mlp as file; print(Mlp is file.Mlp)",
    "wrappers": "from mmengine.runner.checkpoint import CheckpointLoader; print(callable(CheckpointLoader))",
    "mmengine": "from mmengine.model import BaseModel, BaseModule; print(issubclass(BaseModel, BaseModule))",
    "mmcv": "from mmcv.cnn import ConvModule, VGG; print(callable(VGG))",
    "mmseg": "from mmseg.models.backbones import MixVisionTransformer as MiT; print(MiT is type(network.gae.mit))",
    "all of mmseg": "from mmseg.models import *; print(callable(build_backbone))",
    "nothing": "print(not hasattr(timm, 'no_such_name'))",
}


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What an interpreter that has analysed a photo prints: the heavy packages it has, and then of the later ones."""
    code = (
        "import sys, numpy; from qmanet_benco import load_model, predict; network = load_model('demo');"
        "predict(network, numpy.zeros((64, 80, 3), numpy.uint8));"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    return printed("\n".join([code, *LATER.values()])).splitlines()


def test_a_photo_is_analysed_without_the_packages_around_the_encoder(said: list[str]) -> None:
    assert [line for line in said if line.startswith("heavy:")] == ["heavy: []"]


def test_the_packages_are_whole_when_somebody_uses_them_afterwards(said: list[str]) -> None:
    assert said[-len(LATER) :] == ["True"] * len(LATER)


def test_packages_that_are_loaded_already_stay_as_they_are() -> None:
    code = "import timm; whole = vars(timm).copy(); from qmanet_benco import load_model; load_model('demo')"
    assert printed(f"{code}; print(type(timm).__name__, vars(timm).keys() >= whole.keys())") == "module True"


def test_a_pickled_network_opens_in_a_fresh_process(tmp_path: Path) -> None:
    """As for a loader's process that is spawned, which gets a pickle of the network before it has imported anything."""
    network = tiny_network("miniature")
    (tmp_path / "network.pickle").write_bytes(pickle.dumps(network))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'network.pickle')!r}, 'rb')).fingerprint)"
    assert printed(code) == network.fingerprint
