// What number formats are tried with.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "any_kind_checks.h"
#include "bounded_array.h"
#include "check_inputs.h"
#include "numbers.h"

namespace bitfall {
namespace {

constexpr std::uint32_t kPatternA = 0xA5A5A5A5, kPatternB = 0x5A5A5A5A;

struct Tensor {
  Shape shape;
  std::vector<float> values;
  bool alike = false;  // all of them
  std::string text() const {
    return dimensions_text(shape) + " values" +
           (alike ? ", all " + exact_text(values.front()) : std::string());
  }
};

/// A tensor in a format.
struct StoredTensor {
  BoundedArray<std::uint32_t> metadata, codes;
  BoundedArray<float> values;  // decoded
};

std::vector<Tensor> tensors(const Subject& subject, const std::vector<Shape>& shapes, bool wild) {
  std::vector<Tensor> made;
  PhiloxStream random = subject.random(wild ? 3 : 2);
  for (const Shape& shape : shapes) {
    const auto count = static_cast<std::size_t>(element_count(shape));
    made.push_back({shape, wild ? wild_values(count, random) : usual_values(count, random)});
  }
  return made;
}

const std::vector<Shape> kFewShapes = {{1}, {7}, {3, 5}, {4, 6, 5}, {8, 3, 3, 3}};
const std::vector<Shape> kAllShapes = {{1},     {2},           {7},           {32},         {65},
                                       {3, 5},  {1, 1, 1},     {4, 6, 5},     {8, 3, 3, 3}, {1, 33},
                                       {64, 2}, {16, 1, 3, 3}, {32, 16, 3, 3}};

std::vector<Tensor> all_tensors(const Subject& subject) {
  auto all = tensors(subject, kAllShapes, false);
  for (auto& wild : tensors(subject, {{7}, {64}, {4, 6, 5}}, true)) all.push_back(std::move(wild));
  // Where a scale is made of the values, there may be none.
  constexpr std::array kAlike = {0.0F, std::numeric_limits<float>::quiet_NaN(),
                                 std::numeric_limits<float>::max(), 1e-45F};
  for (const float value : kAlike) all.push_back({{4, 6, 5}, std::vector<float>(120, value), true});
  return all;
}

Slice whole(const Tensor& tensor) { return {tensor.shape, 0, 1, 7}; }

bool fits(const NumberFormat& format, const Tensor& tensor) {
  return format.refusal(tensor.shape) == nullptr;
}

/// Metadata as it is before encode: learned where the format learns it, else a pattern.
BoundedArray<std::uint32_t> prepared_metadata(const NumberFormat& format, const Tensor& tensor,
                                              std::uint32_t pattern) {
  BoundedArray<std::uint32_t> metadata(
      static_cast<std::size_t>(metadata_size(format, tensor.shape)));
  metadata.fill(pattern);
  if (format.calibrated()) {
    const auto ranges = ranges_of(tensor.values, tensor.shape, format.range_axis(tensor.shape));
    const BoundedArray<Range> bounded(std::span<const Range>{ranges});
    now_trying("calibrate for " + tensor.text());
    format.calibrate(bounded.view(), tensor.shape, metadata.view());
  }
  return metadata;
}

StoredTensor stored(const NumberFormat& format, const Tensor& tensor, std::uint32_t pattern) {
  const BoundedArray<float> values(std::span<const float>{tensor.values});
  StoredTensor result{prepared_metadata(format, tensor, pattern),
                      BoundedArray<std::uint32_t>(tensor.values.size()),
                      BoundedArray<float>(tensor.values.size())};
  result.codes.fill(pattern);
  now_trying("encode of " + tensor.text());
  format.encode(values.view(), whole(tensor), result.metadata.view(), result.codes.view());
  result.values.fill(std::bit_cast<float>(pattern | 0x7f800001));
  now_trying("decode of " + tensor.text());
  format.decode(std::as_const(result.codes).view(), whole(tensor),
                std::as_const(result.metadata).view(), result.values.view());
  if (!result.codes.intact() || !result.metadata.intact() || !result.values.intact()) {
    throw CheckFailure("writes ahead of its arrays, for " + tensor.text());
  }
  return result;
}

Words words_of(const NumberFormat& format, const Tensor& tensor) {
  Words words;
  if (!fits(format, tensor)) return words;
  const StoredTensor result = stored(format, tensor, kPatternA);
  add_words(words, result.metadata);
  add_words(words, result.codes);
  add_words(words, result.values);
  add_word(words, format.largest(std::as_const(result.metadata).view()));
  BoundedArray<float> emulated(std::span<const float>{tensor.values});
  BoundedArray<std::uint32_t> metadata = prepared_metadata(format, tensor, kPatternA);
  format.emulate(emulated.view(), whole(tensor), metadata.view());
  add_words(words, emulated);
  return words;
}

Cases<NumberFormat> cases_of(const std::vector<Tensor>& tensors) {
  Cases<NumberFormat> cases;
  for (const Tensor& tensor : tensors) {
    cases.push_back({"encode and decode of " + tensor.text(),
                     [tensor](const NumberFormat& format) { return words_of(format, tensor); }});
  }
  return cases;
}

Cases<NumberFormat> all_format_cases(const Subject& subject) {
  return cases_of(all_tensors(subject));
}

Cases<NumberFormat> few_format_cases(const Subject& subject) {
  auto few = tensors(subject, kFewShapes, false);
  for (auto& wild : tensors(subject, {{9}, {2, 3, 5}}, true)) few.push_back(std::move(wild));
  return cases_of(few);
}

/// Runs `look` for each tensor that the format can store.
template <typename Look>
void for_each_tensor(const Subject& subject, Look look) {
  const auto format = subject.make<NumberFormat>();
  bool any = false;
  for (const Tensor& tensor : all_tensors(subject)) {
    if (!fits(*format, tensor)) continue;
    any = true;
    look(*format, tensor);
  }
  if (!any) throw CheckFailure("refuses every shape that was tried");
}

std::string number(float value) { return exact_text(value); }

void check_counts(const Subject& subject) {
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    const auto facts = [&](const NumberFormat& of) {
      Words words;
      for (std::size_t kind = 1; kind < of.registers().size(); ++kind) {
        add_word(words, of.register_count(static_cast<int>(kind), tensor.shape));
      }
      add_word(words, std::int64_t{of.calibrated()});
      add_word(words, std::int64_t{of.elementwise()});
      add_word(words, std::int64_t{of.exact()});
      add_word(words, std::int64_t{of.range_axis(tensor.shape)});
      for (const Register& reg : of.registers()) add_word(words, std::int64_t{reg.bits});
      return words;
    };
    const Words first = facts(format);
    stored(format, tensor, kPatternA);
    const auto other = subject.make<NumberFormat>();
    if (facts(format) != first || facts(*other) != first) {
      throw CheckFailure(
          "has another count of registers, or other properties, in another call, for " +
          tensor.text());
    }
  });
}

