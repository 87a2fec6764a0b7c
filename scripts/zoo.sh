#!/usr/bin/env bash
# zoo.sh [OPTIONS]: every classifier of torchvision and a small member of each family of timm, with
# random weights: exported, listed, run in a small campaign, and compared with PyTorch on three
# faults each. Writes to runs/zoo; the table is runs/zoo/zoo.md. Networks that are done are not run
# again: --failed runs those that failed, rm -r runs/zoo starts over. --help has the options.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh >&2
if [[ -z ${BITFALL:-} ]]; then
  options=()
  # What an earlier configuration says of the tests stays.
  [[ -f build/release/CMakeCache.txt ]] || options=(-DBITFALL_TESTS=OFF)
  scripts/build.sh release "${options[@]}" -- bitfall bitfall_plugins >&2
fi
# One network a core: see --jobs.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive PYTHONWARNINGS=ignore
exec .venv/bin/python scripts/zoo.py "$@"
