// The run directory and its SQLite file: the one record of a campaign.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "bitfall/metric.h"
#include "outcome.h"
#include "plan.h"
#include "run_facts.h"

namespace bitfall {

inline constexpr int kSchemaVersion = 5;

/// A metric column as stored.
struct StoredColumn {
  std::string name;
  std::string metric;  // id of the metric plugin
  ColumnKind kind;
  std::string unit;
};

/// A number format of the campaign as stored.
struct StoredRegister {
  std::string name;
  int bits = 0;
  std::vector<BitClass> bit_classes;
};
struct StoredFormat {
  std::string id;
  std::string options;                    // "bits = 6", or empty
  std::vector<StoredRegister> registers;  // payload first
};

/// What creating a run needs.
struct RunDescription {
  RunFacts facts;
  std::string campaign_text;            // campaign.toml verbatim
  std::filesystem::path campaign_file;  // where it came from
  std::string fault_list_text;          // faults.csv verbatim; empty = drawn
  std::vector<std::string> classes;
  std::vector<std::string> image_names;  // by image index
  std::vector<std::int32_t> labels;
  std::vector<Site> sites;            // all sites; index = site id
  std::vector<SiteProfile> profiles;  // by site; may be empty
  std::vector<Stratum> strata;
  std::vector<StoredColumn> metric_columns;
  std::vector<StoredFormat> formats;       // those in use, the default one first
  std::vector<std::int32_t> site_formats;  // by site: index into `formats`
  std::int64_t trials = 0;                 // planned

  /// Bits of the payload at the stratum's site, in the format that stores it: what its layer weighs
  /// in means "by bits".
  double bits(const Stratum& stratum) const;
};

/// Whether a run, of any version and in any state, lies in the directory.
bool holds_run(const std::filesystem::path& directory);

/// One run directory, open. Layout: campaign.toml, faults.csv (if a list), campaign.sqlite,
/// report.html.
class Store final : public ResultSink {
 public:
  enum class Existing { kRefuse, kReplace };
  /// Creates the directory and the file (application_id, user_version = kSchemaVersion, WAL,
  /// synchronous NORMAL). Throws Error(kUsage) if the directory already holds a campaign, or a
  /// campaign.toml or faults.csv with another text than the run's; with kReplace those are kept
  /// until all files of the new one are written, and are lost then. What SQLite left beside a file
  /// that was deleted is removed.
  static std::unique_ptr<Store> create(const std::filesystem::path& directory,
                                       const RunDescription& run, std::int64_t commit_every,
                                       Existing existing = Existing::kRefuse);
  /// Creates a run that is complete at once: `fill` puts all trials into it, with the facts that it
  /// ends with. Nothing is there before that, and where the process is killed the next try begins
  /// anew. Throws what create() and `fill` throw.
  static void create_complete(const std::filesystem::path& directory, const RunDescription& run,
                              Existing existing, const RunFacts& facts,
                              const std::function<void(Store&)>& fill);
  /// Throws what create() would throw, before hours of work and not after them.
  static void prove_creatable(const std::filesystem::path& directory,
                              const std::string& campaign_text, const std::string& fault_list_text,
                              Existing existing);
  /// Opens for going on; its texts are written again where they are missing. Throws Error(kInput)
  /// if it is not a run directory, not our file, or of another schema version.
  static std::unique_ptr<Store> open(const std::filesystem::path& directory,
                                     std::int64_t commit_every);
  /// Opens for reading, also while another process writes. Throws Error(kInput) where the run had
  /// finished, and what it says of itself was changed since then.
  static std::unique_ptr<Store> open_read_only(const std::filesystem::path& directory);
  ~Store() override;

  void golden(const GoldenResult& result) override;
  void trial(const TrialResult& result) override;
  /// In place of what open() was given: the campaign's own number is known once the run is read.
  void set_commit_every(std::int64_t trials);
  /// Commits the open transaction. Disk full and the like throw Error(kFailure) naming the file.
  void commit();
  /// Plans further trials: those of these strata, in place of what the run had, with the facts that
  /// tell of them, in one transaction.
  void extend(const std::vector<Stratum>& strata, const RunFacts& facts);
  /// Replaces the facts: some come later (finished, wall_s).
  void set_facts(const RunFacts& facts);
  /// The same for the last time: stores with them, in one transaction, the digest of the trials and
  /// that of all the rest. Whoever reads the run checks both. Then frees the room that trials which
  /// came in no order left in the file, of up to 1 GiB.
  void finish(const RunFacts& facts);
  /// Whether the run has finished and holds those digests.
  bool sealed() const;

  RunFacts facts() const;
  RunDescription description() const;     // read back
  std::vector<bool> trials_done() const;  // by trial id, size = planned trials
  std::int64_t count_done() const;
  OutcomeCounts count_outcomes() const;  // of the stored trials
  std::vector<GoldenResult> golden_rows() const;
  /// Throws Error(kInput) when trial id is not stored.
  TrialResult read_trial(std::int64_t id) const;
  /// Calls `f` for every stored trial in the order of trial ids. Throws Error(kInput) after the
  /// last one where the run had finished, and they are not the trials that it had then.
  void for_each_trial(const std::function<void(const TrialResult&)>& f) const;
  /// SHA-256 (hex) over all trials in the order of their ids with their edits and every stored
  /// number's bits: equal for equal results. Messages are no part of it (same_result). Throws what
  /// for_each_trial() throws.
  std::string digest() const;
  const std::filesystem::path& directory() const;

 private:
  struct State;
  explicit Store(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Throws Error(kPlugin) where two metric columns have one name, or one that the store uses for
/// something else. create() checks this too.
void check_metric_columns(const std::vector<StoredColumn>& columns);

/// `bitfall export`: one row per edit (a trial with two edits gives two rows with the same trial
/// number). Columns:
/// trial,site,image,label,target,element,register,op,mask,code_before,code_after,value_before,value_after,
/// golden_loss,faulty_loss,golden_top1,faulty_top1,outcome,activated,message, then the metric
/// columns. A trial without an answer has a message and the faulty top-1 -1; others have none
/// (JSON: null).
/// Codes and masks in hexadecimal (0x...), numbers in the shortest form that reads back to the same
/// bits, "nan", "inf", "-inf" (JSON: null for all three... and the bits stay readable from
/// code_after).
void export_csv(const Store& store, std::ostream& out);
void export_jsonl(const Store& store, std::ostream& out);

/// The fault list of a run, in the format of read_fault_list.
void export_faults(const Store& store, std::ostream& out);

}  // namespace bitfall
