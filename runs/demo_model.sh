#!/usr/bin/env bash
# The demonstration model that ships: forgeries, an hour of training on one CPU core, one file of 3 MB.
# Usage: runs/demo_model.sh [OUT]      (default: ./demo_model; the result is OUT/model.safetensors)
#   PHOTOS   folder with the nine photos below; by default they are taken from Debian's package lomiri-wallpapers-16.04
#            (its licence file: CC BY 4.0, "seeding" CC0), unpacked, not installed: apt-get and dpkg-deb are needed
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-demo_model}
names=(aitzgorri_by_Aitzol_Berasategi friends_by_Aitzol_Berasategi life_by_Aitzol_Berasategi
    picosdeeuropa_by_Aitzol_Berasategi sunset_by_Aitzol_Berasategi Picture_0B_by_freespace Picture_1A_by_freespace
    Wine_by_Jakkub_Mede seeding_by_Clements_Engelhardt)
mkdir -p "$out"
photos=${PHOTOS:-$out/photos}
if [ ! -d "$photos" ]; then
    rm -rf "$out/unpacked"
    mkdir "$out/unpacked"
    (cd "$out/unpacked" && apt-get download -q lomiri-wallpapers-16.04 && dpkg-deb -x ./*.deb .)
    mkdir "$out/photos.part"
    for name in "${names[@]}"; do
        cp "$out/unpacked/usr/share/backgrounds/$name.jpg" "$out/photos.part/"
    done
    mv "$out/photos.part" "$photos"
    rm -r "$out/unpacked"
fi
# shellcheck source=runs/setup.sh
source "$here/setup.sh" ""
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
[ -d "$out/forgeries" ] || qmanet data demo "$out/forgeries" --train-count 3000 --test-count 160 --size 320 --seed 11 \
    --train-photos "$photos" --largest-crop 6 --pasted 0.5 --workers 2
qmanet benco train --model QMANet --variant miniature --image_size 256 --if_resizing \
    --data_path "$out/forgeries/train" --test_data_path "$out/forgeries/test" \
    --epochs 8 --lr 2e-3 --min_lr 1e-5 --warmup_epochs 1 --batch_size 8 --accum_iter 1 \
    --test_batch_size 8 --test_period 1 --num_workers 0 --seed 0 --keep 1 --resume auto \
    --output_dir "$out/run" --log_dir "$out/run"
qmanet export --weights "$out/run/checkpoint-7.pth" --out "$out/model.safetensors" --image-size 256 --half
