#include "compare_last.h"

#include <cstdint>
#include <map>

namespace bitfall {
namespace {

constexpr const char* kNone = "no output of a final conv, linear or matmul was hit.";

// The layers of a run whose outputs were hit, in network order: of those that several entries hit
// that of the first.
std::vector<std::size_t> in_network_order(const ComparedRun& run) {
  std::map<std::int32_t, std::size_t> by_site;
  for (std::size_t layer = 0; layer < run.trials.size(); ++layer) {
    if (run.site(layer).target != Target::kActivation) continue;
    const std::int32_t site = run.run.strata[layer].site;
    const auto [known, fresh] = by_site.try_emplace(site, layer);
    const auto entry_of = [&](std::size_t of) { return run.run.strata[of].entry; };
    if (!fresh && entry_of(layer) < entry_of(known->second)) known->second = layer;
  }
  std::vector<std::size_t> layers;
  for (const auto& [_, layer] : by_site) layers.push_back(layer);
  return layers;
}

/// A run's layers in network order; places count along it.
struct Network {
  const ComparedRun& run;
  std::vector<std::size_t> layers = in_network_order(run);

  // The place of the last product that `take` accepts, or -1.
  template <typename Take>
  int last_product(Take take) const {
    for (std::size_t place = layers.size(); place-- > 0;) {
      if (run.is_product(layers[place]) && take(layers[place])) return static_cast<int>(place);
    }
    return -1;
  }
  int last_product() const {
    return last_product([](std::size_t) { return true; });
  }
  std::size_t layer(int place) const { return layers[static_cast<std::size_t>(place)]; }
};

// The place where the end of an arm begins that is not known to have a head.
int first_of_end(const ComparedRun& baseline, const Network& arm, const std::vector<int>& partners,
                 int final_layer, std::string& note) {
  const int same =
      arm.last_product([&](std::size_t layer) { return partners[layer] == final_layer; });
  if (same >= 0) return same;
  note = "it has no layer " + baseline.site(static_cast<std::size_t>(final_layer)).name +
         "; what lies after the last layer that both have was taken.";
  return arm.last_product([&](std::size_t layer) { return partners[layer] >= 0; }) + 1;
}

// The products from place `start` to `last`, like `last` in a head or not.
LastLayers products(const Network& network, int start, int last, std::string note) {
  LastLayers found{{}, std::move(note)};
  const ComparedRun& run = network.run;
  const bool in_head = run.in_head(network.layer(last));
  for (int place = start; place <= last; ++place) {
    const std::size_t layer = network.layer(place);
    if (run.is_product(layer) && run.in_head(layer) == in_head) found.layers.push_back(layer);
  }
  if (found.layers.size() > 2) {
    found.note += (found.note.empty() ? "" : " ") + std::to_string(found.layers.size()) +
                  " layers lie there; the last two were taken.";
    found.layers.erase(found.layers.begin(), found.layers.end() - 2);
  }
  return found;
}

}  // namespace

LastLayers last_layers(const ComparedRun& baseline) {
  const Network network{baseline};
  const int last = network.last_product();
  if (last < 0) return {{}, kNone};
  return products(network, baseline.in_head(network.layer(last)) ? 0 : last, last, "");
}

LastLayers last_layers(const ComparedRun& baseline, const ComparedRun& arm,
                       const std::vector<int>& partners) {
  if (&arm == &baseline) return last_layers(baseline);
  const Network network{arm}, first{baseline};
  const int last = network.last_product(), final_place = first.last_product();
  if (last < 0 || final_place < 0) return {{}, kNone};
  std::string note;
  int start = 0;
  if (!arm.in_head(network.layer(last))) {
    const auto final_layer = static_cast<int>(first.layer(final_place));
    start = first_of_end(baseline, network, partners, final_layer, note);
  }
  LastLayers found = products(network, start, last, note);
  if (found.layers.empty()) found.note = kNone;
  return found;
}

std::vector<bool> before_layer(const ComparedRun& run, std::size_t end) {
  std::vector<bool> before(run.trials.size(), false);
  for (const std::size_t layer : in_network_order(run)) {
    if (run.run.strata[layer].site == run.run.strata[end].site) break;
    before[layer] = true;
  }
  return before;
}

std::vector<LastRule> last_rules(const ComparedRun& run, const std::vector<std::size_t>& layers) {
  if (layers.size() == 1) return {{"v", {1}}};
  const auto neurons = [&](std::size_t at) {
    return static_cast<double>(run.site(layers[at]).values);
  };
  return {{"(E v1 + C v2) / (E + C)", {neurons(0), neurons(1)}},
          {"(v1 + v2) / 2", {1, 1}},
          {"v2", {0, 1}}};
}

}  // namespace bitfall
