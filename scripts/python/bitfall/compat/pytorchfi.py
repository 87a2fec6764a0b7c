"""PyTorchFI's declarations, run by Bitfall: change the import, keep the script.

    from bitfall.compat.pytorchfi import fault_injection     # was: from pytorchfi.core import ...
    injector = fault_injection(model, batch_size=4, input_shape=[3, 224, 224], layer_types=[nn.Conv2d])
    corrupted = injector.declare_neuron_fi(batch=[0], layer_num=[2], dim1=[5], dim2=[7], dim3=[7], value=[1e6])
    logits = corrupted(images)

Layers are numbered as in PyTorchFI 0.6.0: for neurons in the order in which they are called, for
weights in the order of `model.modules()`. The same faults give the same logits.

What cannot be told: `function=` (any Python in a hook; use an error model, or a plugin), and places
in several layers that meet one image (a fault of Bitfall has one site). Both raise bitfall.Error.
"""

from __future__ import annotations

import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any, Optional, Sequence

from ..program import Error, call_json

_HEADER = "fault,site,image,target,element,register,op,mask\n"


def _bits(value: float) -> str:
    """A float32 as the list writes it."""
    return f"0x{struct.unpack('<I', struct.pack('<f', value))[0]:08x}"


def _flat(place: Sequence[Optional[int]], shape: Sequence[int]) -> int:
    """The element's number in an array of this shape, as Python indexes it."""
    element = 0
    for axis, size in enumerate(shape):
        index = place[axis] if axis < len(place) else None
        if index is None or not -size <= index < size:
            raise Error(f"{tuple(place)}: lies outside {list(shape)} (dimension {axis + 1})", 2)
        element = element * size + index % size
    return element


class CorruptedModel:
    """What a declaration returns: called with the batch, it gives the logits."""

    def __init__(self, injector: "fault_injection", target: str, faults: list):
        self._injector = injector
        self._target = target
        self._faults = faults  # (row of the batch, or None for all; layer; element; value)
        self.run: Any = None  # of the last call, while its folder is there

    def fault_list(self, rows: int) -> str:
        """The faults as a list for `bitfall run --faults`, on a batch of so many images."""
        lines = [_HEADER]
        for row in range(rows):
            hit = [fault for fault in self._faults if fault[0] in (None, row)]
            layers = sorted({layer for _, layer, _, _ in hit})
            if len(layers) > 1:
                raise Error(f"image {row} is hit in layers {layers} at once; a fault of Bitfall has one "
                            "site: declare one layer for each image", 2)  # fmt: skip
            for _, layer, element, value in hit:
                site = self._injector.site(self._target, layer)
                lines.append(f"{row},{site},{row},{self._target},{element},payload,value,{_bits(value)}\n")
            if not hit:  # the image as it is: a fault that changes nothing
                site = self._injector.any_site()
                lines.append(f"{row},{site},{row},activation,0,payload,multiply,{_bits(1.0)}\n")
        return "".join(lines)

    def __call__(self, images: Any) -> Any:
        import torch

        import bitfall

        injector = self._injector
        if len(images) != injector.get_total_batches():
            raise Error(f"{len(images)} images, where the batch was declared to be "
                        f"{injector.get_total_batches()}", 2)  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            faults = Path(folder) / "faults.csv"
            faults.write_text(self.fault_list(len(images)))
            run = bitfall.run(
                injector.original_model, (images, torch.zeros(len(images), dtype=torch.int64)),
                output=Path(folder) / "run", fault_list=faults, progress=False,
                format="fp32", hit_value="raw", batch=len(images), threads=torch.get_num_threads(), workers=1,
                metrics=[{"id": "logits", "classes": injector.classes}],
            )  # fmt: skip
            names = ", ".join(f"logit_{i}" for i in range(injector.classes))
            rows = run.sql(f"SELECT {names} FROM v_trials ORDER BY trial")
        nan = float("nan")
        return torch.tensor([[nan if v is None else v for v in row.values()] for row in rows])

    def eval(self) -> "CorruptedModel":
        return self


