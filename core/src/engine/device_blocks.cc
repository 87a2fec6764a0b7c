#include "device_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

namespace bitfall {
namespace {

constexpr int kExponents = 255;  // of float32's finite numbers

/// A block format's elements in a block whose scale is 1, as a format of single elements: each
/// stands beside an anchor, the largest power of two that leaves the scale there.
class ElementOfBlock final : public NumberFormat {
 public:
  ElementOfBlock(const NumberFormat& format, std::span<const std::int64_t> shape)
      : format_(format), shape_(shape), block_(format.block(0, shape)) {
    for (int exponent = 1; exponent < kExponents; ++exponent) {
      const auto [code, scale] = scale_of(std::ldexp(1.0F, exponent - 127));
      if (scale != 1) continue;
      anchor_ = std::ldexp(1.0F, exponent - 127);
      code_ = code;
    }
  }

  bool has_anchor() const { return anchor_ > 0; }
  /// The shared register of a block with this largest magnitude, and what it stands for.
  std::pair<std::uint32_t, float> scale_of(float largest) const {
    std::vector<float> values(static_cast<std::size_t>(block_.count));
    std::vector<std::uint32_t> codes(values.size()), metadata = registers_of_slab();
    values[0] = largest;
    format_.encode(values, slice(0), metadata, codes);
    return {metadata[0], static_cast<float>(format_.metadata_value(1, metadata[0]))};
  }

  View<const Register> registers() const override { return format_.registers().first(1); }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    in_blocks(values.size(), [&](std::size_t at, std::size_t count, auto& block, auto& held) {
      std::vector<std::uint32_t> metadata = registers_of_slab();
      std::copy_n(values.begin() + at, count, block.begin() + 1);
      bound(block);
      format_.encode(block, this->slice(slice.stream), metadata, held);
      std::copy_n(held.begin() + 1, count, codes.begin() + at);
    });
  }
  void decode(View<const std::uint32_t> codes, const Slice& slice, View<const std::uint32_t>,
              View<float> values) const override {
    in_blocks(values.size(), [&](std::size_t at, std::size_t count, auto& block, auto& held) {
      std::vector<std::uint32_t> metadata = registers_of_slab();
      metadata[0] = code_;
      std::copy_n(codes.begin() + at, count, held.begin() + 1);
      format_.decode(held, this->slice(slice.stream), metadata, block);
      std::copy_n(block.begin() + 1, count, values.begin() + at);
    });
  }
  void emulate(View<float> values, const Slice& slice, View<std::uint32_t>) const override {
    std::vector<std::uint32_t> metadata = registers_of_slab();
    in_blocks(values.size(), [&](std::size_t at, std::size_t count, auto& block, auto&) {
      std::copy_n(values.begin() + at, count, block.begin() + 1);
      bound(block);
      format_.emulate(block, this->slice(slice.stream), metadata);
      std::copy_n(block.begin() + 1, count, values.begin() + at);
    });
  }
  float largest(View<const std::uint32_t> metadata) const override {
    return format_.largest(metadata);
  }
  const void* extension(const char* name) const override { return format_.extension(name); }

 private:
  std::vector<std::uint32_t> registers_of_slab() const {
    return std::vector<std::uint32_t>(
        std::max<std::size_t>(static_cast<std::size_t>(metadata_size(format_, shape_)), 1));
  }
  Slice slice(std::uint64_t stream) const { return {shape_, block_.first, block_.stride, stream}; }
  // Larger ones would move the scale. Only where it is at its end do blocks hold them: there they
  // saturate.
  void bound(std::vector<float>& block) const {
    const float most = std::nextafter(2 * anchor_, 0.0F);
    for (float& value : block) {
      if (std::isfinite(value)) value = std::clamp(value, -most, most);
    }
  }
  template <typename Work>
  void in_blocks(std::size_t count, Work work) const {
    std::vector<float> block(static_cast<std::size_t>(block_.count));
    std::vector<std::uint32_t> codes(block.size());
    for (std::size_t at = 0; at < count; at += block.size() - 1) {
      std::fill(block.begin(), block.end(), 0.0F);
      std::fill(codes.begin(), codes.end(), 0);
      block[0] = anchor_;
      work(at, std::min(count - at, block.size() - 1), block, codes);
    }
  }

