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

ProtectedArm::ProtectedArm(std::unique_ptr<Protection> protection, const ProtectConfig& entry,
                           const std::vector<FaultsConfig>& faults)
    : protection_(std::move(protection)), entry_(entry) {
  for (const FaultsConfig& one : faults) guarding_.permanent.push_back(one.permanent);
}

void ProtectedArm::guard_answer(const Model& model) {
  answer_shape_ = {model.classes()};
  const ProtectedSite site{sizeof(ProtectedSite), "answer", "answer",
                           answer_shape_,         0,        std::numeric_limits<float>::max()};
  if (!protection_->wants(site)) return;
  answer_ = AnswerGuard{protection_.get(), site, {}};
  guarding_.answer = &*answer_;
}

void ProtectedArm::choose_sites(const Model& model, std::vector<const NumberFormat*>& by_site,
                                Diagnostics& diagnostics) {
  model_ = &model;
  guard_answer(model);
  const auto& sites = model.sites();
  // What guards the answer alone needs no sites, and the file then names none.
  const bool named = !entry_.operations_where.empty() || !entry_.sites_where.empty();
  Diagnostics ignored("", "");
  const bool needed = named || !answer_;
  guarding_.twice.assign(sites.size(), false);
  for (const std::int32_t index : select_sites(sites, entry_, needed ? diagnostics : ignored)) {
    const auto place = static_cast<std::size_t>(index);
    const NumberFormat& format = *by_site[place];
    if (format.refusal(sites[place].shape) != nullptr) continue;  // told by who checks formats
    const ProtectedSite site = protected_site(sites[place], format);
    if (!protection_->wants(site)) continue;
    sites_.push_back(index);
    guarding_.twice[place] = protection_->computed_twice(site);
    if (guarding_.twice[place]) continue;
    formats_.push_back(
        std::make_unique<ProtectedFormat>(format, *protection_, sites[place], guarding_.record));
    by_site[place] = formats_.back().get();
  }
  if (sites_.empty() && !answer_ && diagnostics.empty()) {
    diagnostics.add(entry_.where,
                    "protection '" + entry_.protection.id + "' guards none of the selected sites",
                    "choose others by 'operations' and 'sites'");
  }
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
  for (const std::int32_t site : sites_) {
    if (guarding_.twice[static_cast<std::size_t>(site)]) continue;
    places.push_back({protection_.get(), &formats_[places.size()]->site(), site, {}});
  }
  if (answer_) places.push_back({protection_.get(), &answer_->site, -1, {}});
  return places;
}

bool ProtectedArm::learns() const {
  const auto places = learn_places();
  return std::any_of(places.begin(), places.end(), [&](const LearnPlace& place) {
    return protection_->passes() > 0 && protection_->state_size(*place.site) > 0;
  });
}

bool ProtectedArm::learn(const DataConfig& data, const std::atomic<bool>& stop) {
  if (!learns()) return true;
  std::vector<LearnPlace> places = learn_places();
  if (data.path.empty()) {
    throw Error(ExitCode::kUsage, "protection '" + entry_.protection.id +
                                      "' learns from images: give [learn] path, images of the "
                                      "training set, not those that are attacked");
  }
  const Dataset images = open_learned(data);
  Progress progress("learn: images", images_to_learn(images, places), 0);
  const bool done = bitfall::learn(*model_, images, places, stop,
                                   [&](std::int64_t count) { progress.update(count); });
  progress.finish();
  if (!done) return false;
  for (std::size_t i = 0; i < formats_.size(); ++i) formats_[i]->set_state(places[i].state);
  if (answer_) answer_->state = places.back().state;
  learned_from_ =
      data.path.string() + ", " + std::to_string(images.size()) + " images, " + images.digest();
  return true;
}

std::vector<SiteProfile> ProtectedArm::with_state(std::vector<SiteProfile> profiles) const {
  std::size_t guarded = 0;
  for (const std::int32_t site : sites_) {
    const auto place = static_cast<std::size_t>(site);
    if (guarding_.twice[place]) continue;
    auto& metadata = profiles.at(place).metadata;
    metadata = formats_[guarded++]->with_state(std::move(metadata));
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

void ProtectedArm::tell(RunFacts& facts) const {
  facts.protection = entry_.name;
  ProtectionCost cost;
  const auto add = [&](const ProtectedSite& site) {
    const ProtectionCost own = protection_->cost(site);
    cost.operations += own.operations;
    cost.stored_bits += own.stored_bits;
  };
  for (const auto& format : formats_) add(format->site());
  if (answer_) add(answer_->site);
  const ModelCosts costs = model_costs(*model_);
  std::size_t twice = 0;
  for (std::size_t site = 0; site < guarding_.twice.size(); ++site) {
    if (!guarding_.twice[site]) continue;
    ++twice;
    const std::string& name = model_->sites()[site].name;
    const std::string module = name.substr(0, name.find('/'));
    cost.operations += static_cast<double>(costs_below(costs, module).operations);
  }
  std::string guarded;
  const auto list = [&](const std::string& part) {
    guarded += (guarded.empty() ? "" : ", ") + part;
  };
  const auto sites = [](std::size_t count) {
    return std::to_string(count) + (count == 1 ? " site " : " sites ");
  };
  if (!formats_.empty()) list(sites(formats_.size()) + "guarded");
  if (twice > 0) list(sites(twice) + "computed twice");
  if (answer_) list("the answer guarded");
  facts.protection_detail = to_string(component_fact(entry_.protection)) + ": " + guarded;
  char share[128];
  std::snprintf(
      share, sizeof share, "%.0f operations (%.3g %% of the network's), %lld bits", cost.operations,
      costs.operations > 0 ? 100 * cost.operations / static_cast<double>(costs.operations) : 0,
      static_cast<long long>(cost.stored_bits));
  facts.protection_cost = share;
  if (!learned_from_.empty()) facts.learned_from = learned_from_;
  if (const std::string state = answer_state(); !state.empty()) facts.answer_state = state;
}

}  // namespace bitfall
