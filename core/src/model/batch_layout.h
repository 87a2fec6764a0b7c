// Which values of a network lie image by image, seen on three batches that run step by step next to each other:
//
//   row        a      b      turned
//    0         A      A        D          b: another image in row 1
//    1         B      X        A          turned: the images of a, each one row further down
//    2         C      C        B
//    3         D      D        C
//
// A value lies image by image where b differs from a in row 1 and nowhere else. It does not depend on its row where
// `turned`, turned back, is a. All comparisons are of bits.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bitfall {

class Program;

/// Of the value in one slot.
struct SlotLayout {
  /// How many rows of its first dimension belong to one image ([batch * slabs, ...]); 0 where it does
  /// not lie image by image.
  std::int64_t slabs = 0;
  /// The same for every batch of images: constants, sizes, masks.
  bool image_independent = true;
  std::vector<std::int64_t> shape;  // of one image's part; [slabs, ...] where slabs > 1
  std::int64_t values = 0;          // product of shape
  std::string refusal;              // why no fault of one image can be put into it; empty = it can
};

struct BatchLayout {
  std::vector<SlotLayout> slots;
  bool rows_alike = true;    // in every value that lies image by image
  std::int64_t classes = 0;  // width of the answer
  std::string unfit;         // why effects on single images cannot be measured; empty = they can
};

/// images: [batch, C, H, W] of the shape that the program was specialised for. random: for the other
/// image. Throws Error(kInput) where the answer is not [batch, classes], else what the steps throw.
BatchLayout find_batch_layout(const Program& program, const at::Tensor& images,
                              at::Generator& random);

/// "8x3x32x32"; "scalar" without dimensions.
std::string shape_text(at::IntArrayRef shape);

}  // namespace bitfall
