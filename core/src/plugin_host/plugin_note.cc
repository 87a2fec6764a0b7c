#include "plugin_note.h"

#include <link.h>

#include <algorithm>
#include <array>
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
  /// Up to a zero; empty where there is none nearby.
  std::string text(std::uint64_t offset) {
    std::array<char, 256> bytes{};
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(bytes.data(), bytes.size());
    const std::string_view got(bytes.data(), static_cast<std::size_t>(file_.gcount()));
    return std::string(got.substr(0, got.find('\0') == got.npos ? 0 : got.find('\0')));
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

bool read_header(LibraryFile& file, ElfW(Ehdr) & header) {
  return file.read(0, header) && std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
         header.e_ident[EI_CLASS] == (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) &&
         header.e_phentsize == sizeof(ElfW(Phdr));
}

/// What the dynamic section of a library's file says.
class DynamicSection {
 public:
  explicit DynamicSection(LibraryFile& file) : file_(file) {
    ElfW(Ehdr) header{};
    if (!read_header(file, header)) return;
    ElfW(Phdr) section{};
    for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
      ElfW(Phdr) segment{};
      if (!file.read(header.e_phoff + i * sizeof segment, segment)) return;
      if (segment.p_type == PT_LOAD) segments_.push_back(segment);
      if (segment.p_type == PT_DYNAMIC) section = segment;
    }
    const std::uint64_t count =
        std::min<std::uint64_t>(section.p_filesz, kMostBytes) / sizeof(ElfW(Dyn));
    for (std::uint64_t i = 0; i < count; ++i) {
      ElfW(Dyn) entry{};
      if (!file.read(section.p_offset + i * sizeof entry, entry) || entry.d_tag == DT_NULL) return;
      entries_.push_back(entry);
    }
  }

  std::vector<LibraryNeed> needs() {
    std::vector<LibraryNeed> needs;
    for (const auto& entry : entries_) {
      if (entry.d_tag == DT_NEEDED) needs.push_back({name(entry.d_un.d_val), {}});
    }
    std::uint64_t at = place(DT_VERNEED);
    for (std::uint64_t left = std::min<std::uint64_t>(value(DT_VERNEEDNUM), kMost); left > 0;
         --left) {
      ElfW(Verneed) of{};
      if (!file_.read(at, of)) break;
      const std::string library = name(of.vn_file);
      for (LibraryNeed& need : needs) {
        if (need.library == library)
          need.versions = versions(at + of.vn_aux, std::min<std::size_t>(of.vn_cnt, kMost));
      }
      at += of.vn_next;
    }
    return needs;
  }

 private:
  static constexpr std::uint64_t kMost = 200;  // libraries of a library, versions of one

  std::uint64_t value(std::int64_t tag) const {
    for (const auto& entry : entries_) {
      if (entry.d_tag == tag) return entry.d_un.d_val;
    }
    return 0;
  }
  /// In the file, of what lies at that address once it is loaded.
  std::uint64_t place(std::int64_t tag) const {
    const std::uint64_t address = value(tag);
    for (const auto& segment : segments_) {
      if (address - segment.p_vaddr < segment.p_filesz) {
        return address - segment.p_vaddr + segment.p_offset;
      }
    }
    return 0;
  }
  std::string name(std::uint64_t offset) { return file_.text(place(DT_STRTAB) + offset); }

  std::vector<std::string> versions(std::uint64_t at, std::size_t count) {
    std::map<std::string, std::string> newest;  // by kind: "GLIBC"
    for (; count > 0; --count) {
      ElfW(Vernaux) of{};
      if (!file_.read(at, of)) break;
      const std::string version = name(of.vna_name);
      std::string& known = newest[version.substr(0, version.find('_'))];
      if (strverscmp(version.c_str(), known.c_str()) > 0) known = version;
      at += of.vna_next;
    }
    std::vector<std::string> names;
    for (auto& [kind, version] : newest) names.push_back(std::move(version));
    return names;
  }

  LibraryFile& file_;
  std::vector<ElfW(Phdr)> segments_;
  std::vector<ElfW(Dyn)> entries_;
};

/// Of std, its parts and the compiler's own: made alike for every library.
bool is_standard(std::string_view symbol) {
  for (const std::string_view before : {"_ZGVZN", "_ZGVN", "_ZZN", "_ZN"}) {
    if (!symbol.starts_with(before)) continue;
    std::string_view rest = symbol.substr(before.size());
    if (rest.starts_with('K')) rest.remove_prefix(1);  // of a const method
    return rest.starts_with("St") || rest.starts_with("9__gnu_cxx") || rest.starts_with("Ss");
  }
  return symbol.starts_with("_ZSt") || symbol.starts_with("_ZZSt") ||
         symbol.starts_with("_ZGVZSt") || symbol.starts_with("_ZTI") ||
         symbol.starts_with("_ZTS") || symbol.starts_with("_ZTV");
}

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
  if (!read_header(file, header)) return std::nullopt;
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

std::vector<LibraryNeed> library_needs(const fs::path& library) {
  LibraryFile file(library);
  return DynamicSection(file).needs();
}

std::vector<SharedVariable> shared_variables(const fs::path& library) {
  std::vector<SharedVariable> found;
  LibraryFile file(library);
  ElfW(Ehdr) header{};
  if (!read_header(file, header) || header.e_shentsize != sizeof(ElfW(Shdr))) return found;
  std::vector<ElfW(Shdr)> sections(header.e_shnum);
  for (std::uint64_t i = 0; i < sections.size(); ++i) {
    if (!file.read(header.e_shoff + i * sizeof(ElfW(Shdr)), sections[i])) return found;
  }
  for (const ElfW(Shdr) & table : sections) {
    if (table.sh_type != SHT_DYNSYM || table.sh_link >= sections.size()) continue;
    const std::uint64_t count =
        std::min<std::uint64_t>(table.sh_size, kMostBytes) / sizeof(ElfW(Sym));
    for (std::uint64_t i = 0; i < count; ++i) {
      ElfW(Sym) symbol{};
      if (!file.read(table.sh_offset + i * sizeof symbol, symbol)) break;
      constexpr int kUnique = 10;  // STB_GNU_UNIQUE
      if (symbol.st_info >> 4 != kUnique || symbol.st_shndx >= sections.size() ||
          symbol.st_shndx == SHN_UNDEF) {
        continue;
      }
      SharedVariable one{file.text(sections[table.sh_link].sh_offset + symbol.st_name), {}};
      if (one.name.empty() || is_standard(one.name)) continue;
      const ElfW(Shdr)& held = sections[symbol.st_shndx];
      const bool constant = (held.sh_flags & SHF_WRITE) == 0 && held.sh_type != SHT_NOBITS;
      if (constant && symbol.st_size <= kMostBytes) {
        one.content.resize(symbol.st_size);
        const std::uint64_t at = symbol.st_value - held.sh_addr + held.sh_offset;
        if (!file.read(at, one.content.data(), one.content.size())) one.content.clear();
      }
      found.push_back(std::move(one));
    }
  }
  return found;
}

std::string needs_text(const std::vector<LibraryNeed>& needs) {
  std::vector<std::string> texts;
  for (const LibraryNeed& need : needs) {
    texts.push_back(need.library +
                    (need.versions.empty() ? "" : " (" + joined(need.versions) + ")"));
  }
  return texts.empty() ? "no library" : printable(joined(texts));
}

std::optional<PluginNote> read_note(const fs::path& library) {
  const auto text = note_text(library);
  return text ? std::optional(parse_note(*text)) : std::nullopt;
}

}  // namespace bitfall
