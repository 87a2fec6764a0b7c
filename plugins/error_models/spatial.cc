// spatial: a pattern of elements is hit together, as one broken operand, address or lane of an
// accelerator does it.
#include <bit>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>

#include "binomial.h"
#include "bit_selection.h"
#include "distinct_numbers.h"
#include "error_models.h"
#include "pattern.h"
#include "special_value.h"

namespace bitfall {
namespace {

constexpr std::int64_t kDefaultSize = 16;

std::int64_t below(RandomStream& random, std::int64_t n) {
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
}

/// What happens to each element of a pattern.
class ElementFault {
 public:
  explicit ElementFault(const Options& options)
      : name_(options.text("fault")),
        bits_(options, /*bits=*/1, /*adjacent=*/false, "payload"),
        same_bit_(options.flag("same_bit")) {
    if (name_ == "flip") return;
    const char* unread = nullptr;
    if (!options.integers("bit_range").empty()) unread = "bit_range";
    if (options.text("bit_class") != "any") unread = "bit_class";
    if (!same_bit_) unread = "same_bit";
    if (unread != nullptr) {
      throw std::invalid_argument(std::string(unread) + ": is read only with fault = \"flip\"");
    }
  }

  bool needs_golden_range() const { return name_ == "random_value"; }

  /// How many different faults there are at one place of the pattern; what the elements draw
  /// themselves is not counted. 0 = impossible at this site.
  double choices(const SiteView& site) const {
    if (name_ == "flip") {
      const int bits = std::popcount(bits_.candidates(site, 0));
      return bits > 0 && !same_bit_ ? 1 : bits;
    }
    if (name_ == "random_value") {
      const Range range = site.golden;
      return std::isfinite(range.minimum) && std::isfinite(range.maximum) &&
             range.minimum <= range.maximum;
    }
    return 1;
  }

  /// The edit that all elements share.
  Edit begin(const SiteView& site, RandomStream& random) const {
    Edit edit;
    if (name_ == "flip") {
      if (same_bit_) edit.mask = random_bit(site, random);
    } else if (name_ == "random_code") {
      edit.operation = EditOperation::kWrite;
    } else {
      edit.operation = EditOperation::kValue;
      if (name_ != "random_value") edit.value = special_value(name_, site);
    }
    return edit;
  }

  /// What one element draws for itself.
  void complete(Edit& edit, const SiteView& site, RandomStream& random) const {
    if (name_ == "flip" && !same_bit_) edit.mask = random_bit(site, random);
    if (name_ == "random_code") edit.mask = random.next() >> (32 - site.registers[0].bits);
    if (name_ == "random_value") {
      const double width = static_cast<double>(site.golden.maximum) - site.golden.minimum;
      edit.value = static_cast<float>(site.golden.minimum + width * random.uniform());
    }
  }

 private:
  std::uint32_t random_bit(const SiteView& site, RandomStream& random) const {
    const std::uint32_t candidates = bits_.candidates(site, 0);
    const std::int64_t skipped = below(random, std::popcount(candidates));
    return 1u << nth_bit(candidates, static_cast<int>(skipped));
  }

  std::string name_;
  BitSelection bits_;
  bool same_bit_;
};

/// Nullopt for "random".
std::optional<PatternKind> kind_of(std::string_view name) {
  if (name == "row") return PatternKind::kRow;
  if (name == "column") return PatternKind::kColumn;
  if (name == "position") return PatternKind::kPosition;
  if (name == "channel") return PatternKind::kChannel;
  if (name == "block") return PatternKind::kBlock;
  if (name == "stride") return PatternKind::kStride;
  if (name == "square") return PatternKind::kSquare;
  return std::nullopt;
}

std::optional<Pattern> read_pattern(const Options& options) {
  const std::string_view name = options.text("pattern");
  const std::int64_t size = options.integer("size");
  const bool aligned = options.flag("aligned");
  if (aligned && name != "block") {
    throw std::invalid_argument("aligned: is read only with pattern = \"block\"");
  }
  const bool sized = name == "block" || name == "stride" || name == "square" || name == "random";
  if (!sized && size != kDefaultSize) {
    throw std::invalid_argument(
        "size: is read only with pattern = \"block\", \"stride\", \"square\" or \"random\"; the "
        "shape sets the others' size");
  }
  const auto kind = kind_of(name);
  if (!kind) return std::nullopt;
  return Pattern{*kind, size, aligned};
}

class Spatial final : public ErrorModel {
 public:
  explicit Spatial(const Options& options)
      : pattern_(read_pattern(options)),
        size_(options.integer("size")),
        fraction_(options.number("fraction")),
        fault_(options) {}

  bool needs_golden_range() const override { return fault_.needs_golden_range(); }

  /// Places of the pattern x choices of the bit that all its elements share.
  double population(const SiteView& site) const override {
    const std::int64_t elements = element_count(site.shape);
    const double places =
        pattern_ ? static_cast<double>(pattern_->places(site.shape)) : set_count(elements, size_);
    return places * fault_.choices(site);
  }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    Grid grid;
    if (pattern_) {
      grid = pattern_->at(site.shape, below(random, pattern_->places(site.shape)));
    } else {
      grid.columns = element_count(site.shape);
    }
    Edit edit = fault_.begin(site, random);
    std::int64_t hits = pattern_ ? grid.size() : size_;
    if (fraction_ < 1) hits = draw_binomial(random, hits, fraction_, /*at_least_one=*/true);
    visit_distinct(random, grid.size(), hits, [&](std::int64_t index) {
      edit.element = grid.element(index);
      fault_.complete(edit, site, random);
      edits.add(edit);
    });
  }

 private:
  std::optional<Pattern> pattern_;  // nullopt: `size_` distinct random elements
  std::int64_t size_;
  double fraction_;
  ElementFault fault_;
};

constexpr OptionSpec kOptions[] = {
    {"pattern", OptionType::kText, nullptr, 0, 0,
     "row|column|position|channel|block|stride|square|random",
     "Which elements are hit together; in (C,H,W) row = same c and h, column = same c and w, "
     "position = same h and w in all channels"},
    {"size", OptionType::kInteger, "16", 1, 1e9, nullptr,
     "Number of elements of block and random, distance of stride, side of square; in elements"},
    {"aligned", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether a block starts at a multiple of size, as groups of outputs computed together do"},
    {"fault", OptionType::kText, "flip", 0, 0, "flip|zero|largest|nan|inf|random_code|random_value",
     "What happens to each element; random_value = uniform in the range of the site's golden "
     "values"},
    {"same_bit", OptionType::kFlag, "true", 0, 0, nullptr,
     "Of fault = \"flip\": whether all elements flip the same random bit, or each one its own"},
    {"fraction", OptionType::kNumber, "1", 1e-20, 1, nullptr,
     "Probability that an element of the pattern is hit, independently, given that one is hit"},
    kBitRangeOption,
    {"bit_class", OptionType::kText, "any", 0, 0, "any|sign|exponent|mantissa|regime",
     "Of fault = \"flip\": only payload bits of this class"},
};

}  // namespace

const Component<ErrorModel> kSpatial{
    "spatial", "Hits a pattern of elements together, every place of the pattern equally likely",
    kOptions, [](const Options& options) -> ErrorModel* { return new Spatial(options); }};

}  // namespace bitfall
