"""bitfall import: files as other tools write them, and what the same faults do in eager PyTorch; export --polito.

usage: importers_test.py PROGRAM [unittest arguments]
"""

import csv
import io
import json
import pathlib
import pickle
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import unittest
import warnings

import numpy
import torch
from torch import nn

warnings.filterwarnings("ignore")
PROGRAM = pathlib.Path(sys.argv[1]).resolve()
IMAGES = 6


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.z = nn.Conv2d(4, 6, 3)
        self.a = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.a(torch.relu(self.z(x)))


class Net(nn.Module):
    """Registered in another order than called, as other tools number weights by the one and outputs by the other."""

    def __init__(self):
        super().__init__()
        self.late = nn.Linear(4, 5)
        self.inner = Inner()
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.late(self.inner(self.norm(self.first(x))).mean([2, 3]))


def bits_flipped(value, mask):
    (code,) = struct.unpack("<I", struct.pack("<f", value))
    return struct.unpack("<f", struct.pack("<I", code ^ mask))[0]


def alfi_flip(value, position):
    """As PyTorchALFI does it: the position counts in the text of the bits, from the sign."""
    text = "".join(bin(c).replace("0b", "").rjust(8, "0") for c in struct.pack("!f", value))
    text = text[:position] + ("0" if text[position] == "1" else "1") + text[position + 1 :]
    return struct.unpack("f", struct.pack("I", int(text, 2)))[0]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_import_"))
        torch.manual_seed(4)
        torch.set_num_threads(1)
        cls.model = Net().eval()
        torch.jit.script(cls.model).save(str(cls.folder / "net.pt"))
        cls.images = torch.randn(IMAGES, 3, 8, 8)
        cls.labels = torch.arange(IMAGES) % 5
        numpy.save(cls.folder / "x.npy", cls.images.numpy())
        numpy.save(cls.folder / "y.npy", cls.labels.numpy())
        cls.campaign = cls.folder / "campaign.toml"
        cls.campaign.write_text('[model]\npath = "net.pt"\n[data]\npath = "x.npy"\nlabels = "y.npy"\n'
                                'preprocess = { scale = 1.0 }\n[run]\nbatch = 1\nthreads = 1\nworkers = 1\n')  # fmt: skip

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def call(self, *arguments, expect=0):
        done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def imported(self, name, content, *options, expect=0):
        """The record of the import, stderr, and the fault list's rows."""
        file = self.folder / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        output = self.folder / f"{name}.faults.csv"
        out, err = self.call("import", file, "--campaign", self.campaign, "-o", output, "--json", *options, expect=expect)
        rows = list(csv.DictReader(output.open())) if output.exists() else []
        return (json.loads(out) if out else None), err, rows

    def trials(self, name):
        """(image, loss with the fault, masked) of each trial of the list, run by the program."""
        run = self.folder / f"{name}.run"
        self.call("-q", "run", self.campaign, "--faults", self.folder / f"{name}.faults.csv", "-o", run)
        with sqlite3.connect(run / "campaign.sqlite") as database:
            return list(database.execute("SELECT image, faulty_loss, outcome FROM v_trials ORDER BY trial"))

    def loss(self, logits, image):
        return nn.functional.cross_entropy(logits.double(), self.labels[image : image + 1]).item()

    def with_weight(self, changes, image):
        """Logits of one image with weights changed: {(parameter, place): function}."""
        model = Net().eval()
        model.load_state_dict(self.model.state_dict())
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for (name, place), change in changes.items():
                parameters[name][place] = change(parameters[name][place].item())
            return model(self.images[image : image + 1])

    def with_output(self, changes, image):
        """The same with values of outputs changed."""
        handles = []
        for (name, place), change in changes.items():
            def hook(_module, _input, output, place=place, change=change):
                output[(0, *place)] = change(output[(0, *place)].item())
            handles.append(self.model.get_submodule(name).register_forward_hook(hook))
        with torch.no_grad():
            logits = self.model(self.images[image : image + 1])
        for handle in handles:
            handle.remove()
        return logits

    def assertLosses(self, trials, wanted):
        self.assertEqual(len(trials), len(wanted))
        for (image, loss, _), (where, logits) in zip(trials, wanted):
            self.assertEqual(str(image), str(where))
            if loss is None:  # no number
                self.assertFalse(numpy.isfinite(self.loss(logits, where)))
                continue
            self.assertAlmostEqual(loss, self.loss(logits, where), delta=1e-5 * max(1.0, abs(loss)))

    def left_out(self, record):
        return {row["row"]: row["reason"] for row in record["left_out"]}


