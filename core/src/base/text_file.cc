#include "text_file.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "error.h"

namespace bitfall {
namespace {

constexpr std::uintmax_t kLargestText = std::uintmax_t{1} << 30;

}  // namespace

std::string read_text(const std::filesystem::path& file) {
  const auto fail = [&](const std::string& reason) -> std::string {
    throw Error(ExitCode::kInput, file.string() + ": cannot be read: " + reason);
  };
  std::error_code status;
  if (std::filesystem::is_directory(file, status)) return fail("it is a folder");
  require_regular(file);
  const auto size = std::filesystem::file_size(file, status);
  if (!status && size > kLargestText) return fail("it is too large for a text");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(errno ? std::strerror(errno) : "it cannot be opened");
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  if (in.bad() || text.fail()) return fail("input error");
  return std::move(text).str();
}

void require_regular(const std::filesystem::path& file) {
  std::error_code status;
  const auto type = std::filesystem::status(file, status).type();
  using Type = std::filesystem::file_type;
  for (const Type pipe : {Type::fifo, Type::character, Type::block, Type::socket}) {
    if (type != pipe) continue;
    throw Error(ExitCode::kInput, file.string() +
                                      ": is not a regular file, but a pipe, a device or "
                                      "a socket; save its content to a file first");
  }
}

}  // namespace bitfall
