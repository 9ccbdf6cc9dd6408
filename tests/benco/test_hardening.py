"""Each corrected defect, and that a correction ends with its run."""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from forgeries import IMAGE_SIZE, make_set, write_json
from torch import nn

from qmanet_benco.benco.corrections import cpu as compat
from qmanet_benco.benco.corrections import table as hardening
from qmanet_benco.benco.corrections.row import Request, around
from qmanet_benco.benco.corrections.utilities import argument_texts
from qmanet_benco.benco.launch import doctor
from qmanet_benco.benco.seam import checkpoints, flags
from qmanet_benco.benco.seam.checkpoints import newest_checkpoint, save_atomically
from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.errors import RequestError


@contextmanager
def only(name: str, script: str = "train", allow_pickle: bool = False) -> Iterator[None]:
    """One correction."""
    rows = [row for row in hardening.ROWS if row.name == name]
    assert len(rows) == 1
    with hardening.corrected(hardening.Request(script, allow_pickle), rows):
        yield


@pytest.mark.parametrize("row", [*hardening.ROWS, *compat.ROWS], ids=lambda row: row.name)
def test_the_installed_framework_still_has_the_stock_line(row: Any) -> None:
    assert doctor.stock_line(row.stock, row.pattern), row.stock


def test_stock_means_no_correction_and_without_means_all_but_one() -> None:
    assert hardening.selected("train", stock=True) == ()
    all_rows, rest = hardening.selected("train"), hardening.selected("train", without=["seeded-random"])
    assert {row.name for row in all_rows} - {row.name for row in rest} == {"seeded-random"}


def test_corrections_end_with_the_run() -> None:
    from IMDLBenCo.datasets import BalancedDataset, DummyDataset, JsonDataset
    from IMDLBenCo.datasets.abstract_dataset import AbstractDataset
    from IMDLBenCo.registry import POSTFUNCS
    from IMDLBenCo.training_scripts import tester
    from IMDLBenCo.training_scripts.tester import tester as module
    from IMDLBenCo.training_scripts.utils import misc

    owners = [BalancedDataset, DummyDataset, JsonDataset, AbstractDataset, POSTFUNCS, tester, module, misc, torch]
    before = [dict(vars(owner)) for owner in owners]
    for script in flags.SCRIPTS:
        with hardening.corrected(hardening.Request(script), hardening.selected(script)):
            assert [dict(vars(owner)) for owner in owners] != before
        assert [dict(vars(owner)) for owner in owners] == before


def test_seeding_keeps_cudnn_and_seeds_python_too() -> None:
    from IMDLBenCo.training_scripts.utils import misc

    former = torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic
    try:
        with only("cudnn-enabled"), only("seeded-random"):
            misc.seed_torch(3)
            first = random.random()
            assert torch.backends.cudnn.enabled
            assert torch.backends.cudnn.deterministic
            misc.seed_torch(3)
            assert random.random() == first
    finally:
        torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic = former
        os.environ.pop("PYTHONHASHSEED", None)


class _Code:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_checkpoint_runs_no_code_unless_it_may(tmp_path: Path) -> None:
    path, proof = tmp_path / "checkpoint-0.pth", tmp_path / "ran"
    torch.save({"model": _Code(proof)}, path)
    with only("safe-checkpoints"), pytest.raises(RequestError, match=r"checkpoint-0\.pth .*--allow-pickle"):
        torch.load(path, map_location="cpu", weights_only=False)
    assert not proof.exists()
    with only("safe-checkpoints", allow_pickle=True):
        torch.load(path)
    assert proof.exists()


def test_the_trainers_own_checkpoint_is_not_refused(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "checkpoint-0.pth"
    content = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "epoch": np.int64(3)}
    torch.save(content, path)
    with only("safe-checkpoints"):
        assert torch.load(path, weights_only=False) == content
    with only("resume"):
        assert torch.load(path) == content
    checkpoints.check_checkpoint(_with_model(path, content), "--resume", allow_pickle=False)


def _with_model(path: Path, content: dict[str, Any]) -> Path:
    torch.save({**content, "model": {}}, path)
    return path


def test_adamw_is_fused_and_steps_as_the_stock_one() -> None:
    optim_factory = pytest.importorskip("timm.optim.optim_factory")
    arguments = argparse.Namespace(
        opt="AdamW", lr=1e-2, weight_decay=0.05, momentum=0.9, betas=(0.9, 0.999), opt_eps=None
    )
    stepped = []
    for rows in ((), [row for row in hardening.ROWS if row.name == "fused-adamw"]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 1))
        with hardening.corrected(hardening.Request("train"), rows):
            made = optim_factory.create_optimizer(arguments, net)
        assert type(made) is torch.optim.AdamW
        assert {bool(group["fused"]) for group in made.param_groups} == {bool(rows)}
        assert sorted(group["weight_decay"] for group in made.param_groups) == [0.0, 0.05]
        for _ in range(3):
            made.zero_grad()
            net(torch.ones(4, 5)).square().sum().backward()
            made.step()
        stepped.append([parameter.detach().clone() for parameter in net.parameters()])
    torch.testing.assert_close(stepped[0], stepped[1])


def test_a_missing_or_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-0.pth"
    with only("safe-checkpoints"), pytest.raises(RequestError, match="is not a file"):
        torch.load(path)
    torch.save({"model": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:900])
    with only("safe-checkpoints"), pytest.raises(RequestError, match=r"checkpoint-0\.pth cannot be read"):
        torch.load(path)


