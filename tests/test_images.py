"""Images are read by several threads from the first one on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

SCRIPT = """
import importlib.abc, sys, threading, time
from PIL import Image
from qmanet_benco.images import open_image

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "PIL.JpegImagePlugin":
            time.sleep(1)

sys.meta_path.insert(0, Slow())
content = open(sys.argv[1], "rb").read()
first = threading.Thread(target=open_image, args=("a", content))
first.start()
while "JPEG2000" not in Image.OPEN:
    time.sleep(0.01)
assert "JPEG" not in Image.OPEN
open_image("b", content)
first.join()
"""


def test_a_second_thread_waits_for_the_formats_that_the_first_is_still_loading(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 60).save(tmp_path / "photo.jpg")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "photo.jpg")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
