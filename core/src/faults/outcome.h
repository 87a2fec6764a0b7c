// What a trial did: exhaustive and exclusive, and the facts that are kept of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/error_model.h"

namespace bitfall {

/// The numbers are part of the store: never change the value of an existing entry.
enum class Outcome : std::uint8_t {
  kMasked = 0,    // the logits are bitwise equal to golden (with `activated` = false: not even the
                  // hit value changed)
  kTop1Same = 1,  // logits changed, finite, top-1 kept
  kTop1Changed = 2,  // logits finite, top-1 differs from golden
  kNonfinite = 3,    // NaN or Inf among the logits
  kCrashed = 4,      // no logits: the model raised an exception
  kHung = 5,         // no logits: the model did not end in time and was stopped
};
/// By value.
inline constexpr std::array kOutcomeNames = {"masked",    "top1_same", "top1_changed",
                                             "nonfinite", "crashed",   "hung"};
constexpr const char* to_string(Outcome outcome) {
  return kOutcomeNames.at(static_cast<std::size_t>(outcome));
}

/// How many trials had each outcome, by its value.
using OutcomeCounts = std::array<std::int64_t, kOutcomeNames.size()>;

/// DUE, a detected unrecoverable error: there is no answer, and whoever asked knows it (NVBitFI;
/// crash and hang of TensorFI and LLTFI).
constexpr bool is_due(Outcome outcome) {
  return outcome == Outcome::kCrashed || outcome == Outcome::kHung;
}

/// One edit as it happened.
struct EditRecord {
  Edit edit;
  std::uint32_t code_before = 0;  // of the register
  std::uint32_t code_after = 0;
  // Payload: the element's value; metadata: the register's value (a scale). Where one register is
  // edited more than once, each edit begins with what the one before has left.
  float value_before = 0;
  float value_after = 0;       // after decoding, and after clamping when hit_value = "clamped"
  std::int8_t bit_class = -1;  // BitClass of the highest edited bit in code_before; -1: no bit
};

/// The bits that an edit names (a mask) or, for one that writes a whole code or a number, changes.
std::uint32_t edited_bits(const EditRecord& record);

/// Whether two losses, values or metrics are one and the same: bit for bit, or both NaN.
bool same_number(double a, double b);

/// A trial whose outcome is_due has no answer: its faulty_loss is NaN, its faulty_top1 -1, each of
/// its metrics NaN.
struct TrialResult {
  std::int64_t trial = 0;
  std::int32_t entry = 0;
  std::int32_t site = 0;
  std::int32_t image = 0;
  Outcome outcome = Outcome::kMasked;
  bool activated = false;  // any value at the site changed its bits
  double golden_loss = 0;  // nats
  double faulty_loss = 0;
  std::int32_t golden_top1 = 0;
  std::int32_t faulty_top1 = 0;
  std::vector<double> metrics;  // in the order of the campaign's metric columns
  std::vector<EditRecord> edits;
  // Of a trial whose outcome is_due, else empty: the step and the first line of what was raised,
  // "conv2/conv: index 7 is out of bounds for dimension 0 with size 4".
  std::string message;
};

/// Silent data corruption: the faulty answer is not the golden one, and nothing says so. Its top-1
/// differs, or the fault made a logit NaN (the metric `mismatch`; told from the loss here, which an
/// infinite logit alone makes NaN too). One without an answer is none: its error was detected.
bool is_mismatch(const TrialResult& result);

/// Of the image and the edits, which two trials of one site share that are of the same fault. That
/// two others share all of its 64 bits is not to be expected of any number of trials that a run can
/// have.
std::uint64_t place_of_fault(const TrialResult& trial);
/// Of two runs' trials, of the smaller, that must be of the same faults for the runs to count as one
/// experiment. Two fault lists that were drawn apart agree in few places.
inline constexpr double kPairedShare = 0.9;

/// The same bits in every number, but that every NaN is the same. Messages may differ: of several
/// threads of a kernel any may be the first to raise.
bool same_result(const TrialResult& a, const TrialResult& b);

/// What was raised as a message keeps and shows it: its first line that is not blank, in
/// UTF-8 without control characters, at most kLongestMessage code points.
std::string message_line(std::string_view raised);
inline constexpr std::size_t kLongestMessage = 400;

/// One image without a fault, in the campaign's format and in plain FP32.
struct GoldenResult {
  std::int32_t image = 0;
  double loss = 0;
  std::int32_t top1 = 0;
  float top2diff = 0;  // softmax probability of the first class minus the second
  double fp32_loss = 0;
  std::int32_t fp32_top1 = 0;
};

/// Receives what the engine finds. Implemented by the store.
class ResultSink {
 public:
  virtual ~ResultSink() = default;
  virtual void golden(const GoldenResult& result) = 0;
  virtual void trial(const TrialResult& result) = 0;
};

}  // namespace bitfall
