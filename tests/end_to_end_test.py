"""The program as a user runs it: campaigns, interruption, replay, export, bad input, the install tree.

usage: end_to_end_test.py BUILD_DIR [unittest arguments]
"""

import contextlib
import csv
import io
import json
import math
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

import numpy
import torch
from PIL import Image
from torch.nn import functional as F

warnings.filterwarnings("ignore")
os.environ["PYTHONWARNINGS"] = "ignore"
SOURCE = pathlib.Path(__file__).resolve().parent.parent
SHARED = SOURCE.parent / "shared" / "data"
sys.path.insert(0, str(SOURCE / "tests"))
import make_models  # noqa: E402

BUILD = pathlib.Path(sys.argv[1]).resolve()
PROGRAM = BUILD / "bin" / "bitfall"
CLASSES = ["ant", "bee", "cat", "dog", "eel"]
MEAN, STD = 0.5, 0.25


def bitfall(*arguments, expect=0, program=PROGRAM, cwd=None, **environment):
    """Runs the program, with these variables in its environment; returns (stdout, stderr)."""
    done = subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, timeout=600, cwd=cwd,
        env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode != expect:
        raise AssertionError(
            f"{arguments}: exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
        )
    return done.stdout, done.stderr


def open_files(process):
    """What the process has open, by name."""
    names = set()
    for file in pathlib.Path(f"/proc/{process}/fd").glob("*"):
        with contextlib.suppress(OSError):
            names.add(os.readlink(file))
    return names


class Case(unittest.TestCase):
    """A folder with models, a small image set and a campaign file."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="bitfall_e2e_"))
        subprocess.run([sys.executable, SOURCE / "tests" / "make_models.py", cls.folder], check=True)
        random = numpy.random.default_rng(3)
        for name in CLASSES:
            (cls.folder / "images" / name).mkdir(parents=True)
            for i in range(5):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(cls.folder / "images" / name / f"{i:02d}.png")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def campaign(self, name, model="residual", form="fp16", per_site=40, rest="", batch=4, more=""):
        path = self.folder / f"{name}.toml"
        path.write_text(
            f"""[campaign]
