// Writing a file so that a reader, or a crash, never meets half of it.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace bitfall {

/// Writes all of it to an open file or pipe; false, with errno, where that fails.
bool write_all(int file, std::string_view text);

/// Throws Error(kUsage) where something stands at `path` that an output must not take the place of:
/// a folder, a device, a pipe, or a database (of a run).
void prove_replaceable(const std::filesystem::path& path);
/// As prove_replaceable(), and throws Error(kUsage) where the output would take the place of one of
/// the files that are read.
void prove_output(const std::filesystem::path& output,
                  const std::vector<std::filesystem::path>& inputs);

/// Whether the file begins as SQLite's do.
bool is_database(const std::filesystem::path& path);

/// A file on its way: written under a name of its own next to the one that it will have. A process
/// that is killed leaves at most that name, which the next AtomicFile of the same path removes.
/// A symbolic link at either name is replaced and never followed.
class AtomicFile {
 public:
  /// Throws what prove_replaceable() throws, and Error(kFailure) with the path and the reason.
  explicit AtomicFile(std::filesystem::path path);
  /// Removes what was not committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Where it is written: an empty file, for whoever writes files by name.
  const std::filesystem::path& temporary() const { return temporary_; }
  void write(std::string_view text);
  /// Flushes it to the disk.
  void flush() const;
  /// Flushes it and gives it its name: `path` is as it was, or holds all that was written.
  void commit();

 private:
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_, temporary_;
  int file_ = -1;  // locked: tells others that its process lives
};

/// Calls `write` with a temporary name next to `path`, flushes what it wrote there to the disk and
/// renames it to `path`. Throws what `write` and AtomicFile throw; `path` is then as it was.
void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write);

/// The same for a text.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// Writes to the disk which files a folder holds: a rename is lasting only then. Does nothing on
/// file systems that cannot.
void flush_folder(const std::filesystem::path& folder);

/// What every page of this program holds in its first lines, so that it replaces its own pages and
/// no page of somebody else.
inline constexpr std::string_view kPageMark = "<meta name=\"generator\" content=\"Bitfall\">";
bool is_own_page(const std::filesystem::path& path);

/// True where `path` is no file, or holds exactly this text.
bool absent_or_equal(const std::filesystem::path& path, std::string_view text);

}  // namespace bitfall
