#!/usr/bin/env bash
# Damaged files for every reader, for some minutes: the properties of tests/test_fuzz_readers.py with many examples.
# Usage: runs/fuzz.sh MINUTES
#   EXAMPLES   damaged files of each property in a round (default: 500); rounds follow until the time is up
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${1:-}
if ! [[ $minutes =~ ^[1-9][0-9]*$ ]]; then
    echo "runs/fuzz.sh: got '$minutes'; expected whole minutes, e.g. runs/fuzz.sh 10" >&2
    exit 2
fi
end=$((SECONDS + 60 * minutes)) rounds=0
while [ "$SECONDS" -lt "$end" ]; do
    QMANET_FUZZ_EXAMPLES=${EXAMPLES:-500} python -m pytest -q -x -p no:cacheprovider tests/test_fuzz_readers.py
    rounds=$((rounds + 1))
done
echo "$rounds rounds of ${EXAMPLES:-500} damaged files for each of 8 properties in $SECONDS s: none lost"
