"""Everything that reads files which somebody else made, each as a function from a path to a short result."""

from __future__ import annotations

import json
import logging
from pathlib import Path

logging.disable()


def read_photo(path: Path) -> str:
    from qmanet_benco.apps.photo import read_photo

    pixels = read_photo(path)
    return f"{pixels.shape[0]}x{pixels.shape[1]} {','.join(map(str, pixels[0, 0]))}"


def read_pair(path: Path) -> str:
    from qmanet_benco.benco.seam.pairs import NEGATIVE, Pair, check_pairs

    check_pairs([Pair(str(path), NEGATIVE)], "set")
    return ""


def read_mask(path: Path) -> str:
    from qmanet_benco.data.masks import read_mask

    mask = read_mask(path, "bright")
    return f"{mask.shape[0]}x{mask.shape[1]} {mask.sum()} tampered"


def read_load_model(path: Path) -> str:
    from qmanet_benco.model.weights.builder import load_model

    return str(load_model(path).image_size)


def read_resume(path: Path) -> str:
    """``--resume`` and ``--checkpoint_path``."""
    from qmanet_benco.benco.seam.checkpoints import check_checkpoint

    check_checkpoint(path, "--resume", allow_pickle=False)
    return ""


def read_convert(path: Path) -> str:
    from qmanet_benco.model.weights.encoders import convert_file

    return str(convert_file(path, path.with_name("out.safetensors"), "mmseg"))


def read_backbone(path: Path) -> str:
    from qmanet_benco.model.weights.builder import create_model

    create_model("miniature", backbone_weights=str(path))
    return ""


def read_noiseprint(path: Path) -> str:
    from qmanet_benco.model.noiseprint import NoisePrintPP
    from qmanet_benco.model.weights.encoders import read_noiseprint
    from qmanet_benco.model.weights.pretrained import find_weights

    NoisePrintPP().load_published(read_noiseprint(find_weights(str(path))))
    return ""


def read_suite_checkpoint(path: Path) -> str:
    import torch

    from qmanet_benco.benco.scoring import load_weights

    load_weights(torch.nn.Linear(2, 3), path, False)
    return ""


def read_check(path: Path) -> str:
    from qmanet_benco.data.check.check import check

    report = check([path])[0]
    return "; ".join(f"{finding.level} {finding.what}" for finding in report.findings)


def read_list(path: Path) -> str:
    from qmanet_benco.benco.seam.lists import read_set
    from qmanet_benco.benco.seam.pairs import check_pairs

    pairs = read_set(path, "--data_path")
    check_pairs(pairs, "--data_path")
    return f"{len(pairs)} pairs"


def read_sets(path: Path) -> str:
    from qmanet_benco.benco.seam.inputs import read_named_sets

    return str(len(read_named_sets(path, "--test_data_json")))


def read_manifest(path: Path) -> str:
    from qmanet_benco.data.prepare.manifest import read_journal, read_manifest
    from qmanet_benco.data.prepare.ownership import written_by

    rows = read_manifest(path) + read_journal(path)
    return f"{len(rows)} rows, ours: {' '.join(sorted(written_by(rows)))}"


def read_claim(path: Path) -> str:
    from qmanet_benco.data.prepare.manifest import claim

    if path.exists():
        claim(path, {"set": "casiav1"})
    return ""


def read_prepare(path: Path) -> str:
    from qmanet_benco.data.prepare.prepare import prepare

    made = prepare("cocoglide", path, path.with_name("out"))
    return f"{made.tampered} pairs, {made.failed} failed"


def read_tampcoco(path: Path) -> str:
    from qmanet_benco.data.prepare.prepare import prepare

    made = prepare("tampcoco", path, path.with_name("out"))
    return f"{made.tampered} pairs, {made.failed} failed"


def read_suite(path: Path) -> str:
    from qmanet_benco.evaluation.suite.suite_file import read_suite

    return f"{len(read_suite(path).models)} models"


def read_records(path: Path) -> str:
    from qmanet_benco.evaluation.suite.records import read_rows

    return json.dumps([len(read_rows(file)) for file in sorted(path.glob("records/*"))])


def read_report(path: Path) -> str:
    from qmanet_benco.evaluation.report.report import make_report

    return str(len(make_report(path, ("md",))))
