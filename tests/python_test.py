"""The Python package: the same bytes as the command line, and its numbers against NumPy, PyTorch, eager hooks and PyTorchFI.

usage: python_test.py PROGRAM [unittest arguments]
"""

import contextlib
import csv
import importlib.util
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import warnings

SOURCE = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(sys.argv[1]).resolve()
os.environ["BITFALL"] = str(PROGRAM)
sys.path.insert(0, str(SOURCE / "scripts" / "python"))
for packages in SOURCE.glob(".venv-pytorchfi/lib/python3*/site-packages"):
    sys.path.append(str(packages))  # where scripts/benchmark.sh puts PyTorchFI

import numpy  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import bitfall  # noqa: E402
from bitfall.compat import pytorchfi as compat  # noqa: E402

KEYS = {"format": "fp16", "per_site": 64, "seed": 5, "batch": 4, "threads": 1, "workers": 1}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.conv2(x))
        return self.fc(x.mean((2, 3)))


class Untyped(nn.Module):
    """What TorchScript cannot hold: it is traced."""

    def __init__(self):
        super().__init__()
        self.parts = {"net": Net()}
        self.net = self.parts["net"]

    def forward(self, x):
        return self.parts["net"](x)


class Images(torch.utils.data.Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_python_"))
        torch.manual_seed(1)
        cls.model = Net().eval()
        cls.images = torch.randn(10, 3, 8, 8)
        cls.labels = torch.arange(10) % 5
        cls.data = (cls.images, cls.labels)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_of(self, name, model=None, data=None, **keys):
        model = self.model if model is None else model
        data = self.data if data is None else data
        return bitfall.run(model, data, output=self.folder / name, **{**KEYS, **keys})


class Runs(Case):
    def test_digest_is_that_of_the_command_line(self):
        run = self.run_of("door")
        folder = self.folder / "by_hand"
        folder.mkdir()
        numpy.save(folder / "x.npy", self.images.numpy())
        numpy.save(folder / "y.npy", self.labels.numpy())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(self.model).save(str(folder / "net.pt"))
        (folder / "c.toml").write_text(
            '[campaign]\nseed = 5\n[model]\npath = "net.pt"\n[data]\npath = "x.npy"\nlabels = "y.npy"\n'
            'preprocess = { scale = 1.0 }\n[format]\nid = "fp16"\n[[faults]]\nper_site = 64\n'
            "[run]\nbatch = 4\nthreads = 1\n"
        )
        subprocess.run([PROGRAM, "run", folder / "c.toml", "-o", folder / "run"], check=True, capture_output=True)
        status = json.loads(subprocess.check_output([PROGRAM, "status", folder / "run", "--json"]))
        self.assertTrue(run.finished)
        self.assertEqual(run.digest, status["digest"])
        self.assertEqual(run.facts["seed"], "5")

    def test_trials_are_drawn_until_a_goal_is_met(self):
        keys = {key: value for key, value in KEYS.items() if key != "per_site"}
        run = bitfall.run(self.model, self.data, output=self.folder / "goal", precision={"halfwidth": 0.05, "over": "layers"}, **keys)
        self.assertTrue(run.summary()["sampling"]["met"])
        self.assertIn("first_bit", run.summary()["bits"][0])
        bitfall.assert_resilient(run, mismatch="< 90 %")

    def test_data_in_any_form_is_the_same_data(self):
        want = self.run_of("tensors").digest
        dataset = Images(*self.data)
        forms = {
            "arrays": (self.images.numpy(), self.labels.numpy()),
            "doubles": (self.images.double(), self.labels[:, None]),
            "loader": torch.utils.data.DataLoader(dataset, batch_size=3),
            "dataset": dataset,
            "pairs": [(image, label) for image, label in zip(self.images, self.labels)],
            "dicts": [{"image": image, "label": label} for image, label in zip(self.images, self.labels)],
        }
        for name, data in forms.items():
            self.assertEqual(self.run_of(name, data=data).digest, want, name)
        files = self.folder / "tensors" / "inputs"
        keys = {"path": files / "images.npy", "labels": files / "labels.npy", "preprocess": {"scale": 1.0}}
        self.assertEqual(self.run_of("files", data=keys).digest, want)

    def test_a_folder_and_a_path(self):
        from PIL import Image

        random = numpy.random.default_rng(3)
        for name in "abcde":
            (self.folder / "images" / name).mkdir(parents=True)
            for i in range(2):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(self.folder / "images" / name / f"{i}.png")
        pixels = numpy.stack(
            [numpy.array(Image.open(path)) for path in sorted((self.folder / "images").glob("*/*.png"))]
        )
        preprocess = {"mean": [0.5], "std": [0.25]}
        one = self.run_of("folder", data=self.folder / "images", preprocess=preprocess)
        model = one.path / "inputs" / "model.pt"
        uint8 = (numpy.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), numpy.repeat(range(5), 2))
        two = self.run_of("uint8", model=model, data=uint8, preprocess=preprocess)
        losses = "SELECT loss FROM golden ORDER BY loss"  # images have other numbers in a folder
        self.assertEqual(list(one.sql(losses)), list(two.sql(losses)))

    def test_models_of_every_kind(self):
        want = self.run_of("module").trials["faulty_loss"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            script = torch.jit.script(self.model)
            batch = torch.export.Dim("batch", min=1)
            exported = torch.export.export(self.model, (self.images[:2],), dynamic_shapes={"x": {0: batch}})
        training = Net()
        training.load_state_dict(self.model.state_dict())
        for name, model in {"script": script, "exported": exported, "training": training.train()}.items():
            self.assertEqual(self.run_of(name, model=model).trials["faulty_loss"], want, name)
        self.assertTrue(training.training and training.bn1.training)  # as it was

    def test_what_cannot_be_scripted_is_traced(self):
        model = Untyped().eval()
        run = self.run_of("untyped", model=model)
        with torch.no_grad():
            losses = nn.functional.cross_entropy(model(self.images).double(), self.labels, reduction="none")
        golden = {row["image"]: row["fp32_loss"] for row in run.sql(
            "SELECT i.name AS image, CAST(g.fp32_loss AS REAL) AS fp32_loss FROM golden g JOIN images i ON i.id = g.image")}  # fmt: skip
        self.assertEqual(len(golden), 10)
        numpy.testing.assert_allclose(sorted(golden.values()), sorted(losses.tolist()), rtol=1e-5)

    def test_keys_reach_the_file(self):
        campaign = bitfall.write_campaign(
            self.model, self.data, self.folder / "written", format={"id": "int8", "granularity": "channel"},
            formats=[{"format": "fp32", "sites": "fc"}], hit_value="clamped", confidence=0.95, target="weight",
            faults=[{"error_model": {"id": "bit_flip", "bits": 2}}, {"target": "activation", "per_site": 3}],
            per_site=9, metrics=["mismatch"], rule="percentile", classes=["a", 'b"\\', "ç", "d\n", "e"],
            preprocess={"mean": [0.0, 0.0, 0.0]}, protect=["range", {"protection": "nan_guard", "name": "guard"}],
            learn={"limit": 5},
        )  # fmt: skip
        import tomllib

        text = tomllib.loads(campaign.read_text(encoding="utf-8"))
        self.assertEqual(text["format"], {"id": "int8", "granularity": "channel"})
        self.assertEqual(text["faults"], [
            {"error_model": {"id": "bit_flip", "bits": 2}, "target": "weight", "per_site": 9},
            {"target": "activation", "per_site": 3}])  # fmt: skip
        self.assertEqual(text["campaign"], {"hit_value": "clamped", "confidence": 0.95})
        self.assertEqual(text["metrics"], {"ids": ["mismatch"]})
        self.assertEqual(text["protect"], [{"protection": "range"}, {"protection": "nan_guard", "name": "guard"}])
        self.assertEqual(text["learn"], {"limit": 5})
        self.assertEqual(text["calibration"], {"rule": "percentile"})
        self.assertEqual(text["data"]["preprocess"], {"scale": 1.0, "mean": [0.0, 0.0, 0.0]})
        self.assertEqual(json.loads((campaign.parent / text["data"]["classes"]).read_text())[1], 'b"\\')
        # Every key of the program can be given, and none but these.
        table = json.loads(subprocess.check_output([PROGRAM, "config", "--json"]))
        given = bitfall.campaign.Campaign()
        for section in table["sections"]:
            for key in section["keys"]:
                if key["name"] == "path":
                    continue  # of the network, of data: arguments of their own
                if section["name"] not in ("formats", "model", "data", "format", "metrics", "plugins", "protect", "learn", "faults.precision"):
                    given.set(key["name"], 1 if key["type"] == "integer" else "x")
        self.assertIn("per_site = 1", given.text())

    def test_fault_list_and_estimate(self):
        faults = self.folder / "faults.csv"
        faults.write_text("site,image,target,element,register,op,mask\nconv2,3,activation,7,payload,flip,0x4000\n")
        run = self.run_of("listed", fault_list=faults)
        self.assertEqual([(r["site"], r["image"]) for r in run.trials], [("conv2", "3")])
        said = bitfall.estimate(self.model, self.data, **KEYS)
        self.assertEqual(said["trials"], 3 * 64)
        self.assertEqual([s["name"] for s in bitfall.sites(self.model, (3, 8, 8)) if s["kind"] == "activation"],
                         ["conv1", "conv2", "fc"])  # fmt: skip


    def test_the_demo_is_accurate(self):
        from bitfall.demo import demo

        run = demo(self.folder / "demo", per_site=32)
        # The network was trained on such images: it answers 94 % of the quick start's as it should.
        self.assertGreater(run.summary()["fp32_accuracy"]["rate"], 0.85)
        self.assertEqual(len(run.trials), 7 * 32)


class Results(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.result = bitfall.run(cls.model, cls.data, output=cls.folder / "run", **KEYS)

    def test_tables_are_those_of_the_program(self):
        trials = self.result.trials
        out = subprocess.check_output([PROGRAM, "export", self.result.path, "--csv"], text=True)
        rows = list(csv.DictReader(io.StringIO(out)))
        self.assertEqual(len(trials), 192)
        self.assertEqual([str(t) for t in trials["trial"]], [r["trial"] for r in rows])
        self.assertEqual(trials["outcome"], [r["outcome"] for r in rows])
        numpy.testing.assert_array_equal(trials["faulty_loss"], [float(r["faulty_loss"]) for r in rows])
        self.assertEqual(self.result.edits["mask"], [int(r["mask"], 16) for r in rows])
        self.assertEqual(trials[3], dict(zip(trials.columns, trials[3:4][0].values())))
        some = trials[["image", "site"]]
        self.assertEqual((some.columns, some["site"], len(some)), (["image", "site"], trials["site"], len(trials)))
        layers = self.result.by_layer()
        self.assertEqual(layers["name"], ["conv1", "conv2", "fc"])
        for layer in layers:
            mine = [t for t in trials if t["site"] == layer["name"]]
            self.assertEqual(layer["trials"], len(mine))
            self.assertEqual(layer["masked"], sum(t["outcome"] == "masked" for t in mine))
            self.assertEqual(layer["mismatch"], sum(t["mismatch"] for t in mine) / len(mine))
            self.assertLess(layer["mismatch_low"], layer["mismatch_high"])
        bits = self.result.by_bit()
        self.assertEqual(sum(bits["trials"]), 192)
        self.assertEqual(set(bits["register"]), {"payload"})

    def test_tables_of_other_libraries(self):
        trials = self.result.trials
        for library, convert in (("pandas", trials.pandas), ("polars", trials.polars), ("pyarrow", trials.arrow)):
            if importlib.util.find_spec(library) is None:
                self.assertRaises(ImportError, convert)
                continue
            table = convert()
            self.assertEqual(len(table), 192)
            self.assertEqual(list(getattr(table, "column_names", table.columns)), trials.columns)

    def test_it_shows_itself(self):
        out = subprocess.check_output([PROGRAM, "report", self.result.path, "--html", self.folder / "p.html"], text=True)
        self.assertEqual(str(self.result), out.rsplit("\nreport: ", 1)[0])
        self.assertIn(str(self.result.path), repr(self.result))
        page = self.result._repr_html_()
        self.assertTrue(page.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;'), page[:60])
        self.assertEqual(page.count('"'), 8)  # the page's own are escaped
        self.assertFalse((self.result.path / "report.html").exists())
        self.assertTrue(self.result.report().is_file())
        self.assertIn("<td>conv2</td>", self.result.by_layer()._repr_html_())
        self.assertIn("conv2", repr(self.result.by_layer()))

    def test_replay_compare_and_reopening(self):
        self.assertTrue(self.result.replay(7)["equals_stored"])
        with self.assertRaisesRegex(bitfall.Error, "this run has trials 0 to 191"):
            self.result.replay(1000)
        other = self.run_of("other", format="fp8_e4m3")
        said = self.result.compare(other)
        self.assertEqual(said["schema"].split("/")[0], "bitfall.compare")
        self.assertEqual(bitfall.Run(self.result.path).digest, self.result.digest)
        self.assertEqual(bitfall.resume(self.result.path).digest, self.result.digest)
        with self.assertRaisesRegex(bitfall.Error, "is not a run directory"):
            bitfall.Run(self.folder)

    def test_resilience_is_judged_by_the_interval(self):
        network = self.result.summary()["network"]["mismatch"]
        high = network["interval"][1]
        self.assertLess(network["rate"], high)
        bitfall.assert_resilient(self.result, mismatch=f"< {100 * high + 0.1} %", due="<= 0.9")
        with self.assertRaisesRegex(AssertionError, r"mismatch is .*the upper end is at or above.*\n.*bitfall replay"):
            bitfall.assert_resilient(self.result, mismatch=f"< {network['rate'] + (high - network['rate']) / 2}")
        # More confidence is a wider interval.
        with self.assertRaises(AssertionError):
            bitfall.assert_resilient(self.result, mismatch=f"< {high + 1e-6}", confidence=0.9999)
        for bad in ("3 %", "< three", "== 3"):
            with self.assertRaises(bitfall.Error):
                bitfall.assert_resilient(self.result, mismatch=bad)
        with self.assertRaisesRegex(bitfall.Error, "did you mean 'mismatch'"):
            bitfall.assert_resilient(self.result, mismach="< 3 %")


class Refusals(Case):
    def test_wrong_arguments_are_named(self):
        for keys, message in (
            ({"per_sites": 3}, "unknown argument 'per_sites'; did you mean 'per_site'"),
            ({"format": "fp61"}, "unknown format 'fp61'"),
            ({"seed": -1}, "at least 0"),
            ({"metrics": ["mismach"]}, "unknown metric 'mismach'"),
            ({"faults": 3}, ""),
        ):
            with self.assertRaisesRegex((bitfall.Error, TypeError), message):
                bitfall.run(self.model, self.data, output=self.folder / "wrong", **{**KEYS, **keys})
        self.assertFalse((self.folder / "wrong" / "campaign.sqlite").exists())
        for model, data, message in (
            (3, self.data, "int is not a model"),
            (self.folder / "none.pt", self.data, "none.pt"),
            (self.model, [], "not one image"),
            (self.model, (self.images, self.labels[:3]), "10 images and 3 labels"),
            (self.model, (self.images[0], self.labels), r"\[N, C, H, W\] is expected"),
            (self.model, [("text", 1)], "images are"),
            (self.model, (self.images, self.labels + 0.5), "not whole numbers"),
            (self.model, [(self.images[0], 0), (self.images[0, :, :4], 1)], "image 1 is"),
            (nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Dropout1d()).train(), (self.images, 99 + self.labels), ""),
        ):
            with self.assertRaisesRegex(bitfall.Error, message):
                bitfall.run(model, data, output=self.folder / "wrong", **KEYS)

    def test_a_run_is_not_overwritten(self):
        run = self.run_of("kept")
        with self.assertRaisesRegex(bitfall.Error, "holds a run already"):
            self.run_of("kept")
        again = self.run_of("kept", seed=6, force=True)
        self.assertEqual(again.facts["seed"], "6")
        self.assertNotEqual(again.digest, None)
        self.assertEqual(run.path, again.path)

    def test_nan_images_are_data(self):
        images = self.images.clone()
        images[0] = float("nan")
        run = self.run_of("nan", data=(images, self.labels))
        self.assertEqual(len(run.trials), 192)

    def test_a_random_network_is_refused(self):
        class Noisy(nn.Module):
            def forward(self, x):
                return torch.randn(x.shape[0], 5)

        with self.assertRaisesRegex(bitfall.Error, "otherwise than in Python, or at random"):
            self.run_of("noisy", model=Noisy())

    def test_the_command_named_as_the_program_does_not_start_itself(self):
        shutil.copytree(SOURCE / "scripts/python/bitfall", self.folder / "alone/bitfall")
        (self.folder / "bin").mkdir()
        command = self.folder / "bin/bitfall"
        command.write_text(f"#!{sys.executable}\nfrom bitfall.program import main\nmain()\n")
        command.chmod(0o755)
        others = {"PYTHONPATH": str(self.folder / "alone"), "BITFALL": str(command)}
        for place, code, words in ((PROGRAM.parent, 0, "bitfall"), (command.parent, 1, "the program is not there")):
            done = subprocess.run(
                [command, "--version"], capture_output=True, text=True, timeout=60,
                env={**os.environ, **others, "PATH": f"{place}:/usr/bin:/bin"},
            )  # fmt: skip
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(words, done.stdout + done.stderr)

    def test_a_program_that_is_not_there(self):
        script = "import bitfall; bitfall.run('m.pt', 'images')"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True,
            env={**os.environ, "BITFALL": "/nowhere", "PYTHONPATH": str(SOURCE / "scripts/python")}, cwd=self.folder,
        )  # fmt: skip
        self.assertIn("bitfall.program.Error: BITFALL=/nowhere: is not a program", done.stderr)


class Interruption(Case):
    SCRIPT = textwrap.dedent("""
        import sys, torch, bitfall
        sys.path.insert(0, {tests!r})
        torch.manual_seed(1)
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3),
                                  torch.nn.Flatten(), torch.nn.Linear(256, 5))
        data = torch.randn(64, 3, 8, 8), torch.arange(64) % 5
        try:
            run = bitfall.run(net, data, output={output!r}, per_site={per_site}, batch=8, threads=1, workers=1,
                              commit_every=50, progress=True)
        except bitfall.Interrupted as stop:
            print("stopped", stop.run.status()["done"])
            sys.exit(7)
        print(run.digest)
        """)

    def start(self, name, per_site=4000):
        script = self.SCRIPT.format(tests=str(SOURCE), output=str(self.folder / name), per_site=per_site)
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "PYTHONPATH": str(SOURCE / "scripts/python")})  # fmt: skip

    def wait_for_trials(self, name, process):
        for _ in range(2000):
            with contextlib.suppress(bitfall.Error):
                if bitfall.Run(self.folder / name).status()["done"] > 100:
                    return
            if process.poll() is not None:
                self.fail(process.communicate())
            time.sleep(0.01)

    def test_ctrl_c_and_a_killed_kernel_lose_nothing(self):
        whole = self.start("whole")
        want, said = whole.communicate()
        self.assertIn("100 %", said)  # progress
        for name, how in (("stopped", signal.SIGINT), ("killed", signal.SIGKILL)):
            process = self.start(name)
            self.wait_for_trials(name, process)
            process.send_signal(how)
            out, _ = process.communicate(timeout=60)
            if how == signal.SIGINT:
                self.assertEqual(process.returncode, 7)
                self.assertIn("stopped", out)
            run = bitfall.Run(self.folder / name)
            for _ in range(500):  # the program ends with its parent, and stores what it has done
                with contextlib.suppress(bitfall.Error):
                    if not run.finished:
                        run.resume()
                    break
                time.sleep(0.02)
            self.assertEqual(run.digest, want.strip())


