#!/usr/bin/env bash
# The marked tests under other packages and other interpreters than those of the active environment.
# Usage: runs/compat.sh [floor] [newest] [torch] [python] [numpy2]      the first two by default
#   floor   the declared floor of timm and transformers, each in a folder of its own before the installed packages
#   newest  their newest allowed releases
#   torch   the floor of torch and torchvision, with what they need: gigabytes
#   python  every CPython 3.10, 3.11 and 3.12 that is found (on PATH and under pyenv), each in an environment of its own
#   numpy2  a Python 3.12 whose image brings torch and numpy 2: this project is put beside them with --no-deps, as
#           docs/install.md says
# Environments take gigabytes each. They are made in COMPAT_VENVS (default: a folder that is removed at the end) as
# venv310, venv311, venv312 and venv312-numpy2; one that is there is used as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here=$PWD
work=$(mktemp -d)
mapfile -t marked < <(grep -rl --include='test_*.py' 'pytest\.mark\.compat' tests)  # collecting all others takes minutes
trap 'rm -rf "$work"' EXIT

floor() {  # floor NAME: the release behind NAME>= in setup.py
    sed -nE "s/^.*\"$1>=([0-9.]+).*$/\1/p" setup.py | head -n 1
}

marked() {  # marked SESSION [PATH]: the marked tests with PATH before everything that is installed
    echo "== $1: $(PYTHONPATH=${2:-} python -c 'import torch, timm, transformers as t; print("torch", torch.__version__, "timm", timm.__version__, "transformers", t.__version__)')"
    PYTHONPATH="${2:+$2:}$here" python -m pytest -q -m compat -p no:cacheprovider "${marked[@]}"
}

session() {  # session NAME REQUIREMENT...: without dependencies, so that the rest stays as it is
    local name=$1
    shift
    python -m pip install --quiet --no-deps --upgrade --target "$work/$name" "$@"
    marked "$name" "$work/$name"
}

torch_session() {  # with dependencies, which are of one torch; the packages that others share stay at their releases
    python -m pip list --format freeze --exclude torch --exclude torchvision --exclude triton --exclude-editable |
        grep -v -i -E '^(nvidia|cuda|torch)' >"$work/installed.txt"
    python -m pip install --quiet --target "$work/torch" --constraint "$work/installed.txt" \
        "torch==$(floor torch).*" "torchvision==$(floor torchvision).*"
    marked torch-floor "$work/torch"
}

interpreters() {  # interpreters MINOR...: the first CPython of each minor version that is found
    local minor candidate
    for minor in "$@"; do
        for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
            if "$candidate" -c "import sys; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
                echo "$candidate"
                break
            fi
        done
    done
}

installed() {  # installed VENV INTERPRETER REQUIREMENT...: an environment, made where there is none
    local venv=$1 interpreter=$2
    shift 2
    [ ! -x "$venv/bin/python" ] || [ -e "$venv/.unfinished" ] || return 0
    mkdir -p "$venv" && touch "$venv/.unfinished" && "$interpreter" -m venv "$venv" &&
        "$venv/bin/python" -m pip install --quiet "$@" && rm "$venv/.unfinished"
}

tested() {  # tested NAME VENV: the marked tests in an environment, and a line of the table
    local python=$2/bin/python line
    line=$(PYTHONPATH=$here "$python" -c '
import platform
from importlib import metadata
names = ("torch", "numpy", "opencv-python-headless", "pandas", "pyarrow", "onnxruntime")
versions = [next((found.version for found in metadata.distributions(name=name)), "none") for name in names]
print("|", " | ".join((platform.python_version(), *versions)), end=" | ")')
    local code=0
    PYTHONPATH=$here "$python" -m pytest -q -m compat -p no:cacheprovider "${marked[@]}" | tee "$work/$1.log" || code=1
    echo "$line$(tail -n 1 "$work/$1.log") |" >>"$work/table"
    return "$code"
}

python_session() {
    local interpreter name bad=0 found
    found=$(interpreters 10 11 12)
    [ -n "$found" ] || { echo "runs/compat.sh: no CPython 3.10, 3.11 or 3.12 found" >&2; return 1; }
    for interpreter in $found; do
        name=venv$("$interpreter" -c 'import sys; print("%d%d" % sys.version_info[:2])')
        echo "== $("$interpreter" --version) ($interpreter)"
        if installed "$venvs/$name" "$interpreter" -e "${here}[test]"; then
            tested "$name" "$venvs/$name" || bad=1
        else
            bad=1
        fi
    done
    return "$bad"
}

numpy2_session() {
    local interpreter venv=$venvs/venv312-numpy2
    interpreter=$(interpreters 12)
    [ -n "$interpreter" ] || { echo "runs/compat.sh: no CPython 3.12 found" >&2; return 1; }
    if [ ! -x "$venv/bin/python" ] || [ -e "$venv/.unfinished" ]; then
        installed "$venv" "$interpreter" 'torch==2.11.*' 'torchvision==0.26.*' 'numpy==2.5.*' 'opencv-python-headless==5.*' \
            'pandas==3.*' 'pyarrow==26.*' scikit-image scikit-learn matplotlib transformers hypothesis pytest pytest-timeout || return 1
        touch "$venv/.unfinished"
        "$venv/bin/python" -m pip install --quiet --no-deps -r runs/no_deps.txt -e "$here" || return 1
        rm "$venv/.unfinished"
    fi
    tested numpy2 "$venv"
}

venvs=$work/venvs
if [ -n "${COMPAT_VENVS:-}" ]; then
    mkdir -p "$COMPAT_VENVS"
    venvs=$(cd "$COMPAT_VENVS" && pwd)
fi
failed=()
[ $# -gt 0 ] || set -- floor newest
for which in "$@"; do
    case $which in
    floor)
        session "timm-floor" "timm==$(floor timm)" || failed+=("timm floor")
        session "transformers-floor" "transformers==$(floor transformers).*" "tokenizers<0.20" "huggingface_hub<1" || failed+=("transformers floor")
        ;;
    torch) torch_session || failed+=("torch floor") ;;
    python) python_session || failed+=("python") ;;
    numpy2) numpy2_session || failed+=("numpy 2") ;;
    newest) session "newest" timm transformers || failed+=("newest") ;;
    *)
        echo "runs/compat.sh: got '$which'; expected floor, newest, torch, python or numpy2" >&2
        exit 2
        ;;
    esac
done
if [ -e "$work/table" ]; then
    echo "| Python | torch | numpy | opencv-python-headless | pandas | pyarrow | onnxruntime | marked tests |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
    cat "$work/table"
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
