#!/usr/bin/env bash
# The model that ships: forgeries of free photos, a miniature, statistics of the image beside it, a calibration, one file.
# Usage: PHOTOS=folder TEST_PHOTOS=folder runs/demo_model.sh [OUT]     (makes OUT/model.safetensors; default ./demo_model)
#   PHOTOS       photos to train on. The statistics of the model that ships had 111 of
#                drewnoakes/metadata-extractor-images (free to use however you wish)
#   TEST_PHOTOS  others, for validation and calibration
#   START        trained weights of the variant miniature, instead of training one
#   COUNT        forgeries of each of the five sets, half of it in the larger three (default 3200); fewer to try the chain
#   STEPS        of the training on the statistics (default 12000: two to three hours of a core). What is measured of the pictures is
#                kept beside their lists and takes 16 GB with the default COUNT
#   WORKERS      processes that make the forgeries (default 2)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/common.sh
source "$here/common.sh"
out=${1:-demo_model}
need_path PHOTOS "a folder of photos to train on"
need_path TEST_PHOTOS "a folder of other photos"
count=${COUNT:-3200}
steps=${STEPS:-12000}
mkdir -p "$out"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
forge() { # FOLDER SIZE SEED COUNT FLAGS...
    local folder=$1 size=$2 seed=$3 number=$4
    shift 4
    [ -d "$folder" ] || qmanet data demo "$folder" --photos "$PHOTOS" --test-photos "$TEST_PHOTOS" --size "$size" \
        --seed "$seed" --edited 1 --workers "${WORKERS:-2}" --train-count "$number" --test-count "$((number / 20))" "$@"
}
forge "$out/forgeries256" 256 2 "$count" --authentic 0.25
# each forgery with its authentic twin: what differs between the two is all that there is to learn
forge "$out/twins256" 256 11 "$count" --authentic 0.1 --twins
for seed in 21 22 23; do
    forge "$out/twins512_$seed" 512 "$seed" "$((count / 2))" --authentic 0.1 --twins
done
start=${START:-}
if [ -z "$start" ]; then
    qmanet benco train --model QMANet --variant miniature --image_size 256 --if_resizing \
        --data_path "$out/forgeries256/train_list.json" --test_data_path "$out/forgeries256/test" \
        --epochs 8 --lr 2e-3 --min_lr 1e-5 --warmup_epochs 1 --batch_size 8 --accum_iter 1 --augment none \
        --test_batch_size 8 --test_period 1 --num_workers 0 --seed 0 --keep 1 --resume auto \
        --output_dir "$out/miniature" --log_dir "$out/miniature"
    start=$out/miniature/checkpoint-7.pth
fi
python "$here/study/statistics_stage.py" "$out/statistics.safetensors" "$out/forgeries256/train_list.json" \
    "$out"/twins*/train_list.json --start "$start" --share 0.2 --steps "$steps"
for longest in 384 640 1024; do
    [ -d "$out/collages$longest" ] ||
        python "$here/study/collages.py" "$TEST_PHOTOS" "$out/collages$longest" --count 60 --longest "$longest"
done
python "$here/study/lists.py" "$out/calibration.json" "$out"/collages*/list.json "$out/twins512_21/test_list.json"
qmanet weights calibrate "$out/statistics.safetensors" "$out/model.safetensors" --images "$out/calibration.json" --native \
    --false-alarms 0.10 --half
