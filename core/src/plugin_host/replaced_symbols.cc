#include "replaced_symbols.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string_view>

namespace bitfall {
namespace {

/// What the loader has noted of a library; entries that hold addresses are absolute (glibc).
std::map<std::int64_t, std::uint64_t> dynamic_entries(const link_map& library) {
  std::map<std::int64_t, std::uint64_t> entries;
  for (const ElfW(Dyn)* entry = library.l_ld; entry->d_tag != DT_NULL; ++entry) {
    entries[entry->d_tag] = entry->d_un.d_val;
  }
  return entries;
}

/// What the loader has written there; AddressSanitizer may know of no variable at that place.
__attribute__((no_sanitize("address"))) const void* bound_at(std::uint64_t address) {
  return *reinterpret_cast<const void* const*>(address);
}

bool is_standard_library(std::string_view file) {
  for (const char* stem : {"libstdc++.", "libc++.", "libc++abi.", "libgcc_s.", "libunwind."}) {
    if (file.starts_with(stem)) return true;
  }
  return false;
}

}  // namespace

std::vector<ReplacedSymbol> replaced_symbols(void* handle) {
  link_map* library = nullptr;
  Dl_info own{};
  if (::dlinfo(handle, RTLD_DI_LINKMAP, &library) != 0 || ::dladdr(library->l_ld, &own) == 0) {
    return {};
  }
  auto entries = dynamic_entries(*library);
  const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(entries[DT_SYMTAB]);
  const auto* names = reinterpret_cast<const char*>(entries[DT_STRTAB]);
  std::map<std::string, std::string> found;  // one symbol may have several relocations
  const auto look = [&](std::uint64_t table, std::uint64_t bytes) {
    const auto* relocations = reinterpret_cast<const ElfW(Rela)*>(table);
    for (std::uint64_t i = 0; table != 0 && i < bytes / sizeof *relocations; ++i) {
      const ElfW(Sym)& symbol = symbols[relocations[i].r_info >> 32];
      const int type = symbol.st_info & 15, binding = symbol.st_info >> 4;
      if (symbol.st_shndx == SHN_UNDEF || binding != STB_GLOBAL) continue;
      if (type != STT_FUNC && type != STT_OBJECT) continue;
      const std::uint64_t place = library->l_addr + relocations[i].r_offset;
      Dl_info other{};
      if (place % sizeof(void*) != 0 || ::dladdr(bound_at(place), &other) == 0 ||
          other.dli_fbase == own.dli_fbase)
        continue;
      const std::string file = std::filesystem::path(other.dli_fname).filename();
      if (!is_standard_library(file)) found.emplace(names + symbol.st_name, file);
    }
  };
  look(entries[DT_RELA], entries[DT_RELASZ]);
  look(entries[DT_JMPREL], entries[DT_PLTRELSZ]);
  std::vector<ReplacedSymbol> replaced;
  for (const auto& [name, file] : found) replaced.push_back({name, file});
  return replaced;
}

}  // namespace bitfall
