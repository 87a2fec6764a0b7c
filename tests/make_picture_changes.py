#!/usr/bin/env python3
"""What torchvision's TrivialAugmentWide makes of pictures, for tests/train/trivial_augment_test.cc.

usage: make_picture_changes.py FOLDER

strengths.txt: a line per change, in its order: the strength of each of 31 steps. pictures.txt: width, height and channels of
each picture; pictures.raw their pixels. changed.raw: of each picture, interpolation (nearest, bilinear, bicubic), change, step of
STEPS and sign (+, -; both for all) the changed pixels.
"""

import sys
from pathlib import Path

import numpy
from PIL import Image

from make_image_vectors import import_torchvision

import_torchvision()
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import TrivialAugmentWide, _apply_op

STEPS = [0, 1, 4, 9, 14, 15, 20, 27, 30]  # 20: a quarter turn


def pictures():
    random = numpy.random.default_rng(6)
    yield random.integers(0, 256, (23, 31, 3), dtype=numpy.uint8)
    y, x = numpy.mgrid[0:20, 0:20]
    yield numpy.stack([40 + 5 * x + y, 90 + x * y // 4, 200 - 3 * x], 2).astype(numpy.uint8)  # square, of little contrast
    yield random.integers(30, 180, (19, 14), dtype=numpy.uint8)
    yield numpy.full((5, 7, 3), 77, dtype=numpy.uint8)
    yield random.integers(0, 256, (2, 9, 3), dtype=numpy.uint8)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    space = TrivialAugmentWide()._augmentation_space(31)
    strengths = {name: [float(values[i].item()) if values.ndim else 0.0 for i in range(31)]
                 for name, (values, _) in space.items()}
    (folder / "strengths.txt").write_text("".join(
        name + " " + " ".join(map(repr, values)) + "\n" for name, values in strengths.items()))
    sizes, pixels, changed = [], [], []
    for array in pictures():
        sizes.append(f"{array.shape[1]} {array.shape[0]} {array.size // array.shape[0] // array.shape[1]}\n")
        pixels.append(array.tobytes())
        for mode in (InterpolationMode.NEAREST, InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
            for name, values in strengths.items():
                for step in STEPS:
                    for sign in (1.0, -1.0):
                        signed = sign if space[name][1] else 1.0
                        made = _apply_op(Image.fromarray(array), name, signed * values[step], mode, None)
                        changed.append(numpy.asarray(made).tobytes())
    (folder / "pictures.txt").write_text("".join(sizes))
    (folder / "pictures.raw").write_bytes(b"".join(pixels))
    (folder / "changed.raw").write_bytes(b"".join(changed))


if __name__ == "__main__":
    main()
