"""Writes the small TorchScript models that program_test, model_test and engine_test run.

usage: make_models.py FOLDER
"""

import copy
import pathlib
import sys
import warnings
import zipfile
from typing import Optional

import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.conv2(y)
        y += x
        return F.relu(y, inplace=True)


class Residual(nn.Module):
    """In-place ReLU and add, one block, a linear head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layer = nn.Sequential(Block(8), Block(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.layer(self.stem(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Attention(nn.Module):
    """Functional linears, matmuls, a softmax and a layer norm in one module."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, stride=4)
        self.qkv = nn.Parameter(torch.randn(48, 16) * 0.2)
        self.out = nn.Parameter(torch.randn(16, 16) * 0.2)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = F.linear(self.norm(x), self.qkv).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(-2, -1) * 0.25, dim=-1)
        x = x + F.linear(weights @ v, self.out)
        return self.head(x.mean(1))


class Encoder(nn.Module):
    """PyTorch's own transformer layer, which runs fused in inference."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, stride=2)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.layer(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class Windows(nn.Module):
    """Folds windows of the map into the first dimension, as Swin does: four slabs per image."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 1)
        self.inside = nn.Linear(8, 8)
        self.mix = nn.Linear(16, 16)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.patch(x)
        n, c, h, w = x.shape
        y = x.view(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 3, 5, 1)
        y = torch.relu(self.inside(y.reshape(n * 4, h * w // 4, c)))
        y = self.mix(y.transpose(1, 2)).transpose(1, 2)
        y = y.reshape(n, 2, 2, h // 2, w // 2, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        return self.fc(torch.relu(self.conv(x + y)).mean((2, 3)))


class Sequence(nn.Module):
    """Puts the sequence first, as attention does: the images lie in the second dimension, with heads, or among tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 2, stride=2)
        self.inside = nn.Linear(8, 12)
        self.heads = nn.Linear(6, 6)
        self.mix = nn.Linear(12, 8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.embed(x)
        n, c, h, w = x.shape
        s = torch.relu(self.inside(x.flatten(2).permute(2, 0, 1)))
        s = torch.tanh(self.heads(s.reshape(h * w, n * 2, 6)))
        s = self.mix(s.reshape(h * w * n, 12)).reshape(h * w, n, c)
        y = s.permute(1, 2, 0).reshape(n, c, h, w)
        return self.fc(torch.relu(self.conv(x + y)).mean((2, 3)))


class Masked(nn.Module):
    """Builds a mask in place, as Swin does, and uses it late."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        mask = x.new_zeros((x.size(2), x.size(3)))
        count = 0
        for rows in ((0, 3), (3, 8)):
            for columns in ((0, 5), (5, 8)):
                mask[rows[0]:rows[1], columns[0]:columns[1]] = count
                count += 1
        x = self.conv(x) + mask
        mask.mul_(0.5)
        x = self.conv2(x) * mask
        return self.fc(x.mean((2, 3)))


class Branches(nn.Module):
    """Conditionals on shapes and on values, a loop over modules, a data-dependent loop."""

    def __init__(self):
        super().__init__()
        self.small = nn.Conv2d(3, 4, 1)
        self.large = nn.Conv2d(3, 4, 3, padding=1)
        self.steps = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
        self.positive = nn.Linear(4, 5)
        self.negative = nn.Linear(4, 5)

    def forward(self, x):
        if x.size(2) > 4 and x.dim() == 4:
            x = self.large(x)
        else:
            x = self.small(x)
        for step in self.steps:
            x = torch.relu(step(x))
        total = x.mean((2, 3))
        rounds = 0
        while bool(total.abs().max() < 3.0) and rounds < 4:
            total = total * 1.5
            rounds += 1
        if bool(total.sum() > 0):
            return self.positive(total)
        return self.negative(total)


class Shared(nn.Module):
    """One convolution called twice, and one tensor under two parameter names."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(3, 5)

    def forward(self, x):
        x = self.conv(torch.relu(self.conv(x))).mean((2, 3))
        return self.head(self.second(torch.relu(self.first(x))))


class Mixing(nn.Module):
    """Subtracts the batch's mean: what follows depends on the other images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        return self.fc(x - x.mean(0))


class Pair(nn.Module):
    """Returns a tuple, logits first."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        x = x.mean((2, 3))
        return self.fc(x), x


class Pointwise(nn.Module):
    """Nothing but element-wise arithmetic: no kernel whose last bits depend on the batch."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.37))

    def forward(self, x):
        x = torch.relu(x * self.scale + 0.01)
        return (x * x)[:, :, 1, 2:7].flatten(1)[:, 5:10]


class Dead(nn.Module):
    """A branch that comes to nothing: a finite fault in it must leave no trace."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.dead = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return self.fc((y + torch.relu(self.dead(x)) * 0.0).mean((2, 3)))


class Maps(nn.Module):
    """Every kind of step that works on maps neighbourhood by neighbourhood, then one that does not."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.bn = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.point = nn.Conv2d(16, 16, 1)
        self.tall = nn.Conv2d(16, 16, (3, 1), stride=2, padding=(1, 0))
        self.short = nn.Conv2d(16, 16, 1, stride=2, bias=False)
        self.scale = nn.Parameter(torch.randn(16, 1, 1))
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.gate = nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.hardswish(self.bn(self.stem(x)))
        y = F.max_pool2d(self.grouped(x), 3, 2, 1)
        z = F.avg_pool2d(F.pad(x, (1, 0, 0, 1)), 3, 2, 1)[:, :, :18, :14]
        x = F.relu(self.point(torch.cat([y, z], 1)))
        x = self.tall(x) + self.short(x) + F.pad(x[:, 4:12, ::2, ::2], (0, 0, 0, 0, 4, 4))
        x = F.gelu(self.last(F.leaky_relu(x, 0.1) * self.scale))
        x = F.dropout(x, 0.5, self.training)
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        return self.fc(x.mean((2, 3)))


class MapsWide(nn.Module):
    """Kernels of 1x1 over so many channels that how they are summed depends on rows, threads and the size of maps."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.widen = nn.Conv2d(16, 1024, 1)
        self.stride = nn.Conv2d(1024, 48, 1, stride=2, bias=False)
        self.around = nn.Conv2d(48, 48, 3, padding=1)
        self.again = nn.Conv2d(48, 1024, 1)
        self.narrow = nn.Conv2d(1024, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.dilated = nn.Conv2d(32, 32, 3, padding=2, dilation=2)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = F.gelu(self.widen(self.stem(x)))
        x = F.gelu(self.around(self.stride(x)))
        x = self.narrow(F.gelu(self.again(x)))
        return self.fc(self.dilated(F.gelu(self.depthwise(x))).mean((2, 3)))


class MapsGrowing(nn.Module):
    """A list that grows while layers read it (DenseNet), and steps that write in place to views that
    nothing else reads (GhostNet, EfficientNet)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(4 * i, 4, 3, padding=1) for i in (1, 2, 3))
        self.point = nn.Conv2d(16, 8, 1)
        self.cheap = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.short = nn.Conv2d(4, 12, 1)
        self.last = nn.Conv2d(12, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        maps = [self.stem(x)]
        for layer in self.layers:
            maps.append(F.relu(layer(torch.cat(maps, 1))))
        x = self.point(torch.cat(maps, 1))
        x = torch.cat([x, self.cheap(x)], 1)[:, :12]
        x += self.short(maps[0])
        x *= torch.sigmoid(x)
        x = F.gelu(self.last(x)).mean((2, 3), keepdim=True).flatten(1)
        return self.fc(F.dropout(x, 0.2, self.training, inplace=True))


class Held(nn.Module):
    """A step that writes in place to what a list within a list holds, which is read later."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.conv(x)
        maps = [x, torch.sigmoid(x)]
        nested = [maps, maps]
        y = self.conv2(F.relu_(x))
        return self.fc((torch.cat(nested[x.dim() - 4], 1) * torch.cat([y, x], 1)).mean((2, 3)))


class Carried(nn.Module):
    """Carries a list of maps and one integer an image past convolutions."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv3 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        index = x.mean((2, 3)).argmax(1)
        parts = torch.split(x, [2, 2], 1)
        x = F.relu(self.conv2(x))
        x = self.conv3(x) + torch.cat(parts, 1)
        return self.fc(x.mean((2, 3)) + F.one_hot(index, 4).float())


class Products(nn.Module):
    """Every operation that multiplies and accumulates and that the others do not have; one on no image."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 3, stride=2, groups=1)
        self.along = nn.Conv1d(4, 8, 3, groups=2)
        self.position = nn.Linear(2, 8)
        self.weight = nn.Parameter(torch.randn(8, 6))
        self.bias = nn.Parameter(torch.randn(6))
        self.register_buffer("table", torch.randn(5, 2))

    def forward(self, x):
        x = self.along(self.up(x).flatten(2)).transpose(1, 2)  # [batch, tokens, 8]
        x = F.scaled_dot_product_attention(x, x[:, :7], x[:, :7])
        near = torch.einsum("b i d, j d -> b i j", x, self.position(self.table))
        near = torch.baddbmm(near, x, x[:, :5].transpose(1, 2))
        x = torch.bmm(near.transpose(1, 2), x)
        return torch.addmm(self.bias, x.mean(1), self.weight) + torch.mm(x.sum(1), self.weight)


class Softmaxed(nn.Module):
    """An answer that is computed of the last linear layer's."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 5)

    def forward(self, x):
        return self.fc(x.flatten(1)).softmax(1)


class Functional(nn.Module):
    """A last linear layer that is no module of its own."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(5, 192))

    def forward(self, x):
        return F.linear(x.flatten(1), self.rows)


class Nested(nn.Module):
    """A last linear layer within a sequence, with dropout before it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(192, 8)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 5))

    def forward(self, x):
        return self.classifier(self.features(x.flatten(1)))


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(x)


class Twins(nn.Module):
    """Two modules of one type, of which the answer is the second's."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(192, 8)
        self.left = Half()
        self.right = Half()

    def forward(self, x):
        x = self.features(x.flatten(1))
        return self.right(x + self.left(x).mean())


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 192, bias=False)
        self.second = nn.Linear(192, 192, bias=False)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(192, 5)

    def forward(self, x):
        return self.fc(F.relu(self.second(F.relu(self.first(x.flatten(1))))))


class Repeated(nn.Module):
    """A last linear layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(192, 5)
        self.fc = nn.Linear(5, 5)

    def forward(self, x):
        return self.fc(F.relu(self.fc(self.features(x.flatten(1)))))


class TiedLast(nn.Module):
    """A last linear layer with the weight of the one before it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(192, 5)
        self.before = nn.Linear(5, 5)
        self.fc = nn.Linear(5, 5)
        self.fc.weight = self.before.weight

    def forward(self, x):
        return self.fc(F.relu(self.before(self.features(x.flatten(1)))))


class Cut(nn.Module):
    """An answer that is a part of its last linear layer's output."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 5)

    def forward(self, x):
        return self.fc(x.flatten(1))[:, :3]


class Overwritten(nn.Module):
    """An answer one column of which is set."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 5)

    def forward(self, x):
        logits = self.fc(x.flatten(1))
        logits[:, 0] = 0.0
        return logits


class Tokens(nn.Module):
    """A last linear layer on all tokens, of which the first answers."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.patches(x).flatten(2).transpose(1, 2))[:, 0]


class Exported(nn.Module):
    """A further method that reads the last linear layer's weight."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(192, 8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.features(x.flatten(1)))

    @torch.jit.export
    def width(self) -> int:
        return self.fc.weight.size(1)


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return (x + y).flatten(1)


class Defaults(nn.Module):
    """Written as ViTs are: further inputs with defaults, and a message that is never shown."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4 * 36, 5)

    def forward(self, x, mask: Optional[torch.Tensor] = None, scale: float = 2.0):
        height = x.shape[2]
        torch._assert(height == 8, f"Wrong height! Expected {8} but got {height}!")
        x = self.conv(x) * scale
        if mask is not None:
            x = x * mask
        return self.fc(x.flatten(1))


class Dictionary(nn.Module):
    def forward(self, x):
        return {"logits": x.flatten(1)}


class FeatureMap(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for network in (Residual, Attention, Encoder, Windows, Sequence, Masked, Branches, Shared, Mixing, Pair, Pointwise, Dead, Maps, MapsWide, MapsGrowing, Held, Carried,
                    Products, Softmaxed, Functional, Nested, Twins, Tied, Repeated, TiedLast, Cut,
                    Overwritten, Tokens, Exported, TwoInputs, Defaults, Dictionary, FeatureMap):
        torch.manual_seed(7)
        model = network()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        model.eval()
        torch.jit.script(model).save(folder / f"{network.__name__.lower()}.pt")
        if network in (Residual, Attention, Maps):
            size = (72, 56) if network is Maps else (8, 8)
            traced = torch.jit.trace(model, torch.randn(2, 3, *size))
            traced.save(folder / f"{network.__name__.lower()}_traced.pt")
        if network is Residual:
            torch.jit.script(copy.deepcopy(model).half()).save(folder / "residual_half.pt")
            torch.jit.script(copy.deepcopy(model).double()).save(folder / "residual_double.pt")
        if network is Maps:
            model = model.to(memory_format=torch.channels_last)
            torch.jit.script(model).save(folder / "maps_last.pt")
    torch.save({"weight": torch.zeros(3)}, folder / "state_dict.pt")
    whole = (folder / "residual.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(folder / "residual.pt") as archive:
        weight = next(entry for entry in archive.infolist() if "/data/" in entry.filename)
    names = len(weight.filename) + int.from_bytes(whole[weight.header_offset + 28 :][:2], "little")
    start = weight.header_offset + 30 + names
    flipped = bytearray(whole)
    flipped[start] ^= 0x10
    (folder / "flipped.pt").write_bytes(flipped)
    (folder / "text.pt").write_text("this is no model\n")


if __name__ == "__main__":
    main()
