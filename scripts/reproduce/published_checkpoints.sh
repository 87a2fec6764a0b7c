#!/usr/bin/env bash
# published_checkpoints.sh FOLDER --data IMAGENET [OPTIONS]: the lines of Table 1 for trained weights that lie in FOLDER, as the
# authors of "Hardware Resilience Properties of Text-Guided Image Classifiers" (NeurIPS 2023) published them (nothing is downloaded):
# of each backbone a checkpoint of the text-guided network and one of its baseline. No training; the rest is as in table1.sh. Writes
# to runs/reproduce/published; resumes where it was interrupted.
#
# A file belongs to the backbone whose name it holds (resnet50, vgg16_bn, swin_v2_t, focalnet_tiny_srf, ...; case, '-' and '_' do not
# count); it is the baseline's where it holds 'baseline' or 'base' too. A checkpoint of another backbone is named with the tensors
# that do not fit, a backbone of which one file is missing is left out and named, and the exit code is 1.
#
#   --data FOLDER       ImageNet: train/WNID/*.JPEG (for the bounds of clamped values) and val/WNID/*.JPEG
#   --val-list FILE     of a flat val folder: images and labels; then --classes FILE too
#   --limit N, --trials N, --format ID, --device D, --size N, -o FOLDER   as in table1.sh
#   --dry-run           what the campaigns of Table 1 would cost on a GPU
#
# The published test resizes to 256 pixels and crops 224 for every network, and reads the plain weights, not their average: so does
# this. Trap: Swin-V2 was trained at 256 pixels (--size 256).
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
case " $* " in *" -h "* | *" --help "*)
  sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
  exit
  ;;
esac
python=$here/../../.venv/bin/python
[[ -x $python ]] || { echo "published_checkpoints.sh: .venv is missing; scripts/setup.sh makes it" >&2; exit 4; }
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
exec "$python" "$here/tables.py" published "$@"
