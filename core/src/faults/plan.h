// The plan: which trials a campaign runs. A pure function of campaign, sites, images and seed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "bitfall/extensions/edit_condition.h"
#include "config.h"
#include "faults.h"
#include "site_formats.h"
#include "value_classes.h"

namespace bitfall {

/// One entry of the campaign at one site.
struct Stratum {
  std::int32_t entry = 0;
  std::int32_t site = 0;
  double population = 0;    // N: faults x images; faults alone if permanent
  std::int64_t trials = 0;  // n; of permanent faults n x images
  bool permanent = false;   // each fault meets every image: consecutive trials, in image order
  bool mixed = false;       // its trials stand among those of other sites: of an entry with `total`
                            // or a goal
};

/// What planning needs to know of one site beyond its shape. `golden` is only filled when an error
/// model asks.
struct SiteProfile {
  Range golden;
  std::vector<std::uint32_t> metadata;  // calibrated metadata; empty if the format has none
  ClassCounts values = {};              // where faults are drawn by the values that they find
};

class Plan {
 public:
  /// Draws the campaign's trials. `entries[e]` are the sites selected by entry e, `models[e]` its
  /// error model (borrowed; must outlive the plan). `profiles[site]` may be empty when no model
  /// needs golden ranges and the format is not calibrated; it may also be set later by
  /// set_profiles, before the first fault(), but then populations that depend on them are wrong.
  /// Each site's trials meet the images in a random order of its own, dealt evenly, chunk by chunk
  /// of 32 images; those of faults that find values of one class an image each as likely as it has
  /// such values, which the profiles tell (SiteProfile::values). A site where an
  /// entry's population is 0 gets no trials; all of them 0 is a problem reported to `diagnostics`.
  static Plan draw(const Campaign& campaign, std::span<const Site> sites,
                   const SiteFormats& formats, std::int32_t images,
                   std::vector<std::vector<std::int32_t>> entries,
                   std::vector<const ErrorModel*> models, Diagnostics& diagnostics,
                   std::vector<SiteProfile> profiles = {});

  /// Exactly the list, in its order: trial i is faults[i].
  static Plan from_list(std::vector<ListedFault> faults, std::span<const Site> sites);

  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  void set_profiles(std::vector<SiteProfile> profiles);

  /// Adds trials behind all others: so many more of each stratum, which go on where those before
  /// end. Of a plan whose entries have a goal.
  void extend(std::span<const std::int64_t> more);

  std::int64_t size() const;
  Trial trial(std::int64_t id) const;
  /// The edits of a trial: drawn from Philox keyed by the seed, the entry, the site's name and the
  /// fault's rank there, and by nothing else: networks that share a layer meet the same faults in
  /// it. The same at every call, thread-safe. Throws Error(kPlugin) if
  /// the error model draws no edit or one outside the site's registers.
  std::vector<Edit> edits(const Trial& trial) const;

  /// What the trial's error model, or its part of the faults, asks of the values that its edits
  /// find; null where nothing. Of a list nothing.
  const EditCondition* condition(const Trial& trial) const;
  /// The class of values that the trial's faults find: its image has some at the site. -1: any.
  int finds(const Trial& trial) const;

  /// Draws a trial's faults one after the other, of which the first is that of edits(). Of a list
  /// all are the same.
  class Draws {
   public:
    std::vector<Edit> next();
    /// A number below n, from the same stream.
    std::uint64_t below(std::uint64_t n);

   private:
    friend class Plan;
    explicit Draws(std::shared_ptr<RandomStream> random, std::function<std::vector<Edit>()> next)
        : random_(std::move(random)), next_(std::move(next)) {}
    std::shared_ptr<RandomStream> random_;  // null of a list
    std::function<std::vector<Edit>()> next_;
  };
  Draws draws(const Trial& trial) const;

  /// In the order entry, site; for a list one stratum per site (population 0: not drawn at random).
  const std::vector<Stratum>& strata() const;

 private:
  struct State;
  explicit Plan(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
