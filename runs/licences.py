"""Write the licences of everything that the project needs, as the installed packages state them: a table in Markdown.

Usage: python runs/licences.py FILE
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from qmanet_benco.files import write_text_atomically

PROJECT = "qmanet-benco"
TITLE = """# Licences of the dependencies

Made by `runs/audit.sh` from what the installed packages say of themselves. "direct" is what `setup.py` names; the
others came with those. A package that states nothing is listed so. Weights and data have terms of their own:
`qmanet weights list`, docs/datasets.md.

| package | version | licence | needed |
| --- | --- | --- | --- |
"""


def needed(name: str, distributions: dict[str, Distribution], extras: frozenset[str] = frozenset()) -> list[str]:
    """The installed packages that ``name`` asks for, added to ``distributions`` with all that they ask for."""
    names = []
    for line in distribution(name).requires or ():
        required, _, marker = line.partition(";")
        extra = re.search(r"""extra == ["']([\w-]+)["']""", marker)
        if extra and extra[1] not in extras:
            continue
        plain = re.match(r"[\w.-]+", required)
        if plain is None:
            continue
        key = re.sub(r"[-_.]+", "-", plain[0]).lower()
        try:
            entry = distribution(key)
        except PackageNotFoundError:  # for another system or another Python
            continue
        names.append(key)
        if key not in distributions:
            distributions[key] = entry
            needed(key, distributions)
    return names


def licence_of(entry: Distribution) -> str:
    """By the expression, the classifiers, or the first line of the field."""
    about = entry.metadata
    expression = "".join(about.get_all("License-Expression") or ())
    classifiers = [
        one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or () if one.startswith("License ::")
    ]
    field = "\n".join(about.get_all("License") or ()).strip().splitlines()
    return expression or ", ".join(classifiers) or (field[0][:80] if field else "not stated")


def main(target: Path) -> None:
    """Write the table; it is replaced whole."""
    distributions: dict[str, Distribution] = {}
    direct = set(needed(PROJECT, distributions, frozenset({"test", "dev", "sam"})))
    rows = [
        f"| {name} | {entry.version} | {licence_of(entry).replace('|', '/')} | {'direct' if name in direct else ''} |\n"
        for name, entry in sorted(distributions.items())
    ]
    write_text_atomically(target, TITLE + "".join(rows))
    sys.stdout.write(f"{target}: {len(rows)} packages, {len(direct)} of them named by setup.py\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("runs/licences.py: expected FILE, e.g. python runs/licences.py docs/licences.md")
    main(Path(sys.argv[1]))
