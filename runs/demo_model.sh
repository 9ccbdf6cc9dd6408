#!/usr/bin/env bash
# The demonstration model that ships: forgeries, an hour of training on one CPU core, one file of 3 MB.
# Usage: runs/demo_model.sh [OUT]      (default: ./demo_model; the result is OUT/model.safetensors)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-demo_model}
# shellcheck source=runs/setup.sh
source "$here/setup.sh" ""
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
qmanet data demo "$out/forgeries" --train-count 2400 --test-count 160 --size 256 --seed 11 --workers 2
qmanet benco train --model QMANet --variant miniature --image_size 192 --if_resizing \
    --data_path "$out/forgeries/train" --test_data_path "$out/forgeries/test" \
    --epochs 14 --lr 2e-3 --min_lr 1e-5 --warmup_epochs 1 --batch_size 8 --accum_iter 1 \
    --test_batch_size 8 --test_period 4 --num_workers 0 --seed 0 --output_dir "$out/run" --log_dir "$out/run"
qmanet export --weights "$out/run/checkpoint-13.pth" --out "$out/model.safetensors" --image-size 192 --half