void check_written(const Subject& subject) {
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    const StoredTensor a = stored(format, tensor, kPatternA), b = stored(format, tensor, kPatternB);
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      const std::string at = " of value " + std::to_string(i) + " of " + tensor.text();
      if (a.codes[i] != b.codes[i]) {
        throw CheckFailure("does not write the code" + at +
                           ", or lets it depend on what stood there");
      }
      if (bits_of_float(a.values[i]) != bits_of_float(b.values[i])) {
        throw CheckFailure("decode does not write" + at.substr(3));
      }
    }
    if (!std::equal(a.metadata.begin(), a.metadata.end(), b.metadata.begin())) {
      throw CheckFailure("does not write all metadata of " + tensor.text());
    }
  });
}

void check_width(const Subject& subject) {
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    const StoredTensor result = stored(format, tensor, kPatternA);
    std::size_t at = 0;
    for (std::size_t kind = 1; kind < format.registers().size(); ++kind) {
      const Register& reg = format.registers()[kind];
      const auto count = format.register_count(static_cast<int>(kind), tensor.shape);
      for (std::int64_t i = 0; i < count; ++i, ++at) {
        if (reg.bits < 32 && result.metadata[at] >> reg.bits != 0) {
          throw CheckFailure("gives register '" + std::string(reg.name) + "' the code " +
                             hex(result.metadata[at]) + ", of more than its " +
                             std::to_string(reg.bits) + " bits, for " + tensor.text());
        }
      }
    }
  });
}

void check_finite(const Subject& subject) {
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    const bool wild = !std::all_of(tensor.values.begin(), tensor.values.end(),
                                   [](float value) { return std::isfinite(value); });
    if (wild && !format.elementwise()) return;  // a block may follow its NaN
    const StoredTensor result = stored(format, tensor, kPatternA);
    const float largest = format.largest(std::as_const(result.metadata).view());
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      const float before = tensor.values[i], after = result.values[i];
      if (std::abs(before) <= largest && !std::isfinite(after)) {
        throw CheckFailure("stores " + number(before) + " as " + number(after) + ", of " +
                           tensor.text());
      }
      if (std::isfinite(after) && std::abs(after) > largest) {
        throw CheckFailure("stores " + number(after) + ", which is more than its largest() " +
                           number(largest) + ", of " + tensor.text());
      }
    }
  });
}

