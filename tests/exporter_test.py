"""export_model.py: checkpoints of the usual trainers, files that the program refuses, fused attention,
archives of torch.export, heads of zeros.

usage: exporter_test.py [unittest arguments]

The refusing program is a script of this test. The trainers' files are made by PyTorch itself, with
the wrappers that give keys their prefixes.
"""

import collections
import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import textwrap
import unittest
import weakref
from unittest import mock

import numpy
import torch
from torch import nn

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE / "scripts"))
import checkpoints  # noqa: E402
import cifar_resnet  # noqa: E402
import export_model  # noqa: E402
import export_pt2  # noqa: E402

NAME = "cifar_resnet20"


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="bitfall_exporter_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def export(self, *arguments):
        """(exit status, stdout, stderr) of export_model.py."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = export_model.main([str(argument) for argument in arguments])
        return status, out.getvalue(), err.getvalue()


def network(seed):
    torch.manual_seed(seed)
    return cifar_resnet.cifar_resnet(20, 10).eval()


def prefixed(prefix, tensors):
    return {prefix + key: value for key, value in tensors.items()}


class Lightning(nn.Module):
    """What a LightningModule looks like to state_dict(): the network among other things."""

    def __init__(self, model, **others):
        super().__init__()
        self.model = model
        for name, module in others.items():
            self.add_module(name, module)


class Settings:
    """A training's options, of a class that only the trainer knows."""

    def __init__(self):
        self.rate, self.inner = 0.1, {"path": pathlib.PurePosixPath("x")}


