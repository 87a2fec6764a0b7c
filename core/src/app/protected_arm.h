// The protection of one run: which sites it guards, what it has learned, what it costs.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config.h"
#include "dataset.h"
#include "guarding.h"
#include "model.h"
#include "model_costs.h"
#include "plan.h"
#include "protected_format.h"
#include "protection_learning.h"
#include "run_facts.h"

namespace bitfall {

/// Which run of a campaign's is meant: that without a protection, or that of a [[protect]] entry.
struct ArmRequest {
  std::string name;          // empty = without
  std::string answer_state;  // of a stored run: what was learned of the answer
};

/// The images that protections learn from. Throws as Dataset::open, naming [learn].
Dataset open_learned(const DataConfig& data);

/// One [[protect]] entry with its protection.
struct ProtectionEntry {
  std::unique_ptr<Protection> protection;
  ProtectConfig config;
};

class ProtectedArm {
 public:
  /// entries: those of one name, one or more, each guarding sites of its own.
  ProtectedArm(std::vector<ProtectionEntry> entries, const std::vector<FaultsConfig>& faults);

  /// Puts guards around the formats of the sites. by_site: the formats without protection, replaced
  /// where a site is guarded. Borrows model and formats.
  void choose_sites(const Model& model, std::vector<const NumberFormat*>& by_site,
                    Diagnostics& diagnostics);
  /// Whose values are guarded, in order.
  std::vector<std::int32_t> guarded_sites() const;
  /// Whether it learns anything from images.
  bool learns() const;
  /// Learns from the images of `data`, whose preprocessing is that of the campaign's. False if
  /// stopped. Throws Error(kUsage) where there are none and they are needed.
  bool learn(const DataConfig& data, const std::atomic<bool>& stop);
  /// The profiles of the same campaign's run without protection, as they are with it once it has
  /// learned. Of a site that has none there metadata are missing.
  std::vector<SiteProfile> with_state(std::vector<SiteProfile> without) const;
  /// What was learned of the answer, as text, empty if nothing; that of the sites comes with their
  /// profiles.
  std::string answer_state() const;
  void set_answer_state(const std::string& text);

  const std::string& name() const { return entries_.front().config.name; }
  /// Whether drawn faults hit what it has learned, too.
  bool exposed() const { return entries_.front().config.exposed; }

  Guarding& guarding() { return guarding_; }
  /// Name, what it guards, what it learned from, what it costs.
  void tell(RunFacts& facts) const;

 private:
  struct GuardedSite {
    std::unique_ptr<ProtectedFormat> format;
    const ProtectionEntry* by;
  };

  bool computes_twice(const ProtectionEntry& entry, const std::vector<std::int32_t>& sites,
                      const std::vector<const NumberFormat*>& by_site) const;
  bool guard_answer(const ProtectionEntry& entry, Diagnostics& diagnostics);
  void guard_sites(const ProtectionEntry& entry, std::vector<const NumberFormat*>& by_site,
                   Diagnostics& diagnostics);
  bool guard_site(const ProtectionEntry& entry, std::int32_t site,
                  std::vector<const NumberFormat*>& by_site, Diagnostics& diagnostics);
  void refuse_second(const ProtectionEntry& entry, const std::string& what,
                     Diagnostics& diagnostics) const;
  std::vector<LearnPlace> learn_places() const;
  ProtectionCost cost(const ModelCosts& costs) const;
  std::string guarded_by(const ProtectionEntry& entry) const;

  std::vector<ProtectionEntry> entries_;
  const Model* model_ = nullptr;
  Guarding guarding_;
  std::map<std::int32_t, GuardedSite> guarded_;  // but those that are computed twice
  std::map<std::int32_t, const ProtectionEntry*> twice_;
  std::vector<std::int64_t> answer_shape_;
  std::optional<AnswerGuard> answer_;
  std::string learned_from_;
};

}  // namespace bitfall
