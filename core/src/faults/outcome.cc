#include "outcome.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "faults.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

bool same_edit(const EditRecord& a, const EditRecord& b) {
  return a.edit.element == b.edit.element && a.edit.register_index == b.edit.register_index &&
         a.edit.operation == b.edit.operation && mask_column(a.edit) == mask_column(b.edit) &&
         a.code_before == b.code_before && a.code_after == b.code_after &&
         same_number(a.value_before, b.value_before) && same_number(a.value_after, b.value_after);
}

}  // namespace

bool same_number(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

std::uint32_t edited_bits(const EditRecord& record) {
  const bool whole =
      record.edit.operation == EditOperation::kWrite || is_real(record.edit.operation);
  return whole ? record.code_before ^ record.code_after : record.edit.mask;
}

bool is_mismatch(const TrialResult& result) {
  if (is_due(result.outcome)) return false;
  // An answer that is NaN without the fault too is not the fault's doing.
  return result.faulty_top1 != result.golden_top1 ||
         (result.outcome == Outcome::kNonfinite && std::isnan(result.faulty_loss) &&
          !std::isnan(result.golden_loss));
}

std::uint64_t place_of_fault(const TrialResult& trial) {
  std::uint64_t hash = 0;
  const auto mix =
      [&hash](std::uint64_t word) {  // the finaliser of SplitMix64 (Steele et al., 2014)
        hash += word + 0x9e3779b97f4a7c15;
        hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
        hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
        hash ^= hash >> 31;
      };
  mix(static_cast<std::uint64_t>(trial.image));
  for (const EditRecord& record : trial.edits) {
    const Edit& edit = record.edit;
    mix(static_cast<std::uint64_t>(edit.element));
    mix(static_cast<std::uint64_t>(edit.register_index) << 32 |
        static_cast<std::uint64_t>(edit.operation));
    mix(std::uint64_t{edit.mask} << 32 | std::bit_cast<std::uint32_t>(edit.value));
  }
  return hash;
}

bool same_result(const TrialResult& a, const TrialResult& b) {
  return a.entry == b.entry && a.site == b.site && a.image == b.image && a.outcome == b.outcome &&
         a.activated == b.activated && same_number(a.golden_loss, b.golden_loss) &&
         same_number(a.faulty_loss, b.faulty_loss) && a.golden_top1 == b.golden_top1 &&
         a.faulty_top1 == b.faulty_top1 && std::ranges::equal(a.metrics, b.metrics, same_number) &&
         std::ranges::equal(a.edits, b.edits, same_edit);
}

std::string message_line(std::string_view raised) {
  std::string line;
  std::size_t length = 0;
  raised.remove_prefix(std::min(raised.find_first_not_of(" \t\r\n"), raised.size()));
  for (const std::string& point : printable_points(trimmed(raised.substr(0, raised.find('\n'))))) {
    if (++length > kLongestMessage) return line + "...";
    line += point == "\t" ? " " : point;
  }
  return line;
}

}  // namespace bitfall
