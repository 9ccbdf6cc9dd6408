#!/usr/bin/env bash
# The model that ships: forgeries of free photos, five stages of training, a calibration, one file.
# Usage: PHOTOS=folder TEST_PHOTOS=folder runs/demo_model.sh [OUT]     (makes OUT/model.safetensors; default ./demo_model)
#   PHOTOS       photos to train on. The model that ships had 111 of drewnoakes/metadata-extractor-images (free to use
#                however you wish)
#   TEST_PHOTOS  others, for validation and calibration; it had 37 more of them, which its card names
#   STEPS        optimiser steps of 8 pictures of 256 x 256 in the second stage (default 1600)
#   START        trained weights of the variant b0-light to go on from; the first three stages are left out then
#   STATISTICS_STEPS, JOINT_STEPS   of the last stages (default 2000, then 4000; 400)
#   WORKERS      processes that make the forgeries (default 2)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/common.sh
source "$here/common.sh"
out=${1:-demo_model}
need_path PHOTOS "a folder of photos to train on"
need_path TEST_PHOTOS "a folder of other photos"
mkdir -p "$out"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
forge() { # FOLDER SIZE SEED FLAGS...
    local folder=$1 size=$2 seed=$3
    shift 3
    [ -d "$folder" ] || qmanet data demo "$folder" --photos "$PHOTOS" --test-photos "$TEST_PHOTOS" --size "$size" \
        --seed "$seed" --edited 1 --workers "${WORKERS:-2}" "$@"
}
train() { # FORGERIES SIZE BATCH OUTPUT FLAGS...
    local forgeries=$1 size=$2 batch=$3 output=$4
    shift 4
    qmanet benco train --model QMANet --variant b0-light --segmentation_weight 0.5 --edge_weight 0.25 --bce_weight 0.5 \
        --data_path "$forgeries/train_list.json" --test_data_path "$forgeries/test" --image_size "$size" --if_resizing \
        --augment none --batch_size "$batch" --test_batch_size "$batch" --accum_iter 1 --test_period 1 --num_workers 0 \
        --seed 0 --keep 1 --resume auto --output_dir "$output" --log_dir "$output" "$@"
}
start=${START:-}
forge "$out/forgeries256" 256 2 --train-count 5000 --test-count 240 --authentic 0.25
# each forgery with its authentic twin: what differs between the two is all that there is to learn
forge "$out/twins256" 256 11 --train-count 3200 --test-count 120 --authentic 0.1 --twins
forge "$out/twins512" 512 21 --train-count 1500 --test-count 80 --authentic 0.1 --twins
forge "$out/more512" 512 22 --train-count 1500 --test-count 4 --authentic 0.1 --twins
if [ -z "$start" ]; then
    forge "$out/forgeries128" 128 1 --train-count 5000 --test-count 240 --authentic 0.25
    train "$out/forgeries128" 128 16 "$out/first" --epochs 3 --warmup_epochs 1 --lr 1e-3 --min_lr 1e-4
    train "$out/forgeries256" 256 8 "$out/second" --initial_weights "$out/first/checkpoint-2.pth" \
        --epochs 4 --max-steps "${STEPS:-1600}" --warmup_epochs 0 --lr 7e-4 --min_lr 2e-5
    second=$(find "$out/second" -name 'checkpoint-*.pth' | sort -V | tail -n 1)
    train "$out/twins256" 256 8 "$out/third" --initial_weights "$second" --epochs 2 --warmup_epochs 0 --lr 6e-4 --min_lr 1e-5
    start=$out/third/checkpoint-1.pth
fi
small=("$out/forgeries256/train_list.json" "$out/twins256/train_list.json")
large=("$out/twins512/train_list.json" "$out/more512/train_list.json")
# the statistics of JPEG blocks learn fast; after them the network learns what they do not see
python "$here/study/statistics_stage.py" "$out/small.safetensors" "${small[@]}" --start "$start" \
    --steps "${STATISTICS_STEPS:-2000}"
python "$here/study/statistics_stage.py" "$out/statistics.safetensors" "${small[@]}" "${large[@]}" \
    --start "$out/small.safetensors" --steps "${STATISTICS_STEPS:-4000}" --learning-rate 1.5e-3
python "$here/study/joint_stage.py" "$out/statistics.safetensors" "$out/joint.safetensors" "${small[@]}" "${large[@]}" \
    --steps "${JOINT_STEPS:-400}"
for longest in 384 640 1024; do
    [ -d "$out/collages$longest" ] ||
        python "$here/study/collages.py" "$TEST_PHOTOS" "$out/collages$longest" --count 60 --longest "$longest"
done
python "$here/study/lists.py" "$out/calibration.json" "$out"/collages*/list.json "$out/twins512/test_list.json"
qmanet weights calibrate "$out/joint.safetensors" "$out/model.safetensors" --images "$out/calibration.json" --native --half
