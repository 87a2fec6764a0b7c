// Golden values of images that a pass takes from several chunks, on a device: gathered in one go.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "golden.h"

namespace bitfall {

class GoldenRows {
 public:
  /// Borrows the model.
  explicit GoldenRows(const Model& model) : model_(model) {}

  /// The chunks that passes may take images from, until this is called again.
  void set_chunks(const std::vector<const GoldenChunk*>& chunks);

  /// The step up to which all of them hold their values.
  int known_to() const;

  /// Number of the image at `row` of one of the chunks, among those of all.
  std::int64_t number(const GoldenChunk& chunk, std::int64_t row) const;

  /// Golden values of the images with these numbers in a slot at a step, [images, ...] by image.
  /// What was put together for another step is forgotten.
  at::Tensor gather(int step, int slot, const at::Tensor& numbers);

 private:
  const at::Tensor& all(int step, int slot);

  const Model& model_;
  std::vector<const GoldenChunk*> chunks_;
  std::map<const GoldenChunk*, std::int64_t> index_;
  int step_ = -1;
  std::map<int, at::Tensor> all_;  // by slot, the images of all chunks
};

}  // namespace bitfall
