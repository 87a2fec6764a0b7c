#include "text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "error.h"

namespace bitfall {

std::string read_text(const std::filesystem::path& file) {
  const auto fail = [&](const std::string& reason) -> std::string {
    throw Error(ExitCode::kInput, file.string() + ": cannot be read: " + reason);
  };
  std::error_code status;
  if (std::filesystem::is_directory(file, status)) return fail("it is a folder");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(errno ? std::strerror(errno) : "it cannot be opened");
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  if (in.bad() || text.fail()) return fail("input error");
  return std::move(text).str();
}

}  // namespace bitfall
