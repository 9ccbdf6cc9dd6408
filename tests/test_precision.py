"""bf16 is what it says where the processor has it, and fp32 with a word where it has not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch

from qmanet_benco import load_model, precision
from qmanet_benco.apps.engines.engines import load_localizer
from qmanet_benco.apps.predict import predict
from qmanet_benco.errors import RequestError

CPU = torch.device("cpu")


@pytest.fixture
def has_bf16(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """PyTorch computes bfloat16 on every processor, only slowly where the instructions are missing."""
    return lambda answer: monkeypatch.setattr(precision, "has_bf16", lambda _: answer)


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(RequestError, match="expected one of fp32, bf16"):
        load_localizer("demo", precision="fp16")


def test_a_processor_without_bf16_computes_in_fp32_and_says_so(
    has_bf16: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    has_bf16(False)
    with caplog.at_level(logging.WARNING):
        model = load_localizer("demo", device="cpu", precision="bf16")
    assert model.precision == "fp32"
    assert [record.getMessage() for record in caplog.records if "bfloat16" in record.getMessage()] == [
        "this cpu has no bfloat16 arithmetic (avx512_bf16, AMX): fp32 is used"
    ]


def test_the_answer_of_this_processor_is_that_of_its_flags() -> None:
    from pathlib import Path

    flags = Path("/proc/cpuinfo")
    if not flags.is_file() or "avx" not in (words := set(flags.read_text(encoding="utf-8").split())):
        pytest.skip("no x86 with /proc/cpuinfo")
    assert precision.has_bf16(CPU) == bool({"avx512_bf16", "amx_tile"} & words)


def test_under_bf16_everything_but_the_noise_view_is_computed_in_it(has_bf16: Callable[[bool], None]) -> None:
    has_bf16(True)
    model = load_localizer("demo", device="cpu", precision="bf16")
    assert isinstance(model, torch.nn.Module)
    seen: dict[str, set[torch.dtype]] = {"noise_view": set(), "gae": set(), "lae": set(), "decoder": set()}
    for name, module in model.named_modules():
        part = name.partition(".")[0]
        if part in seen and isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *hooked, part=part: seen[part].add(hooked[2].dtype))
    found = predict(model, photo())
    assert seen.pop("noise_view") == {torch.float32}
    assert set.union(*seen.values()) == {torch.bfloat16}
    assert found.probability.dtype == np.float32


def test_bf16_answers_nearly_as_fp32(has_bf16: Callable[[bool], None]) -> None:
    has_bf16(True)
    half = predict(load_localizer("demo", device="cpu", precision="bf16"), photo())
    full = predict(load_model("demo"), photo())
    difference = np.abs(half.probability - full.probability)
    assert 0 < difference.max() < 0.05


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_other_engines_refuse_what_they_do_not_compute(engine: str) -> None:
    with pytest.raises(RequestError, match="--engine torch"):
        load_localizer("demo", engine, precision="bf16")
