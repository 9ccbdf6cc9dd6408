"""A second run replaces and removes only what an earlier one wrote; whatever else is there stays, byte for byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import archives
import pytest
from prepared import left_out, pairs_of, snapshot

from qmanet_benco.data.forge.demo import make_demo
from qmanet_benco.data.prepare.manifest import COLUMNS
from qmanet_benco.data.prepare.prepare import prepare
from qmanet_benco.data.protocol import write_protocol
from qmanet_benco.errors import RequestError

MINE = b"years of work"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    archives.coverage(tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def out(raw: Path, tmp_path: Path) -> Path:
    prepare("coverage", raw, tmp_path / "out")
    return tmp_path / "out"


def assert_refused(raw: Path, out: Path, name: str, workers: int = 1) -> None:
    """The second run ends with one line that names the file, and changes nothing."""
    before = snapshot(out)
    with pytest.raises(RequestError, match="move it elsewhere") as caught:
        prepare("coverage", raw, out, workers=workers)
    assert str(out / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    after = snapshot(out)
    assert {file: after.get(file) for file in before} == before


@pytest.mark.parametrize("name", ["Tp/mine.jpg", "Gt/mine.png", "Gt/.DS_Store"])
def test_a_file_of_the_users_between_ours_is_not_removed(name: str, raw: Path, out: Path) -> None:
    (out / name).write_bytes(MINE)
    assert_refused(raw, out, name)


@pytest.mark.parametrize("name", ["mine.txt", "Au/mine.jpg", "notes/mine.txt", "Tp.txt"])
def test_files_that_are_not_in_the_way_stay(name: str, raw: Path, out: Path) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_bytes(MINE)
    before = snapshot(out)
    prepare("coverage", raw, out)
    assert snapshot(out) == before


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["Tp/4t.tif", "Gt/4t.png"])
def test_a_name_that_the_archive_needs_later_is_the_users(workers: int, name: str, raw: Path, out: Path) -> None:
    (out / name).write_bytes(MINE)
    archives.coverage(raw, 4)
    assert_refused(raw, out, name, workers)
    assert not {"Tp/4t.tif", "Gt/4t.png"} - {name} & set(snapshot(out)), "no half of a pair"
    (out / name).unlink()
    prepare("coverage", raw, out, workers=workers)
    assert set(pairs_of(out)) == {"1t", "2t", "3t", "4t"}


@pytest.mark.parametrize("lost", ["Tp/1t.tif", "Gt/1t.png"])
def test_an_edited_half_is_kept_where_the_other_half_is_lost(lost: str, raw: Path, out: Path) -> None:
    """The pair has to be made again, and the user has drawn a better mask or put another image there."""
    edited = {"Tp/1t.tif": "Gt/1t.png", "Gt/1t.png": "Tp/1t.tif"}[lost]
    (out / lost).unlink()
    (out / edited).unlink()  # the prepared image may be a link to the archive's
    (out / edited).write_bytes(MINE)
    assert_refused(raw, out, edited)


def test_an_image_that_the_user_replaced_is_kept(raw: Path, out: Path) -> None:
    (out / "Tp" / "1t.tif").unlink()
    (out / "Tp" / "1t.tif").write_bytes(MINE)
    assert_refused(raw, out, "Tp/1t.tif")


@pytest.mark.parametrize("name", ["Tp/3t.tif", "Gt/3t.png"])
def test_what_the_archive_no_longer_has_is_removed_unless_it_was_edited(name: str, raw: Path, out: Path) -> None:
    (raw / "image" / "3t.tif").unlink()
    ours = (out / name).read_bytes()
    (out / name).unlink()
    (out / name).write_bytes(MINE)
    assert_refused(raw, out, name)
    (out / name).unlink()
    (out / name).write_bytes(ours)
    prepare("coverage", raw, out)
    assert set(pairs_of(out)) == {"1t", "2t"}


def test_a_changed_archive_replaces_what_we_wrote(raw: Path, out: Path) -> None:
    for path in (raw / "image" / "1t.tif", raw / "mask" / "1forged.tif"):
        path.unlink()
    archives.save(raw / "image" / "1t.tif", archives.picture(500, (50, 40)))
    archives.save(raw / "mask" / "1forged.tif", archives.region(500, (50, 40)))
    prepare("coverage", raw, out)
    image, mask = pairs_of(out)["1t"]
    assert image.read_bytes() == (raw / "image" / "1t.tif").read_bytes()
    assert (mask == archives.region(500, (50, 40))).all()


@pytest.mark.parametrize("name", ["manifest.csv", "left_out.csv"])
def test_an_edited_list_is_kept_beside_the_new_one(name: str, raw: Path, out: Path) -> None:
    ours = (out / name).read_bytes()
    for number, note in enumerate((b"# first note\n", b"# second note\n"), 1):
        (out / name).write_bytes(ours + note)
        prepare("coverage", raw, out)
        assert (out / f"{name}.old-{number}").read_bytes() == ours + note
    (out / "Gt" / "1t.png").unlink()
    before = snapshot(out)
    prepare("coverage", raw, out)
    assert {file for file in snapshot(out) if ".old" in file} == {file for file in before if ".old" in file}


@pytest.mark.parametrize("place", ["../thesis.txt", "Tp/../../thesis.txt", "{}", "Tp/..", "", "Gt"])
@pytest.mark.parametrize("name", ["manifest.csv", ".journal.jsonl"])
def test_a_list_cannot_name_files_outside_for_removal(name: str, place: str, raw: Path, out: Path) -> None:
    thesis = out.parent / "thesis.txt"
    thesis.write_bytes(MINE)
    before, digest = snapshot(out), hashlib.sha256(MINE).hexdigest()
    row = dict.fromkeys(COLUMNS, "") | {"file": place.format(thesis), "mask": "Negative", "image_sha256": digest}
    with (out / name).open("a") as stream:
        stream.write((",".join(row.values()) if name == "manifest.csv" else json.dumps(row)) + "\n")
    prepare("coverage", raw, out)
    assert thesis.read_bytes() == MINE
    assert {file: content for file, content in snapshot(out).items() if ".old" not in file} == before


def test_a_list_that_was_put_there_before_ours_is_kept(raw: Path, tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare("coverage", raw, out, progress=interrupt)
    (out / "left_out.csv").write_bytes(MINE)
    prepare("coverage", raw, out)
    assert (out / "left_out.csv.old-1").read_bytes() == MINE
    assert "image/1.tif" in left_out(out)


def test_lists_of_tampcoco_that_were_edited_are_kept(tmp_path: Path) -> None:
    archives.tampcoco(tmp_path / "raw")
    out = tmp_path / "out"
    prepare("tampcoco", tmp_path / "raw", out)
    before = snapshot(out)
    (out / "sp_COCO_list.json").write_bytes(MINE)
    prepare("tampcoco", tmp_path / "raw", out)
    assert snapshot(out) == {**before, "sp_COCO_list.json.old-1": MINE}


@pytest.mark.parametrize("finished", [False, True])
def test_a_folder_that_has_the_name_of_our_workshop_stays(finished: bool, raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if finished:
        prepare("coverage", raw, out)
    (out / ".partial" / "deep").mkdir(parents=True)
    for name in ("thesis.txt", "deep/chapter.txt"):
        (out / ".partial" / name).write_bytes(MINE)
    if finished:
        prepare("coverage", raw, out)
        assert (out / "manifest.csv").is_file()
    else:
        with pytest.raises(RequestError, match="is not empty"):
            prepare("coverage", raw, out)
    assert (
        (out / ".partial" / "thesis.txt").read_bytes() == (out / ".partial" / "deep/chapter.txt").read_bytes() == MINE
    )


@pytest.mark.parametrize("name", ["Tp", "Gt", ".partial"])
def test_a_file_in_the_place_of_a_folder_is_named(name: str, raw: Path, out: Path) -> None:
    for folder in ("Tp", "Gt"):
        (out / folder).rename(out / f"my {folder}")
    (out / name).write_bytes(MINE)
    assert_refused(raw, out, name)


def test_a_folder_behind_a_link_is_not_emptied(raw: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1t.tif").write_bytes(MINE)
    (out / "Tp").rename(out / "my Tp")
    (out / "Tp").symlink_to(tmp_path / "photos")
    assert_refused(raw, out, "Tp/1t.tif")
    assert snapshot(tmp_path / "photos") == {"1t.tif": MINE}


def test_what_a_kill_left_half_written_is_cleared(raw: Path, out: Path) -> None:
    before = snapshot(out)
    (out / ".partial").mkdir()
    for name in ("Tp__1t.tif.77", "Gt__1t.png.77", "manifest.csv.8", ".journal.jsonl.9"):
        (out / ".partial" / name).write_bytes(b"half")
    prepare("coverage", raw, out)
    assert snapshot(out) == before
    assert not (out / ".partial").exists()


def test_a_link_that_a_kill_left_is_not_written_through(raw: Path, tmp_path: Path) -> None:
    """A half-put image is another name of the archive's own file."""
    from qmanet_benco.data.prepare import manifest

    original = raw / "image" / "1t.tif"
    content = original.read_bytes()
    manifest.begin(tmp_path / "out")
    (tmp_path / "out" / "Tp").mkdir()
    manifest.partial_of(tmp_path / "out", "Tp/1t.png").hardlink_to(original)
    manifest.write_whole(tmp_path / "out", "Tp/1t.png", b"scaled")
    assert original.read_bytes() == content


