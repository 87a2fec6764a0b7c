#include "compare_match.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "error.h"

namespace bitfall {
namespace {

// By the arm's entry: the baseline's that it stands for. A fault list is one entry.
std::vector<std::int32_t> matching_entries(const RunFacts& baseline, const RunFacts& arm) {
  const auto entries = [](const RunFacts& facts) {
    return facts.error_models.empty() ? std::vector<ErrorModelFact>(1) : facts.error_models;
  };
  const std::vector<ErrorModelFact> first = entries(baseline), other = entries(arm);
  std::vector<std::int32_t> partner(other.size(), -1);
  std::set<std::size_t> taken;
  for (const bool same : {true, false}) {
    for (std::size_t e = 0; e < other.size(); ++e) {
      for (std::size_t f = 0; f < first.size() && partner[e] < 0; ++f) {
        if ((same && first[f] != other[e]) || taken.count(f)) continue;
        partner[e] = static_cast<std::int32_t>(f);
        taken.insert(f);
      }
    }
  }
  return partner;
}

template <typename Entry>
void keep_distinct(std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end());
  entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
}

// An arm may hit more sites by the same entry.
RunFacts with_distinct_entries(RunFacts facts) {
  keep_distinct(facts.error_models);
  keep_distinct(facts.site_formats);
  return facts;
}

}  // namespace

const Site& ComparedRun::site(std::size_t layer) const {
  return run.sites[static_cast<std::size_t>(run.strata[layer].site)];
}

bool ComparedRun::is_product(std::size_t layer) const {
  const Site& at = site(layer);
  return at.target == Target::kActivation &&
         (at.operation == "conv" || at.operation == "linear" || at.operation == "matmul");
}

bool ComparedRun::in_head(std::size_t layer) const {
  const std::string& head = run.facts.head_module;
  const std::string_view name = site(layer).name;
  return !head.empty() && name.starts_with(head) &&
         (name.size() == head.size() || name[head.size()] == '.' || name[head.size()] == '/');
}

void check_comparable(const ComparedRun& baseline, const ComparedRun& arm) {
  const RunDescription &first = baseline.run, &other = arm.run;
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::kInput,
                arm.directory + ": cannot be compared with " + baseline.directory + ": " + what);
  };
  if (first.classes.size() != other.classes.size()) {
    refuse("it has " + std::to_string(other.classes.size()) + " classes, not " +
           std::to_string(first.classes.size()));
  }
  if (first.facts.data_digest != other.facts.data_digest ||
      first.image_names != other.image_names || first.labels != other.labels) {
    const auto images = [](const RunDescription& run) {
      return std::to_string(run.labels.size()) + " of " + run.facts.data_path;
    };
    refuse("it saw other images or labels (" + images(other) + ", not " + images(first) +
           ")\n  run both campaigns on the same [data]");
  }
  if (first.facts.hit_value != other.facts.hit_value) {
    refuse("its hit_value is '" + std::string(to_string(other.facts.hit_value)) + "', not '" +
           to_string(first.facts.hit_value) +
           "': the losses of raw and clamped hits cannot be compared");
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
  const RunFacts first = with_distinct_entries(baseline.run.facts);
  const RunFacts other = with_distinct_entries(arm.run.facts);
  const auto text = [](const FactKey& key, const RunFacts& facts) {
    const std::string told = key.told(facts).value_or("");
    return told.empty() ? "none" : told;
  };
  std::vector<std::string> found;
  for (const FactKey& key : fact_keys()) {
    if (!key.differing || key.same(first, other)) continue;
    found.push_back(std::string(key.differing) + " differ: " + baseline_label + " " +
                    text(key, first) + ", " + label + " " + text(key, other));
  }
  for (const PluginFact& a : first.plugins) {
    for (const PluginFact& b : other.plugins) {
      if (a.name != b.name || same_plugin(a, b)) continue;
      found.push_back("binaries of plugin " + a.name + " differ: " + baseline_label + " " +
                      a.version + " (SHA-256 " + a.sha256 + "), " + label + " " + b.version +
                      " (SHA-256 " + b.sha256 + ")");
    }
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
