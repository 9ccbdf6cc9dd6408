"""Files that somebody else made: each gets its right result or one line that says what is wrong with it.

The table says what every reader makes of every file. The readers run in a process of their own with little memory
(:data:`HEADROOM` above what its imports took) and little time (:data:`SECONDS` for each file): this file, started as a
script.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hostile_makers as made
from hostile_makers import Make, encoded, photo, png, saved, text

HEADROOM = 2 << 30
"""Bytes of address space. A photo of 179 megapixels, Pillow's bound, takes 0.54 GB as RGB, and is copied once."""
SECONDS = 20
"""Seconds of the processor; a reader that waits is stopped after :data:`PATIENCE` of the clock's."""
PATIENCE = 90
NOBODY = 65534
SUITE = "models: [{name: m, model: M}]\nsets: [{name: d, path: p}]\n"
ZEROS = bytes(3 * 10**7)
"""Thirty times what Pillow reads of a text; made in every process that collects tests, so no larger."""


@dataclass(frozen=True)
class Case:
    """One file and what each reader makes of it: a pattern of ``read: RESULT`` or of ``refused: MESSAGE``."""

    name: str
    make: Make
    outcomes: dict[str, str]
    file: str = "x.png"


def image(name: str, make: Make, photo: str, pair: str = "", mask: str = "", file: str = "x.png") -> Case:
    """A file under an image's name; pairs and masks must be what photos must be, unless they are said to differ."""
    kept = photo if photo.startswith("refused") else "read"
    return Case(name, make, {"photo": photo, "pair": pair or kept, "mask": mask or kept}, file)


RIGHT = "read: 64x80 200,10,10"
NEAR = r"read: 64x80 (19\d|20\d),\d{1,2},\d{1,2}"
NOT = "refused: .*not an image"

