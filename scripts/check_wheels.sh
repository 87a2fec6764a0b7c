#!/usr/bin/env bash
# check_wheels.sh [VERSION...]: builds and links Bitfall against the wheels of torch that pip finds
# for these versions (default: 2.11.0, and the newest), one after the other, on a machine without
# CUDA or ROCm. A wheel that brings its own CUDA is taken as it is: nothing else of CUDA is needed.
# Not one of the tests, for its size: half a gigabyte of download and minutes of build per version.
# Writes to build/wheels.
#
# --run   also installs what the wheels need (several GB each for CUDA) and runs the program with each
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
run=0
if [[ ${1:-} == --run ]]; then
  run=1
  shift
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input)
versions=("$@")
if ((${#versions[@]} == 0)); then
  newest=$("${pip[@]}" index versions torch 2>/dev/null | sed -n '1s/.*(\(.*\)).*/\1/p')
  versions=(2.11.0 "$newest")
fi

rows=()
for version in "${versions[@]}"; do
  folder=build/wheels/$version
  printf '\n== torch %s\n' "$version"
  if [[ ! -f $folder/site/torch/version.py ]]; then
    rm -rf -- "$folder/site"
    options=(--no-deps)
    ((run == 0)) || options=()
    "${pip[@]}" install --quiet "${options[@]}" --target "$folder/site.part" "torch==$version"
    mv -- "$folder/site.part" "$folder/site"
  fi
  kind=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$folder/site/torch/version.py")
  cmake -S . -B "$folder/build" -G Ninja --log-level=NOTICE -DCMAKE_BUILD_TYPE=Release \
    -DBITFALL_TESTS=OFF -DBITFALL_LIBTORCH="$PWD/$folder/site/torch"
  cmake --build "$folder/build" --target bitfall bitfall_plugins
  needed=$(readelf -d "$folder/build/bin/bitfall-torch" | sed -n 's/.*NEEDED.*\[\(lib\(torch\|c10\).*\)\]/\1/p' | paste -sd ' ')
  ran="not tried"
  if ((run == 1)); then
    "$folder/build/bin/bitfall" env | grep -i torch
    ran="runs"
  fi
  rows+=("$(printf '%-8s  %-14s  links: %s  %s' "$version" "$kind" "$needed" "$ran")")
done
printf '\n'
printf '%s\n' "${rows[@]}"
