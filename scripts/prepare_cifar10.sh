#!/usr/bin/env bash
# prepare_cifar10.sh [SPLIT...]: set-up, build, the real CIFAR-10 images of
# data/cifar10/test_lossless, those of further splits (train) and the trained ResNet-20
# data/cifar10/resnet20.pt; does only what is missing.
#
# BITFALL_DATA=FOLDER   holds cifar10/SPLIT.tar.xz and cifar10/resnet20-12fca82f.th (default
# ../shared/data)
set -euo pipefail

data=$(realpath -m -- "${BITFALL_DATA:-$(dirname -- "${BASH_SOURCE[0]}")/../../shared/data}")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
splits=(test_lossless "$@")
model=data/cifar10/resnet20.pt
weights=$data/cifar10/resnet20-12fca82f.th

need() {
  [[ -f $1 ]] && return
  printf 'prepare_cifar10.sh: %s is missing; name the folder that holds cifar10/%s in BITFALL_DATA\n' \
    "$1" "${1##*/}" >&2
  exit 1
}

for split in "${splits[@]}"; do
  [[ -d data/cifar10/$split ]] || need "$data/cifar10/$split.tar.xz"
done
[[ -f $model ]] || need "$weights"

scripts/setup.sh
options=()
[[ -f build/release/CMakeCache.txt ]] || options=(-DBITFALL_TESTS=OFF)
scripts/build.sh release "${options[@]}"

mkdir -p data/cifar10
for split in "${splits[@]}"; do
  images=data/cifar10/$split
  if [[ ! -d $images ]]; then
    # Unpacked next to it and renamed, so that a folder of that name is complete.
    rm -rf "$images.part"
    mkdir "$images.part"
    tar -xJf "$data/cifar10/$split.tar.xz" -C "$images.part" --strip-components=1
    mv "$images.part" "$images"
  fi
  echo "$images: $(find "$images" -name '*.png' | wc -l) images," \
    "$(find "$images" -mindepth 1 -type d | wc -l) classes"
done
if [[ ! -f $model ]]; then
  .venv/bin/python scripts/export_model.py cifar_resnet20 --weights "$weights" -o "$model"
fi
