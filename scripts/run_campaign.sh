#!/usr/bin/env bash
# run_campaign.sh CAMPAIGN.toml RUN MODEL: completes the run directory RUN. Starts the campaign,
# resumes it, or leaves it as it is when it is finished; starts it again when the campaign file or
# the model has changed since, or another version of Bitfall wrote it. Prints no tables: `bitfall
# report RUN` does.
set -euo pipefail

bitfall=${BITFALL:-$(dirname -- "${BASH_SOURCE[0]}")/../build/release/bin/bitfall}
campaign=${1:?usage: run_campaign.sh CAMPAIGN.toml RUN MODEL}
run=${2:?usage: run_campaign.sh CAMPAIGN.toml RUN MODEL}
model=${3:?usage: run_campaign.sh CAMPAIGN.toml RUN MODEL}

if [[ ! -f $run/campaign.sqlite ]]; then
  exec "$bitfall" run "$campaign" --output "$run" --force >/dev/null
elif ! "$bitfall" status "$run" >/dev/null 2>&1; then
  echo "$run cannot be read by this version of Bitfall: starting it again" >&2
  exec "$bitfall" run "$campaign" --output "$run" --force >/dev/null
elif ! cmp -s -- "$campaign" "$run/campaign.toml" || [[ $model -nt $run/campaign.toml ]]; then
  echo "$run was made from another campaign file or model: starting it again" >&2
  exec "$bitfall" run "$campaign" --output "$run" --force >/dev/null
else
  exec "$bitfall" resume "$run" >/dev/null
fi
