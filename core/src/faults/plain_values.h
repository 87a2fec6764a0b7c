// The format of sites that a campaign stores in none: float32 as it is.
#pragma once

#include "bitfall/number_format.h"

namespace bitfall {

class PlainValues final : public NumberFormat {
 public:
  View<const Register> registers() const override;
  bool exact() const override { return true; }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override;
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override;
  void emulate(View<float>, const Slice&, View<std::uint32_t>) const override {}
  float largest(View<const std::uint32_t> metadata) const override;
};

}  // namespace bitfall
