"""Prints the shape of the package: lines of each room, cycles of modules, files over 300 lines, folders over 14 files.

``python tests/house.py``; it ends with 1 where one of the last three is found. Imports inside functions and those for
types only count too.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "qmanet_benco"
LONGEST_FILE, LARGEST_FOLDER = 300, 14


def module_name(path: Path) -> str:
    """``qmanet_benco/model/config.py`` -> ``qmanet_benco.model.config``."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path, known: Collection[str]) -> Iterator[str]:
    """The modules among ``known`` that a file imports; the package imports itself by absolute names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in inner]
        else:
            continue
        yield from (name for name in names if name in known)


def late_imports(path: Path) -> set[str]:
    """The packages that a file imports inside functions, by their first name."""
    names = set()
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for node in ast.walk(function) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else ():
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
    return names


def import_graph(folder: Path = PACKAGE) -> dict[str, set[str]]:
    """The modules that each module imports, among those below a folder."""
    files = {module_name(path): path for path in folder.rglob("*.py")}
    return {name: {*imported_modules(path, files)} - {name} for name, path in files.items()}


def cycle_of(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def line_counts(folder: Path = PACKAGE) -> dict[Path, int]:
    """Lines of each file of Python."""
    return {path: path.read_text(encoding="utf-8").count("\n") for path in sorted(folder.rglob("*.py"))}


def long_files(folder: Path = PACKAGE) -> dict[str, int]:
    """Files of more than :data:`LONGEST_FILE` lines."""
    return {str(path.relative_to(ROOT)): n for path, n in line_counts(folder).items() if n > LONGEST_FILE}


def large_folders(folder: Path = PACKAGE) -> dict[str, int]:
    """Folders of more than :data:`LARGEST_FOLDER` modules."""
    counted = Counter(str(path.parent.relative_to(ROOT)) for path in folder.rglob("*.py") if path.stem != "__init__")
    return {name: n for name, n in sorted(counted.items()) if n > LARGEST_FOLDER}


def parser() -> argparse.ArgumentParser:
    """What the command takes: nothing."""
    return argparse.ArgumentParser(description=__doc__)


def main() -> int:
    """Print the tree; 1 if something is over."""
    parser().parse_args()
    counts = line_counts()
    rooms = sorted({path.parent for path in counts})
    for room in rooms:
        own = [n for path, n in counts.items() if path.parent == room]
        below = sum(n for path, n in counts.items() if path.is_relative_to(room))
        indent = "    " * len(room.relative_to(PACKAGE).parts)
        sys.stdout.write(f"{indent}{room.name + '/':{30 - len(indent)}} {len(own):3} files {below:6} lines\n")
    found = {
        "cycle of modules": " -> ".join(cycle_of(import_graph())),
        f"files over {LONGEST_FILE} lines": ", ".join(f"{name} {n}" for name, n in long_files().items()),
        f"folders over {LARGEST_FOLDER} files": ", ".join(f"{name} {n}" for name, n in large_folders().items()),
    }
    for what, named in found.items():
        sys.stdout.write(f"{what}: {named or 'none'}\n")
    return int(any(found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
