#!/usr/bin/env bash
# From a fresh machine to a comparison of two networks under faults: set-up, build, drawn images, a
# small trained network with the usual last layer, with that at the text-guided head's scale, and
# with the head itself, a campaign over all layers of each in FP16, the comparison. Writes to
# runs/quickstart. Run it again and it does only what is missing.
#
# --train   train both networks here, in place of those in scripts/quickstart
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=runs/quickstart
bitfall=build/release/bin/bitfall
# Threads that wait without spinning: a quarter of the time on a machine that other programs keep
# busy too.
export OMP_WAIT_POLICY=passive

case ${1:-} in
'' | --train) ;;
*)
  echo "usage: scripts/quickstart.sh [--train]" >&2
  exit 2
  ;;
esac

step() { printf '\n== %s (%d min %02d s)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

if [[ ! -x $bitfall ]]; then
  cat <<'END'
The first run takes about four minutes on two cores: half of one for packages, three for the build, a
quarter of one for the campaigns. Later runs take seconds.
END
fi

step "1/4 set-up"
scripts/setup.sh --no-tests

step "2/4 build"
# The first build leaves the tests to scripts/test.sh.
options=()
[[ -f build/release/CMakeCache.txt ]] || options=(-DBITFALL_TESTS=OFF)
scripts/build.sh release "${options[@]}"

step "3/4 three campaigns"
mkdir -p "$out"
.venv/bin/python scripts/quickstart/draw_shapes.py "$out/shapes" --train 0
declare -A model=([baseline]=../../scripts/quickstart/baseline.pt [text_guided]=../../scripts/quickstart/text_guided.pt)
if [[ ${1:-} == --train ]]; then
  scripts/quickstart/train_networks.sh "$out"
  for arm in baseline text_guided; do model[$arm]=trained/$arm/model.pt; done
fi
for arm in baseline text_guided; do
  sed "s#@ARM@#$arm#g; s#@MODEL@#${model[$arm]}#g" scripts/quickstart/campaign.toml >"$out/$arm.toml"
done
cat scripts/quickstart/campaign_head.toml >>"$out/text_guided.toml"
for arm in baseline text_guided; do
  scripts/run_campaign.sh "$out/$arm.toml" "$out/$arm" "$out/${model[$arm]}"
  "$bitfall" report "$out/$arm" >/dev/null
done

# The null hypothesis: the baseline, its logits divided so that it is as sure of itself as the other.
rescaled=$out/rescaled.pt baseline=$out/${model[baseline]}
if [[ ! $rescaled -nt $baseline || ! $rescaled -nt $out/text_guided/campaign.toml ]]; then
  "$bitfall" head rescale "$baseline" --match top2diff "$out/text_guided" \
    --data "$out/baseline.toml" -o "$rescaled"
fi
sed "s#@ARM@#rescaled#g; s#@MODEL@#rescaled.pt#g" scripts/quickstart/campaign.toml >"$out/rescaled.toml"
scripts/run_campaign.sh "$out/rescaled.toml" "$out/rescaled" "$rescaled"

step "4/4 comparison"
"$bitfall" compare "$out/baseline" "$out/text_guided" "$out/rescaled"

guided=$(realpath --relative-to=. "$out/${model[text_guided]}")
step "done"
cat <<END
How to read the table "Summary": with the text-guided head a fault in the last layer does 1/x of the
damage ("last layer x"), and a fault in the network as a whole 1/x ("network x"); the brackets hold
the interval of x. Part of that is a change of scale: "rescaled" is the baseline with its logits
divided by a constant, and "At equal scale" shows what the head does beyond it. "Network" and
"Layers" show where the damage is.

To open in a browser:
  the comparison             $PWD/$out/compare.html
  the two campaigns          $PWD/$out/baseline/report.html
                             $PWD/$out/text_guided/report.html

What to try next:
  look at one fault again        $bitfall replay $out/baseline --trial 0
  see where faults can be put    $bitfall sites $guided --format fp16
  what the head costs            $bitfall head info $guided
  use another number format      sed s/fp16/int8/ $out/baseline.toml > $out/baseline_int8.toml
                                 $bitfall run $out/baseline_int8.toml --output $out/int8
                                 $bitfall report $out/int8
  all trials as a table          $bitfall export $out/baseline --csv > trials.csv
  train both networks yourself   scripts/quickstart.sh --train
END
