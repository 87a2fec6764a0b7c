#include "config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "error.h"
#include "key_table.h"
#include "toml_file.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// Turns a parsed document into a Campaign, section by section.
class CampaignReader {
 public:
  CampaignReader(Campaign& campaign, const toml::table& root, Diagnostics& diagnostics)
      : campaign_(campaign), root_(root), diagnostics_(diagnostics) {}

  void read() {
    check_sections(campaign_keys(), root_, diagnostics_);
    if (const auto section = find("campaign")) read_campaign(*section);
    if (const auto section = find("model")) read_model(*section);
    if (const auto section = find("data")) {
      read_data(*section, campaign_.data);
      section->read_choice("only", campaign_.data.only);
    }
    if (const toml::node* node = root_.get("format"); node && node->is_table()) {
      // Not by find(): a component's options stand beside the listed keys.
      Section(campaign_keys(), *node->as_table(), "format", folder(), diagnostics_)
          .read_component(*node->as_table(), "[format]", campaign_.format);
    } else if (node) {
      find("format");
    }
    read_entries("formats", campaign_.formats, &CampaignReader::read_formats);
    if (const auto section = find("calibration")) read_calibration(*section);
    if (root_.get("faults")) {
      campaign_.faults_given =
          read_entries("faults", campaign_.faults, &CampaignReader::read_faults);
      check_goals();
    }
    if (const auto section = find("metrics")) section->read("ids", campaign_.metrics);
    read_entries("protect", campaign_.protect, &CampaignReader::read_protect);
    name_protections();
    campaign_.learn = other_images();
    campaign_.calibrate = other_images();
    if (const auto section = find("learn")) read_images(*section, campaign_.learn);
    if (const auto section = find("calibration")) read_images(*section, campaign_.calibrate);
    if (const auto section = find("plugins")) section->read("paths", campaign_.plugins);
    if (const auto section = find("run")) read_run(*section);
  }

 private:
  fs::path folder() const { return campaign_.file.parent_path(); }

  std::optional<Section> find(const char* name) const {
    return find_section(campaign_keys(), root_, name, folder(), diagnostics_);
  }
  void read_campaign(const Section& section);
  /// False if the section is absent or no array of tables; `entries` is then left alone.
  template <typename Entry>
  bool read_entries(const std::string& name, std::vector<Entry>& entries,
                    void (CampaignReader::*read)(const Section&, Entry&) const);
  static void read_selection(const Section& section, SiteSelection& out);
  void read_model(const Section& section);
  void read_formats(const Section& section, FormatsConfig& out) const;
  void read_calibration(const Section& section);
  void read_faults(const Section& section, FaultsConfig& out) const;
  static void read_goal(const Section& section, PrecisionGoal& goal);
  void check_goals();
  void read_protect(const Section& section, ProtectConfig& out) const;
  void name_protections();
  DataConfig other_images() const;
  void read_images(const Section& section, DataConfig& images);
  void read_run(const Section& section);

  Campaign& campaign_;
  const toml::table& root_;
  Diagnostics& diagnostics_;
};

void CampaignReader::read_model(const Section& section) {
  section.read("path", campaign_.model);
  section.read("libraries", campaign_.model_libraries);
  section.read_choice("answer", campaign_.answer);
  const toml::node* output = section.table().get("output");
  if (output == nullptr) return;
  if (const auto number = output->value_exact<std::int64_t>(); number && *number >= 0) {
    campaign_.model_output = std::to_string(*number);
  } else {
    section.read("output", campaign_.model_output);
  }
}

void CampaignReader::read_campaign(const Section& section) {
  auto seed = static_cast<std::int64_t>(campaign_.seed);
  section.read("seed", seed);
  campaign_.seed = static_cast<std::uint64_t>(seed);
  section.read("output", campaign_.output);
  section.read_choice("hit_value", campaign_.hit_value);
  section.read("clip", campaign_.clip);
  section.read("confidence", campaign_.confidence);
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
      const Section section(campaign_keys(), *entry.as_table(), name, folder(), diagnostics_);
      section.check_keys();
      section.check_required(place(entry));
      (this->*read)(section, entries.back());
    } else {
      diagnostics_.add(place(entry), called + " must be tables, found " + found(entry));
    }
  }
  return true;
}

void CampaignReader::read_selection(const Section& section, SiteSelection& out) {
  out.where = place(section.table());
  section.read_choice("target", out.target);
  section.read("operations", out.operations, out.operations_where);
  section.read("sites", out.sites, out.sites_where);
}

void CampaignReader::read_formats(const Section& section, FormatsConfig& out) const {
  out.section = "[[formats]]";
  section.read("format", out.format);
  read_selection(section, out);
}

void CampaignReader::read_calibration(const Section& section) {
  Calibration& calibration = campaign_.calibration;
  section.read_choice("rule", calibration.rule);
  section.read("percentile", calibration.percentile);
  section.read("images", calibration.images);
  section.read_choice("round", calibration.round);
  if (section.has("path") && section.has("images")) {
    section.report(section.where("images"), "images",
                   "is a sample of the attacked images, and path names others", "use limit");
  }
  for (const char* name : {"list", "labels", "limit"}) {
    if (section.has("path") || !section.has(name)) continue;
    section.report(section.where(name), name, "is read only with path",
                   "set path, or leave it out");
  }
  if (section.has("percentile") && calibration.rule != CalibrationRule::kPercentile) {
    section.report(section.where("percentile"), "percentile",
                   "is read only with rule = \"percentile\"", "set the rule, or leave it out");
  }
}

