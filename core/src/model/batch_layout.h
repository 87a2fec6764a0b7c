// Which values of a network lie image by image, seen on batches that run step by step next to each
// other:
//
//   row        a      b      turned   exchanged
//    0         A      A        D          A         b: another image in row 1
//    1         B      X        A          0         turned: the images of a, each one row further
//    down 2         C      C        B       1000 X       exchanged: all rows but one are others:
//    other images, zeros, 3         D      D        C         NaN        huge values, NaN
//
// A value lies image by image along a dimension where b differs from a in row 1 and nowhere else,
// and `exchanged` does not differ in the row that was kept. It does not depend on its row where
// `turned`, turned back, is a. All comparisons are of bits. What batches may not show, as a maximum
// that is always reached, the operators say themselves: value_flow.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "image_axis.h"
#include "value_type.h"

namespace bitfall {

class Program;

/// Of the value in one slot.
struct SlotLayout {
  ImageAxis images;
  ValueType type = ValueType::kFloat32;
  /// The same for every batch of images: constants, sizes, masks.
  bool image_independent = true;
  std::vector<std::int64_t>
      shape;                // of one image's part: without the images' dimension if slabs = 1
  std::int64_t values = 0;  // product of shape
  std::string refusal;      // why no fault of one image can be put into it; empty = it can
};

struct BatchLayout {
  std::vector<SlotLayout> slots;
  bool rows_alike = true;    // in every value that lies image by image
  std::int64_t classes = 0;  // width of the answer
  /// Each image's answer is at least 0 and sums to 1, or all lie between 0 and 1: no logits.
  bool probabilities = false;
  std::string unfit;  // why effects on single images cannot be measured; empty = they can
};

/// What the layout is seen on.
struct ProofImages {
  at::Tensor batch;  // [batch, C, H, W]
  at::Tensor
      others;  // [any, C, H, W], at least one, none of them equal to the batch's second image
};

/// images: of the shape that the program was specialised for. Throws Error(kInput) where the answer
/// is not [batch, classes], else what the steps throw.
BatchLayout find_batch_layout(const Program& program, const ProofImages& images);

}  // namespace bitfall
