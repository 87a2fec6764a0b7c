#include "protected_arm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "dataset.h"
#include "error.h"
#include "json_file.h"
#include "model_costs.h"
#include "numbers.h"
#include "progress.h"

namespace bitfall {

ProtectedArm::ProtectedArm(std::vector<ProtectionEntry> entries,
                           const std::vector<FaultsConfig>& faults)
    : entries_(std::move(entries)) {
  for (const FaultsConfig& one : faults) guarding_.permanent.push_back(one.permanent);
}

void ProtectedArm::choose_sites(const Model& model, std::vector<const NumberFormat*>& by_site,
                                Diagnostics& diagnostics) {
  model_ = &model;
  answer_shape_ = {model.classes()};
  guarding_.twice.assign(model.sites().size(), false);
  for (const ProtectionEntry& entry : entries_) guard_sites(entry, by_site, diagnostics);
}

std::vector<std::int32_t> ProtectedArm::guarded_sites() const {
  std::vector<std::int32_t> sites;
  for (const auto& [site, guarded] : guarded_) sites.push_back(site);
  return sites;
}

void ProtectedArm::guard_sites(const ProtectionEntry& entry,
                               std::vector<const NumberFormat*>& by_site,
                               Diagnostics& diagnostics) {
  const ProtectConfig& config = entry.config;
  const bool answers = guard_answer(entry, diagnostics);
  // What guards the answer alone needs no sites, and the file then names none.
  const bool named = !config.operations_where.empty() || !config.sites_where.empty();
  Diagnostics ignored("", "");
  auto chosen = select_sites(model_->sites(), config, named || !answers ? diagnostics : ignored);
  if (config.operations_where.empty() && computes_twice(entry, chosen, by_site)) {
    SiteSelection costly = config;  // what a second computation is for
    costly.operations = {"conv", "linear"};
    chosen = select_sites(model_->sites(), costly, diagnostics);
  }
  bool any = false;
  for (const std::int32_t site : chosen) {
    any = guard_site(entry, site, by_site, diagnostics) || any;
  }
  if (any || !diagnostics.empty()) return;
  const std::string protection = "protection '" + config.protection.id + "'";
  if (!answers) {
    diagnostics.add(config.where, protection + " guards none of the selected sites",
                    "choose others by 'operations' and 'sites'");
  } else if (named || config.target != Target::kActivation) {
    diagnostics.add(config.where,
                    protection + " guards the answer, and none of the sites that this entry selects",
                    "leave out 'target', 'operations' and 'sites'");
  }
}

bool ProtectedArm::computes_twice(const ProtectionEntry& entry,
                                  const std::vector<std::int32_t>& sites,
                                  const std::vector<const NumberFormat*>& by_site) const {
  return std::any_of(sites.begin(), sites.end(), [&](std::int32_t index) {
    const auto place = static_cast<std::size_t>(index);
    const Site& site = model_->sites()[place];
    if (by_site[place]->refusal(site.shape) != nullptr) return false;
    const ProtectedSite guarded = protected_site(site, *by_site[place]);
    return entry.protection->wants(guarded) && entry.protection->computed_twice(guarded);
  });
}

bool ProtectedArm::guard_answer(const ProtectionEntry& entry, Diagnostics& diagnostics) {
  const ProtectedSite site{sizeof(ProtectedSite), "answer", "answer",
                           answer_shape_,         0,        std::numeric_limits<float>::max()};
  if (!entry.protection->wants(site)) return false;
  if (answer_) refuse_second(entry, "the answer", diagnostics);
  answer_ = AnswerGuard{entry.protection.get(), site, {}};
  guarding_.answer = &*answer_;
  return true;
}

/// True where the entry guards it.
bool ProtectedArm::guard_site(const ProtectionEntry& entry, std::int32_t index,
                              std::vector<const NumberFormat*>& by_site, Diagnostics& diagnostics) {
  const auto place = static_cast<std::size_t>(index);
  const Site& site = model_->sites()[place];
  const NumberFormat& format = *by_site[place];
  if (format.refusal(site.shape) != nullptr) return false;  // told by who checks formats
  const ProtectedSite guarded = protected_site(site, format);
  if (!entry.protection->wants(guarded)) return false;
  const bool twice = entry.protection->computed_twice(guarded);
  if (twice && site.target != Target::kActivation) return false;  // no operation makes it
  if (guarded_.count(index) + twice_.count(index) > 0) {
    refuse_second(entry, "site '" + site.name + "'", diagnostics);
    return true;
  }
  if (twice) {
    guarding_.twice[place] = true;
    twice_[index] = &entry;
    return true;
  }
  auto made = std::make_unique<ProtectedFormat>(format, *entry.protection, site, guarding_.record);
  by_site[place] = made.get();
  guarded_[index] = {std::move(made), &entry};
  return true;
}

void ProtectedArm::refuse_second(const ProtectionEntry& entry, const std::string& what,
                                 Diagnostics& diagnostics) const {
  diagnostics.add(
      entry.config.where,
      what + " is guarded by another [[protect]] entry of the name '" + name() + "', too",
      "entries of one name are one run, in which each guards places of its own; "
      "choose them by 'operations' and 'sites'");
}

Dataset open_learned(const DataConfig& data) {
  try {
    return Dataset::open(data);
  } catch (const Error& error) {
    throw Error(error.code(), "[learn]: " + std::string(error.what()));
  }
}

std::vector<LearnPlace> ProtectedArm::learn_places() const {
  std::vector<LearnPlace> places;
  for (const auto& [site, guarded] : guarded_) {
    places.push_back({guarded.by->protection.get(), &guarded.format->site(), site, {}});
  }
  if (answer_) places.push_back({answer_->protection, &answer_->site, -1, {}});
  return places;
}

bool ProtectedArm::learns() const {
  const auto places = learn_places();
  return std::any_of(places.begin(), places.end(), [&](const LearnPlace& place) {
    return place.protection->passes() > 0 && place.protection->state_size(*place.site) > 0;
  });
}

bool ProtectedArm::learn(const DataConfig& data, const std::atomic<bool>& stop) {
  if (!learns()) return true;
  std::vector<LearnPlace> places = learn_places();
  if (data.path.empty()) {
    throw Error(ExitCode::kUsage, "protection '" + name() +
                                      "' learns from images: give [learn] path, images of the "
                                      "training set, not those that are attacked");
  }
  const Dataset images = open_learned(data);
  Progress progress("learn: images", images_to_learn(images, places), 0);
  const bool done = bitfall::learn(*model_, images, places, stop,
                                   [&](std::int64_t count) { progress.update(count); });
  progress.finish();
  if (!done) return false;
  std::size_t next = 0;
  for (const auto& [site, guarded] : guarded_) guarded.format->set_state(places[next++].state);
  if (answer_) answer_->state = places.back().state;
  learned_from_ =
      data.path.string() + ", " + std::to_string(images.size()) + " images, " + images.digest();
  return true;
}

std::vector<SiteProfile> ProtectedArm::with_state(std::vector<SiteProfile> profiles) const {
  for (const auto& [site, guarded] : guarded_) {
    auto& metadata = profiles.at(static_cast<std::size_t>(site)).metadata;
    metadata = guarded.format->with_state(std::move(metadata));
  }
  return profiles;
}

// JSON, in which numbers that are not finite are text.
std::string ProtectedArm::answer_state() const {
  if (!answer_ || answer_->state.empty()) return "";
  nlohmann::json list;
  for (const float value : answer_->state) {
    list.push_back(std::isfinite(value) ? nlohmann::json(value)
                                        : nlohmann::json(exact_text(value)));
  }
  return json_text(list, -1);
}

void ProtectedArm::set_answer_state(const std::string& text) {
  if (!answer_ || text.empty()) return;
  answer_->state.clear();
  for (const auto& value : nlohmann::json::parse(text)) {
    answer_->state.push_back(
        value.is_string() ? static_cast<float>(parse_number(value.get<std::string>()).value())
                          : value.get<float>());
  }
}

ProtectionCost ProtectedArm::cost(const ModelCosts& costs) const {
  ProtectionCost cost;
  const auto add = [&](const Protection& protection, const ProtectedSite& site) {
    const ProtectionCost own = protection.cost(site);
    cost.operations += own.operations;
    cost.stored_bits += own.stored_bits;
  };
  for (const auto& [site, guarded] : guarded_) add(*guarded.by->protection, guarded.format->site());
  if (answer_) add(*answer_->protection, answer_->site);
  for (const auto& [site, entry] : twice_) {
    const std::string& name = model_->sites()[static_cast<std::size_t>(site)].name;
    const std::string module = name.substr(0, name.find('/'));
    cost.operations += static_cast<double>(costs_below(costs, module).operations);
  }
  return cost;
}

/// "range 1.0 (granularity = neuron): 3 sites guarded".
std::string ProtectedArm::guarded_by(const ProtectionEntry& entry) const {
  std::string guarded;
  const auto list = [&](const std::string& part) {
    guarded += (guarded.empty() ? "" : ", ") + part;
  };
  const auto sites = [](std::ptrdiff_t count) {
    return std::to_string(count) + (count == 1 ? " site " : " sites ");
  };
  const auto formats = std::count_if(guarded_.begin(), guarded_.end(), [&](const auto& guarded) {
    return guarded.second.by == &entry;
  });
  const auto twice = std::count_if(twice_.begin(), twice_.end(),
                                   [&](const auto& site) { return site.second == &entry; });
  if (formats > 0) list(sites(formats) + "guarded");
  if (twice > 0) list(sites(twice) + "computed twice");
  if (answer_ && answer_->protection == entry.protection.get()) list("the answer guarded");
  return to_string(component_fact(entry.config.protection)) + ": " + guarded;
}

void ProtectedArm::tell(RunFacts& facts) const {
  facts.protection = name();
  std::string detail;
  for (const ProtectionEntry& entry : entries_) {
    detail += (detail.empty() ? "" : "; ") + guarded_by(entry);
  }
  facts.protection_detail = detail;
  const ModelCosts costs = model_costs(*model_);
  const ProtectionCost cost = this->cost(costs);
  const auto whole = static_cast<double>(costs.operations);
  char share[128];
  std::snprintf(share, sizeof share, "%.0f operations (%.3g %% of the network's), %lld bits",
                cost.operations, whole > 0 ? 100 * cost.operations / whole : 0,
                static_cast<long long>(cost.stored_bits));
  facts.protection_cost = share;
  if (!learned_from_.empty()) facts.learned_from = learned_from_;
  if (const std::string state = answer_state(); !state.empty()) facts.answer_state = state;
}

}  // namespace bitfall
