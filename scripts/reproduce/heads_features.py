"""The network's features, the rows of heads, and trained heads put back on the network: what heads.py needs PyTorch for."""

import json
import os
import pathlib

import numpy as np
import torch

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FEATURES = 64


class Last(torch.nn.Module):
    """The last layer alone, over features [N, 64, 1, 1]."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(FEATURES, len(CLASSES))

    def forward(self, x):
        return self.linear(torch.flatten(x, 1))


def features_of(backbone, images):
    """[N, 64]: what the network gives to its last layer."""
    with torch.no_grad():
        x = torch.relu(backbone.bn1(backbone.conv1(images)))
        x = backbone.layer3(backbone.layer2(backbone.layer1(x)))
        return torch.nn.functional.avg_pool2d(x, list(x.shape[2:])).flatten(1)


def load_image(path):
    from PIL import Image

    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    return ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


def make(model, folder, counts, out):
    """Features of training images: the first of each class for training, the last for validation, class by class in turn."""
    out.mkdir(parents=True, exist_ok=True)
    backbone = torch.jit.load(str(model)).eval()
    files = {name: sorted(p for p in (folder / name).iterdir()) for name in CLASSES}
    each = {part: counts[part] // len(CLASSES) for part in ("train", "validation")}
    if min(map(len, files.values())) < sum(each.values()):
        raise SystemExit(
            f"heads.py: {folder} has fewer than {sum(each.values())} images in a class"
        )
    for part in each:
        features, labels = [], []
        chosen = [
            (label, files[name][i if part == "train" else -1 - i])
            for i in range(each[part])
            for label, name in enumerate(CLASSES)
        ]
        for begin in range(0, len(chosen), 500):
            group = chosen[begin : begin + 500]
            images = torch.from_numpy(np.stack([load_image(path) for _, path in group]))
            features.append(features_of(backbone, images).numpy())
            labels += [label for label, _ in group]
        np.save(out / f"{part}.npy", np.concatenate(features).reshape(-1, FEATURES, 1, 1))
        np.save(out / f"{part}_labels.npy", np.array(labels, np.int64))
    (out / "classes.txt").write_text("".join(name + "\n" for name in CLASSES))
    torch.manual_seed(0)
    torch.jit.script(Last()).save(
        str(out / "net.pt"),
        _extra_files={
            "bitfall.json": json.dumps(
                {
                    "schema": "bitfall.model/1",
                    "name": "features",
                    "input": [FEATURES, 1, 1],
                    "classes": CLASSES,
                }
            )
        },
    )
    (out / "done").write_text("")


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def text_rows(folder, out):
    """CIFAR-10's rows of the published embeddings: the mean of the unit rows of the ImageNet classes that stand for a class."""
    with open(folder / "cifar10_from_imagenet.json", encoding="utf-8") as file:
        of = json.load(file)
    for name, source in (
        ("descriptions", "imagenet_gpt3.pth"),
        ("prompt", "imagenet_a-photo-of-a.pth"),
    ):
        rows = torch.load(folder / source, map_location="cpu", weights_only=True)
        if isinstance(rows, dict):
            rows = next(iter(rows.values()))
        rows = unit(rows.float().numpy())
        np.save(out / f"{name}.npy", unit([rows[of[c]].mean(0) for c in CLASSES]))
    (out / "rows").write_text("")


def rows(out, seed, name):
    """`descriptions` and `prompt` are the same for every seed; `unit`, `rotated` and `permuted` are drawn for each."""
    if name in ("descriptions", "prompt"):
        return out / f"{name}.npy"
    folder = out / f"seed{seed}"
    if not (folder / f"{name}.npy").exists():
        text = np.load(out / "descriptions.npy")
        chance = np.random.default_rng(seed)
        made = {"unit": unit(chance.standard_normal(text.shape))}
        made["rotated"] = unit(text @ np.linalg.qr(chance.standard_normal((text.shape[1],) * 2))[0])
        order = chance.permutation(len(text))
        while (order == np.arange(len(text))).any():
            order = chance.permutation(len(text))
        made["permuted"] = text[order]
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in made.items():
            part = folder / f"{key}.part.npy"
            np.save(part, value)
            os.replace(part, folder / f"{key}.npy")
    return folder / f"{name}.npy"


def join(blank, trained, joined):
    """`blank` (the network with an untrained head) with the parameters of the trained head, checked on random features."""
    extra = {"bitfall.json": ""}
    model = torch.jit.load(str(blank), _extra_files=extra)
    head = torch.jit.load(str(trained)).eval()
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in list(head.named_parameters()) + list(head.named_buffers()):
            if own[name].shape != value.shape:
                raise SystemExit(f"heads.py: {trained}: {name} has another shape than in {blank}")
            own[name].copy_(value)
        features = torch.rand(16, FEATURES)
        if not torch.equal(model.linear(features), head(features.reshape(16, FEATURES, 1, 1))):
            raise SystemExit(
                f"heads.py: {joined}: the head on the network answers otherwise than the trained one"
            )
    part = pathlib.Path(f"{joined}.part")
    card = extra["bitfall.json"]
    torch.jit.save(
        model,
        str(part),
        _extra_files={"bitfall.json": card.decode() if isinstance(card, bytes) else card},
    )
    os.replace(part, joined)
