#!/usr/bin/env bash
# The program on a disk that goes wrong, at every call: run, resume, run --force, merge, export,
# report and train, each killed, failed once, without room from there on, and cut short at half of a
# write (tests/fault_loop_test.py). Prints what became of them; takes long,
# or with --points N, N calls of each kind in place of all.
#
# usage: scripts/fault_loop.sh [--points N] [--only COMMAND]...
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
scripts/build.sh release -- bitfall bitfall_plugins
export OMP_WAIT_POLICY=passive
how=(--all)
for option in "$@"; do [[ $option != --points ]] || how=(); done
exec .venv/bin/python tests/fault_loop_test.py build/release/bin/bitfall "${how[@]}" "$@"
