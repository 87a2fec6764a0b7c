#include "outcome.h"

#include <cmath>

namespace bitfall {

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

}  // namespace bitfall
