#!/usr/bin/env python3
"""Pages in a browser: nothing is fetched, nothing goes wrong, tables sort, charts tell their numbers. Chromium, without a window,
by its own protocol (https://chromedevtools.github.io/devtools-protocol).

usage: browser_test.py PROGRAM [unittest arguments]
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy
import torch
from torch import nn

PROGRAM = os.path.abspath(sys.argv.pop(1))
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
LAYERS, CLASSES = 200, 4


class Browser:
    """One page of a Chromium. events: what it reported, by the protocol's names."""

    def __init__(self, folder):
        to_child, self.out = os.pipe()
        self.into, from_child = os.pipe()
        arguments = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", f"--user-data-dir={folder}", "--remote-debugging-pipe",
                     "--window-size=1200,900", "about:blank"]

        def channels():
            # Away from 3 and 4 first, which either may be.
            read, write = os.dup(to_child), os.dup(from_child)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(arguments, preexec_fn=channels, close_fds=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(to_child)
        os.close(from_child)
        self.events, self.left, self.number, self.session = [], b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.out)
        os.close(self.into)

    def message(self):
        while b"\0" not in self.left:
            data = os.read(self.into, 1 << 16)
            if not data:
                raise RuntimeError("the browser ended")
            self.left += data
        text, self.left = self.left.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def value(self, script):
        """Of an expression in the page, which may be a promise."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def open(self, path, dark=False):
        self.events.clear()
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        deadline = time.monotonic() + 120
        while not self.value("document.readyState === 'complete' && (!document.getElementById('charts') || "
                             "[...document.querySelectorAll('[id^=chart-]')].every(p => p.querySelector('svg.marks') || p.textContent))"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{path} is not drawn")
            time.sleep(0.05)

    def move(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                         clip={"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12000), "scale": 1})
        Path(path).write_bytes(base64.b64decode(shot["data"]))


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def make_runs(folder):
    """A network of 200 layers, in FP32 hit in every one; and two small ones side by side."""
    torch.manual_seed(1)
    images = numpy.random.default_rng(1).standard_normal((8, 1, 2, 3)).astype("float32")
    numpy.save(folder / "images.npy", images)
    numpy.save(folder / "labels.npy", numpy.arange(8) % CLASSES)
    layers = [nn.Linear(6, 6) for _ in range(LAYERS - 1)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    nets = {"deep": nn.Sequential(nn.Flatten(), *layers, nn.Linear(6, CLASSES)),
            "first": nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, CLASSES)),
            "second": nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, CLASSES))}
    for name, net in nets.items():
        torch.jit.script(net.eval()).save(folder / f"{name}.pt")
        (folder / f"{name}.toml").write_text(
            f'[model]\npath = "{name}.pt"\n[data]\npath = "images.npy"\nlabels = "labels.npy"\n[format]\nid = "fp32"\n'
            f'[campaign]\noutput = "{name}"\n[[faults]]\nper_site = {200 if name == "deep" else 600}\n[run]\nbatch = 8\nthreads = 1\nworkers = 1\n')
        run("run", folder / f"{name}.toml")
        run("report", folder / name, "--html", folder / f"{name}.html")
    run("compare", folder / "first", folder / "second", "--html", folder / "compare.html")
    run("profile", folder / "first", folder / "second", "--html", folder / "profile.html")


@unittest.skipUnless(CHROMIUM, "no Chromium: apt-get install chromium")
class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="bitfall_browser_")
        cls.folder = Path(cls.temporary.name)
        make_runs(cls.folder)
        cls.browser = Browser(cls.folder / "profile")

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.temporary.cleanup()

    def opened(self, name, dark=False):
        self.browser.open(self.folder / name, dark)
        keep = os.environ.get("BITFALL_PICTURES")  # to look at
        if keep:
            self.browser.picture(Path(keep) / (Path(name).stem + ("_dark" if dark else "") + ".png"))

    def test_pages_fetch_nothing_and_report_no_error(self):
        for name in ("deep.html", "first.html", "compare.html", "profile.html"):
            for dark in (False, True):
                with self.subTest(name, dark=dark):
                    self.opened(name, dark)
                    asked = [e["params"]["request"]["url"] for e in self.browser.events if e["method"] == "Network.requestWillBeSent"]
                    own = (self.folder / name).resolve().as_uri()
                    self.assertEqual([url for url in asked if url != own and not url.startswith(("data:", "blob:"))], [])
                    wrong = [e for e in self.browser.events
                             if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
                             or e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning", "assert")]
                    self.assertEqual(wrong, [])
                    places = self.browser.value("document.querySelectorAll('[id^=chart-]').length")
                    drawn = self.browser.value("document.querySelectorAll('[id^=chart-] svg.marks').length")
                    self.assertGreater(places, 0)
                    self.assertEqual(drawn, places)

    def test_dark_pages_are_dark_and_legible(self):
        for dark in (False, True):
            self.opened("first.html", dark)
            light = lambda what: self.browser.value(  # noqa: E731
                f"getComputedStyle(document.body).{what}.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)")
            background = self.browser.value("getComputedStyle(document.body).backgroundColor")
            if dark:
                self.assertLess(light("backgroundColor"), 150, background)
                self.assertGreater(light("color"), 500)
            else:
                self.assertLess(light("color"), 300)

    def test_tables_sort_by_their_numbers(self):
        self.opened("deep.html")
        script = """(() => {
          const table = [...document.querySelectorAll('table[data-sortable]')].find(t => t.tBodies[0].rows.length > 100);
          const titles = [...table.tHead.rows[0].cells];
          const column = name => titles.findIndex(t => t.textContent.trim().startsWith(name));
          const read = c => [...table.tBodies[0].rows].filter(r => !r.classList.contains('total')).map(r => r.cells[c].textContent.trim());
          const found = {};
          for (const name of ['mismatch', 'max', 'delta loss', 'layer']) {
            const c = column(name);
            titles[c].click();
            const down = read(c);
            titles[c].click();
            found[name] = [down, read(c), titles[c].getAttribute('aria-sort')];
          }
          found.last = [...table.tBodies[0].rows].at(-1).className;
          return found;
        })()"""
        found = self.browser.value(script)
        number = lambda text: float(text.split("[")[0].replace("%", "").split()[0])  # noqa: E731
        for name in ("mismatch", "max", "delta loss"):
            down, up, order = found[name]
            values = [number(t) for t in down if t[0] in "-0123456789"]
            self.assertEqual(len(down), LAYERS)
            self.assertEqual(values, sorted(values, reverse=True), name)
            values = [number(t) for t in up if t[0] in "-0123456789"]
            self.assertEqual(values, sorted(values), name)
            self.assertEqual(order, "ascending")
        self.assertEqual(found["layer"][1], [str(i + 1) for i in range(LAYERS)])  # layers of nn.Sequential, by their numbers
        self.assertIn("total", found["last"])

    def test_charts_tell_their_numbers(self):
        self.opened("first.html")
        place = self.browser.value("""(() => {
          const marks = document.querySelectorAll('#chart-layer_bits svg .mark-rect path, #chart-layer_bits svg path[aria-label]');
          const mark = [...marks].find(m => m.getBoundingClientRect().width > 3);
          mark.scrollIntoView({block: 'center'});
          const box = mark.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        })()""")
        self.browser.move(place[0] - 2, place[1] - 1)
        self.browser.move(*place)
        deadline = time.monotonic() + 10
        shown = ""
        while "mismatch" not in shown and time.monotonic() < deadline:
            shown = self.browser.value("document.getElementById('vg-tooltip-element')?.textContent ?? ''")
            time.sleep(0.05)
        self.assertIn("mismatch", shown)
        self.assertIn("bit", shown)

    def test_200_layers_of_32_bits_take_less_than_3_MB(self):
        size = (self.folder / "deep.html").stat().st_size
        self.assertLess(size, 3_000_000)
        self.opened("deep.html")
        cells = self.browser.value("JSON.parse(document.getElementById('charts').textContent).layer_bits.data.values.length")
        self.assertGreater(cells, LAYERS * 32 * 0.9)  # drawn bits: some of them are never met


if __name__ == "__main__":
    unittest.main()
