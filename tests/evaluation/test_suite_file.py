"""A suite file is checked word for word; every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.attacks import NONE, Attack
from qmanet_benco.evaluation.suite.suite_file import SHIPPED, read_suite, with_choices

GOOD = """\
image_size: 64
seed: 3
models:
  - {name: QMA-Net, model: QMANet, flags: {variant: miniature}, checkpoint: random}
  - name: QMA-Net
    model: QMANet
    seed: 1
sets:
  - {name: CASIAv1, path: prepared/casiav1, limit: 4}
attacks:
  - {jpeg: [50, 90]}
  - {noise_std: 11}
  - {jpeg: [90]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text)
    return path


def test_good_file_is_read_with_the_unattacked_images_first_and_each_attack_once(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    assert suite.attacks == (NONE, Attack("jpeg", 50.0), Attack("jpeg", 90.0), Attack("noise_std", 11.0))
    assert [(entry.name, entry.seed) for entry in suite.models] == [("QMA-Net", 0), ("QMA-Net", 1)]
    assert suite.models[0].flags == {"variant": "miniature"}
    assert (suite.name, suite.image_size, suite.seed, suite.sets[0].limit) == ("suite", 64, 3, 4)


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("image_size: 64", "image_sise: 64", 1, "did you mean image_size"),
        ("image_size: 64", "image_size: big", 1, "a whole number"),
        ("image_size: 64", "image_size: 8", 1, "32 to 8192"),
        ("image_size: 64", "image_size: true", 1, "a whole number"),
        ("seed: 3", "seed: 3\nseed: 4", 3, "twice"),
        ("seed: 3", "batch: 0", 2, "1 or more"),
        ("seed: 3", "resize: crop", 2, "resize or pad"),
        ("seed: 3", "precision: fp8", 2, "fp32, bf16 or amp"),
        ("seed: 3", "seed: [1", 3, "expected"),
        ("model: QMANet, flags", "modell: QMANet, flags", 4, "did you mean model"),
        ("flags: {variant: miniature}", "flags: {variant: [1]}", 4, "a text or a number"),
        ("    model: QMANet\n", "", 5, "no model"),
        ("    seed: 1", "    seed: 0", 5, "twice"),
        ("path: prepared/casiav1", "paht: prepared/casiav1", 9, "did you mean path"),
        ("path: prepared/casiav1, ", "", 9, "either a path or generate"),
        ("path: prepared/casiav1", "generate: {number: 3}", 9, "count"),
        ("limit: 4", "limit: -4", 9, "0 (all) or more"),
        ("{jpeg: [50, 90]}", "{jepg: [50, 90]}", 11, "did you mean jpeg"),
        ("{jpeg: [50, 90]}", "{jpeg: [50, lots]}", 11, "a list of numbers"),
        ("{jpeg: [50, 90]}", "{jpeg: [500]}", 11, "jpeg"),
        ("{jpeg: [50, 90]}", "jpeg", 11, "one name with its levels"),
        ("models:", "modles:", 3, "did you mean models"),
        ("seed: 3", "3: 3", 2, "a key that is text"),
        ("{noise_std: 11}", "[noise_std]", 12, "one name with its levels"),
        ("attacks:", "plugins: [1]\nattacks:", 10, "plugins: 1; expected text"),
    ],
)
def test_mistake_is_told_with_its_line_and_what_was_expected(
    tmp_path: Path, was: str, becomes: str, line: int, says: str
) -> None:
    assert was in GOOD
    path = write(tmp_path, GOOD.replace(was, becomes, 1))
    with pytest.raises(RequestError) as caught:
        read_suite(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "models: []\nsets: []", "- a\n- b", "models: {a: 1}", "\x00"])
def test_what_is_no_suite_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError):
        read_suite(write(tmp_path, text))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        read_suite(tmp_path / "absent.yaml")


def test_shipped_suites_are_found_by_name_and_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in SHIPPED.glob("*.yaml"):
        assert read_suite(path.name).name == path.stem
    assert {path.stem for path in SHIPPED.glob("*.yaml")} == {"demo", "detection", "paper"}


def test_command_line_replaces_paths_and_chooses_models(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, GOOD))
    chosen = with_choices(suite, {"CASIAv1": "here", "Columbia": "there"}, {"QMA-Net": "best.pth"}, ["QMA-Net"])
    assert [(entry.name, entry.path) for entry in chosen.sets] == [("CASIAv1", "here"), ("Columbia", "there")]
    assert {entry.checkpoint for entry in chosen.models} == {"best.pth"}
    with pytest.raises(RequestError, match="one of QMA-Net"):
        with_choices(suite, {}, {"QMANet": "best.pth"})
