"""Other engines give PyTorch's probabilities at every size; damaged or foreign files are refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_models import miniature
from PIL import Image
from skimage.data import astronaut
from torch import Tensor

from qmanet_benco import create_model, load_model, predict
from qmanet_benco.apps.engines import conversion, export
from qmanet_benco.apps.engines.engines import EngineModel, build_engine, chosen_device, load_engine, load_localizer
from qmanet_benco.apps.predict import normalised
from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import Calibration
from qmanet_benco.model.config import variant_config
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.weights.release import export_safetensors

NAMES = {"onnx": "model.onnx", "openvino": "model.xml"}


CALIBRATION = Calibration(0.3, True, -1.0, (0.5, 1.0, 0.25), authentic=20, tampered=30, false_alarms=0.05, gate=0.4)


@pytest.fixture(scope="module")
def model() -> QMANetwork:
    made = miniature(96)
    made.calibration = CALIBRATION
    return made


@pytest.fixture(scope="module")
def files(model: QMANetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with model.pth and what both exports wrote."""
    folder = tmp_path_factory.mktemp("exported")
    torch.save(model.state_dict(), folder / "model.pth")
    export_safetensors(folder / "model.pth", folder / "model.safetensors", image_size=96, calibration=CALIBRATION)
    for engine, name in NAMES.items():
        pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
        assert export.export_graph(folder / "model.safetensors", folder / name, engine) < 1e-5
    return folder


@pytest.fixture(scope="module")
def engines(files: Path) -> dict[str, EngineModel]:
    """Both files, loaded."""
    return {engine: load_engine(files / name, threads=1) for engine, name in NAMES.items()}


