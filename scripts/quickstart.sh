#!/usr/bin/env bash
# From a fresh machine to a comparison of two networks under faults: set-up, build, a set of drawn
# images, a small network with the usual last layer and with a text-guided head, both trained on
# them, a campaign over all layers of both in FP16, the comparison. Writes to runs/quickstart. Run it
# again and it does only what is missing.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=runs/quickstart
python=.venv/bin/python
bitfall=build/release/bin/bitfall
# Threads that wait without spinning: a quarter of the time on a machine that is busy with other
# work too.
export OMP_WAIT_POLICY=passive

step() { printf '\n== %s (%d min %02d s)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

step "1/6 set-up"
scripts/setup.sh

step "2/6 build"
# The first build leaves the tests to scripts/test.sh.
options=()
[[ -f build/release/CMakeCache.txt ]] || options=(-DBITFALL_TESTS=OFF)
scripts/build.sh release "${options[@]}"

step "3/6 images"
mkdir -p "$out"
"$python" scripts/draw_shapes.py "$out/shapes"

# attach ARM OPTION...: one untrained backbone for both arms, each with a head of its own.
attach() {
  local arm=$1
  shift
  [[ -f $out/$arm.pt && ! $out/backbone.pt -nt $out/$arm.pt &&
    ! scripts/quickstart_embeddings.npy -nt $out/$arm.pt ]] && return
  "$bitfall" head attach "$out/backbone.pt" "$@" -o "$out/$arm.pt"
}

step "4/6 networks"
[[ -f $out/backbone.pt ]] || "$python" scripts/shapes_net.py -o "$out/backbone.pt"
attach baseline --init linear
attach text_guided --init text_guided --embeddings scripts/quickstart_embeddings.npy \
  --embedding-classes scripts/quickstart_embeddings.classes.txt
for arm in baseline text_guided; do
  sed "s/@ARM@/$arm/g" scripts/quickstart_train.toml >"$out/$arm.toml"
  scripts/train_model.sh "$out/$arm.toml" "$out/trained/$arm" "$out/$arm.pt"
done

step "5/6 campaigns"
for arm in baseline text_guided; do
  sed "s/@ARM@/$arm/g" scripts/quickstart.toml >"$out/${arm}_fp16.toml"
done
cat scripts/quickstart_head.toml >>"$out/text_guided_fp16.toml"
for arm in baseline text_guided; do
  scripts/run_campaign.sh "$out/${arm}_fp16.toml" "$out/$arm" "$out/trained/$arm/model.pt"
done

step "6/6 comparison"
"$bitfall" report "$out/baseline" >/dev/null
"$bitfall" report "$out/text_guided" >/dev/null
"$bitfall" compare "$out/baseline" "$out/text_guided"

step "done"
cat <<END
To open in a browser:
  the comparison             $PWD/$out/compare.html
  the two campaigns          $PWD/$out/baseline/report.html
                             $PWD/$out/text_guided/report.html
  the two trainings          $PWD/$out/trained/baseline/training.html
                             $PWD/$out/trained/text_guided/training.html

What to try next:
  look at one fault again        $bitfall replay $out/baseline --trial 0
  see where faults can be put    $bitfall sites $out/trained/text_guided/model.pt --format fp16
  what the head costs            $bitfall head info $out/trained/text_guided/model.pt
  take another number format     sed s/fp16/int8/ $out/baseline_fp16.toml > $out/baseline_int8.toml
                                 $bitfall run $out/baseline_int8.toml --output $out/int8
                                 $bitfall report $out/int8
  all the numbers, as a table    $bitfall export $out/baseline --csv > trials.csv
END