class Runs:
    """Unpickling one would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return touch, (str(self.path),)


def touch(path):
    pathlib.Path(path).touch()


class Checkpoints(Case):
    def setUp(self):
        super().setUp()
        self.model = network(1)
        self.state = self.model.state_dict()
        self.averaged = network(2).state_dict()

    def load(self, content, *more, key=None, **save):
        """The state_dict that comes out of a file with this content, and what was said."""
        path = self.folder / "weights.ckpt"
        torch.save(content, path, **save)
        model, said = network(3), []
        export_model.load_weights(model, path, NAME, key, said.append)
        return model.state_dict(), "\n".join(said).replace(str(path), "FILE")

    def check(self, content, said, **more):
        found, words = self.load(content, **more)
        for key, value in self.state.items():
            self.assertTrue(torch.equal(found[key], value), key)
        self.assertEqual(words, said)

    def refused(self, content, *more):
        path, out = self.folder / "weights.pth", self.folder / "m.pt"
        torch.save(content, path)
        status, _, err = self.export(NAME, "--weights", path, "-o", out, "--no-check", *more)
        self.assertEqual(status, 1)
        self.assertNotIn("Traceback", err)
        self.assertFalse(out.exists())
        return err.replace(str(path), "FILE")

    def test_places(self):
        for key in ("state_dict", "model", "model_state_dict", "net", "weights", "params"):
            with self.subTest(key):
                self.check({key: self.state, "epoch": 3, "acc": 9.5}, f"FILE: took '{key}'")
        self.check(self.state, "")
        deep = {"checkpoint": {"trainer": {"network": self.state}}}
        self.check(deep, "FILE: took 'checkpoint.trainer.network'")
        self.check([1, (self.state,)], "FILE: took '1.0'")

    def test_wrappers_of_pytorch(self):
        optimizer = torch.optim.Adam(self.model.parameters())
        self.model(torch.randn(2, 3, 32, 32)).sum().backward()
        optimizer.step()  # its state has the shapes of the weights
        self.state = self.model.state_dict()
        behind = "FILE: took the file itself, without '{}' in front of its keys".format
        compiled = torch.compile(self.model)
        parallel = nn.DataParallel(self.model)
        self.check(compiled.state_dict(), behind("_orig_mod."))
        self.check(parallel.state_dict(), behind("module."))
        both = torch.compile(parallel).state_dict()
        self.check(both, behind("_orig_mod.module."))
        rest = {"optimizer": optimizer.state_dict(), "epoch": 1}
        self.check(
            {"state_dict": parallel.state_dict(), **rest},
            "FILE: took 'state_dict', without 'module.' in front of its keys",
        )
        self.model.layer1 = nn.DataParallel(self.model.layer1)
        self.model.layer2[0] = torch.compile(self.model.layer2[0])
        inside = self.model.state_dict()
        self.assertIn("layer1.module.0.conv1.weight", inside)
        self.assertIn("layer2.0._orig_mod.conv1.weight", inside)
        self.check(inside, "FILE: took the file itself, without the wrappers' names")
        lightning = Lightning(self.model).state_dict()
        self.check(
            {"state_dict": lightning},
            "FILE: took 'state_dict', without 'model.' in front of its keys, without the wrappers' names",
        )

    def test_prefixes_of_trainers(self):
        for prefix in ("model.", "net.", "backbone.", "encoder.network.", "student_model.model."):
            with self.subTest(prefix):
                self.check(
                    {"state_dict": prefixed(prefix, self.state)},
                    f"FILE: took 'state_dict', without '{prefix}' in front of its keys",
                )
        others = Lightning(self.model, criterion=nn.Linear(2, 2)).state_dict()
        self.check(
            {"state_dict": others, "hyper_parameters": {"rate": 0.1}},
            "FILE: took 'state_dict', without 'model.' in front of its keys\n"
            "FILE: left out 2 other tensors: criterion.weight, criterion.bias",
        )

    def test_averages_are_named_and_left(self):
        swa = torch.optim.swa_utils.AveragedModel(network(2)).state_dict()
        self.assertIn("n_averaged", swa)
        self.check(
            {"model": self.state, "model_ema": swa},
            "FILE: took 'model'\n"
            "FILE: holds averaged weights, too; --checkpoint-key model_ema.module takes them",
        )
        content = {"state_dict": self.state, "state_dict_ema": self.averaged, "arch": "x"}
        self.check(
            content,
            "FILE: took 'state_dict'\n"
            "FILE: holds averaged weights, too; --checkpoint-key state_dict_ema takes them",
        )
        for order in (1, -1):
            parts = [prefixed("model.", self.state), prefixed("ema_model.", self.averaged)][::order]
            found, words = self.load({"state_dict": {**parts[0], **parts[1]}})
            self.assertTrue(torch.equal(found["conv1.weight"], self.state["conv1.weight"]))
            self.assertIn("--checkpoint-key state_dict.ema_model takes them", words)
        beside = {**self.state, **prefixed("ema.", self.averaged)}
        self.assertTrue(
            torch.equal(self.load(beside)[0]["conv1.weight"], self.state["conv1.weight"])
        )

        self.state = self.averaged
        self.check(content, "FILE: took 'state_dict_ema'", key="state_dict_ema")
        for key in ("model_ema", "model_ema.module"):
            self.check(
                {"model": network(1).state_dict(), "model_ema": swa},
                "FILE: took 'model_ema', without 'module.' in front of its keys\n"
                "FILE: left out 1 other tensors: n_averaged",
                key=key,
            )
        found, words = self.load({"model_ema": swa})  # where there is nothing else
        self.assertTrue(torch.equal(found["conv1.weight"], self.averaged["conv1.weight"]))

    def test_two_that_fit_are_not_guessed_from(self):
        content = {"student": self.averaged, "teacher": self.state}
        err = self.refused(content)
        self.assertIn("FILE: 2 parts of it fit: 'student', 'teacher'; name the one", err)
        self.check(content, "FILE: took 'teacher'", key="teacher")
        self.check({"a": self.state, "b": dict(self.state)}, "FILE: took 'a'")
        err = self.refused(content, "--checkpoint-key", "pupil")
        self.assertIn("nothing that fits lies at 'pupil'; what fits: 'student', 'teacher'", err)

    def test_what_does_not_fit_is_listed(self):
        state = {key: value for key, value in self.state.items() if "layer1.0" not in key}
        err = self.refused(
            {"state_dict": prefixed("model.", {**state, "extra.weight": torch.ones(1)})}
        )
        self.assertIn("FILE does not fit cifar_resnet20", err)
        self.assertIn("10 missing in the file:\n    layer1.0.conv1.weight", err)
        self.assertIn("1 unknown to the model:\n    extra.weight", err)
        self.assertIn("looked at: 'state_dict', without 'model.' in front of its keys", err)
        err = self.refused({"model": {**self.state, "extra.weight": torch.ones(1)}})
        self.assertIn("1 unknown to the model:\n    extra.weight", err)
        err = self.refused(
            {**self.state, "linear.weight": torch.ones(7, 64), "linear.bias": torch.ones(7)}
        )
        self.assertIn("Only the classifier differs: try --classes 7", err)
        self.assertIn("holds no state_dict", self.refused({"epoch": 3}))

    def test_whole_networks(self):
        self.check(self.model, "")
        wrapped = nn.DataParallel(self.model)
        self.check(
            {"model": wrapped, "epoch": 1},
            "FILE: took 'model', without 'module.' in front of its keys",
        )

    def test_what_trainers_keep_beside(self):
        counts = collections.defaultdict(list, {"loss": [1.5]})
        self.check(
            {"model": self.state, "best": numpy.float64(0.5), "curve": numpy.ones(3),
             "settings": Settings(), "counts": counts},
            "FILE: took 'model'",
        )  # fmt: skip

    def test_no_code_of_a_file_runs(self):
        trap = self.folder / "trap"
        self.check({"model": self.state, "evil": Runs(trap)}, "FILE: took 'model'")
        self.assertFalse(trap.exists())
        path = self.folder / "weights.ckpt"
        torch.load(path, weights_only=False)  # it would have been written
        self.assertTrue(trap.exists())

    def test_old_and_broken_files(self):
        old = {"_use_new_zipfile_serialization": False}
        self.check({"state_dict": prefixed("module.", self.state)},
                   "FILE: took 'state_dict', without 'module.' in front of its keys", **old)  # fmt: skip
        self.state = {k: v for k, v in self.state.items() if not k.endswith("num_batches_tracked")}
        self.check(self.state, "")
        path = self.folder / "weights.pth"
        path.write_bytes(b"PK\3\4 no archive")
        with self.assertRaisesRegex(checkpoints.CheckpointError, "is broken, or holds what cannot"):
            checkpoints.read_file(path)
        with self.assertRaisesRegex(checkpoints.CheckpointError, "No such file"):
            checkpoints.read_file(self.folder / "none.pth")

    def test_densenet_by_its_old_names(self):
        new = {
            "features.denseblock1.denselayer2.norm1.weight": torch.ones(2),
            "classifier.bias": torch.ones(3),
        }
        path = self.folder / "weights.pth"
        torch.save({k.replace("norm1", "norm.1"): v for k, v in new.items()}, path)
        place = checkpoints.take_weights(path, new, say=lambda _: None)
        self.assertEqual(sorted(place.tensors), sorted(new))

    def test_safetensors(self):
        try:
            from safetensors.torch import save_file
        except ImportError:
            self.skipTest("safetensors is not installed")
        path, model, said = self.folder / "w.safetensors", network(3), []
        save_file(prefixed("model.", self.state), path)
        export_model.load_weights(model, path, NAME, None, said.append)
        self.assertTrue(torch.equal(model.conv1.weight, self.state["conv1.weight"]))
        self.assertIn("without 'model.'", said[0])


@unittest.skipUnless(export_model.import_torchvision(), "torchvision is not installed")
class PublishedWeights(Case):
    """A file with the digest of published weights gets their recipe; torchvision tells which."""

    def export(self, name, digest):
        models = export_model.import_torchvision().models
        path, out = self.folder / "weights.pth", self.folder / "m.pt"
        options = {"init_weights": True} if name == "googlenet" else {}
        torch.manual_seed(1)
        torch.save(models.get_model(name, weights=None, **options).state_dict(), path)
        with mock.patch.object(export_model, "sha256_of", return_value=digest.ljust(64, "0")):
            status, said, err = super().export(name, "--weights", path, "-o", out, "--no-check")
        self.assertEqual(status, 0, err)
        files = {"bitfall.json": ""}
        loaded = torch.jit.load(str(out), _extra_files=files)
        return loaded, json.loads(files["bitfall.json"]), said

    def test_recipes_go_with_the_file(self):
        _, card, said = self.export("resnet18", "f37072fd")
        self.assertIn("ResNet18_Weights.IMAGENET1K_V1, for images of 3x224x224", said)
        found = (card["preprocess"]["resize"], card["preprocess"]["crop"])
        models = export_model.import_torchvision().models
        recipe = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
        self.assertEqual(found, (recipe.resize_size[0], recipe.crop_size[0]))
        _, _, said = self.export("resnet18", "00000000")
        self.assertNotIn("Weights.", said)

    def test_every_file_of_torchvision_is_told_apart(self):
        models = export_model.import_torchvision().models
        for name in ("resnet50", "vit_b_16", "regnet_y_16gf"):
            known = {p.name: p for p in export_model.find_source(name).published}
            enumeration = models.get_model_weights(name)
            self.assertEqual(sorted(known), sorted(map(str, enumeration)))
            self.assertEqual(len({p.digest for p in known.values()}), len(enumeration))
            for member in enumeration:
                recipe = member.transforms()
                preprocess = known[str(member)].preprocess
                self.assertEqual(preprocess["resize"], recipe.resize_size[0], member)
                self.assertEqual(preprocess["crop"], recipe.crop_size[0], member)

    def test_transform_of_the_input(self):
        models = export_model.import_torchvision().models
        (digest,) = [p.digest for p in export_model.find_source("googlenet").published]
        images = torch.randn(2, 3, 64, 64)
        for published in (True, False):
            loaded, _, _ = self.export("googlenet", digest if published else "0")
            torch.manual_seed(1)
            model = models.googlenet(weights=None, init_weights=True, transform_input=published)
            with torch.no_grad():
                expected, found = model.eval()(images), loaded(images)
            torch.testing.assert_close(found, expected)


class Builtins(unittest.TestCase):
    def test_no_object_that_pytorch_knows_by_its_address_is_freed(self):
        library = torch.library.Library("bitfall_exporter_test", "DEF")
        self.addCleanup(library._destroy)
        library.define("twice(Tensor x) -> Tensor")
        first = weakref.ref(torch.ops.bitfall_exporter_test.twice._op)
        library.define("twice.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)")
        self.assertIsNot(torch.ops.bitfall_exporter_test.twice._op, first())
        self.assertIsNotNone(first())


class Fallback(Case):
    """With a program that refuses some files: those that its environment names by their method."""

    def setUp(self):
        super().setUp()
        self.program = self.folder / "program"
        self.program.write_text(
            f"#!{sys.executable}\n"
            + textwrap.dedent(
                """
                import json, os, signal, sys, zipfile
                if sys.argv[1] == "--version":
                    sys.exit(0)
                assert sys.argv[1] == "sites" and sys.argv[3:5] == ["--input", "3x32x32"], sys.argv
                with zipfile.ZipFile(sys.argv[2]) as archive:
                    (card,) = [n for n in archive.namelist() if n.endswith("bitfall.json")]
                    method = json.loads(archive.read(card))["method"]
                if method in os.environ.get("CRASH", "").split():
                    os.kill(os.getpid(), signal.SIGKILL)
                if method in os.environ.get("REFUSE", "").split():
                    print(f"bitfall: error: {sys.argv[2]}: is not liked\\n  give another", file=sys.stderr)
                    sys.exit(4)
                unfit = "is random" if method in os.environ.get("UNFIT", "").split() else None
                print(json.dumps({"unfit": unfit, "sites": [{"refusal": None}, {"refusal": "x"}]}))
                """
            )
        )
        self.program.chmod(0o755)
        self.out = self.folder / "m.pt"

    def export(self, *more, refuse="", crash="", unfit=""):
        environment = {"REFUSE": refuse, "CRASH": crash, "UNFIT": unfit, "BITFALL": str(self.program)}
        with mock.patch.dict(os.environ, environment):
            return super().export(NAME, "--random", "-o", self.out, *more)

    def method(self):
        files = {"bitfall.json": ""}
        torch.jit.load(str(self.out), _extra_files=files)
        return json.loads(files["bitfall.json"])["method"]

    def test_script_is_first(self):
        status, said, err = self.export()
        self.assertEqual((status, err, self.method()), (0, "", "script"))
        self.assertIn(f"opened by {self.program}: 1 sites can be hit", said)
        self.assertNotIn("not by", said)

    def test_trace_where_the_script_is_refused(self):
        status, said, _ = self.export(refuse="script")
        self.assertEqual((status, self.method()), (0, "trace"))
        self.assertIn("by trace\n  not by script: bitfall refuses it: is not liked\n", said)
        status, said, _ = self.export(crash="script")
        self.assertEqual((status, self.method()), (0, "trace"))
        self.assertIn("not by script: bitfall sites was ended by signal 9", said)
        status, said, _ = self.export(unfit="script")
        self.assertEqual((status, self.method()), (0, "trace"))
        self.assertIn("not by script: bitfall runs no campaign on it: is random", said)

    def test_nothing_is_written_where_all_is_refused(self):
        for more, refuse in (
            ((), "script trace"),
            (("--script",), "script"),
            (("--trace",), "trace"),
        ):
            with self.subTest(more):
                self.out.write_bytes(b"what was there")
                status, _, err = self.export(*more, refuse=refuse)
                self.assertEqual(status, 1)
                for way in refuse.split():
                    self.assertIn(f"  {way}: bitfall refuses it: is not liked\n  give another", err)
                self.assertEqual(self.out.read_bytes(), b"what was there")
                self.out.unlink()
                self.assertEqual(self.export(*more, refuse=refuse)[0], 1)
                self.assertEqual(list(self.folder.iterdir()), [self.program])

    def test_no_check(self):
        status, said, _ = self.export("--no-check", refuse="script trace")
        self.assertEqual((status, self.method()), (0, "script"))
        self.assertNotIn("opened", said)

    def test_a_named_program_must_start(self):
        status, _, err = self.export("--bitfall", self.folder / "none")
        self.assertEqual(status, 1)
        self.assertIn("none does not start", err)
        self.program.write_text("#!/bin/sh\necho no library >&2\nexit 127\n")
        status, _, err = self.export()
        self.assertEqual(status, 1)
        self.assertIn("program does not start: no library", err)
        self.assertFalse(self.out.exists())

    def test_without_a_program(self):
        with mock.patch.object(export_model, "find_program", return_value=None):
            status, said, _ = self.export()
        self.assertEqual((status, self.method()), (0, "script"))
        self.assertIn("not opened with bitfall, which is not built", said)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.encoder(x.flatten(2))
        tokens, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(tokens.mean(1))


FUSED = {"aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"}


def operators(function, images):
    """Names of what LibTorch runs."""
    with torch.no_grad(), torch.autograd.profiler.profile(use_kineto=False) as profile:
        function(images)
    return {event.name for event in profile.function_events}


class Attention(Case):
    def test_layers_instead_of_the_fast_path(self):
        torch.manual_seed(1)
        model, facts = Encoder().eval(), {"name": "encoder", "input": [4, 4, 4], "classes": 5}
        images = torch.randn(3, 4, 4, 4)
        with torch.no_grad():
            expected = model(images)
        self.assertEqual(operators(model, images) & FUSED, FUSED)
        for way in ("script", "trace", "export"):
            with self.subTest(way):
                path = self.folder / f"{way}.pt"
                export_model.export(model, path, facts, [way], say=lambda _: None)
                loaded = export_model.WAYS[way].load(path)
                ran = operators(loaded, images)
                self.assertEqual(ran & FUSED, set())
                self.assertTrue({"aten::linear", "aten::scaled_dot_product_attention"} <= ran)
                with torch.no_grad():
                    torch.testing.assert_close(loaded(images), expected, rtol=1e-5, atol=1e-6)
        self.assertTrue(torch.backends.mha.get_fastpath_enabled())
        self.assertEqual(operators(model, images) & FUSED, FUSED)


class Archives(Case):
    """torch.export's .pt2."""

    def read(self, path):
        """The archive's network and its bitfall.json."""
        files = {"bitfall.json": ""}
        with open(path, "rb") as file:
            program = torch.export.load(file, extra_files=files)
        return program, json.loads(files["bitfall.json"])

    def test_format_is_told_by_the_ending(self):
        for name, more in (("m.pt2", ()), ("m.pt", ("--format", "pt2"))):
            with self.subTest(name):
                path = self.folder / name
                status, said, err = self.export(NAME, "--random", "--no-check", "-o", path, *more)
                self.assertEqual((status, err), (0, ""))
                self.assertIn("by export\n  logits of the file against the model", said)
                program, card = self.read(path)
                self.assertEqual((card["name"], card["input"], card["method"]), (NAME, [3, 32, 32], "export"))
                for batch in (1, 5):  # any
                    self.assertEqual(list(program.module()(torch.randn(batch, 3, 32, 32)).shape), [batch, 10])
        torchscript = self.folder / "t.pt2"
        self.assertEqual(self.export(NAME, "--random", "--no-check", "--script", "-o", torchscript)[0], 0)
        torch.jit.load(str(torchscript))

    def test_one_way_at_a_time(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as err:
            export_model.main([NAME, "--random", "-o", "m.pt2", "--trace", "--format", "pt2"])
        self.assertIn("not allowed with", err.getvalue())

    def test_networks_of_one_s_own(self):
        model, path = Encoder().eval(), self.folder / "encoder.pt2"
        export_pt2.export_pt2(model, [4, 4, 4], path, {"name": "mine"})
        program, card = self.read(path)
        self.assertEqual(card["name"], "mine")
        images = torch.randn(1, 4, 4, 4)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(images), model(images))

    def test_a_batch_that_is_fixed_is_refused(self):
        class Fixed(nn.Module):
            def forward(self, x):
                return x.flatten(1).view(2, -1)

        facts = {"name": "fixed", "input": [3, 4, 4], "classes": 48}
        with self.assertRaisesRegex(export_model.ExportError, "fixed .*could not be exported|fixed: "):
            export_model.export(Fixed(), self.folder / "m.pt2", facts, ["export"], say=lambda _: None)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_a_traced_network_fails_by_is_told(self):
        class Fixed(nn.Module):
            def forward(self, x):
                return torch.stack([*x.flatten(1)])  # traced for one number of images

        facts = {"name": "fixed", "input": [3, 4, 4], "classes": 48}
        with self.assertRaisesRegex(export_model.ExportError, "trace: RuntimeError: Expected . elements"):
            export_model.export(Fixed(), self.folder / "m.pt", facts, ["trace"], say=lambda _: None)

    def test_what_torchscript_cannot_hold_is_sent_to_torch_export(self):
        class Swish(torch.autograd.Function):  # of efficientnet_pytorch
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * torch.sigmoid(x)

        class Network(nn.Module):
            def forward(self, x):
                return Swish.apply(x).mean((2, 3))

        facts = {"name": "swish", "input": [3, 4, 4], "classes": 3}
        with self.assertRaisesRegex(export_model.ExportError, "Swish(?s:.*)--format pt2"):
            export_model.export(Network(), self.folder / "m.pt", facts, say=lambda _: None)
        export_model.export(Network(), self.folder / "m.pt2", facts, ["export"], say=lambda _: None)
        program, _ = self.read(self.folder / "m.pt2")
        images = torch.randn(2, 3, 4, 4)
        torch.testing.assert_close(program.module()(images), Network()(images))


