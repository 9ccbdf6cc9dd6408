"""Every model of the zoo is scored as the framework's own test script scores it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas
import pytest
import torch
from made_sets import make_forgeries

from qmanet_benco.benco import scoring
from qmanet_benco.benco.launch.launcher import Run, launch
from qmanet_benco.benco.zoo import build as zoo
from qmanet_benco.benco.zoo.row import NO_EVAL
from qmanet_benco.evaluation.suite.run import run_suite
from qmanet_benco.evaluation.suite.suite_file import read_suite

SIZES = {"SparseViT": 512, "MSCDI_Net": 512}
"""Image sizes of the models that work at no smaller one."""
OWN = {"SAM": {"variant": "miniature", "weights": "random"}}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(zoo.BASELINES))
def test_mean_f1_is_what_the_framework_logs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the flags of the framework's script for the model; five images in batches of two, so that one is left.

    In training mode the framework's number is drawn: dropout is on, and it sets no seed. It is off here.
    """
    if zoo.row_of(name).is_scored_training:
        monkeypatch.setattr(torch.nn.Dropout, "forward", lambda _, values: values)
    size, flags = SIZES.get(name, 64), OWN.get(name, {})
    data = make_forgeries(tmp_path / "five", 5)
    with scoring.as_the_test_script():
        model = zoo.build_model(name, flags, seed=3, image_size=size)
    state = model.state_dict()
    for key, value in state.items():  # running statistics that are far from those of these images
        if key.endswith("running_mean"):
            value += 0.3
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    torch.save({"model": state}, folder / "checkpoint-0.pth")
    mode = [NO_EVAL] * (NO_EVAL in zoo.BASELINES[name].script_flags)
    own = [part for flag, value in flags.items() for part in (f"--{flag}", value)]
    (tmp_path / "sets.json").write_text(json.dumps({"five": str(data)}))
    shared = ("--model", name, "--image_size", str(size), "--if_resizing", "--num_workers", "0")
    files = (
        "--test_data_json",
        str(tmp_path / "sets.json"),
        "--checkpoint_path",
        str(folder),
        "--test_batch_size",
        "2",
    )
    out = ("--output_dir", str(tmp_path / "log"), "--log_dir", str(tmp_path / "log"))
    assert launch(Run("test", (*shared, *files, *out, *mode, *own))) == 0
    logged = json.loads((tmp_path / "log/five/log.txt").read_text().splitlines()[-1])["test_pixel-level F1"]

    suite = {
        "image_size": size,
        "batch": 2,
        "models": [{"name": name, "model": name, "flags": flags, "checkpoint": str(folder / "checkpoint-0.pth")}],
        "sets": [{"name": "five", "path": str(data)}],
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    assert not run_suite(read_suite(tmp_path / "suite.yaml"), tmp_path / "out").failures
    records = pandas.read_parquet(tmp_path / "out/records")
    assert len(records) == 5
    assert float(records["f1"].mean()) == pytest.approx(logged, abs=1e-6)


def test_the_mode_matters_for_mvss_net(tmp_path: Path) -> None:
    """In evaluation mode its masks are others: the test above would not pass by chance."""
    with scoring.as_the_test_script():
        model = zoo.build_model("MVSSNet", {}, seed=3)
        image = torch.rand(2, 3, 64, 64)
        batch = {"image": image, "mask": torch.zeros(2, 1, 64, 64), "edge_mask": torch.zeros(2, 1, 64, 64)}
        batch["label"] = torch.zeros(2)
        trained, _ = scoring.predict_batch(model.train(), batch, torch.device("cpu"))
        evaluated, _ = scoring.predict_batch(model.eval(), batch, torch.device("cpu"))
    assert float((trained - evaluated).abs().max()) > 1e-3
    assert zoo.row_of("MVSSNet").is_scored_training
    assert not zoo.row_of("Mesorch").is_scored_training
    assert not zoo.row_of("QMANet").is_scored_training
