#include "chart_pictures.h"

#include <sys/wait.h>

#include <array>
#include <boost/dll/runtime_symbol_info.hpp>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "error.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

// Exit 9: the package is missing.
constexpr const char* kProgram = R"python(
import json, os, sys
try:
    import vl_convert
except ImportError:
    sys.exit(9)
folder = sys.argv[1]
for name, chart in json.load(sys.stdin).items():
    picture = vl_convert.vegalite_to_png(json.dumps(chart), scale=2)
    path = os.path.join(folder, name + ".png")
    with open(path + ".part", "wb") as file:
        file.write(picture)
    os.replace(path + ".part", path)
    print(path)
)python";

std::string python() {
  if (const char* named = std::getenv("BITFALL_PYTHON"); named != nullptr && *named != '\0') {
    return named;
  }
  // build/PRESET/bin/bitfall of a source tree.
  const fs::path program(boost::dll::program_location().string());
  const fs::path own = program.parent_path() / "../../../.venv/bin/python";
  std::error_code ignored;
  return fs::exists(own, ignored) ? own.lexically_normal().string() : "python3";
}

}  // namespace

void write_chart_pictures(const std::string& charts, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw Error(ExitCode::kFailure, folder.string() + ": cannot be made: " + error.message());
  const std::string interpreter = python();
  const std::string command =
      shell_word(interpreter) + " -c " + shell_word(kProgram) + " " + shell_word(folder.string());
  std::FILE* pipe = ::popen(command.c_str(), "w");
  if (pipe == nullptr) throw Error(ExitCode::kFailure, interpreter + ": cannot be started");
  const bool sent = std::fwrite(charts.data(), 1, charts.size(), pipe) == charts.size();
  const int status = ::pclose(pipe);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == 9 || code == 127) {
    throw Error(ExitCode::kFailure,
                "--png: " + interpreter +
                    (code == 9 ? " lacks the package that draws charts" : " cannot be started") +
                    "; pip install vl-convert-python, or name a Python that has it in "
                    "BITFALL_PYTHON (the charts themselves: --charts)");
  }
  if (code != 0 || !sent) {
    throw Error(ExitCode::kFailure,
                "--png: " + interpreter + " ended with " + std::to_string(code) + "; see above");
  }
}

}  // namespace bitfall
