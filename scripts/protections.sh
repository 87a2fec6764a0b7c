#!/usr/bin/env bash
# protections.sh [--trials N] [--weights M] [FORMAT...]: N (default 1024) single-bit flips in the
# activations of each layer, then M (default N / 8) in its weights, of a trained ResNet-20 on real
# CIFAR-10 images, without and with each of ten protections that learn from 1000 training images, in
# each number format (default: fp32 fp16); prints a table for each. Beside them the same network with
# a text-guided head, trained on for an epoch of 10 000 images, under the same faults. Writes to
# runs/protections. Resumes where it was interrupted.
#
# BITFALL_DATA=FOLDER   holds cifar10/test_lossless.tar.xz, train.tar.xz and resnet20-12fca82f.th,
# and text/imagenet_gpt3.pth and cifar10_from_imagenet.json (default ../shared/data)
set -euo pipefail

data=$(realpath -m -- "${BITFALL_DATA:-$(dirname -- "${BASH_SOURCE[0]}")/../../shared/data}")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=runs/protections
bitfall=build/release/bin/bitfall
activations=1024 weights=""
while [[ ${1:-} == --* ]]; do
  case $1 in
    --trials) activations=${2:?--trials needs a number} ;;
    --weights) weights=${2:?--weights needs a number} ;;
    *)
      echo "protections.sh: unknown option $1" >&2
      exit 2
      ;;
  esac
  shift 2
done
weights=${weights:-$(((activations + 7) / 8))} # each takes a pass of its own
formats=("$@")
((${#formats[@]} > 0)) || formats=(fp32 fp16)

scripts/prepare_cifar10.sh train
mkdir -p "$out"

# The head learns what the network has learned; the rest of the network goes on learning with it.
if [[ ! -f $out/text_guided_start.pt ]]; then
  "$bitfall" head attach data/cifar10/resnet20.pt --init text_guided --seed 1 \
    --embeddings "$data/text/imagenet_gpt3.pth" --class-map "$data/text/cifar10_from_imagenet.json" \
    -o "$out/text_guided_start.pt" >/dev/null
fi
cp scripts/protections_head.toml "$out/text_guided_train.toml"
scripts/train_model.sh "$out/text_guided_train.toml" "$out/text_guided" "$out/text_guided_start.pt"

for format in "${formats[@]}"; do
  for target in activation weight; do
    run=$out/${format}_$target
    trials=$activations
    [[ $target == activation ]] || trials=$weights
    sed "s/@FORMAT@/$format/g; s/@TARGET@/$target/g; s/@TRIALS@/$trials/" scripts/protections.toml >"$run.toml"
    scripts/run_campaign.sh "$run.toml" "$run" data/cifar10/resnet20.pt
    # The other network: the same file without [learn] and [[protect]].
    sed "/^\[learn\]/,/^\[run\]/{/^\[run\]/!d}; s|^path = .*resnet20.pt\"|path = \"text_guided/model.pt\"|" \
      "$run.toml" >"${run}_head.toml"
    scripts/run_campaign.sh "${run}_head.toml" "${run}_head" "$out/text_guided/model.pt"
  done
done
for format in "${formats[@]}"; do
  for target in activation weight; do
    run=$out/${format}_$target
    printf '\n== %s, flips in %ss, %s\n' "$format" "$target" "$run/report.html"
    "$bitfall" report "$run" | sed -n '/^protection  /,$p'
    printf '\n-- with the text-guided head\n'
    "$bitfall" report "${run}_head" | grep -E '^(all|golden accuracy|mismatch) '
  done
done
