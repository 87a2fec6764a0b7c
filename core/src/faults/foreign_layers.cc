#include "foreign_layers.h"

#include <algorithm>
#include <set>

#include "words.h"

namespace bitfall {
namespace {

constexpr std::string_view kWeight = ".weight";

/// "layer1.0.conv" of its output, whichever of its calls; of a function in a module the module's.
std::string_view module_of(std::string_view site) { return site.substr(0, site.find('/')); }

/// Of a parameter that nothing reads its dimensions tell.
bool is_of(const std::vector<std::string>& kinds, const Site* site, std::size_t dimensions) {
  const auto among = [&](std::string_view kind) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  if (site != nullptr && site->refusal.empty()) return among(site->operation);
  return dimensions == 2 ? among("linear") : dimensions > 2 && among("conv");
}

}  // namespace

ForeignLayers::ForeignLayers(std::span<const Site> sites, std::span<const NamedShape> parameters,
                             const std::vector<std::string>& kinds)
    : sites_(sites), kinds_(joined(kinds)) {
  std::set<std::string_view> modules;  // those with a weight of their own
  for (const NamedShape& parameter : parameters) {
    const std::string& name = parameter.name;
    if (!name.ends_with(kWeight)) continue;
    const std::int32_t weight = find_site(sites, Target::kWeight, name);
    const Site* known = weight < 0 ? nullptr : &site(weight);
    if (!is_of(kinds, known, parameter.shape.size())) continue;
    weights_.push_back(name);
    modules.insert(std::string_view(name).substr(0, name.size() - kWeight.size()));
  }
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const Site& place = sites[i];
    if (place.target == Target::kActivation && modules.contains(module_of(place.name)) &&
        std::find(kinds.begin(), kinds.end(), place.operation) != kinds.end()) {
      outputs_.push_back(static_cast<std::int32_t>(i));
    }
  }
}

OrReason<std::int32_t> ForeignLayers::usable(std::int32_t index) const {
  const Site& place = site(index);
  if (place.refusal.empty()) return index;
  return "site '" + place.name + "' cannot be hit: " + place.refusal;
}

OrReason<std::int32_t> ForeignLayers::numbered(Target target, std::int64_t layer) const {
  const std::size_t count = target == Target::kWeight ? weights_.size() : outputs_.size();
  if (layer < 0 || layer >= static_cast<std::int64_t>(count)) {
    return "layer " + std::to_string(layer) + ": the network has " + std::to_string(count) +
           " layers of the kinds " + kinds_ + ", from 0";
  }
  const auto number = static_cast<std::size_t>(layer);
  if (target != Target::kWeight) return usable(outputs_[number]);
  const std::int32_t found = find_site(sites_, Target::kWeight, weights_[number]);
  if (found < 0) return "layer " + std::to_string(layer) + ": nothing reads " + weights_[number];
  return usable(found);
}

OrReason<std::int32_t> ForeignLayers::weight_of(const std::string& module) const {
  const std::int32_t found = find_site(sites_, Target::kWeight, module + std::string(kWeight));
  if (found >= 0) return usable(found);
  std::vector<std::string> names;
  for (const Site& place : sites_) {
    if (place.target == Target::kWeight && place.name.ends_with(kWeight)) {
      names.push_back(place.name.substr(0, place.name.size() - kWeight.size()));
    }
  }
  const std::string hint = did_you_mean(module, names);
  return "the network has no layer '" + module + "' with a weight" +
         (hint.empty() ? "" : "; " + hint);
}

OrReason<std::int64_t> ForeignLayers::element(std::int32_t index,
                                              std::span<const std::int64_t> place) const {
  const std::vector<std::int64_t>& shape = site(index).shape;
  const auto text = [](std::span<const std::int64_t> numbers) {
    std::vector<std::string> words;
    for (const std::int64_t number : numbers) words.push_back(std::to_string(number));
    return "(" + joined(words) + ")";
  };
  bool inside = place.size() == shape.size();
  std::int64_t element = 0;
  for (std::size_t i = 0; inside && i < shape.size(); ++i) {
    inside = place[i] >= 0 && place[i] < shape[i];
    if (inside) element = element * shape[i] + place[i];
  }
  if (inside) return element;
  return "place " + text(place) + " is not in '" + site(index).name + "' of shape " + text(shape);
}

}  // namespace bitfall
