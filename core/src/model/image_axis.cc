#include "image_axis.h"

#include <ATen/core/Tensor.h>

#include <stdexcept>
#include <string>

#include "tensor_shape.h"

namespace bitfall {
namespace {

void check_size(const at::Tensor& value, const ImageAxis& axis) {
  const std::int64_t parts = axis.slabs * axis.repeats;
  if (value.dim() > axis.dim && value.size(axis.dim) % parts == 0) return;
  throw std::runtime_error("a value [" + shape_text(value.sizes()) + "] does not hold " +
                           std::to_string(parts) + " rows of each image in dimension " +
                           std::to_string(axis.dim) +
                           ", as it did when the network was opened: its size depends on the "
                           "images' values");
}

// The images in a dimension of their own, axis.dim + 1.
at::Tensor split(const at::Tensor& value, const ImageAxis& axis) {
  return value.unflatten(axis.dim, {axis.repeats, -1, axis.slabs});
}

}  // namespace

at::Tensor by_image(const at::Tensor& value, const ImageAxis& axis) {
  if (axis.plain()) return value;
  check_size(value, axis);
  if (axis.leads()) return value.unflatten(0, {-1, axis.slabs});
  return split(value, axis).movedim(axis.dim + 1, 0);
}

at::Tensor image_of(const at::Tensor& value, const ImageAxis& axis, std::int64_t row) {
  if (axis.repeats == 1) return value.narrow(axis.dim, row * axis.slabs, axis.slabs);
  check_size(value, axis);
  return split(value, axis).select(axis.dim + 1, row);
}

}  // namespace bitfall
