// Boxes within maps, and windows: the same box-sized part of many images' maps, cut out.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "emulated_model.h"
#include "golden.h"
#include "spatial.h"

namespace bitfall {

/// Half-open.
struct Box {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;

  bool empty() const { return top >= bottom || left >= right; }
  std::int64_t height() const { return bottom - top; }
  std::int64_t width() const { return right - left; }
  std::int64_t area() const { return height() * width(); }
  void include(const Box& other) {
    if (other.empty()) return;
    if (empty()) {
      *this = other;
      return;
    }
    top = std::min(top, other.top);
    left = std::min(left, other.left);
    bottom = std::max(bottom, other.bottom);
    right = std::max(right, other.right);
  }
};

/// Where a row of windows takes its golden values from.
struct WindowPlace {
  const GoldenChunk* golden = nullptr;
  std::int64_t row = 0;
};

/// One value of all trials of a pack, as far as faults can have reached it.
struct Window {
  std::vector<Box> boxes;  // by trial: what may differ from golden; inside its row's window
  Origins origins;         // by row
  at::Tensor values;       // [rows, C, h, w], contiguous
  std::int64_t height() const { return values.size(2); }
  std::int64_t width() const { return values.size(3); }
};

/// Height and width that hold each of the boxes.
std::pair<std::int64_t, std::int64_t> largest(std::span<const Box> boxes);

/// Where windows h x w around the boxes begin, inside a map of `height` x `width`; rows beyond the
/// boxes repeat them.
Origins around(std::span<const Box> boxes, std::int64_t rows, std::int64_t h, std::int64_t w,
               std::int64_t height, std::int64_t width);

/// The part of a step's result of `height` x `width` that can depend on `box` of an operand.
Box reached(const Spatial& step, const Box& box, std::int64_t height, std::int64_t width);

/// Whether a value is [batch, C, H, W] on the CPU.
bool is_map(const at::Tensor& value, std::int64_t batch);

/// Copies a window [C, h, w] out of one image of a map; `fill` stands beyond the border.
void cut_out(const at::Tensor& map, std::int64_t row, std::int64_t top, std::int64_t left,
             std::int64_t h, std::int64_t w, float fill, float* to);

/// Windows [places, C, h, w] of a slot's maps: golden values, and over them what is damaged. May be
/// the damaged windows themselves.
at::Tensor cut_windows(int slot, std::span<const WindowPlace> places, const Window* damaged,
                       const Origins& origins, std::int64_t h, std::int64_t w, float fill);

/// The part of a box where a row of windows differs from golden, which is an image of `map`.
Box tightened(const Window& window, std::int64_t row, Box box, const at::Tensor& map,
              std::int64_t image);

}  // namespace bitfall
