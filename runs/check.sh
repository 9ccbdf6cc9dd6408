#!/usr/bin/env bash
# Everything that must hold: linters, type checker, import contracts, shell scripts, documentation, all tests but those
# marked slow (each baseline trained by the stock script, killed trainings, long runs): those are
# `runs/check.sh -m slow`, for the night.
# Two processes share the tests, each file in one of them (`-n 0`: one process).
# Usage: runs/check.sh [PYTEST ARGUMENTS]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/setup.sh
source "$here/setup.sh" dev
cd "$here/.."
ruff check .
ruff format --check .
mypy & # the longest of these; the others need one core
types=$!
site=$(mktemp -d)
trap 'rm -rf "$site"; kill "$types" 2>/dev/null || true' EXIT
lint-imports
shellcheck -x runs/*.sh .ci/run
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir "$site"
wait "$types"
# Without `--max-worker-restart=0` xdist 3.8 waits for ever after one of the two has died.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} python -m pytest -n 2 --dist loadfile --max-worker-restart=0 -m "not slow" "$@"
