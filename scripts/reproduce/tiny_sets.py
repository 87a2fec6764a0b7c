#!/usr/bin/env python3
"""Tiny image sets in their authors' layouts, for miniatures of the tables: noise around a colour per class.

usage: tiny_sets.py FOLDER imagenet|packed

imagenet: FOLDER/imagenet/train and val, a folder per WordNet id. packed: cifar-10-batches-bin, cifar-100-binary, stl10_binary and
food-101.
"""

import sys
from pathlib import Path

import numpy
from PIL import Image

random = numpy.random.default_rng(7)
TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def picture(label, height, width):
    colour = numpy.random.default_rng(label).integers(40, 216, 3)
    return numpy.clip(colour + random.normal(0, 25, (height, width, 3)), 0, 255).astype(numpy.uint8)


def save(path, label, side=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(label, side, side + label)).save(path, "JPEG", quality=90)


def imagenet(folder):
    ids = ["n01440764", "n01443537", "n01751748", "n02123045", "n03594945"]
    for label, name in enumerate(ids):
        for i in range(4):
            save(folder / "imagenet/train" / name / f"{name}_{i}.JPEG", label)
        for i in range(2):
            save(folder / "imagenet/val" / name / f"ILSVRC2012_val_{10 * label + i:08}.JPEG", label)


def rows(labels, side, columns_first=False):
    """Pixels by channel, a row per image."""
    order = (2, 1, 0) if columns_first else (2, 0, 1)
    return [picture(label, side, side).transpose(order).tobytes() for label in labels]


def cifar(folder, name, names, names_file, files, coarse):
    base = folder / name
    base.mkdir(parents=True, exist_ok=True)
    for file in files:
        labels = [int(i) for i in random.integers(0, min(len(names), 5), 8)]
        head = [bytes([0, label] if coarse else [label]) for label in labels]
        (base / file).write_bytes(b"".join(h + row for h, row in zip(head, rows(labels, 32))))
    (base / names_file).write_text("\n".join(names) + "\n")


def packed(folder):
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    cifar(folder, "cifar-10-batches-bin", TEN, "batches.meta.txt", batches, False)
    cifar(folder, "cifar-100-binary", [f"class_{i}" for i in range(100)], "fine_label_names.txt", ["train.bin", "test.bin"], True)
    stl = folder / "stl10_binary"
    stl.mkdir(parents=True, exist_ok=True)
    (stl / "class_names.txt").write_text("\n".join(TEN) + "\n")
    for split, count in (("train", 12), ("test", 6)):
        labels = [i % 5 for i in range(count)]
        (stl / f"{split}_X.bin").write_bytes(b"".join(rows(labels, 96, True)))
        (stl / f"{split}_y.bin").write_bytes(bytes(label + 1 for label in labels))
    food = folder / "food-101"
    names, lists = ["apple_pie", "baby_back_ribs", "churros", "donuts"], {"train": [], "test": []}
    for label, name in enumerate(names):
        for i in range(6):
            save(food / "images" / name / f"{1000 + i}.jpg", label, 64)
            lists["test" if i >= 4 else "train"].append(f"{name}/{1000 + i}")
    (food / "meta").mkdir(exist_ok=True)
    (food / "meta/classes.txt").write_text("\n".join(names) + "\n")
    for split, images in lists.items():
        (food / f"meta/{split}.txt").write_text("\n".join(images) + "\n")


if __name__ == "__main__":
    {"imagenet": imagenet, "packed": packed}[sys.argv[2]](Path(sys.argv[1]))
