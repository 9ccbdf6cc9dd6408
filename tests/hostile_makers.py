"""Makers of hostile files: each takes the path to fill. Nothing here is larger than some megabytes on the disk."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qmanet_benco.evaluation.suite.records import KEYS, NUMBERS, TRUTH, WHOLE

Make = Callable[[Path], object]
RED = (200, 10, 10)


def photo(width: int = 80, height: int = 64) -> Image.Image:
    """Smooth, with a red corner; the same at every call."""
    rows, columns = np.mgrid[:height, :width]
    plane = np.stack([columns % 256, rows % 256, (rows + columns) % 256], axis=2).astype(np.uint8)
    plane[:8, :8] = RED
    return Image.fromarray(plane)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def text(content: str | bytes) -> Make:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content)


def saved(kind: str, image: Callable[[], Image.Image] = photo, **options: Any) -> Make:
    return lambda path: path.write_bytes(encoded(image(), kind, **options))


def part(kind: str, keep: float) -> Make:
    def make(path: Path) -> None:
        content = encoded(photo(300, 200), kind)
        path.write_bytes(content[: int(len(content) * keep)])

    return make


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + chunk(b"IEND", b"")


def png_with(kind: bytes, content: bytes) -> bytes:
    """A pixel and a chunk that holds something compressed under the name ``a``."""
    return png(1, 1, chunk(kind, b"a\0\0" + zlib.compress(content, 1)), rows=b"\0abc")


def gif_bomb() -> bytes:
    content = bytearray(encoded(photo().convert("P"), "GIF"))
    content[6:10] = struct.pack("<HH", 65535, 65535)
    return bytes(content)


def bmp_bomb() -> bytes:
    content = bytearray(encoded(photo(), "BMP"))
    content[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(content)


def tiff(width: int, height: int, next_directory: int = 0) -> bytes:
    """An uncompressed grey TIFF whose header claims a size; its data are eight bytes."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    entries += [(279, 4, min(width * height, 64))]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    directory += struct.pack("<I", next_directory)
    return struct.pack("<2sHI", b"II", 42, 72) + bytes(64) + directory


def big_endian_grey() -> bytes:
    """A TIFF of 2 x 2 pixels of 16 bits, big-endian (Pillow's mode I;16B)."""
    values = struct.pack(">4H", 0, 65535, 65535, 0)
    entries = [(256, 3, 2), (257, 3, 2), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 3, 2), (279, 4, 8)]
    directory = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(">I", value) if kind == 4 else struct.pack(">HH", value, 0)
        directory += struct.pack(">HHI", tag, kind, 1) + packed
    return struct.pack(">2sHI", b"MM", 42, 16) + values + directory + struct.pack(">I", 0)


def lab_tiff() -> bytes:
    return encoded(Image.new("LAB", (4, 4)), "TIFF")


def frames(kind: str, **options: Any) -> Make:
    others = [Image.new("RGB", (80, 64), colour) for colour in ("green", "blue")]
    return saved(kind, save_all=True, append_images=others, **options)


def turned(orientation: int) -> Make:
    """A photo stored so that a viewer who obeys EXIF sees the red corner at the top left."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }

    def make(path: Path) -> None:
        image = photo()
        image = image.transpose(undo[orientation]) if orientation in undo else image
        exif = Image.Exif()
        exif[0x0112] = orientation
        path.write_bytes(encoded(image, "PNG", exif=exif))

    return make


def link(target: str) -> Make:
    return lambda path: path.symlink_to(target)


def sparse(size: int) -> Make:
    def make(path: Path) -> None:
        path.write_bytes(encoded(photo(), "PNG"))
        os.truncate(path, size)

    return make


def npy(shape: str, values: bytes = b"", kind: str = "|u1") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Make:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return make


def matlab(**values: Any) -> Make:
    def make(path: Path) -> None:
        from scipy.io import savemat

        savemat(path, values, do_compression=True)

    return make


class Trap:
    """Unpickling it writes the file that $HOSTILE_MARK names."""

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {os.environ['HOSTILE_MARK']}",))


def tensors() -> dict[str, Any]:
    import torch

    return {"layer.weight": torch.arange(6.0).view(2, 3)}


def torch_file(content: Callable[[], Any], *, zip_file: bool = True) -> Make:
    def make(path: Path) -> None:
        import torch

        torch.save(content(), path, _use_new_zipfile_serialization=zip_file)

    return make


def trapped() -> dict[str, Any]:
    return {"model": tensors(), "trap": Trap()}


def trapped_flags() -> dict[str, Any]:
    import argparse

    return {"model": tensors(), "args": argparse.Namespace(trap=Trap()), "epoch": 1}


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(trapped(), 4))


def tar_file(path: Path) -> None:
    """The oldest format of ``torch.save``: a tar file of pickles."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            content = pickle.dumps(Trap(), 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def pickle_bytes(body: bytes, storages: dict[str, bytes] | None = None, compression: int = 0) -> Make:
    """A zip file of torch.save with a pickle of one's own."""
    members = {"archive/data.pkl": b"\x80\x02" + body + b".", "archive/version": b"3\n", "archive/byteorder": b"little"}
    members |= {f"archive/data/{name}": content for name, content in (storages or {}).items()}
    return zipped(members, compression)


