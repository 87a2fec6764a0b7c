#include "compare_match.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "error.h"

namespace bitfall {
namespace {

// "bit_flip on activation; stuck_at on weight" by entry.
std::vector<std::string> split_entries(const std::string& text) {
  std::vector<std::string> entries;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find("; ", start), text.size());
    entries.push_back(text.substr(start, end - start));
    start = end + 2;
  }
  return entries;
}

// By the arm's entry: the baseline's that it stands for.
std::vector<std::int32_t> matching_entries(const Facts& baseline, const Facts& arm) {
  const std::vector<std::string> first = split_entries(fact_text(baseline, "error_models"));
  const std::vector<std::string> other = split_entries(fact_text(arm, "error_models"));
  std::vector<std::int32_t> partner(other.size(), -1);
  std::set<std::size_t> taken;
  for (const bool same_text : {true, false}) {
    for (std::size_t e = 0; e < other.size(); ++e) {
      for (std::size_t f = 0; f < first.size() && partner[e] < 0; ++f) {
        if ((same_text && first[f] != other[e]) || taken.count(f)) continue;
        partner[e] = static_cast<std::int32_t>(f);
        taken.insert(f);
      }
    }
  }
  return partner;
}

}  // namespace

const Site& ComparedRun::site(std::size_t layer) const {
  return run.sites[static_cast<std::size_t>(run.strata[layer].site)];
}

double ComparedRun::bits(std::size_t layer) const {
  const auto site = static_cast<std::size_t>(run.strata[layer].site);
  const auto format =
      site < run.site_formats.size() ? static_cast<std::size_t>(run.site_formats[site]) : 0;
  const bool known = format < run.formats.size() && !run.formats[format].registers.empty();
  return static_cast<double>(run.sites[site].values) *
         (known ? run.formats[format].registers[0].bits : 1);
}

bool ComparedRun::in_head(std::size_t layer) const {
  const std::string head = fact_text(run.facts, "head_module");
  const std::string_view name = site(layer).name;
  return !head.empty() && name.starts_with(head) &&
         (name.size() == head.size() || name[head.size()] == '.' || name[head.size()] == '/');
}

std::string fact_text(const Facts& facts, const std::string& key) {
  const auto found = facts.find(key);
  return found == facts.end() ? "" : found->second;
}

namespace {

/// A list "a; b; a" with each item once, sorted: an arm may hit more sites with the same model.
std::string distinct(const std::string& list) {
  std::set<std::string> items;
  for (std::size_t start = 0; start <= list.size();) {
    const auto end = std::min(list.find("; ", start), list.size());
    items.insert(list.substr(start, end - start));
    start = end + 2;
  }
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : "; ") + item;
  return text;
}

}  // namespace

void check_comparable(const ComparedRun& baseline, const ComparedRun& arm) {
  const RunDescription &first = baseline.run, &other = arm.run;
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::kInput,
                arm.directory + ": cannot be compared with " + baseline.directory + ": " + what);
  };
  const auto differs = [&](const char* key) {
    return fact_text(first.facts, key) != fact_text(other.facts, key);
  };
  if (first.classes.size() != other.classes.size()) {
    refuse("it has " + std::to_string(other.classes.size()) + " classes, not " +
           std::to_string(first.classes.size()));
  }
  if (differs("data_digest") || first.image_names != other.image_names ||
      first.labels != other.labels) {
    const auto images = [](const RunDescription& run) {
      return std::to_string(run.labels.size()) + " of " + fact_text(run.facts, "data_path");
    };
    refuse("it saw other images or labels (" + images(other) + ", not " + images(first) +
           ")\n  run both campaigns on the same [data]");
  }
  if (differs("hit_value")) {
    refuse("its hit_value is '" + fact_text(other.facts, "hit_value") + "', not '" +
           fact_text(first.facts, "hit_value") +
           "': the losses of raw and clamped hits are not of one kind");
  }
  const auto lacks = [](const RunDescription& run, const StoredColumn& column) {
    return std::none_of(run.metric_columns.begin(), run.metric_columns.end(),
                        [&](const StoredColumn& c) { return c.name == column.name; });
  };
  for (const StoredColumn& column : first.metric_columns) {
    if (lacks(other, column)) refuse("it did not measure '" + column.name + "'");
  }
  for (const StoredColumn& column : other.metric_columns) {
    if (column.name == "mismatch" && lacks(first, column)) {
      refuse("the baseline did not measure 'mismatch'");
    }
  }
}

std::vector<std::string> differences(const ComparedRun& baseline, const std::string& baseline_label,
                                     const ComparedRun& arm, const std::string& label) {
  const Facts &first = baseline.run.facts, &other = arm.run.facts;
  std::vector<std::string> found;
  struct Fact {
    const char* key;
    const char* name;
  };
  static constexpr Fact kFacts[] = {{"format", "formats"},
                                    {"format_options", "format options"},
                                    {"site_formats", "site formats"},
                                    {"calibration", "calibrations"},
                                    {"error_models", "error models"},
                                    {"seed", "seeds"},
                                    {"clip", "clips (the baseline's holds)"},
                                    {"confidence", "confidences (the baseline's holds)"}};
  for (const Fact& fact : kFacts) {
    const std::string before = distinct(fact_text(first, fact.key));
    const std::string after = distinct(fact_text(other, fact.key));
    if (before == after) continue;
    found.push_back(std::string(fact.name) + " differ: " + baseline_label + " " +
                    (before.empty() ? "none" : before) + ", " + label + " " +
                    (after.empty() ? "none" : after));
  }
  return found;
}

std::vector<int> matching_layers(const ComparedRun& baseline, const ComparedRun& arm) {
  using Key = std::tuple<std::int32_t, Target, std::string>;
  const std::vector<std::int32_t> entries = matching_entries(baseline.run.facts, arm.run.facts);
  std::vector<int> partners(arm.trials.size(), -1);
  std::set<int> taken;
  for (const bool exact : {true, false}) {
    const auto name_of = [&](const Site& site) {
      return exact ? site.name : std::string(name_in_backbone(site.name));
    };
    std::map<Key, int> known;
    for (std::size_t layer = 0; layer < baseline.trials.size(); ++layer) {
      const Site& site = baseline.site(layer);
      known.try_emplace({baseline.run.strata[layer].entry, site.target, name_of(site)},
                        static_cast<int>(layer));
    }
    for (std::size_t layer = 0; layer < partners.size(); ++layer) {
      if (partners[layer] >= 0) continue;
      const auto entry = static_cast<std::size_t>(arm.run.strata[layer].entry);
      if (entry >= entries.size()) continue;
      const Site& site = arm.site(layer);
      const auto found = known.find({entries[entry], site.target, name_of(site)});
      if (found == known.end() || !taken.insert(found->second).second) continue;
      partners[layer] = found->second;
    }
  }
  return partners;
}

}  // namespace bitfall
