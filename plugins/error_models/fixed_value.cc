// fixed_value: elements become one number: 0, the format's largest, NaN, Inf or any other.
#include <limits>
#include <stdexcept>
#include <string>

#include "distinct_numbers.h"
#include "error_models.h"
#include "special_value.h"

namespace bitfall {
namespace {

class FixedValue final : public ErrorModel {
 public:
  explicit FixedValue(const Options& options)
      : value_(options.text("value")),
        number_(static_cast<float>(options.number("number"))),
        elements_(options.integer("elements")) {
    if (value_ != "number" && number_ != 0) {
      throw std::invalid_argument("number: is read only with value = \"number\"");
    }
  }

  /// The sets of elements.
  double population(const SiteView& site) const override {
    return set_count(site.registers[0].count, elements_);
  }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    Edit edit;
    edit.operation = EditOperation::kValue;
    edit.value = value_ == "number" ? number_ : special_value(value_, site);
    visit_distinct(random, site.registers[0].count, elements_, [&](std::int64_t element) {
      edit.element = element;
      edits.add(edit);
    });
  }

 private:
  std::string value_;
  float number_;
  std::int64_t elements_;
};

constexpr double kLargest = std::numeric_limits<float>::max();

constexpr OptionSpec kOptions[] = {
    {"value", OptionType::kText, nullptr, 0, 0,
     "zero|largest|negative_largest|nan|inf|negative_inf|number",
     "What an element becomes, as far as the format can store it; largest = its largest finite "
     "magnitude"},
    {"number", OptionType::kNumber, "0", -kLargest, kLargest, nullptr,
     "The number of value = \"number\", in the site's own unit"},
    {"elements", OptionType::kInteger, "1", 1, 1e9, nullptr,
     "How many distinct elements are hit together; smaller sites are not hit"},
};

}  // namespace

const Component<ErrorModel> kFixedValue{
    "fixed_value", "Replaces elements by one number, every choice of elements equally likely",
    kOptions, [](const Options& options) -> ErrorModel* { return new FixedValue(options); }};

}  // namespace bitfall
