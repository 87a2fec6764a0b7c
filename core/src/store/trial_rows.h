// Trials with their edits as rows of the database.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "number_cells.h"
#include "outcome.h"
#include "sha256.h"
#include "sqlite.h"

namespace bitfall {

/// What of a trial does not go together, as "crashed, but has an answer" or "is masked, but has
/// another loss than golden"; empty if all does.
std::string contradiction(const TrialResult& result);

/// What an image gave without a fault.
struct GoldenAnswer {
  double loss = 0;  // nats
  std::int32_t top1 = 0;
};

/// Those of a run, each read when it is first asked for.
class GoldenAnswers {
 public:
  GoldenAnswers(const Database& database, std::size_t images);

  /// Null where the run has none of this image.
  const GoldenAnswer* of(std::int32_t image);
  /// What was read may be another now.
  void forget();
  void forget(std::int32_t image);

 private:
  enum class State : std::uint8_t { kUnread, kThere, kAbsent };
  struct Known {
    GoldenAnswer answer;
    State state = State::kUnread;
  };
  Statement row_;
  std::vector<Known> known_;  // by image
};

/// The same where a trial and its image say different things of the answer without a fault.
std::string contradiction(const TrialResult& result, const GoldenAnswer* golden);

/// How many columns an edit has: element, register, operation, mask, bits of the float32 of those
/// with a number (NULL: 0), code before, code after (NULL: what the operation says), value before
/// and after (reference: the float32 that the code is), class.
inline constexpr int kEditColumns = 10;

class TrialWriter {
 public:
  /// metrics: how many columns of measured numbers the trials have.
  TrialWriter(const Database& database, std::size_t metrics);

  /// In place of what the database has of this trial. `golden`: of its image, and what the trial
  /// says too; null where the database has none.
  void write(const TrialResult& result, const GoldenAnswer* golden);

 private:
  void bind_trial(const TrialResult& result, const GoldenAnswer* golden,
                  std::optional<std::int64_t> message);
  std::int64_t message_id(const std::string& text);

  Statement insert_trial_;
  Statement insert_message_;
  Statement message_;
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
  void read_losses();
  void read_message();
  EditRecord edit_in(const Statement& row, int column) const;
  [[noreturn]] void refuse_orphan() const;
  [[noreturn]] void damaged(const std::string& what) const;
  std::int64_t checked(std::int64_t value, std::size_t count, const char* what) const;
  double number(const Statement& row, int column, const char* what,
                double reference = kNoReference) const;

  std::filesystem::path path_;
  TrialRanges ranges_;
  Statement trials_;
  Statement edits_;
  Statement message_;
  GoldenAnswers golden_;
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

  std::array<char, std::size_t{1} << 13> held_;  // numbers of 8 bytes
  std::size_t size_ = 0;
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
