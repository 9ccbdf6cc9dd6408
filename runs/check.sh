#!/usr/bin/env bash
# Everything that must hold: linters, type checker, import contracts, shell scripts, documentation, all tests but those
# marked slow (each baseline trained by the stock script, killed trainings, long runs): those are
# `runs/check.sh -m slow`, for the night.
# Usage: runs/check.sh [PYTEST ARGUMENTS]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/setup.sh
source "$here/setup.sh" dev
cd "$here/.."
ruff check .
ruff format --check .
mypy
lint-imports
shellcheck -x runs/*.sh .ci/run
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir "$site"
python -m pytest -m "not slow" "$@"
