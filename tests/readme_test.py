"""Holds README.md against the program: its plugin compiles and is listed, its files and links exist.

usage: readme_test.py BUILD
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv.pop())
README = (SOURCE / "README.md").read_text(encoding="utf-8")


def code(language):
    """The blocks of README.md in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


class Readme(unittest.TestCase):
    def test_first_page_is_short(self):
        self.assertLessEqual(len(README.splitlines()), 150)

    def test_plugin_builds_and_is_listed(self):
        (plugin,) = code("cpp")
        build, info = [
            line.split("#")[0].split() for line in code("sh")[-1].splitlines() if line.strip()
        ]
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "gap.cc").write_text(plugin)
            build[build.index("core/include")] = str(SOURCE / "core/include")
            subprocess.run(build, cwd=folder, check=True)
            self.assertEqual(info[0], "build/release/bin/bitfall")
            info[0] = str(BUILD / "bin/bitfall")
            told = subprocess.run(info, cwd=folder, check=True, capture_output=True, text=True)
            self.assertIn("Change of the winning logit", told.stdout)

    def test_campaign_file_is_checked_by_the_program(self):
        (campaign,) = code("toml")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "campaign.toml"
            path.write_text(campaign)
            ran = subprocess.run(
                [BUILD / "bin/bitfall", "run", path, "--dry-run"], capture_output=True, text=True
            )
            # All of its keys are known; what is missing are the images and the model.
            self.assertNotIn("campaign.toml:", ran.stderr)
            self.assertEqual(ran.returncode, 4, ran.stderr)

    def test_links_lead_somewhere(self):
        for page in [SOURCE / "README.md", *SOURCE.glob("*/**/README.md"), SOURCE / "core/CHANGELOG.md"]:
            if {"build", ".venv", ".venv-pytorchfi", "runs"} & set(page.relative_to(SOURCE).parts):
                continue
            text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
                self.assertTrue((page.parent / link).exists(), f"{page}: {link}")

    def test_links_into_pages_find_their_heading(self):
        for link, anchor in re.findall(r"\]\(([^)#:]+)#([^)]+)\)", README):
            headings = re.findall(
                r"^#+ (.*)$", (SOURCE / link).read_text(encoding="utf-8"), re.MULTILINE
            )
            anchors = [re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings]
            self.assertIn(anchor, anchors, link)


if __name__ == "__main__":
    unittest.main()
