#include "plan.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bit_parts.h"
#include "error.h"
#include "image_orders.h"
#include "philox.h"
#include "sha256.h"
#include "statistics.h"

namespace bitfall {
namespace {

constexpr double kMostTrials = 1e10;  // what is kept of each while a campaign runs fits in memory
constexpr double kWorstRate = 0.5;    // the rate at which an interval is widest

/// A site as an error model sees it.
struct SiteRegisters {
  std::vector<SiteRegister> registers;
  Range golden;
  float largest = 0;
};

/// One [[faults]] entry: its trials stand together, those of its first stratum first, or (with
/// `total`) mixed.
struct FaultsEntry {
  const ErrorModel* model = nullptr;
  const EditCondition* condition = nullptr;
  std::string name;        // "error model 'bit_flip'"
  std::int64_t first = 0;  // id of its first trial
  std::int64_t trials = 0;
  std::int64_t copies = 1;       // trials per fault: all images if it is permanent
  std::size_t strata_begin = 0;  // its strata: from begin to end, exclusive
  std::size_t strata_end = 0;
  bool mixed = false;
  std::optional<FaultPart> part;  // each fault is one of these
  std::optional<FindsClass> finds;
  // By stratum counted from strata_begin:
  std::vector<double> cumulative;                   // populations of faults added up
  std::vector<std::vector<std::uint32_t>> members;  // of a mixed entry: faults, counted from
                                                    // `first`, ascending
};

/// Collects what a model draws.
class Edits final : public EditSink {
 public:
  void add(const Edit& edit) override { edits.push_back(edit); }
  std::vector<Edit> edits;
};

/// What a stratum's faults and images are drawn by: its name and not its number, so that networks
/// which share a layer, and may differ in others, meet the same faults there.
std::uint64_t stratum_key(std::int32_t entry, const Site& site) {
  const std::string text = std::to_string(entry) + " " +
                           std::to_string(static_cast<int>(site.target)) + " " +
                           std::string(name_in_backbone(site.name));
  return std::stoull(sha256_text(text).substr(0, 16), nullptr, 16);
}

std::string describe(const std::string& what, const Site& site, std::int64_t trial) {
  return what + " at site '" + site.name + "' (trial " + std::to_string(trial) + ")";
}

/// "" if the edit fits, else what is wrong with it.
std::string problem_of(const Edit& edit, std::span<const SiteRegister> registers) {
  const auto index = static_cast<std::size_t>(edit.register_index);
  if (edit.register_index < 0 || index >= registers.size()) {
    return "register number " + std::to_string(edit.register_index) + ", but the format has " +
           std::to_string(registers.size());
  }
  const SiteRegister& place = registers[index];
  const std::string name = std::string("register '") + place.name + "'";
  if (edit.element < 0 || edit.element >= place.count) {
    return "element " + std::to_string(edit.element) + " of " + name + ", which has " +
           std::to_string(place.count);
  }
  switch (edit.operation) {
    case EditOperation::kValue:
    case EditOperation::kAdd:
    case EditOperation::kMultiply:
      return edit.register_index == 0 ? "" : "a real value for " + name;
    case EditOperation::kFlip:
    case EditOperation::kSet:
    case EditOperation::kClear:
    case EditOperation::kWrite:
      break;
    default:
      return "operation number " + std::to_string(static_cast<int>(edit.operation));
  }
  if (place.bits < 32 && edit.mask >> place.bits != 0) {
    return "mask " + std::to_string(edit.mask) + " for " + name + " of " +
           std::to_string(place.bits) + " bits";
  }
  return "";
}

/// Whether these are the edits of a fault in one of these bits of the payload.
bool is_in(const BitRange& bits, std::span<const Edit> edits) {
  const Edit& edit = edits.front();
  return edits.size() == 1 && edit.register_index == 0 && std::popcount(edit.mask) == 1 &&
         std::countr_zero(edit.mask) >= bits.first && std::countr_zero(edit.mask) <= bits.last;
}

/// "'payload' with bits 0 to 7, 'scale' with bits 0 to 31"
std::string register_names(std::span<const SiteRegister> registers) {
  std::string names;
  for (const SiteRegister& kind : registers) {
    names += (names.empty() ? "'" : ", '") + std::string(kind.name) + "' with bits 0 to " +
             std::to_string(kind.bits - 1);
  }
  return names;
}

/// "check 'bit_range', 'registers': ", or nothing.
std::string given_options(const PluginChoice& choice) {
  std::string names;
  for (const GivenOption& option : choice.options) {
    names += (names.empty() ? "'" : ", '") + option.name + "'";
  }
  return names.empty() ? "" : "check " + names + ": ";
}

}  // namespace

struct Plan::State {
  std::uint64_t seed = 0;
  std::int64_t images = 0;
  double confidence = 0;
  std::optional<SiteFormats> formats;
  std::vector<Site> sites;
  std::vector<SiteRegisters> registers;  // by site; filled for the planned ones
  std::vector<SiteProfile> profiles;     // by site, or empty
  std::vector<FaultsEntry> entries;
  std::vector<Stratum> strata;
  std::vector<std::int64_t>
      stratum_first;  // id of a stratum's first trial; of no use in a mixed entry
  std::vector<std::uint64_t> stratum_keys;
  std::vector<std::uint32_t> most_found;  // by stratum: of values_found()
  std::unique_ptr<ImageOrders> orders;
  /// Trials of one stratum that stand together behind those of the entries.
  struct Extension {
    std::int64_t first = 0;  // id
    std::size_t stratum = 0;
    std::int64_t rank = 0;  // of the first
  };
  std::vector<Extension> extensions;  // by rising id
  std::vector<ListedFault> list;      // instead of all that, for a fault list
  std::int64_t trials = 0;

