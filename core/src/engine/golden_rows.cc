#include "golden_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace bitfall {

void GoldenRows::set_chunks(const std::vector<const GoldenChunk*>& chunks) {
  chunks_ = chunks;
  index_.clear();
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    index_[chunks[i]] = static_cast<std::int64_t>(i);
  }
  step_ = -1;
  all_.clear();
}

int GoldenRows::known_to() const {
  int known = std::numeric_limits<int>::max();
  for (const GoldenChunk* chunk : chunks_) known = std::min(known, chunk->to());
  return known;
}

std::int64_t GoldenRows::number(const GoldenChunk& chunk, std::int64_t row) const {
  return index_.at(&chunk) * model_.batch() + row;
}

at::Tensor GoldenRows::gather(int step, int slot, const at::Tensor& numbers) {
  return all(step, slot).index_select(0, numbers);
}

const at::Tensor& GoldenRows::all(int step, int slot) {
  if (step_ != step) all_.clear();
  step_ = step;
  at::Tensor& images = all_[slot];
  if (!images.defined()) {
    std::vector<at::Tensor> parts;
    for (const GoldenChunk* chunk : chunks_) {
      parts.push_back(by_image(chunk->tensor(slot), model_.images(slot)));
    }
    images = parts.size() == 1 ? parts[0] : at::cat(parts);
  }
  return images;
}

}  // namespace bitfall
