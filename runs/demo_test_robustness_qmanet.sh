#!/usr/bin/env bash
# Pixel-F1 of one checkpoint on one set under Gaussian blur, Gaussian noise and JPEG compression (Figure 4).
#
#   TEST_DATA      ManiDataset folder or JSON list
#   CHECKPOINT     checkpoint-N.pth
#   OUTPUT_DIR     logs: one folder for each attack
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TEST_DATA "a ManiDataset folder or a JSON list"
need_path CHECKPOINT "a checkpoint-N.pth"
need OUTPUT_DIR "a folder for logs"

exec qmanet benco test_robust "${LAUNCH[@]}" \
    --model "$MODEL" "${MODEL_FLAGS[@]}" \
    --test_data_path "$TEST_DATA" --checkpoint_path "$CHECKPOINT" \
    --image_size "$IMAGE_SIZE" --if_resizing --test_batch_size "${BATCH:-2}" --num_workers "${WORKERS:-4}" \
    --seed "${SEED:-42}" --output_dir "$OUTPUT_DIR" --log_dir "$OUTPUT_DIR" "$@"