class Numbers(unittest.TestCase):
    VALUES = [0.0, -0.0, 0.1, -1.3, 300.0, 448.0, 1e-3, 65504.0, 1e-8, float("inf"), float("nan"), 3.3e38]

    def test_quantizing_is_pytorchs_and_numpys(self):
        x = torch.tensor(self.VALUES + torch.randn(200).mul(10).tolist())
        for name, kind, values in (("fp16", torch.float16, x), ("bf16", torch.bfloat16, x),
                                   ("e5m2", torch.float8_e5m2, x[x.abs() < 57344])):  # fmt: skip
            got = bitfall.formats[name].quantize(values)
            torch.testing.assert_close(got, values.to(kind).float(), rtol=0, atol=0, equal_nan=True)
        inside = x[x.abs() <= 448]
        got = bitfall.formats["e4m3"].quantize(inside)
        torch.testing.assert_close(got, inside.to(torch.float8_e4m3fn).float(), rtol=0, atol=0)
        array = x.numpy().reshape(4, -1)
        with numpy.errstate(over="ignore"):
            numpy.testing.assert_array_equal(
                bitfall.formats["fp16"].quantize(array), array.astype(numpy.float16).astype(numpy.float32)
            )
        self.assertEqual(bitfall.formats["fp16"].quantize(0.1), float(numpy.float16(0.1)))
        self.assertEqual(bitfall.formats["fp16"].quantize(numpy.zeros((0, 3))).shape, (0, 3))

    def test_flipping_is_xor(self):
        x = torch.randn(100)
        for bit in (0, 9, 10, 14, 15):
            codes = x.half().view(torch.int16).numpy().view(numpy.uint16) ^ numpy.uint16(1 << bit)
            want = torch.from_numpy(codes.view(numpy.float16).astype(numpy.float32))
            got = bitfall.formats["fp16"].flip(x, bit)
            torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
        codes = bitfall.formats["fp16"].encode(x)
        numpy.testing.assert_array_equal(codes, x.half().view(torch.int16).numpy().view(numpy.uint16))

    def test_options_and_scales(self):
        fixed = bitfall.formats["fixed"](integer_bits=3, fraction_bits=4)
        self.assertEqual(fixed.quantize(1.30), 1.3125)
        x = numpy.linspace(-3, 3, 25, dtype=numpy.float32)
        scale = numpy.float32(6.0) / 127
        numpy.testing.assert_allclose(
            bitfall.formats["int8"].quantize(x, range=6.0), numpy.rint(x / scale) * scale, rtol=1e-6
        )
        self.assertEqual(bitfall.formats["fp8_e4m3"].bits, 8)
        self.assertIn("fp16", bitfall.formats)
        with self.assertRaisesRegex(KeyError, "they are adaptive_float"):
            bitfall.formats["fp15"]
        with self.assertRaisesRegex(bitfall.Error, "bit"):
            bitfall.formats["fp16"].flip(1.0, 16)


