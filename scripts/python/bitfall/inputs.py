"""Live models and data as the files that the program reads."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

from .program import Error

# Models --------------------------------------------------------------------------------------------


def write_model(model: Any, folder: Path, images: Any) -> str:
    """The model as a file: a path stays one; a module is saved in `folder` as it answers in eval mode.

    images: a batch [N,C,H,W] that it is tried on, or None.
    """
    if isinstance(model, (str, os.PathLike)):
        return os.path.abspath(model)
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        torch.export.save(model, folder / "model.pt2")
        return "model.pt2"
    if not isinstance(model, torch.nn.Module):
        raise Error(f"{type(model).__name__} is not a model: give an nn.Module, a ScriptModule or a path", 2)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # TorchScript's announcements of its end, tracer's guesses
            script = model if isinstance(model, torch.jit.ScriptModule) else _script(model, images)
            torch.jit.save(script, str(folder / "model.pt"))
    finally:
        for module, training in modes:
            module.training = training
    return "model.pt"


def _script(model: Any, images: Any) -> Any:
    """Scripted, or traced where that fails, and of equal answers."""
    import torch

    if any(value.device.type != "cpu" for value in [*model.parameters(), *model.buffers()]):
        import copy

        model = copy.deepcopy(model).cpu()
    try:
        script = torch.jit.script(model)
    except Exception as refusal:  # what a script cannot hold is raised in many types
        if images is None:
            raise Error(f"{type(model).__name__} cannot be scripted, and there are no images here to trace "
                        f"it with; give data as tensors, or save it yourself: {refusal}", 4) from refusal  # fmt: skip
        script = torch.jit.trace(model, images, check_trace=False)
    if images is not None:
        _check_answers(model, script, images)
    return script


def _check_answers(model: Any, script: Any, images: Any) -> None:
    import torch

    for batch in (images, images[:1]):
        wanted, got = _tensors(model(batch)), _tensors(script(batch))
        alike = len(wanted) == len(got) and all(
            a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4, equal_nan=True)
            for a, b in zip(wanted, got)
        )
        if not alike:
            raise Error(
                f"{type(model).__name__}: as TorchScript it answers {len(batch)} images otherwise than in "
                "Python, or at random; save it yourself with torch.jit.trace or torch.export and give the path",
                4,
            )


def _tensors(answer: Any) -> list:
    if isinstance(answer, (tuple, list)):
        return [tensor for part in answer for tensor in _tensors(part)]
    if isinstance(answer, Mapping):
        return [tensor for part in answer.values() for tensor in _tensors(part)]
    return [answer] if hasattr(answer, "shape") else []


# Data ----------------------------------------------------------------------------------------------


class _ArrayFile:
    """An .npy file of [N, ...] that is written part by part; N is known at the end."""

    _HEADER = 128

    def __init__(self, path: Path) -> None:
        self.file = open(path, "wb")
        self.file.write(b" " * self._HEADER)
        self.dtype: Any = None
        self.shape: Optional[tuple] = None
        self.rows = 0

    def add(self, rows: Any) -> None:
        if self.shape is None:
            self.dtype, self.shape = rows.dtype, rows.shape[1:]
        elif (rows.dtype, rows.shape[1:]) != (self.dtype, self.shape):
            raise Error(f"image {self.rows} is {list(rows.shape[1:])} of {rows.dtype}, those before are "
                        f"{list(self.shape)} of {self.dtype}; all must be alike", 4)  # fmt: skip
        self.file.write(rows.tobytes())
        self.rows += len(rows)

    def close(self) -> None:
        if self.dtype is None:
            self.file.close()
            return
        shape = (self.rows, *(self.shape or ()))
        facts = f"{{'descr': '{self.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
        text = b"\x93NUMPY\x01\x00" + (self._HEADER - 10).to_bytes(2, "little")
        self.file.seek(0)
        self.file.write(text + facts.encode().ljust(self._HEADER - 11) + b"\n")
        self.file.close()


def _array(value: Any) -> Any:
    """A tensor or anything array-like as a NumPy array on the CPU."""
    import numpy

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if value.dtype.is_floating_point:
            value = value.float()  # bfloat16 has no NumPy type
        value = value.numpy()
    return numpy.asarray(value)


def _image_array(value: Any) -> Any:
    import numpy

    images = _array(value)
    if images.dtype == object or images.dtype.kind not in "fiub":
        raise Error(
            f"data: images are {type(value).__name__}, not numbers; give the data set a transform that makes "
            "tensors (torchvision.transforms.ToTensor()), or give the folder itself",
            4,
        )
    if images.dtype != numpy.uint8:
        images = images.astype(numpy.float32)
    return numpy.ascontiguousarray(images)


def _batches(data: Any) -> Iterator[tuple]:
    """Pairs ([N,C,H,W], [N]) of all that may be given as data, walked once."""
    import numpy
    import torch.utils.data

    if isinstance(data, (tuple, list)) and len(data) == 2 and hasattr(data[0], "shape"):
        yield data[0], data[1]
        return
    loader = isinstance(data, torch.utils.data.DataLoader)
    if not loader and hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        items: Any = (data[i] for i in range(len(data)))  # a data set need not be iterable
    else:
        items = iter(data)
    for item in items:
        if isinstance(item, Mapping):  # as those of the library `datasets` are
            image = next((item[k] for k in ("image", "img", "pixel_values", "images") if k in item), None)
            label = next((item[k] for k in ("label", "labels", "fine_label") if k in item), None)
            item = (image, label)
        if not isinstance(item, (tuple, list)) or len(item) < 2 or item[0] is None or item[1] is None:
            raise Error(f"data: an item is {type(item).__name__}, not an image and its label", 4)
        image, label = item[0], item[1]
        if loader or getattr(image, "ndim", 0) == 4:
            yield image, label
        else:
            yield _image_array(image)[numpy.newaxis], numpy.asarray([int(label)])


class Data:
    """What [data] says of the files, and some images to try the model on."""

    def __init__(self, keys: dict, example: Any = None) -> None:
        self.keys = keys
        self.example = example


def write_data(data: Any, folder: Path) -> Data:
    """Images in memory become .npy files in `folder`: float32 as the network takes them (no scaling), or
    uint8 with the usual scale 1/255."""
    import numpy

    images = _ArrayFile(folder / "images.npy")
    try:
        labels, example = _copy(data, images)
    finally:
        images.close()
    numpy.save(folder / "labels.npy", numpy.concatenate(labels))
    keys: dict = {"path": "images.npy", "labels": "labels.npy"}
    if images.dtype == numpy.float32:
        keys["preprocess"] = {"scale": 1.0}
    return Data(keys, _as_tensor(example))


def _copy(data: Any, images: _ArrayFile) -> tuple:
    """(labels, some images); checks all that there is to check."""
    import numpy

    labels: list = []
    example = None
    for image, label in _batches(data):
        rows = _image_array(image)
        if rows.ndim != 4:
            raise Error(f"data: images are {list(rows.shape)}; [N, C, H, W] is expected", 4)
        images.add(rows)
        labels.append(_label_array(label))
        if len(labels[-1]) != len(rows):
            raise Error(f"data: {len(rows)} images and {len(labels[-1])} labels", 4)
        if example is None:
            example = rows[:2].astype(numpy.float32) / (255 if rows.dtype == numpy.uint8 else 1)
    if images.rows == 0:
        raise Error("data: there is not one image in it", 4)
    return labels, example


def _label_array(label: Any) -> Any:
    import numpy

    labels = _array(label)
    if labels.dtype.kind == "f" and not numpy.all(labels == numpy.floor(labels)):
        raise Error("data: labels are not whole numbers", 4)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise Error(f"data: labels are {list(labels.shape)}; one whole number per image is expected "
                    "(where each row has one number per class, give labels.argmax(1))", 4)  # fmt: skip
    return labels.astype(numpy.int64)


def _as_tensor(example: Any) -> Any:
    if example is None:
        return None
    import torch

    tensor = torch.from_numpy(example)
    return tensor if len(tensor) > 1 else torch.cat([tensor, tensor])


def write_classes(classes: Any, folder: Path) -> Any:
    """A list of names as a file; a path stays one."""
    if isinstance(classes, (str, os.PathLike)):
        return os.path.abspath(classes)
    import json

    (folder / "classes.json").write_text(json.dumps(list(classes), ensure_ascii=False), encoding="utf-8")
    return "classes.json"
