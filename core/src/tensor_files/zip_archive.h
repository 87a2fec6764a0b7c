// A ZIP archive whose records are stored as they are, as torch.save writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

class ZipArchive {
 public:
  /// `content` is the whole file and is borrowed; `path` is for messages. Reads the directory.
  /// Throws Error(kInput): "PATH: what is wrong" (no archive, truncated, beyond 4 GB).
  ZipArchive(std::string path, std::string_view content);

  /// "" if the archive has no record whose name ends so; the first in byte-wise order if several.
  std::string find(std::string_view ending) const;
  /// Of all records, in byte-wise order.
  std::vector<std::string> names() const;
  bool has(const std::string& name) const { return records_.contains(name); }
  /// The names of all records that hold these letters.
  std::vector<std::string> names_with(std::string_view letters) const;

  /// A record's bytes, borrowed. Throws Error(kInput): missing, compressed, damaged (CRC-32, where
  /// one was written).
  std::string_view read(const std::string& name) const;

  /// Reads every record that is not compressed. Throws what read() throws.
  void check() const;

 private:
  struct Record {
    std::uint64_t header = 0;  // offset of its local header
    std::uint64_t size = 0;
    std::uint32_t crc = 0;
    std::uint16_t method = 0;
  };
  [[noreturn]] void fail(const std::string& what) const;
  template <typename T>
  T number(std::uint64_t offset) const;
  std::uint64_t find_end() const;
  std::uint64_t read_entry(std::uint64_t offset);

  std::string path_;
  std::string_view content_;
  std::map<std::string, Record> records_;
};

/// Calls `use` with the archive that the file holds. The file is mapped: only the pages that are
/// looked at are read. Throws Error(kInput) where it cannot be read or is no archive, and what
/// `use` throws.
void with_archive(const std::filesystem::path& file,
                  const std::function<void(const ZipArchive&)>& use);

/// Throws Error(kInput) where bytes of the archive are not those that were written (CRC-32), which
/// LibTorch does not look at. Does nothing where `file` is no archive that ZipArchive can read.
void check_records(const std::filesystem::path& file);

}  // namespace bitfall
