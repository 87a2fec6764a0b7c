// A good plugin: a metric with an option of every type, which gives back what it was created with.
#include <array>
#include <stdexcept>

#include "echo.h"

namespace bitfall {
namespace {

constexpr OptionSpec kOptions[] = {
    {"flag", OptionType::kFlag, "true", 0, 0, nullptr, "A flag"},
    {"integer", OptionType::kInteger, "3", -5, 5, nullptr, "An integer"},
    {"number", OptionType::kNumber, "0.25", 0, 1e6, nullptr, "A number"},
    {"word", OptionType::kText, "red", 0, 0, "red|green|blue", "One of three words"},
    {"text", OptionType::kText, "any text", 0, 0, nullptr, "Any text"},
    {"integers", OptionType::kIntegers, "[1, 2]", 0, 9, nullptr, "Integers"},
    {"required", OptionType::kInteger, nullptr, 7, 8, nullptr, "An integer without a default"},
};

constexpr MetricColumn kColumns[] = {
    {"flag", ColumnKind::kEvent, "1", "As given"},
    {"integer", ColumnKind::kQuantity, "1", "As given"},
    {"number", ColumnKind::kQuantity, "1", "As given"},
    {"word", ColumnKind::kQuantity, "1", "Its length"},
    {"text", ColumnKind::kQuantity, "1", "Its length"},
    {"integers", ColumnKind::kQuantity, "1", "Their digits in one number"},
    {"required", ColumnKind::kQuantity, "1", "As given"},
};

class GivesBack final : public Metric {
 public:
  explicit GivesBack(const Options& options)
      : values_{static_cast<double>(options.flag("flag")),
                static_cast<double>(options.integer("integer")),
                options.number("number"),
                static_cast<double>(options.text("word").size()),
                static_cast<double>(options.text("text").size()),
                0,
                static_cast<double>(options.integer("required"))} {
    for (const auto item : options.integers("integers")) {
      values_[5] = 10 * values_[5] + static_cast<double>(item);
    }
    if (options.text("word") == "blue" && options.integer("integer") < 0) {
      throw std::invalid_argument("integer: must not be negative with word = \"blue\"");
    }
  }
  View<const MetricColumn> columns() const override { return kColumns; }
  void measure(const Observation&, View<double> values) const override {
    for (std::size_t i = 0; i < values_.size(); ++i) values[i] = values_[i];
  }

 private:
  std::array<double, 7> values_;
};

constexpr Component<Metric> kMetric{
    "gives_back", "Gives back its options", kOptions,
    [](const Options& options) -> Metric* { return new GivesBack(options); }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("good_options", "2.5", "options of every type",
               [](bitfall::Registrar& registrar) { registrar.add(bitfall::kMetric); });
