#!/usr/bin/env bash
# Does everything work on this machine's GPU, and how fast is it? Needs no network. docs/gpu.md says how to read it.
# Usage: runs/gpu_check.sh [OUT]     (default gpu-check): OUT/gpu.json and OUT/gpu.md, written after every phase
#   MINUTES      for everything together (default 8)
#   DEVICE       cuda (default), or cpu: the same steps on small networks, to see that the script works
#   NOISEPRINT   noiseprint++.th (non-profit use only); by default random weights, which serve for speed
#   PYTHON       interpreter (default python3)
set -euo pipefail
out=$(realpath -m "${1:-gpu-check}")
[ -z "${NOISEPRINT:-}" ] || NOISEPRINT=$(realpath -m "$NOISEPRINT")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
exec "${PYTHON:-python3}" runs/measure/gpu/gpu_check.py "$out" --minutes "${MINUTES:-8}" --device "${DEVICE:-cuda}" \
    --noiseprint "${NOISEPRINT:-random}"
