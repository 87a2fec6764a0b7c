// Layers by the numbers and places that other tools give them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "foreign_faults.h"
#include "sites.h"

namespace bitfall {

/// A number, or why there is none.
template <typename T>
using OrReason = std::variant<T, std::string>;

class ForeignLayers {
 public:
  /// kinds: "conv", "linear". Borrows the sites.
  ForeignLayers(std::span<const Site> sites, std::span<const NamedShape> parameters,
                const std::vector<std::string>& kinds);

  /// The site of the n-th layer, from 0: of outputs in the order of calls, of weights in that of
  /// registration.
  OrReason<std::int32_t> numbered(Target target, std::int64_t layer) const;
  /// The weight of a layer by its module's name.
  OrReason<std::int32_t> weight_of(const std::string& module) const;
  /// The flat index of a place in the site's value.
  OrReason<std::int64_t> element(std::int32_t site, std::span<const std::int64_t> place) const;

  const Site& site(std::int32_t index) const { return sites_[static_cast<std::size_t>(index)]; }

 private:
  OrReason<std::int32_t> usable(std::int32_t site) const;

  std::span<const Site> sites_;
  std::vector<std::int32_t> outputs_;  // by layer
  std::vector<std::string> weights_;   // by layer: the parameter's name
  std::string kinds_;
};

}  // namespace bitfall
