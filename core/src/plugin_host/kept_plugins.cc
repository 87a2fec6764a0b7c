#include "kept_plugins.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "error.h"
#include "log.h"
#include "output.h"
#include "plugin_note.h"
#include "sha256.h"
#include "words.h"

namespace bitfall {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFolder = "plugins";

// A name that is a file's, whatever the plugin calls itself.
fs::path copy_name(const PluginFact& plugin) {
  std::string name;
  for (const char c : plugin.name.substr(0, 64)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-';
    name += plain ? c : '_';
  }
  return name + "-" + plugin.sha256 + ".so";
}

/// Root could do anything here as it is.
bool is_ours(const fs::path& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && (status.st_uid == geteuid() || status.st_uid == 0);
}

std::vector<fs::path> libraries_in(const fs::path& place) {
  std::error_code ignored;
  if (!fs::is_directory(place, ignored)) return {place};
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(place, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    if (entry->path().extension() == ".so") files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool has_hash(const fs::path& file, const std::string& sha256) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return false;
  try {
    return sha256_file(file) == sha256;
  } catch (const std::exception&) {  // cannot be read
    return false;
  }
}

/// Where the run has its copies of which this one, with a protection, is a part; empty of others.
fs::path folder_of_parent(const fs::path& run) {
  const fs::path whole = fs::absolute(run).lexically_normal();
  const fs::path above =
      whole.has_filename() ? whole.parent_path() : whole.parent_path().parent_path();
  return above.filename() == "protected" ? above.parent_path() / kFolder : fs::path();
}

/// Made of the same sources, by another compiler or for another system.
bool is_rebuilt(const fs::path& file, const PluginFact& wanted) {
  std::error_code ignored;
  if (wanted.sources.empty() || !fs::is_regular_file(file, ignored)) return false;
  try {
    const auto note = read_note(file);
    return note && same_sources(*note, wanted);
  } catch (const std::runtime_error&) {  // no note that can be read
    return false;
  }
}

void tell_rebuilt(const fs::path& file, const PluginFact& wanted) {
  log_info("plugin " + wanted.name + " " + wanted.version + ": " + file.string() +
           " is another build of the sources that the run's was made of");
}

/// The very file, or of those that come with the program one of the same sources.
bool is_loaded(const PluginHost& host, const PluginFact& wanted) {
  for (const PluginDescription& one : host.plugins()) {
    if (one.sha256 == wanted.sha256) return true;
  }
  for (const PluginDescription& one : host.plugins()) {
    if (!comes_with_the_program(one.path) || !same_sources(one, wanted)) continue;
    tell_rebuilt(one.path, wanted);
    return true;
  }
  return false;
}

/// A plugin's name, without running its code.
std::string noted_name(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) {
    throw Error(ExitCode::kInput, "--with " + file.string() + ": there is no such file");
  }
  std::string name;
  try {
    const auto note = read_note(file);
    if (note) name = note->name;
  } catch (const std::runtime_error& error) {
    throw Error(ExitCode::kInput, "--with " + file.string() + ": " + error.what());
  }
  if (name.empty()) {
    throw Error(ExitCode::kInput,
                "--with " + file.string() +
                    ": it does not tell its name without being run; it is no plugin, was built for "
                    "an older Bitfall, or its About is not constexpr");
  }
  return name;
}

void load_one(PluginHost& host, const PluginFact& wanted, const PluginPlaces& places) {
  std::vector<std::string> told;
  std::vector<fs::path> files;
  std::string untrusted, not_loaded;
  const auto seek = [&](const fs::path& place, bool trusted) {
    told.push_back(place.string());
    for (fs::path& file : libraries_in(place)) {
      if (trusted || is_ours(file)) {
        files.push_back(std::move(file));
      } else if (has_hash(file, wanted.sha256)) {
        untrusted += "\n  the run's campaign names " + file.string() +
                     ", which another user made; --trust-plugins loads it";
      }
    }
  };
  seek(default_plugin_folder(), true);
  for (const fs::path& folder : {places.run / kFolder, folder_of_parent(places.run)}) {
    if (places.run.empty() || folder.empty()) continue;
    const fs::path copy = folder / copy_name(wanted);
    if (has_hash(copy, wanted.sha256)) {
      if (places.trust || is_ours(copy)) {
        try {
          return host.load(copy);
        } catch (const Error& error) {  // its libraries lie beside the file that it is a copy of
          not_loaded = error.what();
        }
      } else {
        untrusted += "\n  the run has a copy, which another user made: " + copy.string() +
                     "; --trust-plugins loads it";
      }
    }
    told.push_back(folder.string());  // no other file of it is loaded
  }
  for (const fs::path& place : places.files) seek(place, true);
  for (const fs::path& place : places.named) seek(place, places.trust);
  for (const auto& more : {plugin_search_path(), installed_plugin_folders()}) {
    for (const fs::path& place : more) seek(place, true);
  }
  for (const fs::path& file : files) {
    if (has_hash(file, wanted.sha256)) return host.load(file);
  }
  for (const fs::path& file : files) {
    if (!is_rebuilt(file, wanted)) continue;
    tell_rebuilt(file, wanted);
    return host.load(file);
  }
  if (!not_loaded.empty()) throw Error(ExitCode::kPlugin, not_loaded);
  throw Error(ExitCode::kInput, "plugin " + wanted.name + " " + wanted.version +
                                    ", which the run used, is not there (SHA-256 " + wanted.sha256 +
                                    ")\n  sought in " + joined(told) + untrusted +
                                    "\n  restore the file, or name it by --plugin");
}

}  // namespace

