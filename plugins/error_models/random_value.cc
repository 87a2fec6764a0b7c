// random_value: one element gets a random real number, or a random code.
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "error_models.h"

namespace bitfall {
namespace {

/// A float32's place among all float32 in the order of their values; both zeros have place 0.
std::int64_t place(float value) {
  const auto magnitude = static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(std::fabs(value)));
  return std::signbit(value) ? -magnitude : magnitude;
}

/// A uniform real number of an interval, stored in the site's format.
class RandomValue final : public ErrorModel {
 public:
  enum class Source { kFormat, kGolden, kInterval };

  RandomValue(Source source, Range interval) : source_(source), interval_(interval) {}

  bool needs_golden_range() const override { return source_ == Source::kGolden; }

  /// Elements x float32 numbers in the interval.
  double population(const SiteView& site) const override {
    const Range range = interval(site);
    const bool usable = std::isfinite(range.minimum) && std::isfinite(range.maximum) &&
                        range.minimum <= range.maximum && site.largest > 0;
    if (!usable) return 0;
    return static_cast<double>(site.registers[0].count) *
           static_cast<double>(place(range.maximum) - place(range.minimum) + 1);
  }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const Range range = interval(site);
    Edit edit;
    edit.element = static_cast<std::int64_t>(
        random.below(static_cast<std::uint64_t>(site.registers[0].count)));
    edit.operation = EditOperation::kValue;
    // In float64, where the width of the widest float32 interval is finite.
    const double width = static_cast<double>(range.maximum) - range.minimum;
    edit.value = static_cast<float>(range.minimum + width * random.uniform());
    edits.add(edit);
  }

 private:
  Range interval(const SiteView& site) const {
    if (source_ == Source::kFormat) return {-site.largest, site.largest};
    return source_ == Source::kGolden ? site.golden : interval_;
  }

  Source source_;
  Range interval_;
};

/// A uniform code of the payload. The code that is already there may come up; then the fault is
/// masked.
class RandomCode final : public ErrorModel {
 public:
  double population(const SiteView& site) const override {
    return std::ldexp(static_cast<double>(site.registers[0].count), site.registers[0].bits);
  }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    Edit edit;
    edit.element = static_cast<std::int64_t>(
        random.below(static_cast<std::uint64_t>(site.registers[0].count)));
    edit.operation = EditOperation::kWrite;
    edit.mask = random.next() >> (32 - site.registers[0].bits);
    edits.add(edit);
  }
};

ErrorModel* create(const Options& options) {
  const std::string_view range = options.text("range");
  const double minimum = options.number("minimum");
  const double maximum = options.number("maximum");
  if (range != "interval" && (minimum != 0 || maximum != 0)) {
    throw std::invalid_argument(std::string(minimum != 0 ? "minimum" : "maximum") +
                                ": is read only with range = \"interval\"");
  }
  if (options.text("mode") == "code") {
    if (range != "format") {
      throw std::invalid_argument(
          "range: is read only with mode = \"value\"; a random code may be any code");
    }
    return new RandomCode;
  }
  if (range == "format") return new RandomValue(RandomValue::Source::kFormat, {});
  if (range == "golden") return new RandomValue(RandomValue::Source::kGolden, {});
  if (minimum >= maximum) {
    throw std::invalid_argument("maximum: must be above minimum; range = \"interval\" needs both");
  }
  return new RandomValue(RandomValue::Source::kInterval,
                         {static_cast<float>(minimum), static_cast<float>(maximum)});
}

constexpr double kLargest = std::numeric_limits<float>::max();

constexpr OptionSpec kOptions[] = {
    {"mode", OptionType::kText, "value", 0, 0, "value|code",
     "value = a uniform real number, rounded into the format; code = uniform random payload bits"},
    {"range", OptionType::kText, "format", 0, 0, "format|golden|interval",
     "Where a value lies: the format's finite range, the range of the site's golden values, or "
     "minimum to maximum"},
    {"minimum", OptionType::kNumber, "0", -kLargest, kLargest, nullptr,
     "Lower end of range = \"interval\", in the site's own unit"},
    {"maximum", OptionType::kNumber, "0", -kLargest, kLargest, nullptr,
     "Upper end of range = \"interval\", in the site's own unit"},
};

}  // namespace

const Component<ErrorModel> kRandomValue{
    "random_value",
    "Replaces one element by a random number or a random code, every element equally likely",
    kOptions, create};

}  // namespace bitfall
