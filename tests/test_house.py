"""The package has no circle of modules, no crowded folder and no long file."""

from __future__ import annotations

import ast
import re

from house import PACKAGE, cycle_of, import_graph, large_folders, late_imports, long_files


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


def test_every_room_says_what_it_is_for_and_who_may_import_it() -> None:
    rooms = [room for room in PACKAGE.rglob("__init__.py") if room.parent != PACKAGE]
    assert len(rooms) > 15
    for room in rooms:
        said = ast.get_docstring(ast.parse(room.read_text(encoding="utf-8"))) or ""
        assert len(re.findall(r"[.](?=\s|$)", said)) == 2, f"{room}: two sentences"
        assert " import" in said.partition(". ")[2] + said.partition(".\n")[2], f"{room}: who may import it"


LATE = {
    "apps/web/analyst.py": {"qmanet_benco"},  # the extra [explain]
    "apps/web/server.py": {"starlette", "qmanet_benco"},  # the extra [app]
    "benco/seam/jpeg_coefficients.py": {"jpeglib"},  # only where CAT-Net reads a JPEG
    # what starts other processes, or looks at an installation, works without torch and before it is loaded
    "benco/launch/doctor.py": {"torch", "qmanet_benco"},
    "benco/launch/elastic.py": {"torch"},
    "benco/launch/failures.py": {"torch"},
    "benco/launch/launcher.py": {"qmanet_benco"},
    "benco/launch/requirements.py": {"packaging"},
    "benco/launch/session.py": {"torch"},
    "benco/resume/determinism.py": {"torch"},
    "benco/seam/world.py": {"torch"},
    "evaluation/suite/launch.py": {"qmanet_benco"},
    "memory.py": {"ctypes"},
    "precision.py": {"torch"},
    "quickstart.py": {"torch", "matplotlib", "qmanet_benco"},
    # modules that import the framework
    "evaluation/attacks.py": {"qmanet_benco"},
    "evaluation/cost.py": {"qmanet_benco"},
    # slow, and seldom needed
    "data/forge/outlines.py": {"skimage"},
    "evaluation/detection.py": {"sklearn"},
    "evaluation/report/training_curves.py": {"tensorboard"},
    "images.py": {"pillow_heif", "cv2"},
    "model/weights/hub.py": {"huggingface_hub"},
    "model/weights/sources.py": {"huggingface_hub"},
}
"""Files with imports inside functions, beside the command line and the framework's, and what they import so."""


def test_imports_inside_functions_are_those_that_have_a_reason() -> None:
    framework = {"IMDLBenCo", "fvcore", "timm", "albumentations"}
    assert late_imports(PACKAGE / "benco/zoo/build.py") == {"IMDLBenCo"}
    others = {}
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        late = late_imports(path) - (framework if name.startswith("benco/") else set())
        if late and not name.startswith("cli/"):
            others[name] = late
    assert others == LATE