class Polito(Case):
    FAULTS = [("first", (3, 0, 2, 1), 30), ("inner.z", (5, 3, 0, 2), 22), ("late", (4, 1), 31), ("inner.a", (0, 5, 0, 0), 3)]

    def text(self, faults):
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")  # as pandas quotes
        writer.writerow(["Injection", "Layer", "TensorIndex", "Bit", "n_injections", "masked", "non_critical", "critical"])
        for number, (layer, place, bit) in enumerate(faults):
            writer.writerow([number, layer, str(place), bit, 10000, 14, 9985, 1])
        return out.getvalue()

    def test_flips_of_weights(self):
        text = self.text(self.FAULTS)
        self.assertIn('0,first,"(3, 0, 2, 1)",30,10000,14,9985,1\n', text)  # as in their files
        record, _, rows = self.imported("polito.csv", text)
        self.assertEqual((record["faults"], record["trials"], record["left_out"]), (4, 4 * IMAGES, []))
        self.assertEqual(rows[0]["mask"], "0x40000000")
        wanted = [
            (image, self.with_weight({(f"{layer}.weight", place): lambda v, bit=bit: bits_flipped(v, 1 << bit)}, image))
            for layer, place, bit in self.FAULTS
            for image in range(IMAGES)
        ]
        trials = self.trials("polito.csv")
        self.assertLosses(trials, wanted)
        # And back, with what PyTorch counts.
        golden = self.model(self.images).detach()
        counts = []
        for number in range(len(self.FAULTS)):
            masked = critical = 0
            for image, logits in wanted[number * IMAGES : (number + 1) * IMAGES]:
                masked += torch.equal(logits[0], self.with_weight({}, image)[0])
                critical += bool(logits.isnan().any()) or int(logits.argmax()) != int(golden[image].argmax())
            counts.append((IMAGES, masked, IMAGES - masked - critical, critical))
        out, _ = self.call("export", self.folder / "polito.csv.run", "--polito")
        back = list(csv.reader(out.splitlines()))
        self.assertEqual(back[0][:4], ["Injection", "Layer", "TensorIndex", "Bit"])
        for number, (layer, place, bit) in enumerate(self.FAULTS):
            self.assertEqual(back[number + 1], [str(number), layer, str(place), str(bit), *map(str, counts[number])])

    def test_images_in_turn(self):
        _, _, rows = self.imported("turn.csv", self.text(self.FAULTS), "--images", "2")
        self.assertEqual([int(row["image"]) for row in rows], [0, 1, 2, 3, 4, 5, 0, 1])

    def test_rows_that_cannot_be_told(self):
        faults = [("frist", (0, 0, 0, 0), 1), ("first", (4, 0, 0, 0), 1), ("first", (0, 0), 1), ("first", (0, 0, 0, 0), 32)]
        text = self.text([*faults, self.FAULTS[0]]) + "9,first,one,2,1,1,1,1\n9,first\n"
        record, err, rows = self.imported("bad.csv", text, "--images", "1")
        self.assertEqual(len(rows), 1)
        reasons = self.left_out(record)
        self.assertIn("no layer 'frist' with a weight; did you mean 'first'?", reasons["line 2"])
        self.assertIn("place (4, 0, 0, 0) is not in 'first.weight' of shape (4, 3, 3, 3)", reasons["line 3"])
        self.assertIn("place (0, 0) is not in", reasons["line 4"])
        self.assertIn("Bit '32'", reasons["line 5"])
        self.assertIn("TensorIndex 'one'", reasons["line 7"])
        self.assertIn("TensorIndex ''", reasons["line 8"])
        self.assertIn("bad.csv: line 2: ", err)
        kept = list(csv.DictReader((self.folder / "bad.csv.faults.left_out.csv").open()))
        self.assertEqual({row["row"]: row["reason"] for row in kept}, reasons)
        _, err, rows = self.imported("none.csv", self.text(faults), expect=4)
        self.assertIn("no fault of this list", err)
        self.assertEqual(rows, [])

    def test_files_of_nobody(self):
        for name, content, message in (("empty.csv", "", "is empty"), ("other.csv", "a,b\n1,2\n", "those of no tool"),
                                       ("quote.csv", 'Layer,TensorIndex,Bit\n"x', "quote.csv:2:"),
                                       ("cut.json", '{"layer_num": [1', "cut.json:1:"), ("other.json", "[1]", "is neither"),
                                       ("zip.zst", b"\x28\xb5\x2f\xfd123", "zstd -d")):  # fmt: skip
            _, err, _ = self.imported(name, content, expect=4)
            self.assertIn(message, err)
        file = self.folder / "kept.csv"
        file.write_text(self.text(self.FAULTS))
        for output in (file, self.campaign):  # what is read is not written over
            _, err = self.call("import", file, "--campaign", self.campaign, "-o", output, expect=2)
            self.assertIn("is read as", err)
        self.assertEqual(file.read_text(), self.text(self.FAULTS))


