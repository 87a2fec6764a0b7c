// Where a value holds the images of a batch. No LibTorch type is needed to include this.
#pragma once

#include <cstdint>

namespace at {
class Tensor;
}

namespace bitfall {

/// Along which dimension a value holds the images: of the extent repeats * batch * slabs, the image
/// being the middle one of the three numbers.
///
///   [batch, C, H, W]       one entry is one image
///   [batch * windows, C]   slabs = windows
///   [S, batch * heads, E]  dim = 1, slabs = heads: a network that puts the sequence first
///   [S * batch, E]         repeats = S: the same, flattened
struct ImageAxis {
  std::int64_t slabs = 0;    // entries of an image that follow one another; 0: not image by image
  std::int64_t repeats = 1;  // times that all images come one after the other
  std::int64_t dim = 0;

  bool exists() const { return slabs > 0; }
  /// The images follow one another in row-major order.
  bool leads() const { return dim == 0 && repeats == 1; }
  /// An entry of the first dimension is an image.
  bool plain() const { return leads() && slabs == 1; }
};

/// [batch, ...]: a view whose first dimension is the image, each image's values in the order that
/// they have in a batch of one.
at::Tensor by_image(const at::Tensor& value, const ImageAxis& axis);

/// The image at `row` of the batch: a view, of equal sizes for equal axes.
at::Tensor image_of(const at::Tensor& value, const ImageAxis& axis, std::int64_t row);

}  // namespace bitfall
