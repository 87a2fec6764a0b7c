#!/usr/bin/env python3
"""What torchvision makes of pictures and batches at fixed draws, for tests/train/mixing_test.cc.

usage: make_mixing_vectors.py FOLDER

picture.raw [37, 53, 3]; crop_I_FILTER.raw [20, 24, 3] of the boxes below; batch.raw float32 [4, 3, 6, 8], and what MixUp,
CutMix and erasing give of it. words.raw: 32-bit draws; boxes.txt: the boxes that RandomResizedCrop and RandomErasing draw of
them, a line each: kind, height and width of the picture, first word, box (-1 for none).
"""

import sys
from pathlib import Path

import numpy
import torch
from PIL import Image

from make_image_vectors import import_torchvision

import_torchvision()
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as F

BOXES = [(0, 0, 37, 53), (3, 7, 20, 24), (10, 11, 9, 5), (30, 40, 7, 13), (5, 0, 1, 53)]  # top, left, height, width


class Draws:
    """torch's uniform_ and randint, from given words as Bitfall's RandomStream takes them."""

    def __init__(self, words):
        self.words, self.at = words, 0

    def next(self):
        self.at += 1
        return int(self.words[self.at - 1])

    def uniform(self, low, high):
        return torch.tensor(float(low) + (float(high) - float(low)) * (self.next() / 2**32), dtype=torch.float64)

    def randint(self, low, high=None, size=None):
        low, high = (0, low) if high is None else (low, high)
        word = self.next() | self.next() << 32
        return torch.tensor([low + (word * (high - low) >> 64)])


def boxes(folder, random):
    words = random.integers(0, 2**32, 40000, dtype=numpy.uint32)
    (folder / "words.raw").write_bytes(words.tobytes())
    draws = Draws(words)
    torch.Tensor.uniform_, torch.randint, torch.log = draws.uniform, draws.randint, lambda x: x.double().log()
    lines = []
    for i in range(150):
        for kind, height, width in (("crop", 300, 400), ("crop", 32, 32), ("crop", 10, 90), ("erase", 224, 224), ("erase", 9, 7)):
            first = draws.at
            picture = torch.zeros(3, height, width)
            if kind == "crop":
                box = v2.RandomResizedCrop(20).make_params([picture])
                box = [box[name] for name in ("top", "left", "height", "width")]
            else:
                box = transforms.RandomErasing.get_params(picture, (0.02, 0.33), (0.3, 3.3), [0.0])
                box = box[:4] if box[2:4] != (height, width) else [-1] * 4
            lines.append(" ".join(map(str, [kind, height, width, first, *map(int, box)])))
    (folder / "boxes.txt").write_text("\n".join(lines) + "\n")


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
    boxes(folder, random)


if __name__ == "__main__":
    main()
