// top_k: whether the fault throws the golden answer out of the k largest logits.
#include <cmath>
#include <string>

#include "bitfall/plugin.h"

namespace {

using namespace bitfall;

/// NaN counts as the largest number, as in torch.topk.
bool larger(float a, float b) { return std::isnan(a) ? !std::isnan(b) : a > b; }

class TopK final : public Metric {
 public:
  explicit TopK(std::int64_t k)
      : k_(k),
        name_("top" + std::to_string(k) + "_lost"),
        column_{name_.c_str(), ColumnKind::kEvent, "1",
                "The golden answer is not among the k largest logits"} {}

  View<const MetricColumn> columns() const override { return {&column_, 1}; }

  void measure(const Observation& trial, View<double> values) const override {
    const View<const float> logits = trial.faulty_logits;
    const auto golden = static_cast<std::size_t>(trial.golden_top1);
    std::int64_t ahead = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const bool earlier = i < golden && !larger(logits[golden], logits[i]);  // as large, and first
      if (earlier || larger(logits[i], logits[golden])) ++ahead;
    }
    values[0] = ahead >= k_ ? 1 : 0;
  }

 private:
  std::int64_t k_;
  std::string name_;
  MetricColumn column_;
};

constexpr OptionSpec kOptions[] = {
    {"k", OptionType::kInteger, "5", 1, 1000, nullptr, "How many of the largest logits count."},
};

constexpr Component<Metric> kTopK{
    "top_k", "Whether the golden answer is still among the k largest logits", kOptions,
    [](const Options& options) -> Metric* { return new TopK(options.integer("k")); }};

constexpr About kAbout{.name = "top_k",
                       .version = "1.0",
                       .summary = "The golden answer's rank as a metric",
                       .group = nullptr,
                       .licence = nullptr};  // an SPDX expression, such as "Apache-2.0"

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kTopK);
