#!/usr/bin/env bash
# Train a baseline with the recipe of the paper's comparison: Protocol-CAT, 512x512, 150 epochs. Learning rate and the
# script's flags are those of the framework's own script for the model (qmanet_benco/benco/zoo/baselines.py).
#
#   MODEL        MantraNet PSCC_Net MVSSNet Cat_Net Trufor IML_ViT Mesorch SAM, or the corrected ones:
#                Cat_Net_RealDCT Trufor_RGB; not in the paper: SparseViT ObjectFormer MSCDI_Net
#   TRAIN_DATA   balanced list (qmanet data protocol-cat), JSON list or ManiDataset folder
#   TEST_DATA    ManiDataset folder, or JSON {name: path}
#   OUTPUT_DIR   checkpoints and logs
#   NPROC, NNODES, RDZV   processes per machine, machines, meeting point; BATCH per process (default: up to 8, so that
#                the effective batch is 32)
#   BASELINES    YAML with each model's pretrained weights and other flags (default runs/baselines.yaml)
#   IMAGE_SIZE, EPOCHS, STEPS    for smaller runs; further arguments are flags of the script or of the model
set -euo pipefail
if [ -z "${MODEL:-}" ]; then
    echo "$(basename "$0"): MODEL is not set; expected a baseline's name, e.g. MODEL=Mesorch $0" >&2
    exit 2
fi
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TRAIN_DATA "a ManiDataset folder or a JSON list to train on"
need_path TEST_DATA "a ManiDataset folder or a JSON {name: path} to test on"
need OUTPUT_DIR "a folder for checkpoints and logs"

accumulation
model_flags "$MODEL"

exec qmanet benco train "${LAUNCH[@]}" --model "$MODEL" "${RECIPE[@]}" \
    --data_path "$TRAIN_DATA" --test_data_path "$TEST_DATA" \
    --image_size "$IMAGE_SIZE" --if_resizing \
    --epochs "${EPOCHS:-150}" --batch_size "$BATCH" --accum_iter "$ACCUMULATE" --test_batch_size "$BATCH" \
    --weight_decay 0.05 --warmup_epochs "${WARMUP:-2}" --test_period 4 \
    --num_workers "${WORKERS:-8}" --seed "${SEED:-42}" \
    --output_dir "$OUTPUT_DIR" --log_dir "$OUTPUT_DIR" "$@"
