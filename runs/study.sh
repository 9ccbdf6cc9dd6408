#!/usr/bin/env bash
# The architecture study: data, kept residuals, one training per row and seed, one suite over all, study.csv and study.md.
#
#   CASIA        folder with Tp, Gt and Au, named as in CASIA v1
#   NOISEPRINT   NoisePrint++ weights, a file or a name of `qmanet weights list`
#   OUTPUT_DIR   everything goes below it; the same command goes on after a kill
#   ROWS         some of the rows (comma list); by default all
#   SEEDS        at most so many of a row (default 3; the main row and the one without a noise view have three, other
#                learning rates one, the rest two)
#   JOBS         trainings at once (default 1); 0: score what is trained
#   WORKERS      processes that make the images (default 2)
#   STEPS, SIZE  optimiser steps of a training (default 3000) and side of the images (default 128)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=runs/common.sh
source "$here/common.sh"
need_path CASIA "a folder with Tp, Gt and Au"
need NOISEPRINT "NoisePrint++ weights"
need OUTPUT_DIR "a folder for data, checkpoints and tables"
SIZE=${SIZE:-128}
data=$OUTPUT_DIR/data-$SIZE
mkdir -p "$OUTPUT_DIR"
[ -d "$data" ] || python "$here/study/study_set.py" "$CASIA" "$data" --size "$SIZE" --workers "${WORKERS:-2}"
qmanet noise-cache "$data/train" "$data/val_generated" "$data/val_real" "$data/val_crops" \
    --cache "$OUTPUT_DIR/residuals" --weights "$NOISEPRINT" --image-size "$SIZE"
exec python "$here/study/study.py" --data "$data" --out "$OUTPUT_DIR" --cache "$OUTPUT_DIR/residuals" \
    --weights "$NOISEPRINT" --steps "${STEPS:-3000}" --image_size "$SIZE" --rows "${ROWS:-}" \
    --seeds "${SEEDS:-3}" --jobs "${JOBS:-1}"
