#!/usr/bin/env bash
# libFuzzer on every reader of files, under AddressSanitizer and UBSan: SECONDS a target (default 20),
# on the named targets or all of them. Needs clang-16 and libclang-rt-16-dev (apt), and nothing of
# LibTorch. Builds build/fuzz; what was found stays in build/fuzz/corpus/TARGET, and an input that
# goes wrong in build/fuzz/failed: put it into tests/fuzz/regressions/TARGET once it is mended.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
seconds=${1:-20}
shift || true
if ! command -v clang++-16 >/dev/null; then
  echo "fuzz.sh: clang++-16 is not there: apt-get install clang-16 libclang-rt-16-dev" >&2
  exit 1
fi
scripts/build.sh fuzz -DBITFALL_TESTS=ON -- bitfall_fuzz
fuzz=build/fuzz/tests/bitfall_fuzz
mkdir -p build/fuzz/corpus build/fuzz/failed
"$fuzz" "--seeds=$PWD/build/fuzz/corpus"
[[ ! -x .venv/bin/python ]] || .venv/bin/python tests/fuzz/make_corpus.py build/fuzz/corpus
# Where it can, in memory: every input is a file for a moment.
TMPDIR=$(mktemp -d "$([[ -w /dev/shm ]] && echo /dev/shm || echo /tmp)/bitfall_fuzz_XXXXXX")
export TMPDIR
trap 'rm -rf -- "$TMPDIR"' EXIT

if (($# == 0)); then
  mapfile -t targets < <("$fuzz" --list)
else
  targets=("$@")
fi
failed=0
printf '%-16s %10s %10s %8s\n' target inputs inputs/s covered
for target in "${targets[@]}"; do
  log=$TMPDIR/log
  status=0
  regressions=tests/fuzz/regressions/$target
  [[ -d $regressions ]] || regressions=
  "$fuzz" "--target=$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -malloc_limit_mb=1024 -max_len=200000 -dict="build/fuzz/corpus/$target.dict" \
    -artifact_prefix=build/fuzz/failed/"$target"- -print_final_stats=1 \
    "build/fuzz/corpus/$target" ${regressions:+"$regressions"} >"$log" 2>&1 || status=$?
  value() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  printf '%-16s %10s %10s %8s\n' "$target" "$(value number_of_executed_units)" \
    "$(value average_exec_per_sec)" "$covered"
  if ((status != 0)); then
    failed=1
    tail -n 30 -- "$log"
  fi
done
exit "$failed"
