#!/usr/bin/env bash
# Sourced by the training and testing scripts: checks the variables that they take.
set -euo pipefail

need() {  # need NAME "what it is"
    if [ -z "${!1:-}" ]; then
        echo "$(basename "$0"): $1 is not set; expected $2, e.g. $1=... $0" >&2
        exit 2
    fi
}

need_path() {  # need_path NAME "what it is"
    need "$1" "$2"
    if [ ! -e "${!1}" ]; then
        echo "$(basename "$0"): $1=${!1} does not exist; expected $2" >&2
        exit 2
    fi
}

need_number() {  # need_number NAME: a whole number of 1 or more, where it is set
    if [ -n "${!1:-}" ] && ! [[ ${!1} =~ ^[1-9][0-9]*$ ]]; then
        echo "$(basename "$0"): $1=${!1}; expected a whole number of 1 or more" >&2
        exit 2
    fi
}

accumulation() {  # accumulation BATCH: steps until the paper's effective batch of 32; in ACCUMULATE
    local world=$(( ${NPROC:-1} * ${NNODES:-1} ))
    [ -z "${SLURM_PROCID:-}" ] || world=${SLURM_NTASKS:-$world}  # started by srun: one task for each GPU
    ACCUMULATE=$(( 32 / ($1 * world) ))
    if [ $(( ACCUMULATE * $1 * world )) -ne 32 ]; then
        echo "$(basename "$0"): BATCH=$1 on $world processes cannot make the paper's effective batch of 32" >&2
        exit 2
    fi
}

for name in NPROC NNODES BATCH IMAGE_SIZE EPOCHS; do
    need_number "$name"
done

if ! command -v qmanet >/dev/null; then
    echo "$(basename "$0"): no qmanet command; activate its environment (runs/setup.sh makes one)" >&2
    exit 2
fi

# Several GPUs or machines: NPROC processes on each of NNODES machines that meet at RDZV=HOST:PORT
LAUNCH=(--nproc "${NPROC:-1}")
if [ "${NNODES:-1}" -gt 1 ]; then
    need RDZV "HOST:PORT of one machine, the same on all"
    LAUNCH+=(--nnodes "$NNODES" --rdzv "$RDZV")
fi
MODEL=${MODEL:-QMANet}
IMAGE_SIZE=${IMAGE_SIZE:-512}
MODEL_FLAGS=()
if [ "$MODEL" = QMANet ]; then
    MODEL_FLAGS+=(--variant "${VARIANT:-paper}")
    [ -z "${NOISE_SOURCES:-}" ] || MODEL_FLAGS+=(--noise_sources "$NOISE_SOURCES")
fi