class ZeroLayers(Case):
    def test_heads_and_norms_of_zeros(self):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5))
        with torch.no_grad():
            model[1].weight.zero_()
            model[3].weight.zero_()
        before = model[0].weight.clone()
        self.assertEqual(export_model.fill_zero_layers(model), ["1.weight", "3.weight"])
        self.assertTrue(torch.equal(model[0].weight, before))
        self.assertTrue(torch.equal(model[1].weight, torch.ones(4)))
        self.assertGreater(model.eval()(torch.randn(2, 3, 5, 5)).std(0).min().item(), 0)
        self.assertEqual(export_model.fill_zero_layers(model), [])

    def test_random_networks_tell_images_apart(self):
        if export_model.import_timm() is None:
            self.skipTest("timm is not installed")
        name, out = "timm:mixer_s32_224", self.folder / "m.pt"
        with torch.no_grad():
            built = export_model.find_source(name).build(5, None)
            self.assertEqual(built(torch.randn(2, 3, 224, 224)).abs().max().item(), 0)
        status, said, err = self.export(name, "--random", "--classes", 5, "-o", out, "--no-check")
        self.assertEqual(status, 0, err)
        self.assertIn("head.weight started as zeros", said)
        with torch.no_grad():
            logits = torch.jit.load(str(out))(torch.randn(2, 3, 224, 224))
        self.assertGreater((logits[0] - logits[1]).abs().min().item(), 0)


if __name__ == "__main__":
    unittest.main()