class PyTorchFI(Case):
    """The shim against hooks as PyTorchFI 0.6.0 sets them, and against PyTorchFI itself where it is installed."""

    @staticmethod
    def by_hooks(model, images, faults):
        """Writes (row, layer's name, place, value) into outputs."""
        handles = []
        for row, name, place, value in faults:
            def hook(_module, _input, output, row=row, place=place, value=value):
                output[(row, *place)] = value
            handles.append(model.get_submodule(name).register_forward_hook(hook))
        with torch.no_grad():
            logits = model(images)
        for handle in handles:
            handle.remove()
        return logits

    def setUp(self):
        torch.set_num_threads(1)

    def declarations(self):
        return {"batch": [0, 2, 2, 3], "layer_num": [0, 1, 1, 2], "dim1": [5, 0, 7, 4], "dim2": [1, 2, 0, None],
                "dim3": [7, 1, 0, None], "value": [1e4, -3.5, 0.25, float("inf")]}  # fmt: skip

    def test_neurons_are_as_by_hooks(self):
        images = self.images[:4]
        injector = compat.fault_injection(self.model, 4, input_shape=[3, 8, 8], layer_types=[nn.Conv2d, nn.Linear])
        self.assertEqual(injector.output_size, [[1, 6, 8, 8], [1, 8, 3, 3], [1, 5]])
        got = injector.declare_neuron_fi(**self.declarations())(images)
        want = self.by_hooks(self.model, images, [
            (0, "conv1", (5, 1, 7), 1e4), (2, "conv2", (0, 2, 1), -3.5), (2, "conv2", (7, 0, 0), 0.25),
            (3, "fc", (4,), float("inf"))])  # fmt: skip
        self.assertTrue(torch.equal(got, want), got - want)

    def test_weights_are_as_by_hand(self):
        images = self.images[:4]
        injector = compat.FaultInjection(self.model, 4, input_shape=[3, 8, 8], layer_types=[nn.Conv2d, nn.Linear])
        got = injector.declare_weight_fault_injection(
            layer_num=[1, 1], k=[3, 0], dim1=[2, 5], dim2=[0, 1], dim3=[1, 2], value=[5.0, -2.0]
        )(images)
        other = Net().eval()
        other.load_state_dict(self.model.state_dict())
        with torch.no_grad():
            other.conv2.weight[3, 2, 0, 1] = 5.0
            other.conv2.weight[0, 5, 1, 2] = -2.0
            self.assertTrue(torch.equal(got, other(images)))

    def test_what_cannot_be_told_is_refused(self):
        injector = compat.fault_injection(self.model, 2, input_shape=[3, 8, 8])
        with self.assertRaisesRegex(bitfall.Error, "Python function in a hook"):
            injector.declare_neuron_fi(function=lambda *_: None)
        places = {"batch": [0, 0], "layer_num": [0, 1], "dim1": [0, 0], "dim2": [0, 0], "dim3": [0, 0], "value": [1.0, 1.0]}
        with self.assertRaisesRegex(bitfall.Error, r"image 0 is hit in layers \[0, 1\] at once"):
            injector.declare_neuron_fi(**places)(self.images[:2])
        for wrong, message in (({"dim1": [0, 99]}, "lies outside"), ({"layer_num": [0, 9]}, "layers 0 to 1"),
                               ({"batch": [0, 2]}, "2 images"), ({"dim2": [0]}, "one length")):  # fmt: skip
            with self.assertRaisesRegex(bitfall.Error, message):
                injector.declare_neuron_fi(**{**places, **wrong})
        with self.assertRaisesRegex(bitfall.Error, "3 images"):
            injector.declare_neuron_fi(**{**places, "layer_num": [0, 0]})(self.images[:3])

    @unittest.skipUnless(importlib.util.find_spec("pytorchfi"), "pytorchfi is not installed (scripts/benchmark.sh does)")
    def test_logits_are_those_of_pytorchfi(self):
        from pytorchfi.core import fault_injection

        images = self.images[:4]
        arguments = {"input_shape": [3, 8, 8], "layer_types": [nn.Conv2d, nn.Linear]}
        theirs, ours = fault_injection(self.model, 4, **arguments), compat.fault_injection(self.model, 4, **arguments)
        self.assertEqual(theirs.get_output_size(), ours.get_output_size())
        with torch.no_grad():
            want = theirs.declare_neuron_fi(**self.declarations())(images)
            self.assertTrue(torch.equal(ours.declare_neuron_fi(**self.declarations())(images), want))
            theirs.fi_reset()
            places = {"layer_num": [0], "k": [2], "dim1": [1], "dim2": [0], "dim3": [2], "value": [-7.5]}
            want = theirs.declare_weight_fi(**places)(images)
            self.assertTrue(torch.equal(ours.declare_weight_fi(**places)(images), want))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
