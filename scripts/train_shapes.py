#!/usr/bin/env python3
"""Train the quick start's small convolutional network and export it to TorchScript.

  train_shapes.py runs/quickstart/shapes -o runs/quickstart/shapes.pt

reads FOLDER/train and FOLDER/test (one folder a class, as draw_shapes.py writes them). The file
holds the class names and the preprocessing as bitfall.json.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from export_model import ExportError, export

MEAN, STD = 0.5, 0.25  # of each channel, after scaling to 0..1


class ConvBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(out)))


class ShapesNet(nn.Module):
    """float32 [N, 3, 32, 32] -> logits [N, classes]; 80 000 parameters in seven layers."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem = ConvBlock(3, 16)
        self.down1 = ConvBlock(16, 32, stride=2)
        self.residual = ResidualBlock(32)
        self.down2 = ConvBlock(32, 64, stride=2)
        self.mix = ConvBlock(64, 64)
        self.head = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.residual(self.down1(self.stem(x)))
        x = self.mix(self.down2(x))
        return self.head(x.mean(dim=[2, 3]))


def read_split(folder: Path, classes: list):
    """(images float32 [N, 3, H, W], normalised; labels int64 [N])."""
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*.png")):
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB")))
            labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return ((pixels - MEAN) / STD).contiguous(), torch.tensor(labels)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in images.split(256)])
    return (predicted == labels).float().mean().item()


def train(model: nn.Module, data, test, epochs: int, batch: int) -> None:
    images, labels = data
    steps = epochs * (len(images) // batch)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
    for epoch in range(1, epochs + 1):
        start, total = time.monotonic(), 0.0
        model.train()
        order = torch.randperm(len(images))
        for chosen in order[: len(order) // batch * batch].split(batch):
            part = images[chosen]
            # Every class looks the same in a mirror.
            part = part.flip(3) if torch.rand(()) < 0.5 else part
            part = part.flip(2) if torch.rand(()) < 0.5 else part
            loss = F.cross_entropy(model(part), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(part)
        mean_loss = total / (len(images) // batch * batch)
        right = accuracy(model, *test)
        print(
            f"epoch {epoch:2d}/{epochs}  loss {mean_loss:.3f}  test accuracy {100 * right:.1f} %  "
            f"{time.monotonic() - start:.1f} s",
            flush=True,
        )


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="holds train/ and test/")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="TorchScript file to write"
    )
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    if options.epochs < 1 or options.batch < 2:
        parser.error("--epochs must be at least 1, --batch at least 2")
    classes = sorted(path.parent.name for path in options.folder.glob("train/*/0000.png"))
    if not classes or not all((options.folder / "test" / name).is_dir() for name in classes):
        print(
            f"train_shapes.py: {options.folder} has no train and test folders with images; "
            "run draw_shapes.py first",
            file=sys.stderr,
        )
        return 1
    torch.manual_seed(options.seed)
    data, test = (read_split(options.folder / split, classes) for split in ("train", "test"))
    model = ShapesNet(len(classes))
    print(
        f"training {sum(p.numel() for p in model.parameters())} parameters "
        f"on {len(data[0])} images of {len(classes)} classes; {len(test[0])} for testing"
    )
    train(model, data, test, options.epochs, options.batch)
    facts = {
        "name": "shapes",
        "input": list(data[0].shape[1:]),
        "classes": classes,
        "preprocess": {"mean": [MEAN] * 3, "std": [STD] * 3},
        "weights": {
            "seed": options.seed,
            "epochs": options.epochs,
            "test_accuracy": round(accuracy(model, *test), 4),
        },
        "exported_by": {"torch": torch.__version__},
    }
    try:
        export(model, options.output, facts, methods=("script",))
    except ExportError as error:
        print(f"train_shapes.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
