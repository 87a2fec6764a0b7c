#!/usr/bin/env bash
# equal_scale.sh [--networks NAME,...] [--settings NAME,...] [--limit N] [--tables]: published
# CIFAR-10 networks with their logits divided by 1, 2, 4 and the T of least loss, no training, under
# the same faults. Set-up, build and data, then equal_scale.py with these options; --help explains
# them. Resumes where it was interrupted.
#
# BITFALL_DATA=FOLDER   holds cifar10/ (default ../shared/data)
set -euo pipefail

BITFALL_DATA=$(realpath -m -- "${BITFALL_DATA:-$(dirname -- "${BASH_SOURCE[0]}")/../../../shared/data}")
export BITFALL_DATA
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
case " $* " in
  *" --help "* | *" -h "* | *" --tables "*) ;;
  *) scripts/prepare_cifar10.sh ;;
esac
exec .venv/bin/python scripts/reproduce/equal_scale.py "$@"
