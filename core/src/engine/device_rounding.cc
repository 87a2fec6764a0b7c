#include "device_rounding.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace bitfall {
namespace {

constexpr int kMostBits = 19;

/// A float32's bits as a number that rises with its value; -0 lies just below +0.
std::int32_t place_of(float value) {
  const auto bits = std::bit_cast<std::int32_t>(value);
  return bits < 0 ? bits ^ std::numeric_limits<std::int32_t>::max() : bits;
}

float at_place(std::int32_t place) {
  return std::bit_cast<float>(place < 0 ? place ^ std::numeric_limits<std::int32_t>::max() : place);
}

class Rounder {
 public:
  Rounder(const NumberFormat& format, std::span<const std::int64_t> shape,
          std::span<const std::uint32_t> metadata)
      : format_(format),
        shape_(shape),
        size_(element_count(shape)),
        metadata_(metadata.begin(), metadata.end()) {}

  // As elements from the shape's start on, over and over.
  std::vector<float> round(std::vector<float> values, std::uint64_t stream = 0) {
    for (std::size_t at = 0; at < values.size(); at += static_cast<std::size_t>(size_)) {
      const std::size_t count = std::min(static_cast<std::size_t>(size_), values.size() - at);
      format_.emulate(std::span(values).subspan(at, count), {shape_, 0, 1, stream}, metadata_);
    }
    return values;
  }
  float round(float value) { return round(std::vector{value})[0]; }

  // Every number that a code stands for, in rising order.
  std::vector<float> numbers() {
    const std::size_t count = std::size_t{1} << format_.registers()[0].bits;
    std::vector<std::uint32_t> codes(count);
    for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint32_t>(i);
    std::vector<float> values(count);
    for (std::size_t at = 0; at < count; at += static_cast<std::size_t>(size_)) {
      const std::size_t part = std::min(static_cast<std::size_t>(size_), count - at);
      format_.decode(std::span(codes).subspan(at, part), {shape_}, metadata_,
                     std::span(values).subspan(at, part));
    }
    std::erase_if(values, [](float value) { return std::isnan(value); });
    std::sort(values.begin(), values.end(),
              [](float a, float b) { return place_of(a) < place_of(b); });
    values.erase(std::unique(values.begin(), values.end(),
                             [](float a, float b) { return place_of(a) == place_of(b); }),
                 values.end());
    // Those that rounding never gives (a negative zero in two's complement arithmetic) are no
    // results.
    const std::vector<float> kept = round(values);
    std::vector<float> results;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (place_of(kept[i]) == place_of(values[i])) results.push_back(values[i]);
    }
    return results;
  }

 private:
  const NumberFormat& format_;
  std::span<const std::int64_t> shape_;
  std::int64_t size_;
  std::vector<std::uint32_t> metadata_;
};

struct Table {
  std::vector<std::int32_t> thresholds;
  std::vector<float> results;
};

// The first place that no longer gives numbers[i], for each i but the last: by bisection, all at
// once.
std::vector<std::int32_t> boundaries(Rounder& rounder, const std::vector<float>& numbers) {
  std::vector<std::int64_t> low, high;
  for (std::size_t i = 0; i + 1 < numbers.size(); ++i) {
    low.push_back(place_of(numbers[i]));
    high.push_back(place_of(numbers[i + 1]));
  }
  for (int step = 0; step < 33; ++step) {
    std::vector<float> middle;
    for (std::size_t i = 0; i < low.size(); ++i) {
      middle.push_back(at_place(static_cast<std::int32_t>((low[i] + high[i]) >> 1)));
    }
    const std::vector<float> rounded = rounder.round(middle);
    for (std::size_t i = 0; i < low.size(); ++i) {
      if (high[i] - low[i] <= 1) continue;
      const bool below = place_of(rounded[i]) <= place_of(numbers[i]);
      (below ? low : high)[i] = (low[i] + high[i]) >> 1;
    }
  }
  return {high.begin(), high.end()};
}

// Of a last piece that ends before Inf: the first place beyond `number` that gives something else
// (a NaN on overflow), or one past Inf. `sign` -1 looks downwards.
std::int32_t overflow_place(Rounder& rounder, float number, int sign) {
  const std::int32_t infinity = place_of(std::numeric_limits<float>::infinity());
  const auto magnitude = [&](std::int64_t place) {
    return at_place(sign > 0 ? static_cast<std::int32_t>(place)
                             : ~static_cast<std::int32_t>(place));
  };
  const auto same = [&](std::int64_t place) {
    return place_of(rounder.round(magnitude(place))) == place_of(number);
  };
  if (same(infinity)) return infinity + 1;
  std::int64_t low = sign > 0 ? place_of(number) : ~place_of(number), high = infinity;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (same(middle) ? low : high) = middle;
  }
  return static_cast<std::int32_t>(high);
}

