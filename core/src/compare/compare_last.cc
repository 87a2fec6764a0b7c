#include "compare_last.h"

namespace bitfall {
namespace {

constexpr const char* kNone = "no output of a final conv, linear or matmul was hit.";

// The last product whose outputs were hit, of the first entry that hit one, or -1. Only layers that
// `take` accepts.
template <typename Take>
int last_product(const ComparedRun& run, Take take) {
  int last = -1;
  for (std::size_t layer = 0; layer < run.trials.size(); ++layer) {
    if (!run.is_product(layer) || !take(layer)) continue;
    const auto& strata = run.run.strata;
    const bool first_entry =
        last < 0 || strata[layer].entry == strata[static_cast<std::size_t>(last)].entry;
    if (first_entry) last = static_cast<int>(layer);
  }
  return last;
}

int last_product(const ComparedRun& run) {
  return last_product(run, [](std::size_t) { return true; });
}

// Where the end of an arm begins that is not known to have a head.
int first_of_end(const ComparedRun& baseline, const ComparedRun& arm,
                 const std::vector<int>& partners, int final_layer, std::string& note) {
  const int same =
      last_product(arm, [&](std::size_t layer) { return partners[layer] == final_layer; });
  if (same >= 0) return same;
  note = "it has no layer " + baseline.site(static_cast<std::size_t>(final_layer)).name +
         "; what lies after the last layer that both have was taken.";
  return last_product(arm, [&](std::size_t layer) { return partners[layer] >= 0; }) + 1;
}

// The products from `start` to `last`, of the same entry and like `last` in a head or not.
LastLayers products(const ComparedRun& run, int start, int last, std::string note) {
  LastLayers found{{}, std::move(note)};
  const auto end = static_cast<std::size_t>(last);
  for (auto layer = static_cast<std::size_t>(start); layer <= end; ++layer) {
    if (run.is_product(layer) && run.run.strata[layer].entry == run.run.strata[end].entry &&
        run.in_head(layer) == run.in_head(end)) {
      found.layers.push_back(layer);
    }
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
  const int last = last_product(baseline);
  if (last < 0) return {{}, kNone};
  const bool in_head = baseline.in_head(static_cast<std::size_t>(last));
  return products(baseline, in_head ? 0 : last, last, "");
}

LastLayers last_layers(const ComparedRun& baseline, const ComparedRun& arm,
                       const std::vector<int>& partners) {
  if (&arm == &baseline) return last_layers(baseline);
  const int last = last_product(arm), final_layer = last_product(baseline);
  if (last < 0 || final_layer < 0) return {{}, kNone};
  std::string note;
  int start = 0;
  if (!arm.in_head(static_cast<std::size_t>(last))) {
    start = first_of_end(baseline, arm, partners, final_layer, note);
  }
  LastLayers found = products(arm, start, last, note);
  if (found.layers.empty()) found.note = kNone;
  return found;
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