seed = 5
output = "runs/{name}"
{more}
[model]
path = "{model}.pt"
[data]
path = "images"
preprocess = {{ mean = [{MEAN}], std = [{STD}] }}
[format]
id = "{form}"
[[faults]]
per_site = {per_site}
{rest}
[run]
batch = {batch}
threads = 1
"""
        )
        return path

    def run_directory(self, name):
        return self.folder / "runs" / name

    def rows(self, name):
        out, _ = bitfall("export", self.run_directory(name), "--csv")
        return list(csv.DictReader(io.StringIO(out)))

    def digest(self, name):
        out, _ = bitfall("status", self.run_directory(name), "--json")
        return json.loads(out)["digest"]


class Campaign(Case):
    def test_minimal_file_runs(self):
        path = self.folder / "minimal.toml"
        path.write_text('[model]\npath = "residual.pt"\n[data]\npath = "images"\n')
        out, _ = bitfall("run", path, "--output", self.folder / "runs" / "minimal")
        self.assertIn("golden accuracy", out)

    def test_images_are_resized_as_the_card_asks(self):
        card = {"schema": "bitfall.model/1", "preprocess": {"interpolation": "bicubic"}}
        model = torch.jit.load(self.folder / "residual.pt")
        model.save(str(self.folder / "carded.pt"), _extra_files={"bitfall.json": json.dumps(card)})
        digests = []
        for name, network, key in (
            ("by_card", "carded", ""),
            ("by_file", "residual", ', interpolation = "bicubic"'),
            ("bilinear", "carded", ', interpolation = "bilinear"'),
        ):
            path = self.campaign(name, model=network, form="fp32", per_site=8)
            text = path.read_text()
            path.write_text(text.replace("preprocess = {", "preprocess = { resize = 12, crop = 8,").replace(
                f"std = [{STD}] }}", f"std = [{STD}]{key} }}"))
            _, err = bitfall("run", path)
            status = json.loads(bitfall("status", self.run_directory(name), "--json")[0])
            digests.append(status["digest"])
            self.assertEqual(status["facts"].get("interpolation"), None if name == "bilinear" else "bicubic")
            self.assertEqual("asks for interpolation 'bicubic'" in err, network == "carded", err)
        self.assertEqual(digests[0], digests[1])
        self.assertNotEqual(digests[0], digests[2])
        for row in self.rows("by_card"):
            with Image.open(self.folder / "images" / row["image"]) as image:
                resized = image.convert("RGB").resize((12, 12), Image.Resampling.BICUBIC).crop((2, 2, 10, 10))
            pixels = torch.from_numpy(numpy.array(resized)).permute(2, 0, 1).float() / 255
            logits = model(((pixels - MEAN) / STD)[None])
            loss = F.cross_entropy(logits.double(), torch.tensor([int(row["label"])])).item()
            self.assertAlmostEqual(float(row["golden_loss"]), loss, delta=1e-5)

    def test_a_list_names_the_images(self):
        path = self.campaign("listed", per_site=30)
        path.write_text(path.read_text().replace('path = "images"', 'path = "images"\nlist = "test.txt"'))
        (self.folder / "test.txt").write_text("bee/03\neel/00\ncat/04\nbee/01\n")
        bitfall("run", path)
        labels = {(row["image"], row["label"]) for row in self.rows("listed")}
        self.assertEqual(labels, {("bee/03.png", "1"), ("bee/01.png", "1"), ("cat/04.png", "2"), ("eel/00.png", "4")})
        (self.folder / "test.txt").write_text("bee/03\neel/09\n")
        _, err = bitfall("run", path, "--force", expect=4)
        self.assertIn("test.txt:2: ", err)
        self.assertIn("holds no image 'eel/09'", err)

    def test_dry_run_writes_nothing(self):
        out, _ = bitfall("run", self.campaign("dry"), "--dry-run", "--json")
        document = json.loads(out)
        self.assertEqual(document["trials"], 6 * 40)
        self.assertTrue(0 < document["estimated_s"] < 3600, document["estimated_s"])
        path = self.campaign("dry", per_site=4000, batch=2)
        whole, part = (
            json.loads(bitfall("run", path, "--dry-run", "--json", *shard)[0])
            for shard in ((), ("--shard", "1/3"))
        )  # fmt: skip
        self.assertEqual(whole["trials"], 6 * 4000)
        self.assertLess(part["trials"], whole["trials"] / 2)
        none = json.loads(bitfall("run", path, "--dry-run", "--json", "--shard", "99999/99999")[0])
        self.assertEqual(none["trials"], 0)  # fewer trials than shards
        self.assertFalse(self.run_directory("dry").exists())
        # stem: 8x8x8 values x 16 bits x 25 images
        self.assertEqual(document["strata"][0]["population"], 8 * 8 * 8 * 16 * 25)

    def test_dry_run_needs_no_temporary_folder(self):
        def listing():
            return sorted(str(path) for path in self.folder.rglob("*"))

        path = self.campaign("dry_disk")
        before = listing()
        bitfall("run", path, "--dry-run", TMPDIR="/nonexistent")
        # Nor one where the run would go: then the time of the database is left out.
        bitfall("run", path, "--dry-run", "-o", "/proc/no/run")
        self.assertEqual(listing(), before)

    def test_list_fed_back_gives_the_same_rows(self):
        for form in ("fp16", "int8"):
            campaign = self.campaign(f"drawn_{form}", form=form)
            bitfall("run", campaign)
            drawn = self.run_directory(f"drawn_{form}")
            faults = self.folder / f"faults_{form}.csv"
            bitfall("export", drawn, "--faults", "-o", faults)
            bitfall("run", campaign, "--faults", faults, "--output", self.run_directory(f"fed_{form}"))
            before, after = self.rows(f"drawn_{form}"), self.rows(f"fed_{form}")
            self.assertEqual(len(before), 240)
            self.assertEqual(before, after)
            # An exported trial table is a fault list too.
            table = self.folder / f"table_{form}.csv"
            bitfall("export", drawn, "--csv", "-o", table)
            bitfall("run", campaign, "--faults", table, "--output", self.run_directory(f"table_{form}"))
            self.assertEqual(before, self.rows(f"table_{form}"))

    def test_replay_equals_the_stored_trial(self):
        bitfall("run", self.campaign("replayed", rest='operations = "*"', per_site=10))
        for trial in (0, 17, 59):
            out, _ = bitfall("replay", self.run_directory("replayed"), "--trial", trial, "--json")
            self.assertTrue(json.loads(out)["equals_stored"])
        out, _ = bitfall("replay", self.run_directory("replayed"), "--trial", 3)
        self.assertIn("equal to the stored trial", out)
        _, err = bitfall("replay", self.run_directory("replayed"), "--trial", 10**6, expect=2)
        self.assertIn("this run has trials 0 to", err)

    def test_replay_tells_values_and_compares_their_bits(self):
        bitfall("run", self.campaign("noise", per_site=5, rest='error_model = { id = "noise", standard_deviation = 0.5 }\nsites = "layer.0.conv1"'))
        directory = self.run_directory("noise")
        with contextlib.closing(sqlite3.connect(directory / "campaign.sqlite")) as database:
            stored = database.execute("SELECT value, value_before FROM v_edits WHERE trial = 2").fetchall()
        edits = json.loads(bitfall("replay", directory, "--trial", 2, "--json")[0])["edits"]
        self.assertEqual([(e["value"], e["value_before"]) for e in edits], stored)
        self.assertEqual([int(e["mask"], 16) for e in edits],
                         [int(numpy.float32(value).view(numpy.uint32)) for value, _ in stored])
        self.assertTrue(all(edit["value"] != 0 for edit in edits))
        flipped = json.loads(bitfall("replay", self.flipped(), "--trial", 0, "--json")[0])["edits"]
        self.assertTrue(all("value" not in edit for edit in flipped))

        def differs(change, trial, directory):
            with contextlib.closing(sqlite3.connect(directory / "campaign.sqlite")) as database, database:
                database.execute(f"UPDATE trials SET {change} WHERE trial = {trial}")
            self.assertIn("DIFFERS", bitfall("replay", directory, "--trial", trial, expect=1)[0])

        differs("value_bits = value_bits + 1", 2, directory)
        directory = self.flipped()
        with contextlib.closing(sqlite3.connect(directory / "campaign.sqlite")) as database:
            (trial,) = database.execute("SELECT trial FROM v_edits WHERE value_before = 0").fetchone()
        self.assertIn("every bit", bitfall("replay", directory, "--trial", trial)[0])
        differs("value_before = -0.0", trial, directory)

    def flipped(self):
        """A run with edits of values that are 0."""
        directory = self.run_directory("flipped")
        if not directory.exists():
            bitfall("run", self.campaign("flipped", form="int8", per_site=100))
        return directory

    def test_interrupting_a_replay_ends_it(self):
        directory = self.flipped()
        command = [str(PROGRAM), "replay", str(directory), "--trial", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        database = str(directory / "campaign.sqlite")
        deadline = time.time() + 60
        while time.time() < deadline and database not in open_files(process.pid):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), -signal.SIGINT)

    def test_populations_follow_the_golden_profile(self):
        for form, kind in (("int8", "golden"), ("int8", "format"), ("fp16", "golden")):
            name = f"random_{form}_{kind}"
            rest = f'error_model = {{ id = "random_value", range = "{kind}" }}\nsites = "fc"'
            campaign = self.campaign(name, form=form, per_site=40, rest=rest)
            document = json.loads(bitfall("run", campaign, "--dry-run", "--json")[0])
            self.assertGreater(document["population"], 5 * 25 * 100)
            bitfall("run", campaign)
            self.assertEqual(len(self.rows(name)), 40)

    def test_seed_decides_everything(self):
        campaign = self.campaign("seeded")
        bitfall("run", campaign)
        bitfall("run", campaign, "--output", self.run_directory("seeded_again"))
        self.assertEqual(self.digest("seeded"), self.digest("seeded_again"))
        campaign.write_text(campaign.read_text().replace("seed = 5", "seed = 6"))
        bitfall("run", campaign, "--output", self.run_directory("seeded_other"))
        self.assertNotEqual(self.digest("seeded"), self.digest("seeded_other"))

    def test_shards_merge_to_one_run(self):
        more = '[[faults]]\ntarget = "weight"\nper_site = 5\npermanent = true\n'
        campaign = self.campaign("whole", per_site=20, rest=more)
        bitfall("run", campaign)
        shards = [self.run_directory(f"whole-{i}of3") for i in (1, 2, 3)]
        for i, shard in enumerate(shards, 1):
            bitfall("run", campaign, "--shard", f"{i}/3")
            out, _ = bitfall("resume", shard)
            self.assertIn("finished already", out)
            self.assertIn(f"shard {i}/3", bitfall("report", shard)[0] + bitfall("report", shard)[1])
        counts = [json.loads(bitfall("status", shard, "--json")[0])["done"] for shard in shards]
        self.assertTrue(all(counts))
        _, err = bitfall("merge", *shards[:2], "-o", self.run_directory("merged"), expect=4)
        self.assertIn("shards are missing: 3/3", err)
        _, err = bitfall("merge", shards[0], shards[0], "-o", self.run_directory("merged"), expect=4)
        self.assertIn("given twice", err)
        self.assertEqual(err.count(str(shards[0])), 2)
        _, err = bitfall("merge", self.run_directory("whole"), "-o", self.run_directory("merged"), expect=4)
        self.assertIn("is not a shard", err)
        bitfall("run", campaign, "--shard", "2/2")
        half = self.run_directory("whole-2of2")
        _, err = bitfall("merge", shards[0], half, "-o", self.run_directory("merged"), expect=4)
        self.assertIn(f"{half}: is shard 2/2, of another division than shard 1/3 in {shards[0]}", err)
        bitfall("run", campaign, "--shard", "01/02")  # as the number of an array job may be written
        bitfall("merge", self.run_directory("whole-1of2"), half, "-o", self.run_directory("halves"))
        self.assertEqual(self.digest("halves"), self.digest("whole"))
        bitfall("merge", *reversed(shards), "-o", self.run_directory("merged"))
        _, err = bitfall("merge", *shards, "-o", self.run_directory("merged"), expect=2)
        merged = self.run_directory("merged")
        self.assertEqual(err, f"bitfall: error: -o {merged}: holds a run already; give another folder to "
                         "merge into, or replace it with --force\n")
        self.assertEqual(self.digest("merged"), self.digest("whole"))
        self.assertEqual(self.rows("merged"), self.rows("whole"))
        _, err = bitfall("run", campaign, "--shard", "4/3", expect=2)
        self.assertIn("give I/N", err)
        # An interrupted shard goes on as a shard.
        (shards[1] / "campaign.sqlite").unlink()
        process = subprocess.Popen([str(PROGRAM), "run", campaign, "--shard", "2/3"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.6)
        process.kill()
        process.wait()
        # Killed before the run was there to go on with, it is started again.
        status = subprocess.run([str(PROGRAM), "status", shards[1]], capture_output=True)
        if status.returncode == 0:
            bitfall("resume", shards[1])
        else:
            bitfall("run", campaign, "--shard", "2/3", "--force")
        bitfall("merge", *shards, "-o", self.run_directory("merged_again"))
        self.assertEqual(self.digest("merged_again"), self.digest("whole"))

    def test_report_is_one_file_without_network(self):
        bitfall("run", self.campaign("reported"))
        out, _ = bitfall("report", self.run_directory("reported"))
        for name in ("stem", "layer.0.conv1", "fc", "golden accuracy", "exponent"):
            self.assertIn(name, out)
        page = (self.run_directory("reported") / "report.html").read_text()
        self.assertIsNone(re.search(r'<(script|link|img|iframe)[^>]*\b(src|href)\s*=\s*["\']?https?:', page))
        document = json.loads(bitfall("report", self.run_directory("reported"), "--json")[0])
        self.assertEqual(document["schema"], "bitfall.report/2")

    def test_existing_run_is_refused_and_forced(self):
        campaign = self.campaign("twice", per_site=5)
        bitfall("run", campaign)
        _, err = bitfall("run", campaign, expect=2)
        self.assertIn("bitfall resume", err)
        bitfall("run", campaign, "--force")
        out, _ = bitfall("resume", self.run_directory("twice"))
        self.assertIn("finished already", out)

    def test_a_forced_run_that_cannot_be_stored_keeps_the_old_one(self):
        campaign = self.campaign("kept", per_site=5)
        bitfall("run", campaign)
        digest = self.digest("kept")
        plugin = BUILD / "tests" / "plugins" / "taken_column.so"
        text = campaign.read_text()
        campaign.write_text(f'{text}[plugins]\npaths = ["{plugin}"]\n[metrics]\nids = ["labels"]\n')
        _, err = bitfall("run", campaign, "--force", expect=3)
        self.assertIn("a name that is already taken in the store", err)
        self.assertNotIn("profile", err)
        self.assertEqual(self.digest("kept"), digest)
        campaign.write_text(text.replace("seed = 5", "seed = 6"))
        bitfall("run", campaign, "--force")
        self.assertNotEqual(self.digest("kept"), digest)
        names = {path.name for path in self.run_directory("kept").iterdir()}
        self.assertEqual(names, {"campaign.sqlite", "campaign.toml", "lock"})

    def test_export_that_fails_keeps_the_old_file(self):
        bitfall("run", self.campaign("exported", per_site=5))
        table = self.folder / "exported.csv"
        table.write_text("mine")
        names = sorted(path.name for path in self.folder.iterdir())
        with contextlib.closing(sqlite3.connect(self.run_directory("exported") / "campaign.sqlite")) as database, database:
            database.execute("UPDATE trials SET image = 99 WHERE trial = 20")
        _, err = bitfall("export", self.run_directory("exported"), "--csv", "-o", table, expect=4)
        self.assertIn("is damaged: trial 20 has the image 99", err)
        self.assertEqual(table.read_text(), "mine")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), names)
        _, err = bitfall("export", self.run_directory("exported"), "--jsonl", "-o", "/dev/stderr", expect=4)
        self.assertTrue(err.startswith('{"trial":0,'))


class Headed(torch.nn.Module):
    """The residual network with a text-guided head in the published layout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.backbone = make_models.Residual()
        self.backbone.fc = torch.nn.Linear(8, 16)
        self.head = torch.nn.Linear(16, 5, bias=False)
        self.logit_scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        x = F.normalize(self.backbone(x), 2.0, -1)
        return self.logit_scale.exp() * self.head(x)


