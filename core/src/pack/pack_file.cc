#include "pack_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "atomic_file.h"
#include "error.h"
#include "json_file.h"
#include "sha256.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "bitfall.pack/1";

[[noreturn]] void refuse(const fs::path& pack, const std::string& problem) {
  throw Error(ExitCode::kInput, pack.string() + ": " + problem);
}

/// The manifest's texts and the members that hold them.
template <typename Manifest>
auto texts_of(Manifest& manifest) {
  using Text = std::pair<const char*, decltype(&manifest.name)>;
  return std::array{Text{"name", &manifest.name},       Text{"version", &manifest.version},
                    Text{"summary", &manifest.summary}, Text{"group", &manifest.group},
                    Text{"licence", &manifest.licence}, Text{"url", &manifest.url},
                    Text{"cite", &manifest.cite}};
}

PackManifest manifest_of(const Json& json) {
  PackManifest manifest;
  for (const auto& [key, text] : texts_of(manifest)) *text = json.value(key, std::string());
  manifest.abi = static_cast<std::uint64_t>(whole_number(json.at("abi")));
  for (const Json& component : json.at("components")) {
    manifest.components.push_back(
        {component.at("kind"), component.at("id"), component.at("summary")});
  }
  manifest.sources = json.at("sources").get<std::vector<std::string>>();
  manifest.prepare = json.at("prepare").get<std::vector<std::vector<std::string>>>();
  return manifest;
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '+';
                     }) &&
         name.front() != '.' && name.front() != '-';
}

}  // namespace

bool is_source_name(const fs::path& file) {
  const fs::path kind = file.extension();
  return kind == ".cc" || kind == ".cpp" || kind == ".cxx";
}

void require_free_names(const PackManifest& manifest, const std::vector<std::string>& files,
                        const fs::path& pack) {
  for (const std::string& file : files) {
    const std::string top = *fs::path(file).begin();
    if (file != manifest.name + ".so" && file != kInstalled && top != "build" && top != "tmp") {
      continue;
    }
    refuse(pack, "holds " + in_quotes(printable(file)) + ", a name that `plugin add` itself uses");
  }
}

void write_manifest(const PackManifest& manifest, const fs::path& folder) {
  Json json = {{"schema", kSchema}};
  for (const auto& [key, text] : texts_of(manifest)) {
    if (!text->empty()) json[key] = *text;
  }
  json["abi"] = manifest.abi;
  json["components"] = Json::array();
  for (const NotedComponent& component : manifest.components) {
    json["components"].push_back(
        {{"kind", component.kind}, {"id", component.id}, {"summary", component.summary}});
  }
  json["sources"] = manifest.sources;
  json["prepare"] = manifest.prepare;
  write_file_atomically(folder / kManifest, json_text(json) + "\n");
}

void require_plain_names(const PackManifest& manifest, const fs::path& pack) {
  const auto require = [&](const char* what, const std::string& text) {
    if (is_plain_name(text)) return;
    refuse(pack, std::string("has a ") + what +
                     " that cannot be a file's: " + in_quotes(printable(text)) +
                     "; allowed are 1 to 64 letters, digits, '_', '-', '.', '+'");
  };
  require("name", manifest.name);
  require("version", manifest.version);
  if (!manifest.group.empty()) require("group", manifest.group);
}

bool is_plugin_id(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == text.npos) return is_plain_name(text);
  return is_plain_name(text.substr(0, slash)) && is_plain_name(text.substr(slash + 1));
}

PackManifest read_manifest(const fs::path& folder, const fs::path& pack) {
  if (!fs::is_regular_file(folder / kManifest)) {
    refuse(pack, std::string("is no pack of Bitfall: it holds no ") + kManifest);
  }
  PackManifest manifest;
  try {
    const Json json = parse_json(pack / kManifest, read_text(folder / kManifest));
    if (json.value("schema", std::string()) != kSchema) {
      refuse(pack, std::string(kManifest) + " is not of the schema " + kSchema +
                       ": it was made by another version");
    }
    manifest = manifest_of(json);
  } catch (const Json::exception& error) {
    refuse(pack, std::string(kManifest) + " is damaged: " + printable(error.what()));
  }
  require_plain_names(manifest, pack);
  for (const auto& [key, text] : texts_of(manifest)) {
    if (!is_presentable(*text))
      refuse(pack, std::string(kManifest) + ": its " + key + " has control characters");
  }
  for (const std::string& source : manifest.sources) {
    const fs::path path(source);
    const bool leaves = path.is_absolute() || std::count(path.begin(), path.end(), "..") > 0;
    if (leaves || source.starts_with('-') || !fs::is_regular_file(folder / path)) {
      refuse(pack, std::string(kManifest) + " names the source " + in_quotes(printable(source)) +
                       ", which the pack does not hold");
    }
    if (!is_source_name(path)) {
      refuse(pack, std::string(kManifest) + " names the source " + in_quotes(printable(source)) +
                       ", which is no C++ by its name (.cc, .cpp, .cxx)");
    }
  }
  if (manifest.sources.empty()) refuse(pack, std::string(kManifest) + " names no source");
  return manifest;
}

void write_sums(const fs::path& folder, const std::vector<std::string>& files) {
  std::string text;
  for (const std::string& file : files) text += sha256_file(folder / file) + "  " + file + "\n";
  write_file_atomically(folder / kSums, text);
}

void check_sums(const fs::path& folder, const std::vector<std::string>& files,
                const fs::path& pack) {
  if (!fs::is_regular_file(folder / kSums)) {
    refuse(pack, std::string("is no pack of Bitfall: it holds no ") + kSums);
  }
  std::map<std::string, std::string> sums;
  for (const std::string& line : split(read_text(folder / kSums), '\n')) {
    if (line.empty()) continue;
    const bool whole = line.size() > 66 && line.substr(64, 2) == "  ";
    if (!whole) refuse(pack, std::string(kSums) + " is damaged: " + in_quotes(printable(line)));
    sums[line.substr(66)] = line.substr(0, 64);
  }
  for (const std::string& file : files) {
    if (file == kSums) continue;
    const auto sum = sums.find(file);
    if (sum == sums.end())
      refuse(pack, "holds " + in_quotes(file) + ", of which " + kSums + " says nothing");
    const std::string is = sha256_file(folder / file);
    if (is != sum->second) {
      refuse(pack, in_quotes(file) + " is not what was packed: its SHA-256 is " + is + ", not " +
                       printable(sum->second));
    }
    sums.erase(sum);
  }
  if (!sums.empty()) refuse(pack, in_quotes(printable(sums.begin()->first)) + " is missing");
}

}  // namespace bitfall
