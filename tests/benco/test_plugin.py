"""QMANet as the framework meets it: flags in, the output dictionary out, and the cache of NoisePrint++."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import make_set
from IMDLBenCo.datasets import ManiDataset
from IMDLBenCo.evaluation import ImageF1, PixelF1, PixelIOU
from IMDLBenCo.registry import MODELS, POSTFUNCS
from IMDLBenCo.training_scripts.utils import misc
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor
from torch.utils.data import DataLoader

from qmanet_benco import QMANet
from qmanet_benco.benco import noise_transforms, plugin
from qmanet_benco.benco.noise_transforms import CACHE_VARIABLE, qmanet_post_func
from qmanet_benco.errors import RequestError
from qmanet_benco.model.losses import edge_band
from qmanet_benco.model.network import QMANetwork
from qmanet_benco.model.noise_view import SRM, Denormalise
from qmanet_benco.model.weights.builder import load_model

FLAGS = inspect.signature(QMANet).parameters


@pytest.fixture(autouse=True)
def _no_cache_left(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setenv(CACHE_VARIABLE, "")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("photos"), 3)


def miniature(**flags: Any) -> QMANet:
    return QMANet(**dict(variant="miniature", backbone_weights="random") | flags)


def batch(size: int = 64, count: int = 2) -> dict[str, Any]:
    """What the framework's loader gives, masks in float64 as it makes them."""
    mask = torch.zeros(count, 1, size, size, dtype=torch.float64)
    mask[:, :, 10:30, 20:50] = 1
    return {
        "image": torch.randn(count, 3, size, size),
        "mask": mask,
        "label": torch.ones(count, dtype=torch.int64),
        "origin_shape": torch.full((count, 2), size),
        "shape": torch.full((count, 2), size),
        "name": [f"photo{index}.png" for index in range(count)],
    }


def loaded(folder: Path, workers: int = 0) -> dict[str, Any]:
    """The set as one batch of the framework's dataset with our post function."""
    data = ManiDataset(str(folder), is_resizing=True, output_size=(64, 64), edge_width=7, post_funcs=qmanet_post_func)
    (only,) = DataLoader(data, batch_size=len(data), num_workers=workers)
    return only


def srm_of(image: Tensor) -> Tensor:
    return SRM()(Denormalise()(image))


# registration and flags


def test_importing_the_name_registers_model_and_post_function() -> None:
    assert MODELS.get("QMANet") is QMANet
    assert POSTFUNCS.get_lower("QMANet_post_func") is qmanet_post_func


@pytest.fixture
def _restored() -> Iterator[None]:
    """After a reload, give everybody the classes that they have imported."""
    modules = (plugin, noise_transforms)
    former = [dict(vars(module)) for module in modules]
    yield
    for module, names in zip(modules, former, strict=True):
        vars(module).update(names)
    MODELS.module_dict["QMANet"] = QMANet
    POSTFUNCS.module_dict["qmanet_post_func"] = qmanet_post_func


@pytest.mark.usefixtures("_restored")
def test_importing_twice_registers_once() -> None:
    before = (len(MODELS), len(POSTFUNCS))
    for module in (noise_transforms, plugin):
        importlib.reload(module)
    assert (len(MODELS), len(POSTFUNCS)) == before
    assert MODELS.get("QMANet") is plugin.QMANet is not QMANet


@pytest.mark.parametrize("name", FLAGS)
def test_flag_is_a_bare_type_with_a_default_of_it(name: str) -> None:
    assert FLAGS[name].annotation in (int, float, str)
    assert type(FLAGS[name].default) is FLAGS[name].annotation


@pytest.mark.parametrize("name", FLAGS)
def test_flag_has_a_help_text_in_the_docstring(name: str) -> None:
    arguments = inspect.getdoc(QMANet).split("Args:")[1].split("Raises:")[0]
    assert re.search(rf"^    {name}: \S.{{15,}}", arguments, re.MULTILINE)