class Comparison(Case):
    def runs(self):
        """A baseline and an arm with a head."""
        if not hasattr(type(self), "made"):
            headed = Headed().eval()
            torch.jit.script(headed).save(self.folder / "headed.pt")
            bitfall("run", self.campaign("base", per_site=60))
            rest = 'operations = ["conv", "linear", "div", "mul"]'
            bitfall("run", self.campaign("method", model="headed", per_site=60, rest=rest))
            type(self).made = headed
        return self.run_directory("base"), self.run_directory("method")

    def compare(self, *arguments):
        out, _ = bitfall("compare", *arguments, "--json")
        return json.loads(out)

    def test_of_a_run_with_itself_is_one(self):
        base, _ = self.runs()
        document = self.compare(base, base, "--html", self.folder / "same.html")
        for layer in document["layers"]:
            arm = layer["arms"][1]
            self.assertEqual(arm["pairing"]["statistics"], "paired")
            self.assertEqual(arm["pairing"]["mcnemar"]["p"], 1)
            for ratio in arm["improvement"].values():
                if ratio["text"] != "none in either":
                    self.assertEqual(ratio["value"], 1)
                    self.assertEqual(ratio["interval"], [1, 1])

    def test_page_is_not_written_over_results(self):
        base, method = self.runs()
        store = base / "campaign.sqlite"
        content = store.read_bytes()
        _, err = bitfall("compare", base, method, "--html", store, expect=2)
        self.assertIn("holds a database", err)
        _, err = bitfall("export", base, "--csv", "-o", store, expect=2)
        self.assertIn("holds a database", err)
        self.assertEqual(store.read_bytes(), content)

    def test_of_a_head_with_its_baseline(self):
        base, method = self.runs()
        document = self.compare(base, method, "--label", "plain", "--label", "head")
        self.assertTrue((self.folder / "runs" / "compare.html").exists())
        first, second = document["arms"]
        self.assertEqual([first["label"], second["label"]], ["plain", "head"])
        parameters = sum(p.numel() for p in self.made.parameters())
        self.assertEqual(second["parameters"], parameters)
        self.assertEqual(second["operations"] - first["operations"], 8 * 16 + 16 * 5 - 8 * 5)
        by_name = {layer["name"]: layer["arms"] for layer in document["layers"]}
        self.assertEqual(by_name["stem"][1]["site"], "backbone.stem")
        self.assertEqual(by_name["stem"][1]["pairing"]["statistics"], "paired")
        self.assertIsNone(by_name["head"][0])
        self.assertEqual(
            [network["over"] for network in second["networks"]],
            ["layers", "layers", "before_last", "with_head", "with_head"],
        )

        def losses(name, site):
            rows = [row for row in self.rows(name) if row["site"] == site]
            return {row["trial"]: abs(float(row["faulty_loss"]) - float(row["golden_loss"]))
                    for row in rows}.values()

        def mean(name, site):
            values = [value for value in losses(name, site) if math.isfinite(value)]
            return sum(values) / len(values)

        combined = (16 * mean("method", "backbone.fc") + 5 * mean("method", "head")) / 21
        last = second["last_layer"]
        self.assertEqual([site["outputs"] for site in last["sites"]], [16, 5])
        weighted = last["combinations"][0]
        self.assertAlmostEqual(weighted["values"]["delta_loss"]["value"] / combined, 1, 6)
        ratio = mean("base", "fc") / combined
        self.assertAlmostEqual(weighted["improvement"]["delta_loss"]["value"] / ratio, 1, 6)

    def test_prints_tables(self):
        out, _ = bitfall("compare", *self.runs())
        for title in ("Summary", "Without a fault", "Last layer", "Network", "Layers"):
            self.assertIn(f"\n{title}\n", "\n" + out)
        self.assertLessEqual(max(map(len, out.splitlines()[:-1])), 136)
        out, err = bitfall("compare", *self.runs(), "--markdown")
        self.assertIn("## Last layer", out)
        self.assertIn("compare.html", err)
        out, _ = bitfall("compare", *self.runs(), "--charts")
        self.assertEqual(set(json.loads(out)), {"improvement", "values", "kept"})

    def test_makes_the_tables_of_the_study(self):
        base, method = self.runs()
        study = self.folder / "study"
        arms = ["baseline", "projection", "random", "prompt", "descriptions", "linear"]

        def tables(seeds, expect=0):
            done = subprocess.run(
                [sys.executable, SOURCE / "scripts/reproduce/study_tables.py", study]
                + ["--seeds", str(seeds)],
                capture_output=True, text=True,
            )  # fmt: skip
            self.assertEqual(done.returncode, expect, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            return done.stdout if expect == 0 else done.stderr

        def write(seed, second, accuracy):
            """The study's files of one seed, whose arms but the baseline are all the run `second`."""
            labels = [word for arm in arms for word in ("--label", arm)]
            whole = self.compare(base, *[second] * 5, *labels)
            steps = {
                "bottleneck": ("baseline", "projection"), "cosine": ("projection", "random"),
                "prompt": ("random", "prompt"), "descriptions": ("random", "descriptions"),
                "linear_text": ("projection", "linear"),
            }  # fmt: skip
            for setting in ("fp16_clamped", "fp32_clamped", "fp16_raw", "fp32_raw"):
                folder = study / seed / setting
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "compare.json").write_text(json.dumps(whole))
                for step, labels in steps.items():
                    document = self.compare(base, second, *sum((["--label", x] for x in labels), []))
                    (folder / f"{step}.json").write_text(json.dumps(document))
            for arm in arms:
                log = study / seed / "trained" / arm / "log.csv"
                log.parent.mkdir(parents=True)
                log.write_text(f"epoch,validation_accuracy\n1,0.1\n2,{accuracy}\n")
            return whole["arms"][1]["networks"][0]["improvement"][whole["headline"]]

        first = write("seed1", method, 0.75)
        self.assertIn("seed2", tables(2, expect=1))
        out = tables(1)
        self.assertIn("1 seed, 2 epochs", out)
        self.assertIn("| one linear layer | 75.00 % |", out)
        # In four settings, five arms and five steps; intervals are each arm's own.
        value = first["text"].split(" [")[0]
        self.assertEqual(out.count(f"| {value} ["), 40, out)
        step = study / "seed1" / "fp16_raw" / "cosine.json"
        document = json.loads(step.read_text())
        document["arms"][1]["networks"][0]["layers"] += 4
        kept, _ = step.read_text(), step.write_text(json.dumps(document))
        self.assertIn("fp16_raw/cosine.json: is over", tables(1, expect=1))
        step.write_text(kept)
        second = write("seed2", base, 0.5)  # itself: every ratio is 1
        self.assertEqual(second["value"], 1)
        out = tables(2)
        self.assertIn("| one linear layer | 62.50 % (50.00 % to 75.00 %) |", out)
        low, high = min(first["interval"][0], 1), max(first["interval"][1], 1)
        value = f"{math.sqrt(first['value']):.3g}"
        self.assertEqual(out.count(f"| {value} ["), 40, out)
        self.assertRegex(out, re.escape(f"| {value} [{low:.3g}, {high:.3g}]") + r"\*? \|")
        (study / "seed2" / "trained" / "prompt" / "log.csv").write_text("epoch\n9\n")
        self.assertIn("does not have the epochs of", tables(2, expect=1))

    def test_refuses_what_cannot_be_compared(self):
        base, _ = self.runs()
        _, err = bitfall("compare", base, expect=2)
        self.assertIn("compare --help", err)
        _, err = bitfall("compare", base, base, *["--label", "x"] * 3, expect=2)
        self.assertIn("3 labels for 2 runs", err)
        other = self.folder / "other"
        shutil.copytree(self.folder / "images", other)
        Image.fromarray(numpy.zeros((8, 8, 3), numpy.uint8)).save(other / "ant" / "00.png")
        path = self.campaign("elsewhere", per_site=5)
        path.write_text(path.read_text().replace('path = "images"', 'path = "other"'))
        bitfall("run", path)
        _, err = bitfall("compare", base, self.run_directory("elsewhere"), expect=4)
        self.assertIn("other images or labels", err)
        _, err = bitfall("compare", base, self.folder / "absent", expect=4)
        self.assertIn("not a run directory", err)


