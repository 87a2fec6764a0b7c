"""Writes torch.export archives, the TorchScript of the same networks, and what PyTorch answers.

usage: make_exported_programs.py FOLDER [NETWORK ...]

NAME.pt2, NAME.pt    one network in both forms (.pt where TorchScript has it with the same layers)
NAME.f32             an input [3, C, H, W], then the values of every tensor of its answer, one after the other
NAME.txt             C H W
refused_NAME.pt2     archives that cannot be run as they are, or that were changed by hand

With networks named those alone; "refused" stands for all that are refused.
"""

import copy
import json
import pathlib
import sys
import warnings
import zipfile

warnings.filterwarnings("ignore")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import kept_builtins  # noqa: E402
import make_models  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils import _pytree  # noqa: E402

kept_builtins.keep_builtins()
BATCH = torch.export.Dim("batch", min=1)


class Small(nn.Module):
    """Two layers for the networks below."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


class Transformer(nn.Module):
    """nn.MultiheadAttention, GroupNorm and LayerNorm; several results in a dictionary."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.groups = nn.GroupNorm(2, 8)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.groups(self.patches(x)).flatten(2).transpose(1, 2)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return {"logits": self.fc(x.mean(1)), "hidden": (x, [x.sum(1), None])}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(24, 6, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x, _ = self.lstm(x.transpose(1, 2).flatten(2))
        return self.fc(x[:, -1])


class Views(nn.Module):
    """Parameters that share their memory: W, its transpose and some of its rows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.same = self.conv
        self.w = nn.Parameter(torch.randn(5, 3))
        self.wt = nn.Parameter(self.w.t())
        self.register_buffer("rows", self.w.detach()[1:3])

    def forward(self, x):
        x = self.same(torch.relu(self.conv(x))).mean((2, 3))
        return F.linear(x, self.w) + x @ self.wt + F.linear(x, self.rows).sum(1, keepdim=True)


class Regions(nn.Module):
    """Layers within `with` blocks."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        with torch.no_grad():
            x = self.conv(x)
            y = x.relu()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = self.conv2(y)
        return self.fc(z.float().mean((2, 3)) + x.mean((2, 3)))


class Sizes(nn.Module):
    """Arithmetic on the size of the batch."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        n = x.shape[0]
        zeros = x.new_zeros(((n * 7 + 3) // 2 + n % 3 - (-n) // 2, 3))
        y = self.fc(x.reshape(n, 3, -1).mean(-1)) * (n / 3) + zeros.sum()
        y = y + torch.sym_max(n, 4) * 0.5 - n + n**2 + x.new_ones(torch.sym_min(n, 7)).sum()
        return y + (n << 1) + torch.sym_float(n) * y.new_full((), n)


class Values(nn.Module):
    """Sizes that depend on values; checks of the network's own."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        y = x.mean((2, 3))
        count = (y > -100).sum().item()
        torch._check(count >= 0)
        torch._check(count < 1000)
        return self.fc(y) + y[y[:, 0] > 0].sum() + x.new_ones(count).sum()


