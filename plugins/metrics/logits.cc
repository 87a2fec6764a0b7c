// logits: the faulty answer itself, for those who judge it by other means.
#include <limits>
#include <string>
#include <vector>

#include "metrics.h"

namespace bitfall {
namespace {

class Logits final : public Metric {
 public:
  explicit Logits(std::int64_t classes) {
    names_.reserve(static_cast<std::size_t>(classes));  // columns point into it
    for (std::int64_t i = 0; i < classes; ++i) {
      names_.push_back("logit_" + std::to_string(i));
      columns_.push_back({names_.back().c_str(), ColumnKind::kQuantity, "1",
                          "The network's answer for this class, of the faulty pass"});
    }
  }
  View<const MetricColumn> columns() const override { return columns_; }

  void measure(const Observation& observation, View<double> values) const override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = i < observation.faulty_logits.size() ? observation.faulty_logits[i]
                                                       : std::numeric_limits<double>::quiet_NaN();
    }
  }

 private:
  std::vector<std::string> names_;
  std::vector<MetricColumn> columns_;
};

// Together with the other columns of a trial within the 2000 that SQLite holds.
constexpr OptionSpec kOptions[] = {
    {"classes", OptionType::kInteger, nullptr, 1, 1900, nullptr,
     "Number of logits to keep, from the first; a column each, NaN where the network has fewer"},
};

}  // namespace

const Component<Metric> kLogits{
    "logits", "The faulty logits themselves, a column per class", kOptions,
    [](const Options& options) -> Metric* { return new Logits(options.integer("classes")); }};

}  // namespace bitfall
