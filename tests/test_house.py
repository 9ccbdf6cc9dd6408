"""The package has no circle of modules, no crowded folder and no long file."""

from __future__ import annotations

from house import PACKAGE, cycle_of, import_graph, large_folders, long_files


def test_no_module_imports_what_imports_it() -> None:
    graph = import_graph()
    assert "qmanet_benco.model.config" in graph["qmanet_benco.model.network"]
    assert cycle_of(graph) == []


def test_a_circle_is_found_also_through_a_third_module() -> None:
    assert set(cycle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_no_folder_has_more_than_fourteen_modules() -> None:
    assert large_folders() == {}


def test_no_file_has_more_than_three_hundred_lines() -> None:
    assert long_files() == {}


def test_every_room_says_what_it_is_for() -> None:
    rooms = list(PACKAGE.rglob("__init__.py"))
    assert len(rooms) > 15
    assert not [room for room in rooms if not room.read_text(encoding="utf-8").startswith('"""')]
