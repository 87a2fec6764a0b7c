// What a pack says of itself: pack.json and SHA256SUMS.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "plugin_note.h"

namespace bitfall {

inline constexpr const char* kManifest = "pack.json";
inline constexpr const char* kExpected = "expected.json";
inline constexpr const char* kSums = "SHA256SUMS";
inline constexpr const char* kInstalled = "installed.json";  // of an installed one

struct PackManifest {
  std::string name, version, summary, group, licence, url, cite;
  std::uint64_t abi = 0;
  std::vector<NotedComponent> components;
  std::vector<std::string> sources;               // what is compiled, named from the pack's folder
  std::vector<std::vector<std::string>> prepare;  // words behind `bitfall`, ahead of the test
  /// The plugin's: "my_lab/nf4", or "nf4" of no group.
  std::string id() const { return full_id(group, name); }
  std::string library() const { return "build/" + name + ".so"; }  // in the pack's folder
};

void write_manifest(const PackManifest& manifest, const std::filesystem::path& folder);
/// Throws Error(kInput) where a pack lacks it, or it does not hold together. `pack`: for messages.
PackManifest read_manifest(const std::filesystem::path& folder, const std::filesystem::path& pack);

/// Throws Error(kInput) where name, version or group cannot be a part of a file's name.
void require_plain_names(const PackManifest& manifest, const std::filesystem::path& pack);

/// Whether it is C++ by its name, as all sources of packs are.
bool is_source_name(const std::filesystem::path& file);
/// Throws Error(kInput) where one of the pack's files has a name that building, trying or
/// installing it needs.
void require_free_names(const PackManifest& manifest, const std::vector<std::string>& files,
                        const std::filesystem::path& pack);

/// Whether it could be PackManifest::id() of a pack.
bool is_plugin_id(const std::string& text);

/// The sums of the files.
void write_sums(const std::filesystem::path& folder, const std::vector<std::string>& files);
/// Throws Error(kInput) naming the file that is another, is missing, or has no sum. `files`: all
/// that the pack holds.
void check_sums(const std::filesystem::path& folder, const std::vector<std::string>& files,
                const std::filesystem::path& pack);

}  // namespace bitfall
