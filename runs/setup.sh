#!/usr/bin/env bash
# Sourced by the other scripts: makes a virtual environment (or uses the active one), installs the project into it.
# Usage: source runs/setup.sh [EXTRA]      e.g. EXTRA = dev
#   QMANET_VENV    folder of the environment (default: .venv in the checkout)
#   QMANET_PYTHON  interpreter to make it with (default: python3.11, else 3.12, 3.10 or python3)
set -euo pipefail

qmanet_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

qmanet_python() {
    local candidate candidates=(python3.11 python3.12 python3.10 python3 python)
    [ -z "${QMANET_PYTHON:-}" ] || candidates=("$QMANET_PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "runs/setup.sh: none of ${candidates[*]} is a Python 3.10 to 3.12; name one in QMANET_PYTHON" >&2
    return 2
}

qmanet_install() {
    local extra=${1:-} target stamp
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        local folder=${QMANET_VENV:-$qmanet_root/.venv}
        if [ ! -x "$folder/bin/python" ]; then
            local python
            python=$(qmanet_python) || return 2
            "$python" -m venv "$folder"
        fi
        # shellcheck disable=SC1091
        source "$folder/bin/activate"
    fi
    target="$qmanet_root"
    [ -z "$extra" ] || target="${qmanet_root}[${extra}]"
    stamp="$VIRTUAL_ENV/.qmanet-installed-${extra:-plain}"
    if [ ! -e "$stamp" ] || [ "$qmanet_root/setup.py" -nt "$stamp" ]; then
        echo "Installing qmanet-benco into $VIRTUAL_ENV (several GB with torch; some minutes)"
        python -m pip install --quiet --editable "$target"
        # Two packages install the same module cv2: grad-cam asks for opencv-python, albumentations for the headless one.
        # The first needs libGL; where that is absent the headless one has to be the last that was written.
        if ! python -c 'import cv2' 2>/dev/null; then
            python -m pip install --quiet --force-reinstall --no-deps \
                "opencv-python-headless==$(python -c 'from importlib import metadata as m; print(m.version("opencv-python-headless"))')"
        fi
        touch "$stamp"
    fi
}

qmanet_install "${1:-}"