class Constants(nn.Module):
    """Tensors that the code writes out, kept as an attribute, or makes; numbers where tensors are wanted."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)
        self.table = torch.randn(5)
        self.register_buffer("shift", torch.randn(5), persistent=False)

    def forward(self, x):
        y = x.mean((2, 3)) + torch.zeros(2, 3, device=x.device).sum() + torch.arange(3, device="cpu")
        y = y.index_put((torch.tensor([0]),), torch.tensor(3.0))
        y[:, torch.tensor([1, 2])] = y[:, torch.tensor([1, 2])] * 2
        y = torch.where(y > 0, y, 0.5) + torch.full((), 2)
        y = y.masked_fill(y > 1, float("-inf")).clamp(min=-3, max=3.5)
        return self.fc(y) + self.table * 2 + self.shift + torch.tensor([1.0, 2, 3, 4, 5])


class Counts(Small):
    """A buffer that every call changes, and that the answer depends on."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class Alone(nn.Module):
    """Works in place where others still read: those must see it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.conv(x)
        flat = F.dropout(x, 0.5, self.training).flatten(2)  # the same memory
        mean = x.mean((2, 3))
        x.relu_()
        first, second = flat.chunk(2, 1)
        first.mul_(2)
        flat.view(torch.int32).bitwise_and_(-16)
        return self.fc(mean + torch.cat([first, second], 1).mean(2) + x.amax((2, 3)))


class Names(nn.Module):
    """Odd names of modules, and one module by two names."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        self.same = self.block
        for name in ("[x]", "a b/c"):
            self.add_module(name, nn.Conv2d(3, 3, 1))
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        x = self.same(self.block(self.block(x)))
        return self.fc(self.get_submodule("a b/c")(self.get_submodule("[x]")(x)).mean((2, 3)))


class Both(Small):
    def forward(self, x, y):
        return super().forward(x + y)


class Chooses(Small):
    def forward(self, x):
        y = self.conv(x).mean((2, 3))
        return torch.cond(y.sum() > 0, lambda y: self.fc(y), lambda y: self.fc(-y), (y,))


class Trains(Small):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.conv(x)).mean((2, 3))))


# Networks of make_models.py by the size of their images.
SIZES = {"maps": (72, 56), "mapsgrowing": (72, 56)}
SCRIPTED = ("Residual", "Attention", "Windows", "Sequence", "Masked", "Shared", "Mixing", "Pointwise", "Dead", "Maps", "MapsGrowing", "Carried",
            "Products", "Softmaxed", "Functional", "Nested", "Twins", "Tied", "TiedLast", "Overwritten",
            "Tokens", "Defaults", "Dictionary")  # fmt: skip


def export(model, path, shape, **options):
    arguments = options.pop("arguments", (torch.randn(2, *shape),))
    shapes = options.pop("dynamic_shapes", ({0: BATCH},))
    program = torch.export.export(model, arguments, dynamic_shapes=shapes)
    torch.export.save(program, path, **options)


