#!/usr/bin/env bash
# The paper's recipe on several machines: run the same line on each of them. Variables as for demo_train_qmanet.sh, and
#   NNODES    number of machines
#   NPROC     processes (GPUs) on each
#   RDZV      HOST:PORT of one of them
# Under Slurm, `srun --ntasks-per-node=GPUS runs/demo_train_qmanet.sh` needs none of the three.
set -euo pipefail
for name in NNODES NPROC RDZV; do
    if [ -z "${!name:-}" ]; then
        echo "$(basename "$0"): $name is not set; see the head of this file" >&2
        exit 2
    fi
    export "${name?}"
done
exec "$(dirname "${BASH_SOURCE[0]}")/demo_train_qmanet.sh" "$@"
