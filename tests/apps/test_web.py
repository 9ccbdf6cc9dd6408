"""The web page over HTTP: what it refuses, who sees what, and what it leaves behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
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
from qmanet_benco.apps.web import page as web_page
from qmanet_benco.apps.web.limits import Limits, read_upload
from qmanet_benco.apps.web.page import Analyst, explained
from qmanet_benco.apps.web.server import Address, Server, _tidied, serving
from qmanet_benco.apps.web.store import Store
from qmanet_benco.errors import RequestError
from qmanet_benco.model.network import QMANetwork
from web_load import RESULT_FILES, WebUser, run_load, small_photo

LIMITS = Limits(megapixels=4, megabytes=1, queue=8)


@pytest.fixture(scope="module")
def model() -> QMANetwork:
    return miniature(64)


@pytest.fixture(scope="module")
def server(model: QMANetwork) -> Iterator[Server]:
    with serving(model, Address(port=0), LIMITS) as running:
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


# what a photo gives


def test_downloads_are_what_predict_says(user: WebUser, model: QMANetwork) -> None:
    photo = small_photo(3, side=150)
    message, token = user.analyse(photo)
    assert message == ""
    found = predict(model, np.asarray(Image.open(io.BytesIO(photo))))
    sixteen = np.asarray(Image.open(io.BytesIO(user.fetch(token, "probability.png").content)))
    assert sixteen.dtype == np.uint16 or sixteen.dtype == np.int32
    assert np.abs(sixteen / 65535 - found.probability).max() < 1e-5
    limit = float(np.round(np.median(found.probability), 2))
    for threshold in (limit, 0.5):
        answer = user.fetch(token, f"mask.png?threshold={threshold}")
        mask = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert ((mask == 255) == (sixteen > threshold * 65535)).all()
        assert set(np.unique(mask)) <= {0, 255}


def test_the_browser_gets_the_probability_in_sixteen_bits(user: WebUser) -> None:
    _, token = user.analyse(small_photo(4, side=100))
    packed = np.asarray(Image.open(io.BytesIO(user.fetch(token, "preview.png").content))).astype(int)
    sixteen = np.asarray(Image.open(io.BytesIO(user.fetch(token, "probability.png").content)))
    assert (packed[..., 0] * 256 + packed[..., 1] == sixteen).all()


def test_the_explanation_is_pictures_of_the_same_browser(
    model: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = {"RGB <1>": np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)}
    made = SimpleNamespace(explain=lambda network, pixels: SimpleNamespace(panels=panels))
    monkeypatch.setitem(sys.modules, "qmanet_benco.apps.explain.explain", made)
    store = Store(tmp_path, Limits())
    slot = store.new("me")
    slot.upload.write_bytes(small_photo(0))
    shown = Analyst(model, store, Limits()).explain(slot)
    assert "RGB &lt;1&gt;" in shown
    assert f"result/{slot.token}/panel-0.jpg" in shown
    assert Image.open(slot.folder / "panel-0.jpg").size == (128, 128)


def test_without_the_extra_the_explanation_is_a_line(
    model: QMANetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "qmanet_benco.apps.explain.explain", None)
    store = Store(tmp_path, Limits())
    slot = store.new("me")
    slot.upload.write_bytes(small_photo(0))
    assert "qmanet-benco[explain]" in explained(Analyst(model, store, Limits()), slot.token, "me")
    assert "gone" in explained(Analyst(model, store, Limits()), slot.token, "you")


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
    before = len(server.store)
    message, token = user.analyse(make())
    assert token == ""
    assert words in message
    assert "\n" not in message
    assert str(server.folder) not in message
    assert "/" not in message.replace("</div>", "")
    assert len(server.store) == before


def test_an_upload_with_too_many_bytes_is_refused_and_not_kept(user: WebUser, server: Server) -> None:
    before = sorted(server.folder.iterdir())
    answer = user.upload(os.urandom(LIMITS.bytes + 1))
    assert answer.status_code == 413
    assert answer.json()["detail"] == "The file is too large; expected at most 1 MB"
    assert sorted(server.folder.iterdir()) == before


def test_too_many_bytes_are_refused_while_they_arrive(user: WebUser, server: Server) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield head
        for _ in range(400):
            sent += 100_000
            yield bytes(100_000)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        answer = user.client.post("gradio_api/upload", content=endless(), headers=kind)
    except httpx.TransportError:  # the server hangs up while this side still sends
        answer = None
    assert answer is None or answer.status_code == 413
    assert sent < 40_000_000
    assert not any(path.name == "photo" and path.stat().st_size > LIMITS.bytes for path in server.folder.rglob("*"))


FORBIDDEN = [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../../../etc/passwd",
    "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd",
    "/gradio_api/file/etc/passwd",
    "/gradio_api/file=http://127.0.0.1:1/",
    "/gradio_api/proxy=http://127.0.0.1:1/",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/runs",
    "/gradio_api/custom_component/a/server/b/c",
    "/assets/../../../etc/passwd",
    "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2froutes.py",
    "/result/../../etc/passwd",
    "/docs",
    "/openapi.json",
    "/monitoring",
]


@pytest.mark.parametrize("path", FORBIDDEN)
def test_only_the_pages_own_routes_are_open(server: Server, path: str) -> None:
    import http.client

    connection = http.client.HTTPConnection(server.url.split("/")[2])  # sends the path as it is
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status in (403, 404)
    assert b"root:" not in body
    assert str(server.folder).encode() not in body
    connection.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "../photo", "unknown/photo", "", None, 7])
def test_a_path_that_is_no_upload_of_this_browser_is_refused(user: WebUser, path: object) -> None:
    answer = user.join(path)
    assert answer.status_code == 403
    assert answer.json() == {"detail": "The upload is gone; send the photo again."}


@pytest.mark.parametrize("path", ["run/analyse", "call/analyse", "run/predict", "component_server", "vibe-edit"])
def test_programs_find_no_way_in_beside_the_queue(user: WebUser, path: str) -> None:
    assert user.client.post(f"gradio_api/{path}", json={"data": []}).status_code == 404


def test_requests_of_other_sites_and_for_other_names_are_refused(server: Server) -> None:
    assert httpx.get(server.url, headers={"Host": "attacker.example"}).status_code == 421
    files = {"files": ("a.png", small_photo(0))}
    answer = httpx.post(f"{server.url}gradio_api/upload", files=files, headers={"Origin": "http://attacker.example"})
    assert answer.status_code == 403
    assert httpx.get(server.url, headers={"Host": "["}).status_code in (400, 421)
    assert httpx.get(server.url, headers={"Origin": "http://["}).status_code == 403


# who sees what


def test_two_browsers_do_not_get_each_others_files(user: WebUser, server: Server) -> None:
    sent = user.upload(small_photo(1)).json()[0]
    _, token = user.analyse(small_photo(2))
    with WebUser(server.url) as other:
        assert [other.fetch(token, name).status_code for name in RESULT_FILES] == [404] * len(RESULT_FILES)
        assert other.join(sent).status_code == 403
        page = {"session_hash": user.page}
        assert other.client.get("gradio_api/queue/data", params=page).status_code == 403
        assert other.client.get(f"gradio_api/heartbeat/{user.page}").status_code == 403
        other.page = user.page
        assert other.join(other.upload(small_photo(3)).json()[0]).status_code == 403
    assert [user.fetch(token, name).status_code for name in RESULT_FILES] == [200] * len(RESULT_FILES)
    assert user.fetch(token, "photo").status_code == 404


def test_the_same_photo_of_two_browsers_makes_two_results(server: Server) -> None:
    with WebUser(server.url) as one, WebUser(server.url) as other:
        tokens = [each.analyse(small_photo(5))[1] for each in (one, other)]
        assert tokens[0] != tokens[1]
        assert all(tokens)


def test_a_new_photo_removes_the_former_one_of_its_page(user: WebUser, server: Server) -> None:
    _, former = user.analyse(small_photo(6))
    _, token = user.analyse(small_photo(7))
    assert user.fetch(former, "photo.jpg").status_code == 404
    assert user.fetch(token, "photo.jpg").status_code == 200
    assert not (server.folder / former).exists()


def test_no_answer_names_a_path_of_the_server(user: WebUser, server: Server) -> None:
    texts = [user.client.get("").text, user.client.get("config").text, user.client.get("theme.css").text]
    sent = user.upload(small_photo(8))
    joined = user.join(sent.json()[0])
    texts += [sent.text, joined.text, json.dumps(user.wait())]
    wrong = {"data": [[]], "fn_index": 0, "session_hash": user.page}
    texts += [user.client.post("gradio_api/queue/join", json=wrong).text, json.dumps(user.wait())]
    texts += [user.client.post("gradio_api/queue/join", json={"session_hash": user.page, "fn_index": 99}).text]
    package = Path(sys.modules["qmanet_benco"].__file__ or "").parent
    for place in (server.folder, package, Path(sys.prefix), Path.home(), Path.cwd()):
        assert [text for text in texts if str(place) in text and len(str(place)) > 1] == []


def test_the_page_names_no_other_host(user: WebUser, server: Server) -> None:
    import re

    text = user.client.get("").text + user.client.get("theme.css").text
    hosts = set(re.findall(r"https?://([^/\"'\s\\]+)", text)) - {"www.w3.org"}
    assert hosts <= {server.url.split("/")[2]}
    policy = user.client.get("").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


# limits of the store


def test_old_many_and_large_results_go_the_oldest_first(tmp_path: Path) -> None:
    now = [0.0]
    store = Store(tmp_path, Limits(results=3, results_megabytes=1, seconds=10), clock=lambda: now[0])
    slots = []
    for second in range(4):
        now[0] = second
        slots.append(store.new("me"))
        slots[-1].busy = False
    assert [slot.folder.exists() for slot in slots] == [False, True, True, True]
    slots[3].add("a.png", "image/png", bytes(900_000))
    slots[2].add("a.png", "image/png", bytes(900_000))
    store.tidy()
    assert [slot.folder.exists() for slot in slots] == [False, False, False, True]
    now[0] = 60
    slots[3].busy = True
    store.tidy()
    assert slots[3].folder.exists()
    slots[3].busy = False
    store.tidy()
    assert list(tmp_path.iterdir()) == []
    assert store.get(slots[3].token, "me") is None


def test_a_photo_whose_page_is_closed_at_work_goes_when_the_work_is_done(tmp_path: Path) -> None:
    store = Store(tmp_path, Limits())
    slot = store.new("me")
    slot.page = "page"
    with store.at_work(slot):
        store.forget_page("page")
        assert slot.folder.is_dir()
    assert not slot.folder.exists()
    assert len(store) == 0


def test_old_photos_go_while_nobody_asks_for_anything(tmp_path: Path) -> None:
    now = [0.0]
    store = Store(tmp_path, Limits(), lambda: now[0])
    slot = store.new("me")
    slot.busy = False
    with _tidied(store, 0.01):
        now[0] = Limits().seconds + 1
        end = time.monotonic() + 30
        while slot.folder.exists() and time.monotonic() < end:
            time.sleep(0.01)
    assert not slot.folder.exists()


def test_nobody_gets_a_slot_of_another_owner(tmp_path: Path) -> None:
    store = Store(tmp_path, Limits())
    slot = store.new("me")
    assert store.get(slot.token, "me") is slot
    assert store.get(slot.token, "you") is None
    assert store.get("", "me") is None
    assert store.of_upload(str(slot.upload)) is slot
    assert store.of_upload(str(slot.folder / ".." / slot.token / "other")) is None


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


# addresses, the end, the command


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_machines_are_let_in_only_when_asked_for(host: str) -> None:
    with pytest.raises(RequestError, match="--public"):
        Address(host)
    assert Address(host, public=True).names() is None


def test_nothing_is_left_after_the_end(model: QMANetwork) -> None:
    with serving(model, Address(port=0), LIMITS) as running:
        with WebUser(running.url) as visitor:
            assert visitor.analyse(small_photo(0))[1]
            visitor.upload(small_photo(1))
        url, folder = running.url, running.folder
        assert any(folder.iterdir())
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

    monkeypatch.setattr(web_page, "predict", slow)
    with serving(model, Address(port=0), Limits(queue=1)) as running, contextlib.ExitStack() as visits:
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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_load_loses_no_request_and_memory_stays_flat() -> None:
    report = run_load(60)
    assert report.lost == 0
    # in the first half each of the four workers takes the memory that it keeps; 5 % are 2 MiB for each later visit
    assert report.memory_mib[-1] < 1.05 * report.memory_mib[len(report.memory_mib) // 2]
    assert max(report.files_open) <= report.files_open[1] + 6
    assert report.kept_files == 0
    assert not report.left


def test_wrong_requests_at_the_command_line_are_one_line() -> None:
    command = [sys.executable, "-m", "qmanet_benco.cli", "app", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "--public" in done.stderr


def test_without_gradio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, model: QMANetwork) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(RequestError, match=r"pip install \"qmanet-benco\[app\]\""), serving(model):
        pass
