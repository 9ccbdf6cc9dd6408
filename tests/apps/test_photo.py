"""Photos as phones and other programs leave them: HEIC, other endings, helpers' files, panoramas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from made_models import miniature
from PIL import Image

from qmanet_benco.apps.outputs import predict_all
from qmanet_benco.apps.photo import photos_below, read_mask, read_photo
from qmanet_benco.apps.web.limits import Limits, read_upload
from qmanet_benco.errors import RequestError
from qmanet_benco.images import ENDINGS, FORMATS
from qmanet_benco.pixels import TURNS


def picture(width: int = 96, height: int = 64) -> np.ndarray:
    """Smooth tones that differ in every corner."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack(
        [columns * 255 // width, rows * 255 // height, (rows + columns) * 255 // (height + width)], 2
    ).astype(np.uint8)


def write_heic(path: Path, pixels: np.ndarray, orientation: int = 1) -> Path:
    """A real HEIC file; pillow-heif turns EXIF orientation into the container's own rotation and mirror."""
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(path, "HEIF", quality=95, exif=exif.tobytes())
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["photo.heic", "photo.hif", "photo.jpg", "photo"])
def test_heic_is_read_upright_whatever_its_name(orientation: int, name: str, tmp_path: Path) -> None:
    path = write_heic(tmp_path / name, picture(), orientation)
    shown = Image.fromarray(picture())
    shown = shown.transpose(TURNS[orientation]) if orientation > 1 else shown
    for pixels in (read_photo(path), read_upload(path, Limits())):
        assert pixels.shape == (shown.height, shown.width, 3)
        assert np.abs(pixels.astype(int) - np.asarray(shown)).mean() < 4


def test_heic_with_several_pictures_gives_the_primary_one(tmp_path: Path) -> None:
    file = pillow_heif.HeifFile()
    for pixels in (255 - picture(), picture(), picture()[:, ::-1].copy()):
        file.add_from_pillow(Image.fromarray(pixels))
    file.save(tmp_path / "burst.heic", quality=95, primary_index=1)
    assert np.abs(read_photo(tmp_path / "burst.heic").astype(int) - picture()).mean() < 4


def test_a_truncated_heic_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_heic(tmp_path / "a.heic", picture())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RequestError, match="cannot be read as an image"):
        read_photo(path)


WRITERS: dict[str, Callable[[Path], object]] = {
    ".heic": lambda path: write_heic(path, picture()),
    ".avif": lambda path: Image.fromarray(picture()).save(path, "AVIF", quality=95),
    ".jpx": lambda path: Image.fromarray(picture()).save(path, "JPEG2000"),
    ".mpo": lambda path: Image.fromarray(picture()).save(path, "MPO", save_all=True, quality=95),
    ".dib": lambda path: Image.fromarray(picture()).save(path, "DIB"),
    ".pnm": lambda path: Image.fromarray(picture()).save(path, "PPM"),
    ".jfif": lambda path: Image.fromarray(picture()).save(path, "JPEG", quality=95),
    ".gif": lambda path: Image.fromarray(picture()).save(path, "GIF"),
}
WRITERS |= {".hif": WRITERS[".heic"], ".heif": WRITERS[".heic"], ".j2k": WRITERS[".jpx"], ".jp2": WRITERS[".jpx"]}


@pytest.mark.parametrize("ending", WRITERS)
def test_what_is_read_when_named_is_found_in_a_folder(ending: str, tmp_path: Path) -> None:
    assert ending in ENDINGS
    for path in (tmp_path / f"a{ending}", tmp_path / f"B{ending.upper()}"):
        WRITERS[ending](path)
        assert np.abs(read_photo(path).astype(int) - picture()).mean() < 8
    assert [path.name for path in photos_below([tmp_path])] == [f"B{ending.upper()}", f"a{ending}"]


def test_every_ending_belongs_to_a_format_that_pillow_knows() -> None:
    Image.init()
    pillow_heif.register_heif_opener()
    known = Image.registered_extensions()
    wrong = {end for kind, endings in FORMATS.items() for end in endings if known.get(end, kind) != kind}
    assert not wrong


HELPERS = (
    *(".ipynb_checkpoints/a-checkpoint.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", ".thumbnails/normal/a.png"),
    *(
        ".Trash/a.png",
        ".Trash-1000/files/a.png",
        "__MACOSX/._a.png",
        "Thumbs.db",
        "._a.png",
        ".DS_Store",
        "desktop.ini",
    ),
    *("sub/@eaDir/b.jpg", "$RECYCLE.BIN/c.jpg", "#recycle/d.jpg", ".picasaoriginals/e.jpg"),
)


def test_files_of_other_programs_are_passed_over_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / ".hidden" / "photos"
    for name in (*HELPERS, "own.png", "sub/own.png", "notes.txt", "film.mov"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture()).save(folder / name, "PNG")
    assert [path.name for path in photos_below([folder])] == ["own.png", "own.png"]
    assert f"{len(HELPERS)} files of other programs" in caplog.text
    assert "2 files that are no images by their ending (.mov, .txt)" in caplog.text or "(.txt, .mov)" in caplog.text
    named = folder / "@eaDir" / "a.png" / "SYNOPHOTO_THUMB_M.jpg"
    assert photos_below([named]) == [named]


def test_a_folder_with_nothing_but_helpers_says_so(tmp_path: Path) -> None:
    (tmp_path / "@eaDir").mkdir()
    Image.fromarray(picture()).save(tmp_path / "@eaDir" / "a.png")
    with pytest.raises(RequestError, match="passed over: 1 file of other programs"):
        photos_below([tmp_path])


@pytest.mark.parametrize(("width", "height", "change"), [(64, 4000, 62.5), (2000, 300, 6.667), (96, 64, 1.5)])
def test_a_squeezed_panorama_is_told_in_its_record(width: int, height: int, change: float, tmp_path: Path) -> None:
    Image.fromarray(picture(width, height)).save(tmp_path / "wide.png")
    model = miniature(128)
    (record,) = predict_all(model, [tmp_path / "wide.png"], tmp_path / "out", weights="random")
    assert record["aspect_change"] == pytest.approx(change, abs=0.001)
    assert ("--native keeps it" in record.get("advice", "")) == (change > 3)
    assert json.loads((tmp_path / "out" / "wide.json").read_text()) == record
    with Image.open(tmp_path / "out" / "wide.mask.png") as mask:
        assert mask.size == (width, height)
    (native,) = predict_all(model, [tmp_path / "wide.png"], tmp_path / "native", weights="random", native=True)
    assert native["aspect_change"] == 1.0
    assert "advice" not in native


def test_a_mask_is_read_as_it_is_shown(tmp_path: Path) -> None:
    truth = np.zeros((6, 8), np.uint8)
    truth[1:3, 2:7] = 255
    white = np.dstack([np.full((6, 8, 3), 255, np.uint8), truth])
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(white).save(tmp_path / "mask.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.rot90(truth, -1))