class Oracle(Case):
    """PyTorch's eager network with forward hooks gives the same answers."""

    def images(self):
        names, tensors = [], []
        for i in range(5):
            for name in CLASSES:
                file = self.folder / "images" / name / f"{i:02d}.png"
                pixels = torch.from_numpy(numpy.asarray(Image.open(file)).copy()).permute(2, 0, 1)
                tensors.append((pixels.float() / 255 - MEAN) / STD)
                names.append(f"{name}/{i:02d}.png")
        return names, torch.stack(tensors)

    def network(self):
        network = make_models.Residual().eval()
        network.load_state_dict(torch.jit.load(str(self.folder / "residual.pt")).state_dict())
        return network

    @staticmethod
    def flip(value, mask):
        (code,) = struct.unpack("<I", struct.pack("<f", value))
        return struct.unpack("<f", struct.pack("<I", code ^ mask))[0]

    def test_activation_and_weight_faults(self):
        bitfall("run", self.campaign("activations", form="fp32", per_site=30, batch=5))
        bitfall("run", self.campaign("weights", form="fp32", per_site=8, batch=5, rest='target = "weight"'))
        names, images = self.images()
        rows = self.rows("activations") + self.rows("weights")
        self.assertGreater(len(rows), 200)
        modules = dict(self.network().named_modules())
        changed = 0
        for row in rows:
            index = names.index(row["image"])
            start = index // 5 * 5
            batch, place = images[start : start + 5], index - start
            element, mask = int(row["element"]), int(row["mask"], 16)
            label = CLASSES.index(row["image"].split("/")[0])
            self.assertEqual(int(row["label"]), label)
            network = self.network()
            seen = {}
            with torch.no_grad():
                if row["target"] == "weight":
                    parameter = network.state_dict()[row["site"]].view(-1)
                    seen["before"] = parameter[element].item()
                    parameter[element] = self.flip(seen["before"], mask)
                else:

                    def hook(module, inputs, output):
                        output = output.clone()
                        flat = output[place].view(-1)
                        seen["before"] = flat[element].item()
                        flat[element] = self.flip(seen["before"], mask)
                        return output

                    self.assertIn(row["site"], modules)
                    dict(network.named_modules())[row["site"]].register_forward_hook(hook)
                logits = network(batch)[place].double()
            self.assertEqual(numpy.float32(row["value_before"]), numpy.float32(seen["before"]))
            want = F.cross_entropy(logits[None], torch.tensor([label])).item()
            got = float(row["faulty_loss"])
            if math.isfinite(want):
                self.assertLessEqual(abs(got - want), 1e-6 * max(1, abs(want)), row)
                self.assertEqual(int(row["faulty_top1"]), logits.argmax().item(), row)
            else:
                self.assertFalse(math.isfinite(got), row)
            changed += row["golden_top1"] != row["faulty_top1"]
        self.assertGreater(changed, 2)

    def test_formats_by_site(self):
        """INT8 weights by output channel, FP16 activations, flips in the activations' codes."""
        rest = """[[formats]]
format = { id = "int8", granularity = "channel" }
target = "weight"
sites = "*.weight"
"""
        bitfall("run", self.campaign("by_site", form="fp16", per_site=30, batch=5, rest=rest))
        names, images = self.images()
        network = self.network()
        quantised = 0
        for module in network.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                weight = module.weight.data
                scale = weight.abs().flatten(1).max(1).values / 127
                scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
                module.weight.data = (weight / scale).round().clamp(-128, 127) * scale
                quantised += 1
        self.assertEqual(quantised, 6)
        rows = self.rows("by_site")
        self.assertEqual(len(rows), 6 * 30)
        close = 0
        for row in rows:
            index = names.index(row["image"])
            element, mask = int(row["element"]), int(row["mask"], 16)
            handles = []
            for name, module in network.named_modules():
                if not isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                    continue

                def hook(module, inputs, output, name=name):
                    output = output.half()
                    if name == row["site"]:
                        codes = output.view(torch.int16).view(-1)
                        codes[element] ^= mask - 65536 if mask >= 32768 else mask
                    return output.float()

                handles.append(module.register_forward_hook(hook))
            with torch.no_grad():
                logits = network(images[index : index + 1])[0].double()
            for handle in handles:
                handle.remove()
            want = F.cross_entropy(logits[None], torch.tensor([int(row["label"])])).item()
            got = float(row["faulty_loss"])
            if not math.isfinite(want):
                self.assertFalse(math.isfinite(got), row)
                close += 1
                continue
            # A kernel's last bit may tip an FP16 rounding over, which is half an ulp of 2^-11.
            self.assertLessEqual(abs(got - want), 1e-2 * max(1, abs(want)), row)
            close += abs(got - want) <= 1e-6 * max(1, abs(want))
        self.assertGreater(close, 0.8 * len(rows))


