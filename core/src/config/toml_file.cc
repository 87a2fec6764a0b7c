#include "toml_file.h"

#include <algorithm>

#include "words.h"

namespace bitfall {

namespace fs = std::filesystem;

void check_sections(const KeyTable& keys, const toml::table& root, Diagnostics& diagnostics) {
  std::vector<std::string> known;
  std::string all = "known:";
  for (const SectionSpec& spec : keys.sections) {
    known.emplace_back(spec.name);
    all += " " + keys.title(spec.name);
  }
  for (const auto& [key, node] : root) {
    const std::string name(key.str());
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const bool section = node.is_table() || node.is_array_of_tables();
    if (section) {
      const std::string near = nearest(name, known);
      diagnostics.add(place(key), "unknown section [" + name + "]",
                      near.empty() ? all : "did you mean " + keys.title(near) + "?");
      continue;
    }
    std::string hint = std::string(keys.file) + " has keys in sections only";
    for (const KeySpec& spec : keys.keys) {
      if (name == spec.name) {
        hint = "it belongs below " + keys.title(spec.section);
        break;
      }
    }
    diagnostics.add(place(key), "key '" + name + "' is outside any section", hint);
  }
  for (const SectionSpec& spec : keys.sections) {
    if (spec.required && !root.get(spec.name)) {
      diagnostics.add({}, "missing section " + keys.title(spec.name), spec.help);
    }
  }
}

std::optional<Section> find_section(const KeyTable& keys, const toml::table& root, const char* name,
                                    const fs::path& folder, Diagnostics& diagnostics) {
  const toml::node* node = root.get(name);
  if (!node) return std::nullopt;
  if (!node->is_table()) {
    const std::string title = keys.title(name);
    diagnostics.add(place(*node), title + " must be one table, found " + found(*node),
                    "write " + title + " on a line of its own, and its keys below");
    return std::nullopt;
  }
  Section section(keys, *node->as_table(), name, folder, diagnostics);
  section.check_keys();
  section.check_required(place(*node));
  return section;
}

namespace {

void check_channels(const Section& section, const Preprocess& preprocess) {
  const bool grey = preprocess.colour == "grey";
  const auto check = [&](const char* name) {
    if (!section.has(name) || !section.table().get(name)->is_array()) return;
    // Counted in the file: values that were refused above have had their message.
    const std::size_t count = section.table().get(name)->as_array()->size();
    if (count == 1 || (count == 3 && !grey)) return;
    section.report(section.where(name), name,
                   "must have " +
                       std::string(grey ? "1 number for a grey image" : "1 or 3 numbers") +
                       ", found " + std::to_string(count));
  };
  check("mean");
  check("std");
  const std::size_t means = preprocess.mean.size(), deviations = preprocess.std.size();
  if (means > 0 && deviations > 0 && means != deviations) {
    section.report(section.where("std"), "std",
                   "must have as many numbers as 'mean' (" + std::to_string(means) + "), found " +
                       std::to_string(deviations));
  }
}

void read_preprocess(const Section& section, Preprocess& preprocess) {
  section.read("colour", preprocess.colour);
  section.read_size("resize", preprocess.resize, preprocess.resize_width);
  section.read_choice("interpolation", preprocess.interpolation);
  if (section.has("interpolation") && !preprocess.resize) {
    section.report(section.where("interpolation"), "interpolation", "is read only with 'resize'",
                   "give the size, or leave it out");
  }
  section.read("crop", preprocess.crop);
  section.read_scale("scale", preprocess.scale);
  section.read("mean", preprocess.mean);
  section.read("std", preprocess.std);
  check_channels(section, preprocess);
}

}  // namespace

void read_data(const Section& section, DataConfig& data) {
  data.where = place(section.table());
  section.read("path", data.path);
  section.read("list", data.list);
  section.read("split", data.split);
  section.read("labels", data.labels);
  section.read("classes", data.classes);
  section.read("limit", data.limit);
  section.read("on_error", data.on_error);

  const bool arrays = data.path.extension() == ".npy";
  if (arrays && !section.has("labels")) {
    section.report(section.where("path"), "path", "is an images .npy and needs 'labels' too",
                   "a .npy file with one integer per image");
  }
  if (!arrays && !data.path.empty() && section.has("labels")) {
    section.report(section.where("labels"), "labels", "is only for an images .npy",
                   "in a folder of images the folders' names are the labels, or those of a 'list'");
  }
  if (arrays && section.has("list")) {
    section.report(section.where("list"), "list", "is only for a folder of images",
                   "an images .npy has 'labels'");
  }
  if (const auto preprocess = section.inner("preprocess")) {
    read_preprocess(*preprocess, data.preprocess);
  }
}

void read_device(const Section& section, std::string& device) {
  section.read("device", device);
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.size() < 9 &&
                        device.find_first_not_of("0123456789", 5) == std::string::npos;
  if (device != "cpu" && device != "cuda" && !numbered) {
    section.report(section.where("device"), "device",
                   "must be 'cpu', 'cuda' or 'cuda:N', found '" + device + "'");
  }
}

std::optional<OptionValue> parse_option(std::string_view text) {
  try {
    const toml::table line = toml::parse("value = " + std::string(text));
    return line.size() == 1 ? option_value(*line.get("value")) : std::nullopt;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

std::optional<toml::table> parse_toml(const fs::path& file, const std::string& text,
                                      Diagnostics& diagnostics) {
  try {
    return toml::parse(std::string_view(text), file.string());
  } catch (const toml::parse_error& error) {
    SourceRange where = place(error.source());
    where.end_column = std::max(where.end_column, where.column + 1);
    diagnostics.add(where, "not valid TOML: " + std::string(error.description()));
    return std::nullopt;
  }
}

}  // namespace bitfall
