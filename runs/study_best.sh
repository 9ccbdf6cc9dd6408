#!/usr/bin/env bash
# The best b0 of the study: trained at 256 x 256, where real forgeries keep more of their noise; docs/study.md has what
# it reached, with the settings. A folder's data and noise sources stay those that it was begun with.
#
#   CASIA        folder with Tp, Gt and Au, named as in CASIA v1
#   NOISEPRINT   NoisePrint++ weights, a file or a name of `qmanet weights list`
#   OUTPUT_DIR   everything goes below it; the same command goes on after a kill
#   NOISE_SOURCES  some of srm,bayar,noiseprint (default noiseprint: of all, the study's best on real pairs)
#   START        trained weights of the same sources to start from: a checkpoint of runs/study.sh, e.g. of its row
#                "noise noiseprint"; empty: random ones
#   STEPS        optimiser steps of 8 images (default 3000)
#   LEARNING_RATE  (default 4e-4)
#   BCE          weight of the binary cross entropy beside the two Dice losses of 0.5 each (default 0)
#   WORKERS      processes that make the images (default 2)
#   GENERATED, PASTED   forgeries of the two generators to train on (default 500 and 1500)
#   COPIES       of each real training pair (default 4)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/common.sh
source "$here/common.sh"
need_path CASIA "a folder with Tp, Gt and Au"
need NOISEPRINT "NoisePrint++ weights"
need OUTPUT_DIR "a folder for data, checkpoints and tables"
data=$OUTPUT_DIR/data
mkdir -p "$OUTPUT_DIR"
[ -d "$data" ] || python "$here/study/study_set.py" "$CASIA" "$data" --size 256 --generated "${GENERATED:-500}" \
    --pasted "${PASTED:-1500}" --copies "${COPIES:-4}" --workers "${WORKERS:-2}"
qmanet noise-cache "$data/train" "$data/val_generated" "$data/val_real" \
    --cache "$OUTPUT_DIR/residuals" --weights "$NOISEPRINT" --image-size 256
start=()
[ -z "${START:-}" ] || start=(--initial_weights "$START")
python -c 'import json, sys; print(json.dumps({"generated": sys.argv[1], "real": sys.argv[2]}))' \
    "$data/val_generated" "$data/val_real" >"$OUTPUT_DIR/sets.json"
exec qmanet benco train --model QMANet --variant b0 --noise_sources "${NOISE_SOURCES:-noiseprint}" \
    --noiseprint_weights "$NOISEPRINT" --noiseprint_cache "$OUTPUT_DIR/residuals" \
    --segmentation_weight 0.5 --edge_weight 0.5 --bce_weight "${BCE:-0}" "${start[@]}" \
    --data_path "$data/train" --test_data_path "$OUTPUT_DIR/sets.json" --image_size 256 --if_resizing --augment none \
    --batch_size 8 --test_batch_size 8 --accum_iter 1 --max-steps "${STEPS:-3000}" --epochs 10 --warmup_epochs 1 \
    --lr "${LEARNING_RATE:-4e-4}" --min_lr 1e-5 --test_period 2 --num_workers 0 --seed 0 --keep 2 --resume auto \
    --output_dir "$OUTPUT_DIR/trained" --log_dir "$OUTPUT_DIR/trained"
