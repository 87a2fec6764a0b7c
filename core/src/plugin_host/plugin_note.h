// What a plugin's file tells of it without running any of its code: the note that BITFALL_PLUGIN
// puts into it (core/include/bitfall/note.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitfall {

struct NotedComponent {
  std::string kind;  // "format", as ComponentKind is written
  std::string id;    // without the group
  std::string summary;
  friend bool operator==(const NotedComponent&, const NotedComponent&) = default;
};

/// "acme/nf4"; "nf4" where there is no group.
inline std::string full_id(const std::string& group, const std::string& id) {
  return group.empty() ? id : group + "/" + id;
}

struct PluginNote {
  std::uint64_t abi = 0, headers = 0;
  std::string compiler, library;
  std::string sources;  // a hash of the files that it was made of; empty where it does not tell
  // Empty where the compiler did not know them as it wrote the note.
  std::string name, version, summary, group, licence, url, cite;
  std::vector<NotedComponent> components;
  bool complete = false;  // tells of all components
};

/// The text of a shared library's note; none where it has none, or is no shared library. The file
/// may hold anything: nothing is read outside of it.
std::optional<std::string> note_text(const std::filesystem::path& library);

/// Throws std::runtime_error with what is wrong where the text is no note.
PluginNote parse_note(std::string_view text);

struct LibraryNeed {
  std::string library;                // "libstdc++.so.6"
  std::vector<std::string> versions;  // the newest of each kind that it must have, "GLIBCXX_3.4.30"
};

/// The libraries that a shared library is linked with, in its order, and how new they must be: what
/// a machine must have to load it. Empty where the file is none. Nothing is read outside of it.
std::vector<LibraryNeed> library_needs(const std::filesystem::path& library);
/// "libstdc++.so.6 (GLIBCXX_3.4.30), libm.so.6"
std::string needs_text(const std::vector<LibraryNeed>& needs);

/// A variable that all libraries of a process which have one of its name share, whatever else is
/// kept apart (STB_GNU_UNIQUE: g++ makes such of static variables in inline functions and of inline
/// variables, unless they are hidden).
struct SharedVariable {
  std::string name;
  std::string content;  // of a constant; empty where it can be written to
};
/// Those of a shared library that are not the standard library's. Nothing is read outside of it.
std::vector<SharedVariable> shared_variables(const std::filesystem::path& library);

/// The note of a shared library; none where it has none. Throws as parse_note() does.
std::optional<PluginNote> read_note(const std::filesystem::path& library);

}  // namespace bitfall
