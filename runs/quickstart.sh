#!/usr/bin/env bash
# From nothing to a trained, tested and stressed QMA-Net on real photos: no data, no weights, no GPU needed.
# Usage: runs/quickstart.sh [OUT]      (default: ./quickstart; takes about 9 minutes on two cores after installing)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-quickstart}
# shellcheck source=runs/setup.sh
source "$here/setup.sh" ""
qmanet quickstart "$out"