Table table_of(Rounder& rounder) {
  const std::vector<float> numbers = rounder.numbers();
  if (numbers.empty()) return {};
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::int32_t last = place_of(infinity);
  Table table;
  table.results.push_back(rounder.round(std::copysign(nan, -1.0f)));
  const auto add = [&](std::int32_t from, float result) {
    table.thresholds.push_back(from);
    table.results.push_back(result);
  };
  // ~place mirrors an ordered place at zero.
  const std::int32_t low = overflow_place(rounder, numbers.front(), -1);
  if (low <= last) add(~last, rounder.round(-infinity));
  add(low <= last ? ~low + 1 : ~last, numbers.front());
  const std::vector<std::int32_t> between = boundaries(rounder, numbers);
  for (std::size_t i = 0; i < between.size(); ++i) add(between[i], numbers[i + 1]);
  const std::int32_t high = overflow_place(rounder, numbers.back(), 1);
  if (high <= last) add(high, rounder.round(infinity));
  add(last + 1, rounder.round(nan));
  return table;
}

// Floats all over: any bits, and ordinary numbers.
std::vector<float> samples() {
  std::mt19937 random(1);
  std::vector<float> values;
  for (int i = 0; i < 1 << 15; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const float any = std::bit_cast<float>(bits);
    values.push_back(std::isnan(any) ? 1.0f : any);
    values.push_back(std::ldexp(static_cast<float>(static_cast<std::int32_t>(random())),
                                static_cast<int>(random() % 60) - 60));
  }
  return values;
}

}  // namespace

bool same_numbers(const at::Tensor& a, const at::Tensor& b) {
  return at::logical_or(a.view(at::kInt) == b.view(at::kInt), at::logical_and(a.isnan(), b.isnan()))
      .all()
      .item<bool>();
}

DeviceRounding::DeviceRounding(const std::vector<std::int32_t>& thresholds,
                               const std::vector<float>& results, const std::string& device)
    : thresholds_(at::tensor(thresholds, at::kInt).to(c10::Device(device))),
      results_(at::tensor(results, at::kFloat).to(c10::Device(device))) {}

std::optional<DeviceRounding> DeviceRounding::make(const NumberFormat& format,
                                                   std::span<const std::int64_t> shape,
                                                   std::span<const std::uint32_t> metadata,
                                                   const std::string& device) {
  if (!format.elementwise() || format.registers()[0].bits > kMostBits ||
      format.extension("bitfall.by_place") != nullptr) {
    return std::nullopt;
  }
  Rounder rounder(format, shape, metadata);
  const Table table = table_of(rounder);
  if (table.results.empty() || !std::is_sorted(table.thresholds.begin(), table.thresholds.end())) {
    return std::nullopt;
  }
  DeviceRounding rounding(table.thresholds, table.results, device);
  // What no table can tell shows in a comparison: with another stream, at other places.
  const std::vector<float> values = samples();
  const at::Tensor mine = rounding.by_table(at::tensor(values).to(c10::Device(device))).cpu();
  for (const std::uint64_t stream : {0, 1}) {
    if (!same_numbers(mine, at::tensor(rounder.round(values, stream)))) return std::nullopt;
  }
  rounding.find_cast(table.thresholds, table.results);
  return rounding;
}

at::Tensor DeviceRounding::by_table(const at::Tensor& value) const {
  const at::Tensor bits = value.view(at::kInt);
  const at::Tensor places =
      at::where(bits < 0, at::bitwise_xor(bits, std::numeric_limits<std::int32_t>::max()), bits);
  const at::Tensor piece = at::bucketize(places.contiguous(), thresholds_, /*out_int32=*/true,
                                         /*right=*/true);
  at::Tensor rounded = at::empty_like(value);
  rounded.copy_(results_.index_select(0, piece.reshape(-1)).view(value.sizes()));
  return rounded;
}

at::Tensor DeviceRounding::operator()(const at::Tensor& value) const {
  if (!cast_) return by_table(value);
  const at::Tensor cut = cast_->limit ? value.clamp(-*cast_->limit, *cast_->limit) : value;
  return cut.to(cast_->type).to(at::kFloat);
}

// A cast, like the table, gives larger numbers for larger ones: if both agree at both ends of each
// of the table's pieces, they agree within it.
bool DeviceRounding::gives_the_same(const Cast& cast,
                                    const std::vector<std::int32_t>& thresholds) const {
  std::vector<float> ends;
  for (const std::int32_t threshold : thresholds) {
    ends.push_back(at_place(threshold - 1));
    ends.push_back(at_place(threshold));
  }
  const float infinity = std::numeric_limits<float>::infinity();
  ends.insert(ends.end(), {infinity, -infinity, std::numeric_limits<float>::max(),
                           std::numeric_limits<float>::lowest(), 0.0F, -0.0F});
  const at::Tensor values = at::tensor(ends).to(thresholds_.device());
  DeviceRounding tried = *this;
  tried.cast_ = cast;
  try {
    return same_numbers(tried(values).cpu(), by_table(values).cpu());
  } catch (const c10::Error&) {  // a type that this device does not have
    return false;
  }
}

void DeviceRounding::find_cast(const std::vector<std::int32_t>& thresholds,
                               const std::vector<float>& results) {
  float largest = 0;
  for (const float result : results) {
    if (std::isfinite(result)) largest = std::max(largest, std::fabs(result));
  }
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16, at::kFloat8_e4m3fn, at::kFloat8_e5m2,
                                    at::kFloat8_e4m3fnuz, at::kFloat8_e5m2fnuz}) {
    for (const std::optional<float> limit : {std::optional<float>(), std::optional(largest)}) {
      const Cast cast{type, limit};
      if (!gives_the_same(cast, thresholds)) continue;
      cast_ = cast;
      return;
    }
  }
}

}  // namespace bitfall