def settled(model):
    """Ready to be used, with statistics in its norms."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def write_answers(folder, name, shape):
    """Of the archive, by PyTorch. Parameters that could be trained take other kernels."""
    model = torch.export.load(folder / f"{name}.pt2").module().requires_grad_(False)
    images = torch.randn(3, *shape)
    with torch.no_grad():
        answer = model(images.clone())
    tensors = [value for value in _pytree.tree_leaves(answer) if isinstance(value, torch.Tensor)]
    data = b"".join(tensor.contiguous().numpy().tobytes() for tensor in (images, *tensors))
    (folder / f"{name}.f32").write_bytes(data)
    (folder / f"{name}.txt").write_text(" ".join(map(str, shape)))


def write_networks(folder, wanted):
    for name in SCRIPTED:
        if wanted and name.lower() not in wanted:
            continue
        torch.manual_seed(7)
        model = settled(getattr(make_models, name)())
        shape = (3, *SIZES.get(name.lower(), (8, 8)))
        export(model, folder / f"{name.lower()}.pt2", shape)
        torch.jit.script(model).save(folder / f"{name.lower()}.pt")
        write_answers(folder, name.lower(), shape)
    for network in (Transformer, Recurrent, Views, Regions, Sizes, Values, Constants, Alone, Names):
        name = network.__name__.lower()
        if wanted and name not in wanted:
            continue
        torch.manual_seed(7)
        model = network().eval().requires_grad_(network is not Alone)  # else its chunks must not change
        export(model, folder / f"{name}.pt2", (3, 8, 8))
        write_answers(folder, name, (3, 8, 8))
        if network is Views:
            torch.jit.script(model).save(folder / f"{name}.pt")
    torch.manual_seed(7)
    export(Counts().eval(), folder / "counts.pt2", (3, 8, 8))
    sides = {0: BATCH, 2: torch.export.Dim("height", min=4, max=64), 3: torch.export.Dim("width", min=4, max=64)}
    export(Small().eval(), folder / "any_size.pt2", (3, 8, 8), dynamic_shapes=(sides,))
    export(Small().eval(), folder / "two_or_more.pt2", (3, 8, 8), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    export(Small().eval(), folder / "card.pt2", (3, 8, 6),
           extra_files={"bitfall.json": json.dumps({"name": "small", "input": [3, 8, 6], "method": "export"})})  # fmt: skip


def changed(folder, source, target, change):
    """A copy of an archive. change(name without its folder, bytes) -> bytes, or None to leave it out."""
    with zipfile.ZipFile(folder / source) as old, zipfile.ZipFile(folder / target, "w") as new:
        for name in old.namelist():
            data = change(name.split("/", 1)[1], old.read(name))
            if data is not None:
                new.writestr(name, data)


def change_json(folder, source, target, record, change):
    def of_record(name, data):
        if name != record:
            return data
        tree = json.loads(data)
        change(tree)
        return json.dumps(tree).encode()

    changed(folder, source, target, of_record)


def write_refused(folder):
    small = Small().eval()
    path = lambda name: folder / f"refused_{name}.pt2"  # noqa: E731
    export(small, path("fixed"), (3, 8, 8), dynamic_shapes=None)
    export(Trains().train(), path("training"), (3, 8, 8))
    export(copy.deepcopy(small).half(), path("half"), (), arguments=(torch.randn(2, 3, 8, 8).half(),))
    export(nn.Linear(3, 5).eval(), path("flat"), (3,))
    two = (torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8))
    export(Both().eval(), path("two"), (), arguments=two, dynamic_shapes=({0: BATCH}, {0: BATCH}))
    export(Chooses().eval(), path("cond"), (3, 8, 8))
    export(small, path("base"), (3, 8, 8))
    program = torch.export.export(small, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: BATCH},))
    torch.export.save(program.run_decompositions(), path("decomposed"))
    twice = torch.export.Dim("half", min=1)
    export(small, path("even"), (), arguments=(torch.randn(4, 3, 8, 8),), dynamic_shapes=({0: 2 * twice},))

    base, model = "refused_base.pt2", "models/model.json"
    weights = "data/weights/model_weights_config.json"

    def vendor(tree):
        tree["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.vendor.swish.default"

    def schema(tree):
        tree["schema_version"]["major"] = 9

    def pickled(tree):
        tree["config"]["fc.bias"]["use_pickle"] = True

    def beyond(tree):
        tree["config"]["fc.bias"]["tensor_meta"]["storage_offset"] = {"as_int": 1}

    change_json(folder, base, "refused_vendor.pt2", model, vendor)
    change_json(folder, base, "refused_schema.pt2", model, schema)
    change_json(folder, base, "refused_pickled.pt2", weights, pickled)
    change_json(folder, base, "refused_beyond.pt2", weights, beyond)
    changed(folder, base, "refused_order.pt2", lambda name, data: b"big" if name == "byteorder" else data)
    changed(folder, base, "refused_table.pt2", lambda name, data: None if name == weights else data)
    changed(folder, base, "refused_models.pt2", lambda name, data: None if name == model else data)
    with zipfile.ZipFile(path("compiled"), "w") as archive:
        archive.writestr("x/archive_format", "pt2")
        archive.writestr("x/data/aotinductor/model/model.so", b"")
    with zipfile.ZipFile(path("old"), "w") as archive:
        archive.writestr("version", "8.5")
        archive.writestr("serialized_exported_program.json", "{}")
    whole = (folder / base).read_bytes()
    path("truncated").write_bytes(whole[: len(whole) // 2])


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_networks(folder, sys.argv[2:])
    if not sys.argv[2:] or "refused" in sys.argv[2:]:
        write_refused(folder)


if __name__ == "__main__":
    main()
