#include "outcome.h"

namespace bitfall {

std::uint32_t edited_bits(const EditRecord& record) {
  const bool whole =
      record.edit.operation == EditOperation::kWrite || is_real(record.edit.operation);
  return whole ? record.code_before ^ record.code_after : record.edit.mask;
}

}  // namespace bitfall
