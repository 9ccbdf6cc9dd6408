#!/usr/bin/env bash
# Pixel-F1 of every checkpoint in a folder on every set of a JSON file.
#
#   TEST_JSON      JSON {name: path of a ManiDataset folder or JSON list}
#   CHECKPOINTS    folder with checkpoint-N.pth
#   OUTPUT_DIR     logs: OUTPUT_DIR/NAME/log.txt for each set
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TEST_JSON "a JSON {name: path} of the sets to test on"
need_path CHECKPOINTS "a folder with checkpoint-N.pth"
need OUTPUT_DIR "a folder for logs"

exec qmanet benco test "${LAUNCH[@]}" \
    --model "$MODEL" "${MODEL_FLAGS[@]}" \
    --test_data_json "$TEST_JSON" --checkpoint_path "$CHECKPOINTS" \
    --image_size "$IMAGE_SIZE" --if_resizing --test_batch_size "${BATCH:-2}" --num_workers "${WORKERS:-4}" \
    --output_dir "$OUTPUT_DIR" --log_dir "$OUTPUT_DIR" "$@"
