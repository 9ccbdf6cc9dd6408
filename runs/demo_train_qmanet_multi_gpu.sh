#!/usr/bin/env bash
# The paper's recipe on all GPUs of this machine. Variables as for demo_train_qmanet.sh.
set -euo pipefail
NPROC=${NPROC:-$({ nvidia-smi --list-gpus 2>/dev/null || true; } | wc -l)}
if [ "$NPROC" = 0 ]; then
    echo "$(basename "$0"): no GPU found by nvidia-smi; expected one or more, or set NPROC (processes on CPU)" >&2
    exit 2
fi
export NPROC
exec "$(dirname "${BASH_SOURCE[0]}")/demo_train_qmanet.sh" "$@"