IMAGES = [
    image("truncated JPEG", made.part("JPEG", 0.6), "refused: .*truncated", file="x.jpg"),
    image("truncated PNG", made.part("PNG", 0.6), "refused: .*truncated"),
    image("header of a PNG only", made.part("PNG", 0.02), "refused"),
    image("PNG named .jpg", saved("PNG"), RIGHT, file="x.jpg"),
    image("JPEG named .png", saved("JPEG", quality=95), NEAR),
    image("HTML named .png", text("<!DOCTYPE html><html><script>alert(1)</script></html>"), NOT),
    image("SVG named .png", text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"), NOT),
    image("shell script named .jpg", text("#!/bin/sh\ntouch $HOSTILE_MARK\n"), NOT, file="x.jpg"),
    image("PHP behind a JPEG's first bytes", text(b"\xff\xd8\xff<?php system('id'); ?>"), "refused", file="x.jpg"),
    image(
        "EPS named .png, a program for Ghostscript",
        text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"),
        NOT,
    ),
    image("PDF named .jpg", text("%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF"), NOT, file="x.jpg"),
    image("zip file named .png", made.zipped({"a": b"b"}), NOT),
    image("PNG of 50,000 x 50,000", text(png(50000, 50000)), "refused: .*(pixels|size)"),
    image("1-bit PNG of 100,000 x 100,000", text(png(100000, 100000, bits=1, colour=0)), "refused: .*(pixels|size)"),
    image("PNG of 13,000 x 13,000 without data", text(png(13000, 13000)), "refused: .*truncated"),
    image("GIF of 65,535 x 65,535", text(made.gif_bomb()), "refused: .*(pixels|size)", file="x.gif"),
    image("BMP of 60,000 x 60,000", text(made.bmp_bomb()), "refused: .*(pixels|size)", file="x.bmp"),
    image("TIFF of 200,000 x 200,000", text(made.tiff(200000, 200000)), "refused: .*(pixels|size)", file="x.tif"),
    image("TIFF whose data are missing", text(made.tiff(9000, 9000)), "refused", file="x.tif"),
    image("TIFF whose directories form a ring", text(made.tiff(8, 8, next_directory=72)), "read: 8x8", file="x.tif"),
    image("PNG with a text of 30 MB", text(made.png_with(b"zTXt", ZEROS)), "refused: .*too large"),
    image("PNG with a colour profile of 30 MB", text(made.png_with(b"iCCP", ZEROS)), "refused: .*too large|read: 1x1"),
    image(
        "PNG with a wrong checksum",
        text(png(1, 1, rows=b"\0abc")[:-16] + bytes(16)),
        "refused|read: 1x1",
        "read|refused",
        "read|refused",
    ),
    image("1 x 1", saved("PNG", lambda: photo(1, 1)), "read: 1x1 200,10,10"),
    image("100,000 x 1", saved("PNG", lambda: photo(100000, 1)), "read: 1x100000 200,10,10"),
    image("1 x 100,000", saved("PNG", lambda: photo(1, 100000)), "read: 100000x1 200,10,10"),
    image(
        "16-bit grey PNG", saved("PNG", lambda: Image.fromarray(np.array([[65535, 257]], "u2"))), "read: 1x2 255,255"
    ),
    image("16-bit grey TIFF", saved("TIFF", lambda: Image.fromarray(np.array([[65535, 257]], "u2"))), "read: 1x2 255"),
    image("big-endian 16-bit TIFF", text(made.big_endian_grey()), "read: 2x2 0,0,0", mask="read: 2x2 2 tampered"),
    image(
        "32-bit float TIFF with NaN", saved("TIFF", lambda: Image.fromarray(np.array([[1, np.nan]], "f4"))), "read: 1x2"
    ),
    image("CMYK JPEG", saved("JPEG", lambda: photo().convert("CMYK"), quality=95), r"read: 64x80 \d+", file="x.jpg"),
    image(
        "CIELAB TIFF", text(made.lab_tiff()), "refused: .*LAB|read: 4x4", "read|refused", "read|refused", file="x.tif"
    ),
    image("animated GIF", made.frames("GIF"), r"read: 64x80 \d+,\d+,\d+", file="x.gif"),
    image("animated WebP", made.frames("WEBP", lossless=True), RIGHT, file="x.webp"),
    image("APNG", made.frames("PNG"), RIGHT),
    *(image(f"EXIF orientation {number}", made.turned(number), RIGHT) for number in range(1, 9)),
    image("EXIF orientation 99", made.turned(99), RIGHT),
    image("EXIF that is none", saved("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95), NEAR, file="x.jpg"),
    image("palette", saved("PNG", lambda: photo().quantize(8)), r"read: 64x80 \d+"),
    image("palette with transparency", saved("PNG", lambda: photo().quantize(8), transparency=0), r"read: 64x80 \d+"),
    image(
        "grey with transparency",
        saved("PNG", lambda: Image.new("LA", (3, 2), (99, 0))),
        "refused: .*transparent",
        "read",
        "read: 2x3 0 tampered",
    ),
    image(
        "colours with transparency",
        saved("PNG", lambda: Image.new("RGBA", (3, 2), (9, 8, 7, 0))),
        "refused: .*transparent",
        "read",
        "read: 2x3 0 tampered",
    ),
    image("1 bit", saved("PNG", lambda: Image.new("1", (3, 2), 1)), "read: 2x3 255", mask="read: 2x3 6 tampered"),
    image("photo with a script behind it", text(encoded(photo(), "PNG") + b"<?php ?>"), RIGHT),
    image("empty file", text(""), NOT),
    image("folder", Path.mkdir, "refused: .*(is a folder|not a file)"),
    image("pipe", os.mkfifo, "refused: .*not a (plain )?file"),
    image("file without permission", lambda path: path.touch(0), "refused: .*[Pp]ermission", file="closed/x.png"),
    image(
        "folder without permission",
        lambda path: path.parent.chmod(0),
        "refused: .*([Pp]ermission|not a)",
        file="shut/x.png",
    ),
    image("link to itself", made.link("x.png"), "refused: .*(not a file|symbolic|exist)"),
    image("dangling link", made.link("nowhere.png"), "refused: .*(not a file|exist|No such)"),
    image("link to /etc/passwd", made.link("/etc/passwd"), NOT),
    image("link to a device without end", made.link("/dev/zero"), "refused: .*not a (plain )?file"),
    image("2 GiB behind a photo", made.sparse(2 << 30), "refused: .*bytes"),
    image("name with a line break", saved("PNG"), RIGHT, file="a\nb.png"),
    image(
        "truncated, name with a line break",
        made.part("PNG", 0.5),
        "refused: .*a b.png",
        mask="refused",
        file="a\nb.png",
    ),
    image(
        "truncated, name that clears the terminal",
        made.part("PNG", 0.5),
        r"refused: .*\\x1b\[2J",
        mask="refused",
        file="\x1b[2J.png",
    ),
    image(
        "truncated, name of no encoding",
        made.part("PNG", 0.5),
        r"refused: .*\\udcff",
        mask="refused",
        file=os.fsdecode(b"\xff.png"),
    ),
    image("name with emoji", saved("PNG"), RIGHT, file="\N{CAT FACE}\u200d\N{FIRE}.png"),
    image("name like an option", saved("PNG"), RIGHT, file="--native.png"),
    image("name of no encoding", saved("PNG"), RIGHT, file=os.fsdecode(b"\xff\xfe.png")),
    image("name of 5,000 letters", lambda path: None, "refused: .*(not a file|too long)", file="a" * 5000 + ".png"),
    image("name with NUL", lambda path: None, "refused: .*(not a file|null byte|exist)", file="a\0b.png"),
]

ARRAY = "refused: .*"
ARRAYS = [
    Case(
        "array of 10 GB by its header",
        made.zipped({"a.npy": made.npy("(100000, 100000)")}),
        {"mask": ARRAY + "more than"},
        "x.npz",
    ),
    Case(
        "array with a 30 MB tail",
        made.zipped({"a.npy": made.npy("(2, 2)", ZEROS)}),
        {"mask": "read: 2x2"},
        "x.npz",
    ),
    Case(
        "array shorter than its header",
        made.zipped({"a.npy": made.npy("(90, 90)", b"1")}),
        {"mask": ARRAY + "truncated"},
        "x.npz",
    ),
    Case("array of negative size", text(made.npy("(-1, 5)")), {"mask": ARRAY}, "x.npy"),
    Case(
        "array of pickled objects",
        text(made.npy("(1, 1)", b"cos\nsystem\n(S'id'\ntR.", "|O")),
        {"mask": ARRAY},
        "x.npy",
    ),
    Case("array header that is a program", text(made.npy("__import__('os').system('id')")), {"mask": ARRAY}, "x.npy"),
    Case("array header of 60,000 brackets", text(made.npy("(" * 60000)), {"mask": ARRAY}, "x.npy"),
    Case(
        "archive member outside",
        made.zipped({"../../out.npy": made.npy("(2, 2)", b"1234")}),
        {"mask": "read: 2x2"},
        "x.npz",
    ),
    Case("no array at all", text("<html>"), {"mask": ARRAY}, "x.npz"),
    Case(
        "MATLAB plane of 225 million zeros",
        lambda path: made.matlab(m=np.zeros((15000, 15000), np.uint8))(path),
        {"mask": ARRAY + "more than"},
        "x.mat",
    ),
    Case(
        "MATLAB structures", made.matlab(s={"a": {"b": 1}}, mask=np.eye(3)), {"mask": "read: 3x3 3 tampered"}, "x.mat"
    ),
    Case(
        "truncated MATLAB file",
        text(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM\x0f\0\0\0\xff"),
        {"mask": ARRAY},
        "x.mat",
    ),
]

MODEL = "refused: .*"
LAYER = {"layer.weight": made.entry([2, 3], 0, 24)}


def weights(name: str, make: Make, outcome: str = MODEL, file: str = "x.pth", **others: str) -> Case:
    """A file that every reader of weights refuses alike, unless they are said to differ."""
    readers = dict.fromkeys(("load_model", "resume", "convert", "backbone", "noiseprint", "suite_checkpoint"), outcome)
    if file.endswith(".safetensors"):
        del readers["resume"]  # the trainer's own format only
    return Case(name, make, {**readers, **others}, file)


WEIGHTS = [
    weights("code in a checkpoint", made.torch_file(made.trapped), MODEL + "more than tensors"),
    weights("code in the flags of a checkpoint", made.torch_file(made.trapped_flags), MODEL + "more than tensors"),
    weights("code in the old format", made.torch_file(made.trapped, zip_file=False), MODEL + "more than tensors"),
    weights("code in a plain pickle", made.plain_pickle, MODEL + "cannot be read"),
    weights("code in a tar file", made.tar_file),
    weights("a byte array of 10 GB", made.pickle_bytes(made.BYTE_ARRAY), MODEL + "bytearray"),
    weights("compressed zeros", made.compressed_storage, MODEL + "compressed"),
    weights("an entry a thousand times", made.shared_storage, MODEL + "larger than the file"),
    weights(
        "four bytes as a terabyte",
        made.torch_file(made.repeated),
        MODEL + "value by value|holds no|no entry",
        resume="read",
    ),
    weights("sparse tensor", made.torch_file(lambda: made.repeated("sparse")), MODEL, resume="read|refused"),
    weights("zip file of other things", made.zipped({"../../etc/passwd": b"x"}, 0), MODEL + "cannot be read"),
    weights(
        "truncated checkpoint",
        lambda path: made.torch_file(made.tensors)(path) or path.write_bytes(path.read_bytes()[:-400]),
    ),
    weights("HTML named .pth", text("<html>404</html>"), MODEL + "cannot be read"),
    weights("empty .pth", text(""), MODEL + "cannot be read"),
    weights("folder named .pth", Path.mkdir, MODEL + "(not a|a) f"),
    weights("pipe named .pth", os.mkfifo, MODEL + "(not a|a) f"),
    weights("link to itself", made.link("x.pth"), MODEL + "(not a|a) f"),
    weights("safetensors named .pth", made.safetensors(LAYER), MODEL + "cannot be read"),
    weights("no tensor", made.torch_file(dict), MODEL),
    weights("numbers for names", made.torch_file(lambda: {"model": {1: 2}}), MODEL, resume="read"),
    weights("header of 9 EB", made.safetensors(LAYER, length=2**63 - 1), file="x.safetensors"),
    weights("header of 90 MB", made.safetensors(LAYER, length=9 * 10**7), file="x.safetensors"),
    weights("header that is no JSON", made.safetensors(b"{]"), file="x.safetensors"),
    weights("header of 100,000 brackets", made.safetensors(b"[" * 10**5), file="x.safetensors"),
    weights("overlapping tensors", made.safetensors({**LAYER, "b": made.entry([3], 12, 24)}), file="x.safetensors"),
    weights(
        "tensor beyond the end", made.safetensors({"a": made.entry([10**12], 0, 4 * 10**12)}), file="x.safetensors"
    ),
    weights("negative offset", made.safetensors({"a": made.entry([6], -24, 0)}), file="x.safetensors"),
    weights("unknown type", made.safetensors({"a": made.entry([6], 0, 24, "Z9")}), file="x.safetensors"),
    weights("shape that overflows", made.safetensors({"a": made.entry([2**40, 2**40], 0, 24)}), file="x.safetensors"),
    weights("truncated safetensors", made.safetensors(LAYER, bytes(3)), file="x.safetensors"),
    weights("pickle named .safetensors", made.torch_file(made.trapped), file="x.safetensors"),
    weights("empty safetensors", text(""), file="x.safetensors"),
    weights("file of this package", made.network(), "read", "x.safetensors", noiseprint=MODEL, suite_checkpoint=MODEL),
    *(
        Case(
            f"stored configuration: {name}",
            made.network(**changes),
            {"load_model": MODEL + "configuration"},
            "x.safetensors",
        )
        for name, changes in {
            "10^9 wide": dict(embed_dim=10**9),
            "10^9 blocks": dict(depths=[1, 1, 1, 10**9]),
            "10^12 queries": dict(num_queries=10**12),
            "words for numbers": dict(embed_dim="big"),
            "negative": dict(embed_dim=-16),
            "no heads": dict(heads=[0, 0, 0, 0]),
            "other fields": dict(run="rm -rf"),
            "nested": dict(raw="[" * 50000),
            "another network": dict(embed_dim=32),
            "NaN": dict(raw='{"fusion_ratio": NaN}'),
        }.items()
    ),
    Case("stored configuration: a plane", made.flat_extra, {"load_model": MODEL + "configuration"}, "x.safetensors"),
    *(
        Case(
            f"stored image size {size[:9]}{'...' * (len(size) > 9)}",
            made.network({"image_size": size}),
            {"load_model": MODEL + "pixels"},
            "x.safetensors",
        )
        for size in ("\u00b2", "9" * 5000, "999999999", "-1", "1e3")
    ),
]

DEEP = "[" * 100000
LISTS = [
    Case("list of 100,000 brackets", text(DEEP), {"check": "refused", "list": "refused", "sets": "refused"}, "x.json"),
    Case("list that is a number", text("3"), {"check": "refused", "list": "refused", "sets": "refused"}, "x.json"),
    Case(
        "list with NUL in a name",
        text('[["a\\u0000b", "Negative"]]'),
        {"check": "read: .*failure", "list": "refused"},
        "x.json",
    ),
    Case("list of objects", text('[{"a": 1}]'), {"check": "refused|read: .*failure", "list": "refused"}, "x.json"),
    Case("list with a byte order mark", text(b"\xef\xbb\xbf[]"), {"check": "refused", "list": "refused"}, "x.json"),
    Case(
        "list of no encoding",
        text(b'[["\xff", "Negative"]]'),
        {"check": "read: .*failure", "list": "refused"},
        "x.json",
    ),
    Case(
        "list of half a surrogate",
        text('[["\\ud800", "Negative"]]'),
        {"check": "read: .*failure", "list": "refused"},
        "x.json",
    ),
    Case(
        "list that names /etc/passwd",
        text('[["/etc/passwd", "Negative"]]'),
        {"check": "read: .*not an image", "list": "refused: .*cannot be read"},
        "x.json",
    ),
    Case(
        "list that climbs",
        text('[["../../../etc/shadow.png", "Negative"]]'),
        {"check": "read: .*failure", "list": "refused"},
        "x.json",
    ),
    Case(
        "list of devices",
        text('[["/dev/zero", "/dev/zero"]]'),
        {"check": "read: .*not a file", "list": "refused"},
        "x.json",
    ),
    Case("list that is a pipe", os.mkfifo, {"check": "refused", "list": "refused", "sets": "refused"}, "x.json"),
    Case("names of sets that loop", text('{"a": "x.json"}'), {"sets": "refused"}, "x.json"),
    Case(
        "set with a pipe in Tp",
        made.prepared(files={"Tp/b.png": os.mkfifo, "Gt/b.png": saved("PNG")}),
        {"check": "read: .*not a file", "list": "refused"},
        "set",
    ),
    Case(
        "set with a folder in Tp",
        made.prepared(files={"Tp/b.png": Path.mkdir, "Gt/b.png": Path.mkdir}),
        {"check": "read: .*not a file", "list": "refused"},
        "set",
    ),
    Case(
        "set with a link to itself",
        made.prepared(files={"Tp/b.png": made.link("b.png"), "Gt/b.png": made.link("b.png")}),
        {"check": "read: .*failure", "list": "refused"},
        "set",
    ),
    Case(
        "set with a bomb as a mask",
        made.prepared(files={"Tp/b.png": saved("PNG"), "Gt/b.png": text(png(50000, 50000))}),
        {"check": "read: .*failure", "list": "refused"},
        "set",
    ),
    Case(
        "set with a script as an image",
        made.prepared(files={"Tp/b.png": text("#!/bin/sh"), "Gt/b.png": saved("PNG")}),
        {"check": "read: .*not an image", "list": "refused"},
        "set",
    ),
    *(
        Case(f"manifest {name}", made.prepared(made.FIELDS + line), {"manifest": outcome}, "set")
        for name, line, outcome in (
            ("that climbs", b"../../../etc/passwd,Gt/a.png,1,1,x,y,0,,,,\n", "read: 1 rows, ours: Gt/a.png$"),
            ("with an absolute name", b"/etc/passwd,/etc/shadow,1,1,x,y,0,,,,\n", "read: 1 rows, ours: $"),
            ("with Windows separators", b"Tp\\a.png,Gt\\a.png,1,1,x,y,0,,,,\n", "read: 1 rows, ours: $"),
            ("with NUL", b"Tp/a\0.png,Gt/a.png,1,1,x,y,0,,,,\n", "read: . rows, ours: (Gt/a.png)?$"),
            ("with CRLF", b"Tp/a.png,Gt/a.png,1,1,x,y,0,,,,\r\n", "read: 1 rows, ours: Gt/a.png Tp/a.png$"),
            ("with words for numbers", b"Tp/a.png,Gt/a.png,one,1,x,y,0,,,,\n", "read: 0 rows"),
            ("with numbers of 5,000 digits", b"Tp/a.png,Gt/a.png," + b"9" * 5000 + b",1,x,y,0,,,,\n", "read: 0 rows"),
            ("with a field of a megabyte", b"Tp/a.png,Gt/a.png,1,1," + b"x" * 10**6 + b",y,0,,,,\n", "read: 0 rows"),
            ("with too many fields", b"Tp/a.png,Gt/a.png,1,1,x,y,0,,,,,,,,,\n", "read: 1 rows"),
        )
    ),
    Case(
        "manifest with a byte order mark",
        made.prepared(b"\xef\xbb\xbf" + made.FIELDS + b"Tp/a.png,Gt/a.png,1,1,x,y,0,,,,\n"),
        {"manifest": "read: 1 rows"},
        "set",
    ),
    Case("manifest that is a picture", made.prepared(encoded(photo(), "PNG")), {"manifest": "read: 0 rows"}, "set"),
    Case(
        "journal of 100,000 brackets",
        made.prepared(files={".journal.jsonl": text(DEEP)}),
        {"manifest": "read: 0 rows"},
        "set",
    ),
    Case(
        "record of 100,000 brackets", made.prepared(files={".prepared.json": text(DEEP)}), {"claim": "refused"}, "set"
    ),
    Case("archive with links in a ring", made.archive(ring=True), {"prepare": "read: 1 pairs, 0 failed"}, "raw"),
    Case("archive with a bomb and a pipe", made.archive(bomb=True), {"prepare": "read: 1 pairs, 1 failed"}, "raw"),
    Case("archive list that climbs", made.climbing_list, {"tampcoco": "read: 0 pairs, 2 failed"}, "raw"),
]

SUITES = [
    Case(f"suite: {name}", text(content), {"suite": outcome}, "x.yaml")
    for name, content, outcome in (
        ("as it should be", SUITE, "read: 1 models"),
        ("with a byte order mark and CRLF", "\ufeff" + SUITE.replace("\n", "\r\n"), "read: 1 models"),
        ("code in a text", SUITE + "name: !!python/object/apply:os.system [touch x]\n", "refused: .*tag"),
        ("code in a scalar", SUITE + "name: !!python/name:os.system\n", "refused"),
        ("a class", SUITE + "name: !!python/object:os._wrap_close {a: b}\n", "refused: .*tag"),
        (
            "a billion laughs",
            "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)),
            "refused: .*more than",
        ),
        ("an alias of itself", "a: &a [*a]\n", "refused: .*nested"),
        ("100,000 brackets", "a: " + "[" * 100000, "refused: .*nested"),
        ("NUL", SUITE + "name: a\0b\n", "refused"),
        ("control characters", SUITE + "name: a\x1b[2Jb\n", "refused"),
        ("two documents", SUITE + "---\n" + SUITE, "refused"),
        ("a number of 5,000 digits", SUITE + "seed: " + "9" * 5000 + "\n", "refused"),
        ("a negative seed", SUITE + "seed: -1\n", "refused: .*seed"),
        ("a seed beyond 32 bits", SUITE + "seed: 99999999999999999\n", "refused: .*seed"),
        ("images of 10^9 pixels", SUITE + "image_size: 1000000000\n", "refused: .*image_size"),
        ("an attack at NaN", SUITE + "attacks: [{jpeg: [.nan]}]\n", "refused: .*jpeg"),
        ("an attack at infinity", SUITE + "attacks: [{blur: [.inf]}]\n", "refused: .*blur"),
        ("a list for a name", SUITE.replace("name: m", "name: [m]"), "refused: .*name"),
        ("a mapping for a key", SUITE + "? {a: b}\n: c\n", "refused"),
        ("a name that climbs", SUITE.replace("name: d", "name: ../../d"), "read: 1 models"),
        ("nothing", "", "refused"),
        ("no text", b"\xff\xfe\0\0".decode("latin-1"), "refused"),
    )
]
GOOD = {"model": ["m"], "seed": [0], "set": ["d"], "attack": ["none"], "level": [0.0], "image": ["a"], "f1": [0.5]}
ROW = {**{name: [0.5] for name in made.COLUMNS}, "image_score_rule": ["maximum"], "selection": ["last"], **GOOD}
RECORDS = [
    Case("records as they should be", made.parquet(ROW), {"records": r"read: \[1\]", "report": "read: "}, "run"),
    Case("suite that is a device", made.link("/dev/zero"), {"suite": "refused"}, "x.yaml"),
    Case("suite that is a folder", Path.mkdir, {"suite": "refused"}, "x.yaml"),
    Case("truncated records", made.parquet(GOOD, keep=0.6), {"records": "refused", "report": "refused"}, "run"),
    Case("records of another schema", made.parquet({"a": [1]}), {"records": "refused", "report": "refused"}, "run"),
    Case("records of words for numbers", made.parquet({**ROW, "f1": ["x"]}), {"report": "refused"}, "run"),
    Case("records that lack a figure", made.parquet(GOOD), {"report": "refused"}, "run"),
    Case("records of another set", made.parquet({**ROW, "set": ["e"]}), {"report": "refused"}, "run"),
    Case("description that is a list", made.parquet(GOOD, suite=[1]), {"report": "refused"}, "run"),
    Case("description without models", made.parquet(GOOD, suite={"sets": []}), {"report": "refused"}, "run"),
    Case(
        "description of 100,000 brackets",
        lambda path: made.parquet(GOOD)(path) or (path / "suite.json").write_text(DEEP),
        {"report": "refused"},
        "run",
    ),
    Case(
        "HTML for records",
        lambda path: made.parquet(GOOD)(path) or [p.write_text("<html>") for p in path.glob("records/*")],
        {"records": "refused", "report": "refused"},
        "run",
    ),
]

CASES = [*IMAGES, *ARRAYS, *WEIGHTS, *LISTS, *SUITES, *RECORDS]
ROWS = [(case, reader) for case in CASES for reader in case.outcomes]


def readers() -> dict[str, Callable[[Path], str]]:
    """What is tried, by name; imported when a process needs it."""
    import hostile_readers

    return {
        name.removeprefix("read_"): value for name, value in vars(hostile_readers).items() if name.startswith("read_")
    }


@pytest.fixture(scope="session")
def outcomes() -> dict[str, Any]:
    """What the readers made of the files: the outcome, the seconds, and whether a file's code ran."""
    command = [sys.executable, __file__]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert len(found) == len(ROWS)
    return found


@pytest.mark.parametrize(("case", "reader"), ROWS, ids=[f"{case.name}-{reader}" for case, reader in ROWS])
def test_hostile_file_gets_its_right_result_or_one_line(outcomes: dict[str, Any], case: Case, reader: str) -> None:
    outcome, seconds, ran_code = outcomes[f"{case.name}-{reader}"]
    assert re.search(case.outcomes[reader], outcome), outcome
    assert outcome.isprintable()
    assert "memory" not in outcome.lower(), "it was the limit of the process that stopped it"
    assert seconds < SECONDS
    assert not ran_code, "code of the file was run"


def _main() -> None:
    """Run all and print what became of it as one line of JSON."""
    warnings.simplefilter("ignore")
    functions = readers()
    for reader in sorted(functions):
        _outcome(functions[reader], Path("/nowhere"))  # imports what it needs
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        mark = Path(folder, "mark")
        os.environ["HOSTILE_MARK"] = str(mark)
        Path(folder, "gs").write_text(f"#!/bin/sh\ntouch {mark}\n")
        Path(folder, "gs").chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        places = {case.name: _made(case, Path(folder, str(number))) for number, case in enumerate(CASES)}
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (in_use + HEADROOM, in_use + HEADROOM))
        found = {}
        for case in CASES:
            for reader in case.outcomes:
                started = time.process_time()
                with _as_nobody("permission" in case.name):
                    outcome = _outcome(functions[reader], places[case.name])
                found[f"{case.name}-{reader}"] = [outcome, time.process_time() - started, mark.exists()]
                mark.unlink(missing_ok=True)
        for path in Path(folder).glob("*/shut"):
            path.chmod(0o755)
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def _made(case: Case, folder: Path) -> Path:
    path = folder / case.file
    path.parent.mkdir(parents=True)
    case.make(path)
    return path


def _outcome(read: Callable[[Path], str], path: Path) -> str:
    from qmanet_benco.errors import RequestError
    from qmanet_benco.images import UnusableFileError

    def stop(_signal: int, _frame: object) -> None:
        raise BaseException("too slow")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        return f"read: {read(path)}"
    except (RequestError, UnusableFileError) as error:
        return f"refused: {error}"
    except BaseException as error:
        return f"CRASHED: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        signal.alarm(0)


@contextmanager
def _as_nobody(wanted: bool) -> Iterator[None]:
    """Root may read everything."""
    if not wanted or os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


if __name__ == "__main__":
    _main()
