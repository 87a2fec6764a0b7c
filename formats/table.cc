// A format from a file: any elementwise format of up to 16 bits as the numbers that its codes stand
// for. Storing is a step function of the number: the file, or the rounding rule, says where a
// code's numbers begin.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/plugin.h"
#include "rounding.h"
#include "table_file.h"

namespace bitfall {
namespace {

enum class Rule { kEven, kAway, kZero, kTowardZero, kUp, kDown };
enum class Beyond { kInf, kNan, kSaturate };

// Rising with the number, -0 below 0; Inf and -Inf are the ends.
std::uint32_t key_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

float number_of_key(std::uint32_t key) {
  return std::bit_cast<float>(key >> 31 != 0 ? key & 0x7FFFFFFFu : ~key);
}

// The sign of 2 x - (a + b), exactly: the sum is rounded, but not across another double, and what
// it lost decides where it seems equal (Knuth's two-sum).
int from_middle(double x, double a, double b) {
  const double sum = a + b;
  if (2 * x != sum) return 2 * x < sum ? -1 : 1;
  const double part = sum - a;
  const double lost = (a - (sum - part)) + (b - part);
  return lost > 0 ? -1 : lost < 0 ? 1 : 0;
}

struct Step {
  std::uint32_t from;  // key of the smallest number
  std::uint32_t code;
};

// Between two numbers that the format has.
struct Gap {
  float low, high;
  std::uint32_t low_code, high_code;

  /// Whether a number above `low` is stored as `high`.
  bool rises(Rule rule, float x) const {
    if (x >= high) return true;
    if (rule == Rule::kUp || (rule == Rule::kTowardZero && high <= 0)) return x > low;
    if (rule == Rule::kDown || (rule == Rule::kTowardZero && low >= 0)) return false;
    const int middle = from_middle(x, low, high);
    if (middle != 0) return middle > 0;
    const bool high_is_farther = x >= 0;
    if (rule == Rule::kAway) return high_is_farther;
    if (rule == Rule::kZero) return !high_is_farther;
    const bool low_even = low_code % 2 == 0, high_even = high_code % 2 == 0;
    return low_even == high_even ? !high_is_farther : high_even;
  }

  /// The key of the smallest number that is.
  std::uint32_t threshold(Rule rule) const {
    std::uint32_t below = key_of(low), at = key_of(high);
    if (low == high) return at;  // -0 and 0
    while (at - below > 1) {
      const std::uint32_t middle = below + (at - below) / 2;
      (rises(rule, number_of_key(middle)) ? at : below) = middle;
    }
    return at;
  }
};

class Table final : public NumberFormat {
 public:
  explicit Table(const Options& options) : stochastic_(options.text("rounding") == "stochastic") {
    rounding_.seed = static_cast<std::uint64_t>(options.integer(kSeedOption.name));
    TableFile file = TableReader(std::string(std::string_view(options.file("file")))).read();
    values_ = std::move(file.values);
    if (file.rounded > 0) {
      options.host().log(LogLevel::kMessage,
                         std::to_string(file.rounded) +
                             " numbers of the table are not float32's, and become "
                             "its nearest");
    }
    name_bits(file.bits, options.text("fields"));
    find_specials();
    choose_nan(options);
    const std::size_t other = nan_code_ ^ (values_.size() / 2);
    negative_nan_code_ =
        has_nan_ && std::isnan(values_[other]) ? static_cast<std::uint32_t>(other) : nan_code_;
    inf_is_nan_ = options.text("inf") == "nan";
    if (inf_is_nan_ && !has_nan_) {
      throw std::invalid_argument("inf: \"nan\" needs a code for NaN, and the table has none");
    }
    if (file.from.empty()) {
      make_steps(options);
    } else {
      take_steps(options, file.from);
    }
    for (const Step& step : steps_) {
      ++buckets_[(step.from >> 16) + 1];
    }
    for (std::size_t i = 1; i < buckets_.size(); ++i) buckets_[i] += buckets_[i - 1];
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  View<const Register> registers() const override { return {&payload_, 1}; }

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    const std::uint64_t key = stochastic_ ? rounding_.stream_key(slice) : 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      codes[i] = code_of(values[i], key, slice.first + static_cast<std::int64_t>(i) * slice.stride);
    }
  }

  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = values_[codes[i] & mask()];
  }

