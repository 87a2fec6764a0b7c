#!/usr/bin/env bash
# cifar10.sh [FORMAT...]: 4096 single-bit flips in each layer of a trained ResNet-20 on real
# CIFAR-10 images, in each number format (default: fp32 fp16 bf16 int8); prints each campaign's
# golden accuracy and table. Writes to runs/cifar10. Resumes where it was interrupted; a finished
# campaign is only reported.
#
# BITFALL_DATA=FOLDER   holds cifar10/test_lossless.tar.xz and cifar10/resnet20-12fca82f.th (default
# ../shared/data)
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
model=data/cifar10/resnet20.pt
out=runs/cifar10
formats=("$@")
((${#formats[@]} > 0)) || formats=(fp32 fp16 bf16 int8)

scripts/prepare_cifar10.sh
mkdir -p "$out"
for format in "${formats[@]}"; do
  printf '\n== %s\n' "$format"
  sed "s/@FORMAT@/$format/g" scripts/cifar10.toml >"$out/$format.toml"
  scripts/run_campaign.sh "$out/$format.toml" "$out/$format" "$model"
done
for format in "${formats[@]}"; do
  printf '\n== %s, %s\n' "$format" "$out/$format/report.html"
  build/release/bin/bitfall report "$out/$format"
done
cat <<'END'

For comparison: a separate PyTorch program classifies 91.73 % of these 846 images correctly with
these weights in FP32.
END
