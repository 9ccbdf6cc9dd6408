"""The cache of published weights: checked before it is filled, and a cure for what is missing."""

from __future__ import annotations

import hashlib
import io
import re
import urllib.error
from pathlib import Path

import pytest

from qmanet_benco.errors import RequestError
from qmanet_benco.model.weights import pretrained
from qmanet_benco.model.weights.pretrained import (
    PUBLISHED,
    PublishedWeights,
    cache_folder,
    cached_path,
    fetch_weights,
    find_weights,
)

CONTENT = b"weights" * 1000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QMANET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def published(cache: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedWeights:
    digest = hashlib.sha256(CONTENT).hexdigest()
    row = PublishedWeights("toy", "https://example.org/a%2Bb/toy%2B%2B.th", digest, "non-profit use only", "a toy")
    monkeypatch.setitem(PUBLISHED, "toy", row)
    return row


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers each request with CONTENT and notes the addresses."""
    requests: list[str] = []

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        requests.append(url)
        return io.BytesIO(CONTENT)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return requests


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_fetched_file_lies_in_the_cache_under_its_own_name(published, server, cache) -> None:
    path = fetch_weights("toy")
    assert path == cached_path(published) == cache / "weights" / "toy++.th"
    assert path.read_bytes() == CONTENT
    assert find_weights("toy") == path


def test_a_file_is_fetched_once(published, server) -> None:
    assert fetch_weights("toy") == fetch_weights("toy")
    assert server == [published.url]


def test_a_damaged_file_in_the_cache_is_fetched_again(published, server) -> None:
    fetch_weights("toy").write_bytes(b"damaged")
    assert fetch_weights("toy").read_bytes() == CONTENT
    assert len(server) == 2


def test_terms_are_said_before_the_fetch(published, server, caplog: pytest.LogCaptureFixture) -> None:
    fetch_weights("toy")
    assert "toy: terms of use: non-profit use only" in caplog.text


def test_first_digits_of_a_checksum_are_enough(published, server, monkeypatch) -> None:
    short = PublishedWeights("toy", published.url, published.sha256[:8], "", "")
    monkeypatch.setitem(PUBLISHED, "toy", short)
    assert fetch_weights("toy").read_bytes() == CONTENT


def test_wrong_checksum_stores_nothing(published, cache, monkeypatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(CONTENT + b"!"))
    with pytest.raises(
        RequestError, match=rf"has SHA-256 \w+...; expected {published.sha256[:16]}...; nothing was stored"
    ):
        fetch_weights("toy")
    assert files_below(cache) == []


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route"), TimeoutError("slow"), ConnectionResetError("cut")]
)
def test_broken_connection_names_the_place_for_a_fetch_by_hand(published, cache, monkeypatch, error: OSError) -> None:
    def urlopen(url: str, timeout: float) -> None:
        raise error

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(RequestError, match=rf"cannot be fetched .*; fetch it by hand into {re.escape(str(cache))}"):
        fetch_weights("toy")
    assert files_below(cache) == []


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"weights 'mit_b9'; expected one of noiseprint\+\+, mit_b0"):
        fetch_weights("mit_b9")


def test_a_name_that_was_not_fetched_names_the_command(cache) -> None:
    with pytest.raises(RequestError, match=r"mit_b3 is not fetched yet; expected .*; `qmanet weights fetch mit_b3`"):
        find_weights("mit_b3")


def test_a_path_is_found_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    path.touch()
    assert find_weights(str(path)) == path
    with pytest.raises(
        RequestError, match=r"weights '.*absent.pth'; expected a file, or one of noiseprint\+\+.*check the path"
    ):
        find_weights(str(tmp_path / "absent.pth"))


def test_cache_follows_the_user_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMANET_HOME", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("QMANET_HOME")
    assert cache_folder() == Path("/b/qmanet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "qmanet"


def test_every_row_has_terms_a_checksum_and_a_file_of_its_own() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", row.sha256) for row in PUBLISHED.values())
    assert all(row.terms and row.about and row.url.startswith("https://") for row in PUBLISHED.values())
    assert len({cached_path(row) for row in PUBLISHED.values()}) == len(PUBLISHED)
    assert pretrained.PUBLISHED["noiseprint++"].sha256.startswith("51c15359")


def test_every_download_of_the_table_is_https_with_a_checksum() -> None:
    for row in PUBLISHED.values():
        assert row.url.startswith("https://")
        assert row.is_pinned or row.sha256 in row.url, "eight digits count only where the publisher's name has them"


@pytest.mark.parametrize(("url", "digest"), [("http://example.org/a.pth", "0" * 64), ("https://example.org/a.pth", "")])
def test_a_row_without_https_or_checksum_cannot_be_written(url: str, digest: str) -> None:
    with pytest.raises(RequestError, match="expected https and a checksum"):
        PublishedWeights("toy", url, digest, "", "")


def test_a_server_that_leads_away_from_https_is_not_followed(published, cache, monkeypatch) -> None:
    class Elsewhere(io.BytesIO):
        url = "http://example.org/toy"

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Elsewhere(CONTENT))
    with pytest.raises(RequestError, match=r"leads to http://example.org/toy; expected an address with https"):
        fetch_weights("toy")
    assert files_below(cache) == []


def test_a_download_without_end_is_cut_off(published, cache, monkeypatch, server) -> None:
    monkeypatch.setattr(pretrained, "MOST_BYTES", 100)
    with pytest.raises(RequestError, match="more than 100 bytes"):
        fetch_weights("toy")
    assert files_below(cache) == []


def test_nothing_in_the_package_fetches_without_https() -> None:
    package = Path(pretrained.__file__).parents[2]
    plain = [path for path in package.rglob("*.py") if re.search(r"""["']http://(?!zefirus|\{)""", path.read_text())]
    assert plain == [], "zefirus.org only describes a data set, and an address in braces is this machine's own page"
    fetching = {
        path.name for path in package.rglob("*.py") if re.search(r"urlopen|urlretrieve|requests\.get", path.read_text())
    }
    assert fetching == {"pretrained.py"}
