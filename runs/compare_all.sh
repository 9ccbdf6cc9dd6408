#!/usr/bin/env bash
# Retrain QMA-Net and every baseline with one recipe, and compare them: Tables 1, 5 to 8 and the figures.
#
#   TRAIN_DATA   balanced list (qmanet data protocol-cat)
#   TEST_DATA    ManiDataset folder, or JSON {name: path}: what the training's own log shows
#   TEST_JSON    JSON {name: path} of the sets to compare on (default: TEST_DATA, where that is one)
#   OUTPUT_DIR   OUTPUT_DIR/MODEL: checkpoints; OUTPUT_DIR/suite.yaml; OUTPUT_DIR/suite/report: tables and figures
#   MODELS       some of them; not among the paper's and only when they are named here: the corrected baselines
#                Cat_Net_RealDCT and Trufor_RGB, and SparseViT, ObjectFormer, MSCDI_Net
#   BASELINES    YAML with each model's pretrained weights and other flags (default runs/baselines.yaml)
#   CHOOSE       which checkpoint: last (default), or best, by the sets of the training's log: with the argument
#                --val-fraction 0.1 these are a held-out part of the training set, otherwise the test sets
# NPROC, BATCH, EPOCHS, STEPS, IMAGE_SIZE as for demo_train_baseline.sh; arguments are flags of every training, e.g.
# --keep 1. A model that is trained is not trained again; one that fails is named at the end, the others go on and are
# compared. Everything below OUTPUT_DIR that was trained is: also the rows of demo_train_ablations.sh.
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TRAIN_DATA "a ManiDataset folder or a JSON list to train on"
need_path TEST_DATA "a ManiDataset folder or a JSON {name: path} to test on"
TEST_JSON=${TEST_JSON:-$TEST_DATA}
need_path TEST_JSON "a JSON {name: path} of the sets to compare on"
if [ -d "$TEST_JSON" ]; then
    echo "$(basename "$0"): TEST_DATA=$TEST_JSON is a folder; expected a JSON {name: path}, or one in TEST_JSON" >&2
    exit 2
fi
need OUTPUT_DIR "a folder for checkpoints, logs and the report"
CHOOSE=${CHOOSE:-last}
case "$CHOOSE" in
    last) KEEP=() ;;
    best) KEEP=(--keep 1) ;;  # the best of the stock rhythm is stored after epoch 20 only
    *) echo "$(basename "$0"): CHOOSE=$CHOOSE; expected last or best" >&2; exit 2 ;;
esac
accumulation
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$OUTPUT_DIR
models=${MODELS:-QMANet MantraNet PSCC_Net MVSSNet Cat_Net Trufor IML_ViT SAM Mesorch}
for model in $models; do  # a mistake in BASELINES is told before anything is trained
    [ "$model" != QMANet ] || [ -n "${BASELINES:-}" ] || continue
    wrong=$( (model_flags "$model") 2>&1 >/dev/null) || { echo "$wrong" >&2; exit 2; }
done
mkdir -p "$root"
failed=()
for model in $models; do
    [ ! -e "$root/$model/done" ] || continue
    echo "== $model"
    script=demo_train_baseline.sh
    [ "$model" != QMANet ] || script=demo_train_qmanet.sh
    if MODEL=$model OUTPUT_DIR=$root/$model "$here/$script" "${KEEP[@]}" "$@"; then
        touch "$root/$model/done"
    else
        failed+=("$model")
    fi
done
if ! compgen -G "$root/*/checkpoint-*.pth" >/dev/null; then
    echo "$(basename "$0"): no model was trained, so there is nothing to compare; failed: ${failed[*]}" >&2
    exit 1
fi
qmanet suite make "$root" --sets "$TEST_JSON" --out "$root/suite.yaml" --choose "$CHOOSE"
qmanet suite run "$root/suite.yaml" --out "$root/suite" --nproc "${NPROC:-1}" || failed+=(suite)
qmanet suite report "$root/suite" || failed+=(report)
if [ ${#failed[@]} -gt 0 ]; then
    echo "$(basename "$0"): failed: ${failed[*]}" >&2
    exit 1
fi
