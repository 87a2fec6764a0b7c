#!/usr/bin/env bash
# Tests under sanitizers that the test command leaves out, for they take long to build: ThreadSanitizer
# on all that starts threads and needs no LibTorch, AddressSanitizer on models, engine and training with
# LibTorch as it is. Prints a row each: tests, seconds, what was found. AddressSanitizer and UBSan on all
# that needs no LibTorch are in the test command (preset dev).
#
# usage: scripts/sanitize.sh [thread] [address]      without words: both
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
kinds=("$@")
((${#kinds[@]} > 0)) || kinds=(thread address)
for kind in "${kinds[@]}"; do
  case $kind in
  thread | address) ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' -- "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
  esac
done
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

failed=0
table=$(printf '%-10s %-16s %6s %8s %9s' sanitizer tests run failed seconds)$'\n'
# run PRESET KIND PROGRAM FILTER
run() {
  local log=build/$1/$3.log started=$SECONDS status=0 ran bad
  (cd "build/$1/tests" && timeout 1800 "./$3" --gtest_filter="$4" --gtest_brief=1) >"$log" 2>&1 || status=$?
  ran=$(sed -n 's/.*\] \([0-9]*\) tests\{0,1\} from .* ran.*/\1/p' "$log" | tail -n 1)
  bad=$(grep -c -E 'WARNING: ThreadSanitizer|ERROR: (Address|Leak)Sanitizer|^\[  FAILED  \]' "$log" || true)
  ((status == 0)) || { failed=1; tail -n 25 -- "$log"; }
  table+=$(printf '%-10s %-16s %6s %8s %9s' "$2" "$3" "${ran:-0}" "$bad" $((SECONDS - started)))$'\n'
}

for kind in "${kinds[@]}"; do
  if [[ $kind == thread ]]; then
    scripts/build.sh tsan -DBITFALL_TESTS=ON -- base_tests data_tests plugin_host_tests store_tests report_tests \
      compare_tests train_tests faults_tests
    for program in base data plugin_host store report compare train faults; do
      run tsan thread "${program}_tests" '*'
    done
  else
    scripts/build.sh asan-torch -DBITFALL_TESTS=ON -- model_tests engine_tests app_tests
    run asan-torch address model_tests '*'
    run asan-torch address engine_tests '*'
    run asan-torch address app_tests '*Engine*:Answer.*'
  fi
done
printf '\n%s' "$table"
exit "$failed"
