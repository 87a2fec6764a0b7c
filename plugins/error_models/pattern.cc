#include "pattern.h"

#include <algorithm>
#include <cstddef>

#include "bitfall/number_format.h"

namespace bitfall {
namespace {

/// The elements that differ in one index alone.
struct Line {
  std::int64_t length = 0;  // 0: the shape has no such index
  std::int64_t stride = 1;
};

Line line_along(View<const std::int64_t> shape, std::size_t axis) {
  return {shape[axis], element_count(shape.subspan(axis + 1))};
}

Line line_of(PatternKind kind, View<const std::int64_t> shape) {
  const std::size_t rank = shape.size();
  if (kind == PatternKind::kRow && rank >= 1) return line_along(shape, rank - 1);
  if (kind == PatternKind::kColumn && rank >= 2) return line_along(shape, rank - 2);
  if (kind == PatternKind::kPosition && rank >= 1) return line_along(shape, 0);
  return {};
}

/// How many windows of `size` fit along `length`.
std::int64_t windows(std::int64_t length, std::int64_t size) {
  return std::max<std::int64_t>(0, length - size + 1);
}

}  // namespace

std::int64_t Pattern::places(View<const std::int64_t> shape) const {
  const std::int64_t elements = element_count(shape);
  if (elements == 0) return 0;
  const std::size_t rank = shape.size();
  switch (kind) {
    case PatternKind::kRow:
    case PatternKind::kColumn:
    case PatternKind::kPosition: {
      const Line line = line_of(kind, shape);
      return line.length == 0 ? 0 : elements / line.length;
    }
    case PatternKind::kChannel:
      return rank == 0 ? 0 : shape[0];
    case PatternKind::kBlock:
      return aligned ? (elements - 1) / size + 1 : windows(elements, size);
    case PatternKind::kStride:
      return std::min(size, elements);
    case PatternKind::kSquare: {
      if (rank < 2) return 0;
      const std::int64_t height = shape[rank - 2];
      const std::int64_t width = shape[rank - 1];
      return elements / (height * width) * windows(height, size) * windows(width, size);
    }
  }
  return 0;
}

Grid Pattern::at(View<const std::int64_t> shape, std::int64_t index) const {
  const std::int64_t elements = element_count(shape);
  Grid grid;
  switch (kind) {
    case PatternKind::kRow:
    case PatternKind::kColumn:
    case PatternKind::kPosition: {
      const Line line = line_of(kind, shape);
      grid.first = index / line.stride * line.stride * line.length + index % line.stride;
      grid.columns = line.length;
      grid.column_stride = line.stride;
      break;
    }
    case PatternKind::kChannel:
      grid.columns = elements / shape[0];
      grid.first = index * grid.columns;
      break;
    case PatternKind::kBlock:
      grid.first = aligned ? index * size : index;
      grid.columns = std::min(size, elements - grid.first);
      break;
    case PatternKind::kStride:
      grid.first = index;
      grid.columns = (elements - 1 - index) / size + 1;
      grid.column_stride = size;
      break;
    case PatternKind::kSquare: {
      const std::int64_t height = shape[shape.size() - 2];
      const std::int64_t width = shape[shape.size() - 1];
      const std::int64_t across = windows(width, size);
      const std::int64_t down = windows(height, size);
      const std::int64_t plane = index / (across * down);
      const std::int64_t top = index / across % down;
      grid.first = (plane * height + top) * width + index % across;
      grid.rows = size;
      grid.row_stride = width;
      grid.columns = size;
      break;
    }
  }
  return grid;
}

}  // namespace bitfall
