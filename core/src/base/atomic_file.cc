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

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  throw Error(ExitCode::kFailure, path.string() + ": cannot be written: " + std::strerror(error));
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
  if (!std::filesystem::is_regular_file(path, status)) refuse("is not a regular file");
  constexpr std::string_view kDatabase = "SQLite format 3";
  std::string start(kDatabase.size(), '\0');
  std::ifstream(path, std::ios::binary)
      .read(start.data(), static_cast<std::streamsize>(start.size()));
  if (start == kDatabase) refuse("holds a database, the results of a run");
}

void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write) {
  prove_replaceable(path);
  // The process id keeps two reports of one run, written at once, out of each other's way.
  const std::string temporary = path.string() + "." + std::to_string(::getpid()) + ".new";
  try {
    write(temporary);
    const int file = ::open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
    const bool flushed = file >= 0 && ::fsync(file) == 0;
    const int error = errno;
    if (file >= 0) ::close(file);
    if (!flushed) fail(path, error);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail(path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  replace_file(path, [&](const std::filesystem::path& temporary) {
    const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) fail(path, errno);
    const bool written = write_all(file, text);
    const int error = errno;
    const bool closed = ::close(file) == 0;
    if (!written || !closed) fail(path, written ? errno : error);
  });
}

}  // namespace bitfall
