#!/usr/bin/env bash
# The declared floor and the newest allowed release of timm and transformers (and of torch, where asked for), each put
# into a folder of its own before the installed packages, and the marked tests under it.
# Usage: runs/compat.sh [floor] [newest] [torch]      the first two by default
#   torch: the floor of torch and torchvision, with what they need: gigabytes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

floor() {  # floor NAME: the release behind NAME>= in setup.py
    sed -nE "s/^.*\"$1>=([0-9.]+).*$/\1/p" setup.py | head -n 1
}

marked() {  # marked SESSION [PATH]: the marked tests with PATH before everything that is installed
    echo "== $1: $(PYTHONPATH=${2:-} python -c 'import torch, timm, transformers as t; print("torch", torch.__version__, "timm", timm.__version__, "transformers", t.__version__)')"
    PYTHONPATH="${2:+$2:}$here" python -m pytest -q -m compat -p no:cacheprovider tests
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

failed=()
[ $# -gt 0 ] || set -- floor newest
for which in "$@"; do
    case $which in
    floor)
        session "timm-floor" "timm==$(floor timm)" || failed+=("timm floor")
        session "transformers-floor" "transformers==$(floor transformers).*" "tokenizers<0.20" "huggingface_hub<1" || failed+=("transformers floor")
        ;;
    torch) torch_session || failed+=("torch floor") ;;
    newest) session "newest" timm transformers || failed+=("newest") ;;
    *)
        echo "runs/compat.sh: got '$which'; expected floor, newest or torch" >&2
        exit 2
        ;;
    esac
done
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
