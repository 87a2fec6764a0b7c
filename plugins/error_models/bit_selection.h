// Which stored bits a fault may touch, and how one set of them is drawn: shared by the models that
// work on bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "bitfall/error_model.h"
#include "bitfall/options.h"

namespace bitfall {

inline constexpr OptionSpec kBitRangeOption{"bit_range",
                                            OptionType::kIntegers,
                                            "[]",
                                            0,
                                            31,
                                            nullptr,
                                            "First and last bit, inclusive, 0 the least "
                                            "significant; [] = all; narrower registers are not "
                                            "hit"};
inline constexpr OptionSpec kBitClassOption{
    "bit_class",
    OptionType::kText,
    "any",
    0,
    0,
    "any|sign|exponent|mantissa|regime|metadata",
    "Only bits of this class; metadata = bits of scales and shared exponents, not of the payload"};
inline constexpr OptionSpec kRegistersOption{
    "registers",
    OptionType::kText,
    "payload",
    0,
    0,
    "payload|metadata|all",
    "Elements' codes, the format's metadata, or both; each stored bit is as likely as any other"};

/// The lowest bit that is set, but for the `skipped` below it; there must be one.
int nth_bit(std::uint32_t bits, int skipped);

/// One register and the bits of it that were drawn.
struct BitChoice {
  std::int32_t register_index = 0;
  std::int64_t element = 0;
  std::uint32_t mask = 0;
};

/// The set of all (register instance, `bits` distinct bits of it) that the options allow. Every
/// member is as likely as any other.
class BitSelection {
 public:
  /// Reads the three options above. `adjacent`: the bits are consecutive. Throws
  /// std::invalid_argument for options that no register can meet.
  BitSelection(const Options& options, int bits, bool adjacent)
      : BitSelection(options, bits, adjacent, options.text("registers")) {}

  /// The same for a model whose `registers` is no option.
  BitSelection(const Options& options, int bits, bool adjacent, std::string_view registers);

  /// How many members the set has at this site.
  double population(const SiteView& site) const;

  /// One member; population() must not be 0.
  BitChoice draw(const SiteView& site, RandomStream& random) const;

  /// The bits that may be hit in each register of kind `register_index`.
  std::uint32_t candidates(const SiteView& site, std::size_t register_index) const;

 private:
  std::uint64_t bit_sets(std::uint32_t candidates) const;
  std::uint32_t bit_set(std::uint32_t candidates, std::uint64_t rank) const;

  int bits_;
  bool adjacent_;
  bool payload_;
  bool metadata_;
  std::optional<BitClass> bit_class_;
  int first_bit_ = 0;
  int last_bit_ = -1;  // below first_bit_: no range
};

}  // namespace bitfall
