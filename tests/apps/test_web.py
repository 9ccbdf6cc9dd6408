"""The web page over HTTP: what it refuses, who sees what, and what it leaves behind."""

from __future__ import annotations

import contextlib
import html.parser
import io
import os
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_models import miniature
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra [app]")

import httpx

from qmanet_benco import predict
from qmanet_benco.apps.predict import Prediction, regions
from qmanet_benco.apps.web import analyst as room
from qmanet_benco.apps.web.analyst import Analyst
from qmanet_benco.apps.web.limits import Limits, read_upload
from qmanet_benco.apps.web.server import Server, serving
from qmanet_benco.errors import RequestError
from qmanet_benco.model.calibration import SHARES, Calibration
from qmanet_benco.model.network import QMANetwork
from resilience.web_load import EXPLAIN, MARK, RESULT_FILES, WebUser, run_load, small_photo

LIMITS = Limits(megapixels=4, megabytes=1, queue=8)


@pytest.fixture(scope="module")
def model() -> QMANetwork:
    return miniature(64)


@pytest.fixture(scope="module")
def server(model: QMANetwork) -> Iterator[Server]:
    with serving(model, limits=LIMITS) as running:
        yield running


@pytest.fixture
def user(server: Server) -> Iterator[WebUser]:
    with WebUser(server.url) as opened:
        yield opened


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims to have this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def files_in(folder: Path) -> list[Path]:
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)


def picture(user: WebUser, address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(user.fetch(address).content)))


# what a photo gives


def test_downloads_are_what_predict_says_at_every_threshold(user: WebUser, model: QMANetwork) -> None:
    photo = small_photo(3, side=150)
    message, files = user.analyse(photo, "holiday <b>.png")
    assert message == ""
    found = predict(model, np.asarray(Image.open(io.BytesIO(photo))))
    sixteen = picture(user, files["probability"]).astype(int)
    assert np.abs(sixteen / 65535 - found.probability).max() < 1e-5
    assert files["probability"].endswith("holiday%20b.probability.png")
    limit = float(np.round(np.median(found.probability), 2))
    for threshold in (limit, 0.5):
        assert user.ask(MARK, None, threshold).status_code == 200
        words, _, mask, download, _ = user.wait()
        shown = picture(user, mask["url"])
        assert ((shown == 255) == (sixteen > threshold * 65535)).all()
        assert set(np.unique(shown)) <= {0, 255}
        assert download["url"] == mask["url"]
        assert f"{(shown == 255).mean():.1%} of the photo has a probability above {threshold:.2f}." in words


def test_the_answer_begins_with_words() -> None:
    probability = np.zeros((30, 40), np.float32)
    nothing = room.words(Prediction(probability, probability > 0.5, 0.04, ()))
    probability[:15, :10] = 0.9
    mask = probability > 0.5
    part = room.words(Prediction(probability, mask, 0.9, tuple(regions(mask, probability))))
    assert nothing.startswith("**Nothing found; not calibrated.** 0.0% of the photo")
    assert part.startswith("**1 region found; not calibrated.** 12.5% of the photo has a probability above 0.50.")
    assert part.endswith("above 0.50.\n\n40 x 30 pixels.")
    known = Calibration(0.5, False, 0.0, (0.0,) * len(SHARES), authentic=20, tampered=30, false_alarms=0.05)
    scored = room.words(Prediction(probability, mask, 0.9, (), calibration=known))
    assert "Score 0.90: chance that the photo was tampered with, calibrated on 30 tampered and 20 authentic" in scored


def test_the_overlay_is_red_where_the_mask_is_and_pale_elsewhere(user: WebUser) -> None:
    _, files = user.analyse(small_photo(4, side=100))
    overlay, mask = picture(user, files["overlay"]).astype(int), picture(user, files["mask"]) > 0
    redness = overlay[..., 0] - overlay[..., 1:].max(axis=2)
    assert redness[mask].mean() > 60
    assert abs(redness[~mask].mean()) < 20
    assert picture(user, files["photo"]).shape == (100, 100, 3)
    assert picture(user, files["noise"]).shape == (64, 64, 3)


