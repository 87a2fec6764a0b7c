#include "tensor_file.h"

#include <algorithm>
#include <utility>

#include "bad_input.h"
#include "npy.h"
#include "pytorch_file.h"
#include "safetensors.h"
#include "stored_tensor.h"
#include "text_file.h"

namespace bitfall {
namespace {

std::string described(const StoredTensor& tensor) {
  return (tensor.name.empty() ? "one tensor" : tensor.name) + " " + shape_text(tensor.shape);
}

std::string listed(const std::vector<StoredTensor>& tensors) {
  constexpr std::size_t kMost = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(tensors.size(), kMost); ++i) {
    text += (i > 0 ? ", " : "") + described(tensors[i]);
  }
  if (tensors.size() > kMost) {
    text += ", and " + std::to_string(tensors.size() - kMost) + " more";
  }
  return text;
}

/// Two names of one tensor.
bool same(const StoredTensor& a, const StoredTensor& b) {
  return a.bytes.data() == b.bytes.data() && a.type == b.type && a.shape == b.shape &&
         a.strides == b.strides;
}

const StoredTensor& choose(const std::filesystem::path& path,
                           const std::vector<StoredTensor>& tensors, const std::string& key) {
  const StoredTensor* chosen = nullptr;
  for (const StoredTensor& tensor : tensors) {
    if (!key.empty()) {
      if (tensor.name == key) chosen = &tensor;
    } else if (tensor.shape.size() == 2) {
      if (chosen && !same(*chosen, tensor)) {
        fail(path, "several tensors have two dimensions, say which by its key: " + listed(tensors));
      }
      chosen = &tensor;
    }
  }
  if (tensors.empty()) fail(path, "holds no tensor");
  if (!chosen && !key.empty()) {
    fail(path, "holds no tensor '" + key + "', but " + listed(tensors));
  }
  if (!chosen) fail(path, "holds no tensor [rows, width], but " + listed(tensors));
  return *chosen;
}

EmbeddingTable table_of(const std::filesystem::path& path, const StoredTensor& tensor) {
  const std::string name = tensor.name.empty() ? "" : "tensor '" + tensor.name + "': ";
  if (float_size(tensor.type) == 0) {
    fail(path,
         name + "holds " + tensor.type + "; float32, float64, float16 or bfloat16 are needed");
  }
  if (tensor.shape.size() != 2) {
    fail(path, name + "is of shape " + shape_text(tensor.shape) + "; [rows, width] is needed");
  }
  if (tensor.shape[0] == 0 || tensor.shape[1] == 0) {
    fail(path, name + "is of shape " + shape_text(tensor.shape) + ": it holds no number");
  }
  if (const char* problem = misfit(tensor)) {
    fail(path, name + "is of shape " + shape_text(tensor.shape) + ", but " + problem);
  }
  return {tensor.shape[0], tensor.shape[1], read_floats(tensor)};
}

EmbeddingTable read_npy(const std::filesystem::path& path) {
  const NpyFile file(path);
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.elements()) * file.item_size());
  file.read(0, bytes);
  const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return table_of(path,
                  {"", npy_type_name(file.type()), file.shape(), row_major(file.shape()), view});
}

}  // namespace

EmbeddingTable read_table(const std::filesystem::path& path, const std::string& key) {
  const std::string ending = path.extension().string();
  if (ending == ".npy") {
    if (!key.empty()) fail(path, "a .npy file holds one array; leave out the key '" + key + "'");
    return read_npy(path);
  }
  if (ending != ".safetensors" && ending != ".pth" && ending != ".pt") {
    fail(path, "a file of tensors ends in .npy, .safetensors, .pth or .pt");
  }
  const std::string content = read_text(path);
  const auto tensors = ending == ".safetensors" ? safetensors(path.string(), content)
                                                : pytorch_tensors(path.string(), content);
  return table_of(path, choose(path, tensors, key));
}

}  // namespace bitfall
