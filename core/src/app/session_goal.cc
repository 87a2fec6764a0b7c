// Campaigns with a goal: the parts that their faults are divided into, and rounds of trials.

#include <algorithm>
#include <set>

#include "bit_parts.h"
#include "bitfall/extensions/bit_faults.h"
#include "bitfall/extensions/edit_condition.h"
#include "log.h"
#include "session.h"
#include "stratified.h"
#include "words.h"

namespace bitfall {

// Of a campaign with a goal, where populations are asked for and no trials.
Campaign Session::smallest(Campaign campaign) {
  for (FaultsConfig& entry : campaign.faults) entry.goal->minimum = 1;
  return campaign;
}

// Makes an entry of each part of the bits, whose faults are drawn by themselves, of one with a
// goal.
void Session::divide_faults(Diagnostics& diagnostics) {
  const FaultsConfig whole = campaign_.faults.front();
  if (fault_list_ || !whole.goal || facts_.sampling) return;
  const PrecisionGoal& goal = *whole.goal;
  facts_.sampling = {goal.of,
                     goal.halfwidth,
                     goal.confidence > 0 ? goal.confidence : campaign_.confidence,
                     goal.over == PrecisionOver::kLayers,
                     goal.maximum,
                     {},
                     {}};
  Diagnostics ignored("", "");  // told when the entry's own model is made
  const auto model = host_->make_error_model(whole.error_model, ignored);
  if (!model) return;
  if (model->extension(kEditCondition) != nullptr) {
    diagnostics.add(goal.where,
                    "error model '" + whole.error_model.id +
                        "' asks for the values that it hits, so that nobody knows how many faults "
                        "it has at a site, which precision as a table weighs by",
                    "give per_site, total or a number as precision");
    return;
  }
  if (!campaign_.protect.empty()) {
    diagnostics.add(campaign_.protect.front().where,
                    "a protection is compared trial by trial, each fault as likely as any other, "
                    "which precision as a table does not draw",
                    "give per_site, total or a number as precision");
    return;
  }
  std::vector<FaultsConfig> parts;
  if (model->extension(kBitFaults) != nullptr) parts = parts_of(whole);
  if (parts.empty()) return;
  undivided_ = whole;
  campaign_.faults = std::move(parts);
}

// Empty where it names its bits itself, or hits others than the payload's.
std::vector<FaultsConfig> Session::parts_of(const FaultsConfig& whole) {
  for (const GivenOption& option : whole.error_model.options) {
    const auto* text = std::get_if<std::string>(&option.value);
    if (option.name == "bit_range") return {};
    if (option.name == "registers" && (text == nullptr || *text != "payload")) return {};
    if (option.name == "bit_class" && text != nullptr && *text == "metadata") return {};
  }
  std::vector<const NumberFormat*> formats;
  for (const auto& format : formats_) {
    if (!format) return {};
    formats.push_back(format.get());
  }
  std::vector<FaultsConfig> parts;
  for (const BitRange& bits : bit_parts(formats)) {
    FaultsConfig& part = parts.emplace_back(whole);
    part.part = {bits};
    part.error_model.options.push_back(
        {"bit_range", std::vector<std::int64_t>{bits.first, bits.last}, {}, {}});
    facts_.sampling->parts.push_back(*part.part);
  }
  return parts;
}

// Whether faults are drawn by the values that they find.
bool Session::by_values() const {
  return std::any_of(campaign_.faults.begin(), campaign_.faults.end(),
                     [](const auto& entry) { return entry.part && entry.part->by_value(); });
}

// Divides the bits' parts by what a fault finds, too, where that can be counted ahead: not where
// the counts would take more memory than a hundred megabytes or two.
void Session::divide_by_values(std::vector<std::vector<std::int32_t>>& entries,
                               Diagnostics& diagnostics) {
  constexpr double kMostCounts = 1 << 25;
  if (!undivided_ || by_values()) return;
  std::vector<const NumberFormat*> formats;
  for (const auto& format : formats_) formats.push_back(format.get());
  const std::vector<FaultPart> parts = parts_by_values(formats);
  const auto classes = std::count_if(parts.begin(), parts.end(),
                                     [](const FaultPart& part) { return part.by_value(); });
  const double counts = static_cast<double>(classes) * static_cast<double>(entries.front().size()) *
                        static_cast<double>(dataset_->size());
  if (classes == 0) return;
  if (counts > kMostCounts) {
    log_info("faults are drawn by layers and bits, not by the values that they find: " +
             std::to_string(dataset_->size()) + " images have too many");
    return;
  }
  // Where a goal takes few trials, a pilot of so many strata takes too large a part of them.
  constexpr double kRate = 0.02, kMostOfAll = 0.2;
  const SamplingFact& sampling = *facts_.sampling;
  const double pilot = static_cast<double>(parts.size() * entries.front().size()) * kLeastPilot;
  if (pilot > kMostOfAll * simple_trials(kRate, sampling.halfwidth, sampling.confidence)) return;
  if (!hit_any_element(entries)) return;
  std::vector<FaultsConfig> faults;
  for (const FaultPart& part : parts) {
    const auto of =
        std::find_if(campaign_.faults.begin(), campaign_.faults.end(),
                     [&](const FaultsConfig& entry) { return entry.part->bits == part.bits; });
    faults.push_back(*of);
    faults.back().part = part;
  }
  campaign_.faults = std::move(faults);
  facts_.sampling->parts = parts;
  error_models_.clear();
  for (const FaultsConfig& entry : campaign_.faults) {
    error_models_.push_back(host_->make_error_model(entry.error_model, diagnostics));
  }
  entries.assign(campaign_.faults.size(), entries.front());
}

// Whether each element of a site has faults in all bits of a part, or none has: then they are as
// many as values are counted.
bool Session::hit_any_element(const std::vector<std::vector<std::int32_t>>& entries) const {
  const auto& sites = model_->sites();
  for (const std::int32_t site : entries.front()) {
    const auto& shape = sites[static_cast<std::size_t>(site)].shape;
    if (format(site).refusal(shape) != nullptr) return false;  // is told by who checks formats
  }
  std::vector<const ErrorModel*> models;
  for (const auto& model : error_models_) {
    if (model->needs_golden_range()) return false;  // is not known yet
    models.push_back(model.get());
  }
  Diagnostics ignored("", "");  // told when the plan is drawn
  const Plan plan = Plan::draw(smallest(campaign_), sites, *site_formats_, dataset_->size(),
                               entries, models, ignored);
  const auto& strata = plan.strata();
  return std::all_of(strata.begin(), strata.end(), [&](const Stratum& stratum) {
    const auto& bits = campaign_.faults[static_cast<std::size_t>(stratum.entry)].part->bits;
    const int last = std::min(bits.last, format(stratum.site).registers()[0].bits - 1);
    const auto values = static_cast<double>(sites[static_cast<std::size_t>(stratum.site)].values);
    const double all = values * (last - bits.first + 1) * static_cast<double>(dataset_->size());
    return stratum.population == 0 || stratum.population == all;
  });
}

// Throws where the parts together are not the entry's faults.
void Session::check_division(const SiteFormats& formats) const {
  Campaign whole = campaign_;
  whole.faults = {*undivided_};
  Diagnostics diagnostics(campaign_.file.string(), campaign_.text);
  const auto model = host_->make_error_model(undivided_->error_model, diagnostics);
  const Plan plan = Plan::draw(smallest(whole), model_->sites(), formats, dataset_->size(),
                               {entries_.front()}, {model.get()}, diagnostics, engine_->profiles());
  diagnostics.throw_if_any();
  std::map<std::int32_t, double> faults;
  for (const Stratum& stratum : plan_->strata()) faults[stratum.site] += stratum.population;
  for (const Stratum& stratum : plan.strata()) {
    const double parts = faults[stratum.site];
    if (std::abs(parts - stratum.population) <= 1e-9 * stratum.population) continue;
    diagnostics.add(undivided_->goal->where,
                    "error model '" + undivided_->error_model.id +
                        "' has faults of several bits, or of none, which precision as a table "
                        "cannot draw by bits",
                    "give per_site, total or a number as precision");
    diagnostics.throw_if_any();
  }
}

// The rate that a goal is of must be one that the campaign measures.
void Session::check_goal(const std::set<std::string>& columns, Diagnostics& diagnostics) const {
  if (!facts_.sampling) return;
  std::vector<std::string> events;
  for (const StoredColumn& column : columns_) {
    if (column.kind == ColumnKind::kEvent) events.push_back(column.name);
  }
  const std::string& of = facts_.sampling->of;
  if (std::find(events.begin(), events.end(), of) != events.end()) return;
  const std::string near = did_you_mean(of, events);
  diagnostics.add(campaign_.faults.front().goal->where,
                  "'of' names '" + of + "', which is " +
                      (columns.contains(of) ? "no event but a quantity" : "no metric's column"),
                  !near.empty()    ? near
                  : events.empty() ? "the metrics of [metrics] ids have none: add 'mismatch'"
                                   : "its events are " + joined(events, ", "));
}

void Session::extend_plan(const std::vector<std::int64_t>& more) {
  plan_->extend(more);
  facts_.sampling->rounds.push_back(more);
}

// How many trials of each stratum come ahead of the first look, by how many there are. Those of the
// values that a bit's faults find share what one of the bit alone has.
void Session::set_pilot(const Plan& smallest) {
  const SamplingFact& sampling = *facts_.sampling;
  const bool given = campaign_.faults.front().goal->minimum > 0;
  std::vector<std::int64_t> strata(campaign_.faults.size(), 0);
  double shares = 0;
  for (const Stratum& stratum : smallest.strata()) {
    if (stratum.population <= 0) continue;
    const auto entry = static_cast<std::size_t>(stratum.entry);
    ++strata[entry];
    shares += campaign_.faults[entry].part && campaign_.faults[entry].part->by_value()
                  ? 1.0 / kValueClasses
                  : 1;
  }
  const std::int64_t each =
      pilot_trials({sampling.halfwidth, sampling.confidence, sampling.maximum}, shares);
  std::int64_t pilot = 0, all = 0;
  for (std::size_t i = 0; i < strata.size(); ++i) {
    FaultsConfig& entry = campaign_.faults[i];
    const bool share = entry.part && entry.part->by_value();
    if (!given) entry.goal->minimum = share ? std::max(kLeastPilot, each / kValueClasses) : each;
    pilot += entry.goal->minimum * strata[i];
    all += strata[i];
  }
  // A round has two trials of each at least.
  if (pilot + 2 * all <= sampling.maximum) return;
  Diagnostics diagnostics(campaign_.file.string(), campaign_.text);
  diagnostics.add(campaign_.faults.front().goal->where,
                  "asks for at most " + std::to_string(sampling.maximum) +
                      " trials, and a pilot of " + std::to_string(pilot) + " in " +
                      std::to_string(all) + " strata, with a round, takes more",
                  "raise maximum, lower minimum, or hit fewer sites");
  diagnostics.throw_if_any();
}

}  // namespace bitfall
