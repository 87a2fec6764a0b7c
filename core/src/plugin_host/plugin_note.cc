#include "plugin_note.h"

#include <link.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>

#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOwner{"Bitfall", 8};  // with the zero behind it
constexpr std::uint64_t kMostBytes = 1 << 20;     // of all segments of notes

/// A library's file; reads are whole or fail.
class LibraryFile {
 public:
  explicit LibraryFile(const fs::path& path) : file_(path, std::ios::binary) {}

  template <typename T>
  bool read(std::uint64_t offset, T& value) {
    return read(offset, reinterpret_cast<char*>(&value), sizeof value);
  }
  bool read(std::uint64_t offset, char* to, std::size_t size) {
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(to, static_cast<std::streamsize>(size));
    return static_cast<bool>(file_) && offset <= INT64_MAX;
  }

 private:
  std::ifstream file_;
};

/// The text of Bitfall's note among those of a segment.
std::optional<std::string> find_note(std::string_view segment, std::size_t alignment) {
  const auto aligned = [&](std::size_t size) {
    return (size + alignment - 1) / alignment * alignment;
  };
  ElfW(Nhdr) header{};
  for (std::size_t at = 0; segment.size() - at >= sizeof header;) {
    std::memcpy(&header, segment.data() + at, sizeof header);
    at += sizeof header;
    const std::size_t rest = segment.size() - at;
    if (header.n_namesz > rest) return std::nullopt;
    const std::size_t text = aligned(header.n_namesz);
    if (text > rest || header.n_descsz > rest - text) return std::nullopt;
    if (segment.substr(at, header.n_namesz) == kOwner && header.n_type == 1) {
      return std::string(segment.substr(at + text, header.n_descsz));
    }
    at += std::min(text + aligned(header.n_descsz), rest);
  }
  return std::nullopt;
}

std::uint64_t number_of(std::string_view text, int base) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::runtime_error("its note holds " + in_quotes(text) + " in the place of a number");
  }
  return number;
}

}  // namespace

std::optional<std::string> note_text(const fs::path& library) {
  LibraryFile file(library);
  ElfW(Ehdr) header{};
  const bool readable =
      file.read(0, header) && std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
      header.e_ident[EI_CLASS] == (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) &&
      header.e_phentsize == sizeof(ElfW(Phdr));
  if (!readable) return std::nullopt;
  std::uint64_t left = kMostBytes;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment{};
    if (!file.read(header.e_phoff + i * sizeof segment, segment)) return std::nullopt;
    if (segment.p_type != PT_NOTE || segment.p_filesz > left) continue;
    left -= segment.p_filesz;
    std::string bytes(segment.p_filesz, '\0');
    if (!file.read(segment.p_offset, bytes.data(), bytes.size())) return std::nullopt;
    if (auto text = find_note(bytes, segment.p_align == 8 ? 8 : 4)) return text;
  }
  return std::nullopt;
}

PluginNote parse_note(std::string_view text) {
  PluginNote note;
  const std::map<std::string_view, std::string*> texts = {
      {"compiler", &note.compiler}, {"library", &note.library}, {"sources", &note.sources},
      {"name", &note.name},         {"version", &note.version}, {"summary", &note.summary},
      {"group", &note.group},       {"licence", &note.licence}, {"url", &note.url},
      {"cite", &note.cite}};
  constexpr std::string_view kKinds[] = {"format", "error_model", "metric", "head_init",
                                         "protection"};
  for (const std::string& line : split(text, '\n')) {
    if (line.empty()) continue;
    if (!is_presentable(line))
      throw std::runtime_error("its note is not plain text without control characters");
    const auto blank = std::min(line.find(' '), line.size());
    const std::string key = line.substr(0, blank);
    const std::string value = line.substr(std::min(blank + 1, line.size()));
    if (const auto known = texts.find(key); known != texts.end()) {
      *known->second = value;
    } else if (key == "abi") {
      note.abi = number_of(value, 10);
    } else if (key == "headers") {
      note.headers = number_of(value, 16);
    } else if (std::find(std::begin(kKinds), std::end(kKinds), key) != std::end(kKinds)) {
      const auto end = std::min(value.find(' '), value.size());
      note.components.push_back(
          {key, value.substr(0, end), value.substr(std::min(end + 1, value.size()))});
    } else if (key == "components") {
      note.complete = !note.components.empty() && number_of(value, 10) == note.components.size();
    }  // what later versions tell is left alone
  }
  return note;
}

std::optional<PluginNote> read_note(const fs::path& library) {
  const auto text = note_text(library);
  return text ? std::optional(parse_note(*text)) : std::nullopt;
}

}  // namespace bitfall
