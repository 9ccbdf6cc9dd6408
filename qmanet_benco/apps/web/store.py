"""Uploads and results of the web page: each in a folder with a random name, with one owner, and bounded."""

from __future__ import annotations

import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from qmanet_benco.apps.web.limits import MEGA, Limits

UPLOAD = "photo"
"""Name of every uploaded file: nothing that a stranger chose becomes part of a path."""
MOST_PAGES = 4096


@dataclass
class Slot:
    """One uploaded photo and, later, what was made of it."""

    token: str
    folder: Path
    owner: str
    """The browser (a random cookie) that sent the photo."""
    born: float
    name: str = ""
    """What the sender calls the photo; shown, never a path."""
    page: str = ""
    """The open page, as Gradio names it; empty until the photo is analysed."""
    busy: bool = False
    """Somebody writes into the folder, so it is not removed."""
    unwanted: bool = False
    """Its page was closed or shows another photo: to be removed once nobody writes into it."""
    files: dict[str, str] = field(default_factory=dict)
    """Name of a result -> its media type; nothing else is served."""

    @property
    def upload(self) -> Path:
        """The uploaded file."""
        return self.folder / UPLOAD

    def add(self, name: str, media_type: str, content: bytes) -> None:
        """Keep a result; it can be asked for from now on."""
        (self.folder / name).write_bytes(content)
        self.files[name] = media_type

    def size(self) -> int:
        """Bytes on disk; 0 once the folder is gone."""
        try:
            return sum(path.stat().st_size for path in self.folder.iterdir())
        except FileNotFoundError:
            return 0


class Store:
    """All slots of one server. Every method may be called from any thread.

    Args:
        folder: of this server alone; the caller removes it at the end.
        limits: how many slots, how large, how old.
        clock: seconds; for tests.
    """

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.limits = limits
        self._clock = clock
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._pages: OrderedDict[str, str] = OrderedDict()
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._slots)

    def new(self, owner: str, name: str = "") -> Slot:
        """An empty slot with a name that nobody can guess; old slots make room."""
        token = secrets.token_urlsafe(24)
        folder = self.folder / token
        folder.mkdir(mode=0o700)
        slot = Slot(token, folder, owner, self._clock(), name[:200], busy=True)
        with self._lock:
            self._slots[token] = slot
            self.tidy()
        return slot

    def get(self, token: str, owner: str) -> Slot | None:
        """The slot, if it exists and belongs to this browser."""
        with self._lock:
            slot = self._slots.get(token)
        return slot if slot and secrets.compare_digest(slot.owner.encode(), owner.encode()) else None

    def of_upload(self, path: str) -> Slot | None:
        """The slot whose upload lies at this path of the server."""
        with self._lock:
            slot = self._slots.get(Path(path).parent.name)
        return slot if slot and slot.upload == Path(path) else None

    def claim_page(self, page: str, owner: str) -> bool:
        """Whether this page belongs to this browser; the first who asks has it."""
        with self._lock:
            held = self._pages.setdefault(page, owner)
            self._pages.move_to_end(page)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        return secrets.compare_digest(held.encode(), owner.encode())

    def forget(self, slot: Slot) -> None:
        """Remove a slot and its files."""
        with self._lock:
            self._slots.pop(slot.token, None)
        shutil.rmtree(slot.folder, ignore_errors=True)

    def forget_page(self, page: str, but: Slot | None = None) -> None:
        """Remove what a page has shown, except one slot."""
        with self._lock:
            gone = [slot for slot in self._slots.values() if slot.page == page and slot is not but]
            for slot in gone:
                slot.unwanted = True
        for slot in gone:
            if not slot.busy:
                self.forget(slot)

    @contextmanager
    def at_work(self, slot: Slot) -> Iterator[None]:
        """Nobody removes the slot within the context; at its end it goes if its page has gone meanwhile."""
        slot.busy = True
        try:
            yield
        finally:
            with self._lock:
                slot.busy = False
                gone = slot.unwanted
            if gone:
                self.forget(slot)

    def tidy(self) -> None:
        """Remove slots that are too old, too many or too large together; the oldest first."""
        with self._lock:
            idle = [slot for slot in self._slots.values() if not slot.busy]
            total, count = sum(slot.size() for slot in idle), len(self._slots)
            for slot in idle:
                old = self._clock() - slot.born > self.limits.seconds
                if not old and count <= self.limits.results and total <= self.limits.results_megabytes * MEGA:
                    break
                total, count = total - slot.size(), count - 1
                self.forget(slot)
