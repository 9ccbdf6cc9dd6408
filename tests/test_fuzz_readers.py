"""Damaged copies of good files: every reader gives a right result or RequestError, whatever was damaged.

``runs/fuzz.sh MINUTES`` runs the same properties with many more examples.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from PIL import Image
from safetensors.torch import save

from qmanet_benco.apps.photo import read_photo
from qmanet_benco.benco.seam.checkpoints import check_checkpoint
from qmanet_benco.benco.seam.inputs import read_named_sets, read_set
from qmanet_benco.benco.seam.pairs import NEGATIVE, Pair, check_pairs
from qmanet_benco.data.check.check import check
from qmanet_benco.data.masks import read_mask
from qmanet_benco.data.prepare.manifest import PreparedImage, read_journal, read_manifest
from qmanet_benco.data.prepare.ownership import INSIDE, written_by
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.suite.suite import Suite
from qmanet_benco.evaluation.suite.suite_file import read_suite
from qmanet_benco.images import UnusableFileError
from qmanet_benco.model.weights.files import read_checkpoint, state_dict_of

EXAMPLES = int(os.environ.get("QMANET_FUZZ_EXAMPLES", "40"))
SEEDED = "QMANET_FUZZ_EXAMPLES" not in os.environ
SLOWEST = 20.0
"""Seconds of the processor for one file of some kilobytes."""
fuzz = settings(
    derandomize=SEEDED,
    database=None,
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
)


@st.composite
def damaged(draw: DrawFn, originals: Callable[[], list[bytes]]) -> bytes:
    """A file with bytes replaced, cut out, doubled or inserted, or cut short."""
    content = bytearray(draw(st.sampled_from(originals())))
    for _ in range(draw(st.integers(1, 6))):
        end = max(1, len(content))
        place = draw(st.one_of(st.integers(0, min(end, 200) - 1), st.integers(0, end - 1)))
        match draw(st.sampled_from(("byte", "bytes", "number", "cut", "double", "insert", "end"))):
            case "byte":
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "bytes":
                new = draw(st.binary(min_size=1, max_size=16))
                content[place : place + len(new)] = new
            case "number":
                new = draw(st.sampled_from((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))).to_bytes(4, "little")
                content[place : place + 4] = new
            case "cut":
                del content[place : place + draw(st.integers(1, 64))]
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 64))]
            case "insert":
                content[place:place] = draw(st.binary(max_size=32))
            case "end":
                del content[place:]
    return bytes(content)


@lru_cache(1)
def images() -> list[bytes]:
    """Small photos in every format that a folder of photos may hold."""
    rows, columns = np.mgrid[:48, :40]
    photo = Image.fromarray(np.stack([columns * 6, rows * 5, rows + columns], axis=2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for kind, options in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {"exif": exif}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("GIF", {"save_all": True, "append_images": [photo.rotate(90)]}),
        ("BMP", {}),
        ("JPEG2000", {}),
    ):
        stream = io.BytesIO()
        photo.save(stream, kind, **options)
        found.append(stream.getvalue())
    for mode in ("1", "P", "LA", "I;16", "CMYK"):
        stream = io.BytesIO()
        grey = (
            Image.fromarray((np.mgrid[:9, :9][0] * 7000).astype(np.uint16)) if mode == "I;16" else photo.convert(mode)
        )
        grey.save(stream, "TIFF" if mode == "CMYK" else "PNG")
        found.append(stream.getvalue())
    return found


@lru_cache(1)
def arrays() -> list[bytes]:
    from scipy.io import savemat

    plane = np.eye(6, dtype=np.uint8)
    streams = [io.BytesIO() for _ in range(4)]
    np.save(streams[0], plane)
    np.savez(streams[1], mask=plane)
    np.savez_compressed(streams[2], mask=plane)
    savemat(streams[3], {"mask": plane, "note": {"a": 1}}, do_compression=True)
    return [stream.getvalue() for stream in streams]


TENSORS = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.ones(2)}


@lru_cache(1)
def torch_files() -> list[bytes]:
    found = []
    for zip_file in (True, False):
        stream = io.BytesIO()
        torch.save({"model": TENSORS, "epoch": 3}, stream, _use_new_zipfile_serialization=zip_file)
        found.append(stream.getvalue())
    return found


@lru_cache(1)
def safetensors_files() -> list[bytes]:
    return [save(TENSORS, {"format": "pt", "image_size": "64"})]


@lru_cache(1)
def manifests() -> list[bytes]:
    lines = [
        "file,mask,width,height,image_sha256,mask_sha256,tampered_fraction,kind,source,source_mask,note",
        "Tp/a.png,Gt/a.png,80,64,0a,0b,0.250000,splice,a.png,m/a.png,",
        '"Tp/b, c.png",Gt/b.png,80,64,0a,0b,0.250000,splice,"b, c.png",m/b.png,"two, words"',
    ]
    return ["\n".join(lines).encode(), "\r\n".join(lines).encode("utf-8-sig")]


@lru_cache(1)
def json_files() -> list[bytes]:
    contents: list[object] = [
        [["/tmp/a.png", "Negative"], ["/tmp/b.png", "/tmp/c.png"]],
        {"demo": "/tmp/demo", "other": "/tmp/list.json"},
        {"file": "Tp/a.png", "mask": "Gt/a.png", "width": 1, "height": 2},
    ]
    return [json.dumps(content).encode() for content in contents]


@lru_cache(1)
def suites() -> list[bytes]:
    shipped = Path(read_suite.__code__.co_filename).with_name("suites")
    return [path.read_bytes() for path in sorted(shipped.glob("*.yaml"))] + [
        b"image_size: 64\nseed: 1\nmodels:\n  - &m {name: a, model: M, flags: {x: 1}}\n  - {name: b, model: M}\n"
        b"sets:\n  - {name: s, generate: {count: 2, size: 64}}\nattacks:\n  - {jpeg: [50, 90]}\n  - {noise_std: 3}\n"
    ]


@contextmanager
def written(content: bytes, name: str) -> Iterator[Path]:
    """A file of that content, which has to be dealt with in time."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, name)
        path.write_bytes(content)
        started = time.process_time()
        yield path
        assert time.process_time() - started < SLOWEST


