#!/usr/bin/env bash
# cifar10_resnet20.sh [--epochs N] [--seeds N] [--device D] [--full]: what the text-guided head does
# to a ResNet-20 on CIFAR-10, trained from scratch. Six heads on the same backbone, same recipe, same
# seeds; then 4096 flips in each layer of each, in FP32 and FP16, with hit values raw and clamped;
# then the comparison, in the shape of the paper's Tables 1 and 3. Writes to
# runs/reproduce/cifar10_resnet20. Goes on where it was interrupted, and does only what is missing.
#
#   --epochs N   of every training (default 5; the arms are compared at equal epochs)
#   --seeds N    trainings an arm, with seeds 1 to N (default 1)
#   --device D   cpu, cuda or cuda:N, of trainings and campaigns (default cpu)
#   --full       what a GPU has time for: --epochs 200 --seeds 5 --device cuda
#
# BITFALL_DATA=FOLDER   holds cifar10/train.tar.xz, cifar10/test.tar.xz and text/ (default
# ../shared/data)
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
fail() {
  echo "cifar10_resnet20.sh: $1" >&2
  exit 2
}
epochs=5 seeds=1 device=cpu
while (($# > 0)); do
  case $1 in
    --epochs | --seeds | --device)
      (($# > 1)) || fail "$1 needs a value; see --help"
      declare "${1#--}=$2"
      shift 2
      ;;
    --full) epochs=200 seeds=5 device=cuda; shift ;;
    -h | --help) usage; exit ;;
    *) fail "unknown option $1; see --help" ;;
  esac
done
for name in epochs seeds; do
  [[ ${!name} =~ ^[1-9][0-9]{0,4}$ ]] || fail "--$name ${!name}: give a whole number from 1 on"
done
data=${BITFALL_DATA:-}
[[ -z $data ]] || data=$(realpath -m -- "$data")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
data=${data:-../shared/data}
text=$data/text
out=runs/reproduce/cifar10_resnet20
bitfall=build/release/bin/bitfall
arms=(baseline projection random prompt descriptions linear)
export OMP_WAIT_POLICY=passive

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
  # Unpacked beside it and renamed, so that a folder of that name is complete.
  rm -rf "$images.part"
  mkdir -p "$images.part"
  tar -xJf "$data/cifar10/$split.tar.xz" -C "$images.part" --strip-components=1
  mv "$images.part" "$images"
done
mkdir -p "$out"

# What is put in the place of the last layer. `random` is the paper's ablation: all of the head but
# the text; `projection` is its bottleneck alone; `linear` is its text without cosine and
# temperature.
head_options() {  # sets `head`
  local guided=(--init text_guided)
  local map=(--class-map "$text/cifar10_from_imagenet.json")
  case $1 in
    baseline) head=(--init linear) ;;
    projection) head=(--init random_projection --set width=512) ;;
    random) head=("${guided[@]}" --set init=random --set width=512) ;;
    prompt) head=("${guided[@]}" --embeddings "$text/imagenet_a-photo-of-a.pth" "${map[@]}") ;;
    descriptions) head=("${guided[@]}" --embeddings "$text/imagenet_gpt3.pth" "${map[@]}") ;;
    linear)
      head=("${guided[@]}" --set cosine=false --set temperature=false
        --embeddings "$text/imagenet_gpt3.pth" "${map[@]}")
      ;;
  esac
}

# fill FILE NAME=VALUE...: a template of this folder with its @NAME@ replaced.
fill() {
  local expression="" pair
  for pair in "${@:2}"; do expression+="s|@${pair%%=*}@|${pair#*=}|g;"; done
  sed "$expression" "scripts/reproduce/$1"
}

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
  for arm in "${arms[@]}"; do
    step "seed $seed, $arm: training"
    head_options "$arm"
    # Attached anew when the backbone or what is asked for has changed.
    asked="$(sha256sum <"$here/backbone.pt") ${head[*]}"
    if [[ ! -f $here/$arm.pt || $(cat "$here/$arm.attached" 2>/dev/null) != "$asked" ]]; then
      "$bitfall" head attach "$here/backbone.pt" "${head[@]}" --seed "$seed" -o "$here/$arm.pt"
      echo "$asked" >"$here/$arm.attached"
    fi
    fill cifar10_resnet20_train.toml EPOCHS="$epochs" SEED="$seed" DEVICE="$device" ARM="$arm" \
      >"$here/$arm.toml"
    scripts/train_model.sh "$here/$arm.toml" "$here/trained/$arm" "$here/$arm.pt"
  done
  for format in fp16 fp32; do
    for hit_value in clamped raw; do
      for arm in "${arms[@]}"; do
        name=${format}_$hit_value/$arm
        step "seed $seed, $name: campaign"
        mkdir -p "$here/${name%/*}"
        {
          fill cifar10_resnet20.toml SEED="$seed" FORMAT="$format" HIT_VALUE="$hit_value" \
            ARM="$arm" DEVICE="$device"
          case $arm in
            random | prompt | descriptions) cat scripts/reproduce/cifar10_resnet20_head.toml ;;
          esac
        } >"$here/$name.toml"
        scripts/run_campaign.sh "$here/$name.toml" "$here/$name" "$here/trained/$arm/model.pt"
      done
      compare "$here/${format}_$hit_value" compare "${arms[@]}"
      .venv/bin/python scripts/reproduce/study_tables.py "$out" --steps |
        while read -r name before after; do
          compare "$here/${format}_$hit_value" "$name" "$before" "$after"
        done
    done
  done
done

step "tables"
.venv/bin/python scripts/reproduce/study_tables.py "$out" --seeds "$seeds" | tee "$out/tables.md"
printf '\nThe comparisons with charts:\n'
printf '  %s\n' "$out"/seed*/*/compare.html
