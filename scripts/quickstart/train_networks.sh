#!/usr/bin/env bash
# train_networks.sh FOLDER [BITFALL]: makes baseline.pt and text_guided.pt, as they are next to this script. Draws
# images, writes an untrained network, gives it both heads, trains both: FOLDER/trained/baseline/model.pt and
# FOLDER/trained/text_guided/model.pt. Run again, it does only what is missing. BITFALL: the program, that of the release build by default.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
folder=${1:?usage: train_networks.sh FOLDER [BITFALL]}
python=$root/.venv/bin/python
export BITFALL=${2:-$root/build/release/bin/bitfall}

mkdir -p -- "$folder"
"$python" "$here/draw_shapes.py" "$folder/training_shapes"
[[ -f $folder/backbone.pt ]] || "$python" "$here/shapes_net.py" -o "$folder/backbone.pt"

# attach ARM OPTION...: one untrained backbone for both arms, each with a head of its own.
attach() {
  local arm=$1
  shift
  [[ -f $folder/$arm.pt && ! $folder/backbone.pt -nt $folder/$arm.pt &&
    ! $here/embeddings.npy -nt $folder/$arm.pt ]] && return
  "$BITFALL" head attach "$folder/backbone.pt" "$@" -o "$folder/$arm.pt"
}
attach baseline --init linear
attach text_guided --init text_guided --embeddings "$here/embeddings.npy" \
  --embedding-classes "$here/embeddings.classes.txt"

# Each training runs on one thread, so both run at the same time.
export OMP_WAIT_POLICY=passive
running=()
for arm in baseline text_guided; do
  sed "s/@ARM@/$arm/g" "$here/train.toml" >"$folder/${arm}_train.toml"
  "$root/scripts/train_model.sh" "$folder/${arm}_train.toml" "$folder/trained/$arm" "$folder/$arm.pt" \
    >"$folder/${arm}_train.log" 2>&1 &
  running+=("$!")
done
echo "training both networks, 12 epochs each: two minutes on two cores; $folder/*_train.log show how far they are"
for process in "${running[@]}"; do
  wait "$process" || {
    tail -n 5 -- "$folder"/*_train.log >&2
    exit 1
  }
done
