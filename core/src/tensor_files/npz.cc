#include "npz.h"

#include <stdexcept>

#include "bad_input.h"
#include "npy.h"
#include "zip_archive.h"

namespace bitfall {

std::vector<StoredTensor> npz_tensors(const std::string& path, std::string_view content) {
  constexpr std::string_view kEnding = ".npy";
  const ZipArchive archive(path, content);
  std::vector<StoredTensor> tensors;
  for (const std::string& record : archive.names()) {
    if (!record.ends_with(kEnding)) continue;
    const std::string name = record.substr(0, record.size() - kEnding.size());
    const std::string_view bytes = archive.read(record);
    try {
      const NpyHeader header = npy_header(bytes, std::ssize(bytes));
      tensors.push_back({name, npy_type_name(header.type), header.shape, row_major(header.shape),
                         bytes.substr(static_cast<std::size_t>(header.data_offset))});
    } catch (const std::invalid_argument& what) {
      fail(path, "array '" + name + "': " + what.what());
    }
  }
  return tensors;
}

}  // namespace bitfall
