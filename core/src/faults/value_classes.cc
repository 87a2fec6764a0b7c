#include "value_classes.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace bitfall {

std::string value_class_text(int value_class) {
  return std::string("= ") + (value_class % 2 == 1 ? "1" : "0") + (value_class < 2 ? ", +" : ", -");
}

ClassCounts::ClassCounts(std::vector<int> bits, std::int64_t images)
    : bits_(std::move(bits)),
      images_(images),
      counts_(bits_.size() * kValueClasses * static_cast<std::size_t>(images)) {}

ClassCounts::ClassCounts(std::vector<int> bits, std::int64_t images,
                         std::vector<std::uint32_t> counts)
    : bits_(std::move(bits)), images_(images), counts_(std::move(counts)) {
  if (images < 1 ||
      counts_.size() != bits_.size() * kValueClasses * static_cast<std::size_t>(images)) {
    throw std::invalid_argument("another number of counts");
  }
}

void ClassCounts::add(std::int64_t image, std::span<const float> values,
                      std::span<const std::uint32_t> codes) {
  std::vector<std::uint32_t> minus(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    minus[i] = std::bit_cast<std::uint32_t>(values[i]) >> 31;
  }
  std::uint32_t all_minus = 0;
  for (const std::uint32_t one : minus) all_minus += one;
  const auto all = static_cast<std::uint32_t>(values.size());
  for (std::size_t b = 0; b < bits_.size(); ++b) {
    std::uint32_t ones = 0, ones_minus = 0;
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const std::uint32_t one = codes[i] >> bits_[b] & 1U;
      ones += one;
      ones_minus += one & minus[i];
    }
    const std::uint32_t by_class[kValueClasses] = {(all - all_minus) - (ones - ones_minus),
                                                   ones - ones_minus, all_minus - ones_minus,
                                                   ones_minus};
    for (std::size_t c = 0; c < kValueClasses; ++c) {
      counts_[(b * kValueClasses + c) * static_cast<std::size_t>(images_) +
              static_cast<std::size_t>(image)] += by_class[c];
    }
  }
}

std::span<const std::uint32_t> ClassCounts::of(int bit, int value_class) const {
  const auto place = std::find(bits_.begin(), bits_.end(), bit);
  if (place == bits_.end()) return {};
  const auto row = static_cast<std::size_t>(place - bits_.begin()) * kValueClasses +
                   static_cast<std::size_t>(value_class);
  const auto images = static_cast<std::size_t>(images_);
  return std::span(counts_).subspan(row * images, images);
}

bool FindsClass::holds(const EditFinds& finds) const {
  return value_class(finds.code, std::countr_zero(finds.edit->mask), finds.value) == class_;
}

std::vector<std::int64_t> elements_of_class(std::span<const float> values,
                                            std::span<const std::uint32_t> codes, int bit,
                                            int wanted) {
  std::vector<std::int64_t> elements;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (value_class(codes[i], bit, values[i]) == wanted) {
      elements.push_back(static_cast<std::int64_t>(i));
    }
  }
  return elements;
}

}  // namespace bitfall