def test_docstring_explains_no_flag_that_is_gone() -> None:
    arguments = inspect.getdoc(QMANet).split("Args:")[1].split("Raises:")[0]
    assert re.findall(r"^    (\w+):", arguments, re.MULTILINE) == list(FLAGS)


def test_the_framework_s_parser_makes_a_model_of_command_line_flags() -> None:
    parser = misc.create_argparser(QMANet)
    line = "--variant miniature --num_queries 3 --noise_sources srm --edge_width 5 --checkpointing 1 --bce_weight 0.5"
    flags = vars(parser.parse_args(line.split()))
    assert flags.keys() == FLAGS.keys()
    model = QMANet(**flags)
    config = model.network.config
    assert (config.variant, config.num_queries, config.noise_sources) == ("miniature", 3, ("srm",))
    assert (config.edge_width, config.bce_weight) == (5, 0.5)
    assert model.network.checkpointing


@pytest.mark.parametrize(
    ("flag", "value", "kept"),
    [
        ("dilations", "1,2", (1, 2)),
        ("keep_alignment", 1, True),
        ("residual_gain", 4.0, 4.0),
        ("residual", "initial", "initial"),
        ("shared_gcm", 0, False),
        ("gcm_groups", 1, 1),
        ("literal_first_block", 1, True),
        ("fusion_ratio", 0.25, 0.25),
        ("edge_supervision", "fused", "fused"),
        ("dice", "batch", "batch"),
    ],
)
def test_a_choice_that_the_paper_leaves_open_is_a_flag(flag: str, value: Any, kept: Any) -> None:
    changed = miniature(**{"variant": "miniature-cp", flag: value}).network.config
    usual = miniature(variant="miniature-cp").network.config
    assert getattr(changed, flag) == kept
    assert replace(changed, **{flag: getattr(usual, flag)}) == usual != changed


def test_a_variant_s_own_gain_stays_unless_another_is_named() -> None:
    assert miniature(variant="b0-light").network.config.residual_gain == 4
    assert miniature(variant="b0-light", residual_gain=1.0).network.config.residual_gain == 1


