#!/usr/bin/env bash
# What the installed dependencies are: known holes (pip-audit, in an environment of its own) and licences.
# Usage: runs/audit.sh [FILE]      FILE: where the table of licences goes (default: docs/licences.md)
#   PIP_AUDIT  a pip-audit to use instead of a fresh one
# It asks PyPI's advisory interface about each installed package. Exit code 0: all were looked up and none has a known
# hole; 1: some have; 3: some or all could not be looked up (a package mirror often has no such interface), so nothing is
# known about those: pip-audit itself would then say "No known vulnerabilities found".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python runs/licences.py "${1:-docs/licences.md}"

audit=${PIP_AUDIT:-$work/venv/bin/pip-audit}
if [ -z "${PIP_AUDIT:-}" ]; then
    python -m venv "$work/venv"
    if ! "$work/venv/bin/python" -m pip install --quiet pip-audit; then
        echo "runs/audit.sh: pip-audit could not be installed: nothing is known about holes" >&2
        exit 3
    fi
fi
python -m pip list --format=freeze --exclude qmanet-benco >"$work/installed.txt"
all=$(wc -l <"$work/installed.txt")
code=0
"$audit" --no-deps --disable-pip --progress-spinner off -r "$work/installed.txt" \
    >"$work/found.txt" 2>"$work/errors.txt" || code=$?
skipped=$(grep -c 'could not be audited' "$work/found.txt" || true)
grep -v 'could not be audited' "$work/found.txt" || true
if [ "$code" -gt 1 ] || ! grep -qE 'vulnerabilit' "$work/found.txt" "$work/errors.txt"; then
    tail -n 2 "$work/errors.txt" >&2
    skipped=$all
fi
echo "$((all - skipped)) of $all installed packages were looked up"
[ "$code" -ne 1 ] || ! grep -qE 'Found [0-9]+ known' "$work/errors.txt" || exit 1
if [ "$skipped" -gt 0 ]; then
    echo "runs/audit.sh: $skipped packages could not be looked up: nothing is known about their holes" >&2
    exit 3
fi
