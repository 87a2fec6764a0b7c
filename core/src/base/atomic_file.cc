#include "atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "error.h"
#include "run_lock.h"

namespace bitfall {

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// "NAME.123.new"
bool is_temporary_of(const std::string& name, const std::string& candidate) {
  constexpr std::string_view kEnd = ".new";
  if (!candidate.starts_with(name + ".") || !candidate.ends_with(kEnd)) return false;
  if (candidate.size() <= name.size() + 1 + kEnd.size()) return false;
  return std::all_of(candidate.begin() + static_cast<std::ptrdiff_t>(name.size()) + 1,
                     candidate.end() - static_cast<std::ptrdiff_t>(kEnd.size()),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// What killed processes left of earlier tries: files that nobody holds. Locks of other machines
/// cannot be seen everywhere, so that nothing is removed where files are shared between machines.
void remove_abandoned(const fs::path& path) {
  const fs::path folder = folder_of(path);
  if (on_network(folder)) return;
  const std::string name = path.filename().string();
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!is_temporary_of(name, entry->path().filename().string())) continue;
    const int file = ::open(entry->path().c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 && errno != ELOOP) continue;
    if (file < 0 || ::flock(file, LOCK_EX | LOCK_NB) == 0) ::unlink(entry->path().c_str());
    if (file >= 0) ::close(file);
  }
}

}  // namespace

bool is_database(const fs::path& path) {
  constexpr std::string_view kStart = "SQLite format 3";
  std::string start(kStart.size(), '\0');
  std::ifstream(path, std::ios::binary)
      .read(start.data(), static_cast<std::streamsize>(start.size()));
  return start == kStart;
}

void prove_replaceable(const fs::path& path) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::kUsage, path.string() + ": " + what + "; give another name to write to");
  };
  std::error_code status;
  if (path.empty()) refuse("no file has an empty name");
  if (!fs::exists(path, status)) return;
  if (fs::is_directory(path, status)) refuse("is a folder");
  if (!fs::is_regular_file(path, status)) refuse("is not a regular file");
  if (is_database(path)) refuse("holds a database, the results of a run");
}

void prove_output(const std::filesystem::path& output,
                  const std::vector<std::filesystem::path>& inputs) {
  prove_replaceable(output);
  for (const std::filesystem::path& input : inputs) {
    if (std::error_code absent; !std::filesystem::equivalent(input, output, absent)) continue;
    throw Error(ExitCode::kUsage, "-o " + output.string() + ": is read as " + input.string() +
                                      "; give another name to write to");
  }
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  prove_replaceable(path_);
  remove_abandoned(path_);
  // The process id keeps two reports of one run, written at once, out of each other's way.
  temporary_ = path_.string() + "." + std::to_string(::getpid()) + ".new";
  ::unlink(temporary_.c_str());
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (file_ < 0) fail(errno);
  ::flock(file_, LOCK_EX | LOCK_NB);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(file_);
}

void AtomicFile::write(std::string_view text) {
  if (!write_all(file_, text)) fail(errno);
}

// By its name: whoever wrote it may have put another file there.
void AtomicFile::flush() const {
  const int file = ::open(temporary_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  const bool flushed = file >= 0 && ::fsync(file) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  if (!flushed) fail(error);
}

void AtomicFile::commit() {
  flush();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  ::close(std::exchange(file_, -1));
  flush_folder(folder_of(path_));
}

void AtomicFile::fail(int error) const {
  throw Error(ExitCode::kFailure, path_.string() + ": cannot be written: " + std::strerror(error));
}

void replace_file(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  AtomicFile file(path);
  write(file.temporary());
  file.commit();
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void flush_folder(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

bool is_own_page(const fs::path& path) {
  constexpr std::size_t kFirst = 1000;
  std::error_code absent;
  if (!fs::is_regular_file(path, absent)) return false;
  std::string start(kFirst, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return start.find(kPageMark) != start.npos;
}

bool absent_or_equal(const fs::path& path, std::string_view text) {
  std::error_code absent;
  if (!fs::exists(path, absent)) return true;
  if (!fs::is_regular_file(path, absent) || fs::file_size(path, absent) != text.size()) {
    return false;
  }
  std::string there(text.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(there.data(), static_cast<std::streamsize>(there.size()));
  return file && there == text;
}

}  // namespace bitfall
