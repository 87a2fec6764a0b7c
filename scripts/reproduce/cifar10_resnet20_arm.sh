#!/usr/bin/env bash
# cifar10_resnet20_arm.sh FOLDER ARM SEED EPOCHS DEVICE DATA: one arm of cifar10_resnet20.sh, which
# calls it with the project as working directory: attaches the head to FOLDER/backbone.pt, trains,
# and runs the arm's four campaigns. Does only what is missing.
set -euo pipefail

folder=${1:?see cifar10_resnet20.sh} arm=${2:?} seed=${3:?} epochs=${4:?} device=${5:?} data=${6:?}
bitfall=build/release/bin/bitfall

# What is put in the place of the last layer. `random` is the paper's ablation: all of the head but
# the text; `projection` is its bottleneck alone; `linear` is its text without cosine and
# temperature.
guided=(--init text_guided)
map=(--class-map "$data/text/cifar10_from_imagenet.json")
prompt=(--embeddings "$data/text/imagenet_a-photo-of-a.pth" "${map[@]}")
descriptions=(--embeddings "$data/text/imagenet_gpt3.pth" "${map[@]}")
head_campaign=
case $arm in
  baseline) head=(--init linear) ;;
  projection) head=(--init random_projection --set width=512) ;;
  random) head=("${guided[@]}" --set init=random --set width=512) ;;
  prompt) head=("${guided[@]}" "${prompt[@]}") ;;
  descriptions) head=("${guided[@]}" "${descriptions[@]}") ;;
  linear) head=("${guided[@]}" --set cosine=false --set temperature=false "${descriptions[@]}") ;;
  *)
    echo "cifar10_resnet20_arm.sh: unknown arm $arm" >&2
    exit 2
    ;;
esac
case $arm in
  random | prompt | descriptions) head_campaign=scripts/reproduce/cifar10_resnet20_head.toml ;;
esac

# fill FILE NAME=VALUE...: a template of this folder with its @NAME@ replaced.
fill() {
  local expression="" pair
  for pair in "${@:2}"; do expression+="s|@${pair%%=*}@|${pair#*=}|g;"; done
  sed "$expression" "scripts/reproduce/$1"
}

# Attached again when the backbone or what is asked for has changed.
asked="$(sha256sum <"$folder/backbone.pt") ${head[*]}"
if [[ ! -f $folder/$arm.pt || $(cat "$folder/$arm.attached" 2>/dev/null) != "$asked" ]]; then
  "$bitfall" head attach "$folder/backbone.pt" "${head[@]}" --seed "$seed" \
    -o "$folder/$arm.pt" >/dev/null
  echo "$asked" >"$folder/$arm.attached"
fi
fill cifar10_resnet20_train.toml EPOCHS="$epochs" SEED="$seed" DEVICE="$device" ARM="$arm" \
  >"$folder/$arm.toml"
scripts/train_model.sh "$folder/$arm.toml" "$folder/trained/$arm" "$folder/$arm.pt"

for format in fp16 fp32; do
  for hit_value in clamped raw; do
    name=${format}_$hit_value/$arm
    mkdir -p "$folder/${name%/*}"
    {
      fill cifar10_resnet20.toml SEED="$seed" FORMAT="$format" HIT_VALUE="$hit_value" \
        ARM="$arm" DEVICE="$device"
      [[ -z $head_campaign ]] || cat "$head_campaign"
    } >"$folder/$name.toml"
    scripts/run_campaign.sh "$folder/$name.toml" "$folder/$name" "$folder/trained/$arm/model.pt"
  done
done