class Interruption(Case):
    def long_campaign(self, name):
        return self.campaign(name, per_site=2500, rest='operations = "*"', more="")

    def interrupt(self, name, how):
        """Starts a run, stops it in the middle, returns (exit code, stderr)."""
        campaign = self.long_campaign(name)
        campaign.write_text(campaign.read_text() + "commit_every = 50\n")
        process = subprocess.Popen(
            [str(PROGRAM), "run", str(campaign)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        database = self.run_directory(name) / "campaign.sqlite"
        deadline = time.time() + 120
        while time.time() < deadline and process.poll() is None:
            if database.exists():
                status = subprocess.run(
                    [str(PROGRAM), "status", str(self.run_directory(name)), "--json"], capture_output=True, text=True
                )
                if status.returncode == 0 and json.loads(status.stdout)["done"] > 500:
                    break
            time.sleep(0.05)
        process.send_signal(how)
        _, err = process.communicate(timeout=120)
        return process.returncode, err

    def test_kill_and_interrupt_then_resume_equal_an_uninterrupted_run(self):
        reference = self.long_campaign("reference")
        reference.write_text(reference.read_text() + "commit_every = 50\n")
        bitfall("run", reference)
        want = self.digest("reference")
        code, _ = self.interrupt("killed", signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL, "the run ended before it could be killed")
        status = json.loads(bitfall("status", self.run_directory("killed"), "--json")[0])
        self.assertLess(status["done"], status["trials"])
        self.assertNotEqual(status["digest"], want)
        bitfall("resume", self.run_directory("killed"))
        self.assertEqual(self.digest("killed"), want)
        self.assertEqual(self.rows("killed"), self.rows("reference"))

        code, err = self.interrupt("stopped", signal.SIGINT)
        self.assertEqual(code, 75, err)
        self.assertIn(f"bitfall resume {self.run_directory('stopped')}", err)
        bitfall("resume", self.run_directory("stopped"))
        self.assertEqual(self.digest("stopped"), want)

    def test_resume_commits_as_often_as_the_campaign_says(self):
        code, err = self.interrupt("often", signal.SIGINT)
        self.assertEqual(code, 75, err)
        seen = set()
        with contextlib.closing(sqlite3.connect(self.run_directory("often") / "campaign.sqlite")) as database:
            count = lambda: database.execute("SELECT count(*) FROM trials").fetchone()[0]  # noqa: E731
            start = count()
            process = subprocess.Popen([str(PROGRAM), "resume", str(self.run_directory("often"))],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                seen.add(count() - start)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(any(done % 50 == 0 and done % 256 != 0 for done in seen), sorted(seen))

    def test_resume_names_what_is_missing_or_was_changed(self):
        campaign = self.long_campaign("listed")
        code, _ = self.interrupt("listed", signal.SIGINT)
        self.assertEqual(code, 75)
        database = self.run_directory("listed") / "campaign.sqlite"
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DELETE FROM facts WHERE key = 'campaign_file'")
        _, err = bitfall("resume", self.run_directory("listed"), expect=4)
        self.assertIn("campaign_file", err)
        self.assertIn(str(self.run_directory("listed")), err)

        bitfall("run", self.campaign("short", per_site=2))
        faults = self.folder / "short.csv"
        bitfall("export", self.run_directory("short"), "--faults", "-o", faults)
        directory = self.run_directory("by_list")
        bitfall("run", campaign, "--faults", faults, "-o", directory)
        with contextlib.closing(sqlite3.connect(directory / "campaign.sqlite")) as connection, connection:
            connection.execute("DELETE FROM facts WHERE key = 'finished'")
            connection.execute("DELETE FROM trials WHERE trial = 3")
            columns = [column for _, column, *_ in connection.execute("PRAGMA table_info(more_edits)")]
            edit = ", ".join("3" if column == "trial" else "1" if column == "position" else column for column in columns)
            connection.execute(f"INSERT INTO more_edits SELECT {edit} FROM trials WHERE trial = 2")
        _, err = bitfall("resume", directory, expect=4)
        self.assertIn("is damaged: it holds edits of trial 3, which it lacks", err)
        with contextlib.closing(sqlite3.connect(directory / "campaign.sqlite")) as connection, connection:
            connection.execute("DELETE FROM more_edits WHERE trial = 3")
        lines = (directory / "faults.csv").read_text().splitlines(keepends=True)
        (directory / "faults.csv").write_text("".join([*lines[:1], *reversed(lines[1:])]))
        _, err = bitfall("resume", directory)
        self.assertIn("is not the list that the run was made from; the run's own list is used", err)

    def test_resume_refuses_another_model(self):
        code, _ = self.interrupt("swapped", signal.SIGINT)
        self.assertEqual(code, 75)
        model = self.folder / "residual.pt"
        kept = model.read_bytes()
        try:
            shutil.copy(self.folder / "residual_traced.pt", model)
            _, err = bitfall("resume", self.run_directory("swapped"), expect=4)
        finally:
            model.write_bytes(kept)
        self.assertIn("model_sha256", err)


class Heads(Case):
    """Attaching, fusing, training."""

    def training(self, name, model="guided", epochs=3, more="", rest=""):
        path = self.folder / f"{name}.toml"
        path.write_text(
            f"""[training]
epochs = {epochs}
batch = 5
output = "runs/{name}"
{more}
[model]
path = "{model}.pt"
[data]
path = "images"
preprocess = {{ mean = [{MEAN}], std = [{STD}] }}
[validation]
path = "images"
[augmentation]
shift = 1
flip = true
[optimizer]
learning_rate = 0.01
{rest}
[run]
threads = 1
"""
        )
        return path

    def setUp(self):
        self.attach("guided", "--init", "text_guided", "--embeddings", self.rows_file("rows"))

    def rows_file(self, name, values=None):
        path = self.folder / f"{name}.npy"
        rows = numpy.random.default_rng(1).normal(size=(5, 6)) if values is None else values
        numpy.save(path, rows.astype(numpy.float32))
        return path

    def attach(self, name, *options, expect=0, backbone="residual"):
        (self.folder / "names.txt").write_text("\n".join(CLASSES) + "\n")
        return bitfall(
            "head", "attach", self.folder / f"{backbone}.pt", "--input", "3x8x8", "--classes",
            self.folder / "names.txt", "-o", self.folder / f"{name}.pt", *options, expect=expect,
        )  # fmt: skip

    def weights(self, path):
        return torch.jit.load(str(path)).state_dict()

    def test_attach_says_what_it_found_and_starts_at_the_rows(self):
        out, err = self.attach("again", "--init", "text_guided", "--embeddings", self.rows_file("rows"))
        self.assertIn("found the last linear layer 'fc', 8 -> 5, with bias", err)
        self.assertIn("fc.projection", out)
        rows = torch.from_numpy(numpy.load(self.folder / "rows.npy"))
        found = self.weights(self.folder / "again.pt")["fc.projection.weight"]
        torch.testing.assert_close(found, F.normalize(rows), rtol=1e-6, atol=1e-6)
        info = json.loads(bitfall("head", "info", self.folder / "again.pt", "--json")[0])
        self.assertEqual(info["difference"]["parameters"], 8 * 6 + 6 + 6 * 5 + 1 - (8 * 5 + 5))
        self.assertEqual(info["plugin"]["name"], "head_inits")

    def test_a_published_checkpoint_becomes_the_model_that_attaching_makes(self):
        attached, exported = self.folder / "attached.pt", self.folder / "exported.pt"
        backbone, checkpoint = self.folder / "backbone.pt", self.folder / "published.pth"
        export = [sys.executable, SOURCE / "scripts" / "export_model.py", "cifar_resnet20", "-o"]
        subprocess.run([*export, backbone, "--random"], check=True, capture_output=True)
        bitfall(
            "head", "attach", backbone, "--init", "text_guided", "--set", "init=random", "--set",
            "width=6", "-o", attached,
        )  # fmt: skip
        published = {
            "linear.latent.weight": "backbone.linear.weight",
            "linear.latent.bias": "backbone.linear.bias",
            "linear.projection.weight": "head.weight",
            "linear.scale.log_factor": "logit_scale",
        }
        weights = self.weights(attached)
        torch.save(
            {published.get(key, f"backbone.{key}"): value for key, value in weights.items()},
            checkpoint,
        )
        expected = json.loads(bitfall("head", "info", attached, "--json")[0])
        images = torch.randn(3, 3, 32, 32)
        for method in ("--script", "--trace"):
            more = [exported, "--text-guided", checkpoint, method]
            subprocess.run([*export, *more], check=True, capture_output=True)
            info = json.loads(bitfall("head", "info", exported, "--json")[0])
            for key in ("module", "features", "classes", "layers", "parameters", "difference"):
                self.assertEqual(info[key], expected[key], (method, key))
            found = self.weights(exported)
            self.assertEqual(set(found), set(weights))
            self.assertTrue(all(torch.equal(found[key], weights[key]) for key in weights))
            with torch.no_grad():
                self.assertTrue(
                    torch.equal(torch.jit.load(exported)(images), torch.jit.load(attached)(images))
                )
        bitfall("head", "attach", exported, "--init", "linear", "-o", self.folder / "back.pt")

    def test_a_head_can_be_replaced_by_another(self):
        _, err = self.attach("other", "--init", "linear", backbone="guided")
        self.assertIn("replaced the head 'text_guided' at 'fc', 8 -> 5", err)
        weights = self.weights(self.folder / "other.pt")
        self.assertEqual(list(weights["fc.weight"].shape), [5, 8])
        self.assertNotIn("fc.latent.weight", weights)
        _, err = self.attach("back", "--init", "text_guided", "--embeddings", self.rows_file("rows"), backbone="other")
        self.assertIn("replaced the head 'linear'", err)
        again, first = (self.weights(self.folder / f"{n}.pt") for n in ("back", "guided"))
        for name, value in first.items():
            self.assertTrue(torch.equal(again[name], value), name)

    def test_fuse_answers_the_same_or_says_why_not(self):
        _, err = bitfall("head", "fuse", self.folder / "guided.pt", "-o", self.folder / "x.pt", expect=4)
        self.assertIn("brings each image's features to length 1", err)
        self.attach("straight", "--init", "text_guided", "--set", "cosine=false", "--embeddings",
                    self.rows_file("rows"))  # fmt: skip
        bitfall("head", "fuse", self.folder / "straight.pt", "-o", self.folder / "fused.pt")
        images = torch.randn(4, 3, 8, 8)
        with torch.no_grad():
            want, found = (torch.jit.load(str(self.folder / f"{n}.pt"))(images) for n in ("straight", "fused"))
        torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)
        self.assertEqual(list(self.weights(self.folder / "fused.pt")["fc.weight"].shape), [5, 8])
        _, err = bitfall("head", "fuse", self.folder / "fused.pt", "-o", self.folder / "x.pt", expect=4)
        self.assertIn("is one layer already", err)

    def test_bad_input_is_named(self):
        def refused(*options, expect=4, backbone="residual"):
            _, err = self.attach("never", *options, expect=expect, backbone=backbone)
            self.assertFalse((self.folder / "never.pt").exists())
            self.assertNotIn("Traceback", err)
            return err

        guided = ("--init", "text_guided")
        rows = numpy.ones((5, 6))
        rows[3, 2] = numpy.nan
        self.assertRegex(refused(*guided, "--embeddings", self.rows_file("nan", rows)), "dog.*nan|nan.*dog|row 3")
        rows[3] = 0
        self.assertRegex(refused(*guided, "--embeddings", self.rows_file("zero", rows)), "dog|row 3")
        self.assertIn("4 rows", refused(*guided, "--embeddings", self.rows_file("few", numpy.ones((4, 6)))))
        (self.folder / "other.txt").write_text("ant\nbee\ncat\ndogs\neel\n")
        err = refused(*guided, "--embeddings", self.rows_file("rows"), "--embedding-classes", self.folder / "other.txt")
        self.assertIn("'dog'", err)
        self.assertIn("dogs", err)
        err = refused("--init", "embedding", "--embeddings", self.rows_file("rows"), expect=2)
        self.assertIn("6 values per class and the backbone's features 8", err)
        self.attach("named", "--init", "linear")
        _, err = bitfall("head", "attach", self.folder / "named.pt", *guided, "--embeddings", self.rows_file("rows"),
                         "--embedding-classes", self.folder / "other.txt", "-o", self.folder / "never.pt",
                         expect=4)  # fmt: skip
        self.assertRegex(err, "the 5 classes are those that .*named.pt records; --classes FILE names others")
        self.assertIn("needs --embeddings", refused(*guided, expect=2))
        self.assertIn("reads none", refused("--init", "linear", "--embeddings", self.rows_file("rows"), expect=2))
        self.assertIn("did you mean 'text_guided'", refused("--init", "text_guide", expect=2))
        self.assertIn("comes softmax", refused("--init", "linear", backbone="softmaxed"))
        self.assertIn("not a readable TorchScript model", refused("--init", "linear", backbone="truncated"))
        _, err = bitfall("head", "attach", self.folder / "residual.pt", "--init", "linear", "--input", "1x8x8",
                         "-o", self.folder / "never.pt", expect=4)  # fmt: skip
        self.assertIn("expected input[2, 1, 8, 8] to have 3 channels", err)

    def test_embedding_head_starts_at_the_rows_as_they_stand(self):
        rows = numpy.random.default_rng(3).normal(size=(5, 8)) * 3
        self.attach("probe", "--init", "embedding", "--embeddings", self.rows_file("probe_rows", rows))
        weight = self.weights(self.folder / "probe.pt")["fc.weight"]
        self.assertTrue(torch.equal(weight, torch.from_numpy(numpy.load(self.folder / "probe_rows.npy"))))

    def test_training_keeps_files_that_it_did_not_write(self):
        directory = self.run_directory("kept")
        directory.mkdir(parents=True)
        (directory / "model.pt").write_text("mine")
        _, err = bitfall("train", self.training("kept"), expect=2)
        self.assertIn("holds a model.pt that would be replaced", err)
        self.assertEqual((directory / "model.pt").read_text(), "mine")
        bitfall("train", self.training("kept"), "--force")
        self.assertNotEqual((directory / "model.pt").read_bytes(), b"mine")

    def test_a_forced_training_that_fails_keeps_the_old_one(self):
        directory = self.run_directory("forced")
        bitfall("train", self.training("forced"))
        names = ("model.pt", "checkpoint.pt", "log.csv", "training.toml", "training.html")
        content = {name: (directory / name).read_bytes() for name in names}
        wild = self.training("forced", rest='weight_decay = 1e5\n[schedule]\nkind = "constant"')
        wild.write_text(wild.read_text().replace("learning_rate = 0.01", "learning_rate = 1e37"))
        _, err = bitfall("train", wild, "--force", expect=1)
        self.assertRegex(err, "no longer finite|holds NaN or Inf")
        self.assertEqual({name: (directory / name).read_bytes() for name in names}, content)
        bitfall("train", self.training("forced", epochs=1), "--force")
        self.assertNotEqual((directory / "model.pt").read_bytes(), content["model.pt"])
        self.assertEqual(len((directory / "log.csv").read_text().splitlines()), 2)

    def test_nothing_is_written_over_what_is_read_or_is_no_file(self):
        rows = self.rows_file("kept")
        classes = self.folder / "kept.txt"
        classes.write_text("cat\nbird\nfish\ndog\nfrog\n")
        content = rows.read_bytes()
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for output, reason in ((rows, "is read as"), (classes, "is read as"), (pipe, "is not a regular file"),
                               (self.folder, "is a folder")):  # fmt: skip
            _, err = bitfall("head", "attach", self.folder / "residual.pt", "--init", "text_guided", "--embeddings",
                             rows, "--classes", classes, "-o", output, expect=2)  # fmt: skip
            self.assertIn(reason, err)
            self.assertIn("give another name", err)
        self.assertEqual(rows.read_bytes(), content)
        self.assertTrue(pipe.is_fifo())

    def test_training_that_is_killed_goes_on_to_the_same_weights(self):
        epochs = 400
        bitfall("train", self.training("whole", epochs=epochs))
        want = self.weights(self.run_directory("whole") / "model.pt")
        pieces = self.training("pieces", epochs=epochs, more="checkpoint_minutes = 0.0005")
        command = [str(PROGRAM), "train", str(pieces)]
        killed = 0
        for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            directory = self.run_directory("pieces")
            before = len((directory / "log.csv").read_text().splitlines()) if killed else 1
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            deadline = time.time() + 120
            while time.time() < deadline and process.poll() is None:
                log = directory / "log.csv"
                if log.exists() and len(log.read_text().splitlines()) > before + 20:
                    break
                time.sleep(0.01)
            process.send_signal(how)
            _, err = process.communicate(timeout=120)
            if how == signal.SIGINT:
                self.assertEqual(process.returncode, 75, err)
                self.assertIn("--resume", err)
            else:
                self.assertEqual(process.returncode, -how, "it ended before it could be killed")
            killed += 1
            command = [str(PROGRAM), "train", str(pieces), "--resume"]
        _, err = bitfall("train", pieces, expect=2)
        self.assertIn("go on with --resume, or start again with --force", err)
        bitfall("train", pieces, "--resume")
        found = self.weights(self.run_directory("pieces") / "model.pt")
        self.assertEqual(want.keys(), found.keys())
        for name, value in want.items():
            self.assertTrue(torch.equal(found[name], value), name)
        texts = [(self.run_directory(name) / "log.csv").read_text() for name in ("whole", "pieces")]
        logs = [list(csv.DictReader(io.StringIO(text))) for text in texts]
        self.assertEqual(len(logs[0]), epochs)
        for a, b in zip(*logs, strict=True):
            self.assertEqual((a["loss"], a["validation_loss"]), (b["loss"], b["validation_loss"]))

    def test_what_was_trained_runs_in_a_campaign(self):
        out, _ = bitfall("train", self.training("short"), "--json")
        self.assertEqual([json.loads(line)["epoch"] for line in out.splitlines()], [1, 2, 3])
        self.assertIn("vega", (self.run_directory("short") / "training.html").read_text())
        bitfall("run", self.campaign("of_short", model="runs/short/model"))
        self.assertTrue(any(row["site"] == "fc.projection" for row in self.rows("of_short")))
        model = self.weights(self.run_directory("short") / "model.pt")
        start = self.weights(self.folder / "guided.pt")
        for name in ("fc.latent.weight", "fc.projection.weight", "fc.scale.log_factor", "stem.weight"):
            self.assertFalse(torch.equal(model[name], start[name]), name)

    def test_frozen_layers_stay(self):
        self.attach("frozen", "--init", "text_guided", "--set", "freeze=true", "--embeddings", self.rows_file("rows"))
        bitfall("train", self.training("of_frozen", model="frozen"))
        model, start = (self.weights(p) for p in (self.run_directory("of_frozen") / "model.pt", self.folder / "frozen.pt"))
        self.assertTrue(torch.equal(model["fc.projection.weight"], start["fc.projection.weight"]))
        self.assertFalse(torch.equal(model["fc.latent.weight"], start["fc.latent.weight"]))

    def test_training_names_what_is_wrong(self):
        def refused(path, expect=4, *options):
            return bitfall("train", path, *options, expect=expect)[1]

        self.assertIn("is for inference only", refused(self.training("traced", model="residual_traced")))
        big = self._with(self.training("big"), "batch = 5", "batch = 500")
        self.assertIn("fewer than a batch of 500", refused(big))
        self.assertIn("5 classes, but the model", refused(self.training("products", model="products")))
        err = refused(self._with(self.training("typo"), "epochs", "epoch"), 2)
        self.assertIn("did you mean 'epochs'?", err)
        self.assertIn("no longer finite", refused(self.training("wild", rest="weight_decay = 1e30"), 1))

    @staticmethod
    def _with(path, old, new):
        path.write_text(path.read_text().replace(old, new, 1))
        return path


class BadInput(Case):
    def test_campaign_errors_come_all_at_once(self):
        path = self.folder / "bad.toml"
        path.write_text(
            '[model]\npaht = "residual.pt"\n[data]\npath = "images"\nlimit = -1\n'
            '[[faults]]\nerror_model = { id = "bit_flp" }\n[format]\nid = "fp16"\nbits = 3\n'
        )
        _, err = bitfall("run", path, expect=2)
        for text in ("bad.toml:2:1", "paht", "did you mean", "^^^^", "limit", "bit_flip", "fp16"):
            self.assertIn(text, err)

    def test_broken_toml(self):
        path = self.folder / "syntax.toml"
        path.write_text('[model\npath = "x"\n')
        _, err = bitfall("run", path, expect=2)
        self.assertIn("syntax.toml:1:", err)

    def test_missing_files(self):
        _, err = bitfall("run", self.folder / "absent.toml", expect=4)
        self.assertIn("absent.toml", err)
        _, err = bitfall("run", self.campaign("nomodel", model="absent"), expect=4)
        self.assertIn("absent.pt", err)
        _, err = bitfall("status", self.folder / "nothing", expect=4)
        self.assertIn("nothing", err)

    def test_truncated_model(self):
        _, err = bitfall("run", self.campaign("cut", model="truncated"), expect=4)
        self.assertIn("truncated.pt: not a readable TorchScript model", err)

    def test_broken_image_is_named_and_can_be_skipped(self):
        broken = self.folder / "images" / "cat" / "03.png"
        kept = broken.read_bytes()
        campaign = self.campaign("broken", per_site=5)
        try:
            broken.write_bytes(kept[: len(kept) // 2])
            _, err = bitfall("run", campaign, expect=4)
            self.assertIn("cat/03.png", err)
            self.assertFalse(self.run_directory("broken").exists(), "found before anything is written")
            campaign.write_text(campaign.read_text().replace('path = "images"', 'path = "images"\non_error = "skip"'))
            _, err = bitfall("run", campaign, "--force")
            self.assertIn("cat/03.png", err)
            status = json.loads(bitfall("status", self.run_directory("broken"), "--json")[0])
            self.assertEqual(status["facts"]["images"], "24")
        finally:
            broken.write_bytes(kept)

    def test_what_protections_lack_is_told_ahead_of_the_first_trial(self):
        def refused(name, protect, code):
            path = self.campaign(name, per_site=5)
            path.write_text(path.read_text() + protect)
            err = bitfall("run", path, expect=code)[1]
            self.assertFalse(self.run_directory(name).exists(), err)
            self.assertEqual(bitfall("run", path, "--dry-run", expect=code)[1], err)
            return err

        nan_guard = '\n[[protect]]\nprotection = "nan_guard"\n'
        several = nan_guard + '[[protect]]\nprotection = "range"\n'
        err = refused("unlearned", several, 2)
        self.assertRegex(err, r"unlearned.toml:\d+:\d+: protection 'range' learns from images")
        self.assertIn("[learn] path", err)
        self.assertNotIn("nan_guard'", err)
        self.assertIn("[learn]: ", refused("gone", several + '[learn]\npath = "nowhere"\n', 4))
        self.assertIn("no_such_layer", refused("unguarded", nan_guard + 'sites = "no_such_layer"\n', 2))

    def test_names_that_are_no_utf8(self):
        """A folder of Latin-1: JSON stays JSON."""
        folder = os.fsencode(self.folder) + b"/caf\xe9"
        shutil.copytree(os.fsencode(self.folder / "images"), folder)
        try:
            path = self.campaign("latin", per_site=3)
            path.write_bytes(path.read_bytes().replace(b'path = "images"', b'path = "caf\xe9"'))
            _, err = bitfall("run", path, "--dry-run", "--json", expect=2)
            self.assertIn("utf-8", err)
            model = os.fsencode(self.folder) + b"/m\xe9.pt"
            shutil.copy(self.folder / "residual.pt", model)
            file = os.fsencode(self.folder) + b"/c\xe9.toml"
            shutil.copy(self.campaign("plain_file", per_site=3), file)
            for words in (("run", file, "--dry-run", "--json", "-o", file + b".run"), ("sites", model, "--json"), ("profile", model, "--data", self.campaign("plain_names", per_site=3), "--json")):
                done = subprocess.run([PROGRAM, *words], capture_output=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                json.loads(done.stdout.decode())
        finally:
            shutil.rmtree(folder)

    def test_classes_must_agree(self):
        extra = self.folder / "images" / "fox"
        shutil.copytree(self.folder / "images" / "cat", extra)
        try:
            _, err = bitfall("run", self.campaign("classes"), expect=4)
        finally:
            shutil.rmtree(extra)
        self.assertIn("has 6 classes", err)
        self.assertIn("answers 5", err)

    def test_sites(self):
        _, err = bitfall("run", self.campaign("site", rest='sites = "layer.0.conv3"'), expect=2)
        self.assertIn("layer.0.conv", err)
        _, err = bitfall("run", self.campaign("mixed", model="mixing", rest='sites = "fc"'), expect=4)
        self.assertIn("depends on the other images", err)
        _, err = bitfall("run", self.campaign("branching", model="branches"), expect=4)
        self.assertIn("batch = 1", err)
        bitfall("run", self.campaign("alone", model="branches", batch=1, per_site=3))

    def test_fault_list(self):
        faults = self.folder / "bad.csv"
        faults.write_text(
            "site,image,target,element,register,op,mask\n"
            "stem,cat/00.png,activation,99999,payload,flip,0x1\n"
            "stam,cat/00.png,activation,0,payload,flip,0x1\n"
            "stem,cat/99.png,activation,0,payload,flip,0x1\n"
            "stem,cat/00.png,activation,0,scale,flip,0x1\n"
            "stem,cat/00.png,activation,0,payload,flip,0x10000\n"
        )
        _, err = bitfall("run", self.campaign("listed"), "--faults", faults, expect=4)
        for line in range(2, 7):
            self.assertIn(f"bad.csv:{line}:", err)

    def test_plugins(self):
        bad = BUILD / "tests" / "plugins" / "wrong_abi.so"
        campaign = self.campaign("plugged")
        campaign.write_text(campaign.read_text() + f'[plugins]\npaths = ["{bad}"]\n')
        _, err = bitfall("run", campaign, expect=3)
        self.assertIn("rebuild it", err)
        listed, _ = bitfall("plugin", "list")
        self.assertIn("bit_flip", listed)
        info, _ = bitfall("plugin", "info", "bit_flip")
        self.assertIn("error_model", info)
        _, err = bitfall("plugin", "info", "bit_flop", expect=2)
        self.assertIn("bit_flip", err)

    def test_command_line(self):
        self.assertIn("bitfall run campaign.toml", bitfall("--help")[0])
        self.assertIn("did you mean 'run'?", bitfall("rnu", expect=2)[1])
        self.assertIn("bitfall export --help", bitfall("export", expect=2)[1])
        bitfall("run", expect=2)
        self.assertIn("2.", bitfall("env")[0])

    def test_numbers_are_no_options_wherever_quiet_stands(self):
        want = bitfall("convert", "fp16", "-inf", "-.5")[0]
        self.assertIn("0xfc00", want)
        for line in (["-q", "convert", "fp16"], ["convert", "-q", "fp16"], ["--quiet", "convert", "fp16"]):
            self.assertEqual(bitfall(*line, "-inf", "-.5")[0], want)
        self.assertEqual(bitfall("convert", "fp16", "-inf", "-.5", "-q")[0], want)
        self.assertIn("did you mean 'run'?", bitfall("-q", "rnu", expect=2)[1])
        self.assertNotIn("not expected", bitfall("head", "info", self.folder / "absent.pt", "-q", expect=4)[1])

    def test_corrupt_run(self):
        bitfall("run", self.campaign("corrupt", per_site=5))
        database = self.run_directory("corrupt") / "campaign.sqlite"
        database.write_bytes(b"no database at all, but long enough to look like a file\n" * 40)
        _, err = bitfall("report", self.run_directory("corrupt"), expect=4)
        self.assertIn("campaign.sqlite", err)


class Embeddings(unittest.TestCase):
    """bitfall embeddings, on the quick start's files."""

    TABLE = SOURCE / "scripts/quickstart/embeddings.npy"
    NAMES = SOURCE / "scripts/quickstart/embeddings.classes.txt"

    def test_rows_are_as_numpy_sees_them(self):
        rows = numpy.load(self.TABLE)
        names = self.NAMES.read_text().split()
        cosines = rows.astype(float) @ rows.T.astype(float)
        numpy.fill_diagonal(cosines, -2)
        out, _ = bitfall("embeddings", self.TABLE, "--embedding-classes", self.NAMES, "--json")
        document = json.loads(out)
        self.assertEqual((document["rows"], document["width"]), rows.shape)
        self.assertEqual([entry["class"] for entry in document["classes"]], names)
        for i, entry in enumerate(document["classes"]):
            self.assertEqual(entry["rows"], [i])
            self.assertEqual(entry["nearest"], names[cosines[i].argmax()])
            self.assertAlmostEqual(entry["cosine"], cosines[i].max(), places=5)
            self.assertAlmostEqual(entry["length"], 1, places=5)
        pairs = cosines[numpy.triu_indices(len(rows), 1)]
        for key, value in (("min", pairs.min()), ("mean", pairs.mean()), ("max", pairs.max())):
            self.assertAlmostEqual(document["cosine"][key], value, places=5)

    def test_table_of_chosen_classes(self):
        with tempfile.TemporaryDirectory() as folder:
            chosen = pathlib.Path(folder) / "chosen.txt"
            chosen.write_text("red star\nblue_circle\n")
            out, err = bitfall(
                "embeddings", self.TABLE, "--embedding-classes", self.NAMES, "--classes", chosen
            )
            self.assertIn("12 rows x 384, 2 classes", out)
            self.assertRegex(out, r"red star +10 +1 +blue_circle +0\.\d{3}\n")
            self.assertIn("without regard to case, '_', '-' and blanks: 'red star'", err)
            chosen.write_text("red_sta\nhen\n")
            _, err = bitfall(
                "embeddings", self.TABLE, "--embedding-classes", self.NAMES, "--classes", chosen,
                expect=4,
            )  # fmt: skip
            self.assertIn("'red_sta' (near it: 'red_star'), 'hen'", err)

    def test_descriptions(self):
        path = SOURCE / "scripts/quickstart/descriptions.json"
        out, _ = bitfall("embeddings", path, "--json")
        texts = json.loads(path.read_text())
        found = {entry["class"]: entry for entry in json.loads(out)["classes"]}
        self.assertEqual(list(found), list(texts))
        for name, own in texts.items():
            self.assertEqual(found[name]["texts"], len(own))
            self.assertEqual(found[name]["longest"], max(map(len, own)))
        out, _ = bitfall("embeddings", path)
        self.assertIn("96 descriptions of 12 classes", out)
        _, err = bitfall("embeddings", path, "--key", "x", expect=2)
        self.assertIn("descriptions need no --embedding-classes", err)


class InstallTree(Case):
    def test_installed_program_finds_its_plugins(self):
        prefix = self.folder / "installed tree"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
        program = prefix / "bin" / "bitfall"
        self.assertIn("bit_flip", bitfall("plugin", "list", program=program)[0])
        bitfall("run", self.campaign("installed", per_site=5), program=program)
        self.assertTrue((prefix / "include" / "bitfall" / "plugin.h").exists())

    def test_what_opens_no_network_needs_no_libtorch(self):
        alone = self.folder / "alone" / "bin" / "bitfall"
        alone.parent.mkdir(parents=True)
        shutil.copy(PROGRAM, alone)
        linked = subprocess.run(["readelf", "-d", alone], check=True, capture_output=True, text=True).stdout
        self.assertNotRegex(linked, r"NEEDED.*lib(torch|c10)")
        for command in ("report", "compare", "status", "export", "formats", "convert", "config", "init", "embeddings"):
            self.assertIn(f"bitfall {command} ", bitfall(command, "--help", program=alone)[0])
        self.assertIn("bitfall plugin pack ", bitfall("plugin", "pack", "--help", program=alone)[0])
        self.assertEqual(bitfall("--version", program=alone), bitfall("--version"))
        for command in (["sites", "x"], ["--help"], [], ["nope"], ["-q", "run", "x"]):
            self.assertIn(
                f"{alone}-torch: cannot be started: No such file or directory; it comes with bitfall",
                bitfall(*command, expect=1, program=alone)[1],
            )

    def test_both_programs_have_the_same_commands(self):
        whole = PROGRAM.with_name("bitfall-torch")
        for words in (["report", "--help"], ["plugin", "--help"], ["convert", "fp16", "0.1"], ["report", "--nope"], ["--nope"]):
            with self.subTest(words=words):
                done = [subprocess.run([program, *words], capture_output=True) for program in (PROGRAM, whole)]
                self.assertEqual(*[(one.returncode, one.stdout, one.stderr) for one in done])


class RealData(Case):
    def test_resnet20_on_cifar10(self):
        archive = SHARED / "cifar10" / "test_lossless.tar.xz"
        if not archive.exists():
            self.skipTest(f"{archive} is absent")
        subprocess.run(["tar", "-xJf", archive, "-C", self.folder], check=True)
        model = self.folder / "resnet20.pt"
        subprocess.run(
            [sys.executable, SOURCE / "scripts" / "export_model.py", "cifar_resnet20", "--weights",
             SHARED / "cifar10" / "resnet20-12fca82f.th", "-o", model],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        path = self.folder / "cifar.toml"
        path.write_text(
            '[campaign]\noutput = "runs/cifar"\n[model]\npath = "resnet20.pt"\n[data]\npath = "test_lossless"\n'
            "preprocess = { mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }\n"
            "[[faults]]\nsites = \"linear\"\nper_site = 100\n"
        )
        bitfall("run", path)
        report = json.loads(bitfall("report", self.run_directory("cifar"), "--json")[0])
        # A separate PyTorch program got 91.73 % of these 846 images: 776.
        self.assertEqual(report["golden_accuracy"]["events"], 776)
        self.assertEqual(report["golden_accuracy"]["trials"], 846)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
