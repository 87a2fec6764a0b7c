// What a fault of one bit finds: whether the bit is 1, and the sign of the value. It tells more of
// what the fault does than the bit does alone: an exponent's highest bit that becomes 1 makes a
// value enormous, and behind a ReLU only a positive one is left of it.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/extensions/edit_condition.h"
#include "bitfall/number_format.h"

namespace bitfall {

/// 0 and 1: the bit, the value has no minus sign; 2 and 3: the bit, it has one (-0 and NaN, too).
inline constexpr int kValueClasses = 4;

inline int value_class(std::uint32_t code, int bit, float value) {
  return static_cast<int>(code >> bit & 1U) + (std::signbit(value) ? 2 : 0);
}

/// "bit 30 = 0, +", after the bits: "= 0, +".
std::string value_class_text(int value_class);

/// How many values of each class a site has in each image.
class ClassCounts {
 public:
  ClassCounts() = default;
  /// `bits`: of the payload. `images`: 1 for a parameter, which all images share.
  ClassCounts(std::vector<int> bits, std::int64_t images);
  /// As from counts(); throws std::invalid_argument where their number is another.
  ClassCounts(std::vector<int> bits, std::int64_t images, std::vector<std::uint32_t> counts);

  bool empty() const { return counts_.empty(); }
  const std::vector<int>& bits() const { return bits_; }
  std::int64_t images() const { return images_; }
  /// [bits, kValueClasses, images]
  const std::vector<std::uint32_t>& counts() const { return counts_; }

  /// Counts an image's values, as numbers and as their codes.
  void add(std::int64_t image, std::span<const float> values, std::span<const std::uint32_t> codes);
  /// By image; empty where the bit was not looked at.
  std::span<const std::uint32_t> of(int bit, int value_class) const;

  bool operator==(const ClassCounts&) const = default;

 private:
  std::vector<int> bits_;
  std::int64_t images_ = 0;
  std::vector<std::uint32_t> counts_;
};

/// Takes a fault of one bit where it finds a value of this class.
class FindsClass final : public EditCondition {
 public:
  explicit FindsClass(int value_class) : class_(value_class) {}
  bool holds(const EditFinds& finds) const override;

 private:
  int class_;
};

/// The elements whose values are of this class.
std::vector<std::int64_t> elements_of_class(std::span<const float> values,
                                            std::span<const std::uint32_t> codes, int bit,
                                            int value_class);

}  // namespace bitfall
