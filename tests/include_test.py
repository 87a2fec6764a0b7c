"""Checks the rules of includes that no compiler sees. That a room includes only rooms below it is CMake's and
the compiler's to say (core/src/CMakeLists.txt).

usage: include_test.py [ROOT [BUILD]]

With a build folder: that the compiler's include paths are the arrows of core/src/CMakeLists.txt.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys

# Headers that only the named files of core/src may include. module_graph.h and compile_graph.h bring TorchScript with
# them, instruction.h, program.h and their like LibTorch; model.h and engine.h must not, so that the rest of the program
# can include them.
TORCHSCRIPT = re.compile(r"torch/(script\.h|jit\.h|csrc/jit/)|ATen/core/(function\.h|jit_type)"
                         r"|(module_graph|compile_graph)\.h")
LIBTORCH = re.compile(r"(torch|ATen|c10|caffe2)/"
                      r"|(instruction|program|steps|batch_layout|front_end|value_flow|answer_form|tensor_shape)\.h")
KEPT_TO = [
    (TORCHSCRIPT, "TorchScript", {"known_lists.h", "known_lists.cc", "unseen_writes.h", "unseen_writes.cc", "torch_runtime.cc", "torchscript_file.cc", "module_graph.h", "module_graph.cc",
                                  "compile_graph.h", "compile_graph.cc", "torchscript_front_end.cc",
                                  "head_module.cc", "trainable_model.cc"}),
    (LIBTORCH, "LibTorch", {"known_lists.h", "known_lists.cc", "unseen_writes.h", "unseen_writes.cc", "torch_runtime.cc", "torchscript_file.cc", "module_graph.h", "module_graph.cc",
                            "instruction.h", "instruction.cc", "copy_on_write.h", "copy_on_write.cc", "compile_graph.h", "compile_graph.cc", "front_end.h",
                            "torchscript_front_end.cc", "compile_exported.h", "compile_exported.cc",
                            "exported_front_end.cc", "exported_operands.h", "exported_operands.cc",
                            "gpu_facts.cc", "python_numbers.h", "python_numbers.cc", "memory_flow.h", "memory_flow.cc",
                            "value_flow.h", "value_flow.cc", "answer_form.h",
                            "answer_form.cc", "tensor_shape.h", "steps.h", "steps.cc",
                            "program.h", "program.cc", "batch_layout.h", "batch_layout.cc", "last_bits.cc", "model.cc",
                            "model_costs.cc", "head_module.cc", "head_report.cc", "head_exchange.cc", "engine.cc",
                            "campaign_runner.cc", "cam.cc", "site_slabs.cc", "fault_free.cc", "magnitudes.cc", "worker.cc", "pilot.cc", "profile.cc", "protection_learning.cc", "image_cache.cc", "workload.cc",
                            "image_cache.h", "device_blocks.cc", "device_blocks.h", "device_guard.cc", "device_guard.h", "device_rounding.cc", "device_rounding.h", "emulated_model.cc",
                            "emulated_model.h", "golden.cc", "golden.h", "golden_keep.cc", "golden_keep.h", "spatial.cc", "spatial.h", "regions.cc",
                            "regions.h", "device_access.cc", "device_access.h", "golden_rows.cc", "image_axis.cc", "window_calls.cc", "window_calls.h", "windows.cc", "windows.h", "tuning.cc", "passes.cc", "passes.h", "flight.h",
                            "trainable_model.cc", "trainable_model.h", "evaluation.cc", "evaluation.h",
                            "trainer.cc"}),
    (re.compile(r"spdlog/|fmt/"), "spdlog", {"log.cc"}),
    (re.compile(r"sqlite3"), "SQLite", {"sqlite.cc"}),
    (re.compile(r"archive(_entry)?\.h"), "libarchive", {"pack_archive.cc"}),
    (re.compile(r"toml\+\+/"), "toml++",
     {"config.cc", "toml_section.cc", "toml_section.h", "toml_file.cc", "toml_file.h",
      "training_config.cc"}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".cc", ".h"))


def includes(path):
    """Pairs (quoted name or None, name between angle brackets or None)."""
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def is_standard(name):
    """The standard library's headers have no folder and no ending."""
    return re.fullmatch(r"[a-z0-9_]+", name) is not None


def check_names(root):
    """core/src: includes name files without their room, so no two headers may share a name."""
    files = sources(root / "core/src")
    problems, seen = [], {}
    for path in files:
        other = seen.setdefault(path.name, path)
        if other is not path:
            problems.append(f"{path.relative_to(root)} has the name of {other.relative_to(root)}: which of them "
                            "an include means would depend on the order of the rooms; rename one")
    return len(files), problems