def test_the_explanation_is_pictures_with_names(user: WebUser, monkeypatch: pytest.MonkeyPatch) -> None:
    panels = {"RGB <1>": np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)}
    made = SimpleNamespace(panels=panels)
    monkeypatch.setattr("qmanet_benco.apps.explain.explain.explain", lambda network, pixels: made)
    user.analyse(small_photo(0))
    user.ask(EXPLAIN, None)
    (shown,) = user.wait()[0]
    assert shown["caption"] == "RGB <1>"
    assert picture(user, shown["image"]["url"]).shape == (128, 128, 3)


def test_without_the_extra_the_explanation_is_a_line(user: WebUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    user.analyse(small_photo(0))
    user.ask(EXPLAIN, None)
    assert "qmanet-benco[explain]" in str(user.wait())


# what it refuses


def svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n"


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "1x1": (lambda: png(np.zeros((1, 1, 3), np.uint8)), "1 x 1 pixels"),
    "20000x20000": (lambda: bomb(20_000, 20_000), "pixels; expected at most 4 megapixels"),
    "5000x5000": (lambda: bomb(5_000, 5_000), "5000 x 5000 pixels; expected at most 4 megapixels"),
    "100000x1": (lambda: bomb(100_000, 1), "100000 x 1 pixels"),
    "text": (lambda: b"not a photo", "not a photo"),
    "empty": (lambda: b"", "not a photo"),
    "svg": (svg, "not a photo"),
    "postscript": (postscript, "not a photo"),
    "truncated": (lambda: small_photo(0)[:2000], "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_photo_gets_one_line_without_a_path(user: WebUser, server: Server, name: str) -> None:
    make, words = BAD[name]
    before = files_in(server.folder)
    message, files = user.analyse(make())
    assert files == {}
    assert words in message
    assert "\n" not in message
    assert str(server.folder) not in message
    assert "/" not in message.replace("</div>", "")
    assert files_in(server.folder) == before


def test_an_upload_with_too_many_bytes_is_refused_and_not_kept(user: WebUser, server: Server) -> None:
    before = files_in(server.folder)
    answer = user.upload(os.urandom(LIMITS.bytes + 1))
    assert answer.status_code == 413
    assert "exceeded maximum allowed size of 1000000 bytes" in answer.text
    assert files_in(server.folder) == before


def test_an_upload_that_names_no_size_is_refused_and_not_kept(user: WebUser, server: Server) -> None:
    before = files_in(server.folder)

    def parts() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(20):
            yield bytes(100_000)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert user.client.post("gradio_api/upload", content=parts(), headers=kind).status_code == 413
    assert files_in(server.folder) == before


FORBIDDEN = [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../../../etc/passwd",
    "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd",
    f"/gradio_api/file={__file__}",
    "/gradio_api/file/etc/passwd",
    "/gradio_api/file=http://127.0.0.1:1/",
    "/gradio_api/proxy=http://127.0.0.1:1/",
    "/gradio_api/runs",
    "/assets/../../../etc/passwd",
    "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2froutes.py",
    "/docs",
    "/monitoring",
]


@pytest.mark.parametrize("path", FORBIDDEN)
def test_no_file_outside_the_pages_own_folder_is_served(server: Server, path: str) -> None:
    import http.client

    connection = http.client.HTTPConnection(server.url.split("/")[2])  # sends the path as it is
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status in (400, 403, 404)
    assert b"root:" not in body
    assert b"FORBIDDEN" not in body
    connection.close()


@pytest.mark.parametrize("path", ["/etc/passwd", __file__, "unknown/photo", "", None, 7])
def test_a_path_that_is_no_upload_is_not_read(user: WebUser, path: object) -> None:
    answer = user.join(path)
    given = answer.text if answer.status_code != 200 else str(user.wait_for_end())
    assert "root:" not in given
    assert "overlay" not in given
    assert Path(__file__).is_file()  # an upload is taken away, nothing else is


def test_programs_learn_of_no_function_of_the_page(user: WebUser) -> None:
    assert user.client.get("gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_requests_of_other_sites_and_for_other_names_are_refused(server: Server) -> None:
    assert httpx.get(server.url, headers={"Host": "attacker.example"}).status_code == 400
    assert httpx.get(server.url, headers={"Host": "["}).status_code == 400
    port = server.url.rsplit(":", 1)[1].strip("/")
    assert httpx.get(server.url, headers={"Host": f"localhost:{port}"}).status_code == 200
    sent = {"files": ("a.png", small_photo(0))}
    before = files_in(server.folder)
    for crossing in ({"Origin": "http://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert httpx.post(f"{server.url}gradio_api/upload", files=sent, headers=crossing).status_code == 403
    assert files_in(server.folder) == before
    assert httpx.get(f"{server.url}config", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert httpx.get(server.url, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link to the page


def test_only_this_computer_reaches_the_page(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    listening += [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if " 0A " in line]
    assert [place for place in listening if place.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


# who sees what


def test_a_visitor_gets_nothing_of_another_one(user: WebUser, server: Server) -> None:
    _, files = user.analyse(small_photo(2))
    with WebUser(server.url) as other:
        other.ask(MARK, None, 0.3)
        assert "overlay" not in str(other.wait())
        other.ask(MARK, files["photo"].partition("file=")[2].rpartition("/")[0], 0.3)  # the place is no argument
        assert "overlay" not in str(other.wait())
        other.ask(EXPLAIN, None)
        assert "image" not in str(other.wait()[0])
        own = other.analyse(small_photo(2))[1]
        assert not set(own.values()) & set(files.values())
    assert [user.fetch(files[name]).status_code for name in RESULT_FILES] == [200] * len(RESULT_FILES)


def test_names_of_files_cannot_be_guessed(user: WebUser, server: Server) -> None:
    """Gradio serves a file to whoever knows its name, and names an upload by its content."""
    photo = small_photo(5)
    uploaded = user.upload(photo).json()[0]
    user.join(uploaded).raise_for_status()
    addresses = [value["url"] for value in user.wait() if isinstance(value, dict) and value.get("url")]
    assert user.client.get(f"gradio_api/file={uploaded}").status_code == 403  # taken away when it was read
    assert not Path(uploaded).parent.exists()
    visitor, photo_folder = (
        addresses[0].partition("file=")[2].removeprefix(str(server.folder)).strip("/").split("/")[:2]
    )
    assert len(visitor) == 64
    assert len(photo_folder) == 16
    for guessed in ("", f"/{visitor}", f"/{visitor}/{photo_folder}"):
        assert user.client.get(f"gradio_api/file={server.folder}{guessed}").status_code == 403


def test_a_new_photo_removes_the_former_one_of_its_page(user: WebUser, server: Server) -> None:
    _, former = user.analyse(small_photo(6))
    _, files = user.analyse(small_photo(7))
    assert user.fetch(former["photo"]).status_code == 403
    assert user.fetch(files["photo"]).status_code == 200


class Loaded(html.parser.HTMLParser):
    """Addresses that a browser loads for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"script": "src", "link": "href", "img": "src", "iframe": "src"}.get(tag)
        self.addresses += [value for name, value in attrs if name == wanted and value]


def test_the_page_loads_nothing_from_other_hosts(user: WebUser, server: Server) -> None:
    answer = user.client.get("")
    loaded = Loaded()
    loaded.feed(answer.text)
    assert len(loaded.addresses) >= 3
    assert [each for each in loaded.addresses if "//" in each and not each.startswith(server.url)] == []
    assert "http" not in user.client.get("theme.css").text.replace("http://www.w3.org", "")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
    assert user.client.get("config").json()["analytics_enabled"] is False


# what is kept, and how long


def test_closing_the_page_removes_everything_of_it(user: WebUser, server: Server) -> None:
    before = files_in(server.folder)
    with user.visit():
        assert user.analyse(small_photo(8))[1]
        user.ask(MARK, None, 0.2)
        user.wait()
        assert files_in(server.folder) != before
    end = time.monotonic() + 30
    while files_in(server.folder) != before and time.monotonic() < end:
        time.sleep(0.05)
    assert files_in(server.folder) == before


def test_a_photo_whose_page_is_closed_at_work_leaves_nothing(
    model: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyst = Analyst(model, tmp_path, Limits())

    def closed_meanwhile(*arguments: object) -> object:
        analyst.forget("page")
        return predict(*arguments)

    monkeypatch.setattr(room, "predict", closed_meanwhile)
    (tmp_path / "hash").mkdir()
    (tmp_path / "hash" / "photo.png").write_bytes(small_photo(0))
    with pytest.raises(FileNotFoundError):
        analyst.analyse(tmp_path / "hash" / "photo.png", "page", 0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_forgotten_photo_is_told_so(user: WebUser, server: Server) -> None:
    import shutil

    _, files = user.analyse(small_photo(9))
    shutil.rmtree(Path(files["photo"].partition("file=")[2]).parent)
    user.ask(MARK, None, 0.3)
    assert "The photo is gone; send it again." in str(user.wait())


@pytest.mark.parametrize("values", [{"megapixels": 0}, {"megapixels": 200}, {"megabytes": 0}, {"megabytes": 1e9}])
def test_limits_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="--max-mega"):
        Limits(**values)


def test_a_photo_within_the_limits_is_read_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (80, 40), (200, 10, 10))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by a quarter
    image.save(tmp_path / "photo", "JPEG", exif=exif)
    assert read_upload(tmp_path / "photo", Limits()).shape == (80, 40, 3)


# the end, the queue, the command


def test_nothing_is_left_after_the_end(model: QMANetwork) -> None:
    with serving(model, limits=LIMITS) as running:
        with WebUser(running.url) as visitor:
            assert visitor.analyse(small_photo(0))[1]
            visitor.upload(small_photo(1))
        url, folder = running.url, running.folder
        assert files_in(folder)
    assert not folder.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") != str(folder)
    with pytest.raises(httpx.TransportError):
        httpx.get(url)


def test_a_full_queue_refuses_and_loses_nobody(model: QMANetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """One photo at a time, one may wait: the third is told so at once, the others get their answers."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments: object) -> object:
        begun.set()
        assert go_on.wait(60)
        return predict(*arguments)

    monkeypatch.setattr(room, "predict", slow)
    with serving(model, limits=Limits(queue=1)) as running, contextlib.ExitStack() as visits:
        users = [visits.enter_context(WebUser(running.url)) for _ in range(3)]
        orders = [user.upload(small_photo(seed)).json()[0] for seed, user in enumerate(users)]
        assert users[0].join(orders[0]).status_code == 200
        assert begun.wait(60)
        assert users[1].join(orders[1]).status_code == 200
        refused = users[2].join(orders[2])
        assert refused.status_code == 503
        assert "queue" in refused.text.lower()
        go_on.set()
        assert all(user.wait()[3] for user in users[:2])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_load_loses_no_request_and_memory_stays_flat() -> None:
    report = run_load(60)
    assert report.lost == 0
    # in the first half each of the four workers takes the memory that it keeps; 5 % are 2 MiB for each later visit
    assert report.memory_mib[-1] < 1.05 * report.memory_mib[len(report.memory_mib) // 2]
    assert max(report.files_open) <= report.files_open[1] + 6
    assert report.kept_files == 0
    assert not report.left


def test_a_port_that_cannot_be_used_is_one_line(model: QMANetwork) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"127.0.0.1:{port} cannot be used; expected a free port"):
            serving(model, port).__enter__()
    with pytest.raises(RequestError, match="--port 70000; expected 0 to 65535"):
        serving(model, 70_000).__enter__()


@pytest.mark.parametrize("option", [("--public",), ("--host", "0.0.0.0")])
def test_the_page_cannot_be_opened_to_other_machines(option: tuple[str, ...]) -> None:
    from typer.testing import CliRunner

    from qmanet_benco.cli.main import app

    refused = CliRunner().invoke(app, ["app", *option])
    assert refused.exit_code == 2
    assert "No such option" in refused.output


def test_without_gradio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, model: QMANetwork) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(RequestError, match=r"pip install 'qmanet-benco\[app\]'"), serving(model):
        pass
