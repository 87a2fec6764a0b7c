#!/usr/bin/env bash
# Times campaigns of 100 thousand, one and ten million trials, of 1000 sites, of a million images and
# of a list of two million faults: seconds, peak memory and bytes a trial of each command, as a table
# (scale.py says what else it takes). Takes long, and some gigabytes of disk.
#
# usage: scripts/scale.sh [--trials N...] [--sites N] [--images N] [--list N] [--json FILE]
set -euo pipefail

here=$PWD
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
scripts/setup.sh
scripts/build.sh release -- bitfall bitfall_plugins
cd -- "$here"
exec "$root/.venv/bin/python" "$root/scripts/scale.py" "$root/build/release/bin/bitfall" "$@"