class PyTorchFI(Case):
    def test_declarations_of_neurons(self):
        # Outputs are numbered as they are called: first, inner.z, inner.a, late.
        declared = {"batch": [0, 2, 2, 3], "layer_num": [0, 2, 2, 3], "dim1": [3, 0, 1, 4], "dim2": [1, 2, 0, None],
                    "dim3": [5, 1, 0, None], "value": [1e4, -3.5, 0.25, 17.0]}  # fmt: skip
        record, _, _ = self.imported("neurons.json", json.dumps(declared), "--layer-types", "conv2d,linear")
        self.assertEqual((record["tool"], record["faults"], record["left_out"]), ("PyTorchFI", 3, []))
        constant = lambda value: lambda _: value  # noqa: E731
        wanted = [
            (0, self.with_output({("first", (3, 1, 5)): constant(1e4)}, 0)),
            (2, self.with_output({("inner.a", (0, 2, 1)): constant(-3.5), ("inner.a", (1, 0, 0)): constant(0.25)}, 2)),
            (3, self.with_output({("late", (4,)): constant(17.0)}, 3)),
        ]
        self.assertLosses(self.trials("neurons.json"), wanted)

    def test_declarations_of_weights(self):
        # Weights are numbered as they were registered: late, inner.z, inner.a, first.
        declared = [{"layer_num": [2, 2], "k": [3, 0], "dim1": [2, 5], "dim2": [0, 0], "dim3": [0, 0], "value": [5.0, -2.0]},
                    {"layer_num": [0], "k": [4], "dim1": [3], "dim2": [None], "dim3": [None], "value": [9.0]}]  # fmt: skip
        record, _, _ = self.imported("weights.json", json.dumps(declared), "--layer-types", "linear,conv2d", "--images", "1")
        self.assertEqual((record["faults"], record["left_out"]), (2, []))
        wanted = [
            (0, self.with_weight({("inner.a.weight", (3, 2, 0, 0)): lambda _: 5.0, ("inner.a.weight", (0, 5, 0, 0)): lambda _: -2.0}, 0)),
            (1, self.with_weight({("late.weight", (4, 3)): lambda _: 9.0}, 1)),
        ]  # fmt: skip
        self.assertLosses(self.trials("weights.json"), wanted)

    def test_columns(self):
        text = ",batch,layer_num,dim1,dim2,dim3,value\n0,1,0,2,3.0,4.0,-8.5\n1,5,1,0,,,3\n2,0,9,0,0,0,1\n3,7,0,0,0,0,1\n"
        record, _, rows = self.imported("columns.csv", text)
        self.assertEqual([(row["site"], row["image"]) for row in rows], [("first", "1")])
        reasons = self.left_out(record)
        self.assertIn("place (0) is not in 'inner.z'", reasons["line 3"])
        self.assertIn("layer 9: the network has 3 layers of the kinds conv", reasons["line 4"])
        self.assertIn("meets image 7, counted from 0; the campaign has 6", reasons["line 5"])
        self.assertLosses(self.trials("columns.csv"), [(1, self.with_output({("first", (2, 3, 4)): lambda _: -8.5}, 1))])

    def test_what_cannot_be_told(self):
        declared = [{"function": "x"}, {"batch": [0, 0], "layer_num": [0, 1], "dim1": [0, 0], "dim2": [0, 0], "dim3": [0, 0], "value": [1, 1]}]
        record, _, rows = self.imported("told.json", json.dumps(declared))
        self.assertEqual(len(rows), 1)
        reasons = self.left_out(record)
        self.assertIn("Python in a hook", reasons["declaration 0"])
        self.assertIn("hits 'inner.z' together with 'first'", reasons["declaration 1, fault 1"])

    def test_lists_of_xpytorchfi(self):
        # As DataFrame.to_csv writes them: an index without a name, and floats where a column has gaps.
        text = ",layer,kernel,channel,row,col,bitmask\n0,1,2,3,1.0,2.0,8388608\n1,0,4,1,,,2147483648\n2,0,4,1,,,0\n"
        record, _, _ = self.imported("x.csv", text, "--layer-types", "conv2d,linear", "--images", "1")
        self.assertEqual((record["tool"], record["faults"]), ("xPytorchFI", 2))
        self.assertIn("bitmask '0'", self.left_out(record)["line 4"])
        wanted = [(0, self.with_weight({("inner.z.weight", (2, 3, 1, 2)): lambda v: bits_flipped(v, 1 << 23)}, 0)),
                  (1, self.with_weight({("late.weight", (4, 1)): lambda v: -v}, 1))]  # fmt: skip
        self.assertLosses(self.trials("x.csv"), wanted)