bool same_number(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void check_idempotent(const Subject& subject) {
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    StoredTensor first = stored(format, tensor, kPatternA);
    Tensor again{tensor.shape, {first.values.begin(), first.values.end()}};
    BoundedArray<std::uint32_t> codes(again.values.size());
    BoundedArray<float> values(std::span<const float>{again.values});
    format.encode(std::as_const(values).view(), whole(again), first.metadata.view(), codes.view());
    format.decode(std::as_const(codes).view(), whole(again), std::as_const(first.metadata).view(),
                  values.view());
    for (std::size_t i = 0; i < again.values.size(); ++i) {
      if (same_number(again.values[i], values[i])) continue;
      throw CheckFailure("stores " + number(tensor.values[i]) + " as " + number(again.values[i]) +
                         ", and that as " + number(values[i]) + ", of " + tensor.text());
    }
  });
}

void check_emulate(const Subject& subject) {
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    const StoredTensor result = stored(format, tensor, kPatternA);
    BoundedArray<float> values(std::span<const float>{tensor.values});
    BoundedArray<std::uint32_t> metadata = prepared_metadata(format, tensor, kPatternB);
    now_trying("emulate of " + tensor.text());
    format.emulate(values.view(), whole(tensor), metadata.view());
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      if (bits_of_float(values[i]) == bits_of_float(result.values[i])) continue;
      throw CheckFailure("emulate makes " + number(values[i]) + " of " + number(tensor.values[i]) +
                         ", decode of encode " + number(result.values[i]) + ", of " +
                         tensor.text());
    }
    if (!format.exact()) return;
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      if (bits_of_float(tensor.values[i]) != bits_of_float(result.values[i])) {
        throw CheckFailure("is exact() and makes " + number(result.values[i]) + " of " +
                           number(tensor.values[i]));
      }
    }
  });
}

/// A part of a tensor alone gives what it gives in the tensor.
void check_part(const NumberFormat& format, const Tensor& tensor, const StoredTensor& all,
                ElementRun run) {
  const auto count = static_cast<std::size_t>(run.count);
  const auto element = [&](std::size_t i) {
    return static_cast<std::size_t>(run.first + static_cast<std::int64_t>(i) * run.stride);
  };
  BoundedArray<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = tensor.values[element(i)];
  BoundedArray<std::uint32_t> metadata(
      std::span<const std::uint32_t>(all.metadata.data(), all.metadata.size()));
  const Slice slice{tensor.shape, run.first, run.stride, 7};
  BoundedArray<std::uint32_t> codes(count);
  BoundedArray<float> decoded(count);
  const std::string what = std::to_string(run.count) + " from " + std::to_string(run.first) +
                           " in steps of " + std::to_string(run.stride) + " of " + tensor.text();
  now_trying("a slice, " + what);
  format.encode(std::as_const(values).view(), slice, metadata.view(), codes.view());
  format.decode(std::as_const(codes).view(), slice, std::as_const(metadata).view(), decoded.view());
  format.emulate(values.view(), slice, metadata.view());
  for (std::size_t i = 0; i < count; ++i) {
    const float expected = all.values[element(i)];
    if (codes[i] == all.codes[element(i)] && bits_of_float(decoded[i]) == bits_of_float(expected) &&
        bits_of_float(values[i]) == bits_of_float(expected)) {
      continue;
    }
    throw CheckFailure("makes other codes or values of a slice alone than in its tensor: value " +
                       std::to_string(i) + " of " + what);
  }
  if (!std::equal(metadata.begin(), metadata.end(), all.metadata.begin())) {
    throw CheckFailure("makes other metadata of a slice alone than in its tensor: " + what);
  }
}

void check_slices(const Subject& subject) {
  PhiloxStream random = subject.random(4);
  for_each_tensor(subject, [&](const NumberFormat& format, const Tensor& tensor) {
    const StoredTensor all = stored(format, tensor, kPatternA);
    const auto size = static_cast<std::int64_t>(tensor.values.size());
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
    };
    for (int i = 0; i < 8; ++i) {
      const std::int64_t first = below(size);
      ElementRun run = format.block(first, tensor.shape);
      if (format.elementwise()) {
        const std::int64_t stride = 1 + below(4);
        run = {first, 1 + below((size - first - 1) / stride + 1), stride};
      }
      check_part(format, tensor, all, run);
      // Blocks divide a tensor: each element of one names the same.
      const ElementRun other =
          format.block(run.first + below(run.count) * run.stride, tensor.shape);
      if (!format.elementwise() &&
          (other.first != run.first || other.count != run.count || other.stride != run.stride)) {
        throw CheckFailure("gives two elements of one block different blocks, of " + tensor.text());
      }
    }
  });
}

