#!/usr/bin/env bash
# Retrain QMA-Net and every baseline with one recipe, and compare them: Tables 1, 7 and 8 and the figures.
#
#   TRAIN_DATA   balanced list (qmanet data protocol-cat)
#   TEST_DATA    ManiDataset folder, or JSON {name: path}: what the training's own log shows
#   TEST_JSON    JSON {name: path} of the sets to compare on, e.g. {"CASIAv1": "sets/casiav1"}
#   OUTPUT_DIR   OUTPUT_DIR/MODEL: checkpoints; OUTPUT_DIR/suite/report: tables and figures
#   MODELS       some of them; the corrected baselines Cat_Net_RealDCT and Trufor_RGB only when they are named here
# NPROC, BATCH, EPOCHS, IMAGE_SIZE as for demo_train_baseline.sh. A model that is trained is not trained again; one that
# fails is named at the end, the others go on and are compared.
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_path TRAIN_DATA "a ManiDataset folder or a JSON list to train on"
need_path TEST_DATA "a ManiDataset folder or a JSON {name: path} to test on"
need_path TEST_JSON "a JSON {name: path} of the sets to compare on"
need OUTPUT_DIR "a folder for checkpoints, logs and the report"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$OUTPUT_DIR
mkdir -p "$root"
failed=()
for model in ${MODELS:-QMANet MantraNet PSCC_Net MVSSNet Cat_Net Trufor IML_ViT SAM Mesorch}; do
    [ ! -e "$root/$model/done" ] || continue
    echo "== $model"
    script=demo_train_baseline.sh
    [ "$model" != QMANet ] || script=demo_train_qmanet.sh
    if MODEL=$model OUTPUT_DIR=$root/$model "$here/$script" "$@"; then
        touch "$root/$model/done"
    else
        failed+=("$model")
    fi
done
if ! compgen -G "$root/*/checkpoint-*.pth" >/dev/null; then
    echo "$(basename "$0"): no model was trained, so there is nothing to compare; failed: ${failed[*]}" >&2
    exit 1
fi
python -m qmanet_benco.evaluation.suite.comparison "$root" "$TEST_JSON" "$IMAGE_SIZE" "${MODEL_FLAGS[@]}" >"$root/suite.yaml.part"
mv "$root/suite.yaml.part" "$root/suite.yaml"
qmanet suite run "$root/suite.yaml" --out "$root/suite" --nproc "${NPROC:-1}" || failed+=(suite)
qmanet suite report "$root/suite" || failed+=(report)
if [ ${#failed[@]} -gt 0 ]; then
    echo "$(basename "$0"): failed: ${failed[*]}" >&2
    exit 1
fi