  const NumberFormat& format_;
  std::span<const std::int64_t> shape_;
  ElementRun block_;
  float anchor_ = 0;
  std::uint32_t code_ = 0;
};

/// Images to compare with the format on: any magnitudes beside any others, numbers that are none,
/// runs of zeros, and ordinary ones. Of a large slab one, as each value takes its time.
at::Tensor trying_images(std::int64_t count) {
  std::mt19937 random(1);
  const std::int64_t images = std::clamp<std::int64_t>((std::int64_t{1} << 16) / count, 1, 4);
  std::vector<float> values;
  for (std::int64_t i = 0; i < images * count; ++i) {
    const std::int64_t kind = i / 97 % 5;
    const auto bits = static_cast<std::int32_t>(random());
    const int spread = kind == 0 ? 4 : kind == 1 ? 30 : 277;
    float value = std::ldexp(static_cast<float>(bits),
                             static_cast<int>(random() % spread) - (kind < 2 ? spread + 30 : 180));
    if (kind == 3 && random() % 61 == 0) value = bits % 2 ? INFINITY : -INFINITY;
    if (kind == 3 && random() % 61 == 0) value = std::copysign(NAN, static_cast<float>(bits));
    if (kind == 4 && i / 485 % 3 != 0) value = std::copysign(0.0F, value);
    values.push_back(value);
  }
  return at::tensor(values).view({images, count});
}

}  // namespace

DeviceBlocks::DeviceBlocks(DeviceRounding rounding, at::Tensor shrinks, at::Tensor scales,
                           Lines lines)
    : rounding_(std::move(rounding)),
      shrinks_(std::move(shrinks)),
      scales_(std::move(scales)),
      lines_(std::move(lines)) {}

std::optional<DeviceBlocks> DeviceBlocks::make(const NumberFormat& format,
                                               std::span<const std::int64_t> shape,
                                               const std::string& device) {
  const std::int64_t size = element_count(shape);
  if (format.elementwise() || format.calibrated() || format.registers().size() != 2 || size < 2 ||
      format.block(0, shape).first != 0 || format.block(0, shape).count < 2) {
    return std::nullopt;
  }
  const ElementOfBlock element(format, shape);
  if (!element.has_anchor()) return std::nullopt;
  auto rounding = DeviceRounding::make(element, std::vector<std::int64_t>{size}, {}, device);
  if (!rounding) return std::nullopt;
  std::vector<float> shrinks, scales;
  for (int exponent = 0; exponent < kExponents; ++exponent) {
    // Below 2^-126 there are subnormal numbers and zero.
    const float largest = exponent == 0 ? 0.0F : std::ldexp(1.0F, exponent - 127);
    scales.push_back(element.scale_of(largest).second);
    shrinks.push_back(1 / scales.back());
  }
  DeviceBlocks blocks(*std::move(rounding), at::tensor(shrinks).to(c10::Device(device)),
                      at::tensor(scales).to(c10::Device(device)), lines_of(format, shape, device));
  if (!blocks.equals(format, shape, device)) return std::nullopt;
  return blocks;
}

