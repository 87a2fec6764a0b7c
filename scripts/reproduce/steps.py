"""What the experiments here have in common: programs that are run, files that appear whole, options."""

import argparse
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BITFALL = pathlib.Path(os.environ.get("BITFALL", ROOT / "build/release/bin/bitfall"))


class Failed(Exception):
    """What went wrong; printed without a traceback."""


def call(*command, log=None):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if log:
        log.write_text(done.stdout + done.stderr)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise Failed(f"{' '.join(map(str, command))}\nended with {done.returncode}: {last}")
    return done.stdout


def write(path, text):
    """Whole or not at all; a file that holds this already is left, so that nothing later looks older than it."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def parser_of(doc):
    """Of a script whose docstring tells its usage and options."""
    return argparse.ArgumentParser(
        usage=doc.split("usage: ")[1].split("\n")[0],
        epilog=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def whole(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a whole number, at least 1")
    return value


def some_of(known, kind=""):
    """NAME,... of these; `kind`, such as "arm ", for messages."""

    def parse(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"there is no {kind}'{name}'; there are {', '.join(known)}"
                )
        return chosen

    return parse
