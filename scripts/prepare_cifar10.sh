#!/usr/bin/env bash
# prepare_cifar10.sh: set-up, build, the real CIFAR-10 images of data/cifar10/test_lossless and the
# trained ResNet-20 data/cifar10/resnet20.pt; does only what is missing.
#
# BITFALL_DATA=FOLDER   holds cifar10/test_lossless.tar.xz and cifar10/resnet20-12fca82f.th (default
# ../shared/data)
set -euo pipefail

data=$(realpath -m -- "${BITFALL_DATA:-$(dirname -- "${BASH_SOURCE[0]}")/../../shared/data}")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
images=data/cifar10/test_lossless
model=data/cifar10/resnet20.pt
archive=$data/cifar10/test_lossless.tar.xz
weights=$data/cifar10/resnet20-12fca82f.th

need() {
  [[ -f $1 ]] && return
  printf 'prepare_cifar10.sh: %s is missing; name the folder that holds cifar10/%s in BITFALL_DATA\n' \
    "$1" "${1##*/}" >&2
  exit 1
}

[[ -d $images ]] || need "$archive"
[[ -f $model ]] || need "$weights"

scripts/setup.sh
options=()
[[ -f build/release/CMakeCache.txt ]] || options=(-DBITFALL_TESTS=OFF)
scripts/build.sh release "${options[@]}"

mkdir -p data/cifar10
if [[ ! -d $images ]]; then
  # Unpacked next to it and renamed, so that a folder of that name is complete.
  rm -rf "$images.part"
  mkdir "$images.part"
  tar -xJf "$archive" -C "$images.part" --strip-components=1
  mv "$images.part" "$images"
fi
echo "$images: $(find "$images" -name '*.png' | wc -l) images," \
  "$(find "$images" -mindepth 1 -type d | wc -l) classes"
if [[ ! -f $model ]]; then
  .venv/bin/python scripts/export_model.py cifar_resnet20 --weights "$weights" -o "$model"
fi