void keep_plugins(const PluginHost& host, std::span<const PluginFact> wanted, const fs::path& run,
                  bool beside) {
  const fs::path folder = run / kFolder;
  std::error_code problem;
  if (!beside) fs::remove_all(folder, problem);  // of a run that was here before
  for (const PluginFact& plugin : wanted) {
    const auto loaded =
        std::find_if(host.plugins().begin(), host.plugins().end(),
                     [&](const PluginDescription& one) { return one.sha256 == plugin.sha256; });
    if (loaded == host.plugins().end() || comes_with_the_program(loaded->path)) continue;
    const fs::path copy = folder / copy_name(plugin);
    if (has_hash(copy, plugin.sha256)) continue;
    // The file itself may be another by now, or gone: a run with a protection begins when that
    // without has ended, which has a copy.
    const fs::path parent = folder_of_parent(run) / copy_name(plugin);
    const bool parent_has = has_hash(parent, plugin.sha256);
    const fs::path part = copy.string() + ".part";
    fs::create_directories(folder, problem);
    if (!problem) {
      fs::copy_file(parent_has ? parent : loaded->path, part, fs::copy_options::overwrite_existing,
                    problem);
    }
    if (!problem && !has_hash(part, plugin.sha256)) {
      fs::remove(part, problem);
      throw Error(ExitCode::kInput,
                  loaded->path.string() + ": has changed since it was loaded; start the run again");
    }
    if (!problem) fs::rename(part, copy, problem);
    if (problem) {
      throw Error(ExitCode::kFailure, copy.string() + ": cannot be written: " + problem.message());
    }
  }
}

void load_wanted(PluginHost& host, std::span<const PluginFact> wanted, const PluginPlaces& places) {
  std::map<std::string, fs::path> mended;
  for (const fs::path& file : places.mended) {
    const std::string name = noted_name(file);
    const bool known = std::any_of(wanted.begin(), wanted.end(),
                                   [&](const PluginFact& one) { return one.name == name; });
    if (!known) {
      std::vector<std::string> names;
      for (const PluginFact& one : wanted) names.push_back(one.name);
      throw Error(ExitCode::kUsage, "--with " + file.string() + ": it is plugin " +
                                        in_quotes(name) + ", and the run uses " + joined(names));
    }
    mended[name] = file;
  }
  keep_results_apart();  // of what plugins print
  load_own_plugins(host);
  for (const PluginFact& plugin : wanted) {
    if (const auto with = mended.find(plugin.name); with != mended.end()) {
      host.load(with->second);
      continue;
    }
    if (!is_loaded(host, plugin)) load_one(host, plugin, places);
  }
}

}  // namespace bitfall
