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
# test_preset PRESET [CMAKE OPTION...]
test_preset() {
  local preset=$1 junit=$PWD/build/$1/tests.xml result status=0
  printf '\n== %s\n' "$preset"
  if ! scripts/build.sh "$@"; then
    summary+=("$preset: build failed")
    failed=1
    return
  fi
  rm -f -- "$junit" # what an earlier run left
  ctest --preset "$preset" --output-on-failure --no-tests=error -j"$((jobs + 1))" \
    --output-junit "$junit" || status=$?
  result="no test ran"
  if [[ -f $junit ]]; then
    result=$(totals "$junit") || status=1
  fi
  ((status == 0)) || failed=1
  summary+=("$preset: $result")
}

scripts/setup.sh
test_preset release -DBITFALL_TESTS=ON -DBITFALL_TEXT_TESTS=OFF
test_preset dev -DBITFALL_TESTS=ON

verdict=PASSED
((failed == 0)) || verdict=FAILED
printf '\n%s  %s\n' "$verdict" "$(printf '%s; ' "${summary[@]}" | sed 's/; $//')"
exit "$failed"
