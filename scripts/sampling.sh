#!/usr/bin/env bash
# Campaigns that go on until a rate is known well enough (`precision` as a table), on the CIFAR-10
# ResNet-20: bias and coverage against every fault of the last layer, and how many trials they save,
# as tables (sampling.py says what else it takes). Twenty minutes with --seeds 40 on two cores that do
# other work too.
#
# usage: scripts/sampling.sh [--formats F...] [--halfwidths H...] [--seeds N] [--alike N] [--json FILE]
set -euo pipefail

here=$PWD
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
scripts/prepare_cifar10.sh
cd -- "$here"
exec "$root/.venv/bin/python" "$root/scripts/sampling.py" "$root/build/release/bin/bitfall" "$@"
