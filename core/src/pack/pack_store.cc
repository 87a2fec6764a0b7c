#include "pack_store.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "atomic_file.h"
#include "error.h"
#include "json_file.h"
#include "plugin_host.h"
#include "text_file.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// Of a plugin's id: "my_lab@nf4", as no name has such a sign.
std::string file_name(std::string id) {
  std::replace(id.begin(), id.end(), '/', '@');
  return id;
}

fs::path key_file(const std::string& id) {
  return user_folder("XDG_CONFIG_HOME", ".config") / "keys" / (file_name(id) + ".pub");
}

}  // namespace

std::vector<InstalledPack> installed_packs() {
  std::vector<InstalledPack> packs;
  std::error_code error;
  for (fs::directory_iterator entry(installed_pack_folder(), error), end; !error && entry != end;
       entry.increment(error)) {
    try {
      if (!fs::is_regular_file(entry->path() / kInstalled)) continue;
      packs.push_back({entry->path(), read_manifest(entry->path(), entry->path())});
    } catch (const std::exception&) {  // somebody else's, or half of one
    }
  }
  std::sort(packs.begin(), packs.end(),
            [](const auto& a, const auto& b) { return a.folder < b.folder; });
  return packs;
}

fs::path install_pack(const PackManifest& manifest, const fs::path& from,
                      const std::vector<std::string>& files, const std::string& sha256,
                      const std::string& signed_by) {
  const fs::path place = installed_pack_folder();
  const fs::path folder =
      place / (file_name(manifest.id()) + "-" + manifest.version + "-" + sha256.substr(0, 12));
  const fs::path making = place / (".making-" + std::to_string(::getpid()));
  const auto before = installed_packs();
  try {
    fs::remove_all(making);
    for (const std::string& file : files) {
      fs::create_directories((making / file).parent_path());
      fs::copy_file(from / file, making / file);
    }
    fs::copy_file(from / manifest.library(), making / (manifest.name + ".so"));
    const Json json = {{"sha256", sha256}, {"signed_by", signed_by}};
    write_file_atomically(making / kInstalled, json_text(json) + "\n");
    fs::remove_all(folder);
    fs::rename(making, folder);
    for (const InstalledPack& other : before) {
      if (other.manifest.id() == manifest.id() && other.folder != folder)
        fs::remove_all(other.folder);
    }
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(making, ignored);
    throw Error(ExitCode::kFailure, folder.string() + ": cannot be made: " + error.what());
  }
  return folder;
}

std::optional<MinisignKey> known_key(const std::string& id) {
  const fs::path file = key_file(id);
  if (!fs::is_regular_file(file)) return std::nullopt;
  try {
    return parse_minisign_key(read_text(file));
  } catch (const std::runtime_error& error) {
    throw Error(ExitCode::kInput, file.string() + " " + error.what());
  }
}

void remember_key(const std::string& id, const MinisignKey& key) {
  const fs::path file = key_file(id);
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  write_file_atomically(file, "untrusted comment: key of Bitfall's pack " + id + ", number " +
                                  key.name() + "\n" + key.text() + "\n");
}

bool forget_key(const std::string& id) {
  std::error_code ignored;
  return fs::remove(key_file(id), ignored);
}

}  // namespace bitfall
