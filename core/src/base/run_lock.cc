#include "run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "error.h"

namespace bitfall {
namespace {

constexpr std::size_t kLongest = 320;  // the number of a process and the name of a machine

std::string content(int file) {
  std::array<char, kLongest> text;
  const ssize_t size = ::pread(file, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

std::string holder(int file) {
  const std::string text = content(file);
  if (text.empty()) return "another process";
  const std::string_view lines(text);
  const std::size_t end = lines.find('\n');
  std::string who = "process " + std::string(lines.substr(0, end));
  if (end == lines.npos) return who;
  const std::string_view host = lines.substr(end + 1, lines.find('\n', end + 1) - end - 1);
  return host.empty() ? who : who + " on " + std::string(host);
}

/// Why the file at the lock's name is none that this program made, or null: it would be written to.
const char* foreign(int file) {
  struct stat about;
  if (::fstat(file, &about) != 0) return "cannot be looked at";
  if (!S_ISREG(about.st_mode)) return "is not a regular file";
  if (about.st_nlink > 1) return "is a second name of another file (a hard link)";
  const std::string text = content(file);
  const bool number = text.substr(0, text.find('\n')).find_first_not_of("0123456789") == text.npos;
  const bool two_lines = std::count(text.begin(), text.end(), '\n') <= 2;
  if (about.st_size > static_cast<off_t>(kLongest) || !number || !two_lines) {
    return "holds more than the number of a process";
  }
  return nullptr;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "lock";
  // Never through a link, and without waiting for the other end of a pipe.
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  const int error = errno;
  const char* wrong = file_ < 0 ? nullptr : foreign(file_);
  if (file_ < 0 && error == ELOOP) wrong = "is a symbolic link";
  if (wrong) {
    if (file_ >= 0) ::close(file_);
    throw Error(ExitCode::kUsage, path.string() + ": " + wrong +
                                      ", where this program keeps a file of its own that says who "
                                      "writes the run; remove it, or give another folder");
  }
  if (file_ < 0) {
    throw Error(ExitCode::kFailure, path.string() +
                                        ": cannot be opened for writing: " + std::strerror(error) +
                                        "; a run needs a folder that it may write to");
  }
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const std::string who = holder(file_);
    ::close(file_);
    throw Error(ExitCode::kInterrupted,
                directory.string() + ": " + who +
                    " is writing this run; wait for it, stop it, or give another output folder");
  }
  // A file system without flock leaves us without this safeguard; SQLite's own locks remain.
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string id = std::to_string(::getpid()) + "\n" + host.data() + "\n";
  if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, id.data(), id.size(), 0) < 0) return;
}

RunLock::~RunLock() { ::close(file_); }

bool on_network(const std::filesystem::path& path) {
  // From statfs(2) and the file systems' own headers: NFS, SMB1, SMB2, CIFS, Lustre, GPFS, FUSE,
  // 9P, Ceph, BeeGFS, AFS, OCFS2.
  constexpr std::array<unsigned long, 12> kShared = {
      0x6969,     0x517B,     0xFE534D42, 0xFF534D42, 0x0BD00BD0, 0x47504653,
      0x65735546, 0x01021997, 0x00C36400, 0x19830326, 0x5346414F, 0x7461636F};
  struct statfs about;
  if (::statfs(path.c_str(), &about) != 0) return false;
  const auto type = static_cast<unsigned long>(about.f_type) & 0xFFFFFFFFUL;
  return std::find(kShared.begin(), kShared.end(), type) != kShared.end();
}

}  // namespace bitfall