def rooms_of_cmake(root):
    """Room -> rooms that it depends on, from the lines bitfall_room(...)."""
    text = (root / "core/src/CMakeLists.txt").read_text(encoding="utf-8")
    rooms = {}
    for name, rest in re.findall(r"^ *bitfall_room\((\w+)([^)]*)\)$", text, re.MULTILINE):
        depends = re.search(r"DEPENDS ([a-z_ ]+)", rest)
        rooms[name] = depends.group(1).split() if depends else []
    return rooms


def check_rooms(root):
    """core/src: each folder is a room with a README, and the table of core/src/README.md is CMake's."""
    source = root / "core/src"
    rooms, problems = rooms_of_cmake(root), []
    for path in sources(source):
        if path.parent.parent != source or path.parent.name not in rooms:
            problems.append(f"{path.relative_to(root)} lies in no room of core/src/CMakeLists.txt")
    table = (source / "README.md").read_text(encoding="utf-8")
    told = {
        name: re.findall(r"`(\w+)`", depends)
        for name, depends in re.findall(r"^\| \[`(\w+)`\].*\| ([^|]*) \|$", table, re.MULTILINE)
    }
    if told != rooms:
        wrong = [name for name in {**told, **rooms} if told.get(name) != rooms.get(name)]
        problems.append(f"core/src/README.md tells other rooms or arrows than CMakeLists.txt: {', '.join(wrong)}")
    for name in rooms:
        if not (source / name / "README.md").is_file():
            problems.append(f"core/src/{name} has no README.md")
    return len(rooms), problems


def reached(rooms, name):
    """A room and all that it stands on."""
    found = {name}
    for below in rooms[name]:
        found |= reached(rooms, below)
    return found


def check_paths(root, build):
    """Each file is compiled with the folders of the rooms that its room reaches, and no other."""
    rooms, problems, seen = rooms_of_cmake(root), [], {}
    for command in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        room = re.search(r"/bitfall_(\w+)\.dir/", command["command"])
        if not room or room[1] not in rooms:
            continue
        options = shlex.split(command["command"])
        paths = [found[1] for o in options if (found := re.match(r"-I.*/core/src/(\w+)$", o))]
        if set(paths) != reached(rooms, room[1]):
            problems.append(f"{command['file']} is compiled with the folders of {', '.join(sorted(paths))}")
        seen[room[1]] = command
    # Seen to fail, and to succeed where it may.
    for room, header, good in (("store", "engine.h", False), ("base", "config.h", False), ("report", "store.h", True)):
        compiler = seen[room]["command"].split(" -o ")[0] + " -x c++ -fsyntax-only -"
        ran = subprocess.run(compiler, shell=True, cwd=seen[room]["directory"], capture_output=True,
                             text=True, input=f'#include "{header}"\n')
        if (ran.returncode == 0) != good or (not good and not re.search(f"{header}'? ?:? (No such file|file not found)", ran.stderr)):
            problems.append(f"room {room} with {header}: expected {'to' if good else 'not to'} compile\n{ran.stderr}")
    return len(seen), problems


def check_libraries(root):
    """core/src: each library of KEPT_TO is included only by the file of ours that hides it."""
    files = sources(root / "core/src")
    problems = []
    for path in files:
        for name in (quoted or bracketed for quoted, bracketed in includes(path)):
            for pattern, library, allowed in KEPT_TO:
                if pattern.match(name) and path.name not in allowed:
                    problems.append(f"{path.relative_to(root)} includes {name}: only "
                                    f"{', '.join(sorted(allowed))} may see {library}")
                    break
    return len(files), problems


def check_sdk_users(root, folder, own_folder):
    """The SDK, formats and plugins: the SDK, the standard library, and files next to them."""
    files = sources(root / folder)
    problems = []
    for path in files:
        for quoted, bracketed in includes(path):
            if quoted.startswith("bitfall/"):
                good = (root / "core/include" / quoted).is_file()
            elif quoted:
                good = own_folder and "/" not in quoted and (path.parent / quoted).is_file()
            else:
                # Random123 is headers alone: counter-based random numbers for stochastic rounding.
                good = is_standard(bracketed) or bracketed.startswith("Random123/")
            if not good:
                allowed = "the SDK (bitfall/...), the standard library and Random123"
                if own_folder:
                    allowed += ", and files next to it"
                problems.append(f"{path.relative_to(root)} includes {quoted or bracketed}; it may "
                                f"include only {allowed}")
    return len(files), problems


def main(arguments):
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent)
    results = [check_names(root), check_rooms(root), check_libraries(root),
               *([check_paths(root, pathlib.Path(arguments[1]))] if len(arguments) > 1 else []),
               check_sdk_users(root, "core/include/bitfall", False),
               check_sdk_users(root, "formats", True), check_sdk_users(root, "plugins", True)]
    problems = [problem for _, found in results for problem in found]
    for number, _ in results:
        if number == 0:
            problems.append(f"a folder without sources under {root.resolve()}: is it the project?")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{results[0][0]} files of the host, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
