#!/usr/bin/env bash
# build.sh PRESET [CMAKE OPTION...] [-- TARGET...]: configures and builds build/PRESET, all of it or
# these targets; the presets are in CMakePresets.json.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
preset=${1:?usage: build.sh PRESET [CMAKE OPTION...] [-- TARGET...]}
shift
options=()
while (($# > 0)) && [[ $1 != -- ]]; do
  options+=("$1")
  shift
done
targets=("${@:2}")
((${#targets[@]} > 0)) || targets=(all)

# A source file that includes LibTorch takes up to 2 GB to compile.
jobs=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # which nproc would count by
if [[ -r /proc/meminfo ]]; then
  room=$(awk '/^MemAvailable:/ {print int($2 / 2097152)}' /proc/meminfo)
  ((room >= jobs)) || jobs=$((room > 1 ? room : 1))
fi
cmake --preset "$preset" --log-level=NOTICE "${options[@]}"
cmake --build --preset "$preset" -j "$jobs" --target "${targets[@]}"
