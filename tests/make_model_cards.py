"""Writes TorchScript archives with and without a bitfall.json, as torch.jit.save makes them.

usage: make_model_cards.py FOLDER
"""

import json
import pathlib
import sys
import warnings

warnings.filterwarnings("ignore")
import torch  # noqa: E402


def main():
    folder = pathlib.Path(sys.argv[1])
    card = {
        "schema": "bitfall.model/1",
        "name": "tiny",
        "input": [3, 8, 6],
        "classes": ["ant", "grüner Käfer"],
        "method": "trace",
        "preprocess": {"resize": 8, "interpolation": "bicubic", "mean": [0.5, 0.25, 0], "std": [1, 2, 3]},
        "head": {"module": "top.fc", "init": "text_guided", "options": "cosine = false",
                 "replaced_bias": False},
    }  # fmt: skip
    odd = {"name": 3, "input": [1, "x", 2], "classes": 10, "head": {"init": "linear"}, "method": [],
           "preprocess": {"interpolation": 3, "mean": 0.5, "std": ["x"]}}
    texts = {"full": json.dumps(card), "odd": json.dumps(odd), "broken": '{"name": "x"', "none": None,
             "deep": '{"name": "x", "deep": ' + 100000 * "[" + 100000 * "]" + "}"}  # fmt: skip
    model = torch.jit.script(torch.nn.Linear(300, 300))
    for name, text in texts.items():
        extra = {} if text is None else {"bitfall.json": text}
        torch.jit.save(model, str(folder / f"{name}.pt"), _extra_files=extra)
    whole = (folder / "full.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pt").write_bytes(b"")


main()
