#!/usr/bin/env bash
# cifar10_resnet20.sh [--epochs N] [--seeds N] [--jobs N] [--device D] [--full]: what the text-guided
# head does to a ResNet-20 on CIFAR-10, trained from scratch. Six heads on the same backbone, same
# recipe, same seeds; then 4096 flips in each layer of each, in FP32 and FP16, with hit values raw
# and clamped; then the comparison, in the shape of the paper's Tables 1 and 3. Writes to
# runs/reproduce/cifar10_resnet20. Resumes where it was interrupted, and does only what is missing.
#
#   --epochs N   epochs of every training (default 4; the arms are compared at equal epochs)
#   --seeds N    trainings per arm, with seeds 1 to N (default 2)
#   --jobs N     arms at once (default one per core, each on one thread; on a GPU one)
#   --device D   cpu, cuda or cuda:N, of trainings and campaigns (default cpu)
#   --full       the full study, for a GPU: --epochs 200 --seeds 5 --device cuda
#
# BITFALL_DATA=FOLDER   holds cifar10/train.tar.xz, cifar10/test.tar.xz and text/ (default
# ../shared/data)
set -euo pipefail
trap 'exit 130' INT

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
fail() {
  echo "cifar10_resnet20.sh: $1" >&2
  exit 2
}
epochs=4 seeds=2 jobs="" device=cpu
while (($# > 0)); do
  case $1 in
    --epochs | --seeds | --jobs | --device)
      (($# > 1)) || fail "$1 needs a value; see --help"
      declare "${1#--}=$2"
      shift 2
      ;;
    --full) epochs=200 seeds=5 device=cuda; shift ;;
    -h | --help) usage; exit ;;
    *) fail "unknown option $1; see --help" ;;
  esac
done
[[ -n $jobs || $device == cpu ]] || jobs=1
jobs=${jobs:-$(nproc)}
for name in epochs seeds jobs; do
  [[ ${!name} =~ ^[1-9][0-9]{0,4}$ ]] || fail "--$name ${!name}: give a whole number, at least 1"
done
data=${BITFALL_DATA:-}
[[ -z $data ]] || data=$(realpath -m -- "$data")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
data=${data:-../shared/data}
out=runs/reproduce/cifar10_resnet20
bitfall=build/release/bin/bitfall
arms=(baseline projection random prompt descriptions linear)

step() { printf '\n== %s (%d min %02d s)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

step "set-up, build, data"
for file in cifar10/train.tar.xz cifar10/test.tar.xz text/imagenet_gpt3.pth \
  text/imagenet_a-photo-of-a.pth text/cifar10_from_imagenet.json; do
  [[ -f $data/$file ]] && continue
  echo "cifar10_resnet20.sh: $data/$file is missing; name its folder's parent in BITFALL_DATA" >&2
  exit 4
done
scripts/setup.sh
options=()
[[ -f build/release/CMakeCache.txt ]] || options=(-DBITFALL_TESTS=OFF)
scripts/build.sh release "${options[@]}"
for split in train test; do
  images=data/cifar10/$split
  [[ -d $images ]] && continue
  # Unpacked next to it and renamed, so that a folder of that name is complete.
  rm -rf "$images.part"
  mkdir -p "$images.part"
  tar -xJf "$data/cifar10/$split.tar.xz" -C "$images.part" --strip-components=1
  mv "$images.part" "$images"
done
mkdir -p "$out"

# compare FOLDER NAME ARM...: writes FOLDER/NAME.json and NAME.html.
compare() {
  local runs=("${@:3}")
  "$bitfall" compare "${runs[@]/#/$1/}" --json --html "$1/$2.html" >"$1/$2.json.part"
  mv "$1/$2.json.part" "$1/$2.json"
}

for ((seed = 1; seed <= seeds; ++seed)); do
  here=$out/seed$seed
  mkdir -p "$here"
  [[ -f $here/backbone.pt ]] ||
    .venv/bin/python scripts/export_model.py cifar_resnet20 --random --seed "$seed" \
      --script -o "$here/backbone.pt"
  step "seed $seed: trainings and campaigns, $jobs arms at a time"
  # 255 tells xargs to start no further arm.
  printf '%s\0' "${arms[@]}" | xargs -0 -P "$jobs" -I @ARM@ bash -c '
    set -o pipefail
    scripts/reproduce/cifar10_resnet20_arm.sh "$@" 2>&1 | sed -u "s/^/$2: /" || exit 255' \
    arm "$here" @ARM@ "$seed" "$epochs" "$device" "$data"
  step "seed $seed: comparisons"
  steps="$(.venv/bin/python scripts/reproduce/study_tables.py "$out" --steps)"
  for setting in {fp16,fp32}_{clamped,raw}; do
    compare "$here/$setting" compare "${arms[@]}"
    while read -r name before after; do
      compare "$here/$setting" "$name" "$before" "$after"
    done <<< "$steps"
  done
done

step "tables"
.venv/bin/python scripts/reproduce/study_tables.py "$out" --seeds "$seeds" | tee "$out/tables.md"
printf '\nThe comparisons with charts:\n'
printf '  %s\n' "$out"/seed*/*/compare.html