  void emulate(View<float> values, const Slice& slice, View<std::uint32_t>) const override {
    const std::uint64_t key = stochastic_ ? rounding_.stream_key(slice) : 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t element = slice.first + static_cast<std::int64_t>(i) * slice.stride;
      values[i] = values_[code_of(values[i], key, element)];
    }
  }

  float largest(View<const std::uint32_t>) const override { return largest_; }

  FormatTraits traits() const override {
    const char* const overflow = beyond_ == Beyond::kInf   ? "Inf"
                                 : beyond_ == Beyond::kNan ? "NaN"
                                                           : "saturates";
    const char* const nan = has_nan_ ? "NaN" : nan_code_ == numbers_.back().code ? "largest" : "0";
    return {largest_, 0,   smallest_,
            overflow, nan, "ml_dtypes, NumPy, other formats of this program"};
  }

 private:
  std::size_t mask() const { return values_.size() - 1; }

  std::uint32_t code_of(float value, std::uint64_t key, std::int64_t element) const {
    if (std::isnan(value) || (inf_is_nan_ && std::isinf(value))) {
      return std::signbit(value) ? negative_nan_code_ : nan_code_;
    }
    const std::uint32_t place = key_of(value);
    const auto first = steps_.begin() + static_cast<std::ptrdiff_t>(buckets_[place >> 16]);
    const auto last = steps_.begin() + static_cast<std::ptrdiff_t>(buckets_[(place >> 16) + 1]);
    auto step = std::upper_bound(first, last, place,
                                 [](std::uint32_t a, const Step& b) { return a < b.from; });
    --step;  // the first step begins at -Inf
    if (stochastic_ && std::isfinite(value)) {
      const auto next = step + 1;
      const float low = values_[step->code];
      if (next == steps_.end() || low == value || !std::isfinite(low)) return step->code;
      const float high = values_[next->code];
      if (!std::isfinite(high) || high < value || low > value) return step->code;
      const double share = (double{value} - low) / (double{high} - low);
      return rounding_bits(key, element) * 0x1p-32 < share ? next->code : step->code;
    }
    return step->code;
  }

  // Letters from the most significant bit down.
  void name_bits(int bits, std::string_view fields) {
    classes_.fill(BitClass::kMantissa);
    payload_ = {"payload", bits, std::span(classes_).first(static_cast<std::size_t>(bits))};
    if (fields.empty()) {
      const std::size_t half = values_.size() / 2;
      bool sign = bits > 1;
      for (std::size_t code = 0; code < values_.size(); ++code) {
        sign = sign && !(code < half ? values_[code] < 0 : values_[code] > 0);
      }
      if (sign) classes_[static_cast<std::size_t>(bits - 1)] = BitClass::kSign;
      return;
    }
    std::string letters(fields);
    std::erase(letters, ' ');
    const bool known = letters.find_first_not_of("semr") == letters.npos;
    if (!known || letters.size() != static_cast<std::size_t>(bits)) {
      throw std::invalid_argument(
          "fields: \"" + std::string(fields) + "\" is not a letter for each of the " +
          std::to_string(bits) +
          " bits; allowed: s for sign, e exponent, m mantissa, r regime, from the "
          "most significant bit down");
    }
    for (std::size_t i = 0; i < letters.size(); ++i) {
      const char letter = letters[letters.size() - 1 - i];
      classes_[i] = letter == 's'   ? BitClass::kSign
                    : letter == 'e' ? BitClass::kExponent
                    : letter == 'm' ? BitClass::kMantissa
                                    : BitClass::kRegime;
    }
  }

  // Distinct numbers in their order; of codes for one number the first is stored.
  void find_specials() {
    std::vector<bool> seen_inf(2);
    for (std::size_t code = 0; code < values_.size(); ++code) {
      const float value = values_[code];
      const auto word = static_cast<std::uint32_t>(code);
      if (std::isnan(value)) {
        if (!has_nan_) nan_code_ = word;
        has_nan_ = true;
      } else if (std::isinf(value)) {
        if (!seen_inf[value < 0]) infs_[value < 0] = word;
        seen_inf[value < 0] = true;
      } else {
        numbers_.push_back({key_of(value), word});
      }
    }
    has_inf_ = {seen_inf[0], seen_inf[1]};
    if (numbers_.empty()) throw std::invalid_argument("file: holds no number that is finite");
    std::stable_sort(numbers_.begin(), numbers_.end(),
                     [](const Step& a, const Step& b) { return a.from < b.from; });
    numbers_.erase(std::unique(numbers_.begin(), numbers_.end(),
                               [](const Step& a, const Step& b) { return a.from == b.from; }),
                   numbers_.end());
    for (const Step& number : numbers_) {
      const float magnitude = std::fabs(values_[number.code]);
      largest_ = std::max(largest_, magnitude);
      if (magnitude > 0 && (smallest_ == 0 || magnitude < smallest_)) smallest_ = magnitude;
    }
  }

  void choose_nan(const Options& options) {
    const std::int64_t named = options.integer("nan_code");
    if (named >= 0) {
      if (static_cast<std::size_t>(named) > mask() ||
          !std::isnan(values_[static_cast<std::size_t>(named)])) {
        throw std::invalid_argument("nan_code: " + std::to_string(named) +
                                    " does not stand for NaN in the table");
      }
      nan_code_ = static_cast<std::uint32_t>(named);
      return;
    }
    const std::string_view rule = options.text("nan");
    if (has_nan_ && rule == "auto") return;
    has_nan_ = false;
    if (rule == "largest") {
      nan_code_ = numbers_.back().code;
      return;
    }
    // Zero, or what is nearest to it; of two the positive one.
    nan_code_ = numbers_.front().code;
    for (const Step& number : numbers_) {
      if (std::fabs(values_[number.code]) <= std::fabs(values_[nan_code_])) nan_code_ = number.code;
    }
  }

  static Rule rule_of(std::string_view word) {
    if (word == "nearest_away") return Rule::kAway;
    if (word == "nearest_zero") return Rule::kZero;
    if (word == "toward_zero") return Rule::kTowardZero;
    if (word == "up") return Rule::kUp;
    return word == "down" ? Rule::kDown : Rule::kEven;
  }

  Beyond beyond_of(const Options& options) const {
    const std::string_view word = options.text("overflow");
    const bool negative = values_[numbers_.front().code] < 0;
    if (word == "nan" && !has_nan_) {
      throw std::invalid_argument("overflow: \"nan\" needs a code for NaN, and the table has none");
    }
    const bool infinite = has_inf_[0] && (has_inf_[1] || !negative);
    if (word == "inf" && !infinite) {
      throw std::invalid_argument(
          "overflow: \"inf\" needs codes for Inf and -Inf, and the table lacks one");
    }
    if (word == "nan") return Beyond::kNan;
    return word == "inf" || (word == "auto" && infinite) ? Beyond::kInf : Beyond::kSaturate;
  }

  // The smallest magnitude that is too large: as if the numbers went on in their last step.
  static float too_large(Rule rule, bool upward, float last, float before, std::uint32_t code) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    if (rule == Rule::kTowardZero || rule == (upward ? Rule::kDown : Rule::kUp)) return kInf;
    const double next = double{last} + (double{last} - before);
    std::uint32_t below = key_of(last), at = key_of(kInf);
    while (at - below > 1) {
      const std::uint32_t middle = below + (at - below) / 2;
      const int side = from_middle(number_of_key(middle), last, next);
      const bool tie_rises = rule == Rule::kAway || (rule == Rule::kEven && code % 2 != 0);
      const bool rises =
          rule == Rule::kUp || rule == Rule::kDown || side > 0 || (side == 0 && tie_rises);
      (rises ? at : below) = middle;
    }
    return number_of_key(at);
  }

  void make_steps(const Options& options) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const std::string_view rounding = options.text("rounding");
    const Rule rule = rule_of(rounding);
    beyond_ = beyond_of(options);
    const auto number = [&](std::size_t i) { return values_[numbers_[i].code]; };
    const std::size_t count = numbers_.size();
    const float before = count > 1 ? number(count - 2) : 0, after = count > 1 ? number(1) : 0;
    std::uint32_t start = key_of(-kInf);
    if (beyond_ != Beyond::kSaturate && number(0) < 0) {
      steps_.push_back({start, beyond_ == Beyond::kInf ? infs_[1] : negative_nan_code_});
      start = key_of(-too_large(rule, false, -number(0), -after, numbers_[0].code)) + 1;
    }
    steps_.push_back({start, numbers_[0].code});
    for (std::size_t i = 1; i < count; ++i) {
      const Gap gap{number(i - 1), number(i), numbers_[i - 1].code, numbers_[i].code};
      steps_.push_back({gap.threshold(stochastic_ ? Rule::kDown : rule), numbers_[i].code});
    }
    if (beyond_ != Beyond::kSaturate && number(count - 1) > 0) {
      const float top = too_large(rule, true, number(count - 1), before, numbers_.back().code);
      steps_.push_back({key_of(top), beyond_ == Beyond::kInf ? infs_[0] : nan_code_});
    }
  }

  // Those of the file.
  void take_steps(const Options& options, const std::vector<float>& from) {
    for (const char* name : {"rounding", "overflow"}) {
      const std::string_view word = options.text(name);
      if (word != "nearest" && word != "auto") {
        throw std::invalid_argument(std::string(name) +
                                    ": the file's \"from\" says where each code's numbers begin; "
                                    "leave this out");
      }
    }
    for (std::size_t code = 0; code < from.size(); ++code) {
      if (!std::isnan(from[code]))
        steps_.push_back({key_of(from[code]), static_cast<std::uint32_t>(code)});
    }
    std::sort(steps_.begin(), steps_.end(),
              [](const Step& a, const Step& b) { return a.from < b.from; });
    const auto refuse = [](std::uint32_t code, const std::string& what) {
      throw std::invalid_argument("file: from of code " + std::to_string(code) + ": " + what);
    };
    if (steps_.empty()) throw std::invalid_argument("file: names no code's from");
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const auto& [first, code] = steps_[i];
      const bool last = i + 1 == steps_.size();
      if (!last && steps_[i + 1].from == first) {
        refuse(code, "code " + std::to_string(steps_[i + 1].code) + " has the same");
      }
      const float value = values_[code];
      if (std::isnan(value)) continue;
      // What a code stands for is stored as that code, or values would wander each time that they
      // are stored.
      const std::uint32_t key = key_of(value);
      const bool starts_later = i > 0 && key < first;
      if (starts_later || (!last && key >= steps_[i + 1].from)) {
        refuse(code, "the number that it stands for is not among those that are stored as it");
      }
    }
    steps_.front().from = key_of(-std::numeric_limits<float>::infinity());
    if (std::isinf(values_[steps_.back().code])) beyond_ = Beyond::kInf;
    if (std::isnan(values_[steps_.back().code])) beyond_ = Beyond::kNan;
  }

  bool stochastic_;
  Rounding rounding_;
  std::vector<float> values_;                 // by code
  std::vector<Step> numbers_;                 // finite ones, rising; `from` is their own key
  std::vector<Step> steps_;                   // rising
  std::array<std::size_t, 65537> buckets_{};  // by a key's upper half: steps that begin before it
  std::array<std::uint32_t, 2> infs_{};       // codes of Inf, -Inf
  std::array<bool, 2> has_inf_{};
  std::uint32_t nan_code_ = 0;           // what NaN is stored as
  std::uint32_t negative_nan_code_ = 0;  // with the sign, where the table has such a NaN
  bool has_nan_ = false;
  bool inf_is_nan_ = false;
  Beyond beyond_ = Beyond::kSaturate;
  float largest_ = 0, smallest_ = 0;
  std::array<BitClass, 16> classes_{};
  Register payload_{};
};