class fault_injection:
    """PyTorchFI's class of that name (0.6.0), with what describes and declares faults."""

    def __init__(
        self,
        model: Any,
        batch_size: int,
        input_shape: Optional[list] = None,
        layer_types: Optional[list] = None,
        **_: Any,
    ):
        from torch import nn

        self.original_model = model
        self._batch_size = batch_size
        self._input_shape = list(input_shape or [3, 224, 224])
        self._layer_types = list(layer_types or [nn.Conv2d])
        self.output_size: list = []  # of one image's batch, a layer each, as they are called
        self.layers_type: list = []
        self._calls: list = []  # (name of the module, which of its calls)
        self.classes = 0
        self._sites: Optional[list] = None
        self._look()

    def _wanted(self, module: Any) -> bool:
        return "all" in self._layer_types or any(
            not isinstance(kind, str) and isinstance(module, kind) for kind in self._layer_types
        )

    def _look(self) -> None:
        """Runs the model once: which layers it calls, and in what order."""
        import torch

        counts: dict = {}

        def seen(name: str) -> Any:
            def hook(module: Any, _: Any, output: Any) -> None:
                self.output_size.append(list(output.shape))
                self.layers_type.append(type(module))
                self._calls.append((name, counts.setdefault(name, 0)))
                counts[name] += 1

            return hook

        handles = [
            module.register_forward_hook(seen(name))
            for name, module in self.original_model.named_modules()
            if name and not list(module.children()) and self._wanted(module)
        ]
        training = self.original_model.training
        self.original_model.eval()
        try:
            with torch.no_grad():
                answer = self.original_model(torch.randn(1, *self._input_shape))
        finally:
            self.original_model.train(training)
            for handle in handles:
                handle.remove()
        self.classes = answer.shape[-1]
        self._weights = [
            (name, list(module.weight.shape))
            for name, module in self.original_model.named_modules()
            if self._wanted(module) and getattr(module, "weight", None) is not None
        ]

    def _known_sites(self) -> list:
        if self._sites is None:
            from ..inputs import write_model

            import torch

            with tempfile.TemporaryDirectory() as folder:
                example = torch.randn(2, *self._input_shape)
                path = Path(folder) / write_model(self.original_model, Path(folder), example)
                shape = "x".join(map(str, self._input_shape))
                self._sites = call_json("sites", path, "--all", "--input", shape, "--json")["sites"]
        return self._sites

    def site(self, target: str, layer: int) -> str:
        """Bitfall's name of a layer's output or weight."""
        if target == "weight":
            return f"{self._weights[layer][0]}.weight"
        name, call = self._calls[layer]
        of_module = [
            site["name"]
            for site in self._known_sites()
            if site["kind"] == "activation" and site["refusal"] is None
            and (site["name"] == name or site["name"].startswith(name + "/"))
        ]  # fmt: skip
        if call >= len(of_module):
            raise Error(f"layer {layer} ({name}): `bitfall sites` knows no such output", 4)
        return of_module[call]

    def any_site(self) -> str:
        return next(s["name"] for s in self._known_sites() if s["kind"] == "activation" and s["refusal"] is None)

    # Declarations ----------------------------------------------------------------------------------

    def declare_neuron_fi(self, **places: Any) -> CorruptedModel:
        """Values of layers' outputs: lists batch, layer_num, dim1, dim2, dim3, value."""
        batch, layers, dims, values = self._places(places, "batch")
        faults = []
        for row, layer, place, value in zip(batch, layers, dims, values):
            if not 0 <= layer < len(self._calls):
                raise Error(f"layer_num {layer}: there are layers 0 to {len(self._calls) - 1}", 2)
            if not 0 <= row < self._batch_size:
                raise Error(f"batch {row}: the batch has {self._batch_size} images", 2)
            shape = self.output_size[layer][1:]
            if any(index is not None for index in place[len(shape):]):
                warnings.warn(f"dimensions beyond {len(shape)} are ignored, as layer {layer} has no more",
                              stacklevel=2)  # fmt: skip
            faults.append((row, layer, _flat(place, shape), value))
        return CorruptedModel(self, "activation", faults)

    def declare_weight_fi(self, **places: Any) -> CorruptedModel:
        """Values of layers' weights, for all images: lists layer_num, k, dim1, dim2, dim3, value."""
        first, layers, dims, values = self._places(places, "k")
        faults = []
        for k, layer, place, value in zip(first, layers, dims, values):
            if not 0 <= layer < len(self._weights):
                raise Error(f"layer_num {layer}: there are layers 0 to {len(self._weights) - 1}", 2)
            faults.append((None, layer, _flat((k, *place), self._weights[layer][1]), value))
        return CorruptedModel(self, "weight", faults)

    def _places(self, places: dict, first: str) -> tuple:
        if "function" in places:
            raise Error("function=: a Python function in a hook cannot be run by Bitfall; use values, an "
                        "error model ([[faults]] error_model), or write a plugin", 2)  # fmt: skip
        layers = list(places.get("layer_num", []))
        nothing = [None] * len(layers)
        columns = [list(places.get(name, nothing)) for name in (first, "dim1", "dim2", "dim3", "value")]
        if not layers or any(len(column) != len(layers) for column in columns):
            raise Error(f"{first}, layer_num, dim1, dim2, dim3 and value must be lists of one length", 2)
        dims = [tuple(place) for place in zip(*columns[1:4])]
        return columns[0], layers, dims, columns[4]

    declare_neuron_fault_injection = declare_neuron_fi  # as PyTorchFI calls them after 0.6.0
    declare_weight_fault_injection = declare_weight_fi

    # What a script may ask -------------------------------------------------------------------------

    def fi_reset(self) -> None:
        """Nothing to do: a declaration changes no model."""

    def get_original_model(self) -> Any:
        return self.original_model

    def get_total_layers(self) -> int:
        return len(self.output_size)

    def get_total_batches(self) -> int:
        return self._batch_size

    def get_output_size(self) -> list:
        return self.output_size

    def get_layer_shape(self, layer_num: int) -> list:
        return self.output_size[layer_num]

    def get_layer_type(self, layer_num: int) -> type:
        return self.layers_type[layer_num]

    def get_layer_dim(self, layer_num: int) -> int:
        return len(self.output_size[layer_num])

    def get_weights_size(self, layer_num: int) -> list:
        return self._weights[layer_num][1]

    def get_weights_dim(self, layer_num: int) -> int:
        return len(self._weights[layer_num][1])

    def get_fmaps_num(self, layer: int) -> int:
        return self.output_size[layer][1]

    def get_fmaps_H(self, layer: int) -> int:
        return self.output_size[layer][2]

    def get_fmaps_W(self, layer: int) -> int:
        return self.output_size[layer][3]


FaultInjection = fault_injection  # its name after 0.6.0