DeviceBlocks::Lines DeviceBlocks::lines_of(const NumberFormat& format,
                                           std::span<const std::int64_t> shape,
                                           const std::string& device) {
  const std::int64_t size = element_count(shape);
  const ElementRun first = format.block(0, shape);
  Lines lines;
  std::vector<std::int64_t> gather,
      scatter(static_cast<std::size_t>(size));  // at first: the element's block
  std::vector<std::int64_t> number(static_cast<std::size_t>(size), -1);  // of blocks, by start
  std::vector<ElementRun> runs;
  for (std::int64_t at = 0; at < size; ++at) {
    const ElementRun run = format.block(at, shape);
    std::int64_t& own = number[static_cast<std::size_t>(run.first)];
    if (own < 0) {
      own = static_cast<std::int64_t>(runs.size());
      runs.push_back(run);
    }
    lines.width = std::max(lines.width, run.count);
    scatter[static_cast<std::size_t>(at)] = own;
  }
  const std::int64_t side_by_side =
      first.count * first.stride;  // the elements of blocks that are so
  bool regular = size % side_by_side == 0;
  for (std::int64_t at = 0; at < size && regular; ++at) {
    const std::int64_t start = at / side_by_side * side_by_side + at % first.stride;
    const ElementRun& run = runs[static_cast<std::size_t>(scatter[static_cast<std::size_t>(at)])];
    regular = run.first == start && run.count == first.count && run.stride == first.stride;
  }
  if (regular) {
    lines.blocks = size / side_by_side;
    lines.inner = first.stride;
    return lines;
  }
  lines.blocks = static_cast<std::int64_t>(runs.size());
  for (const ElementRun& run : runs) {
    for (std::int64_t k = 0; k < lines.width; ++k) {
      gather.push_back(run.first + (k < run.count ? k : 0) * run.stride);
    }
  }
  for (std::int64_t at = 0; at < size; ++at) {
    std::int64_t& place = scatter[static_cast<std::size_t>(at)];
    const ElementRun& run = runs[static_cast<std::size_t>(place)];
    place = place * lines.width + (at - run.first) / run.stride;
  }
  lines.gather = at::tensor(gather, at::kLong).to(c10::Device(device));
  lines.scatter = at::tensor(scatter, at::kLong).to(c10::Device(device));
  return lines;
}

bool DeviceBlocks::equals(const NumberFormat& format, std::span<const std::int64_t> shape,
                          const std::string& device) const {
  const std::int64_t size = element_count(shape);
  const at::Tensor images = trying_images(size);
  const at::Tensor mine = (*this)(images.to(c10::Device(device))).cpu().contiguous();
  const at::Tensor held = images.clone();
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(metadata_size(format, shape)));
  for (std::int64_t image = 0; image < images.size(0); ++image) {
    const std::span values(held.data_ptr<float>() + image * size, static_cast<std::size_t>(size));
    format.emulate(values, {shape, 0, 1, static_cast<std::uint64_t>(image)}, metadata);
  }
  return same_numbers(mine, held);
}

at::Tensor DeviceBlocks::operator()(const at::Tensor& images) const {
  const std::int64_t rows = images.size(0);
  const bool regular = !lines_.gather.defined();
  const at::Tensor blocks = regular
                                ? images.reshape({rows, lines_.blocks, lines_.width, lines_.inner})
                                : images.reshape({rows, -1})
                                      .index_select(1, lines_.gather)
                                      .view({rows, lines_.blocks, lines_.width, lines_.inner});
  const at::Tensor bits = blocks.view(at::kInt).bitwise_and(0x7FFFFFFF);
  const at::Tensor largest = bits.masked_fill(bits.ge(0x7F800000), 0).amax(2, /*keepdim=*/true);
  const at::Tensor exponents = largest.bitwise_right_shift(23);
  const at::Tensor every = exponents.reshape(-1);
  const at::Tensor shrinks = shrinks_.index_select(0, every).view(exponents.sizes());
  const at::Tensor scales = scales_.index_select(0, every).view(exponents.sizes());
  const at::Tensor rounded = rounding_(blocks.mul(shrinks)).mul(scales);
  if (regular) return rounded.reshape(images.sizes());
  return rounded.view({rows, -1}).index_select(1, lines_.scatter).view(images.sizes());
}

}  // namespace bitfall
