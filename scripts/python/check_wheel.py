"""In the environment of an installed wheel: what the wheel brought is what wheel_libraries.py says; one
campaign by the package, by its command `bitfall` and, where there is one, by the program of the source
build, all with one digest, and one shard of it with the digest of the source build's shard; another torch
is refused.

usage: check_wheel.py WHEEL
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
from wheel_libraries import BUNDLED, GLIBC, MEGABYTES  # noqa: E402

sys.path.remove(str(SOURCE / "scripts/python"))  # Python puts a script's folder first: not the installed package

import torch  # noqa: E402

import bitfall  # noqa: E402

COMMAND = Path(sys.executable).parent / "bitfall"


def check_contents(wheel):
    """Its libraries, the glibc of its tag, its size."""
    found = {re.sub(r"-[0-9a-f]{8}\b", "", name) for name in os.listdir(Path(bitfall.__file__).parent.parent / "bitfall.libs")}
    # A file has its whole version, the list what programs ask for: libjpeg.so.62.3.0 is libjpeg.so.62.
    other = [name for name in found if not any((name + ".").startswith(known + ".") for known in BUNDLED)]
    gone = [known for known in BUNDLED if not any((name + ".").startswith(known + ".") for name in found)]
    tag = re.search(r"manylinux_(\d+)_(\d+)_", wheel.name)
    megabytes = wheel.stat().st_size / 1e6
    print(f"{wheel.name}: {megabytes:.1f} MB, {len(found)} libraries bundled")
    if other or gone:
        sys.exit(f"wheel_libraries.py is not what the wheel brings: new {other}, gone {gone}")
    if not tag or (int(tag[1]), int(tag[2])) > GLIBC or megabytes > MEGABYTES:
        sys.exit(f"the wheel is to need no newer glibc than {GLIBC} and to have at most {MEGABYTES} MB")


def digest(command, campaign, output, *more):
    subprocess.run([command, "-q", "run", campaign, "-o", output, *more], check=True, stdout=subprocess.DEVNULL)
    return json.loads(subprocess.check_output([command, "status", output, "--json"]))["digest"]


def main():
    if SOURCE in Path(bitfall.__file__).parents and "site-packages" not in bitfall.__file__:
        sys.exit(f"{bitfall.__file__} is the source tree's package, not an installed one")
    check_contents(Path(sys.argv[1]))
    model = torch.jit.load(Path(bitfall.__file__).parent / "share/bitfall/examples/baseline.pt")
    torch.manual_seed(1)
    data = torch.rand(48, 3, 32, 32), torch.arange(48) % 12
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run = bitfall.run(model, data, output=folder / "package", format="fp16", per_site=256, batch=16, threads=1)
        digests = {"package": run.digest}
        campaign = run.path / "inputs/campaign.toml"
        digests["command"] = digest(COMMAND, campaign, folder / "command")
        built = SOURCE / "build/release/bin/bitfall"
        shards = {"command": digest(COMMAND, campaign, folder / "command_shard", "--shard", "2/3")}
        wanted = len(list((Path(bitfall.__file__).parent / "lib/bitfall/plugins").glob("*.so")))
        if built.exists():
            digests["source build"] = digest(built, campaign, folder / "built")
            shards["source build"] = digest(built, campaign, folder / "built_shard", "--shard", "2/3")
            wanted = json.loads(subprocess.check_output([built, "env", "--json"]))["plugins"]
        for name, value in digests.items():
            print(f"{value}  {name}")
        for name, value in shards.items():
            print(f"{value}  shard 2/3, {name}")
        about = json.loads(subprocess.check_output([COMMAND, "env", "--json"]))
        print(f"plugins {about['plugins']}, refused {about['plugins_refused']}, torch {about['torch_version']}")
        if len(set(digests.values())) != 1 or len(set(shards.values())) != 1 or about["plugins"] != wanted or about["plugins_refused"]:
            sys.exit("the digests differ, or plugins were not found")
    # The wheel looks at torch before it starts anything.
    facts = Path(bitfall.__file__).parent / "built_with.json"
    text = facts.read_text()
    facts.write_text('{"torch": "2.99.0"}')
    try:
        done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, env=os.environ)
        print(done.stderr.strip())
        if done.returncode == 0:
            sys.exit("a wheel of another torch was not refused")
    finally:
        facts.write_text(text)


main()
