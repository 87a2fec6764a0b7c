#!/usr/bin/env bash
# table2.sh --data FOLDER [OPTIONS]: Table 2 of "Hardware Resilience Properties of Text-Guided Image Classifiers" (NeurIPS 2023):
# ResNet-50 and FocalNet-T on CIFAR-10, CIFAR-100, Food-101 and STL-10, each with one linear layer and with the text-guided head.
# As table1.sh, to runs/reproduce/table2.
#
#   table2.sh --dry-run                         what it would cost on a GPU
#   table2.sh --miniature                       all of it, small: noise for images, one epoch, 4 flips per layer
#   table2.sh --data FOLDER --device cuda       the table
#
#   --data FOLDER       holds cifar-10-batches-bin, cifar-100-binary, food-101 and stl10_binary, as their authors publish them
#   --embeddings DIR    holds cifar100.npy, food101.npy and stl10.npy with their .classes.txt, which scripts/embed_text.py makes, and
#                       cifar10.npy, or imagenet_gpt3.pth with cifar10_from_imagenet.json (default ../shared/data/text)
#   --only NAME...      some rows: cifar10, food101_resnet50, FocalNet-T, ...
#
# The other options are those of table1.sh. The paper names no image size for these sets and says that no hyperparameter was changed:
# images are resized to the network's 224 pixels, and trained by its ImageNet recipe.
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
case " $* " in *" -h "* | *" --help "*)
  sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
  exit
  ;;
esac
python=$here/../../.venv/bin/python
[[ -x $python ]] || { echo "table2.sh: .venv is missing; scripts/setup.sh makes it" >&2; exit 4; }
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
exec "$python" "$here/tables.py" 2 "$@"
