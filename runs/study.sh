#!/usr/bin/env bash
# The architecture study: data, kept residuals, one training per row and seed, one suite over all, study.csv and study.md.
#
#   PHOTOS, TEST_PHOTOS  folders of authentic photos to make forgeries of, for training and for scoring; or
#   CASIA        folder with Tp, Gt and Au, named as in CASIA v1: forgeries of its photos, and its real ones
#   NOISEPRINT   NoisePrint++ weights, a file or a name of `qmanet weights list`
#   OUTPUT_DIR   everything goes below it; the same command goes on after a kill, and with other photos it is refused
#   ROWS         some of the rows (comma list); by default all
#   SEEDS        at most so many of a row (default 3; the main row and the one without a noise view have three, other
#                learning rates one, the rest two)
#   JOBS         trainings at once (default 1); 0: score what is trained
#   WORKERS      processes that make the images (default 2)
#   COUNT        forgeries to train on, with PHOTOS (default 3600)
#   ATTACKS      0: score no image under attack
#   STEPS, SIZE  optimiser steps of a training (default 3000) and side of the images (default 128)
#   BACKBONE     of QMA-Net's rows: b0 (default) or miniature
#   LEARNING_RATE  of all rows that are not named after one (default 4e-4)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/common.sh
source "$here/common.sh"
need NOISEPRINT "NoisePrint++ weights"
need OUTPUT_DIR "a folder for data, checkpoints and tables"
SIZE=${SIZE:-128}
data=$OUTPUT_DIR/data-$SIZE
mkdir -p "$OUTPUT_DIR"
source="CASIA=${CASIA:-}"
[ -z "${PHOTOS:-}" ] || source="PHOTOS=$PHOTOS TEST_PHOTOS=${TEST_PHOTOS:-} COUNT=${COUNT:-3600}"
made=$(ls -d "$data" "$data.unfinished" 2>/dev/null || true)
if [ -n "$made" ] && [ -f "$data.source" ] && [ "$source" != CASIA= ] && [ "$source" != "$(cat "$data.source")" ]; then
    echo "study.sh: $data was made with $(cat "$data.source"), not with $source; choose another OUTPUT_DIR" >&2
    exit 2
fi
begin() { # from here on the folder's images have this source
    [ -n "$made" ] || echo "$source" >"$data.source"
}
forge() { # SPLIT NAME SEED FLAGS...: one part of a set of its own becomes a part of the study's
    local split=$1 name=$2 seed=$3 made=$data.unfinished/made
    shift 3
    [ ! -d "$data.unfinished/$name" ] || return 0
    rm -rf "$made"
    qmanet data demo "$made" --photos "$PHOTOS" --test-photos "$TEST_PHOTOS" --size "$SIZE" --seed "$seed" \
        --workers "${WORKERS:-2}" "$@"
    mv "$made/$split" "$data.unfinished/$name"
}
if [ -d "$data" ]; then
    :
elif [ -n "${PHOTOS:-}" ]; then
    need_path PHOTOS "a folder of photos to train on"
    need_path TEST_PHOTOS "a folder of other photos"
    begin
    mkdir -p "$data.unfinished"
    forge train train 0 --train-count "${COUNT:-3600}" --test-count 2 --edited 0.5
    forge test val_generated 1 --train-count 2 --test-count 200
    forge test val_edited 2 --train-count 2 --test-count 200 --edited 1
    rm -rf "$data.unfinished/made"
    mv "$data.unfinished" "$data"
else
    need_path CASIA "a folder with Tp, Gt and Au (or name PHOTOS and TEST_PHOTOS)"
    begin
    python "$here/study/study_set.py" "$CASIA" "$data" --size "$SIZE" --workers "${WORKERS:-2}"
fi
qmanet noise-cache "$data/train" "$data"/val_* \
    --cache "$OUTPUT_DIR/residuals" --weights "$NOISEPRINT" --image-size "$SIZE"
attacks=()
[ "${ATTACKS:-1}" != 0 ] || attacks=(--no-attacks)
exec python "$here/study/study.py" --data "$data" --out "$OUTPUT_DIR" --cache "$OUTPUT_DIR/residuals" \
    --weights "$NOISEPRINT" --steps "${STEPS:-3000}" --image_size "$SIZE" --rows "${ROWS:-}" \
    --seeds "${SEEDS:-3}" --jobs "${JOBS:-1}" --backbone "${BACKBONE:-b0}" --learning_rate "${LEARNING_RATE:-4e-4}" "${attacks[@]}"
