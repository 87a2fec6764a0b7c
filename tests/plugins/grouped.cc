// Of a group: an id that the program has too, options of every kind of list, a file, a format on
// another, a word to the user.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bitfall/plugin.h"

namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace): a plugin of strangers

constexpr OptionSpec kClampOptions[] = {
    {"base", OptionType::kText, "fp16", 0, 0, nullptr, "The format below."},
    {"bound", OptionType::kNumber, "4", 1e-30, 1e30, nullptr, "Largest magnitude."},
};

/// Another format whose values stay within +-bound.
class Clamped final : public NumberFormat {
 public:
  explicit Clamped(const Options& options)
      : base_(options.host().make_format(options.text("base"), {})),
        bound_(static_cast<float>(options.number("bound"))) {
    options.host().log(LogLevel::kMessage, "stands on " + std::string(options.text("base")));
  }
  View<const Register> registers() const override { return base_->registers(); }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    const std::vector<float> kept = clamped(values);
    base_->encode(kept, slice, metadata, codes);
  }
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    base_->decode(codes, slice, metadata, values);
    const std::vector<float> kept = clamped(values);
    for (std::size_t i = 0; i < kept.size(); ++i) values[i] = kept[i];
  }
  float largest(View<const std::uint32_t>) const override { return bound_; }

 private:
  std::vector<float> clamped(View<const float> values) const {
    std::vector<float> kept(values.begin(), values.end());
    for (float& value : kept) value = value > bound_ ? bound_ : value < -bound_ ? -bound_ : value;
    return kept;
  }
  std::unique_ptr<NumberFormat> base_;
  float bound_;
};

constexpr OptionSpec kListOptions[] = {
    {"weights", OptionType::kNumbers, nullptr, 0, 1, nullptr, "Numbers.", "[0.25, 0.75]"},
    {"words", OptionType::kTexts, "['a', 'b']", 0, 0, "a|b|c", "Words."},
    {"table", OptionType::kFile, "", 0, 0, nullptr, "A file of numbers."},
};

constexpr MetricColumn kColumns[] = {
    {"given", ColumnKind::kQuantity, "1", "Sum of weights, plus 10 a word, plus 1000 x the file"}};

class Given final : public Metric {
 public:
  explicit Given(const Options& options) {
    for (const double weight : options.numbers("weights")) sum_ += weight;
    sum_ += 10 * static_cast<double>(options.texts("words").size());
    const std::string path(options.file("table"));
    if (path.empty()) return;
    std::FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) throw std::runtime_error("the file is gone");
    double number = 0;
    if (std::fscanf(file, "%lf", &number) == 1) sum_ += 1000 * number;
    std::fclose(file);
  }
  View<const MetricColumn> columns() const override { return kColumns; }
  void measure(const Observation&, View<double> values) const override { values[0] = sum_; }

 private:
  double sum_ = 0;
};

/// A format that stands on itself.
NumberFormat* make_ouroboros(const Options& options) {
  return options.host().make_format("ouroboros", {});
}

constexpr Component<NumberFormat> kFormats[] = {
    {"ouroboros", "Never made", {}, make_ouroboros},
    {"fp16", "Another fp16", kClampOptions,
     [](const Options& options) -> NumberFormat* { return new Clamped(options); }},
    {"clamped", "Another format within bounds", kClampOptions,
     [](const Options& options) -> NumberFormat* { return new Clamped(options); }},
};
constexpr Component<Metric> kGiven{
    "given", "What its options give", kListOptions,
    [](const Options& options) -> Metric* { return new Given(options); }};

constexpr About kAbout{.name = "acme-tests",
                       .version = "1.2.0-rc.1",
                       .summary = "components of a group",
                       .group = "acme",
                       .licence = "Apache-2.0",
                       .url = "https://example.org/acme",
                       .cite = "doi:10.1000/182"};

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kFormats, kGiven);
