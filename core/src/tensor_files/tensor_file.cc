#include "tensor_file.h"

#include <algorithm>
#include <utility>

#include "bad_input.h"
#include "npy.h"
#include "npz.h"
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

bool is_table(const StoredTensor& tensor) {
  return tensor.shape.size() == 2 && tensor.shape[0] != 1;
}

/// The tensors below `key` that may be rows of one table, [width] or [1, width]; none where they
/// differ in width. Single numbers, such as a temperature, are passed over.
std::vector<StoredTensor> rows_below(const std::vector<StoredTensor>& tensors,
                                     const std::string& key) {
  std::vector<StoredTensor> rows;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.shape.empty() || (!key.empty() && !tensor.name.starts_with(key + "."))) continue;
    const bool flat = tensor.shape.size() == 1;
    if (!flat && (tensor.shape.size() != 2 || tensor.shape[0] != 1)) return {};
    StoredTensor& row = rows.emplace_back(tensor);
    if (flat) {
      row.shape.insert(row.shape.begin(), 1);
      row.strides.insert(row.strides.begin(), row.shape[1]);
    }
    if (row.shape[1] != rows.front().shape[1]) return {};
  }
  return rows.size() > 1 ? rows : std::vector<StoredTensor>();
}

/// Without `key`, or else without what all names begin with up to a dot: {"classes": {"cat": ...}}.
/// None for a list's, which are only numbers.
std::vector<std::string> row_names(const std::vector<StoredTensor>& rows, const std::string& key) {
  std::size_t cut = key.empty() ? rows[0].name.find('.') : key.size();
  const std::string prefix = cut == std::string::npos ? "" : rows[0].name.substr(0, cut + 1);
  const bool shared = std::all_of(rows.begin(), rows.end(), [&](const StoredTensor& row) {
    return row.name.starts_with(prefix);
  });
  cut = shared ? prefix.size() : 0;
  std::vector<std::string> names;
  bool list = true;
  for (const StoredTensor& row : rows) {
    names.push_back(row.name.substr(cut));
    list &= names.back() == std::to_string(names.size() - 1);
  }
  return list ? std::vector<std::string>() : names;
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
  return {tensor.shape[0], tensor.shape[1], read_floats(tensor), {}};
}

EmbeddingTable table_of_rows(const std::filesystem::path& path,
                             const std::vector<StoredTensor>& rows, const std::string& key) {
  EmbeddingTable table{std::ssize(rows), rows.front().shape[1], {}, row_names(rows, key)};
  for (const StoredTensor& row : rows) {
    const std::vector<float> values = table_of(path, row).values;
    table.values.insert(table.values.end(), values.begin(), values.end());
  }
  return table;
}

/// What a file of several tensors holds of a table.
EmbeddingTable table_in(const std::filesystem::path& path, const std::vector<StoredTensor>& tensors,
                        const std::string& key) {
  if (tensors.empty()) fail(path, "holds no tensor");
  const bool named = std::any_of(tensors.begin(), tensors.end(), [&](const StoredTensor& tensor) {
    return key.empty() ? is_table(tensor) : tensor.name == key;
  });
  if (!named) {
    const std::vector<StoredTensor> rows = rows_below(tensors, key);
    if (!rows.empty()) return table_of_rows(path, rows, key);
  }
  return table_of(path, choose(path, tensors, key));
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
  if (ending != ".npz" && ending != ".safetensors" && ending != ".pth" && ending != ".pt") {
    fail(path, "a file of tensors ends in .npy, .npz, .safetensors, .pth or .pt");
  }
  const std::string content = read_text(path);
  return table_in(path,
                  ending == ".npz"           ? npz_tensors(path.string(), content)
                  : ending == ".safetensors" ? safetensors(path.string(), content)
                                             : pytorch_tensors(path.string(), content),
                  key);
}

}  // namespace bitfall
