#!/usr/bin/env bash
# From a fresh machine to a finished fault-injection campaign and its report: set-up, build, a set
# of drawn images, a small network trained on them, a campaign over all its layers in FP16, the
# report. Writes to runs/quickstart. Run it again and it does only what is missing.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=runs/quickstart
python=.venv/bin/python
bitfall=build/release/bin/bitfall

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

step "4/6 network"
if [[ ! -f $out/shapes.pt || $out/shapes/drawn.json -nt $out/shapes.pt ]]; then
  # Threads that wait without spinning: a quarter of the time on a machine that is busy with other
  # work too.
  OMP_WAIT_POLICY=passive "$python" scripts/train_shapes.py "$out/shapes" -o "$out/shapes.pt"
else
  echo "$out/shapes.pt: trained already"
fi

step "5/6 campaign"
cp -u scripts/quickstart.toml "$out/fp16.toml"
scripts/run_campaign.sh "$out/fp16.toml" "$out/fp16" "$out/shapes.pt"

step "6/6 report"
"$bitfall" report "$out/fp16"

step "done"
cat <<END
The report, to open in a browser:  $PWD/$out/fp16/report.html

What to try next:
  look at one fault again        $bitfall replay $out/fp16 --trial 0
  see where faults can be put    $bitfall sites $out/shapes.pt --input 3x32x32 --format fp16
  take another number format     sed s/fp16/int8/ $out/fp16.toml > $out/int8.toml
                                 $bitfall run $out/int8.toml --output $out/int8
                                 $bitfall report $out/int8
  all the numbers, as a table    $bitfall export $out/fp16 --csv > trials.csv
END
