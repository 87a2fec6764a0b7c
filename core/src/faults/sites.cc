#include "sites.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "words.h"

namespace bitfall {
namespace {

/// Kinds that every campaign may name, also for a model without one of them: they are the default.
constexpr std::string_view kDefaultOperations[] = {"conv", "linear"};
constexpr std::string_view kAnyOperation = "*";

bool has_wildcard(std::string_view pattern) {
  return pattern.find_first_of("*?[") != std::string_view::npos;
}

bool answers_to(const Site& site, std::string_view pattern) {
  const auto matches = [&](const std::string& name) { return glob_match(pattern, name); };
  return matches(site.name) || std::any_of(site.aliases.begin(), site.aliases.end(), matches);
}

bool is_called(const Site& site, std::string_view name) {
  return site.name == name ||
         std::find(site.aliases.begin(), site.aliases.end(), name) != site.aliases.end();
}

bool operation_selected(const Site& site, const SiteSelection& entry) {
  if (entry.target == Target::kInput) return true;
  return std::any_of(entry.operations.begin(), entry.operations.end(), [&](const auto& kind) {
    return kind == kAnyOperation || kind == site.operation;
  });
}

/// "conv (20), linear (1)" of a target's sites.
std::string kinds_with_counts(std::span<const Site> sites, Target target) {
  std::map<std::string, int> counts;
  for (const Site& site : sites) {
    if (site.target == target) ++counts[site.operation];
  }
  std::string out;
  for (const auto& [kind, count] : counts) {
    out += (out.empty() ? "" : ", ") + kind + " (" + std::to_string(count) + ")";
  }
  return out;
}

/// Where item `index` of a list stands in the file, or else the entry.
SourceRange item_place(const std::vector<SourceRange>& places, std::size_t index,
                       const SiteSelection& entry) {
  return index < places.size() ? places[index] : entry.where;
}

/// False, with a message, where a kind of operation is unknown.
bool check_operations(std::span<const Site> sites, const SiteSelection& entry,
                      Diagnostics& diagnostics) {
  if (entry.target == Target::kInput) return true;
  bool all_known = true;
  std::vector<std::string> known;
  for (const Site& site : sites) {
    if (std::find(known.begin(), known.end(), site.operation) == known.end()) {
      known.push_back(site.operation);
    }
  }
  for (std::size_t i = 0; i < entry.operations.size(); ++i) {
    const std::string& kind = entry.operations[i];
    const bool usual = std::find(std::begin(kDefaultOperations), std::end(kDefaultOperations),
                                 kind) != std::end(kDefaultOperations);
    if (usual || kind == kAnyOperation ||
        std::find(known.begin(), known.end(), kind) != known.end()) {
      continue;
    }
    diagnostics.add(item_place(entry.operations_where, i, entry),
                    "the model has no operation of kind '" + kind +
                        "'; its kinds: " + kinds_with_counts(sites, entry.target),
                    did_you_mean(kind, known));
    all_known = false;
  }
  return all_known;
}

/// Says why a pattern selects nothing: other operations, another target, or no such name.
void report_no_match(std::span<const Site> sites, const SiteSelection& entry, std::size_t index,
                     Diagnostics& diagnostics) {
  const std::string& pattern = entry.sites[index];
  const SourceRange where = item_place(entry.sites_where, index, entry);
  const std::string what = std::string("no ") + to_string(entry.target) + " site";
  std::map<std::string, int> other_kinds;
  for (const Site& site : sites) {
    if (site.target == entry.target && answers_to(site, pattern)) ++other_kinds[site.operation];
  }
  if (!other_kinds.empty()) {
    std::string kinds;
    for (const auto& [kind, count] : other_kinds) {
      kinds += (kinds.empty() ? "'" : ", '") + kind + "'";
    }
    diagnostics.add(where,
                    what + " of the chosen operations matches '" + pattern +
                        "', but sites of kind " + kinds + " do",
                    "add the kind to 'operations'");
    return;
  }
  for (const Site& site : sites) {
    if (!answers_to(site, pattern)) continue;
    diagnostics.add(where,
                    what + " matches '" + pattern + "', but '" + site.name + "' of target '" +
                        to_string(site.target) + "' does",
                    std::string("set target = \"") + to_string(site.target) + "\"");
    return;
  }
  std::vector<std::string> names;
  for (const Site& site : sites) {
    if (site.target == entry.target) names.push_back(site.name);
  }
  if (names.empty() && entry.target == Target::kWeight) {
    diagnostics.add(where, what + " matches '" + pattern + "': the model has no parameters",
                    "torch.jit.freeze makes constants of them, and quantised layers pack them: "
                    "export the model "
                    "without either");
    return;
  }
  const std::string near = nearest(pattern, names);
  diagnostics.add(
      where, what + " matches '" + pattern + "'",
      near.empty()
          ? "'bitfall sites MODEL' lists the " + std::to_string(names.size()) + " " +
                to_string(entry.target) + " sites" +
                (names.empty() ? "" : ", from '" + names.front() + "' to '" + names.back() + "'")
          : "did you mean '" + near + "'?");
}

// Why most of the sites that an entry means cannot be hit; empty where it means none.
std::string commonest_refusal(std::span<const Site> sites, const SiteSelection& entry) {
  std::map<std::string, int> refusals;
  for (const Site& site : sites) {
    const bool meant = site.target == entry.target && operation_selected(site, entry) &&
                       std::any_of(entry.sites.begin(), entry.sites.end(), [&](const auto& one) {
                         return is_called(site, one) || answers_to(site, one);
                       });
    if (meant && !site.refusal.empty()) ++refusals[site.refusal];
  }
  const auto most = std::max_element(refusals.begin(), refusals.end(),
                                     [](auto& a, auto& b) { return a.second < b.second; });
  return most == refusals.end() ? "" : most->first;
}

}  // namespace

std::string type_refusal(const std::string& type) { return "holds " + type + ", no real numbers"; }

std::int32_t channel_axis(const Site& site) {
  const auto dimensions = static_cast<std::int32_t>(site.shape.size());
  if (dimensions == 0) return -1;
  if (site.target == Target::kWeight) return 0;
  if (site.operation.starts_with("conv")) return 0;
  const std::string& kind = site.operation;
  if (kind == "linear" || kind == "matmul" || kind == "layer_norm" || kind == "softmax") {
    return dimensions - 1;
  }
  return dimensions == 2 ? 1 : 0;
}

std::int64_t fan_in(const Site& site) {
  if (site.target != Target::kWeight || site.shape.size() < 2 || site.shape[0] == 0) return 0;
  return site.values / site.shape[0];
}

bool is_helper(const Site& site) {
  for (const char* type : {"Long", "Int", "Short", "Char", "Byte", "Bool"}) {
    if (site.refusal == type_refusal(type)) return true;
  }
  return false;
}

std::string_view name_in_backbone(std::string_view name) {
  constexpr std::string_view kBackbone = "backbone.";
  return name.starts_with(kBackbone) ? name.substr(kBackbone.size()) : name;
}

bool glob_match(std::string_view pattern, std::string_view name) {
  // Without FNM_PATHNAME and FNM_PERIOD '*' takes '/' and '.' too; names hold no backslashes that
  // would need escaping.
  return fnmatch(std::string(pattern).c_str(), std::string(name).c_str(), FNM_NOESCAPE) == 0;
}

std::vector<std::int32_t> select_sites(std::span<const Site> sites, const SiteSelection& entry,
                                       Diagnostics& diagnostics) {
  std::vector<bool> selected(sites.size());
  // After a wrong kind the patterns are still checked, against every kind.
  const bool any_kind = !check_operations(sites, entry, diagnostics);
  bool error = any_kind;
  for (std::size_t p = 0; p < entry.sites.size(); ++p) {
    const std::string& pattern = entry.sites[p];
    bool matched = false;
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const Site& site = sites[i];
      if (site.target != entry.target || !(any_kind || operation_selected(site, entry))) continue;
      if (!is_called(site, pattern) && !answers_to(site, pattern)) continue;
      matched = true;
      if (site.refusal.empty()) {
        selected[i] = true;
      } else if (!has_wildcard(pattern) || is_called(site, pattern)) {
        error = true;
        diagnostics.add(item_place(entry.sites_where, p, entry),
                        "site '" + site.name + "' cannot be hit: " + site.refusal);
      }
    }
    // "*" is no name to look for: whether anything is left is told below.
    if (!matched && pattern != "*") {
      error = true;
      report_no_match(sites, entry, p, diagnostics);
    }
  }

  std::vector<std::int32_t> indices;
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (selected[i]) indices.push_back(static_cast<std::int32_t>(i));
  }
  if (indices.empty() && !error) {
    const std::string kinds = kinds_with_counts(sites, entry.target);
    const std::string refusal = commonest_refusal(sites, entry);
    diagnostics.add(
        entry.where,
        std::string(entry.section) + " selects no " + to_string(entry.target) +
            " site that can be hit; the model has " +
            (kinds.empty() ? "none" : "sites of kinds " + kinds),
        !refusal.empty() ? "most of those that it names are refused: " + refusal
        : kinds.empty() && entry.target == Target::kWeight
            ? "torch.jit.freeze makes constants of parameters, and quantised layers pack them: "
              "export without either"
            : "");
  }
  return indices;
}

std::int32_t find_site(std::span<const Site> sites, Target target, std::string_view name) {
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (sites[i].target == target && is_called(sites[i], name)) return static_cast<std::int32_t>(i);
  }
  return -1;
}

}  // namespace bitfall
