#!/usr/bin/env bash
# Set-up, build and all tests: the dev build (AddressSanitizer, UBSan, libFuzzer) of all that does
# not link LibTorch, and the release build of all that does or computes. The last line gives the totals; fails when a build or a test
# fails, or when no test ran.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

jobs=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # nproc counts by these, too
# Tests run in parallel, one more than cores, as a fifth of their time goes by in waiting. Two
# programs whose OpenMP threads spin on the same cores slow each other tenfold.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# JUNIT FILE -> "N run, N failed, N skipped"; fails when none ran.
totals() {
  python3 - "$1" <<'PYTHON'
import sys
import xml.etree.ElementTree

suite = xml.etree.ElementTree.parse(sys.argv[1]).getroot()
counted = ("tests", "failures", "skipped", "disabled")
tests, failed, skipped, disabled = (int(suite.get(key, 0)) for key in counted)
ran = tests - skipped - disabled
print(f"{ran} run, {failed} failed, {skipped + disabled} skipped")
sys.exit(ran == 0)
PYTHON
}

summary=()
failed=0
# build PRESET [CMAKE OPTION...]
build() {
  printf '\n== %s\n' "$1"
  scripts/build.sh "$@" && return
  summary+=("$1: build failed")
  failed=1
  return 1
}
# run_tests NAME PRESET AT_ONCE [CTEST OPTION...]: NAME is for the last line.
run_tests() {
  local preset=$2 junit=$PWD/build/$2/$1.xml result status=0
  rm -f -- "$junit" # what an earlier run left
  ctest --preset "$preset" --output-on-failure --no-tests=error -j"$3" \
    --output-junit "$junit" "${@:4}" || status=$?
  result="no test ran"
  if [[ -f $junit ]]; then
    result=$(totals "$junit") || status=1
  fi
  ((status == 0)) || failed=1
  summary+=("$1: $result")
}

scripts/setup.sh
if build release -DBITFALL_TESTS=ON -DBITFALL_TEXT_TESTS=OFF; then
  run_tests release release "$((jobs + 1))"
fi
if build dev -DBITFALL_TESTS=ON; then
  run_tests dev dev "$((jobs + 1))" -LE libfuzzer
  # Each takes its 6 seconds however many there are, so many go at once.
  run_tests libfuzzer dev "$((jobs * 3))" -L libfuzzer
fi

verdict=PASSED
((failed == 0)) || verdict=FAILED
printf '\n%s  %s\n' "$verdict" "$(printf '%s; ' "${summary[@]}" | sed 's/; $//')"
exit "$failed"
