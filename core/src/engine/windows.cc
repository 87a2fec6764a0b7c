#include "windows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cstring>

namespace bitfall {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? (a + b - 1) / b : -(-a / b);
}
std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

}  // namespace

std::pair<std::int64_t, std::int64_t> largest(std::span<const Box> boxes) {
  std::int64_t h = 0, w = 0;
  for (const Box& box : boxes) {
    if (box.empty()) continue;
    h = std::max(h, box.height());
    w = std::max(w, box.width());
  }
  return {h, w};
}

Origins around(std::span<const Box> boxes, std::int64_t rows, std::int64_t h, std::int64_t w,
               std::int64_t height, std::int64_t width) {
  Origins origins;
  for (std::int64_t row = 0; row < rows; ++row) {
    const Box& box = boxes[static_cast<std::size_t>(row) % boxes.size()];
    origins.top.push_back(box.empty() ? 0 : std::min(box.top, height - h));
    origins.left.push_back(box.empty() ? 0 : std::min(box.left, width - w));
  }
  return origins;
}

Box reached(const Spatial& step, const Box& box, std::int64_t height, std::int64_t width) {
  if (box.empty()) return {};
  const auto first = [&](std::size_t axis, std::int64_t begin) {
    const std::int64_t span = (step.kernel[axis] - 1) * step.dilation[axis];
    return std::max<std::int64_t>(0,
                                  ceil_div(begin + step.padding[axis] - span, step.stride[axis]));
  };
  const auto end = [&](std::size_t axis, std::int64_t stop, std::int64_t size) {
    return std::min(size, floor_div(stop - 1 + step.padding[axis], step.stride[axis]) + 1);
  };
  return {first(0, box.top), first(1, box.left), end(0, box.bottom, height),
          end(1, box.right, width)};
}

bool is_map(const at::Tensor& value, std::int64_t batch) {
  return value.defined() && value.is_cpu() && value.scalar_type() == at::kFloat &&
         value.layout() == at::kStrided && value.dim() == 4 && value.size(0) == batch;
}

void cut_out(const at::Tensor& map, std::int64_t row, std::int64_t top, std::int64_t left,
             std::int64_t h, std::int64_t w, float fill, float* to) {
  const std::int64_t channels = map.size(1), height = map.size(2), width = map.size(3);
  const std::int64_t sc = map.stride(1), sy = map.stride(2), sx = map.stride(3);
  const float* from = map.const_data_ptr<float>() + row * map.stride(0);
  const std::int64_t x0 = std::clamp<std::int64_t>(-left, 0, w);
  const std::int64_t x1 = std::clamp<std::int64_t>(width - left, x0, w);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = 0; y < h; ++y, to += w) {
      if (top + y < 0 || top + y >= height) {
        std::fill_n(to, w, fill);
        continue;
      }
      const float* line = from + c * sc + (top + y) * sy + left * sx;
      std::fill_n(to, x0, fill);
      if (sx == 1) {
        std::memcpy(to + x0, line + x0, static_cast<std::size_t>(x1 - x0) * sizeof(float));
      } else {
        for (std::int64_t x = x0; x < x1; ++x) to[x] = line[x * sx];
      }
      std::fill_n(to + x1, w - x1, fill);
    }
  }
}

at::Tensor cut_windows(int slot, std::span<const WindowPlace> places, const Window* damaged,
                       const Origins& origins, std::int64_t h, std::int64_t w, float fill) {
  if (damaged && damaged->height() == h && damaged->width() == w &&
      damaged->origins.top == origins.top && damaged->origins.left == origins.left) {
    return damaged->values;
  }
  const auto rows = static_cast<std::int64_t>(places.size());
  const std::int64_t channels = places[0].golden->tensor(slot).size(1);
  at::Tensor made = at::empty({rows, channels, h, w}, at::kFloat);
  float* data = made.data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto i = static_cast<std::size_t>(row);
      const std::int64_t top = origins.top[i], left = origins.left[i];
      float* to = data + row * channels * h * w;
      cut_out(places[i].golden->tensor(slot), places[i].row, top, left, h, w, fill, to);
      if (!damaged) continue;
      const std::int64_t dh = damaged->height(), dw = damaged->width();
      const float* from = damaged->values.const_data_ptr<float>() + row * channels * dh * dw;
      const std::int64_t dy = damaged->origins.top[i] - top, dx = damaged->origins.left[i] - left;
      const std::int64_t y0 = std::max<std::int64_t>(0, dy), y1 = std::min(h, dy + dh);
      const std::int64_t x0 = std::max<std::int64_t>(0, dx), x1 = std::min(w, dx + dw);
      if (x0 >= x1) continue;
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t y = y0; y < y1; ++y) {
          std::memcpy(to + (c * h + y) * w + x0, from + (c * dh + y - dy) * dw + x0 - dx,
                      static_cast<std::size_t>(x1 - x0) * sizeof(float));
        }
      }
    }
  });
  return made;
}

Box tightened(const Window& window, std::int64_t row, Box box, const at::Tensor& map,
              std::int64_t image) {
  const auto i = static_cast<std::size_t>(row);
  const std::int64_t channels = map.size(1), h = window.height(), w = window.width();
  const float* mine = window.values.const_data_ptr<float>() + row * channels * h * w;
  const float* golden = map.const_data_ptr<float>() + image * map.stride(0);
  const std::int64_t top = window.origins.top[i], left = window.origins.left[i];
  const auto same = [&](std::int64_t y0, std::int64_t y1, std::int64_t x0, std::int64_t x1) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = y0; y < y1; ++y) {
        const float* a = mine + (c * h + y - top) * w + x0 - left;
        const float* b = golden + c * map.stride(1) + y * map.stride(2) + x0 * map.stride(3);
        if (map.stride(3) == 1) {
          if (std::memcmp(a, b, static_cast<std::size_t>(x1 - x0) * sizeof(float)) != 0)
            return false;
          continue;
        }
        for (std::int64_t x = 0; x < x1 - x0; ++x) {
          if (std::memcmp(a + x, b + x * map.stride(3), sizeof(float)) != 0) return false;
        }
      }
    }
    return true;
  };
  while (!box.empty() && same(box.top, box.top + 1, box.left, box.right)) ++box.top;
  while (!box.empty() && same(box.bottom - 1, box.bottom, box.left, box.right)) --box.bottom;
  while (!box.empty() && same(box.top, box.bottom, box.left, box.left + 1)) ++box.left;
  while (!box.empty() && same(box.top, box.bottom, box.right - 1, box.right)) --box.right;
  return box;
}

}  // namespace bitfall