def test_defaults_of_the_flags_are_the_variant_s_own() -> None:
    config = miniature().network.config
    for name in ("edge_width", "segmentation_weight", "edge_weight", "bce_weight"):
        assert FLAGS[name].default == getattr(config, name)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (dict(edge_target="both"), "edge_target 'both'; expected one of model, dataset"),
        (dict(variant="tiny"), "variant 'tiny'; expected one of paper"),
        (dict(edge_width=4), "edge_width 4; expected an odd number"),
        (dict(dilations="1;2"), "dilations '1;2'; expected a comma list of rates"),
        (dict(dilations="0"), "dilations 0; expected 1 to 16 rates"),
        (dict(noise_sources="fft"), "noise_sources 'fft'; expected a comma list"),
    ],
)
def test_wrong_flag_is_quoted(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        miniature(**flags)


# the output dictionary


def test_training_step_returns_what_the_stock_trainer_reads() -> None:
    model = miniature().train()
    output = model(**batch(), if_predcit_label=False)  # the trainer's own spelling
    assert output.keys() == {"backward_loss", "pred_mask", "pred_label", "visual_loss", "visual_image"}
    assert output["backward_loss"].shape == ()
    output["backward_loss"].backward()
    assert any(parameter.grad is not None for parameter in model.parameters())
    assert output["pred_mask"].shape == (2, 1, 64, 64)
    assert 0 <= output["pred_mask"].min() < output["pred_mask"].max() <= 1


def test_image_score_is_one_number_of_0_to_1_for_each_image() -> None:
    scores = miniature().eval()(**batch())["pred_label"]
    assert scores.shape == (2,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert not scores.requires_grad


def test_visual_losses_are_scalars_without_a_graph_that_add_up() -> None:
    output = miniature()(**batch())
    losses = output["visual_loss"]
    levels = [f"edge_loss_level{level}" for level in (1, 2, 3, 4)]
    assert set(losses) == {"total_loss", "segmentation_loss", "edge_loss", *levels}
    for name, loss in losses.items():
        assert np.isfinite(loss.item()), name
        assert not loss.requires_grad, name
    assert losses["total_loss"].item() == output["backward_loss"].item()
    torch.testing.assert_close(losses["edge_loss"], sum(losses[level] for level in levels) / 4)
    torch.testing.assert_close(losses["total_loss"], 0.2 * losses["segmentation_loss"] + 0.8 * losses["edge_loss"])


def test_visual_images_can_be_shown_as_they_are() -> None:
    images = miniature()(**batch())["visual_image"]
    assert set(images) == {"noise_view", "edge_target", "edge_prediction"}
    for name, image in images.items():
        assert image.shape == (2, 3 if name == "noise_view" else 1, 64, 64), name
        assert 0 <= image.min() <= image.max() <= 1, name
        assert not image.requires_grad, name


def test_without_a_mask_there_is_a_prediction_and_no_loss() -> None:
    model, given = miniature().eval(), batch()
    output = model(given["image"])
    assert output["backward_loss"] is None
    assert output["visual_loss"] == output["visual_image"] == {}
    with torch.no_grad():
        torch.testing.assert_close(output["pred_mask"], model(**given)["pred_mask"])


def test_complexity_script_s_nones_are_accepted() -> None:
    model, given = miniature().eval(), batch()
    arguments = [given.get(name) for name in inspect.signature(model.forward).parameters]
    assert model(*arguments)["pred_mask"].shape == (2, 1, 64, 64)


def test_the_framework_s_evaluators_agree_with_scikit_learn_on_the_output() -> None:
    given = batch()
    with torch.no_grad():
        output = miniature().eval()(**given)
    output["pred_mask"] = (output["pred_mask"] - output["pred_mask"].median() + 0.5).clamp(0, 1)  # some of each class
    truth = given["mask"].flatten(1).int().numpy()
    predicted = (output["pred_mask"] > 0.5).flatten(1).int().numpy()
    for evaluator, score in ((PixelF1(), f1_score), (PixelIOU(), jaccard_score)):
        values = evaluator.batch_update(output["pred_mask"], given["mask"])
        expected = [score(t, p) for t, p in zip(truth, predicted, strict=True)]
        np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)
    images = ImageF1()
    images.remain_update(predict_label=output["pred_label"], label=given["label"])
    assert 0 <= float(images.epoch_update()) <= 1


# edges and padding


def test_edge_band_is_made_from_the_mask_the_network_sees() -> None:
    given = batch()
    other = {**given, "edge_mask": torch.ones_like(given["mask"])}
    model = miniature(edge_width=5)
    target = model(**other)["visual_image"]["edge_target"]
    assert torch.equal(target, edge_band(given["mask"], 5))


def test_dataset_s_band_is_used_where_it_is_asked_for() -> None:
    given = batch()
    given["edge_mask"] = edge_band(given["mask"], 3)
    model = miniature(edge_target="dataset")
    assert torch.equal(model(**given)["visual_image"]["edge_target"], given["edge_mask"])
    given["edge_mask"] = None
    with pytest.raises(RequestError, match=r"edge_target=dataset without an edge mask; .*--edge_mask_width 7"):
        model(**given)


def test_what_lies_in_the_padding_does_not_count_for_the_loss() -> None:
    model, given = miniature(edge_target="dataset").eval(), batch()
    given["edge_mask"] = edge_band(given["mask"], 3)
    given["shape_mask"] = torch.zeros_like(given["mask"])
    given["shape_mask"][..., :48, :] = 1
    outside = given["shape_mask"] == 0
    with torch.no_grad():
        first = model(**given)
        changed = {**given, "mask": given["mask"].masked_fill(outside, 1)}
        second = model(**changed)
        unpadded = model(**{**given, "shape_mask": None})
    torch.testing.assert_close(second["visual_loss"], first["visual_loss"])
    assert unpadded["visual_loss"]["segmentation_loss"] != first["visual_loss"]["segmentation_loss"]


def test_image_score_is_not_taken_from_the_padding() -> None:
    model, given = miniature().eval(), batch()
    with torch.no_grad():
        whole = model(**given)
        middle = whole["pred_mask"].flatten(1).median(dim=1).values.view(-1, 1, 1, 1)
        given["shape_mask"] = (whole["pred_mask"] <= middle).double()  # as if all that is suspicious were padding
        padded = model(**given)
    assert (whole["pred_label"] > middle.flatten()).all()
    assert (padded["pred_label"] <= middle.flatten()).all()


# residuals from the loader


@pytest.mark.parametrize("sources", ["srm", "srm,bayar", "bayar"])
def test_residual_from_a_loader_changes_nothing(sources: str, photos: Path) -> None:
    model, given = miniature(noise_sources=sources).eval(), loaded(photos)
    assert "srm_residual" not in given
    with torch.no_grad():
        computed = model(**given)
        attached = model(**given, srm_residual=srm_of(given["image"]))
    torch.testing.assert_close(attached["pred_mask"], computed["pred_mask"], rtol=0, atol=1e-5)
    torch.testing.assert_close(attached["backward_loss"], computed["backward_loss"], rtol=0, atol=1e-5)


def test_residual_from_a_loader_is_used(photos: Path) -> None:
    model, given = miniature(noise_sources="srm").eval(), loaded(photos)
    with torch.no_grad():
        before = model(**given)["visual_image"]["noise_view"]
        after = model(**given, srm_residual=srm_of(given["image"]).flip(3))["visual_image"]["noise_view"]
    assert (before - after).abs().max() > 1e-3


def test_srm_residual_is_computed_without_tf32(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []
    computed: list[list[str]] = []
    stock = SRM.forward

    @contextmanager
    def recorded(arithmetic: str) -> Iterator[None]:
        inside.append(arithmetic)
        yield
        inside.pop()

    def watched(self: SRM, rgb: Tensor) -> Tensor:
        computed.append(list(inside))
        return stock(self, rgb)

    monkeypatch.setattr(plugin, "precision", recorded)
    monkeypatch.setattr(SRM, "forward", watched)
    with torch.no_grad():
        miniature(noise_sources="srm").eval()(**loaded(photos))
    assert computed == [["fp32"]]


# the cache of NoisePrint++


class Counted:
    """A miniature with NoisePrint++ and a cache, and how many images NoisePrint++ was computed for."""

    def __init__(self, cache: Path | str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        sources = dict(noise_sources="srm,noiseprint", noiseprint_weights="random")
        self.model = miniature(noiseprint_cache=str(cache), **sources).eval()
        self.images = 0
        self.model.network.noise_view.noiseprint.register_forward_hook(self._count)

    def _count(self, module: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        self.images += len(output)

    @torch.no_grad()
    def __call__(self, given: dict[str, Any]) -> Tensor:
        return self.model(**given)["pred_mask"]

    def computed(self) -> int:
        """Images since the last call."""
        count, self.images = self.images, 0
        return count


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("workers", [0, 2])
def test_second_pass_finds_every_residual_and_gives_the_same(workers: int, photos: Path, tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    first = counted(loaded(photos, workers))
    assert counted.computed() == 3
    assert len(files_in(tmp_path)) == 3
    second = counted(loaded(photos, workers))
    assert counted.computed() == 0
    torch.testing.assert_close(second, first, rtol=0, atol=1e-6)


def test_cache_does_not_change_the_prediction(photos: Path, tmp_path: Path) -> None:
    cached, plain = Counted(tmp_path), Counted("")
    plain.model.load_state_dict(cached.model.state_dict())
    cached(loaded(photos))
    found = cached(loaded(photos))
    torch.testing.assert_close(found, plain(loaded(photos)), rtol=0, atol=1e-6)


def test_one_grey_level_in_one_pixel_is_computed_again(photos: Path, tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    counted(loaded(photos))
    counted.computed()
    given = loaded(photos)
    image = given["image"][1].clone()
    image[0, 5, 7] += 1 / 255 / 0.229
    sample = {"image": image}
    qmanet_post_func(sample)
    for name, tensor in sample.items():
        given[name][1] = tensor
    counted(given)
    assert counted.computed() == 1  # the other two of the batch are known


def test_other_weights_never_meet_each_other_s_residuals(photos: Path, tmp_path: Path) -> None:
    first = Counted(tmp_path, seed=1)
    first(loaded(photos))
    second = Counted(tmp_path, seed=2)
    assert first.model.residual_folder != second.model.residual_folder
    second(loaded(photos))
    assert second.computed() == 3


def test_loading_other_weights_turns_to_their_residuals(photos: Path, tmp_path: Path) -> None:
    counted, other = Counted(tmp_path, seed=1), Counted("", seed=2)
    counted(loaded(photos))
    counted.computed()
    counted.model.load_state_dict(other.model.state_dict())
    torch.testing.assert_close(counted(loaded(photos)), other(loaded(photos)))
    assert counted.computed() == 3


@pytest.mark.parametrize("second_cache", ["same folder", "none"])
def test_two_models_in_one_process_do_not_mix_their_residuals(second_cache: str, photos: Path, tmp_path: Path) -> None:
    first = Counted(tmp_path, seed=1)
    expected = first(loaded(photos))
    second = Counted(tmp_path if second_cache == "same folder" else "", seed=2)
    alone = Counted("", seed=2)
    # the loader now attaches residuals of one of the two; the other computes its own
    for _ in range(2):
        torch.testing.assert_close(second(loaded(photos)), alone(loaded(photos)), rtol=0, atol=1e-6)
        torch.testing.assert_close(first(loaded(photos)), expected, rtol=0, atol=1e-6)


def test_damaged_residual_is_computed_again_and_mended(photos: Path, tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    expected = counted(loaded(photos))
    counted.computed()
    damaged = files_in(tmp_path)[0]
    damaged.write_bytes(damaged.read_bytes()[:50])
    torch.testing.assert_close(counted(loaded(photos)), expected)
    assert counted.computed() == 1
    counted(loaded(photos))
    assert counted.computed() == 0


def test_training_stores_nothing(photos: Path, tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    counted.model.train()
    counted(loaded(photos))
    assert counted.computed() == 3
    assert files_in(tmp_path) == []


def test_no_cache_unless_it_is_asked_for(photos: Path) -> None:
    counted = Counted("")
    given = loaded(photos)
    assert "noiseprint_key" not in given
    counted(given)
    counted(given)
    assert counted.computed() == 6


def test_weights_that_come_with_the_checkpoint_start_the_cache_when_they_come(photos: Path, tmp_path: Path) -> None:
    trained = Counted("", seed=1)
    model = miniature(noise_sources="srm,noiseprint", noiseprint_cache=str(tmp_path))
    assert "noiseprint_key" not in loaded(photos)
    model.load_state_dict(trained.model.state_dict())
    assert "noiseprint_key" in loaded(photos)


def test_model_without_noiseprint_ignores_residuals_of_another(photos: Path, tmp_path: Path) -> None:
    Counted(tmp_path)
    model = miniature(noise_sources="srm").eval()
    given = loaded(photos)
    assert "noiseprint_residual" in given
    with torch.no_grad():
        assert model(**given)["pred_mask"].isfinite().all()


def test_network_inside_is_the_room_model_s() -> None:
    assert isinstance(miniature().network, QMANetwork)


def test_missing_noiseprint_weights_stop_the_first_training_step() -> None:
    model = miniature(noise_sources="noiseprint").train()
    with pytest.raises(RequestError, match=r"NoisePrint\+\+ has no weights.*qmanet weights fetch"):
        model(**batch())


def test_training_starts_from_a_trained_network_that_is_named() -> None:
    started = miniature(variant="miniature-statistics", initial_weights="demo").network.state_dict()
    trained = load_model("demo").state_dict()
    torch.testing.assert_close(started, trained, rtol=0, atol=0)