def test_a_failed_write_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-0.pth"
    save_atomically({"epoch": 0}, path)

    class Full:
        def __reduce__(self) -> tuple[Any, ...]:
            raise OSError(28, "No space left on device")

    with pytest.raises(RequestError, match="No space left"):
        save_atomically({"model": torch.zeros(10), "broken": Full()}, path)
    assert torch.load(path) == {"epoch": 0}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, f"{path.name}.sha256"]


def test_the_trainer_writes_its_checkpoints_that_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from IMDLBenCo.training_scripts.utils import misc

    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("no fsync")))
    with only("atomic-checkpoints"), pytest.raises(RequestError, match="no fsync"):
        misc.save_on_master({"epoch": 0}, tmp_path / "checkpoint-0.pth")
    assert list(tmp_path.iterdir()) == []


def test_the_newest_checkpoint_is_the_latest_epoch_of_this_run(tmp_path: Path) -> None:
    for epoch, time in ((2, 50), (9, 150), (10, 160), (100, 20)):
        path = tmp_path / f"checkpoint-{epoch}.pth"
        torch.save({"model": {}}, path)
        os.utime(path, (time, time))
    assert newest_checkpoint(tmp_path, 100) == tmp_path / "checkpoint-10.pth"
    assert newest_checkpoint(tmp_path, 200) is None


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("checkpoint-12.pth", True), ("mesorch-98.pth", True), ("best.pth", False), ("a-b-1.pth", False)],
)
def test_names_are_accepted_where_the_stock_script_finds_an_epoch(name: str, accepted: bool) -> None:
    try:
        int(name.split("-")[1].split(".")[0])  # test.py:254
        stock = True
    except (IndexError, ValueError):
        stock = False
    assert stock is accepted
    assert (checkpoints.STOCK_NAME.fullmatch(name) is not None) is accepted


def test_what_is_wrong_with_a_list_is_said(tmp_path: Path) -> None:
    from IMDLBenCo.datasets import BalancedDataset, JsonDataset

    listed = write_json(tmp_path / "list.json", [[str(tmp_path / "absent.png"), "Negative"]])
    with only("list-errors"):
        with pytest.raises(RequestError, match=r"absent\.png does not exist"):
            JsonDataset(str(listed), is_resizing=True)
        with pytest.raises(RequestError, match=r"absent\.png does not exist"):
            BalancedDataset(str(listed), is_resizing=True)
        folder = make_set(tmp_path / "set", 2)
        balanced = write_json(tmp_path / "balanced.json", [["ManiDataset", str(folder)]])
        assert len(BalancedDataset(str(balanced), sample_number=3, is_resizing=True)) == 3


def test_a_pair_of_two_sizes_is_named_while_loading(tmp_path: Path) -> None:
    from IMDLBenCo.datasets import ManiDataset

    folder = make_set(tmp_path, 2)
    (folder / "Gt" / "photo00.png").write_bytes((folder / "Gt" / "photo01.png").read_bytes())
    dataset = ManiDataset(str(folder), is_resizing=True, output_size=(IMAGE_SIZE, IMAGE_SIZE))
    with only("named-files"):
        assert dataset[1]["mask"].sum() > 0
        with pytest.raises(RequestError, match=r"Tp/photo00\.png has 80x72 pixels and its mask .* 85x75"):
            dataset[0]


class _Documented(nn.Module):
    """A model.

    Args:
        width: channels
            of a layer
        flat: no hills

    Returns:
        nothing: at all
    """

    def __init__(self, width: int = 3, flat: bool = True, plain: str = "") -> None:
        super().__init__()


# what the framework takes for types; this module's annotations are strings
_Documented.__init__.__annotations__.update(width=int, flat=bool, plain=str)


def test_flags_are_explained_by_the_docstring() -> None:
    assert argument_texts(_Documented) == {"width": "channels of a layer", "flat": "no hills"}


def test_a_bool_flag_reads_false_as_false() -> None:
    from IMDLBenCo.training_scripts.utils import misc

    assert misc.create_argparser(_Documented).parse_args(["--flat", "False"]).flat is True
    with only("bool-flags"):
        parser = misc.create_argparser(_Documented)
        assert parser.parse_args(["--flat", "False"]).flat is False
        assert parser.parse_args(["--flat", "true"]).flat is True
        with only("flag-errors"), pytest.raises(RequestError, match="neither true nor false"):
            parser.parse_args(["--flat", "maybe"])


def test_attention_is_counted_in_closed_form() -> None:
    import fvcore.nn

    class Attention(nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(query, key, value)

    batch, heads, queries, keys, width = 2, 3, 5, 7, 4
    inputs = [torch.rand(batch, heads, length, width) for length in (queries, keys, keys)]
    assert fvcore.nn.FlopCountAnalysis(Attention(), tuple(inputs)).unsupported_ops_warnings(False).total() == 0
    with only("complexity-attention"):
        counted = fvcore.nn.FlopCountAnalysis(Attention(), tuple(inputs)).total()
    assert counted == 2 * batch * heads * queries * keys * width


def test_attributes_that_were_absent_or_inherited_are_removed_again() -> None:
    class Base:
        name = "base"

    class Derived(Base):
        pass

    with Patches() as patches:
        patches.set(Derived, "name", "patched")
        patches.set(Derived, "name", "twice")
        assert Derived.name == "twice"
        assert Base.name == "base"
    assert "name" not in vars(Derived)


def test_what_a_corrected_module_lacks_is_told_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outer_package").mkdir()
    (tmp_path / "outer_package" / "__init__.py").touch()
    (tmp_path / "outer_package" / "inner.py").write_text("import not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    patch = around("outer_package.inner:function")(lambda stock: stock())
    with Patches() as patches, pytest.raises(ModuleNotFoundError, match="not_installed"):
        patch(patches, Request("train"))
