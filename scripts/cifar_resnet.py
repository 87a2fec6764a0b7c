"""He et al.'s ResNets for CIFAR (arXiv:1512.03385, section 4.2) with option-A shortcuts.

Module names are those of the widely used published weights (akamaster/pytorch_resnet_cifar10):
`conv1`, `bn1`, `layer1.0.conv1`, ..., `linear`. A shortcut of option A has no parameters: it takes
every second pixel and pads the new channels with zeros.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Depth -> residual blocks in each of the three stages (depth = 6 n + 2).
DEPTHS = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}


class ZeroPadShortcut(nn.Module):
    """[N, C, H, W] -> [N, C + 2 pad, H/2, W/2]."""

    def __init__(self, pad: int):
        super().__init__()
        self.pad = pad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, ::2, ::2], [0, 0, 0, 0, self.pad, self.pad], "constant", 0.0)


class BasicBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        if stride == 1 and channels_in == channels:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = ZeroPadShortcut((channels - channels_in) // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """float32 [N, 3, 32, 32] -> logits [N, classes]."""

    def __init__(self, blocks: int, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(channels_in, channels, stride)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.avg_pool2d(x, [x.size(2), x.size(3)])
        return self.linear(x.view(x.size(0), -1))


def cifar_resnet(depth: int, classes: int = 10) -> CifarResNet:
    return CifarResNet(DEPTHS[depth], classes)
