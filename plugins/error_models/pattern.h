// Patterns of elements that one cause hits together, and where in a tensor they can lie.
#pragma once

#include <cstdint>
#include "bitfall/view.h"

namespace bitfall {

/// Elements first + r x row_stride + c x column_stride with r in [0, rows) and c in [0, columns).
struct Grid {
  std::int64_t first = 0;
  std::int64_t rows = 1;
  std::int64_t row_stride = 0;
  std::int64_t columns = 1;
  std::int64_t column_stride = 1;

  std::int64_t size() const { return rows * columns; }
  /// In rising order for the grids of a Pattern.
  std::int64_t element(std::int64_t index) const {
    return first + index / columns * row_stride + index % columns * column_stride;
  }
};

/// The first dimension of a shape is the channel, the last two are the rows and columns of a plane:
/// (C,H,W), (O,I,H,W), (tokens, features).
enum class PatternKind {
  kRow,       // all indices equal but the last
  kColumn,    // all indices equal but the last but one
  kPosition,  // all indices equal but the first: one place along all channels
  kChannel,   // the first index equal
  kBlock,     // `size` consecutive elements of the flat order
  kStride,    // every `size`-th element of the flat order
  kSquare,    // `size` x `size` window of one plane
};

struct Pattern {
  PatternKind kind;
  std::int64_t size = 1;  // at least 1; of kBlock, kStride, kSquare
  bool aligned = false;   // of kBlock: it starts at a multiple of `size`, the last may be shorter

  /// How many places there are in a tensor of this shape; 0 where the pattern has no meaning or
  /// does not fit.
  std::int64_t places(View<const std::int64_t> shape) const;

  /// Place `index` of [0, places(shape)).
  Grid at(View<const std::int64_t> shape, std::int64_t index) const;
};

}  // namespace bitfall
