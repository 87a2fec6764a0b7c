#include "outcome.h"

namespace bitfall {

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kMasked:
      return "masked";
    case Outcome::kTop1Same:
      return "top1_same";
    case Outcome::kTop1Changed:
      return "top1_changed";
    case Outcome::kNonfinite:
      return "nonfinite";
  }
  return "unknown";
}

std::uint32_t edited_bits(const EditRecord& record) {
  const bool whole =
      record.edit.operation == EditOperation::kWrite || is_real(record.edit.operation);
  return whole ? record.code_before ^ record.code_after : record.edit.mask;
}

}  // namespace bitfall
