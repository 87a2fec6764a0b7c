"""Checks that files include only what lies before them in the flow of a campaign.

usage: include_order_test.py [ROOT]

A new file in core/src joins a stage of STAGES.
"""

import pathlib
import re
import sys

# In flow order: a file may include files of its own stage and of those above, never of one below.
# `sites` and `faults` lie before `model`, though a model's sites are known only when it is open: a
# site is plain data that the model fills in, and choosing among sites needs no model. Likewise
# `outcome`, what a trial gave, lies before the engine that gives it. The session comes late: it
# opens all that `run`, `resume` and `replay` need.
STAGES = [
    ("foundation", "error torch_message log diagnostics atomic_file run_lock sha256 exact_text shell_word text_table csv "
                   "philox statistics bootstrap progress"),
    ("config", "config key_table campaign_keys training_keys toml_section toml_file training_config"),
    ("plugin_host", "plugin_host plugin_guard plugin_options plugin_tables component_choice"),
    ("dataset", "dataset class_folders image npy preprocess"),
    ("text", "stored_tensor safetensors zip_archive pickle pytorch_file tensor_file json_file class_names "
             "embeddings descriptions"),
    ("model_card", "model_card"),
    ("sites", "sites site_formats"),
    ("faults", "faults"),
    ("head", "head"),
    ("model", "torchscript_file program model head_module model_costs head_report"),
    ("plan", "plan image_orders image_chunks outcome"),
    ("engine", "engine engine_costs timer emulated_model golden spatial regions passes flight injection calibration "
               "device_rounding answer"),
    ("store", "store store_schema sqlite export"),
    ("report", "report report_html report_json report_number report_text html_page compare compare_match compare_sample "
               "compare_golden compare_tables compare_text compare_json compare_charts compare_html"),
    ("session", "session tuning"),
    ("train", "schedule batch_loader training_log training_page trainable_model trainer"),
    ("convert", "word_reader register_bits convert_rows convert format_tables"),
    ("commands", "commands command_compare command_convert command_embeddings command_head command_list command_merge command_read command_run command_train main"),
]

# Headers that only the named files of core/src may include. program.h brings LibTorch with it;
# model.h and engine.h must not, so that the rest of the program can include them.
TORCHSCRIPT = re.compile(r"torch/(script\.h|jit\.h|csrc/jit/)|ATen/core/(function|jit_type)")
LIBTORCH = re.compile(r"(torch|ATen|c10|caffe2)/|program\.h")
KEPT_TO = [
    (TORCHSCRIPT, "TorchScript", {"torchscript_file.cc", "program.cc", "head_module.cc",
                                   "trainable_model.cc"}),
    (LIBTORCH, "LibTorch", {"torchscript_file.cc", "program.cc", "program.h", "model.cc", "model_costs.cc", "head_module.cc",
                            "head_report.cc", "command_head.cc", "engine.cc", "device_rounding.cc",
                            "device_rounding.h", "emulated_model.cc", "emulated_model.h", "golden.cc",
                            "golden.h", "spatial.cc", "spatial.h", "regions.cc", "regions.h",
                            "tuning.cc", "passes.cc", "passes.h", "flight.h", "trainable_model.cc",
                            "trainable_model.h", "trainer.cc"}),
    (re.compile(r"spdlog/|fmt/"), "spdlog", {"log.cc"}),
    (re.compile(r"sqlite3"), "SQLite", {"sqlite.cc"}),
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


def stage_table():
    """Stem -> place in the flow; a stem named twice is an error of the table."""
    table, problems = {}, []
    for place, (_, stems) in enumerate(STAGES):
        for stem in stems.split():
            if stem in table:
                problems.append(f"{stem} is in two stages of STAGES; leave it in one")
            table[stem] = place
    return table, problems


def check_flow(root):
    """core/src: each file has a stage and looks up the flow only."""
    folder = root / "core/src"
    table, problems = stage_table()
    files = sources(folder)
    for stem in sorted(set(table) - {p.stem for p in files}):
        problems.append(f"core/src has no {stem}.cc or .h; take it out of STAGES")
    for path in files:
        place = path.relative_to(root)
        if path.stem not in table:
            problems.append(f"{place} is in no stage: add {path.stem} to STAGES in {__file__}")
            continue
        own = table[path.stem]
        for quoted, _ in includes(path):
            if not quoted or quoted.startswith("bitfall/"):
                continue
            stem = pathlib.PurePath(quoted).stem
            if not (folder / quoted).is_file():
                problems.append(f"{place} includes {quoted}, which core/src does not have")
            elif table.get(stem, own) > own:
                problems.append(f"{place} (stage {STAGES[own][0]}) includes {quoted} of the later "
                                f"stage {STAGES[table[stem]][0]}")
    return len(files), problems


def check_libraries(root):
    """core/src: each library of KEPT_TO stays behind the header of ours that hides it."""
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
    """The SDK, formats and plugins: the SDK, the standard library, and files beside them."""
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
                    allowed += ", and files beside it"
                problems.append(f"{path.relative_to(root)} includes {quoted or bracketed}; it may "
                                f"include only {allowed}")
    return len(files), problems


def main(arguments):
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent)
    results = [check_flow(root), check_libraries(root),
               check_sdk_users(root, "core/include/bitfall", False),
               check_sdk_users(root, "formats", True), check_sdk_users(root, "plugins", True)]
    problems = [problem for _, found in results for problem in found]
    for number, _ in results:
        if number == 0:
            problems.append(f"a folder without sources under {root.resolve()}: is it the project?")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{results[0][0]} files in {len(STAGES)} stages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
