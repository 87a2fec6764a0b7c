#include "image_axis.h"

#include <ATen/core/Tensor.h>

namespace bitfall {
namespace {

// The images in a dimension of their own, axis.dim + 1.
at::Tensor split(const at::Tensor& value, const ImageAxis& axis) {
  return value.unflatten(axis.dim, {axis.repeats, -1, axis.slabs});
}

}  // namespace

at::Tensor by_image(const at::Tensor& value, const ImageAxis& axis) {
  if (axis.plain()) return value;
  if (axis.leads()) return value.unflatten(0, {-1, axis.slabs});
  return split(value, axis).movedim(axis.dim + 1, 0);
}

at::Tensor image_of(const at::Tensor& value, const ImageAxis& axis, std::int64_t row) {
  if (axis.repeats == 1) return value.narrow(axis.dim, row * axis.slabs, axis.slabs);
  return split(value, axis).select(axis.dim + 1, row);
}

}  // namespace bitfall
