#include "stored_tensor.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace bitfall {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie in files");

template <typename T>
T number_at(std::string_view bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof value);
  return value;
}

float from_float16(std::string_view bytes, std::size_t index) {
  return static_cast<float>(number_at<_Float16>(bytes, index));
}

float from_bfloat16(std::string_view bytes, std::size_t index) {
  const std::uint32_t high = number_at<std::uint16_t>(bytes, index);
  return std::bit_cast<float>(high << 16);
}

float from_float64(std::string_view bytes, std::size_t index) {
  return static_cast<float>(number_at<double>(bytes, index));
}

struct FloatType {
  std::string_view name;
  std::size_t size;
  float (*read)(std::string_view bytes, std::size_t index);
};

constexpr std::array<FloatType, 4> kFloatTypes{{{"float32", 4, number_at<float>},
                                                {"float64", 8, from_float64},
                                                {"float16", 2, from_float16},
                                                {"bfloat16", 2, from_bfloat16}}};

const FloatType* find_type(std::string_view name) {
  for (const FloatType& type : kFloatTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

}  // namespace

std::size_t float_size(std::string_view type) {
  const FloatType* found = find_type(type);
  return found ? found->size : 0;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

std::vector<std::int64_t> row_major(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::uint64_t stride = 1;  // wraps around for shapes that misfit() refuses
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = static_cast<std::int64_t>(stride & std::numeric_limits<std::int64_t>::max());
    stride *= static_cast<std::uint64_t>(shape[i]);
  }
  return strides;
}

const char* misfit(const StoredTensor& tensor) {
  const auto held = static_cast<std::int64_t>(tensor.bytes.size() / float_size(tensor.type));
  for (const std::int64_t size : tensor.shape) {
    if (size == 0) return nullptr;
  }
  std::int64_t elements = 1;
  for (const std::int64_t size : tensor.shape) {
    if (size > held / elements) return "its shape asks for more numbers than there are";
    elements *= size;
  }
  std::int64_t last = 0;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] == 1) continue;
    if (tensor.strides[i] > (held - 1 - last) / (tensor.shape[i] - 1)) {
      return "its strides lead beyond its numbers";
    }
    last += tensor.strides[i] * (tensor.shape[i] - 1);
  }
  return last < held ? nullptr : "its numbers are missing";
}

std::vector<float> read_floats(const StoredTensor& tensor) {
  const FloatType& type = *find_type(tensor.type);
  std::size_t elements = 1;
  for (const std::int64_t size : tensor.shape) elements *= static_cast<std::size_t>(size);
  std::vector<float> values;
  values.reserve(elements);
  std::vector<std::int64_t> index(tensor.shape.size());
  std::vector<std::int64_t> strides = tensor.strides;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    if (tensor.shape[i] == 1) strides[i] = 0;  // may be anything, and leads nowhere
  }
  for (std::int64_t offset = 0; values.size() < elements;) {
    values.push_back(type.read(tensor.bytes, static_cast<std::size_t>(offset)));
    for (std::size_t i = index.size(); i-- > 0;) {  // the next index, as an odometer counts
      offset += strides[i];
      if (++index[i] < tensor.shape[i]) break;
      offset -= strides[i] * index[i];
      index[i] = 0;
    }
  }
  return values;
}

}  // namespace bitfall
