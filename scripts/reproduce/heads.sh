#!/usr/bin/env bash
# heads.sh [--seeds N] [--limit N] [--plan] [--tables] ...: thirteen heads on the cached features of
# one trained network, what of the text-guided head is scale, cosine, temperature, geometry of the
# rows, and what is text. Set-up, build and data, then heads.py with these options; `heads.sh
# --help` explains them. Resumes where it was interrupted.
#
# BITFALL_DATA=FOLDER   holds cifar10/ and text/ (default ../shared/data)
set -euo pipefail

BITFALL_DATA=$(realpath -m -- "${BITFALL_DATA:-$(dirname -- "${BASH_SOURCE[0]}")/../../../shared/data}")
export BITFALL_DATA
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
case " $* " in
  *" --help "* | *" -h "* | *" --plan "* | *" --tables "*) ;;
  *) scripts/prepare_cifar10.sh train test ;;
esac
exec .venv/bin/python scripts/reproduce/heads.py "$@"
