"""The launcher's own flags of a training."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from forgeries import make_set, train_flags
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qmanet_benco.benco.launch.launcher import Run, launch
from qmanet_benco.benco.resume import holdout
from qmanet_benco.benco.resume.holdout import photos_of, shared_photos, split_pairs
from qmanet_benco.benco.resume.schedule import batches_of_epoch
from qmanet_benco.benco.seam import options
from qmanet_benco.benco.seam.options import Options
from qmanet_benco.benco.seam.pairs import Pair
from qmanet_benco.errors import RequestError


def test_own_flags_are_taken_out_and_others_stay_in_order() -> None:
    own, rest = options.split(
        "train", ["--lr", "1", "--keep", "2", "--variant=b0", "--augment=none", "--max-steps", "9"]
    )
    assert own == Options(keep=2, augment="none", max_steps=9)
    assert rest == ["--lr", "1", "--variant=b0"]


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("test", ["--keep", "2"]),
        ("train", ["--keep", "-1"]),
        ("train", ["--augment", "some"]),
        ("train", ["--val-fraction", "1"]),
        ("train", ["--clip-grad", "nan"]),
        ("train", ["--max-steps", "many"]),
        ("train", ["--keep"]),
    ],
)
def test_wrong_values_are_one_line(script: str, flags: list[str]) -> None:
    with pytest.raises(RequestError, match=flags[0]):
        options.split(script, flags)


def test_help_lists_every_flag() -> None:
    text = options.help_text()
    assert all(options.written(flag.name) in text for flag in options.FLAGS)


def test_a_flag_whose_correction_is_left_out_is_refused(tmp_path: Path) -> None:
    flags = tuple(train_flags(tmp_path, tmp_path, tmp_path / "out", "--keep", "1"))
    with pytest.raises(RequestError, match="--keep without the correction exact-resume"):
        launch(Run("train", flags, stock=True))


@given(steps=st.integers(1, 500), batches=st.integers(1, 50), accum=st.integers(1, 8))
def test_a_bounded_run_has_exactly_its_steps(steps: int, batches: int, accum: int) -> None:
    per_epoch = batches // accum
    if not per_epoch:
        return
    epochs = math.ceil(steps / per_epoch)
    taken = [batches_of_epoch(steps, batches, accum, epoch) for epoch in range(epochs)]
    assert all(count for count in taken)
    assert sum((count or 0) // accum for count in taken) == steps


def test_max_steps_ends_the_schedule_with_a_checkpoint_and_a_validation(tmp_path: Path) -> None:
    make_set(tmp_path / "train", 6)
    make_set(tmp_path / "test", 2, seed=1)
    out = tmp_path / "out"
    more = ("--max-steps", "5", "--augment", "none", "--min_lr", "1e-5", "--val-fraction", "0.3", "--epochs", "200")
    assert launch(Run("train", tuple(train_flags(tmp_path / "train", tmp_path / "test", out, *more)))) == 0
    lines = [json.loads(line) for line in (out / "log.txt").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]  # four images remain: two steps an epoch
    assert "test_pixel-level F1" in lines[-1]
    stored = torch.load(out / "checkpoint-2.pth", weights_only=False)
    assert {int(state["step"]) for state in stored["optimizer"]["state"].values()} == {5}
    # cosine at four fifths of the way
    assert stored["optimizer"]["param_groups"][0]["lr"] == pytest.approx(
        1e-5 + 0.99e-3 * 0.5 * (1 - 0.80901699), rel=1e-5
    )
    split = json.loads((out / "val_split.json").read_text())
    assert split["shared_photos"] == []
    assert (len(split["train"]), len(split["validation"])) == (4, 2)


def test_without_augmentation_a_sample_is_what_a_test_gives(tmp_path: Path) -> None:
    import albumentations
    from IMDLBenCo.datasets import ManiDataset

    from qmanet_benco.benco.launch.own_flags import leave_unaugmented
    from qmanet_benco.benco.seam.patches import Patches

    folder = str(make_set(tmp_path, 1))
    size = dict(is_resizing=True, output_size=(64, 64))
    plain = ManiDataset(folder, common_transforms=albumentations.Compose([]), **size)[0]
    with Patches() as patches:
        leave_unaugmented(patches)
        sample = ManiDataset(folder, common_transforms=albumentations.HorizontalFlip(p=1), **size)[0]
    assert torch.equal(sample["image"], plain["image"])


@pytest.mark.parametrize(
    ("name", "photos"),
    [
        ("Tp_D_CRN_S_N_cha00063_art00014_11818.jpg", ["CASIA:cha00063", "CASIA:art00014"]),
        ("Sp_D_CNN_A_art0024_ani0032_0268.jpg", ["CASIA:art0024", "CASIA:ani0032"]),
        ("Au_ani_00001.jpg", ["CASIA:ani00001"]),
        ("splice_astronaut_00012.png", ["demo forgeries:astronaut"]),
        ("c8tf5mq_0.png", ["IMD2020:c8tf5mq"]),
        ("39406_0.jpg", ["AutoSplice:39406"]),
        ("39406_1.jpg", ["AutoSplice:39406"]),
        ("12t.tif", ["Coverage:12"]),
        ("12.tif", []),
        ("1a1ogs_c8_0.png", ["IMD2020:1a1ogs"]),
        ("splice_ani0001-cha0002_00003.jpg", ["CASIA:ani0001", "CASIA:cha0002"]),
        ("removal_ani0001_00004.png", ["CASIA:ani0001"]),
        ("real_Sp_D_CNN_A_art0024_ani0032_0268_00001.png", ["CASIA:art0024", "CASIA:ani0032"]),
        ("image_7.png", []),
        ("photo01.png", []),
    ],
)
def test_names_tell_their_photos(name: str, photos: list[str]) -> None:
    assert photos_of(f"/data/Tp/{name}") == photos


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=20, max_size=60, unique=True),
    st.floats(0.05, 0.6),
    st.integers(0, 5),
)
def test_a_split_shares_no_photo_and_does_not_depend_on_the_order(
    sources: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    names = [f"Tp_D_CRN_S_N_cha{a:05d}_art{b:05d}_{i:05d}.jpg" for i, (a, b) in enumerate(sources)]
    pairs = [Pair(name, f"{name}.png") for name in [*names, *(f"x{number}.png" for number in range(20))]]
    try:
        split = split_pairs(pairs, fraction, seed)
    except RequestError:
        return  # one group holds all
    assert shared_photos(split.train, split.validation) == []
    assert sorted([*split.train, *split.validation]) == sorted(pairs)
    assert len(split.validation) <= max(1, round(fraction * len(pairs)))
    assert set(split_pairs(pairs[::-1], fraction, seed).validation) == set(split.validation)


def _photo(path: Path, seed: int) -> Image.Image:
    tones = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(tones).resize((160, 160), Image.Resampling.BICUBIC)
    image.save(path)
    return image


def test_copies_are_on_one_side_whatever_their_names(tmp_path: Path) -> None:
    twins: list[tuple[str, str]] = []
    for seed in range(10):
        image = _photo(tmp_path / f"p{seed}.png", seed)
        other = f"p{seed} (1).png" if seed % 2 else f"saved-again-{seed}.jpg"
        if seed % 2:
            shutil.copy(tmp_path / f"p{seed}.png", tmp_path / other)
        else:
            image.save(tmp_path / other, quality=70)
        twins.append((f"p{seed}.png", other))
    for name in ("39406_0.png", "39406_1.png", "39407_0.png"):
        _photo(tmp_path / name, 100 + len(twins) + int(name[4:5]) * 7 + int(name[6:7]))
    pairs = [Pair(str(path), "Negative") for path in sorted(tmp_path.iterdir())]
    for seed in range(20):
        split = split_pairs(pairs, 0.3, seed)
        sides = [{Path(pair.image).name for pair in side} for side in (split.train, split.validation)]
        for one, other in [*twins, ("39406_0.png", "39406_1.png")]:
            assert {one, other} <= sides[0] or {one, other} <= sides[1]
        assert (split.by_photo, split.compared, split.copies) == (3, 23, 0)


def test_what_cannot_be_known_is_called_unknown(tmp_path: Path) -> None:
    for seed in range(6):
        _photo(tmp_path / f"{seed}.png", seed)
    known = holdout._told(split_pairs([Pair(str(path), "Negative") for path in tmp_path.iterdir()], 0.3, 0), tmp_path)
    assert "photos in both parts: 0 by the contents of 6" in known
    assert "whether the 6 other names share a photo beyond copies is unknown" in known
    absent = [Pair(f"/absent/x{number}.png", "Negative") for number in range(6)]
    unread = holdout._told(split_pairs(absent, 0.3, 0), tmp_path)
    assert "photos in both parts: unknown" in unread


def test_equal_names_in_several_folders_are_drawn_alike_in_whatever_order() -> None:
    pairs = [
        Pair(f"/{folder}/Tp/x{number}.png", f"/{folder}/Gt/x{number}.png") for folder in "abc" for number in range(10)
    ]
    split = split_pairs(pairs, 0.12, seed=0)
    assert set(split_pairs(pairs[::-1], 0.12, seed=0).validation) == set(split.validation)


def test_the_switch_for_determinism_is_on_within_a_run_only() -> None:
    from qmanet_benco.benco.resume.determinism import be_deterministic
    from qmanet_benco.benco.seam.patches import Patches, environment

    with environment({}), Patches() as patches:
        be_deterministic(patches)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert options.split("train", ["--deterministic"])[0].deterministic


def test_doctor_names_what_differs_on_cuda() -> None:
    from qmanet_benco.benco.launch import doctor

    operations = [cause["operation"] for cause in doctor.diagnose().to_json()["nondeterministic"]]
    assert any("bilinear" in operation for operation in operations)