class PyTorchALFI(Case):
    def neurons(self):
        # batch, layer, channel, depth, height, width, bit: a column a fault
        return numpy.array([[0, 0, 3, -1, 1, 5, 1], [1, 2, 1, -1, 4, 2, 9], [0, 3, -1, -1, 1, 4, 0], [1, 1, 5, -1, 3, 3, 8]]).T

    def test_neurons(self):
        # Batches of two. Of a linear layer the height is the row of the batch, as in their code.
        flip = lambda bit: lambda value: alfi_flip(value, bit)  # noqa: E731
        wanted = [
            (0, self.with_output({("first", (3, 1, 5)): flip(1)}, 0)),
            (1, self.with_output({("inner.a", (1, 4 - 1, 2)): flip(9)}, 1)),
            (3, self.with_output({("late", (4,)): flip(0)}, 3)),
            (3, self.with_output({("inner.z", (5, 3, 3)): flip(8)}, 3)),
        ]
        runset = self.neurons()
        runset[4, 1] = 3
        updated = numpy.vstack([runset, numpy.ones((3, 4))])  # float64: directions and values below, which are theirs
        options = ("--target", "activation", "--layer-types", "conv2d,linear", "--batch", "2")
        for protocol in (3, 4, 5):
            for array, order in ((runset, "C"), (numpy.asfortranarray(runset), "F"), (updated, "C"), (runset.astype("<i4"), "C")):
                name = f"alfi{protocol}{order}{array.dtype}_fault_locs.bin"
                record, _, rows = self.imported(name, pickle.dumps(array, protocol=protocol), *options)
                self.assertEqual((record["faults"], record["left_out"]), (4, []), name)
                self.assertEqual([row["image"] for row in rows], ["0", "1", "3", "3"])
        self.assertLosses(self.trials(name), wanted)

    def test_weights(self):
        runset = numpy.array([[2, 3, 0, -1, 2, 1, 2], [0, -1, -1, -1, 4, 2, 0], [0, -1, -1, -1, 4, 2, -1]]).T
        content = pickle.dumps(runset)
        _, err, _ = self.imported("what.bin", content, expect=2)
        self.assertIn("--target", err)
        record, _, rows = self.imported("w.bin", content, "--target", "weight", "--images", "1")
        self.assertIn("place (4, 2) is not in 'inner.z.weight'", self.left_out(record)["column 1"])
        record, _, rows = self.imported("w.bin", content, "--target", "weight", "--images", "1", "--layer-types", "linear")
        self.assertIn("layer 2: the network has 1 layers of the kinds linear", self.left_out(record)["column 0"])
        self.assertIn("bit -1", self.left_out(record)["column 2"])
        self.assertLosses(self.trials("w.bin"), [(0, self.with_weight({("late.weight", (4, 2)): lambda v: -v}, 0))])

    def test_numbers_and_several_a_picture(self):
        runset = numpy.array([[0, 0, 3, -1, 1, 5, 700], [0, 0, 2, -1, 1, 5, 30], [0, 0, 1, -1, 0, 0, 9], [0, 1, 1, -1, 0, 0, 9]]).T
        options = ("--target", "activation", "--numbers", "--per-image", "2")
        record, _, _ = self.imported("n.bin", pickle.dumps(runset), *options)
        self.assertEqual(record["faults"], 2)
        self.assertIn("hits 'inner.z' together with 'first' of column 2", self.left_out(record)["column 3"])
        wanted = [(0, self.with_output({("first", (3, 1, 5)): lambda _: 700.0, ("first", (2, 1, 5)): lambda _: 30.0}, 0)),
                  (1, self.with_output({("first", (1, 0, 0)): lambda _: 9.0}, 1))]  # fmt: skip
        self.assertLosses(self.trials("n.bin"), wanted)

    def test_damaged(self):
        whole = pickle.dumps(self.neurons())
        for content in (whole[:20], whole[:-30], pickle.dumps([1, 2]), pickle.dumps(numpy.zeros((3, 4), dtype=int)),
                        pickle.dumps(numpy.zeros(7)), pickle.dumps(numpy.array([["a"] * 2] * 7)), b"\x80"):  # fmt: skip
            _, err, _ = self.imported("damaged.bin", content, "--target", "weight", expect=4)
            self.assertIn("damaged.bin: ", err)


class FaultForge(Case):
    def test_results_do_not_say_where(self):
        saved = {"fingerprint": {"kind": "encoded_memory_fault_injection", "scalars": {"faults": 3}, "children": {}},
                 "total_items": 100, "total_bits": 4096,
                 "result": {"kind": "detailed", "results": [{"correct_count": 90, "bitmask": [4, 1 << 30]}]}}  # fmt: skip
        record, err, rows = self.imported("ff.json", json.dumps(saved), expect=4)
        self.assertEqual((record["tool"], rows), ("FaultForge", []))
        self.assertIn("by which bits 2 parameters differ, and not which", self.left_out(record)["run 0"])
        self.assertIn("no fault of this list", err)
        saved["result"] = {"kind": "simple", "results": [90, 91]}
        record, _, _ = self.imported("ff.json", json.dumps(saved), expect=4)
        self.assertEqual(list(self.left_out(record)), ["run 0", "run 1"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