def image(batch: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("shape", [(1, 96, 96), (3, 64, 64), (2, 77, 130), (1, 201, 99), (1, 1, 1)])
def test_engine_gives_pytorch_s_probability_at_every_batch_and_size(
    engine: str, shape: tuple[int, int, int], model: QMANetwork, engines: dict[str, EngineModel]
) -> None:
    batch, height, width = shape
    x = image(batch, max(64, height), max(64, width))
    with torch.inference_mode():
        wanted = model(x)
    found = engines[engine](x)
    assert found.shape == wanted.shape
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


# into ONNX the model that ships is converted by docs/photo.md, whose commands test_documents.py runs, and the export
# itself refuses a difference of more than LARGEST_DIFFERENCE at two sizes
@pytest.mark.parametrize("engine", [pytest.param("onnx", marks=pytest.mark.slow), "openvino"])
def test_statistics_of_blocks_survive_the_conversion_at_every_size(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quantising again rounds, and engines differ in a coefficient's last bit: few pixels may differ by more."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    read: list[EngineModel] = []  # the export reads its file, which takes seconds: once is enough

    def read_once(path: Path) -> EngineModel:
        read.append(load_engine(path, threads=1))
        return read[-1]

    monkeypatch.setattr(export, "load_engine", read_once)
    torch.manual_seed(0)
    network = QMANetwork(variant_config("miniature-statistics", embed_dim=8, statistics_width=8)).eval()
    torch.nn.init.normal_(network.statistics.fine[0].projection.weight, std=0.1)
    torch.save(network.state_dict(), tmp_path / "model.pth")
    export_safetensors(tmp_path / "model.pth", tmp_path / "model.safetensors", image_size=96)
    export.export_graph(tmp_path / "model.safetensors", tmp_path / NAMES[engine], engine)
    (loaded,) = read
    for height, width in ((96, 128), (77, 131), (200, 64)):
        x = normalised(astronaut()[:height, :width])
        with torch.inference_mode():
            difference = (loaded(x) - network(x)).abs()
        assert difference.median() < 1e-5
        assert difference.max() < 0.01


def test_noiseprint_s_published_numbers_survive_both_conversions(shared_data: Callable[[str], Path]) -> None:
    """Its channels have means of thousands of times their spread: an engine that undid the centring would show."""
    torch.manual_seed(0)
    weights = str(shared_data("noiseprint++.th"))
    network = create_model("miniature", noise_sources="noiseprint", noiseprint_weights=weights).eval()
    smooth = torch.linspace(-1.5, 1.5, 96).repeat(1, 3, 64, 1) + 0.02 * image(1, 64, 96)
    with torch.inference_mode():
        wanted = network(smooth)
    for engine in NAMES:
        torch.testing.assert_close(build_engine(network, engine, 1)(smooth), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("engine", NAMES)
def test_file_says_what_it_was_made_from(
    engine: str, model: QMANetwork, files: Path, engines: dict[str, EngineModel]
) -> None:
    loaded = engines[engine]
    assert loaded.config == model.config
    assert loaded.image_size == 96
    assert loaded.fingerprint == load_model(files / "model.pth").fingerprint
    assert loaded.calibration == CALIBRATION


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("native", [False, True])
def test_photo_gets_the_same_mask_in_every_engine(
    engine: str, native: bool, model: QMANetwork, engines: dict[str, EngineModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmanet_benco.apps.predict.TILE", 80)
    monkeypatch.setattr("qmanet_benco.apps.predict.OVERLAP", 32)
    wanted = predict(model, photo(), native=native)
    found = predict(engines[engine], photo(), native=native)
    np.testing.assert_allclose(found.probability, wanted.probability, atol=1e-5)
    assert found.score == pytest.approx(wanted.score, abs=1e-5)


@pytest.mark.parametrize("engine", NAMES)
def test_threads_may_share_an_engine(engine: str, engines: dict[str, EngineModel]) -> None:
    inputs = [image(1, 96 + 8 * (index % 4), 96) for index in range(16)]
    alone = [engines[engine](x) for x in inputs]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(engines[engine], inputs))
    assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))


def test_building_an_engine_leaves_the_network_in_its_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("miniature", noise_sources="srm,bayar").train()
    network.gae.eval()
    modes = [module.training for module in network.modules()]
    pytest.importorskip("openvino")

    def traced(*_: object, **__: object) -> None:
        assert not any(module.training for module in network.modules())
        raise RuntimeError("even then")

    monkeypatch.setattr("openvino.frontend.pytorch.ts_decoder.TorchScriptPythonDecoder", traced)
    with pytest.raises(RuntimeError, match="even then"):
        build_engine(network, "openvino", 1)
    assert [module.training for module in network.modules()] == modes


def test_a_conversion_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    telemetry = pytest.importorskip("openvino_telemetry")
    told: list[object] = []
    monkeypatch.setattr("openvino_telemetry.utils.sender.TelemetrySender.send", lambda *_: told.append(_))
    for unreported in (conversion._unreported, contextlib.nullcontext):
        monkeypatch.setattr(telemetry.Telemetry, "_SingletonMetaClass__single_instance", None)  # as in a new process
        monkeypatch.delenv("CI", raising=False)
        with unreported():
            openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1, 3))
        assert "CI" not in os.environ
        assert bool(told) == (unreported is contextlib.nullcontext)