def test_the_archive_is_only_read(raw: Path, tmp_path: Path) -> None:
    before = snapshot(raw)
    prepare("coverage", raw, tmp_path / "out", workers=2)
    prepare("coverage", raw, tmp_path / "out")
    assert snapshot(raw) == before


@pytest.mark.parametrize("name", ["notes.txt", "train/Tp/mine.jpg", "train/notes.txt"])
@pytest.mark.parametrize("marked", [False, True])
def test_demo_leaves_a_foreign_folder_of_its_workshops_name(name: str, marked: bool, tmp_path: Path) -> None:
    foreign = tmp_path / ".demo.unfinished"
    (foreign / name).parent.mkdir(parents=True)
    (foreign / name).write_bytes(MINE)
    if marked:
        (foreign / ".begun-by-qmanet-data-demo").touch()
    before = snapshot(tmp_path)
    with pytest.raises(RequestError, match=r"\.demo\.unfinished holds files that this command did not write"):
        make_demo(tmp_path / "demo", train_count=1, test_count=1, size=64)
    assert snapshot(tmp_path) == before


def test_demo_clears_what_its_own_kill_left(tmp_path: Path) -> None:
    left = tmp_path / ".demo.unfinished" / "train" / "Tp"
    left.mkdir(parents=True)
    (left / "splice_coffee_00003.jpg").write_bytes(b"half")
    (tmp_path / ".demo.unfinished" / ".begun-by-qmanet-data-demo").touch()
    make_demo(tmp_path / "demo", train_count=1, test_count=1, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert len(list((tmp_path / "demo" / "train" / "Tp").iterdir())) == 1


def test_demo_goes_into_an_empty_folder_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "demo").symlink_to(tmp_path / "disk")
    made = make_demo(tmp_path / "demo", train_count=1, test_count=1, size=64)
    assert (tmp_path / "demo").is_symlink()
    assert made.manifest.is_file()


def test_protocol_keeps_lists_of_the_users(out: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "test.json").write_bytes(MINE)
    made = write_protocol(tmp_path, tmp_path / "lists")
    assert (tmp_path / "lists" / "test.json.old-1").read_bytes() == MINE
    write_protocol(tmp_path, tmp_path / "lists")
    assert {path.name for path in (tmp_path / "lists").iterdir()} == {
        made.train.name,
        made.test.name,
        "test.json.old-1",
    }