BYTE_ARRAY = b"}X\x05\x00\x00\x00modelcbuiltins\nbytearray\n\x8a\x05" + (10**10).to_bytes(5, "little") + b"\x85Rs"


def repeated(layout: str = "strided") -> dict[str, Any]:
    import torch

    if layout == "sparse":
        return {"model": {"a": torch.sparse_coo_tensor([[0]], [1.0], (10**12,))}}
    return {"model": {"a": torch.zeros(1).expand(10**12)}}


def compressed_storage(path: Path) -> None:
    """A checkpoint of 40 MB of zeros in less than one: deflated again after torch.save."""
    import torch

    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(4 * 10**7) if name.endswith("data/0") else content)


def shared_storage(path: Path) -> None:
    """A zip file whose directory names one entry a thousand times."""
    import torch

    torch.save({"model": {"a": torch.zeros(10**4)}}, path)
    with zipfile.ZipFile(path, "a") as archive:
        first = next(entry for entry in archive.infolist() if entry.filename.endswith("data/0"))
        for number in range(1000):
            copy = zipfile.ZipInfo(first.filename.replace("data/0", f"data/1{number}"))
            copy.file_size = copy.compress_size = first.file_size
            copy.CRC, copy.header_offset = first.CRC, first.header_offset
            archive.filelist.append(copy)
        archive._didModify = True


def safetensors(header: Any, values: bytes = bytes(24), length: int | None = None) -> Make:
    def make(path: Path) -> None:
        written = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(written) if length is None else length) + written + values)

    return make


def entry(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def network(metadata: dict[str, str] | None = None, **changes: Any) -> Make:
    """Weights of a small network; ``changes`` go into its stored configuration, or replace a tensor of that name."""

    def make(path: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        from qmanet_benco.model.weights.sources import DEMO_FILE

        state = load_file(DEMO_FILE)
        config = json.loads(bytes(state["_extra_state"].tolist()))
        raw = changes.pop("raw", None)
        content = (json.dumps({**config, **changes}) if raw is None else raw).encode()
        state["_extra_state"] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        save_file(state, path, metadata)

    return make


def flat_extra(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"_extra_state": torch.zeros(3, 3, dtype=torch.uint8)}, path)


def prepared(manifest: bytes = b"", files: dict[str, Make] | None = None) -> Make:
    """A ManiDataset folder with one good pair, and more files by name."""

    def make(path: Path) -> None:
        for name in ("Tp", "Gt"):
            (path / name).mkdir(parents=True, exist_ok=True)
        (path / "Tp" / "a.png").write_bytes(encoded(photo(), "PNG"))
        mask = np.zeros((64, 80), np.uint8)
        mask[:8, :8] = 255
        (path / "Gt" / "a.png").write_bytes(encoded(Image.fromarray(mask), "PNG"))
        if manifest:
            (path / "manifest.csv").write_bytes(manifest)
        for name, fill in (files or {}).items():
            fill(path / name)

    return make


def parquet(columns: dict[str, list[Any]], suite: Any = None, keep: float = 1.0) -> Make:
    """A run's folder with one file of records."""

    def make(path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        (path / "records").mkdir(parents=True)
        default: Any = {"name": "s", "image_size": 64, "resize": "resize", "precision": "fp32", "seed": 0, "batch": 1}
        default |= {"models": [{"name": "m", "model": "M", "seed": 0}], "sets": [{"name": "d", "images": 1}]}
        default |= {"environment": {}}
        (path / "suite.json").write_text(json.dumps(default if suite is None else suite))
        stream = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), stream)
        content = stream.getvalue()
        (path / "records" / "m@0 d none-0 0123456789abcdef.parquet").write_bytes(content[: int(len(content) * keep)])

    return make


COLUMNS = [name for name in (*NUMBERS, *TRUTH, *WHOLE) if name not in (*KEYS, "f1")]
FIELDS = b"file,mask,width,height,image_sha256,mask_sha256,tampered_fraction,kind,source,source_mask,note\n"


def archive(*, ring: bool = False, bomb: bool = False) -> Make:
    """An unpacked archive of CocoGlide with one good pair."""

    def make(path: Path) -> None:
        for name in ("fake", "mask"):
            (path / name).mkdir(parents=True)
        (path / "fake" / "glide_a.png").write_bytes(encoded(photo(), "PNG"))
        mask = np.zeros((64, 80), np.uint8)
        mask[:8, :8] = 255
        (path / "mask" / "glide_a.png").write_bytes(encoded(Image.fromarray(mask), "PNG"))
        if ring:
            (path / "fake" / "again").symlink_to(path)
            (path / "mask" / "self").symlink_to("self")
        if bomb:
            (path / "fake" / "glide_b.png").write_bytes(png(50000, 50000))
            (path / "mask" / "glide_b.png").write_bytes(encoded(photo(), "PNG"))
            os.mkfifo(path / "fake" / "glide_c.png")

    return make


def climbing_list(path: Path) -> None:
    """An archive of tampCOCO whose list names files outside."""
    path.mkdir()
    (path / "cm_COCO_list.txt").write_text("../../../etc/passwd,/etc/shadow\ncm\\..\\..\\a.jpg,b\0.png\n")