constexpr OptionSpec kOptions[] = {
    {"file", OptionType::kFile, nullptr, 0, 0, nullptr,
     "CSV or .npy with the number of each code: 2, 4, 8, ... or 65536 numbers; a CSV's lines are "
     "value, or "
     "code,value, or code,value,from, with or without a header; an array is (codes,) or (codes, 2)",
     "format.csv"},
    {"rounding", OptionType::kText, "nearest", 0, 0,
     "nearest|nearest_away|nearest_zero|toward_zero|up|down|stochastic",
     "which of two neighbours a number between them becomes; nearest: ties to the even code; "
     "nearest_away, nearest_zero: ties away from and to 0. Not where the file has from"},
    kSeedOption,
    {"overflow", OptionType::kText, "auto", 0, 0, "auto|inf|nan|saturate",
     "what magnitudes become that round beyond the largest, as if the last step went on; auto: Inf "
     "if "
     "the table has it, else the largest. Not where the file has from"},
    {"inf", OptionType::kText, "auto", 0, 0, "auto|nan",
     "what Inf becomes; auto: what other large numbers become"},
    {"nan", OptionType::kText, "auto", 0, 0, "auto|zero|largest",
     "what NaN becomes; auto: the table's first NaN, with its sign where it has two; zero, and "
     "auto without one: 0 or "
     "the number nearest to it"},
    {"nan_code", OptionType::kInteger, "-1", -1, 65535, nullptr,
     "the code of NaN, of a table with several; -1: the first"},
    {"fields", OptionType::kText, "", 0, 0, nullptr,
     "a letter for each bit from the most significant one down: s sign, e exponent, m mantissa, r "
     "regime; empty: the "
     "highest bit is the sign where it is one, the others mantissa"},
};

constexpr Component<NumberFormat> kTable{
    "table", "a format of your own, of up to 16 bits, from a file with the number of each code",
    kOptions, [](const Options& options) -> NumberFormat* { return new Table(options); }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_table", "1.0", "Formats from files", bitfall::kTable);
