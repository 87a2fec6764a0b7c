#include "atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "error.h"

namespace bitfall {
namespace {

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

void prove_replaceable(const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::kUsage, path.string() + ": " + what + "; give another name to write to");
  };
  std::error_code status;
  if (path.empty()) refuse("no file has an empty name");
  if (!std::filesystem::exists(path, status)) return;
  if (std::filesystem::is_directory(path, status)) refuse("is a folder");
  if (!std::filesystem::is_regular_file(path, status)) refuse("is no regular file");
  constexpr std::string_view kDatabase = "SQLite format 3";
  std::string start(kDatabase.size(), '\0');
  std::ifstream(path, std::ios::binary)
      .read(start.data(), static_cast<std::streamsize>(start.size()));
  if (start == kDatabase) refuse("holds a database, the results of a run");
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  prove_replaceable(path);
  // The process id keeps two reports of one run, written at once, out of each other's way.
  const std::string temporary = path.string() + "." + std::to_string(::getpid()) + ".new";
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool good = file >= 0 && write_all(file, text) && ::fsync(file) == 0;
  int error = errno;
  if (file >= 0 && ::close(file) != 0 && good) {
    good = false;
    error = errno;
  }
  if (good && ::rename(temporary.c_str(), path.c_str()) != 0) {
    good = false;
    error = errno;
  }
  if (good) return;
  if (file >= 0) ::unlink(temporary.c_str());
  throw Error(ExitCode::kFailure, path.string() + ": cannot be written: " + std::strerror(error));
}

}  // namespace bitfall
