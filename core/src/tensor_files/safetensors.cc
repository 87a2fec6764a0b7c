#include "safetensors.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "error.h"
#include "json_file.h"

namespace bitfall {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::uint64_t kLongestJson = 100'000'000;  // the reference implementation's limit

std::string type_of_dtype(const std::string& dtype) {
  static const std::pair<const char*, const char*> kNames[] = {
      {"F32", "float32"}, {"F64", "float64"}, {"F16", "float16"}, {"BF16", "bfloat16"}};
  for (const auto& [theirs, ours] : kNames) {
    if (dtype == theirs) return ours;
  }
  return dtype;
}

/// Throws OrderedJson::exception or std::invalid_argument for an entry that is not as it must be.
StoredTensor tensor_of(const std::string& name, const OrderedJson& entry, std::string_view data) {
  StoredTensor tensor;
  tensor.name = name;
  tensor.type = type_of_dtype(entry.at("dtype").get<std::string>());
  const OrderedJson& shape = entry.at("shape");
  if (!shape.is_array()) throw std::invalid_argument("its shape is not a list of counts");
  for (const OrderedJson& size : shape) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > (1ULL << 62)) {
      throw std::invalid_argument("its shape is not a list of counts");
    }
    tensor.shape.push_back(size.get<std::int64_t>());
  }
  tensor.strides = row_major(tensor.shape);
  const OrderedJson& offsets = entry.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    throw std::invalid_argument("its data_offsets are not two counts");
  }
  const auto begin = offsets[0].get<std::uint64_t>();
  const auto end = offsets[1].get<std::uint64_t>();
  if (begin > end || end > data.size()) {
    throw std::invalid_argument("its data_offsets lead beyond the file, which may be truncated");
  }
  tensor.bytes = data.substr(begin, end - begin);
  const std::size_t each = float_size(tensor.type);
  double wanted = static_cast<double>(each);
  for (const std::int64_t size : tensor.shape) wanted *= static_cast<double>(size);
  if (each > 0 && static_cast<double>(tensor.bytes.size()) > wanted) {
    throw std::invalid_argument("its data_offsets hold " + std::to_string(tensor.bytes.size()) +
                                " bytes, more than its shape takes");
  }
  return tensor;
}

}  // namespace

std::vector<StoredTensor> safetensors(const std::string& path, std::string_view content) {
  const auto fail = [&path](const std::string& what) {
    throw Error(ExitCode::kInput, path + ": " + what);
  };
  std::uint64_t length = 0;
  if (content.size() < sizeof length) fail("is not a .safetensors file: it is too short");
  std::memcpy(&length, content.data(), sizeof length);
  content.remove_prefix(sizeof length);
  if (length > kLongestJson || length > content.size()) {
    fail("is not a .safetensors file, or truncated: its header is longer than the file");
  }
  const std::string_view text = content.substr(0, length);
  const OrderedJson header = OrderedJson::accept(text) ? parse_json(path, text) : OrderedJson();
  if (!header.is_object()) fail("is not a .safetensors file: its header is not a JSON object");
  std::vector<StoredTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    try {
      tensors.push_back(tensor_of(name, entry, content.substr(length)));
    } catch (const OrderedJson::exception&) {
      fail("tensor '" + name + "': its dtype, shape or data_offsets are missing or malformed");
    } catch (const std::invalid_argument& problem) {
      fail("tensor '" + name + "': " + problem.what());
    }
  }
  return tensors;
}

}  // namespace bitfall
