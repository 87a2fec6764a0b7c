"""Bitfall: what bit errors do to a neural network's answers.

    import bitfall
    run = bitfall.run(model, (images, labels), format="fp16", per_site=1024)
    run                     # a notebook shows the report, a terminal the table
    run.trials.pandas()     # every trial
    bitfall.assert_resilient(run, mismatch="< 3 %")

The package drives the program `bitfall` through files: a crash of a network ends the program and not
this process, and results are those of the command line, to the last bit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as _Mapping
from pathlib import Path
from typing import Any, Optional, Union

from .campaign import Campaign as _Campaign
from .campaign import output_folder as _output_folder
from .gates import assert_resilient
from .inputs import write_classes as _write_classes
from .inputs import write_data as _write_data
from .inputs import write_model as _write_model
from .numbers import Formats, NumberFormat, formats
from .program import CampaignWarning, Error, Interrupted, program
from .program import call as _call
from .program import call_json as _call_json
from .results import Run
from .results import execute as _execute
from .table import Table

__all__ = [
    "CampaignWarning",
    "Error",
    "Formats",
    "Interrupted",
    "NumberFormat",
    "Run",
    "Table",
    "assert_resilient",
    "estimate",
    "formats",
    "program",
    "resume",
    "run",
    "sites",
    "write_campaign",
]


def run(
    model: Any,
    data: Any,
    *,
    output: Optional[Union[str, os.PathLike]] = None,
    fault_list: Optional[Union[str, os.PathLike]] = None,
    force: bool = False,
    progress: Optional[bool] = None,
    example: Any = None,
    **keys: Any,
) -> Run:
    """Runs a campaign to its end.

    model: an nn.Module (scripted, or traced where that fails, as it answers in eval mode), a
        ScriptModule, an ExportedProgram, or the path of a model file.
    data: a folder with one folder per class; (images, labels) as tensors or arrays; a DataLoader or a
        Dataset, which are walked once; or a dict of the keys of [data]. Float images are taken as the
        network takes them, uint8 images are divided by 255.
    output: run directory; default: runs/MODEL-N. It keeps the inputs, in `inputs`.
    fault_list: a CSV of faults, to run exactly these.
    force: replace the run that the directory holds.
    progress: draw a line on stderr; default: on a terminal and in a notebook.
    example: images [N,C,H,W] to trace the model with, where data are files.
    keys: keys of a campaign file (`bitfall config`), as `seed=1, hit_value="clamped", batch=32`, or
        sections: `format="fp16"`, `format={"id": "int8", "granularity": "channel"}`, `faults=[{...}]`,
        `metrics=[...]`. Keys of [[faults]] that stand alone (`per_site=1024`, `target="weight"`) hold
        for every entry that does not say otherwise. `model_output` is [model] output.

    Raises Error with the program's words, and Interrupted on Ctrl-C, after which `resume` goes on.
    """
    folder = _output_folder(output, model)
    if (folder / "campaign.sqlite").exists() and not force:
        raise Error(
            f"{folder}: holds a run already; open it with bitfall.Run({str(folder)!r}), go on with "
            f".resume(), or replace it with force=True",
            2,
        )
    campaign = write_campaign(model, data, folder / _inputs_name(folder), example=example, **keys)
    arguments: list = ["run", campaign, "--output", folder]
    if fault_list is not None:
        arguments += ["--faults", os.path.abspath(fault_list)]
    if force:
        arguments.append("--force")
    return _execute(arguments, folder, progress)


def _inputs_name(folder: Path) -> str:
    """A run that is replaced keeps its own inputs until it is."""
    if not (folder / "campaign.sqlite").exists():
        return "inputs"
    number = 1
    while (folder / (name := "inputs" if number == 1 else f"inputs-{number}")).exists():
        number += 1
    return name


def write_campaign(
    model: Any, data: Any, folder: Union[str, os.PathLike], *, example: Any = None, **keys: Any
) -> Path:
    """Writes campaign.toml, and model and data where they are in memory, into `folder`, without running
    anything: for `bitfall run` on the command line, or for a cluster. Returns the file's path. Takes
    the arguments of `run`."""
    folder = Path(folder).absolute()
    campaign = _Campaign()
    campaign.set("faults", keys.pop("faults", None))  # first: keys that stand alone fill them in
    classes, preprocess = keys.pop("classes", None), keys.pop("preprocess", None)
    if "model_output" in keys:  # `output` is the run's
        campaign.table("model")["output"] = str(keys.pop("model_output"))
    for name, value in keys.items():
        campaign.set(name, value)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(data, (str, os.PathLike)):
        data = {"path": data}
    if isinstance(data, _Mapping):
        campaign.set("data", data)
    else:
        files = _write_data(data, folder)
        campaign.table("data").update(files.keys)
        example = files.example if example is None else example
    if classes is not None:
        campaign.table("data")["classes"] = _write_classes(classes, folder)
    if preprocess is not None:
        campaign.table("data").setdefault("preprocess", {}).update(preprocess)
    campaign.table("model")["path"] = _write_model(model, folder, example)
    path = folder / "campaign.toml"
    path.write_text(campaign.text(), encoding="utf-8")
    return path


def resume(path: Union[str, os.PathLike], *, progress: Optional[bool] = None) -> Run:
    """Goes on with an interrupted run; returns a finished one as it is."""
    return Run(path).resume(progress=progress)


def estimate(model: Any, data: Any, *, example: Any = None, **keys: Any) -> dict:
    """`bitfall run --dry-run --json`: population, trials, interval widths and time; runs nothing to the
    end and leaves nothing behind. Takes the arguments of `run`."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        campaign = write_campaign(model, data, folder, example=example, **keys)
        return _call_json("run", campaign, "--dry-run", "--json", "--output", Path(folder) / "run")


def sites(model: Any, input_shape: Optional[tuple] = None, *, all: bool = False) -> Table:
    """The places of a model that a fault can hit: name, target, operation, shape, why one is refused.

    input_shape: (C, H, W) of one image. all: every kind of operation, not convolutions and linear
    layers alone.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        example = None
        if input_shape is not None and not isinstance(model, (str, os.PathLike)):
            import torch

            example = torch.rand(2, *input_shape)
        path = Path(folder) / _write_model(model, Path(folder), example)
        arguments: list = ["sites", path, "--json"]
        if input_shape is not None:
            arguments += ["--input", "x".join(map(str, input_shape))]
        if all:
            arguments.append("--all")
        found = _call_json(*arguments)["sites"]
    columns = list(found[0]) if found else ["name"]
    return Table(columns, [tuple(site.get(column) for column in columns) for site in found])
