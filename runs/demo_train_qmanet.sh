#!/usr/bin/env bash
# Train QMA-Net with the paper's recipe (section 4.1): 512x512, 150 epochs, effective batch 32, AdamW, 1e-4 cosine to
# 5e-7, weight decay 0.05. Warm-up 2 epochs follows the framework's own Mesorch and TruFor scripts (the paper is silent).
#
#   TRAIN_DATA   ManiDataset folder, JSON list, or balanced list (Protocol-CAT: qmanet data protocol-cat)
#   TEST_DATA    ManiDataset folder, or JSON {name: path}
#   OUTPUT_DIR   checkpoints and logs
#   BACKBONE     encoder weights: a file, a name of `qmanet weights list`, or random (default mit_b3, or VARIANT's size)
#   NOISEPRINT   NoisePrint++ weights: a file or a name (default noiseprint++; non-profit use only)
#   NPROC, NNODES, RDZV   processes per machine, machines, meeting point; BATCH per process (default: up to 8, so that
#                the effective batch is 32)
#   BASELINES    YAML with further flags below the name QMANet
#   VARIANT, NOISE_SOURCES, IMAGE_SIZE, EPOCHS   for ablations and smaller runs
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TRAIN_DATA "a ManiDataset folder or a JSON list to train on"
need_path TEST_DATA "a ManiDataset folder or a JSON {name: path} to test on"
need OUTPUT_DIR "a folder for checkpoints and logs"

accumulation
RECIPE=()
[ -z "${BASELINES:-}" ] || model_flags "$MODEL"
if [ "$MODEL" = QMANet ]; then
    case "${VARIANT:-paper}" in
        b[0-5]) BACKBONE=${BACKBONE:-mit_$VARIANT} ;;
        miniature) BACKBONE=${BACKBONE:-random} ;;  # nobody has pretrained it
        *) BACKBONE=${BACKBONE:-mit_b3} ;;
    esac
    MODEL_FLAGS+=(--backbone_weights "$BACKBONE" --checkpointing "${CHECKPOINTING:-0}")
    case "${VARIANT:-paper}:,${NOISE_SOURCES:-default}," in
        miniature:,default,) ;;  # its sources need no weights
        *,noiseprint,* | *,default,) MODEL_FLAGS+=(--noiseprint_weights "${NOISEPRINT:-noiseprint++}") ;;
    esac
fi

exec qmanet benco train "${LAUNCH[@]}" \
    --model "$MODEL" "${MODEL_FLAGS[@]}" \
    --data_path "$TRAIN_DATA" --test_data_path "$TEST_DATA" \
    --image_size "$IMAGE_SIZE" --if_resizing \
    --epochs "${EPOCHS:-150}" --batch_size "$BATCH" --accum_iter "$ACCUMULATE" --test_batch_size "$BATCH" \
    --lr 1e-4 --min_lr 5e-7 --weight_decay 0.05 --warmup_epochs "${WARMUP:-2}" --test_period 4 \
    --num_workers "${WORKERS:-8}" --seed "${SEED:-42}" \
    --output_dir "$OUTPUT_DIR" --log_dir "$OUTPUT_DIR" "${RECIPE[@]}" "$@"
