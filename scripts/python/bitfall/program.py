"""The program `bitfall`: where it is, how it is started, and its errors as exceptions."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, Callable, Optional

_FOLDER = Path(__file__).resolve().parent
_EXIT_INTERRUPTED = 75
_GET_IT = (
    "install the wheel (pip install bitfall), build the source tree (scripts/build.sh release), or name "
    "it in the environment variable BITFALL"
)


class Error(Exception):
    """What the program refused, in its own words: what, where, and what to do.

    `code` is its exit code: 1 failure, 2 campaign file or arguments, 3 plugin, 4 input, 75 interrupted.
    """

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run. What was done is stored: `run` holds it, and `run.resume()` goes on."""

    def __init__(self, message: str, run: Any = None):
        super().__init__(message)
        self.run = run


class CampaignWarning(UserWarning):
    """What the program warns of."""


def program() -> Path:
    """The program: that of the environment variable BITFALL, the wheel's, the source tree's build, or
    that of PATH."""
    named = os.environ.get("BITFALL")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise Error(f"BITFALL={named}: is not a program")
        return Path(named)
    for path in (_FOLDER / "bin/bitfall", _FOLDER.parents[2] / "build/release/bin/bitfall"):
        if path.is_file():
            return path
    found = shutil.which("bitfall")
    if found:
        return Path(found)
    raise Error(f"the program bitfall was not found: {_GET_IT}")


def _is_packaged(path: Path) -> bool:
    return path.parent.parent == _FOLDER


def environment(path: Path) -> dict:
    """The variables to start it with: the wheel's program is shown where the installed torch lies, if
    that is of a version that it was built with."""
    variables = dict(os.environ)
    if not _is_packaged(path):
        return variables
    check_torch()
    spec = importlib.util.find_spec("torch")  # not imported: that takes seconds
    assert spec and spec.submodule_search_locations
    libraries = str(Path(list(spec.submodule_search_locations)[0]) / "lib")
    others = variables.get("LD_LIBRARY_PATH")
    variables["LD_LIBRARY_PATH"] = libraries + (":" + others if others else "")
    return variables


def check_torch() -> None:
    """Raises Error unless the installed torch is of the minor version that the wheel was built with."""
    built = json.loads((_FOLDER / "built_with.json").read_text())["torch"]
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        found = ""
    if importlib.util.find_spec("torch") is None or not found:
        raise Error(f"torch is not installed; this wheel of bitfall needs torch {_minor(built)}.x", 1)
    if _minor(found) != _minor(built):
        raise Error(
            f"torch {found} is installed, and this wheel of bitfall was built with {built}: another "
            f"minor version has another binary interface; pip install 'torch=={_minor(built)}.*'",
            1,
        )


def _minor(version: str) -> str:
    return ".".join(version.split("+")[0].split(".")[:2])


def main() -> None:
    """The command `bitfall`: becomes the program, so that signals and exit codes are its own. `demo` alone
    is the package's."""
    if sys.argv[1:2] == ["demo"]:
        from .demo import main as demo

        demo()
        return
    try:
        path = program()
        if _is_this_command(path):
            os.environ.pop("BITFALL", None)  # it named this command, as `which bitfall` does
            path = program()
            if _is_this_command(path):
                raise Error(f"{path}: is the package's command, and the program is not there; {_GET_IT}")
        variables = environment(path)
    except Error as error:
        print(f"bitfall: error: {error}", file=sys.stderr)
        sys.exit(error.code)
    os.execve(path, [str(path), *sys.argv[1:]], variables)


def _is_this_command(path: Path) -> bool:
    return os.path.exists(sys.argv[0]) and os.path.samefile(path, sys.argv[0])


# Starting it ---------------------------------------------------------------------------------------


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    shell = sys.modules.get("IPython")
    shell = shell.get_ipython() if shell else None
    return shell is not None and hasattr(shell, "kernel")


def _count(number: float) -> str:
    for unit in ("", " k", " M"):
        if number < 999.5:
            return f"{number:.{1 if unit and number < 9.95 else 0}f}{unit}"
        number /= 1000
    return f"{number:.1f} G"


