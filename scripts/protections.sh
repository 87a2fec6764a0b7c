#!/usr/bin/env bash
# protections.sh [FORMAT...]: 1024 single-bit flips in the activations of each layer, then 128 in its
# weights, of a trained ResNet-20 on real CIFAR-10 images, without and with each of nine protections
# that learn from 1000 training images, in each number format (default: fp32 fp16); prints a table
# for each. Writes to runs/protections. Resumes where it was interrupted.
#
# BITFALL_DATA=FOLDER   holds cifar10/test_lossless.tar.xz, train.tar.xz and resnet20-12fca82f.th
# (default ../shared/data)
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=runs/protections
formats=("$@")
((${#formats[@]} > 0)) || formats=(fp32 fp16)

scripts/prepare_cifar10.sh train
mkdir -p "$out"
for format in "${formats[@]}"; do
  for target in activation weight; do
    run=$out/${format}_$target
    trials=1024
    [[ $target == activation ]] || trials=128 # each takes a pass of its own
    sed "s/@FORMAT@/$format/g; s/@TARGET@/$target/g; s/@TRIALS@/$trials/" scripts/protections.toml >"$run.toml"
    scripts/run_campaign.sh "$run.toml" "$run" data/cifar10/resnet20.pt
  done
done
for format in "${formats[@]}"; do
  for target in activation weight; do
    run=$out/${format}_$target
    printf '\n== %s, flips in %ss, %s\n' "$format" "$target" "$run/report.html"
    build/release/bin/bitfall report "$run" | sed -n '/^protection  /,$p'
  done
done
