"""Uses the web page without a browser, and puts a load of many users on it: ``python tests/resilience/web_load.py``.

Each request is the whole way: open the page, send a photo, wait in the queue, fetch mask and probability, leave.
"""

from __future__ import annotations

import argparse
import io
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from qmanet_benco.errors import RequestError

SECONDS = 120.0
END_SECONDS = 60.0
LEAVE_SECONDS = 30.0
"""Longest time that results may outlive the last visit."""
ANALYSE, MARK, EXPLAIN = 0, 1, 2
"""Numbers of the page's events, in the order of their declaration."""
RESULT_FILES = {"overlay": 4, "mask": 5, "photo": 7, "noise": 8, "probability": 9}
"""Where each file stands among the parts that the first event changes."""


@dataclass
class WebUser:
    """One browser with one open page.

    Args:
        url: of the page.
    """

    url: str
    page: str = field(default_factory=lambda: secrets.token_hex(8))
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=SECONDS)
        self.client.get("/").raise_for_status()

    def __enter__(self) -> WebUser:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @contextmanager
    def visit(self) -> Iterator[None]:
        """The page is open within the context, as a browser tells the server; at its end the user leaves."""
        with self.client.stream("GET", f"gradio_api/heartbeat/{self.page}") as pulse:
            pulse.raise_for_status()
            yield

    def upload(self, content: bytes, name: str = "photo.png") -> httpx.Response:
        """Send a file."""
        return self.client.post("gradio_api/upload", files={"files": (name, content)})

    def join(self, path: Any, threshold: float = 0.5) -> httpx.Response:
        """Ask for the analysis of an uploaded file."""
        return self.ask(ANALYSE, {"path": path, "meta": {"_type": "gradio.FileData"}}, threshold)

    def ask(self, event: int, *data: Any) -> httpx.Response:
        """Ask for an event of the page."""
        order = {"data": data, "fn_index": event, "session_hash": self.page}
        return self.client.post("gradio_api/queue/join", json=order)

    def wait(self) -> list[Any]:
        """What the event that was asked for gives: the new values of the page's parts."""
        query = {"session_hash": self.page}
        with self.client.stream("GET", "gradio_api/queue/data", params=query) as stream:
            stream.raise_for_status()
            for line in stream.iter_lines():
                told = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if told.get("msg") == "process_completed":
                    return list(told["output"].get("data", []))
        raise RuntimeError("the server ended the connection without an answer")

    def wait_for_end(self) -> str:
        """Everything that the server says of the event that was asked for, until its end."""
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": self.page}) as stream:
            return "".join(stream.iter_lines())

    def analyse(self, content: bytes, name: str = "photo.png") -> tuple[str, dict[str, str]]:
        """The message for a photo and the addresses of its result's files; one of them is empty."""
        sent = self.upload(content, name)
        sent.raise_for_status()
        self.join(sent.json()[0]).raise_for_status()
        values = self.wait()
        files = {name: _address(values[place]) for name, place in RESULT_FILES.items()}
        return str(values[1].get("value") or ""), {name: address for name, address in files.items() if address}

    def fetch(self, address: str) -> httpx.Response:
        """A file of a result."""
        return self.client.get(address)


def _address(value: Any) -> str:
    """Where Gradio serves a file that an event gave; empty where it gave none."""
    return str((value or {}).get("url") or "")


@dataclass(frozen=True)
class LoadReport:
    """What a load did to a server."""

    requests: int
    lost: int
    seconds: float
    slowest: float
    memory_mib: tuple[float, ...]
    """Resident memory of the server after each tenth of the requests."""
    files_open: tuple[int, ...]
    """File handles of the server at the same times."""
    kept_files: int
    """In its temporary folder while it still runs, after all users have left and :data:`LEAVE_SECONDS` at most."""
    left: bool
    """Whether the temporary folder exists after the server ended."""


def small_photo(seed: int, side: int = 128) -> bytes:
    """A PNG of a ramp and noise."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(20, 220, side)[None, :, None] * np.ones((side, 1, 3))
    stream = io.BytesIO()
    pixels = (ramp + generator.normal(0, 9, ramp.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def run_load(count: int, users: int = 4) -> LoadReport:
    """Start a server, send ``count`` photos from ``users`` users at a time, and stop it.

    A request is lost unless its mask has the size of its photo and its other files come.

    Raises:
        RequestError: the server does not start.
    """
    with _server() as (process, url, folder):
        times: list[float] = []
        memory, handles = [], []
        started = time.monotonic()
        with ThreadPoolExecutor(users) as pool:
            for first in range(0, count, max(1, count // 10)):
                jobs = range(first, min(count, first + max(1, count // 10)))
                times += [taken for taken in pool.map(lambda seed: _one(url, seed), jobs) if taken]
                memory.append(_resident_mib(process.pid))
                handles.append(len(list(Path(f"/proc/{process.pid}/fd").iterdir())))
        seconds = time.monotonic() - started
        kept = _kept_files(folder)
    slowest = max(times, default=0.0)
    return LoadReport(count, count - len(times), seconds, slowest, tuple(memory), tuple(handles), kept, folder.exists())


def _kept_files(folder: Path) -> int:
    """Files below a folder once nothing goes away any more."""
    until = time.monotonic() + LEAVE_SECONDS
    while (kept := sum(path.is_file() for path in folder.rglob("*"))) and time.monotonic() < until:
        time.sleep(0.2)
    return kept


def _one(url: str, seed: int) -> float:
    """Seconds of one whole visit; 0 if anything went wrong."""
    started = time.monotonic()
    try:
        with WebUser(url) as user, user.visit():
            _, addresses = user.analyse(small_photo(seed))
            files = {name: user.fetch(address) for name, address in addresses.items()}
            good = len(files) == len(RESULT_FILES) and all(file.status_code == 200 for file in files.values())
            size = Image.open(io.BytesIO(files["mask"].content)).size if good else None
            return time.monotonic() - started if size == (128, 128) else 0.0
    except (httpx.HTTPError, OSError, RuntimeError, ValueError):
        return 0.0


@contextmanager
def _server() -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """``qmanet app`` in a process of its own, and its temporary folder."""
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "qmanet_benco", "app", "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": scratch})
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            folders = list(Path(scratch).glob("qmanet-app-*"))
            if not said.strip() or not folders:
                raise RequestError("`qmanet app` did not start", "its address on standard output", "run it by hand")
            yield process, said.split()[0], folders[0]
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            finally:
                process.kill()


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(description="A load of many users on the web page.")
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--users", type=int, default=4, help="at a time")
    return options


def main() -> None:
    """The command."""
    arguments = parser().parse_args()
    try:
        report = run_load(arguments.requests, arguments.users)
    except RequestError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n")
    raise SystemExit(1 if report.lost or report.left or report.kept_files else 0)


if __name__ == "__main__":
    main()
