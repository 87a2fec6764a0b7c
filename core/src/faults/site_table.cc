#include "site_table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "faults.h"
#include "json_file.h"
#include "text_table.h"

namespace bitfall {
namespace {

std::string slab_text(const Site& site) {
  if (site.shape.empty()) return site.values == 1 ? "scalar" : "-";
  std::string text;
  for (const auto extent : site.shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

std::string note(const Site& site) {
  if (!site.refusal.empty()) return "refused: " + site.refusal;
  return site.type == ValueType::kFloat32 ? "" : std::string(to_string(site.type));
}

std::int64_t stored_bits(const Site& site, const NumberFormat& format) {
  std::int64_t bits = 0;
  for (const SiteRegister& kind : site_registers(site, format)) bits += kind.bits * kind.count;
  return bits;
}

// "98.53 %"; "100 %" is all of it, and never a rounded 99.999.
std::string percent(std::int64_t part, std::int64_t whole) {
  if (part == whole) return "100 %";
  char text[32];
  const double share = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  std::snprintf(text, sizeof text, "%.2f %%", std::min(share, 99.99));
  return text;
}

std::string short_count(std::int64_t count) {
  constexpr std::array<const char*, 4> kUnits = {"", " k", " M", " G"};
  double value = static_cast<double>(count);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f%s" : "%.3g%s", value, kUnits[unit]);
  return text;
}

}  // namespace

std::string sites_text(const std::vector<Site>& sites, const NumberFormat& format) {
  TextTable table({{"name"},
                   {"kind"},
                   {"operation"},
                   {"shape per image"},
                   {"values", TextTable::kRight},
                   {"bits", TextTable::kRight},
                   {"note"}});
  for (const Site& site : sites) {
    const bool shaped = site.values > 0;
    table.add({site.name, to_string(site.target), site.operation.empty() ? "-" : site.operation,
               slab_text(site), shaped ? std::to_string(site.values) : "-",
               shaped ? std::to_string(stored_bits(site, format)) : "-", note(site)});
  }
  return table.render();
}

std::string coverage_text(const SiteCoverage& coverage) {
  const auto share = [](std::int64_t part, std::int64_t whole, const std::string& what) {
    return percent(part, whole) + " of " + short_count(whole) + " " + what;
  };
  std::string text = "sites cover ";
  if (coverage.operations > 0) {
    text += share(coverage.covered_operations, coverage.operations, "multiplications") + " and ";
  }
  text += share(coverage.covered_parameters, coverage.parameters, "parameters") + "\n";
  if (!coverage.missed_text.empty()) {
    text += "multiplications in no site: " + coverage.missed_text + "\n";
  }
  return text;
}

std::string sites_json(const std::vector<Site>& sites, const NumberFormat& format,
                       const SiteCoverage& coverage, const std::string& unfit) {
  const auto reason = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(text);
  };
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Site& site : sites) {
    nlohmann::ordered_json row;
    row["name"] = site.name;
    row["aliases"] = site.aliases;
    row["kind"] = to_string(site.target);
    row["operation"] = site.operation;
    row["shape"] = site.shape;
    row["values"] = site.values;
    row["type"] = to_string(site.type);
    row["bits"] = site.values > 0 ? stored_bits(site, format) : 0;
    row["refusal"] = reason(site.refusal);
    list.push_back(std::move(row));
  }
  nlohmann::ordered_json missed = nlohmann::ordered_json::array();
  for (const SiteCoverage::Missed& part : coverage.missed) {
    missed.push_back(
        {{"module", part.module}, {"function", part.function}, {"operations", part.operations}});
  }
  nlohmann::ordered_json document;
  document["schema"] = "bitfall.sites/1";
  document["unfit"] = reason(unfit);
  document["coverage"] = {{"operations", coverage.operations},
                          {"covered_operations", coverage.covered_operations},
                          {"parameters", coverage.parameters},
                          {"covered_parameters", coverage.covered_parameters},
                          {"missed", std::move(missed)}};
  document["sites"] = std::move(list);
  return json_text(document) + "\n";
}

}  // namespace bitfall
