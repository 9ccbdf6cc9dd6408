"""Downloads pretrained weights into a cache, from a table of files with their checksums and terms."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from qmanet_benco.errors import RequestError
from qmanet_benco.files import sha256_of, write_atomically

logger = logging.getLogger(__name__)

_OPENMMLAB = "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/"
SHORTEST_DIGEST = 8
BLOCK, MOST_BYTES = 1 << 20, 2 << 30
"""Bytes of a download that are read at once, and that are taken at most; the largest of the table has 0.4 GB."""
_MIT_TERMS = "NVIDIA Source Code License for SegFormer: non-commercial use"


@dataclass(frozen=True)
class PublishedWeights:
    """One published file."""

    name: str
    url: str
    sha256: str
    """The file's SHA-256 in hexadecimal, or its first digits where only those are published (in the file's name)."""
    terms: str
    about: str

    def __post_init__(self) -> None:
        if not self.url.startswith("https://") or len(self.sha256) < SHORTEST_DIGEST:
            raise RequestError(f"{self.url} with SHA-256 {self.sha256!r}", "https and a checksum")

    @property
    def is_pinned(self) -> bool:
        """Whether the whole SHA-256 is known. Eight digits find a damaged file, but a forger can match them."""
        return len(self.sha256) == 64


def _mit(size: str, digits: str) -> PublishedWeights:
    url = f"{_OPENMMLAB}mit_{size}_20220624-{digits}.pth"
    return PublishedWeights(f"mit_{size}", url, digits, _MIT_TERMS, f"MiT-{size.upper()}, ImageNet-1K, mmsegmentation")


PUBLISHED = {
    row.name: row
    for row in (
        PublishedWeights(
            "noiseprint++",
            "https://raw.githubusercontent.com/grip-unina/TruFor/main/TruFor_train_test/pretrained_models/"
            "noiseprint%2B%2B/noiseprint%2B%2B.th",
            "51c153596efecdfc9bdff1b961d63855b943e6a8fd37083cc7499e60b36dd8bf",
            "GRIP-UNINA (TruFor): non-profit use only",
            "NoisePrint++, Guillaro et al. 2023",
        ),
        # the digits are those that mmsegmentation puts into the names of its files
        _mit("b0", "7e0fe6dd"),
        _mit("b1", "02e5a6a1"),
        _mit("b2", "66e8bf70"),
        _mit("b3", "13b1141c"),
        _mit("b4", "d588d980"),
        _mit("b5", "658746d9"),
    )
}
"""Every file that ``qmanet weights fetch`` knows, by name."""


def cache_folder() -> Path:
    """Return the folder of fetched files: ``$QMANET_HOME``, else ``qmanet`` in the user's cache folder."""
    home = os.environ.get("QMANET_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qmanet"


def cached_path(row: PublishedWeights) -> Path:
    """Return where a published file lies once it is fetched."""
    return cache_folder() / "weights" / Path(urllib.request.url2pathname(row.url)).name


def find_weights(source: str) -> Path:
    """A file by its path or by a name of :data:`PUBLISHED`.

    Raises:
        RequestError: neither a file nor a fetched name.
    """
    if source in PUBLISHED:
        path = cached_path(PUBLISHED[source])
        if not path.is_file():
            raise RequestError(f"{source} is not fetched yet", str(path), f"`qmanet weights fetch {source}`")
        return path
    if not Path(source).is_file():
        names = ", ".join(PUBLISHED)
        raise RequestError(f"weights {source!r}", f"a file, or one of {names}", "check the path")
    return Path(source)


def fetch_weights(name: str) -> Path:
    """Fetch a published file into the cache, once, and check it.

    Returns:
        The file's path.

    Raises:
        RequestError: the name is unknown, the server cannot be reached, or the file has another checksum; then
            nothing is stored.
    """
    if name not in PUBLISHED:
        raise RequestError(f"weights {name!r}", f"one of {', '.join(PUBLISHED)}")
    row = PUBLISHED[name]
    path = cached_path(row)
    if path.is_file() and sha256_of(path).startswith(row.sha256):
        return path
    logger.warning("%s: terms of use: %s", row.name, row.terms)
    write_atomically(path, lambda temporary: _download(row, temporary))
    if not row.is_pinned:
        logger.warning(
            "%s: only %d digits of its SHA-256 are published; it is %s", name, len(row.sha256), sha256_of(path)
        )
    return path


def _download(row: PublishedWeights, target: Path) -> None:
    """Download and check a file. torch.hub's function for this follows redirects to http, and bounds no size."""
    try:
        with urllib.request.urlopen(row.url, timeout=60) as response, target.open("wb") as stream:
            if not str(getattr(response, "url", row.url)).startswith("https://"):
                raise RequestError(f"{row.url} leads to {response.url}", "an address with https", "nothing was stored")
            while block := response.read(BLOCK):
                stream.write(block)
                if stream.tell() > MOST_BYTES:
                    raise RequestError(f"{row.url} has more than {MOST_BYTES:,} bytes", "", "nothing was stored")
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise RequestError(
            f"{row.url} cannot be fetched ({error})", "a connection", f"fetch it by hand into {cached_path(row)}"
        ) from error
    digest = sha256_of(target)
    if not digest.startswith(row.sha256):
        raise RequestError(f"{row.url} has SHA-256 {digest[:16]}...", f"{row.sha256[:16]}...", "nothing was stored")


def published_status() -> list[dict[str, str]]:
    """One row for each published file: name, about, terms, url, sha256, and its path if it is fetched."""
    rows = []
    for row in PUBLISHED.values():
        path = cached_path(row)
        fetched = str(path) if path.is_file() else ""
        rows.append({"name": row.name, "about": row.about, "terms": row.terms, "sha256": row.sha256, "path": fetched})
    return rows
