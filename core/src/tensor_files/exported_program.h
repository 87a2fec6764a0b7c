// A torch.export archive (.pt2) as it lies in the file: a graph, and its tensors as flat bytes. Read without LibTorch;
// nothing in it is run or unpickled.
//
//   NAME/archive_format         "pt2"
//   NAME/models/model.json      the graph; its signature: which value is the image, a parameter, an answer
//   NAME/data/weights/          bytes of storages; a table says which tensor lies where in which
//   NAME/data/constants/        the same of constants and of buffers that are not persistent
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "exported_graph.h"

namespace bitfall {

class ZipArchive;

/// A tensor of the file. Those of one storage share their memory.
struct ExportedTensor {
  enum class Kind { kParameter, kBuffer, kConstant };

  std::string value;  // of the graph; empty where the graph reads it by another name, or not at all
  std::string name;   // of state_dict: "layer1.0.conv1.weight"
  Kind kind = Kind::kConstant;
  std::string storage;
  std::int64_t type = 0;  // the archive's own number: 7 is float32
  std::vector<std::int64_t> sizes, strides;
  std::int64_t offset = 0;  // in elements, like the strides; all elements lie within the storage
};

/// How many entries a dimension of the input may have.
struct ExportedSize {
  std::int64_t least = 0, most = 0;
  std::int64_t example = 0;  // it had when it was exported
};

/// How an answer holds its values: itself one, or a tuple (also a list), or a dictionary.
struct ExportedForm {
  enum class Kind { kValue, kTuple, kDictionary };

  Kind kind = Kind::kValue;
  std::vector<std::string> keys;  // of a dictionary
  std::vector<ExportedForm> parts;
};

struct ExportedProgram {
  ExportedGraph graph;
  std::string input;                        // the image, a value of the graph
  std::string input_name;                   // as forward calls it
  std::array<ExportedSize, 4> input_sizes;  // batch, C, H, W
  std::vector<ExportedTensor> tensors;
  std::map<std::string, ExportedArgument> constants;  // inputs that are no tensors, by value
  std::vector<ExportedArgument> answers;
  ExportedForm form;                                 // of the answers, one after the other
  std::map<std::string, std::string_view> storages;  // their bytes, borrowed
};

/// The file is a torch.export archive, of whatever version, or one of AOTInductor. Does not throw.
bool is_exported_program(const std::filesystem::path& path);

/// Calls `use` with what the file holds. Throws Error(kInput): "PATH: what is wrong, and what to
/// do" (damaged, another version, a fixed batch, ...), and what `use` throws.
void with_exported_program(const std::filesystem::path& path,
                           const std::function<void(const ExportedProgram&)>& use);

/// C, H, W of the image that it was exported with; zeros where that cannot be read.
std::array<std::int64_t, 3> exported_input(const ZipArchive& archive);

/// The Python that exports a network so that it can be read; `input` as forward calls it.
std::string export_advice(const std::string& input);

}  // namespace bitfall
