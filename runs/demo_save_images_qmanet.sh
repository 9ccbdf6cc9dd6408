#!/usr/bin/env bash
# Predicted masks of one checkpoint on one set, as PNG files at the photos' own sizes.
#
#   TEST_DATA      ManiDataset folder or JSON list
#   CHECKPOINT     checkpoint-N.pth
#   OUTPUT_DIR     masks go to OUTPUT_DIR/pred
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TEST_DATA "a ManiDataset folder or a JSON list"
need_path CHECKPOINT "a checkpoint-N.pth"
need OUTPUT_DIR "a folder for the masks"

exec qmanet benco test_save_images "${LAUNCH[@]}" \
    --model "$MODEL" "${MODEL_FLAGS[@]}" \
    --test_data_path "$TEST_DATA" --checkpoint_path "$CHECKPOINT" \
    --image_size "$IMAGE_SIZE" --if_resizing --test_batch_size "${BATCH:-2}" --num_workers "${WORKERS:-4}" \
    --output_dir "$OUTPUT_DIR" --log_dir "$OUTPUT_DIR" "$@"
