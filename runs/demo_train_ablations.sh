#!/usr/bin/env bash
# The rows of Table 2 (cp sl ss cd mlp) and Table 9 (q4 q8 q32), one after the other, with the paper's recipe.
# Variables as for demo_train_qmanet.sh; OUTPUT_DIR gets one folder for each row; ROWS chooses some.
set -euo pipefail
# shellcheck source=runs/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need OUTPUT_DIR "a folder for all rows"
accumulation  # says what is wrong before anything is trained
for row in ${ROWS:-cp sl ss cd mlp q4 q8 q32}; do
    echo "== $row"
    VARIANT=$row OUTPUT_DIR=$OUTPUT_DIR/$row "$(dirname "${BASH_SOURCE[0]}")/demo_train_qmanet.sh" "$@"
done
