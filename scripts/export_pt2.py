"""Networks as torch.export archives (.pt2) that `bitfall` reads: a Python module, for export_model.py.

    export_pt2.export_pt2(model, [3, 224, 224], "model.pt2")

The batch stays free, from one image on: numbers in such an archive hold for the sizes that it was
exported with.
"""

import json
from pathlib import Path
from typing import Callable, Optional

import torch
from torch import nn


def convert(model: nn.Module, size: list) -> torch.export.ExportedProgram:
    """The network as calls of operators, for images [any, *size]."""
    # Two images: with one, torch.export would take the batch for a constant.
    images = (torch.randn(2, *size),)
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(model, images, dynamic_shapes=({0: batch},))


def save(program: torch.export.ExportedProgram, path: Path, card: str) -> None:
    """`card`: the archive's bitfall.json."""
    with open(path, "wb") as file:
        torch.export.save(program, file, extra_files={"bitfall.json": card})


def load(path: Path) -> Callable:
    """A function from images to the network's answer."""
    with open(path, "rb") as file:
        return torch.export.load(file).module()


def export_pt2(model: nn.Module, input_shape: list, path, card: Optional[dict] = None) -> None:
    """Writes `model` for images of input_shape ([C, H, W]). `card` is what the file says of itself
    (`name`, `classes`, `preprocess`, ...). Throws RuntimeError where what was written gives another
    answer than the model."""
    path, model = Path(path), model.eval()
    facts = {"schema": "bitfall.model/1", **(card or {}), "input": list(input_shape), "method": "export"}
    save(convert(model, input_shape), path, json.dumps(facts, indent=1))
    loaded = load(path)
    for batch in (1, 3):
        images = torch.randn(batch, *input_shape)
        with torch.no_grad():
            torch.testing.assert_close(loaded(images), model(images), equal_nan=True, msg=lambda text: (
                f"{path}: its answer is not the model's: {text}"))  # fmt: skip
