#!/usr/bin/env bash
# libFuzzer on every reader of files, under AddressSanitizer and UBSan, in an optimised build
# (build/fuzz): SECONDS a target (default 20), on the named targets or all of them. The tests do the
# same for 6 seconds a target in the dev build. What was found stays in
# build/fuzz/tests/fuzz/found/TARGET, an input that goes wrong in build/fuzz/tests/fuzz/failed: put
# it into tests/fuzz/regressions/TARGET once it is mended.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
seconds=${1:-20}
shift || true
scripts/setup.sh
scripts/build.sh fuzz -DBITFALL_TESTS=ON -- bitfall_fuzz
fuzz=build/fuzz/tests/bitfall_fuzz
home=build/fuzz/tests/fuzz
.venv/bin/python tests/fuzz/make_corpus.py "$home/corpus"
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT

if (($# == 0)); then
  mapfile -t targets < <("$fuzz" --list)
else
  targets=("$@")
fi
failed=0
printf '%-16s %10s %10s %8s\n' target inputs inputs/s covered
for target in "${targets[@]}"; do
  status=0
  "$fuzz" --home="$home" --target="$target" -max_total_time="$seconds" >"$log" 2>&1 || status=$?
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