/// Codes that faults can make.
std::vector<std::uint32_t> codes_to_try(int bits, RandomStream& random) {
  constexpr std::size_t kMost = std::size_t{1} << 16;
  const bool all = bits <= 16;
  std::vector<std::uint32_t> codes(all ? std::size_t{1} << bits : kMost);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const std::uint32_t drawn = random.next() >> (32 - bits);
    codes[i] = all ? static_cast<std::uint32_t>(i) : drawn;
  }
  while (codes.size() < 16) codes.push_back(codes[codes.size() - 2]);
  return codes;
}

/// Values that codes stand for are stored once, by which they become the format's own, and again.
void store_twice(const NumberFormat& format, const Tensor& tensor, StoredTensor& learned,
                 const std::vector<std::uint32_t>& codes, BoundedArray<float>& values) {
  BoundedArray<std::uint32_t> again(codes.size());
  const auto store = [&] {
    now_trying("encode of the values of all codes");
    format.encode(std::as_const(values).view(), whole(tensor), learned.metadata.view(),
                  again.view());
    format.decode(std::as_const(again).view(), whole(tensor),
                  std::as_const(learned.metadata).view(), values.view());
  };
  store();
  const std::vector<float> expected(values.begin(), values.end());
  store();
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (same_number(expected[i], values[i])) continue;
    throw CheckFailure("stores the value of code " + hex(codes[i]) + " as " + number(expected[i]) +
                       ", and that as " + number(values[i]));
  }
}

/// As a fault may leave it.
void draw_metadata(const NumberFormat& format, const Tensor& tensor, RandomStream& random,
                   BoundedArray<std::uint32_t>& metadata) {
  std::size_t at = 0;
  for (std::size_t kind = 1; kind < format.registers().size(); ++kind) {
    const Register& reg = format.registers()[kind];
    const auto count = format.register_count(static_cast<int>(kind), tensor.shape);
    for (std::int64_t i = 0; i < count; ++i, ++at) {
      metadata[at] = random.next() >> (32 - reg.bits);
      format.metadata_value(static_cast<int>(kind), metadata[at]);
    }
  }
}

void check_codes(const Subject& subject) {
  const auto format = subject.make<NumberFormat>();
  PhiloxStream random = subject.random(5);
  const int bits = format->registers()[0].bits;
  const auto codes = codes_to_try(bits, random);
  Tensor tensor{{16, static_cast<std::int64_t>(codes.size() / 16)}, {}};
  tensor.values = usual_values(codes.size(), random);
  if (!fits(*format, tensor)) return;
  StoredTensor learned = stored(*format, tensor, kPatternA);
  const BoundedArray<std::uint32_t> tried_codes(std::span<const std::uint32_t>{codes});
  BoundedArray<float> values(codes.size());
  now_trying("decode of all codes");
  format->decode(tried_codes.view(), whole(tensor), std::as_const(learned.metadata).view(),
                 values.view());
  for (std::size_t i = 0; i < 256; ++i) {
    const std::uint32_t code = codes[i * codes.size() / 256 % codes.size()];
    for (int bit = 0; bit < bits; ++bit) format->bit_class(code, bit);
  }
  if (format->elementwise()) store_twice(*format, tensor, learned, codes, values);
  draw_metadata(*format, tensor, random, learned.metadata);
  now_trying("decode with any metadata");
  format->decode(tried_codes.view(), whole(tensor), std::as_const(learned.metadata).view(),
                 values.view());
}

constexpr Check kBasicFormatChecks[] = {
    {"counts", "registers, their counts and properties stay the same", check_counts},
    {"width", "codes and metadata have no bits beyond their registers' width", check_width},
};

constexpr Check kFormatChecks[] = {
    {"written", "every code, value and metadata register is written, whatever stood there",
     check_written},
    {"finite", "a number up to largest() stays finite, and none is stored that is larger",
     check_finite},
    {"idempotent", "a value that was stored is stored as itself", check_idempotent},
    {"emulate", "emulate is decode of encode, bit for bit; exact() holds", check_emulate},
    {"slices", "a slice, or block, alone is what it is in its tensor", check_slices},
    {"codes", "every code and metadata is decoded; what its value is stored as is stored as itself",
     check_codes},
};

}  // namespace

std::vector<Check> format_checks() {
  return checks_over<NumberFormat, all_format_cases, few_format_cases>(kBasicFormatChecks,
                                                                       kFormatChecks);
}

}  // namespace bitfall