class _ProgressLine:
    """What a run says of itself, on a line that is drawn again and again."""

    def __init__(self) -> None:
        self.width = 0

    def draw(self, state: dict) -> None:
        total = max(state["total"], 1)
        text = f"{100 * state['done'] // total:3d} %  {_count(state['done'])}/{_count(state['total'])} {state['what']}"
        if state.get("rate"):
            text += f"  {_count(state['rate'])}/s"
        if state.get("eta_s") is not None and not state["finished"]:
            text += f"  ETA {state['eta_s']:.0f} s"
        if state.get("note"):
            text += "  " + state["note"]
        padded = text.ljust(self.width)
        self.width = len(text)
        print("\r" + padded, end="\n" if state["finished"] else "", file=sys.stderr, flush=True)
        if state["finished"]:
            self.width = 0

    def end(self) -> None:
        if self.width:
            print(file=sys.stderr, flush=True)
            self.width = 0


class _Listener:
    """Reads a process's stderr: progress, warnings, and the error that it ends with."""

    def __init__(self, process: subprocess.Popen, on_progress: Optional[Callable[[dict], None]]):
        self.lines: list = []
        self.warnings: list = []
        self.on_progress = on_progress
        self.thread = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self.thread.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            line = line.rstrip("\n")
            if line.startswith('{"schema":"bitfall.progress/'):
                if self.on_progress:
                    self.on_progress(json.loads(line))
            elif line.startswith("bitfall: warning: "):
                self.warnings.append(line.removeprefix("bitfall: warning: "))
            elif self.warnings and line.startswith("  ") and not self.lines:
                self.warnings[-1] += "\n" + line
            else:
                self.lines.append(line)

    def error(self) -> str:
        """The text after "bitfall: error:", or all that was said."""
        text = "\n".join(self.lines).strip()
        start = text.find("bitfall: error: ")
        if start < 0:
            start = text.find("bitfall: ")
            return text[start:].removeprefix("bitfall: ") if start >= 0 else text
        return text[start:].removeprefix("bitfall: error: ")


def call(
    *arguments: Any,
    progress: Optional[bool] = False,
    accept: tuple = (0,),
    stdin: Optional[str] = None,
    quiet: bool = False,
) -> subprocess.CompletedProcess:
    """Runs the program and returns its exit code and stdout.

    progress: draw its progress on stderr; None: on a terminal and in a notebook. accept: exit codes
    that are no errors. stdin: what it reads there. quiet: its warnings are not passed on.
    Raises Error with its words, and KeyboardInterrupt after it has stopped cleanly.
    """
    path = program()
    command = [str(path), *map(str, arguments)]
    if progress is None:
        progress = sys.stderr.isatty() or in_notebook()
    line = _ProgressLine() if progress else None
    process = subprocess.Popen(
        command, env=environment(path), stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
        start_new_session=True,  # Ctrl-C comes to this process, which hands it on once
    )  # fmt: skip
    listener = _Listener(process, line.draw if line else None)
    interrupted = False
    output: list = []
    sender = None
    stdout: Any = process.stdout
    reader = threading.Thread(target=lambda: output.append(stdout.read()), daemon=True)
    reader.start()
    if stdin is not None:
        sender = threading.Thread(target=_send, args=(process.stdin, stdin), daemon=True)
        sender.start()
    while True:
        try:
            process.wait()
            break
        except KeyboardInterrupt:
            # The first ends the pass and stores what was done, the second ends it at once.
            process.send_signal(signal.SIGKILL if interrupted else signal.SIGINT)
            interrupted = True
    for thread in (reader, listener.thread, sender):
        if thread:
            thread.join()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
    if line:
        line.end()
    if not quiet:
        for text in listener.warnings:
            warnings.warn(text, CampaignWarning, stacklevel=3)
    if interrupted:
        raise KeyboardInterrupt
    code = process.returncode
    if code not in accept:
        raise Error(listener.error() or f"the program ended with {_end(code)}", code)
    return subprocess.CompletedProcess(command, code, output[0], "\n".join(listener.lines))


def _send(stream: Any, text: str) -> None:
    try:
        with stream:
            stream.write(text)
    except BrokenPipeError:
        pass  # it has ended, and says why


def _end(code: int) -> str:
    return f"signal {-code} (killed: memory?)" if code == -signal.SIGKILL else (
        f"signal {-code}" if code < 0 else f"exit code {code}")  # fmt: skip


def call_json(*arguments: Any, **options: Any) -> Any:
    """The JSON that it prints."""
    return json.loads(call(*arguments, **options).stdout)


@functools.lru_cache(maxsize=None)
def _asked(path: str, modified: int, arguments: tuple) -> Any:
    return call_json(*arguments)


def ask(*arguments: str) -> Any:
    """The JSON of a command whose answer only another program would change."""
    path = program()
    return _asked(str(path), path.stat().st_mtime_ns, arguments)
