// What `bitfall convert` is told about a format's registers: bits to flip, metadata to assume.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bitfall/number_format.h"

namespace bitfall {

/// A format and what messages and headings call it.
struct NamedFormat {
  const NumberFormat& format;
  std::string id;
  std::string summary;
};

/// Bits that are flipped together.
struct BitFlips {
  std::string label;                 // "14", "scale:3", "14+13"
  std::vector<std::uint32_t> masks;  // masks[k]: of registers of kind k, 0 the payload
};

/// Reads "14", "10-14", "all", "scale:3", "scale:0-7", "scale:all" and commas between them: one
/// entry a bit, each bit once, or with `together` one entry in all. Throws Error(kUsage) that names
/// the bits and registers there are.
std::vector<BitFlips> parse_flips(const NamedFormat& named, const std::vector<std::string>& texts,
                                  bool together);

/// Reads "scale=0x7f" (a code) and "scale=0.5" (the code that stands for the nearest number). Codes
/// by kind of register; [0], the payload, is always empty. Throws Error(kUsage).
std::vector<std::optional<std::uint32_t>> parse_metadata(const NamedFormat& named,
                                                         const std::vector<std::string>& texts);

/// The code of a metadata register that stands for the number nearest to `value`, the smallest such
/// code; for NaN a code of NaN. Nullopt if none is found: registers wider than 16 bits are known
/// only where they hold a float32 or the number itself.
std::optional<std::uint32_t> metadata_code(const NumberFormat& format, int kind, double value);

/// "payload (8 bits), scale (32 bits)": all registers, or all metadata.
std::string registers_text(const NumberFormat& format, bool metadata_only = false);

/// "0x0f": as many digits as the bits need.
std::string code_text(std::uint32_t code, int bits);
void append_code(std::uint32_t code, int bits, std::string& out);

}  // namespace bitfall
