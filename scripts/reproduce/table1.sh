#!/usr/bin/env bash
# table1.sh --data FOLDER [OPTIONS]: Table 1 of "Hardware Resilience Properties of Text-Guided Image Classifiers" (NeurIPS 2023):
# 14 backbones with one linear layer and with the text-guided head, trained alike by the published recipe, then single-bit flips in
# each layer of each, then a line per backbone beside the published figures. The ratios stand beside those of the baseline whose
# logits have the head's scale. Writes to runs/reproduce/table1; resumes where it was interrupted and does only what is missing.
#
#   table1.sh --dry-run                         what it would cost on a GPU
#   table1.sh --miniature                       all of it, small: noise for images, one epoch, 4 flips per layer
#   table1.sh --data imagenet --device cuda     the table
#
#   --data FOLDER       ImageNet: train/WNID/*.JPEG and val/WNID/*.JPEG
#   --val-list FILE     of a flat val folder: images and labels (core/README.md, "Lists of images"); then --classes FILE too
#   --embeddings DIR    holds imagenet_gpt3.pth (default ../shared/data/text)
#   --only NAME...      some backbones: resnet50, swin_v2_t, ...
#   --epochs N          in place of the recipe's
#   --limit N           at most so many images for training and for campaigns (0 = all); bounds are learned from as many, or 2000
#   --batch N           images per step, in place of the recipe's batch on four devices
#   --size N            pixels, in place of the network's own (at least what it works at)
#   --trials N          flips per layer (default 4096)
#   --format ID         number format of the campaigns (default fp16)
#   --device D          cpu, cuda or cuda:N (default cpu)
#   --seed N            of weights, order of images and faults (default 1)
#   --random            random weights: no training
#   --tflops N          of the dry run: what the GPU keeps up (default 100)
#   -o FOLDER           in place of runs/reproduce/table1
#
# One line: a row that fails is named at the end, with the reason, and the others go on; the exit code is then 1.
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
case " $* " in *" -h "* | *" --help "*)
  sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
  exit
  ;;
esac
python=$here/../../.venv/bin/python
[[ -x $python ]] || { echo "table1.sh: .venv is missing; scripts/setup.sh makes it" >&2; exit 4; }
# Threads that wait without spinning: a quarter of the time where other programs are busy too.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
exec "$python" "$here/tables.py" 1 "$@"
