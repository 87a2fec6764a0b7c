#include "file_kind.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <string_view>

#include "zip_archive.h"

namespace bitfall {
namespace {

struct KnownStart {
  std::size_t offset;
  std::string_view bytes;
  const char* what;
};

using namespace std::string_view_literals;

// Files that begin in their own way.
constexpr std::array kStarts = {
    KnownStart{0, "version https://git-lfs.github.com/spec/"sv,
               "is a pointer of Git LFS, not the file itself\n  fetch it with: git lfs pull"},
    KnownStart{0, "\x89HDF\r\n\x1a\n"sv,
               "is an HDF5 file, as Keras writes it; networks of PyTorch are read\n  rebuild it in "
               "PyTorch, load the weights there and export it with scripts/export_model.py"},
    KnownStart{4, "TFL3"sv,
               "is a TensorFlow Lite model; networks of PyTorch are read\n  rebuild it in PyTorch, "
               "load the weights there and export it with scripts/export_model.py"},
    KnownStart{0, "\x93NUMPY"sv, "is a NumPy array, not a network"},
    KnownStart{0, "GGUF"sv, "is a GGUF file: weights without a classifier of images"},
    KnownStart{0, "<"sv, "is a page or another text that begins with '<': its download was refused\n"
                         "  open it in an editor to see why"},
};

constexpr const char* kWeightsAdvice =
    "\n  export the network with them: scripts/export_model.py NAME --weights FILE -o model.pt; or, "
    "in Python, model.load_state_dict(...) and torch.jit.script(model.eval()).save(\"model.pt\")";

std::string first_bytes(const std::filesystem::path& file) {
  std::string bytes(512, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return bytes;
}

bool is_safetensors(std::string_view bytes, std::uintmax_t size) {
  if (bytes.size() < 9 || bytes[8] != '{') return false;
  std::uint64_t header = 0;
  for (int i = 7; i >= 0; --i) {
    header = header << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  }
  return header > 1 && header <= size - 8;
}

// A protobuf whose first field is ir_version, a small number, as every ONNX writer has it; the
// producer or the graph follows.
bool is_onnx(std::string_view bytes, const std::filesystem::path& file) {
  if (bytes.size() < 4 || bytes[0] != '\x08' || bytes[1] <= 0 || bytes[1] > 32) return false;
  return file.extension() == ".onnx" || bytes[2] == '\x12' || bytes[2] == ':';
}

std::string pickled_kind(std::string_view pickle) {
  const auto holds = [&](std::string_view text) { return pickle.find(text) != pickle.npos; };
  if (holds("torch.nn.modules") || holds("__main__") || holds("torchvision.models") ||
      holds("timm.models")) {
    return "is a module pickled by torch.save: Python code would have to run to open it\n  export "
           "it where its code is: torch.jit.script(model.eval()).save(\"model.pt\"), with a name of "
           "its own, or scripts/export_model.py";
  }
  return std::string("holds weights saved by torch.save (a state_dict or checkpoint), without their "
                     "network") +
         kWeightsAdvice;
}

std::string archive_kind(const std::filesystem::path& file) {
  std::string kind;
  with_archive(file, [&](const ZipArchive& archive) {
    if (!archive.find("constants.pkl").empty()) return;  // TorchScript
    const std::string pickle = archive.find("data.pkl");
    if (!pickle.empty()) {
      kind = pickled_kind(archive.read(pickle));
    } else if (!archive.find("model.weights.h5").empty()) {
      kind = "is a Keras model; networks of PyTorch are read\n  rebuild it in PyTorch, load the "
             "weights there and export it with scripts/export_model.py";
    } else if (!archive.find(".npy").empty()) {
      kind = "is a NumPy archive (.npz), not a network";
    } else if (archive.find("archive_format").empty() && archive.find("version").empty()) {
      kind = "is a ZIP archive without a network in it\n  unpack it, and give the model's own file";
    }
  });
  return kind;
}

}  // namespace

std::string what_else_it_is(const std::filesystem::path& file) {
  try {
    const std::string bytes = first_bytes(file);
    if (bytes.empty()) return "is empty";
    for (const KnownStart& start : kStarts) {
      if (std::string_view(bytes).substr(std::min(start.offset, bytes.size()))
              .starts_with(start.bytes)) {
        return start.what;
      }
    }
    if (bytes.starts_with("PK")) return archive_kind(file);
    if (bytes.starts_with("\x80\x02") || bytes.starts_with("\x80\x03") ||
        bytes.starts_with("\x80\x04")) {
      std::ifstream in(file, std::ios::binary);
      std::string start(std::size_t{1} << 20, '\0');  // names of classes come early
      in.read(start.data(), static_cast<std::streamsize>(start.size()));
      start.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
      return pickled_kind(start);
    }
    if (is_safetensors(bytes, std::filesystem::file_size(file))) {
      return std::string("is a safetensors file: weights without their network") + kWeightsAdvice;
    }
    if (is_onnx(bytes, file)) {
      return "is an ONNX model; networks of PyTorch are read\n  export the PyTorch network that it was "
             "made of, with scripts/export_model.py";
    }
  } catch (const std::exception&) {  // LibTorch will say what is wrong with it
  }
  return "";
}

}  // namespace bitfall
