// Trials with their edits as rows of the database.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "outcome.h"
#include "sha256.h"
#include "sqlite.h"

namespace bitfall {

/// What of a trial does not go together, as "crashed, but has an answer" or "is masked, but has
/// another loss than golden"; empty if all does.
std::string contradiction(const TrialResult& result);

class TrialWriter {
 public:
  /// metrics: how many columns of measured numbers the trials have.
  TrialWriter(const Database& database, std::size_t metrics);

  /// In place of what the database has of this trial.
  void write(const TrialResult& result);

 private:
  void bind_trial(const TrialResult& result);
  void insert_edit(std::int64_t trial, std::int64_t position, const EditRecord& record);

  Statement insert_trial_;
  Statement insert_message_;
  Statement insert_edit_;
  Statement delete_trial_;
  Statement delete_edits_;
};

/// How many of each a run has: what the numbers of a trial may stand for.
struct TrialRanges {
  std::size_t metrics = 0, entries = 0, sites = 0, images = 0;
};

/// Goes through the trials in the order of their ids, from `first` to `last` (inclusive).
class TrialCursor {
 public:
  TrialCursor(const Database& database, const TrialRanges& ranges, std::int64_t first,
              std::int64_t last);

  /// The next trial, in a place that the next call uses again; null at the end. Throws
  /// Error(kInput) where a number stands for nothing, or two contradict each other.
  const TrialResult* next();

 private:
  void read_trial();
  void read_message();
  void read_edit();
  [[noreturn]] void refuse_orphan() const;
  [[noreturn]] void damaged(const std::string& what) const;
  std::int64_t checked(std::int64_t value, std::size_t count, const char* what) const;
  double number(int column, const char* what) const;

  std::filesystem::path path_;
  TrialRanges ranges_;
  Statement trials_;
  Statement edits_;
  bool started_ = false;
  bool more_edits_ = false;
  TrialResult result_;
};

/// Numbers and texts on their way into a hash, many at a time.
class NumberHash {
 public:
  void add(std::int64_t value);
  void add(double value);  // NaNs are all one
  void add(std::string_view text);
  std::string hex();

 private:
  void hand_on();

  static constexpr std::size_t kHeld = std::size_t{1} << 15;
  std::string held_;
  Sha256 hash_;
};

/// A digest of trials: equal for equal numbers, bit by bit, but for NaNs, which are all one.
class TrialHash {
 public:
  void add(const TrialResult& result);
  std::string hex() { return hash_.hex(); }

 private:
  void add(const EditRecord& record);

  NumberHash hash_;
};

/// A digest of what TrialHash leaves out, as two runs with the same results may differ in it:
/// messages and the classes of bits.
class RemarkHash {
 public:
  void add(const TrialResult& result);
  std::string hex() { return hash_.hex(); }

 private:
  NumberHash hash_;
};

}  // namespace bitfall