ENDED_IN_TURN = """
import os, signal
import numpy
import openvino
from openvino import opset13
from qmanet_benco.apps.engines.engines import OpenVinoEngine

def engine():
    image = opset13.parameter([1, 3, 8, 8], numpy.float32)
    return OpenVinoEngine(openvino.Model([opset13.relu(image)], [image]), 1)

signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
first, second = engine(), engine()
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_after_two_engines_is_handled() -> None:
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", ENDED_IN_TURN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.bin"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_file_is_refused_in_one_line(name: str, damage: str, files: Path, tmp_path: Path) -> None:
    for each in ("model.onnx", "model.xml", "model.bin"):
        (tmp_path / each).write_bytes((files / each).read_bytes())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(RequestError) as caught:
        load_engine(tmp_path / name.replace(".bin", ".xml"))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_weights_without_their_graph_s_other_half_are_refused(files: Path, tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes((files / "model.xml").read_bytes())
    with pytest.raises(RequestError, match=r"model\.bin is not a file"):
        load_engine(tmp_path / "model.xml")


def test_somebody_else_s_graph_is_refused(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    foreign = openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1, 3))
    openvino.save_model(foreign, tmp_path / "model.xml")
    with pytest.raises(RequestError, match="holds no QMA-Net"):
        load_engine(tmp_path / "model.xml")


@pytest.mark.parametrize(("engine", "module"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_missing_library_is_told_with_its_extra(
    engine: str, module: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for call in (
        lambda: load_engine(files / NAMES[engine]),
        lambda: load_localizer(str(files / "model.pth"), engine),
        lambda: export.export_graph(files / "model.pth", files / f"other{Path(NAMES[engine]).suffix}", engine),
    ):
        with pytest.raises(RequestError, match=rf"pip install 'qmanet-benco\[{engine}\]'"):
            call()


def test_predicting_with_pytorch_imports_neither_library(files: Path) -> None:
    code = (
        "import sys; from qmanet_benco.apps.engines.engines import load_localizer; "
        f"load_localizer({str(files / 'model.pth')!r}); print({{'openvino', 'onnxruntime'}} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("weights", "engine", "device"),
    [
        ("model.onnx", "openvino", ""),
        ("model.xml", "torch", ""),
        ("model.pth", "tensorrt", ""),
        ("model.onnx", "", "cuda"),
        ("model.pth", "", "cuda:77"),
        ("model.pth", "", "meta"),
        ("model.pth", "", "gpu"),
        ("model.pth", "", "mps"),
        ("model.pth", "", "xpu"),
    ],
)
def test_engine_that_does_not_fit_is_refused(weights: str, engine: str, device: str, files: Path) -> None:
    with pytest.raises(RequestError):
        load_localizer(str(files / weights), engine, device=device)


def test_a_gpu_whose_driver_is_too_old_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert chosen_device("") == torch.device("cpu")


def test_a_negative_number_of_threads_is_refused(files: Path) -> None:
    with pytest.raises(RequestError, match="-1 threads; expected 1 or more"):
        load_localizer(str(files / "model.pth"), threads=-1)


def test_somebody_else_s_bin_is_not_overwritten(files: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"of another program")
    with pytest.raises(RequestError, match=r"belongs to no weights\.xml"):
        export.export_graph(files / "model.pth", tmp_path / "weights.xml", "openvino")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]


@pytest.mark.parametrize("engine", NAMES)
def test_file_that_differs_is_not_left_behind(
    engine: str, files: Path, engines: dict[str, EngineModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(path: Path) -> Any:
        assert path.is_file()
        loaded = engines[engine]
        return EngineModel(lambda x: loaded(x) + 0.01, engine, loaded.config, 96, "")

    def written(_model: QMANetwork, path: Path) -> None:
        for each in files.glob(f"{path.stem}.*"):
            if each.suffix in (path.suffix, ".bin"):
                shutil.copy(each, path.parent)

    monkeypatch.setattr(export, f"_write_{engine}", written)
    monkeypatch.setattr(export, "load_engine", wrong)
    with pytest.raises(RequestError, match=r"differs by 1\.0e-02"):
        export.export_graph(files / "model.pth", tmp_path / NAMES[engine], engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "engine"), [("a.xml", "onnx"), ("a.onnx", "openvino"), ("a.onnx", "tflite")])
def test_export_s_name_must_fit_its_format(name: str, engine: str, files: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        export.export_graph(files / "model.pth", tmp_path / name, engine)


def test_command_predicts_with_an_exported_file(files: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from qmanet_benco.cli.main import app

    Image.fromarray(photo()).save(tmp_path / "a.png")
    masks = []
    for weights, more in (("model.pth", []), ("model.xml", []), ("model.pth", ["--engine", "onnx", "--threads", "1"])):
        out = tmp_path / f"out{len(masks)}"
        words = ["predict", str(tmp_path / "a.png"), "--weights", str(files / weights), "--image-size", "96"]
        ended = CliRunner().invoke(app, [*words, "--out", str(out), *more])
        assert ended.exit_code == 0, ended.output
        masks.append(np.asarray(Image.open(out / "a.probability.png"), np.int64))
    assert np.abs(np.stack(masks) - masks[0]).max() <= 2  # of 65535
