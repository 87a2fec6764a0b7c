"""Writes tables of numbers with NumPy, safetensors and PyTorch, good ones and hostile ones.

usage: make_tensor_files.py FOLDER

table.f32 holds the numbers of the float32 [5, 7] table as they are; what is read of a file whose
name begins with "good" must be these, rounded to the file's type where that is shorter.
"""

import argparse
import collections
import os
import pathlib
import pickle
import sys
import zipfile

import numpy
import safetensors.torch
import torch

TYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


class Hostile:
    """Would make a file beside this one when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.system, (f"touch {self.folder}/executed",))


def write_good(folder, table):
    for name, kind in TYPES.items():
        values = table.to(kind)
        (folder / f"good_{name}.f32").write_bytes(values.float().numpy().tobytes())
        torch.save(values, folder / f"good_{name}.pth")
        safetensors.torch.save_file({"rows": values}, folder / f"good_{name}.safetensors")
        if name != "bfloat16":
            numpy.save(folder / f"good_{name}.npy", values.numpy())
    (folder / "good_double.f32").write_bytes(table.numpy().tobytes())
    exact = table.double() * (1 + 1e-12)  # rounds to the same float32
    numpy.save(folder / "good_double.npy", exact.numpy())
    shapes = {
        "parameter": torch.nn.Parameter(table),
        "transposed": table.T.contiguous().T,
        "slice": torch.cat([torch.ones(3, 7), table, torch.ones(2, 7)])[3:8],
        "columns": torch.cat([table, table], dim=1)[:, 7:],
        "dictionary": {"best": 0.5, "rows": table, "counts": torch.arange(4)},
    }
    for name, value in shapes.items():
        (folder / f"good_{name}.f32").write_bytes(table.numpy().tobytes())
        torch.save(value, folder / f"good_{name}.pth")
    for protocol in (3, 4, 5):
        (folder / f"good_protocol{protocol}.f32").write_bytes(table.numpy().tobytes())
        torch.save(table, folder / f"good_protocol{protocol}.pth", pickle_protocol=protocol)


def write_two_names(folder, table):
    torch.save({"text": table, "weights": table}, folder / "two_names.pth")
    tied = torch.nn.Parameter(table)
    torch.save({"embedding": tied, "head": [tied]}, folder / "two_parameters.pth")
    circle = [table]
    circle.append(circle)
    torch.save({"list": circle, "same": circle}, folder / "circle.pth")


def write_rows(folder, table):
    """The table's rows under names, in the forms in which people keep them."""
    names = ["hen", "jay", "St. Bernard", "owl", "red kite"]
    rows = dict(zip(names, table))
    torch.save({**rows, "logit_scale": torch.tensor(100.0)}, folder / "rows_plain.pth")
    torch.save({name: row[None] for name, row in rows.items()}, folder / "rows_flat.pth")
    torch.save({"width": 7, "classes": rows}, folder / "rows_nested.pth")
    torch.save({"classes": rows, "bias": torch.ones(3)}, folder / "rows_beside.pth")
    torch.save({name: row.half() for name, row in rows.items()}, folder / "rows_half.pth")
    torch.save(list(table), folder / "rows_list.pth")
    torch.save(dict(zip(names, table.T.contiguous().T)), folder / "rows_strided.pth")
    safetensors.torch.save_file({name: row.clone() for name, row in rows.items()}, folder / "rows.safetensors")
    numpy.savez(folder / "rows.npz", **{name: row.numpy() for name, row in rows.items()})
    numpy.savez(folder / "table.npz", rows=table.numpy(), count=numpy.int64(5))
    numpy.savez_compressed(folder / "bad_packed.npz", rows=table.numpy())
    numpy.save(folder / "bad_dictionary.npy", {name: row.numpy() for name, row in rows.items()})
    torch.save({**rows, "cat": torch.ones(8)}, folder / "bad_widths.pth")
    torch.save({**rows, "cat": torch.ones(7).int()}, folder / "bad_row.pth")


