// Sites: the places that hold values. Filled by the model, chosen by the campaign.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/error_model.h"
#include "site_selection.h"
#include "value_type.h"

namespace bitfall {

struct Site {
  std::string name;  // "layer1.0.conv2", "features.1.0.attn/linear#2", "fc.weight", "input"
  std::vector<std::string> aliases;  // further exact names that mean this site
  Target target = Target::kActivation;
  std::string operation;  // kind: "conv", "linear", "matmul", "add", ...; of the reading operation
                          // for parameters
  std::vector<std::int64_t> shape;       // one image's slab (without the batch), or the parameter
  std::int64_t values = 0;               // product of shape
  std::string refusal;                   // why it cannot be hit; empty = it can
  ValueType type = ValueType::kFloat32;  // what the network computes it in
};

/// The dimension of a site's shape that counts its channels, as far as its operation tells: a
/// weight's outputs; of values the first of a convolution's, the last of a linear layer's; else as
/// in [channels, height, width] and [tokens, channels]. -1 where there is none.
std::int32_t channel_axis(const Site& site);
/// Of a weight of two dimensions or more: how many of its values make one output; else 0.
std::int64_t fan_in(const Site& site);

/// The refusal of a value that holds no real numbers, by the name of its type: "Long".
std::string type_refusal(const std::string& type);
/// A refused site of integers or truth values, which no number format holds: a count, an index, a
/// mask. It is not counted among what faults miss.
bool is_helper(const Site& site);

/// Without a leading "backbone.", under which a network may stand that got another head.
std::string_view name_in_backbone(std::string_view name);

/// Shell-style match of the whole name: '*' any run (dots included), '?' one character, '[abc]' a
/// set.
bool glob_match(std::string_view pattern, std::string_view name);

/// Indices of the sites that an entry selects: its target, an operation kind in `operations` ("*" =
/// all; ignored for the input), and any pattern of `sites` that matches the name or an alias.
/// Refused sites are left out unless named without a wildcard (then an error gives the refusal). A
/// pattern that matches nothing is an error with the nearest names; an unknown operation kind is an
/// error with the kinds that the model has.
std::vector<std::int32_t> select_sites(std::span<const Site> sites, const SiteSelection& entry,
                                       Diagnostics& diagnostics);

/// Index of the site with this name or alias and target, or -1.
std::int32_t find_site(std::span<const Site> sites, Target target, std::string_view name);

}  // namespace bitfall
