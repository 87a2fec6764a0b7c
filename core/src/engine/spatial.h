// Which steps of a program work on maps [batch, C, H, W] place by place or neighbourhood by
// neighbourhood, so that they can be run on windows cut out of their operands.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "model.h"
#include "program.h"

namespace bitfall {

/// How a step's result at (y, x) depends on its maps: on rows y * stride - padding + i * dilation,
/// i < kernel, and on columns likewise. [0] is along the height, [1] along the width.
struct Spatial {
  std::array<std::int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  float fill = 0;          // what lies beyond a map's border
  bool collects = false;   // only puts maps into a list for a step that is spatial: nothing to run
  bool list = false;       // its first operand is such a list
  bool pointwise = false;  // a convolution of kernel 1: places may be put together at will
  bool convolution = false;
  std::int64_t groups = 1;  // a convolution's
  std::vector<int> maps;    // slots of the operands that are maps
  /// Operands to give instead of the program's where windows bring their own border.
  std::vector<std::pair<std::size_t, c10::IValue>> on_windows;

  bool local() const { return kernel == kOne && stride == kOne && padding == kNone; }
  /// Rows (or columns) of the operands that `count` of the result need.
  std::int64_t needed(std::size_t axis, std::int64_t count) const {
    return (count - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
  }
  std::int64_t first_needed(std::size_t axis, std::int64_t first) const {
    return first * stride[axis] - padding[axis];
  }

  static constexpr std::array<std::int64_t, 2> kOne{1, 1}, kNone{0, 0};
};

/// By step; nothing where a step is not of this kind as far as we know. That a slot holds maps is
/// seen when there is a value.
std::vector<std::optional<Spatial>> spatial_steps(const Model& model);

}  // namespace bitfall
