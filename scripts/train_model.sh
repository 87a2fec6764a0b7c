#!/usr/bin/env bash
# train_model.sh TRAINING.toml DIRECTORY MODEL: completes the training in DIRECTORY. Starts it,
# resumes it, or leaves it as it is when it is finished; starts it again when the training file or
# the untrained model has changed since. Changed images are not noticed: name another directory for
# them. BITFALL names another program than the release build's.
set -euo pipefail

bitfall=${BITFALL:-$(dirname -- "${BASH_SOURCE[0]}")/../build/release/bin/bitfall}
training=${1:?usage: train_model.sh TRAINING.toml DIRECTORY MODEL}
directory=${2:?usage: train_model.sh TRAINING.toml DIRECTORY MODEL}
model=${3:?usage: train_model.sh TRAINING.toml DIRECTORY MODEL}

if ! cmp -s -- "$training" "$directory/training.toml" || [[ $model -nt $directory/training.toml ]]; then
  exec "$bitfall" train "$training" --output "$directory" --force
elif [[ -f $directory/model.pt ]]; then
  echo "$directory/model.pt: already trained"
else
  exec "$bitfall" train "$training" --output "$directory" --resume
fi
