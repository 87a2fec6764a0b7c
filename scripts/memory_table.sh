#!/usr/bin/env bash
# memory_table.sh [MIB...]: peak memory and time of a campaign over all layers of a ResNet-50 (random
# weights, 16 random images) with several values of [run] memory_budget; prints a markdown table. Writes to
# runs/memory.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
folder=runs/memory
budgets=("$@")
((${#budgets[@]} > 0)) || budgets=(0 256 512 1024 2048)

{
  scripts/setup.sh
  scripts/build.sh release
  mkdir -p "$folder"
  [[ -f $folder/resnet50.pt ]] || .venv/bin/python scripts/export_model.py resnet50 --random -o "$folder/resnet50.pt"
  .venv/bin/python - "$folder" <<'PYTHON'
import sys

import numpy as np

rng = np.random.default_rng(1)
np.save(f"{sys.argv[1]}/images.npy", rng.standard_normal((16, 3, 224, 224), dtype=np.float32))
np.save(f"{sys.argv[1]}/labels.npy", rng.integers(0, 1000, 16))
PYTHON
  cat >"$folder/campaign.toml" <<'TOML'
[model]
path = "resnet50.pt"

[data]
path = "images.npy"
labels = "labels.npy"

[[faults]]
per_site = 8

[run]
batch = 8
threads = 2
workers = 1
TOML
} >&2

exec .venv/bin/python scripts/memory_table.py build/release/bin/bitfall "$folder/campaign.toml" "${budgets[@]}"
