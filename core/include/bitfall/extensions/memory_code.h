// A code in memory: what a number format's words are stored with so that faults in them are
// corrected, or at least noticed. A format that stores its numbers so gives this by
// NumberFormat::extension(kMemoryCode).
#pragma once

#include <cstdint>

#include "bitfall/number_format.h"
#include "bitfall/view.h"

namespace bitfall {

inline constexpr const char* kMemoryCode = "bitfall.memory_code/1";

/// How many words of a slice are read with a correction, and how many are known to be wrong.
struct MemoryVerdict {
  std::int64_t corrected = 0;
  std::int64_t detected = 0;
};

/// Thread-safe after construction.
class MemoryCode {
 public:
  /// Of the words that decode() of the same arguments reads.
  virtual MemoryVerdict check(View<const std::uint32_t> codes, const Slice& slice,
                              View<const std::uint32_t> metadata) const = 0;

 protected:
  ~MemoryCode() = default;
};

}  // namespace bitfall