  /// A trial among those of its stratum.
  struct TrialRank {
    const FaultsEntry* entry = nullptr;
    std::size_t stratum = 0;
    std::int64_t rank = 0;  // of the trial's fault in its stratum
  };

  void set_registers(std::int32_t site);
  double population(const FaultsEntry& entry, std::int32_t site) const;
  double faults_at(const FaultsEntry& entry, std::int32_t site) const;
  std::span<const std::uint32_t> values_found(const FaultsEntry& entry, std::int32_t site) const;
  std::int32_t image(const TrialRank& of) const;
  SiteView view(std::int32_t site, const ErrorModel& model) const;
  void add_entry(std::int32_t index, const FaultsConfig& config,
                 std::span<const std::int32_t> selected, const ErrorModel& model,
                 Diagnostics& diagnostics);
  std::int64_t faults_per_site(const FaultsConfig& config) const;
  double add_strata(FaultsEntry& entry, std::int32_t index, const FaultsConfig& config,
                    std::span<const std::int32_t> selected);
  void add_mixed_trials(FaultsEntry& entry, std::int64_t total);
  std::size_t drawn_stratum(const FaultsEntry& entry, std::int64_t id) const;
  TrialRank find(std::int64_t id) const;
  PhiloxStream stream(const Trial& trial) const;
  std::vector<Edit> draw_edits(const Trial& trial, PhiloxStream& random) const;
};

/// Registers, golden range and largest value of one site, from the profiles where there are any.
void Plan::State::set_registers(std::int32_t site) {
  const auto index = static_cast<std::size_t>(site);
  SiteRegisters& own = registers[index];
  const NumberFormat& format = formats->of(site);
  own.registers = site_registers(sites[index], format);
  if (!profiles.empty()) own.golden = profiles[index].golden;
  if (profiles.empty() || profiles[index].metadata.empty()) {
    own.largest = largest_number(format, sites[index].shape);
    return;
  }
  std::vector<std::uint32_t> metadata = profiles[index].metadata;
  // More where a protection's registers follow.
  metadata.resize(static_cast<std::size_t>(metadata_size(format, sites[index].shape)));
  own.largest = format.largest(metadata);
}

constexpr Range kNoRange{std::numeric_limits<float>::quiet_NaN(),
                         std::numeric_limits<float>::quiet_NaN()};

// A model that does not say that it reads golden ranges has none, whether others made them known.
SiteView Plan::State::view(std::int32_t site, const ErrorModel& model) const {
  const Site& described = sites[static_cast<std::size_t>(site)];
  const SiteRegisters& own = registers[static_cast<std::size_t>(site)];
  return {sizeof(SiteView),
          described.name,
          described.target,
          described.shape,
          own.registers,
          model.needs_golden_range() ? own.golden : kNoRange,
          own.largest,
          described.operation,
          site,
          channel_axis(described),
          fan_in(described)};
}

double Plan::State::population(const FaultsEntry& entry, std::int32_t site) const {
  const double count = entry.model->population(view(site, *entry.model));
  if (std::isfinite(count) && count >= 0) return count;
  throw Error(ExitCode::kPlugin, entry.name + " gives " + std::to_string(count) +
                                     " as its population of faults at site '" +
                                     sites[static_cast<std::size_t>(site)].name +
                                     "'; it must be a number from 0 on");
}

/// Of one class, by image; one number where all images share the values. Of an entry whose faults
/// find any, empty.
std::span<const std::uint32_t> Plan::State::values_found(const FaultsEntry& entry,
                                                         std::int32_t site) const {
  if (!entry.finds) return {};
  if (profiles.empty()) throw std::logic_error("the plan needs the values' classes");
  return profiles[static_cast<std::size_t>(site)].values.of(entry.part->bits.first,
                                                            entry.part->finds);
}

/// Faults of the entry at a site in an image, or in the mean of images.
double Plan::State::faults_at(const FaultsEntry& entry, std::int32_t site) const {
  const double all = population(entry, site);
  if (!entry.finds || all <= 0) return all;
  double found = 0;
  const auto counts = values_found(entry, site);
  for (const std::uint32_t count : counts) found += count;
  return counts.empty() ? 0 : found / static_cast<double>(counts.size());
}

// Draws are with replacement, so that a small population needs no fewer.
std::int64_t Plan::State::faults_per_site(const FaultsConfig& config) const {
  if (config.goal) return config.goal->minimum;
  return config.precision ? sample_size(*config.precision, confidence, kWorstRate, 0)
                          : config.per_site.value_or(kDefaultPerSite);
}

/// Adds the entry's strata, without the trials of a mixed entry. How many trials are asked for.
double Plan::State::add_strata(FaultsEntry& entry, std::int32_t index, const FaultsConfig& config,
                               std::span<const std::int32_t> selected) {
  const auto copies = static_cast<double>(entry.copies);
  double wanted = entry.mixed ? copies * static_cast<double>(*config.total) : 0;
  entry.strata_begin = strata.size();
  for (const std::int32_t site : selected) {
    set_registers(site);
    const double faults = faults_at(entry, site);
    const double population = config.permanent ? faults : faults * static_cast<double>(images);
    const bool mixed = entry.mixed || config.goal;
    Stratum stratum{index, site, population, 0, config.permanent, mixed};
    if (faults > 0 && !entry.mixed) {
      const std::int64_t here = faults_per_site(config);
      wanted += copies * static_cast<double>(here);
      stratum.trials = wanted > kMostTrials ? 0 : entry.copies * here;
    }
    entry.cumulative.push_back((entry.cumulative.empty() ? 0 : entry.cumulative.back()) + faults);
    strata.push_back(stratum);
    stratum_keys.push_back(stratum_key(index, sites[static_cast<std::size_t>(site)]));
    const auto found = values_found(entry, site);
    most_found.push_back(found.empty() ? 0 : *std::max_element(found.begin(), found.end()));
    stratum_first.push_back(trials + entry.trials);
    entry.trials += stratum.trials;
  }
  entry.strata_end = strata.size();
  return wanted;
}

void Plan::State::add_entry(std::int32_t index, const FaultsConfig& config,
                            std::span<const std::int32_t> selected, const ErrorModel& model,
                            Diagnostics& diagnostics) {
  FaultsEntry entry;
  entry.model = &model;
  entry.condition = static_cast<const EditCondition*>(model.extension(kEditCondition));
  entry.name = "error model '" + config.error_model.id + "'";
  entry.first = trials;
  entry.mixed = config.total.has_value();
  entry.part = config.part;
  if (config.part && config.part->by_value()) entry.finds.emplace(config.part->finds);
  entry.copies = config.permanent ? images : 1;
  const double wanted = static_cast<double>(trials) + add_strata(entry, index, config, selected);
  if (wanted > kMostTrials) {
    diagnostics.add(config.where,
                    "asks for more than " + std::to_string(static_cast<std::int64_t>(kMostTrials)) +
                        " trials in all",
                    "lower per_site or total, or give a larger precision");
  } else if (!selected.empty() && entry.cumulative.back() <= 0 && !config.part) {
    const auto first = static_cast<std::size_t>(selected.front());
    const bool named = config.error_model.where.line > 0;
    diagnostics.add(named ? config.error_model.where : config.where,
                    entry.name + " can hit none of the " + std::to_string(selected.size()) +
                        " selected sites in their format",
                    given_options(config.error_model) + "the format of '" + sites[first].name +
                        "' has the registers " + register_names(registers[first].registers));
  } else if (!selected.empty() && entry.mixed) {
    add_mixed_trials(entry, *config.total);
  }
  trials += entry.trials;
  entries.push_back(std::move(entry));
}

/// Draws a site for each fault, and notes which faults each site got.
void Plan::State::add_mixed_trials(FaultsEntry& entry, std::int64_t total) {
  assert(total <= std::numeric_limits<std::uint32_t>::max());
  entry.trials = total * entry.copies;
  entry.members.resize(entry.cumulative.size());
  for (std::int64_t i = 0; i < total; ++i) {
    entry.members[drawn_stratum(entry, entry.first + i * entry.copies)].push_back(
        static_cast<std::uint32_t>(i));
  }
  for (std::size_t s = 0; s < entry.members.size(); ++s) {
    entry.members[s].shrink_to_fit();
    strata[entry.strata_begin + s].trials =
        entry.copies * static_cast<std::int64_t>(entry.members[s].size());
  }
}

/// The stratum of a mixed entry that the fault whose first trial is `id` belongs to, counted from
/// the entry's first.
std::size_t Plan::State::drawn_stratum(const FaultsEntry& entry, std::int64_t id) const {
  PhiloxStream random(seed, RandomDomain::kSiteChoice, static_cast<std::uint64_t>(id));
  const double point = random.uniform() * entry.cumulative.back();
  // The first sum above the point: a stratum without faults adds nothing and is never the first.
  // Rounding may put the point on the last sum; the last stratum with faults is the first to reach
  // that.
  auto chosen = std::upper_bound(entry.cumulative.begin(), entry.cumulative.end(), point);
  if (chosen == entry.cumulative.end()) {
    chosen =
        std::lower_bound(entry.cumulative.begin(), entry.cumulative.end(), entry.cumulative.back());
  }
  return static_cast<std::size_t>(chosen - entry.cumulative.begin());
}

Plan::State::TrialRank Plan::State::find(std::int64_t id) const {
  if (!extensions.empty() && id >= extensions.front().first) {
    const auto next = std::upper_bound(
        extensions.begin(), extensions.end(), id,
        [](std::int64_t i, const Extension& extension) { return i < extension.first; });
    const Extension& within = *(next - 1);
    const auto entry = static_cast<std::size_t>(strata[within.stratum].entry);
    return {&entries[entry], within.stratum, within.rank + (id - within.first)};
  }
  // An entry or stratum without trials begins where the next one does, so the last that begins at
  // or before `id` holds it.
  const auto after =
      std::upper_bound(entries.begin(), entries.end(), id,
                       [](std::int64_t i, const FaultsEntry& e) { return i < e.first; });
  const FaultsEntry& entry = *(after - 1);
  const std::int64_t fault = (id - entry.first) / entry.copies;
  if (entry.mixed) {
    const std::size_t member = drawn_stratum(entry, entry.first + fault * entry.copies);
    const std::vector<std::uint32_t>& faults = entry.members[member];
    const auto place =
        std::lower_bound(faults.begin(), faults.end(), static_cast<std::uint32_t>(fault));
    return {&entry, entry.strata_begin + member, place - faults.begin()};
  }
  const auto begin = stratum_first.begin();
  const auto next = std::upper_bound(begin + static_cast<std::ptrdiff_t>(entry.strata_begin),
                                     begin + static_cast<std::ptrdiff_t>(entry.strata_end), id);
  const auto stratum = static_cast<std::size_t>(next - begin) - 1;
  return {&entry, stratum, (id - stratum_first[stratum]) / entry.copies};
}

PhiloxStream Plan::State::stream(const Trial& trial) const {
  const auto [entry, stratum, rank] = find(trial.id);
  if (entry->model->needs_golden_range() && profiles.empty()) {
    throw std::logic_error(entry->name + " needs golden ranges: call set_profiles first");
  }
  return {seed, RandomDomain::kTrial, stratum_keys[stratum] + static_cast<std::uint64_t>(rank)};
}

std::vector<Edit> Plan::State::draw_edits(const Trial& trial, PhiloxStream& random) const {
  const FaultsEntry& entry = entries[static_cast<std::size_t>(trial.entry)];
  const Site& site = sites[static_cast<std::size_t>(trial.site)];
  Edits sink;
  entry.model->draw(view(trial.site, *entry.model), random, sink);
  if (sink.edits.empty()) {
    throw Error(ExitCode::kPlugin, describe(entry.name + " drew no edit", site, trial.id));
  }
  const SiteRegisters& own = registers[static_cast<std::size_t>(trial.site)];
  for (const Edit& edit : sink.edits) {
    const std::string problem = problem_of(edit, own.registers);
    if (!problem.empty()) {
      throw Error(
          ExitCode::kPlugin,
          describe(entry.name + " drew an impossible edit", site, trial.id) + ": " + problem);
    }
  }
  if (entry.part && !is_in(entry.part->bits, sink.edits)) {
    throw Error(
        ExitCode::kPlugin,
        describe(entry.name + " drew another fault", site, trial.id) + ": " +
            "it says that each of its faults is of one bit (bit_faults), and is asked for " +
            to_string(entry.part->bits) + " of the payload");
  }
  return std::move(sink.edits);
}

// Where faults find values of one class, an image as likely as it has such values: images are drawn
// one by one and taken as often as theirs is of the most.
std::int32_t Plan::State::image(const TrialRank& of) const {
  const auto& [entry, stratum, rank] = of;
  const Stratum& place = strata[stratum];
  const auto counts = values_found(*entry, place.site);
  if (counts.size() <= 1) return orders->image(stratum_keys[stratum], rank, place.trials);
  const double most = most_found[stratum];
  PhiloxStream random(seed, RandomDomain::kImageOfClass,
                      stratum_keys[stratum] + static_cast<std::uint64_t>(rank));
  while (true) {
    const std::uint64_t drawn = random.below(counts.size());
    if (random.uniform() * most < counts[drawn]) return static_cast<std::int32_t>(drawn);
  }
}

Plan::Plan(std::unique_ptr<State> state) : state_(std::move(state)) {}
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;

Plan Plan::draw(const Campaign& campaign, std::span<const Site> sites, const SiteFormats& formats,
                std::int32_t images, std::vector<std::vector<std::int32_t>> entries,
                std::vector<const ErrorModel*> models, Diagnostics& diagnostics,
                std::vector<SiteProfile> profiles) {
  assert(entries.size() == campaign.faults.size() && models.size() == entries.size());
  if (images < 1) throw Error(ExitCode::kInput, "the data have no image to draw trials for");
  auto state = std::make_unique<State>();
  state->seed = campaign.seed;
  state->images = images;
  state->confidence = campaign.confidence;
  state->formats = formats;
  state->sites.assign(sites.begin(), sites.end());
  state->registers.resize(sites.size());
  if (!profiles.empty() && profiles.size() != sites.size()) {
    throw std::logic_error("Plan::draw needs one profile per site");
  }
  state->profiles = std::move(profiles);
  // Whatever the batch: a campaign's trials must not depend on what a machine is fast with. Smaller
  // batches divide these chunks.
  constexpr std::int64_t kTogether = 32;
  state->orders =
      std::make_unique<ImageOrders>(campaign.seed, ImageChunks(campaign.seed, images, kTogether));
  for (std::size_t e = 0; e < entries.size(); ++e) {
    state->add_entry(static_cast<std::int32_t>(e), campaign.faults[e], entries[e], *models[e],
                     diagnostics);
  }
  return Plan(std::move(state));
}

Plan Plan::from_list(std::vector<ListedFault> faults, std::span<const Site> sites) {
  auto state = std::make_unique<State>();
  std::vector<std::int32_t> stratum_of(sites.size(), -1);
  for (const ListedFault& fault : faults) {
    std::int32_t& stratum = stratum_of[static_cast<std::size_t>(fault.site)];
    if (stratum < 0) {
      stratum = static_cast<std::int32_t>(state->strata.size());
      state->strata.push_back({0, fault.site, 0, 0});
    }
    ++state->strata[static_cast<std::size_t>(stratum)].trials;
  }
  state->trials = static_cast<std::int64_t>(faults.size());
  state->list = std::move(faults);
  return Plan(std::move(state));
}

void Plan::set_profiles(std::vector<SiteProfile> profiles) {
  if (state_->entries.empty()) return;  // a list has its edits already
  if (profiles.size() != state_->sites.size()) {
    throw std::logic_error("Plan::set_profiles needs one profile per site");
  }
  state_->profiles = std::move(profiles);
  for (const Stratum& stratum : state_->strata) state_->set_registers(stratum.site);
}

void Plan::extend(std::span<const std::int64_t> more) {
  State& state = *state_;
  if (more.size() != state.strata.size()) {
    throw std::logic_error("Plan::extend needs one number per stratum");
  }
  for (std::size_t i = 0; i < more.size(); ++i) {
    Stratum& stratum = state.strata[i];
    if (more[i] <= 0 || stratum.population <= 0) continue;
    state.extensions.push_back({state.trials, i, stratum.trials});
    stratum.trials += more[i];
    state.trials += more[i];
  }
}

std::int64_t Plan::size() const { return state_->trials; }
const std::vector<Stratum>& Plan::strata() const { return state_->strata; }

Trial Plan::trial(std::int64_t id) const {
  const State& state = *state_;
  if (id < 0 || id >= state.trials) {
    throw Error(ExitCode::kUsage, "there is no trial " + std::to_string(id) + "; the plan has " +
                                      std::to_string(state.trials) + " trials, counted from 0");
  }
  if (state.entries.empty()) {
    const ListedFault& fault = state.list[static_cast<std::size_t>(id)];
    return {id, 0, fault.site, fault.image};
  }
  const State::TrialRank of = state.find(id);
  const Stratum& place = state.strata[of.stratum];
  const std::int32_t image = place.permanent
                                 ? static_cast<std::int32_t>((id - of.entry->first) % state.images)
                                 : state.image(of);
  return {id, place.entry, place.site, image};
}

std::vector<Edit> Plan::edits(const Trial& trial) const {
  if (state_->entries.empty()) return state_->list.at(static_cast<std::size_t>(trial.id)).edits;
  PhiloxStream random = state_->stream(trial);
  return state_->draw_edits(trial, random);
}

const EditCondition* Plan::condition(const Trial& trial) const {
  if (state_->entries.empty()) return nullptr;
  const FaultsEntry& entry = state_->entries[static_cast<std::size_t>(trial.entry)];
  return entry.finds ? &*entry.finds : entry.condition;
}

int Plan::finds(const Trial& trial) const {
  if (state_->entries.empty()) return -1;
  const FaultsEntry& entry = state_->entries[static_cast<std::size_t>(trial.entry)];
  return entry.finds ? entry.part->finds : -1;
}

std::vector<Edit> Plan::Draws::next() { return next_(); }
std::uint64_t Plan::Draws::below(std::uint64_t n) { return random_->below(n); }

Plan::Draws Plan::draws(const Trial& trial) const {
  if (state_->entries.empty()) {
    return Draws(nullptr, [this, trial] { return edits(trial); });
  }
  auto random = std::make_shared<PhiloxStream>(state_->stream(trial));
  return Draws(random, [state = state_.get(), trial, own = random.get()] {
    return state->draw_edits(trial, *own);
  });
}

}  // namespace bitfall
