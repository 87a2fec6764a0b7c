#!/usr/bin/env python3
"""Writes tiny CIFAR-10, CIFAR-100, STL-10 and Food-101 sets in their authors' layout, and what torchvision reads from them.

usage: make_packed_sets.py FOLDER

FOLDER/SET holds a set, FOLDER/SET_train.raw and FOLDER/SET_test.raw images as torchvision has them ([N, H, W, C] bytes), and
FOLDER/SET_train.txt its labels; of Food-101 FOLDER/food_train.txt: a name and a label per line.
"""

import json
import struct
import sys
from pathlib import Path

import numpy

from make_image_vectors import import_torchvision

import_torchvision()
from PIL import Image
from torchvision import datasets

ROWS = 12
TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
random = numpy.random.default_rng(8)


def pixels(rows, side):
    return random.integers(0, 256, (rows, 3 * side * side), dtype=numpy.uint8)


class Python2Pickle:
    """Opcodes of protocol 2 as Python 2's cPickle writes them: strings of characters, not of Unicode."""

    def __init__(self):
        self.out = b"\x80\x02"

    def text(self, value):
        data = value.encode() if isinstance(value, str) else value
        if len(data) < 256:
            self.out += b"U" + bytes([len(data)]) + data
        else:
            self.out += b"T" + struct.pack("<i", len(data)) + data

    def value(self, value):
        if isinstance(value, numpy.ndarray):
            self.out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
            self.text("b")
            self.out += b"\x87R(K\x01"
            for size in value.shape:
                self.out += b"M" + struct.pack("<H", size)
            self.out += b"\x86cnumpy\ndtype\n"
            self.text("u1")
            self.out += b"K\x00K\x01\x87R(K\x03"
            self.text("|")
            self.out += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            self.text(value.tobytes())
            self.out += b"tb"
        elif isinstance(value, list):
            self.out += b"]("
            for item in value:
                self.value(item)
            self.out += b"e"
        elif isinstance(value, int):
            self.out += b"K" + bytes([value])
        else:
            self.text(value)

    def dictionary(self, items):
        self.out += b"}("
        for key, value in items.items():
            self.text(key)
            self.value(value)
        self.out += b"u."
        return self.out


def pickled(path, items):
    path.write_bytes(Python2Pickle().dictionary(items))


def cifar(folder, fine):
    """Both versions of one set: binary and Python."""
    names = [f"fine {i}" for i in range(100)] if fine else TEN
    binary, python = folder / ("cifar100_bin" if fine else "cifar10_bin"), folder / ("cifar100_py" if fine else "cifar10_py")
    base = python / ("cifar-100-python" if fine else "cifar-10-batches-py")
    binary.mkdir(parents=True)
    base.mkdir(parents=True)
    files = ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name in files:
        data, labels = pixels(ROWS, 32), random.integers(0, len(names), ROWS).tolist()
        coarse = random.integers(0, 20, ROWS).tolist()
        rows = [bytes([c, label] if fine else [label]) + row.tobytes() for c, label, row in zip(coarse, labels, data)]
        (binary / f"{name}.bin").write_bytes(b"".join(rows))
        key = "fine_labels" if fine else "labels"
        pickled(base / name, {"batch_label": name, key: labels, "data": data, "filenames": [f"{i}.png" for i in range(ROWS)]})
    if fine:
        (binary / "fine_label_names.txt").write_text("\n".join(names) + "\n")
        (binary / "coarse_label_names.txt").write_text("coarse\n")
        pickled(base / "meta", {"fine_label_names": names, "coarse_label_names": ["coarse"]})
    else:
        (binary / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
        pickled(base / "batches.meta", {"num_cases_per_batch": ROWS, "label_names": names, "num_vis": 100})
    make = datasets.CIFAR100 if fine else datasets.CIFAR10
    make._check_integrity = lambda self: True
    # The checksums are those of the whole sets.
    import torchvision.datasets.cifar as module
    module.check_integrity = lambda *_: True
    for split in ("train", "test"):
        read = make(python, train=split == "train", download=False)
        for name in (binary.name, python.name):
            (folder / f"{name}_{split}.raw").write_bytes(numpy.ascontiguousarray(read.data).tobytes())
            (folder / f"{name}_{split}.txt").write_text(" ".join(map(str, read.targets)))
    assert read.classes == names


def stl(folder):
    base = folder / "stl10" / "stl10_binary"
    base.mkdir(parents=True)
    (base / "class_names.txt").write_text("\n".join(TEN) + "\n")
    for split in ("train", "test"):
        (base / f"{split}_X.bin").write_bytes(pixels(ROWS, 96).tobytes())
        (base / f"{split}_y.bin").write_bytes(random.integers(1, 11, ROWS, dtype=numpy.uint8).tobytes())
    datasets.STL10._check_integrity = lambda self: True
    for split in ("train", "test"):
        read = datasets.STL10(folder / "stl10", split=split, download=False)
        images = numpy.ascontiguousarray(read.data.transpose(0, 2, 3, 1))
        (folder / f"stl10_{split}.raw").write_bytes(images.tobytes())
        (folder / f"stl10_{split}.txt").write_text(" ".join(str(int(label)) for label in read.labels))


def food(folder):
    base = folder / "food" / "food-101"
    classes = ["apple_pie", "baby_back_ribs", "churros"]
    lists = {"train": [], "test": []}
    for name in classes:
        (base / "images" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(pixels(1, 8).reshape(8, 8, 3)).save(base / "images" / name / f"{1005649 + i}.jpg")
            lists["test" if i == 2 else "train"].append(f"{name}/{1005649 + i}")
    meta = base / "meta"
    meta.mkdir()
    (meta / "classes.txt").write_text("\n".join(classes) + "\n")
    (meta / "labels.txt").write_text("Apple pie\nBaby back ribs\nChurros\n")
    for split, images in lists.items():
        (meta / f"{split}.txt").write_text("\n".join(images) + "\n")
        by_class = {name: [image for image in images if image.startswith(name)] for name in classes}
        (meta / f"{split}.json").write_text(json.dumps(by_class))
        read = datasets.Food101(folder / "food", split=split, download=False)
        rows = [f"{file.relative_to(base / 'images')} {label}" for file, label in zip(read._image_files, read._labels)]
        (folder / f"food_{split}.txt").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for fine in (False, True):
        cifar(folder, fine)
    stl(folder)
    food(folder)
