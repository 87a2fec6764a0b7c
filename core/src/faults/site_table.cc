#include "site_table.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "faults.h"
#include "text_table.h"

namespace bitfall {
namespace {

std::string slab_text(const Site& site) {
  if (site.shape.empty()) return site.values == 1 ? "scalar" : "-";
  std::string text;
  for (const auto extent : site.shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

std::int64_t stored_bits(const Site& site, const NumberFormat& format) {
  std::int64_t bits = 0;
  for (const SiteRegister& kind : site_registers(site, format)) bits += kind.bits * kind.count;
  return bits;
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
               shaped ? std::to_string(stored_bits(site, format)) : "-",
               site.refusal.empty() ? "" : "refused: " + site.refusal});
  }
  return table.render();
}

std::string sites_json(const std::vector<Site>& sites, const NumberFormat& format) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Site& site : sites) {
    nlohmann::ordered_json row;
    row["name"] = site.name;
    row["aliases"] = site.aliases;
    row["kind"] = to_string(site.target);
    row["operation"] = site.operation;
    row["shape"] = site.shape;
    row["values"] = site.values;
    row["bits"] = site.values > 0 ? stored_bits(site, format) : 0;
    row["refusal"] = site.refusal.empty() ? nlohmann::ordered_json(nullptr)
                                          : nlohmann::ordered_json(site.refusal);
    list.push_back(std::move(row));
  }
  nlohmann::ordered_json document;
  document["schema"] = "bitfall.sites/1";
  document["sites"] = std::move(list);
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace bitfall