def write_checkpoint(folder, table):
    head = torch.nn.Linear(7, 5, bias=False)
    head.weight.data = table
    network = torch.nn.Sequential(collections.OrderedDict(body=torch.nn.Linear(3, 7), head=head))
    torch.save(
        {
            "model": network.state_dict(),
            "args": argparse.Namespace(lr=0.1, note="x", path=pathlib.Path("a")),
            "optimizer": torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9).state_dict(),
            "history": [1.5, None, {"scalar": numpy.float64(3.5)}, (True, {1, 2}, b"bytes")],
        },
        folder / "checkpoint.pth",
    )


def rezip(source, target, change):
    """The archive again, `change(pickle bytes)` in place of its pickle."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("data.pkl") else content)


def write_hostile(folder, table):
    torch.save({"rows": table, "evil": Hostile(folder)}, folder / "passed_over.pth")
    good = folder / "good_float32.pth"
    rezip(good, folder / "bad_call.pth", lambda _: pickle.dumps(Hostile(folder), 2))
    # The shape (5, 7) stands in the pickle as BININT1 5, BININT1 7, TUPLE2.
    huge = lambda p: p.replace(b"K\x05K\x07\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86")
    rezip(good, folder / "bad_shape.pth", huge)
    rezip(good, folder / "bad_rows.pth", lambda p: p.replace(b"K\x05K\x07\x86", b"K\x06K\x07\x86"))
    rezip(
        good, folder / "bad_stride.pth", lambda p: p.replace(b"K\x07K\x01\x86", b"K\x08K\x01\x86")
    )
    rezip(
        good,
        folder / "bad_record.pth",
        lambda p: p.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"),
    )
    nested = b"\x80\x02" + b"]" * 300000 + b"a" * 299999 + b"."
    rezip(good, folder / "bad_nested.pth", lambda _: nested)
    rezip(good, folder / "bad_circle.pth", lambda _: b"\x80\x02]q\x00h\x00a.")
    doubling = b"\x80\x02]q\x00" + b"".join(
        b"]q%c(h%ch%ce" % (i, i - 1, i - 1) for i in range(1, 100)
    )
    rezip(good, folder / "bad_doubling.pth", lambda _: doubling + b".")
    rezip(good, folder / "bad_pickle.pth", lambda p: p[: len(p) // 2])
    torch.save(table, folder / "bad_old.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.arange(6).reshape(2, 3), folder / "bad_integers.pth")
    torch.save({"a": table, "b": table.clone()}, folder / "bad_two.pth")
    torch.save(torch.ones(3), folder / "bad_vector.pth")
    torch.save({"a": 1}, folder / "bad_none.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), folder / "bad_script.pt")
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(
        folder / "bad_packed.pth", "w", zipfile.ZIP_DEFLATED
    ) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    numpy.save(folder / "bad_cube.npy", numpy.zeros((2, 2, 2), dtype=numpy.float32))
    numpy.save(folder / "bad_integers.npy", numpy.zeros((2, 2), dtype=numpy.int64))
    safetensors.torch.save_file({"a": table, "b": table.clone()}, folder / "bad_two.safetensors")
    safetensors.torch.save_file({"a": torch.ones(2, 2).int()}, folder / "bad_int.safetensors")


def write_damaged_pickles(folder, count=1000):
    """The archives' checksums are right, so that the pickles are read."""
    (folder / "damaged_pickles").mkdir()
    random = numpy.random.default_rng(5)

    def damage(content):
        content = bytearray(content)
        for _ in range(random.integers(1, 5)):
            place = random.integers(len(content))
            if random.random() < 0.5:
                content[place] = random.integers(256)
            else:
                del content[place : place + random.integers(1, 6)]
        return bytes(content)

    for number in range(count):
        source = folder / ("good_float32.pth" if number % 2 else "good_dictionary.pth")
        rezip(source, folder / "damaged_pickles" / f"{number:04d}.pth", damage)


def main():
    folder = pathlib.Path(sys.argv[1])
    table = torch.randn(5, 7, generator=torch.Generator().manual_seed(7))
    write_good(folder, table)
    write_two_names(folder, table)
    write_rows(folder, table)
    write_checkpoint(folder, table)
    write_hostile(folder, table)
    write_damaged_pickles(folder)
    # What PyTorch itself reads of the published files, to compare with.
    for path in map(pathlib.Path, sys.argv[2:]):
        values = torch.load(path, weights_only=True)
        (folder / (path.stem + ".f32")).write_bytes(values.numpy().tobytes())


if __name__ == "__main__":
    main()