def one_line(read: Callable[[], object], *refusals: type[Exception]) -> object:
    """The result of a reader, or None where it refused with one line; anything else goes on."""
    try:
        return read()
    except (RequestError, *refusals) as error:
        message = str(error)
    assert message.strip()
    assert len(message.splitlines()) == 1
    return None


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@fuzz
@given(damaged(images))
def test_a_damaged_photo_is_read_or_refused(content: bytes) -> None:
    with written(content, "x.jpg") as path:
        pixels = one_line(lambda: read_photo(path))
        assert pixels is None or (
            pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
        )
        one_line(lambda: check_pairs([Pair(str(path), NEGATIVE), Pair(str(path), str(path))], "set"))


@fuzz
@given(damaged(images))
def test_a_damaged_mask_is_read_or_refused(content: bytes) -> None:
    with written(content, "x.png") as path:
        mask = one_line(lambda: read_mask(path, "bright"), UnusableFileError)
        assert mask is None or (mask.dtype == bool and mask.ndim == 2 and mask.size)


@fuzz
@given(damaged(arrays), st.sampled_from(("npy", "npz", "mat")))
def test_a_damaged_array_is_read_or_refused(content: bytes, ending: str) -> None:
    with written(content, f"x.{ending}") as path:
        mask = one_line(lambda: read_mask(path, "nonzero"), UnusableFileError)
        assert mask is None or (mask.dtype == bool and mask.ndim == 2 and mask.size)


@fuzz
@given(damaged(torch_files))
def test_a_damaged_checkpoint_is_read_or_refused(content: bytes) -> None:
    with written(content, "checkpoint-1.pth") as path:
        state = one_line(lambda: state_dict_of(read_checkpoint(path)))
        assert state is None or all(isinstance(tensor.sum(), torch.Tensor) for tensor in state.values())
        one_line(lambda: check_checkpoint(path, "--resume", False))


@fuzz
@given(damaged(safetensors_files))
def test_damaged_safetensors_are_read_or_refused(content: bytes) -> None:
    with written(content, "x.safetensors") as path:
        state = one_line(lambda: state_dict_of(read_checkpoint(path)))
        assert state is None or all(isinstance(tensor.double().sum(), torch.Tensor) for tensor in state.values())


@fuzz
@given(damaged(manifests))
def test_a_damaged_manifest_names_nothing_outside_its_folder(content: bytes) -> None:
    with written(content, "manifest.csv") as path:
        names = written_by(read_manifest(path.parent))
        assert all(INSIDE.fullmatch(name) for name in names)
        assert all((path.parent / name).resolve().is_relative_to(path.parent.resolve()) for name in names)


@fuzz
@given(damaged(json_files))
def test_a_damaged_list_is_read_or_refused(content: bytes) -> None:
    with written(content, "list.json") as path:
        found = one_line(lambda: read_set(path, "--data_path"))
        named = one_line(lambda: read_named_sets(path, "--test_data_json"))
        assert found is None or isinstance(found, Sequence)
        assert named is None or isinstance(named, Mapping | Sequence)
        one_line(lambda: check([path]))
        (path.parent / ".journal.jsonl").write_bytes(content)
        assert all(isinstance(row, PreparedImage) for row in read_journal(path.parent))


@fuzz
@given(damaged(suites))
def test_a_damaged_suite_is_read_or_refused(content: bytes) -> None:
    with written(content, "x.yaml") as path:
        suite = one_line(lambda: read_suite(path))
        assert suite is None or (isinstance(suite, Suite) and suite.models and suite.sets)


def test_damage_is_found() -> None:
    """The properties above would hold for readers that refuse everything; these files are whole."""
    with written(images()[0], "x.jpg") as path:
        assert read_photo(path).shape == (40, 48, 3), "turned as EXIF says"
    for content in torch_files():
        with written(content, "checkpoint-1.pth") as path:
            assert state_dict_of(read_checkpoint(path)).keys() == TENSORS.keys()
    for content in manifests():
        with written(content, "manifest.csv") as path:
            assert len(read_manifest(path.parent)) == len(list(csv.reader(io.StringIO(content.decode())))) - 1
    for content in suites():
        with written(content, "x.yaml") as path:
            assert read_suite(path).models
    for content in arrays()[:1]:
        with written(content, "x.npy") as path:
            assert read_mask(path, "nonzero").sum() == 6