void CampaignReader::read_goal(const Section& section, PrecisionGoal& goal) {
  section.read("halfwidth", goal.halfwidth);
  section.read("of", goal.of);
  section.read("confidence", goal.confidence);
  section.read_choice("over", goal.over);
  section.read("minimum", goal.minimum);
  section.read("maximum", goal.maximum);
}

// What is drawn until a goal is met is the whole campaign.
void CampaignReader::check_goals() {
  if (campaign_.faults.size() < 2) return;
  for (const FaultsConfig& entry : campaign_.faults) {
    if (!entry.goal) continue;
    diagnostics_.add(entry.goal->where,
                     "'precision' in [[faults]] as a table is of the only entry of a campaign",
                     "put the other entries into a campaign of their own, or give the half-width "
                     "of a site's interval alone, as in precision = 0.01");
  }
}

void CampaignReader::read_faults(const Section& section, FaultsConfig& out) const {
  section.read("error_model", out.error_model);
  read_selection(section, out);
  section.read("permanent", out.permanent);
  section.read("per_site", out.per_site);
  section.read("total", out.total);
  if (section.has_table("precision")) {
    out.goal.emplace();
    read_goal(*section.inner("precision"), *out.goal);
    out.goal->where = section.where("precision");
    if (out.permanent) {
      section.report(section.where("precision"), "precision",
                     "as a table does not count permanent faults",
                     "leave out permanent, or give the half-width alone, as in precision = 0.01");
    }
  } else {
    section.read("precision", out.precision);
  }

  const char* first = nullptr;
  for (const char* name : {"per_site", "total", "precision"}) {
    if (!section.has(name)) continue;
    if (first) {
      section.report(section.where(name), name,
                     "cannot be used together with '" + std::string(first) + "'",
                     "keep one of 'per_site', 'total' and 'precision'");
    } else {
      first = name;
    }
  }
}

void CampaignReader::read_protect(const Section& section, ProtectConfig& out) const {
  out.section = "[[protect]]";
  out.operations = {"relu"};
  section.read("protection", out.protection);
  section.read("name", out.name);
  section.read("exposed", out.exposed);
  read_selection(section, out);
  const bool plain = std::all_of(out.name.begin(), out.name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (!plain) {
    section.report(section.where("name"), "name",
                   "names a folder: letters, digits, '-' and '_', found '" + out.name + "'");
  }
  if (out.name == "none") {  // as reports call the run without
    section.report(section.where("name"), "name",
                   "is the run without a protection; choose another");
  }
}

// By their ids where they have no name, counted where that is not one alone. Entries that the file
// gives one name are one run.
void CampaignReader::name_protections() {
  std::map<std::string, const ProtectConfig*> given;
  for (const ProtectConfig& entry : campaign_.protect) {
    if (entry.name.empty()) continue;
    const auto [first, fresh] = given.emplace(entry.name, &entry);
    if (!fresh && entry.exposed != first->second->exposed) {
      diagnostics_.add(entry.where,
                       "'exposed' of the entries of one name, '" + entry.name + "', must be alike");
    }
  }
  std::set<std::string> met;
  for (const auto& [name, entry] : given) met.insert(name);
  for (ProtectConfig& entry : campaign_.protect) {
    if (!entry.name.empty()) continue;
    std::string id = entry.protection.id;
    std::replace(id.begin(), id.end(), '/', '-');
    entry.name = id;
    for (int count = 2; !met.insert(entry.name).second; ++count) {
      entry.name = id + "-" + std::to_string(count);
    }
  }
}

/// Images that are learned from: read as those of [data], but others.
DataConfig CampaignReader::other_images() const {
  DataConfig images = campaign_.data;
  images.path.clear();
  images.list.clear();
  images.labels.clear();
  images.split.clear();
  images.limit = 0;
  images.default_split = "train";
  images.only = OnlyImages::kAll;
  return images;
}

void CampaignReader::read_images(const Section& section, DataConfig& images) {
  images.where = place(section.table());
  section.read("path", images.path);
  section.read("list", images.list);
  section.read("labels", images.labels);
  section.read("limit", images.limit);
}

void CampaignReader::read_run(const Section& section) {
  read_device(section, campaign_.device);
  section.read_choice("cpu", campaign_.cpu);
  section.read("tf32", campaign_.tf32);
  section.read("batch", campaign_.batch);
  section.read("threads", campaign_.threads);
  section.read("suffix", campaign_.suffix);
  section.read("early_stop", campaign_.early_stop);
  section.read("share", campaign_.share);
  section.read("regions", campaign_.regions);
  section.read("pass_limit", campaign_.pass_limit);
  section.read("self_replay", campaign_.self_replay);
  section.read("plugin_limit", campaign_.plugin_limit);
  section.read("plugin_memory", campaign_.plugin_memory);
  section.read("memory_budget", campaign_.memory_budget);
  section.read("workers", campaign_.workers);
  section.read("commit_every", campaign_.commit_every);
}

}  // namespace

Campaign parse_campaign(const fs::path& file, const std::string& text, Diagnostics& diagnostics) {
  Campaign campaign;
  campaign.file = file;
  campaign.text = text;
  campaign.output = (file.parent_path() / "runs" / file.stem()).lexically_normal();
  if (const auto root = parse_toml(file, text, diagnostics)) {
    CampaignReader(campaign, *root, diagnostics).read();
  }
  return campaign;
}

std::vector<std::string> Campaign::protected_runs() const {
  std::vector<std::string> names;
  for (const ProtectConfig& entry : protect) {
    if (std::find(names.begin(), names.end(), entry.name) == names.end()) {
      names.push_back(entry.name);
    }
  }
  return names;
}

}  // namespace bitfall
