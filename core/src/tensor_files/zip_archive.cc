// The layout is PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.16
// (its end).
#include "zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cstring>
#include <optional>
#include <utility>

#include "error.h"
#include "text_file.h"

namespace bitfall {
namespace {

constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEntrySignature = 0x02014b50;
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint64_t kEndSize = 22;
constexpr std::uint64_t kEntrySize = 46;
constexpr std::uint64_t kLocalSize = 30;
constexpr std::uint64_t kLongestComment = 65535;

}  // namespace

void ZipArchive::fail(const std::string& what) const {
  throw Error(ExitCode::kInput, path_ + ": " + what);
}

template <typename T>
T ZipArchive::number(std::uint64_t offset) const {
  if (offset > content_.size() || content_.size() - offset < sizeof(T)) {
    fail("the archive is damaged: an offset leads beyond the file");
  }
  T value;
  std::memcpy(&value, content_.data() + offset, sizeof value);
  return value;
}

ZipArchive::ZipArchive(std::string path, std::string_view content)
    : path_(std::move(path)), content_(content) {
  const std::uint64_t end = find_end();
  const auto count = number<std::uint16_t>(end + 10);
  const auto start = number<std::uint32_t>(end + 16);
  if (count == 0xFFFF || start == 0xFFFFFFFF) {
    fail("the archive is beyond 4 GB or 65534 records; save the tensor alone");
  }
  std::uint64_t offset = start;
  for (int i = 0; i < count; ++i) offset = read_entry(offset);
}

/// The end record lies last, but for a comment.
std::uint64_t ZipArchive::find_end() const {
  const std::uint64_t size = content_.size();
  for (std::uint64_t back = kEndSize; back <= std::min(size, kEndSize + kLongestComment); ++back) {
    if (number<std::uint32_t>(size - back) == kEndSignature) return size - back;
  }
  fail("is not a ZIP archive as torch.save writes it, or is truncated");
}

std::uint64_t ZipArchive::read_entry(std::uint64_t offset) {
  if (number<std::uint32_t>(offset) != kEntrySignature) {
    fail("the archive is damaged: its directory is not where it should be");
  }
  Record record;
  record.method = number<std::uint16_t>(offset + 10);
  record.crc = number<std::uint32_t>(offset + 16);
  record.size = number<std::uint32_t>(offset + 24);
  record.header = number<std::uint32_t>(offset + 42);
  const auto name_length = number<std::uint16_t>(offset + 28);
  const std::uint64_t rest =
      number<std::uint16_t>(offset + 30) + number<std::uint16_t>(offset + 32);
  if (record.size == 0xFFFFFFFF || record.header == 0xFFFFFFFF) {
    fail("the archive is beyond 4 GB; save the tensor alone");
  }
  const std::uint64_t end = offset + kEntrySize + name_length;
  if (end > content_.size()) fail("the archive is damaged: its directory is cut off");
  records_[std::string(content_.substr(offset + kEntrySize, name_length))] = record;
  return end + rest;
}

std::string ZipArchive::find(std::string_view ending) const {
  for (const auto& [name, record] : records_) {
    if (name.ends_with(ending)) return name;
  }
  return "";
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> names;
  for (const auto& [name, record] : records_) names.push_back(name);
  return names;
}

std::vector<std::string> ZipArchive::names_with(std::string_view letters) const {
  std::vector<std::string> names;
  for (const auto& [name, record] : records_) {
    if (name.find(letters) != name.npos) names.push_back(name);
  }
  return names;
}

std::string_view ZipArchive::read(const std::string& name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) fail("the archive lacks its record '" + name + "'");
  const Record& record = found->second;
  if (record.method != 0)
    fail("the record '" + name +
         "' is compressed; save it without that, by torch.save or numpy.savez");
  if (number<std::uint32_t>(record.header) != kLocalSignature) {
    fail("the archive is damaged: '" + name + "' is not where it should be");
  }
  const std::uint64_t data = record.header + kLocalSize +
                             number<std::uint16_t>(record.header + 26) +
                             number<std::uint16_t>(record.header + 28);
  if (data > content_.size() || content_.size() - data < record.size) {
    fail("the archive is damaged: '" + name + "' leads beyond the file");
  }
  const std::string_view bytes = content_.substr(data, record.size);
  if (record.crc == 0) return bytes;  // empty, or written by PyTorch without checksums
  const auto* first = reinterpret_cast<const Bytef*>(bytes.data());
  if (crc32_z(0, first, bytes.size()) != record.crc) {
    fail("the record '" + name + "' is damaged (CRC-32)");
  }
  return bytes;
}

void ZipArchive::check() const {
  for (const auto& [name, record] : records_) {
    if (record.method == 0) read(name);
  }
}

void with_archive(const std::filesystem::path& file,
                  const std::function<void(const ZipArchive&)>& use) {
  namespace ipc = boost::interprocess;
  require_regular(file);
  std::optional<ipc::mapped_region> region;
  try {
    region.emplace(ipc::file_mapping(file.c_str(), ipc::read_only), ipc::read_only);
  } catch (const ipc::interprocess_exception& error) {
    throw Error(ExitCode::kInput, file.string() + ": cannot be read: " + error.what());
  }
  use(ZipArchive(file.string(),
                 {static_cast<const char*>(region->get_address()), region->get_size()}));
}

void check_records(const std::filesystem::path& file) {
  bool read = false;
  try {
    with_archive(file, [&](const ZipArchive& archive) {
      read = true;
      archive.check();
    });
  } catch (const Error&) {
    if (read) throw;
  }
}

}  // namespace bitfall
