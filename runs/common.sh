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

accumulation() {  # the batch of a process and the steps until the paper's effective batch of 32; in BATCH and ACCUMULATE
    local world=$(( ${NPROC:-1} * ${NNODES:-1} )) effective=${EFFECTIVE_BATCH:-32} given=${BATCH:-} batch
    [ -z "${SLURM_PROCID:-}" ] || world=${SLURM_NTASKS:-$world}  # started by srun: one task for each GPU
    for batch in ${given:-8 7 6 5 4 3 2 1}; do
        BATCH=$batch
        ACCUMULATE=$(( effective / (batch * world) ))
        [ $(( ACCUMULATE * batch * world )) -ne "$effective" ] || return 0
    done
    local what="the paper's effective batch of 32" cure="a BATCH that divides $(( effective / world ))"
    [ "$effective" = 32 ] || what="EFFECTIVE_BATCH=$effective"
    [ $(( effective % world )) -eq 0 ] || cure="1, 2, 4, 8, 16 or 32 processes, or EFFECTIVE_BATCH=N for another recipe"
    echo "$(basename "$0"): BATCH=${given:-8} on $world processes cannot make $what; expected $cure" >&2
    exit 2
}

model_flags() {  # model_flags MODEL: flags of its training from qmanet_benco/benco/zoo/baselines.py and BASELINES; in RECIPE
    local lines here file=${BASELINES:-} optional=()
    here=$(dirname "${BASH_SOURCE[0]}")
    if [ -z "$file" ]; then
        file=$here/baselines.yaml
        optional=(--optional)
    fi
    lines=$(python "$here/recipe.py" "$1" "$file" "${optional[@]}") || exit 2
    RECIPE=()
    # shellcheck disable=SC2034  # the script that sources this file reads it
    [ -z "$lines" ] || mapfile -t RECIPE <<<"$lines"
}

for name in NPROC NNODES BATCH EFFECTIVE_BATCH IMAGE_SIZE EPOCHS STEPS; do
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
# STEPS=N: stop each training after N optimiser steps, to try a whole chain before it takes days
[ -z "${STEPS:-}" ] || LAUNCH+=(--max-steps "$STEPS")
MODEL=${MODEL:-QMANet}
IMAGE_SIZE=${IMAGE_SIZE:-512}
MODEL_FLAGS=()
if [ "$MODEL" = QMANet ]; then
    MODEL_FLAGS+=(--variant "${VARIANT:-paper}")
    [ -z "${NOISE_SOURCES:-}" ] || MODEL_FLAGS+=(--noise_sources "$NOISE_SOURCES")
fi
