// orthogonal: one linear layer whose rows start at right angles to each other, of one length (its
// columns, where there are more classes than features), as torch.nn.init.orthogonal_.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "bitfall/plugin.h"

namespace {

using namespace bitfall;

double normal(RandomStream& random) {  // Box and Muller, 1958
  const double length = std::sqrt(-2 * std::log(1 - random.uniform()));
  return length * std::cos(2 * 3.141592653589793 * random.uniform());
}

class Orthogonal final : public HeadInit {
 public:
  explicit Orthogonal(double gain) : gain_(gain) {}

  void build(const HeadRequest& request, RandomStream& random, HeadLayers& layers) const override {
    const std::size_t classes = request.classes.size();
    const auto features = static_cast<std::size_t>(request.features);
    const bool wide = classes <= features;
    std::vector<std::vector<double>> rows;  // vectors of length 1: of a row each, or of a column
    while (rows.size() < std::min(classes, features)) {
      std::vector<double> row(std::max(classes, features));
      for (double& number : row) number = normal(random);
      for (int twice = 0; twice < 2; ++twice) {  // the second time takes what rounding has left
        for (const auto& other : rows) take(row, other, dot(row, other));
      }
      const double length = std::sqrt(dot(row, row));
      if (length < 1e-6) continue;
      for (double& number : row) number /= length;
      rows.push_back(std::move(row));
    }
    std::vector<float> weight(classes * features);
    for (std::size_t c = 0; c < classes; ++c) {
      for (std::size_t f = 0; f < features; ++f) {
        weight[c * features + f] = static_cast<float>(gain_ * (wide ? rows[c][f] : rows[f][c]));
      }
    }
    layers.linear("linear", static_cast<std::int64_t>(classes), request.features, weight,
                  std::vector<float>(classes), true);
  }

 private:
  static double dot(const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  }
  static void take(std::vector<double>& row, const std::vector<double>& other, double times) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] -= times * other[i];
  }

  double gain_;
};

constexpr OptionSpec kOptions[] = {
    {"gain", OptionType::kNumber, "1", 1e-6, 1e6, nullptr, "Length of each row."},
};

constexpr Component<HeadInit> kOrthogonal{
    "orthogonal", "One linear layer whose rows start at right angles", kOptions,
    [](const Options& options) -> HeadInit* { return new Orthogonal(options.number("gain")); }};

constexpr About kAbout{.name = "orthogonal",
                       .version = "1.0",
                       .summary = "A classifier head whose rows start at right angles",
                       .group = nullptr,
                       .licence = nullptr};  // an SPDX expression, such as "Apache-2.0"

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kOrthogonal);
