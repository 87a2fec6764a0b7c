// Packs that a user has added, and the keys that signed them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "minisign.h"
#include "pack_file.h"

namespace bitfall {

struct InstalledPack {
  std::filesystem::path folder;  // of installed_pack_folder()
  PackManifest manifest;
};

/// By name and version. Folders that hold no pack are left alone.
std::vector<InstalledPack> installed_packs();

/// Copies an unpacked and built pack to a folder of its own there, whole or not at all, and removes
/// other versions of the same plugin, of the same group. Returns the folder. sha256, signed_by: of
/// the pack's file, and the number of the key that signed it or empty; installed.json there has
/// them for people.
std::filesystem::path install_pack(const PackManifest& manifest, const std::filesystem::path& from,
                                   const std::vector<std::string>& files, const std::string& sha256,
                                   const std::string& signed_by);

/// The key that signed an earlier pack of this plugin (PackManifest::id()).
std::optional<MinisignKey> known_key(const std::string& id);
void remember_key(const std::string& id, const MinisignKey& key);
/// False where there is none.
bool forget_key(const std::string& id);

}  // namespace bitfall
