#!/usr/bin/env python3
"""What torchvision makes of pictures and batches at fixed draws, for tests/train/mixing_test.cc.

usage: make_mixing_vectors.py FOLDER

picture.raw [37, 53, 3]; crop_I_FILTER.raw [20, 24, 3] of the boxes below; batch.raw float32 [4, 3, 6, 8], and what MixUp,
CutMix and erasing give of it.
"""

import sys
from pathlib import Path

import numpy
import torch
from PIL import Image

from make_image_vectors import import_torchvision

import_torchvision()
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as F

BOXES = [(0, 0, 37, 53), (3, 7, 20, 24), (10, 11, 9, 5), (30, 40, 7, 13), (5, 0, 1, 53)]  # top, left, height, width


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(5)
    picture = random.integers(0, 256, (37, 53, 3), dtype=numpy.uint8)
    (folder / "picture.raw").write_bytes(picture.tobytes())
    for i, box in enumerate(BOXES):
        for mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
            made = F.resized_crop(Image.fromarray(picture), *box, [20, 24], mode)
            (folder / f"crop_{i}_{mode.value}.raw").write_bytes(numpy.asarray(made).tobytes())
    batch = torch.from_numpy(random.standard_normal((4, 3, 6, 8)).astype(numpy.float32))
    (folder / "batch.raw").write_bytes(batch.numpy().tobytes())
    labels = torch.arange(4)
    mixup, cutmix = v2.MixUp(num_classes=4), v2.CutMix(num_classes=4)
    shared = {"labels": labels, "batch_size": 4, "num_classes": 4}
    (folder / "mixup.raw").write_bytes(mixup.transform(batch, {**shared, "lam": 0.3}).numpy().tobytes())
    # CutMix's own draws, of which the test is told the centre.
    for i, seed in enumerate((1, 2, 3)):
        torch.manual_seed(seed)
        cutmix._dist = type("Fixed", (), {"sample": staticmethod(lambda _=(): torch.tensor([0.4]))})()
        params = cutmix.make_params([batch])
        torch.manual_seed(seed)
        x, y = torch.randint(8, (1,)).item(), torch.randint(6, (1,)).item()
        params.update(shared)
        (folder / f"cutmix_{i}.raw").write_bytes(cutmix.transform(batch, params).numpy().tobytes())
        (folder / f"cutmix_{i}.txt").write_text(f"{y} {x} {float(params['lam_adjusted'])!r}")
    erased = F.erase(batch[0], 1, 2, 3, 4, torch.tensor(0.0))
    (folder / "erased.raw").write_bytes(erased.numpy().tobytes())


if __name__ == "__main__":
    main()
