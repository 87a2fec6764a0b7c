#include "plan_pack.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "atomic_file.h"
#include "dataset.h"
#include "error.h"
#include "json_file.h"
#include "plugin_host.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "bitfall.pack/1";
constexpr const char* kFolder = "pack";
constexpr const char* kList = "pack.json";
constexpr const char* kOptions = "options";  // files that components' options name

/// Every path of a campaign that is read.
std::vector<fs::path*> paths_of(Campaign& campaign) {
  std::vector<fs::path*> paths = {&campaign.model};
  for (DataConfig* data : data_of(campaign)) {
    for (fs::path* path : {&data->path, &data->list, &data->labels, &data->classes}) {
      paths.push_back(path);
    }
  }
  for (auto* files : {&campaign.model_libraries, &campaign.plugins}) {
    for (fs::path& file : *files) paths.push_back(&file);
  }
  std::erase_if(paths, [](const fs::path* path) { return path->empty(); });
  return paths;
}

std::vector<PluginChoice*> choices_of(Campaign& campaign) {
  std::vector<PluginChoice*> choices = {&campaign.format};
  for (FormatsConfig& entry : campaign.formats) choices.push_back(&entry.format);
  for (FaultsConfig& entry : campaign.faults) choices.push_back(&entry.error_model);
  for (ProtectConfig& entry : campaign.protect) choices.push_back(&entry.protection);
  for (PluginChoice& metric : campaign.metrics) choices.push_back(&metric);
  return choices;
}

std::string key_of(const fs::path& path) { return fs::absolute(path).lexically_normal().string(); }

void copy_path(const fs::path& from, const fs::path& to) {
  std::error_code problem;
  fs::create_directories(to.parent_path(), problem);
  if (!problem)
    fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::skip_existing, problem);
  if (problem) {
    throw Error(ExitCode::kFailure,
                from.string() + ": cannot be copied to " + to.string() + ": " + problem.message());
  }
}

/// Of a folder of images those that are used, with all folders of classes; of anything else all.
void copy_data(const DataConfig& data, const fs::path& to) {
  if (!fs::is_directory(data.path)) return copy_path(data.path, to);
  DataConfig whole = data;
  if (!data.list.empty()) whole.limit = 0;  // the list is carried along as it is
  const Dataset images = Dataset::open(whole);
  std::vector<std::string> names;
  for (std::int32_t i = 0; i < images.size(); ++i) {
    if (fs::is_regular_file(data.path / images.name(i))) names.push_back(images.name(i));
  }
  if (names.size() != static_cast<std::size_t>(images.size())) return copy_path(data.path, to);
  for (const auto& entry : fs::directory_iterator(data.path)) {
    if (entry.is_directory()) fs::create_directories(to / entry.path().filename());
  }
  for (const std::string& name : names) copy_path(data.path / name, to / name);
}

Json files_in(const fs::path& folder, std::int64_t& bytes) {
  Json files = Json::object();
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const auto size = static_cast<std::int64_t>(entry.file_size());
    files[entry.path().lexically_relative(folder).generic_string()] = size;
    bytes += size;
  }
  return files;
}

void copy_options(const Campaign& campaign, std::span<const FileInUse> files, const fs::path& to) {
  const fs::path base = fs::absolute(campaign.file).parent_path();
  for (const auto& [component, file] : files) {
    const fs::path inside = fs::absolute(file.path).lexically_normal().lexically_relative(base);
    if (inside.empty() || *inside.begin() == "..") {
      throw Error(ExitCode::kInput, "--pack: " + file.path.string() + ", a file of " + component +
                                        ", does not lie below the campaign file's folder; put it "
                                        "there, and name it from there");
    }
    if (!fs::exists(to / inside)) copy_path(file.path, to / inside);
  }
}

/// The list of a pack. Throws Error(kInput).
Json read_list(const fs::path& pack) {
  Json list = read_json(pack / kList);
  const bool good = list.is_object() && list.value("schema", "") == kSchema &&
                    list.contains("paths") && list["paths"].is_object() && list.contains("files") &&
                    list["files"].is_object();
  if (good) return list;
  throw Error(ExitCode::kInput, (pack / kList).string() +
                                    ": is damaged, or of another version of "
                                    "the program; copy the plan again");
}

}  // namespace

fs::path pack_of(const fs::path& run) {
  std::error_code ignored;
  fs::path folder = fs::absolute(run, ignored).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  constexpr int kDeepest = 4;  // DIR/shards/0001/protected/NAME
  for (int i = 0; i <= kDeepest; ++i, folder = folder.parent_path()) {
    if (fs::exists(folder / kFolder / kList, ignored)) return folder / kFolder;
  }
  return {};
}

std::int64_t write_pack(const fs::path& directory, const Campaign& campaign,
                        std::span<const FileInUse> option_files) {
  const fs::path pack = directory / kFolder, fresh = directory / (std::string(kFolder) + ".new");
  std::int64_t bytes = 0;
  try {
    fs::remove_all(fresh);
    Campaign copy = campaign;
    Json moved = Json::object();
    for (const fs::path* path : paths_of(copy)) {
      const auto [known, added] = moved.emplace(
          key_of(*path), (fs::path(std::to_string(moved.size())) / path->filename()).string());
      const fs::path place = fresh / known->get<std::string>();
      const auto sources = data_of(copy);
      const auto images = std::find_if(sources.begin(), sources.end(),
                                       [&](const DataConfig* data) { return path == &data->path; });
      if (images != sources.end()) {  // another list of one folder brings its own images
        DataConfig data = **images;
        data.preprocess = copy.data.preprocess;
        copy_data(data, place);
      } else if (added) {
        copy_path(*path, place);
      }
    }
    copy_options(campaign, option_files, fresh / kOptions);
    const Json list = {{"schema", kSchema}, {"paths", moved}, {"files", files_in(fresh, bytes)}};
    write_file_atomically(fresh / kList, json_text(list, 1));
    if (fs::exists(pack / kList)) fs::remove_all(pack);
    fs::rename(fresh, pack);
  } catch (const fs::filesystem_error& error) {
    throw Error(ExitCode::kFailure, std::string("--pack: ") + error.what());
  }
  return bytes;
}

void check_pack(const fs::path& pack) {
  const Json list = read_list(pack);
  constexpr std::size_t kShown = 5;
  std::vector<std::string> wrong;
  for (const auto& [name, size] : list["files"].items()) {
    std::error_code absent;
    const auto here = fs::file_size(pack / name, absent);
    if (absent) {
      wrong.push_back(name + " is missing");
    } else if (!size.is_number_integer() || here != size.get<std::uintmax_t>()) {
      wrong.push_back(name + " has " + std::to_string(here) + " of " + json_text(size, -1) +
                      " bytes");
    }
  }
  if (wrong.empty()) return;
  std::string text = pack.string() + ": is not a whole copy of the plan's: ";
  for (std::size_t i = 0; i < std::min(wrong.size(), kShown); ++i) text += wrong[i] + "; ";
  if (wrong.size() > kShown) text += "and " + std::to_string(wrong.size() - kShown) + " more; ";
  throw Error(ExitCode::kInput, text + "copy it again");
}

void point_into(const fs::path& pack, Campaign& campaign) {
  const Json list = read_list(pack);
  for (fs::path* path : paths_of(campaign)) {
    const auto place = list["paths"].find(key_of(*path));
    if (place != list["paths"].end() && place->is_string()) {
      *path = pack / place->get<std::string>();
    }
  }
  for (PluginChoice* choice : choices_of(campaign)) choice->folder = pack / kOptions;
}

}  // namespace bitfall
