// A part of a campaign, run by itself and merged with the others afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitfall {

/// The `index`-th of `count` parts, counted from 1.
struct Shard {
  std::int64_t index = 1;
  std::int64_t count = 1;
  bool operator==(const Shard&) const = default;
};

/// "2/4", also where it is written "02/4"; nothing unless 1 <= index <= count.
std::optional<Shard> parse_shard(std::string_view text);
std::string to_string(const Shard& shard);  // "2/4"

}  // namespace bitfall
