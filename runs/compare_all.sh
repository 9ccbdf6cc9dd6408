#!/usr/bin/env bash
# Retrain QMA-Net and every baseline with one recipe and test all of them: Table 1 (pixel-F1 of every checkpoint).
#
#   TRAIN_DATA   balanced list (qmanet data protocol-cat)
#   TEST_DATA    ManiDataset folder, or JSON {name: path}: what the training's own log shows
#   TEST_JSON    JSON {name: path} of the sets to test on
#   OUTPUT_DIR   OUTPUT_DIR/MODEL/train and OUTPUT_DIR/MODEL/test for each model
#   MODELS       some of them; the corrected baselines Cat_Net_RealDCT and Trufor_RGB only when they are named here
# NPROC, BATCH, EPOCHS, IMAGE_SIZE as for demo_train_baseline.sh. A model whose test is there is not run again; one that
# fails is named at the end, the others go on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for name in TRAIN_DATA TEST_DATA TEST_JSON OUTPUT_DIR; do
    if [ -z "${!name:-}" ]; then
        echo "$(basename "$0"): $name is not set; see the head of this file" >&2
        exit 2
    fi
done
root=$OUTPUT_DIR
failed=()
for model in ${MODELS:-QMANet MantraNet PSCC_Net MVSSNet Cat_Net Trufor IML_ViT SAM Mesorch}; do
    [ ! -e "$root/$model/done" ] || continue
    echo "== $model"
    script=demo_train_baseline.sh
    test_flags=()
    [ "$model" != MVSSNet ] || test_flags=(--no_model_eval)  # as the framework's own script tests it
    [ "$model" != QMANet ] || script=demo_train_qmanet.sh
    if MODEL=$model OUTPUT_DIR=$root/$model/train "$here/$script" \
        && MODEL=$model CHECKPOINTS=$root/$model/train OUTPUT_DIR=$root/$model/test "$here/demo_test_qmanet.sh" "${test_flags[@]}"; then
        touch "$root/$model/done"
    else
        failed+=("$model")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "$(basename "$0"): failed: ${failed[*]}" >&2
    exit 1
fi
