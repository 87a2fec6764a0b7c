#include "config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "campaign_keys.h"
#include "campaign_section.h"
#include "error.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// Turns a parsed document into a Campaign, section by section.
class CampaignReader {
 public:
  CampaignReader(Campaign& campaign, const toml::table& root, Diagnostics& diagnostics)
      : campaign_(campaign), root_(root), diagnostics_(diagnostics) {}

  void read() {
    check_sections();
    if (const toml::table* table = single("campaign")) read_campaign(section(*table, "campaign"));
    if (const toml::table* table = single("model")) {
      section(*table, "model").read("path", campaign_.model);
    }
    if (const toml::table* table = single("data")) read_data(section(*table, "data"));
    if (const toml::table* table = single("format")) {
      Section(*table, "format", folder(), diagnostics_)
          .read_component(*table, "[format]", campaign_.format);
    }
    read_entries("formats", campaign_.formats, &CampaignReader::read_formats);
    if (const toml::table* table = single("calibration")) {
      read_calibration(section(*table, "calibration"));
    }
    if (root_.get("faults")) {
      campaign_.faults_given =
          read_entries("faults", campaign_.faults, &CampaignReader::read_faults);
    }
    if (const toml::table* table = single("metrics")) {
      section(*table, "metrics").read("ids", campaign_.metrics);
    }
    if (const toml::table* table = single("plugins")) {
      section(*table, "plugins").read("paths", campaign_.plugins);
    }
    if (const toml::table* table = single("run")) read_run(section(*table, "run"));
  }

 private:
  fs::path folder() const { return campaign_.file.parent_path(); }

  Section section(const toml::table& table, const std::string& name) const {
    Section result(table, name, folder(), diagnostics_);
    result.check_keys();
    result.check_required(place(table));
    return result;
  }

  void check_sections() const;
  /// The table of a section that may stand once; null when absent or something else.
  const toml::table* single(const char* name) const;
  void read_campaign(const Section& section);
  void read_data(const Section& section);
  void read_preprocess(const Section& section);
  void check_channels(const Section& section) const;
  /// False if the section is absent or no array of tables; `entries` is then left alone.
  template <typename Entry>
  bool read_entries(const std::string& name, std::vector<Entry>& entries,
                    void (CampaignReader::*read)(const Section&, Entry&) const);
  static void read_selection(const Section& section, SiteSelection& out);
  void read_formats(const Section& section, FormatsConfig& out) const;
  void read_calibration(const Section& section);
  void read_faults(const Section& section, FaultsConfig& out) const;
  void read_run(const Section& section);

  Campaign& campaign_;
  const toml::table& root_;
  Diagnostics& diagnostics_;
};

void CampaignReader::check_sections() const {
  std::vector<std::string> known;
  std::string all = "known:";
  for (const SectionSpec& spec : campaign_sections()) {
    known.emplace_back(spec.name);
    all += " " + title(spec.name);
  }
  for (const auto& [key, node] : root_) {
    const std::string name(key.str());
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const bool section = node.is_table() || node.is_array_of_tables();
    if (section) {
      const std::string near = nearest(name, known);
      diagnostics_.add(place(key), "unknown section [" + name + "]",
                       near.empty() ? all : "did you mean " + title(near) + "?");
      continue;
    }
    std::string hint = "a campaign file has keys in sections only";
    for (const KeySpec& spec : campaign_keys()) {
      if (name == spec.name) {
        hint = "it belongs below " + title(spec.section);
        break;
      }
    }
    diagnostics_.add(place(key), "key '" + name + "' stands outside any section", hint);
  }
  for (const SectionSpec& spec : campaign_sections()) {
    if (spec.required && !root_.get(spec.name)) {
      diagnostics_.add({}, "missing section " + title(spec.name), spec.help);
    }
  }
}

