#!/usr/bin/env bash
# study_formats.sh [FORMAT...]: 1024 single-bit flips in the output of each layer of a trained
# ResNet-20 on real CIFAR-10 images, in each number format (default: all that need no options), and
# as many in the format's metadata where it has some; prints one table: accuracy, and mismatch by
# the class of the bit. Writes to runs/formats. Resumes where it was interrupted.
#
# BITFALL_DATA=FOLDER   holds cifar10/test_lossless.tar.xz and cifar10/resnet20-12fca82f.th (default
# ../shared/data)
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
model=data/cifar10/resnet20.pt
out=runs/formats
bitfall=build/release/bin/bitfall

scripts/prepare_cifar10.sh
mkdir -p "$out"
list=$("$bitfall" formats --json)
formats=("$@")
if ((${#formats[@]} == 0)); then
  mapfile -t formats < <(.venv/bin/python scripts/format_table.py --formats <<<"$list")
fi
for format in "${formats[@]}"; do
  printf '\n== %s\n' "$format"
  {
    sed "s/@FORMAT@/$format/g" scripts/study_formats.toml
    if .venv/bin/python scripts/format_table.py --has-metadata "$format" <<<"$list"; then
      printf '\n[[faults]]\nerror_model = { id = "bit_flip", registers = "metadata" }\nper_site = 1024\n'
    fi
  } >"$out/$format.toml"
  scripts/run_campaign.sh "$out/$format.toml" "$out/$format" "$model"
done
echo
for format in "${formats[@]}"; do "$bitfall" report --json "$out/$format"; done |
  .venv/bin/python scripts/format_table.py
