// Descriptions of classes in words, as CuPL publishes them: JSON {class: [texts]}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

struct ClassDescriptions {
  std::string name;
  /// Without blanks at their ends; runs of blanks and line ends inside are one blank. What is empty
  /// or only dots is dropped. Texts that occur twice count twice, in an average as here.
  std::vector<std::string> texts;
  std::int64_t dropped = 0;
  std::int64_t duplicates = 0;  // texts that an earlier one equals
};

/// All classes of a file, in its order. Throws Error(kInput): "PATH:LINE:COLUMN: ..." for what is
/// no JSON, "PATH: class 'NAME': ..." for what is no list of texts, or of none that is left.
std::vector<ClassDescriptions> read_descriptions(const std::filesystem::path& path);

/// Those of `classes`, in their order and under their names; names match as in find_names
/// (class_names.h). Throws Error(kInput) naming all classes that the file lacks. Warns of classes
/// that share their descriptions, and of names that matched only loosely.
std::vector<ClassDescriptions> read_descriptions(const std::filesystem::path& path,
                                                 std::span<const std::string> classes);

}  // namespace bitfall