const toml::table* CampaignReader::single(const char* name) const {
  const toml::node* node = root_.get(name);
  if (!node || node->is_table()) return node ? node->as_table() : nullptr;
  diagnostics_.add(place(*node), title(name) + " must be one table, found " + found(*node),
                   "write " + title(name) + " on a line of its own, and its keys below");
  return nullptr;
}

void CampaignReader::read_campaign(const Section& section) {
  std::int64_t seed = static_cast<std::int64_t>(campaign_.seed);
  section.read("seed", seed);
  campaign_.seed = static_cast<std::uint64_t>(seed);
  section.read("output", campaign_.output);
  std::string hit_value = "raw";
  section.read("hit_value", hit_value);
  campaign_.hit_value = hit_value == "clamped" ? HitValue::kClamped : HitValue::kRaw;
  section.read("clip", campaign_.clip);
  section.read("confidence", campaign_.confidence);
}

void CampaignReader::read_data(const Section& section) {
  DataConfig& data = campaign_.data;
  data.where = place(section.table());
  section.read("path", data.path);
  section.read("labels", data.labels);
  section.read("classes", data.classes);
  section.read("limit", data.limit);
  section.read("on_error", data.on_error);

  const bool arrays = data.path.extension() == ".npy";
  if (arrays && !section.has("labels")) {
    diagnostics_.add(section.where("path"), "[data] needs 'labels' beside an images .npy",
                     "a .npy file with one integer an image");
  }
  if (!arrays && !data.path.empty() && section.has("labels")) {
    section.report(section.where("labels"), "labels", "goes with an images .npy only",
                   "in a folder of images the folders' names are the labels");
  }
  const toml::node* preprocess = section.table().get("preprocess");
  if (!preprocess) return;
  if (!preprocess->is_table()) {
    section.report(place(*preprocess), "preprocess",
                   std::string("must be a table, found ") + found(*preprocess));
    return;
  }
  read_preprocess(this->section(*preprocess->as_table(), "data.preprocess"));
}

void CampaignReader::read_preprocess(const Section& section) {
  Preprocess& preprocess = campaign_.data.preprocess;
  section.read("colour", preprocess.colour);
  section.read_size("resize", preprocess.resize, preprocess.resize_width);
  section.read("crop", preprocess.crop);
  section.read_scale("scale", preprocess.scale);
  section.read("mean", preprocess.mean);
  section.read("std", preprocess.std);
  check_channels(section);
}

