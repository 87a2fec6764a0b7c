// Runs scripts of tests/ whose libraries are the oracles, and reads the answers of
// make_image_vectors.py (Pillow, NumPy, torchvision).
#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace bitfall {

/// One answer: sizes and data, or the oracle's refusal.
struct OracleAnswer {
  std::vector<std::int64_t> sizes;
  std::string data;
  std::string error;
  bool ok() const { return error.empty(); }
};

inline bool has_python() { return std::filesystem::exists(BITFALL_PYTHON); }

inline std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// Standard output of a script in tests/. Throws if it fails.
inline std::string run_script(const std::string& script,
                              const std::vector<std::string>& arguments) {
  std::string command = shell_quoted(BITFALL_PYTHON) + " " +
                        shell_quoted(std::string(BITFALL_SOURCE_DIR "/tests/") + script);
  for (const std::string& argument : arguments) command += " " + shell_quoted(argument);
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("popen failed");
  std::string output;
  std::array<char, 65536> buffer;
  for (std::size_t got; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  if (status != 0) throw std::runtime_error("the oracle failed: " + command);
  return output;
}

inline std::string run_oracle(const std::vector<std::string>& arguments) {
  return run_script("make_image_vectors.py", arguments);
}

/// The answers of a command whose elements have `element_size` bytes; 0 = the first size of each
/// answer.
inline std::vector<OracleAnswer> ask_oracle(const std::vector<std::string>& arguments,
                                            std::int64_t element_size) {
  const std::string output = run_oracle(arguments);
  std::vector<OracleAnswer> answers;
  for (std::size_t position = 0; position < output.size();) {
    const std::size_t end = output.find('\n', position);
    std::istringstream line(output.substr(position, end - position));
    position = end + 1;
    std::string word;
    line >> word;
    OracleAnswer answer;
    if (word != "ok") {
      std::getline(line, answer.error);
    } else {
      std::int64_t bytes = element_size == 0 ? 1 : element_size;
      for (std::int64_t size; line >> size; bytes *= size) answer.sizes.push_back(size);
      answer.data = output.substr(position, static_cast<std::size_t>(bytes));
      position += answer.data.size();
    }
    answers.push_back(std::move(answer));
  }
  return answers;
}

/// An empty folder of this test's own.
inline std::filesystem::path fresh_folder(const std::string& parent, const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(parent) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

/// Regular files in a folder in the order of their names.
inline std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace bitfall
