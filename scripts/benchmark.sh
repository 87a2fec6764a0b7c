#!/usr/bin/env bash
# benchmark.sh [--models A,B] [--quick] [--json FILE] [--markdown FILE] [OPTION...]: times Bitfall
# and PyTorchFI 0.6.0 in one run, and compares the logits that the same faults give; prints
# markdown tables. `--help` lists all options. Sets up and builds what is missing; PyTorchFI goes
# into an environment of its own, .venv-pytorchfi. Writes to runs/benchmark.
set -euo pipefail

caller=$PWD
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
venv=.venv-pytorchfi
packages=(torchvision==0.28.0 pytorchfi==0.6.0)

make_peer_venv() {
  local stamp wanted log
  stamp=$venv/.packages
  wanted="$(readlink -f .venv/bin/python) ${packages[*]}"
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return
  echo "benchmark: installing ${packages[*]} in $venv" >&2
  .venv/bin/python -m venv --clear "$venv"
  # Both tools run on one LibTorch: torch, NumPy and what they need are those of .venv.
  .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/bitfall.pth"
  log=$(mktemp)
  if ! "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --no-deps \
    --ignore-installed "${packages[@]}" >"$log" 2>&1; then
    tail -n 25 -- "$log" >&2
    rm -f -- "$log"
    exit 1
  fi
  rm -f -- "$log"
  printf '%s\n' "$wanted" >"$stamp"
}

{
  scripts/setup.sh
  scripts/build.sh release -DBITFALL_TESTS=ON -- bitfall bitfall_plugins peer_benchmark
  make_peer_venv
} >&2

python=$PWD/$venv/bin/python
script=$PWD/scripts/benchmark.py
cd -- "$caller"
exec "$python" "$script" "$@"