void CampaignReader::check_channels(const Section& section) const {
  const Preprocess& preprocess = campaign_.data.preprocess;
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

template <typename Entry>
bool CampaignReader::read_entries(const std::string& name, std::vector<Entry>& entries,
                                  void (CampaignReader::*read)(const Section&, Entry&) const) {
  const toml::node* node = root_.get(name);
  if (!node) return false;
  const toml::array* tables = node->as_array();
  const std::string called = "[[" + name + "]]";
  if (!tables) {
    diagnostics_.add(place(*node), called + " must be tables, found " + found(*node),
                     "write " + called + " with two brackets on each side");
    return false;
  }
  if (tables->empty()) {
    diagnostics_.add(place(*node), "'" + name + "' has no entry",
                     "write " + called + ", or leave it out");
    return false;
  }
  entries.clear();
  for (const toml::node& entry : *tables) {
    entries.emplace_back();
    if (entry.is_table()) {
      (this->*read)(section(*entry.as_table(), name), entries.back());
    } else {
      diagnostics_.add(place(entry), called + " must be tables, found " + found(entry));
    }
  }
  return true;
}

void CampaignReader::read_selection(const Section& section, SiteSelection& out) {
  out.where = place(section.table());
  std::string target = "activation";
  section.read("target", target);
  out.target = target == "weight"  ? Target::kWeight
               : target == "input" ? Target::kInput
                                   : Target::kActivation;
  section.read("operations", out.operations, out.operations_where);
  section.read("sites", out.sites, out.sites_where);
}

void CampaignReader::read_formats(const Section& section, FormatsConfig& out) const {
  out.section = "[[formats]]";
  out.format.id = "fp32";
  section.read("format", out.format);
  read_selection(section, out);
}

void CampaignReader::read_calibration(const Section& section) {
  Calibration& calibration = campaign_.calibration;
  std::string rule = "absmax";
  section.read("rule", rule);
  if (rule == "percentile") calibration.rule = CalibrationRule::kPercentile;
  section.read("percentile", calibration.percentile);
  section.read("images", calibration.images);
  if (section.has("percentile") && calibration.rule != CalibrationRule::kPercentile) {
    section.report(section.where("percentile"), "percentile",
                   "is read only with rule = \"percentile\"", "set the rule, or leave it out");
  }
}

void CampaignReader::read_faults(const Section& section, FaultsConfig& out) const {
  out.error_model.id = "bit_flip";
  section.read("error_model", out.error_model);
  read_selection(section, out);
  section.read("permanent", out.permanent);
  section.read("per_site", out.per_site);
  section.read("total", out.total);
  section.read("precision", out.precision);

  const char* first = nullptr;
  for (const char* name : {"per_site", "total", "precision"}) {
    if (!section.has(name)) continue;
    if (first) {
      section.report(section.where(name), name, "cannot stand beside '" + std::string(first) + "'",
                     "keep one of 'per_site', 'total' and 'precision'");
    } else {
      first = name;
    }
  }
}

void CampaignReader::read_run(const Section& section) {
  section.read("device", campaign_.device);
  const std::string& device = campaign_.device;
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.size() < 9 &&
                        device.find_first_not_of("0123456789", 5) == std::string::npos;
  if (device != "cpu" && device != "cuda" && !numbered) {
    section.report(section.where("device"), "device",
                   "must be 'cpu', 'cuda' or 'cuda:N', found '" + device + "'");
  }
  section.read("batch", campaign_.batch);
  section.read("threads", campaign_.threads);
  section.read("suffix", campaign_.suffix);
  section.read("early_stop", campaign_.early_stop);
  section.read("share", campaign_.share);
  section.read("regions", campaign_.regions);
  section.read("memory_budget", campaign_.memory_budget);
  section.read("workers", campaign_.workers);
  section.read("commit_every", campaign_.commit_every);
}

/// What holds when the file says nothing.
void set_defaults(Campaign& campaign) {
  const fs::path folder = campaign.file.parent_path();
  campaign.output = (folder / "runs" / campaign.file.stem()).lexically_normal();
  campaign.format.id = "fp32";
  campaign.faults.resize(1);
  campaign.faults[0].error_model.id = "bit_flip";
  for (const char* id : {"delta_loss", "mismatch", "misclassified", "top2diff", "output_error"}) {
    campaign.metrics.push_back({id, {}, {}});
  }
}

}  // namespace

Campaign parse_campaign(const fs::path& file, const std::string& text, Diagnostics& diagnostics) {
  Campaign campaign;
  campaign.file = file;
  campaign.text = text;
  set_defaults(campaign);
  try {
    const toml::table root = toml::parse(std::string_view(text), file.string());
    CampaignReader(campaign, root, diagnostics).read();
  } catch (const toml::parse_error& error) {
    SourceRange where = place(error.source());
    where.end_column = std::max(where.end_column, where.column + 1);
    diagnostics.add(where, "not valid TOML: " + std::string(error.description()));
  }
  return campaign;
}

std::string read_text(const fs::path& file) {
  const auto fail = [&](const std::string& reason) -> std::string {
    throw Error(ExitCode::kInput, file.string() + ": cannot be read: " + reason);
  };
  std::error_code status;
  if (fs::is_directory(file, status)) return fail("it is a folder");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(errno ? std::strerror(errno) : "it cannot be opened");
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  if (in.bad() || text.fail()) return fail("input error");
  return std::move(text).str();
}

}  // namespace bitfall
