"""Writes the network and the images of the examples: model.pt, images and training images with the network's own
answers as labels.

usage: make_network.py FOLDER
"""

import json
import pathlib
import sys

import numpy
import torch
from torch import nn


def main(folder):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)
    ).eval()
    rng = numpy.random.default_rng(0)
    images, training = (rng.standard_normal((n, 3, 7, 7)).astype(numpy.float32) for n in (16, 32))
    card = json.dumps({"input": [3, 7, 7], "classes": ["bird", "cat", "deer", "dog", "horse"]})
    torch.jit.save(torch.jit.script(network), str(folder / "model.pt"), _extra_files={"bitfall.json": card})
    for stem, values in (("images", images), ("training", training)):
        with torch.no_grad():
            labels = network(torch.from_numpy(values)).argmax(1).numpy()
        numpy.save(folder / f"{stem}.npy", values)
        numpy.save(folder / f"{stem.removesuffix('s')}_labels.npy", labels)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
