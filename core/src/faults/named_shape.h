// A parameter of a network, by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bitfall {

struct NamedShape {
  std::string name;  // "conv1.weight"
  std::vector<std::int64_t> shape;
};

}  // namespace bitfall
