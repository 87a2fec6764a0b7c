// An error model each of whose faults is of one bit: it changes one bit of one register, every bit
// of those that its options allow as likely as any other. It says so by
// ErrorModel::extension(kBitFaults), and has an option `bit_range` by which the faults are those of
// the whole that lie in these bits. The host may then draw faults by parts of the bits
// (`precision` as a table), which together are the whole.
#pragma once

#include <cstdint>

namespace bitfall {

inline constexpr const char* kBitFaults = "bitfall.bit_faults/1";

struct BitFaults {
  std::uint32_t size = sizeof(BitFaults);  // of this struct in bytes as the plugin knows it
};
inline constexpr BitFaults kOneBitEach{};

}  // namespace bitfall
