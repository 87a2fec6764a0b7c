#!/usr/bin/env python3
"""Write the quick start's small convolutional network, untrained, as TorchScript.

  shapes_net.py -o runs/quickstart/shapes.pt --seed 1

The file holds the class names and the preprocessing as bitfall.json. `bitfall head attach` gives it
its last layer, `bitfall train` trains it.
"""

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from draw_shapes import CLASSES, SIZE

sys.path.append(str(Path(__file__).resolve().parent.parent))
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


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="TorchScript file to write"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random weights (default 1)")
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    facts = {
        "name": "shapes",
        "input": [3, SIZE, SIZE],
        "classes": CLASSES,
        "preprocess": {"mean": [MEAN] * 3, "std": [STD] * 3},
        "weights": {"seed": options.seed},
        "exported_by": {"torch": torch.__version__},
    }
    try:
        export(ShapesNet(len(CLASSES)), options.output, facts, methods=("script",))
    except ExportError as error:
        print(f"shapes_net.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
