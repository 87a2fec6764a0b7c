#!/usr/bin/env bash
# Does a harness find anything? Puts each bug of tests/seeded_bugs into a copy of this tree, builds and
# runs the tests that should find it, and takes it out again; the sound tree has to pass them first.
# Prints a row a bug; fails where one was not found.
#
# usage: scripts/seeded_bugs.sh [--torch] [BUG...]
# --torch   also those that AddressSanitizer finds beside LibTorch (ten minutes more)
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
case ${1:-} in
-h | --help)
  sed -n '2,7s/^# \{0,1\}//p' -- "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
torch=0
if [[ ${1:-} == --torch ]]; then
  torch=1
  shift
fi
bugs=("$@")
((${#bugs[@]} > 0)) || mapfile -t bugs < <(cd tests/seeded_bugs && printf '%s\n' *.patch | sed 's/\.patch$//')

copy=build/seeded/tree
mkdir -p "$copy"
git ls-files -co --exclude-standard -z | tar --null --files-from=- -cf - | tar -xf - -C "$copy"
[[ ! -d .venv ]] || ln -sfn "$PWD/.venv" "$copy/.venv"

# try PRESET PROGRAM ARGUMENTS LOG: builds and runs a harness in the copy; 125 where it was not built.
try() {
  "$copy/scripts/build.sh" "$1" -DBITFALL_TESTS=ON -- "$2" >"$4" 2>&1 || return 125
  local -a arguments
  read -ra arguments <<<"$3"
  (cd "$copy/build/$1/tests" && exec timeout 600 "./$2" "${arguments[@]}") >>"$4" 2>&1
}
# What a harness said, in a line.
said() {
  { grep -m 1 -E 'runtime error|ERROR: AddressSanitizer|WARNING: ThreadSanitizer|terminate called|with description|^[a-z_]*: throws' "$1" ||
    grep -m 1 -E 'Failure' "$1" || true; } |
    sed 's/^=*[0-9]*=*//; s/^.*: runtime error/runtime error/; s/0x[0-9a-f]*/.../g' | cut -c 1-100
}

failed=0
declare -A sound
printf '%-24s %-12s %-16s %s\n' bug preset outcome said
for bug in "${bugs[@]}"; do
  patch=tests/seeded_bugs/$bug.patch
  [[ -f $patch ]] || { echo "seeded_bugs.sh: there is no $patch" >&2; exit 2; }
  read -r _ preset program arguments < <(grep '^harness: ' "$patch")
  if [[ $preset == asan-torch && $torch == 0 ]]; then
    printf '%-24s %-12s %-16s %s\n' "$bug" "$preset" "left out" "--torch takes it"
    continue
  fi
  log=$PWD/build/seeded/$bug.log
  harness="$preset $program $arguments"
  if [[ -z ${sound[$harness]:-} ]]; then
    if ! try "$preset" "$program" "$arguments" "$log"; then
      printf '%-24s %-12s %-16s %s\n' "$bug" "$preset" "UNSOUND" "fails without the bug: $log"
      failed=1
      continue
    fi
    sound[$harness]=1
  fi
  if ! patch -d "$copy" -p1 -s --dry-run <"$patch" >/dev/null; then
    printf '%-24s %-12s %-16s %s\n' "$bug" "$preset" "DOES NOT FIT" "the code has changed: write $patch anew"
    failed=1
    continue
  fi
  patch -d "$copy" -p1 -s <"$patch"
  status=0
  try "$preset" "$program" "$arguments" "$log" 2>/dev/null || status=$?
  patch -d "$copy" -p1 -R -s <"$patch"
  case $status in
  0) outcome="NOT FOUND" ;;
  125) outcome="NOT BUILT" ;;
  *) outcome=found ;;
  esac
  [[ $outcome == found ]] || failed=1
  printf '%-24s %-12s %-16s %s\n' "$bug" "$preset" "$outcome" "$(said "$log")"
done
exit "$failed"
