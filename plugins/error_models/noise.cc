// noise: elements become their golden number plus noise, or times (1 + noise).
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "distinct_numbers.h"
#include "error_models.h"
#include "normal.h"

namespace bitfall {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();

class Noise final : public ErrorModel {
 public:
  explicit Noise(const Options& options)
      : multiply_(options.text("kind") == "multiply"),
        gaussian_(options.text("distribution") == "gaussian"),
        relative_(options.text("relative_to") == "golden_range"),
        deviation_(options.number("standard_deviation")),
        elements_(options.integer("elements")),
        fraction_(options.number("fraction")) {
    if (multiply_ && relative_) {
      throw std::invalid_argument(
          "relative_to: is read only with kind = \"add\"; a factor is relative to its element");
    }
    if (fraction_ > 0 && elements_ != 1) {
      throw std::invalid_argument(
          "elements: cannot be given together with fraction; each says how many elements are hit");
    }
  }

  bool needs_golden_range() const override { return relative_; }

  /// The elements that may be hit; amounts of noise are not counted.
  double population(const SiteView& site) const override {
    const double scale = relative_ ? width(site.golden) : 1;
    if (!std::isfinite(scale) || scale <= 0) return 0;
    const std::int64_t elements = site.registers[0].count;
    return hit_count(elements) <= elements ? static_cast<double>(elements) : 0;
  }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const double deviation = deviation_ * (relative_ ? width(site.golden) : 1);
    const std::int64_t elements = site.registers[0].count;
    Edit edit;
    edit.operation = multiply_ ? EditOperation::kMultiply : EditOperation::kAdd;
    visit_distinct(random, elements, hit_count(elements), [&](std::int64_t element) {
      const double noise = deviation * standard_noise(random);
      edit.element = element;
      edit.value =
          static_cast<float>(std::clamp(multiply_ ? 1 + noise : noise, -kLargest, kLargest));
      edits.add(edit);
    });
  }

 private:
  static double width(const Range& range) {
    return static_cast<double>(range.maximum) - range.minimum;
  }

  /// `elements`, or `fraction` of all rounded half up, but at least one.
  std::int64_t hit_count(std::int64_t all) const {
    if (fraction_ <= 0) return elements_;
    return std::max<std::int64_t>(
        1, static_cast<std::int64_t>(std::floor(fraction_ * static_cast<double>(all) + 0.5)));
  }

  /// Of mean 0 and standard deviation 1.
  double standard_noise(RandomStream& random) const {
    constexpr double kSqrt3 = 0x1.bb67ae8584caap0;
    return gaussian_ ? draw_normal(random) : (2 * random.uniform() - 1) * kSqrt3;
  }

  bool multiply_;
  bool gaussian_;
  bool relative_;
  double deviation_;
  std::int64_t elements_;
  double fraction_;
};

constexpr OptionSpec kOptions[] = {
    {"kind", OptionType::kText, "add", 0, 0, "add|multiply",
     "add = golden number + noise; multiply = golden number x (1 + noise)"},
    {"distribution", OptionType::kText, "gaussian", 0, 0, "gaussian|uniform",
     "The noise's distribution, of mean 0; uniform = within +-sqrt(3) standard deviations"},
    {"standard_deviation", OptionType::kNumber, nullptr, 1e-30, 1e30, nullptr,
     "Of the noise: in the site's own unit, as a share of relative_to, or for multiply as a share "
     "of each element"},
    {"relative_to", OptionType::kText, "none", 0, 0, "none|golden_range",
     "Unit of standard_deviation with kind = \"add\": the site's own, or the site's largest golden "
     "value minus its smallest"},
    {"elements", OptionType::kInteger, "1", 1, 1e9, nullptr,
     "How many distinct elements are hit together; smaller sites are not hit"},
    {"fraction", OptionType::kNumber, "0", 0, 1, nullptr,
     "Share of the site's elements that are hit together, instead of elements: rounded half up, at "
     "least one; 0 = use elements"},
};

}  // namespace

const Component<ErrorModel> kNoise{
    "noise", "Adds noise to elements or multiplies them by noise, every element equally likely",
    kOptions, [](const Options& options) -> ErrorModel* { return new Noise(options); }};

}  // namespace bitfall
