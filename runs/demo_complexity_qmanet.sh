#!/usr/bin/env bash
# Parameters and multiply-adds of one model, counted by the framework's script at batch 1 (Table 10).
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

exec qmanet benco test_complexity --model "$MODEL" "${MODEL_FLAGS[@]}" \
    --image_size "$IMAGE_SIZE" --if_resizing --test_batch_size 1 "$@"
