#include "device_access.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <atomic>
#include <string_view>

namespace bitfall {
namespace {

std::atomic<std::int64_t> operators{0}, copies{0}, bytes{0};

// Operators within operators are theirs.
thread_local int depth = 0;

struct Call : at::ObserverContext {};

std::unique_ptr<at::ObserverContext> entered(const at::RecordFunction&) {
  if (depth++ == 0) ++operators;
  return nullptr;
}

void left(const at::RecordFunction&, at::ObserverContext*) { --depth; }

bool is_dense(const at::Tensor& tensor) { return tensor.is_non_overlapping_and_dense(); }

// Of a dense tensor: where places of row-major order lie in its memory.
std::vector<std::int64_t> offsets_of(const at::Tensor& tensor,
                                     std::span<const std::int64_t> places) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  std::vector<std::int64_t> offsets;
  offsets.reserve(places.size());
  for (std::int64_t rest : places) {
    std::int64_t offset = 0;
    for (std::int64_t d = tensor.dim() - 1; d >= 0; --d) {
      offset += (rest % sizes[d]) * strides[d];
      rest /= sizes[d];
    }
    offsets.push_back(offset);
  }
  return offsets;
}

void count_copy(std::int64_t size) {
  ++copies;
  bytes += size;
}

}  // namespace

at::Tensor to_host(const at::Tensor& tensor) {
  count_copy(static_cast<std::int64_t>(tensor.nbytes()));
  return tensor.to(at::kCPU, tensor.is_floating_point() ? at::kFloat : tensor.scalar_type());
}

at::Tensor to_device(std::span<const std::int64_t> indices, const at::Tensor& like) {
  count_copy(static_cast<std::int64_t>(indices.size_bytes()));
  return at::tensor(at::ArrayRef<std::int64_t>(indices.data(), indices.size()), at::kLong)
      .to(like.device());
}

std::vector<float> read_values(const at::Tensor& tensor, std::span<const std::int64_t> places) {
  const at::Tensor dense = is_dense(tensor) ? tensor : tensor.contiguous();
  const at::Tensor where = to_device(offsets_of(dense, places), dense);
  const at::Tensor values =
      to_host(dense.as_strided({dense.numel()}, {1}).index_select(0, where)).contiguous();
  const float* first = values.const_data_ptr<float>();
  return {first, first + values.numel()};
}

void write_values(const at::Tensor& tensor, std::span<const std::int64_t> places,
                  std::span<const float> values) {
  const std::vector<std::int64_t> offsets = offsets_of(tensor, places);
  if (tensor.is_cpu() && tensor.scalar_type() == at::kFloat) {
    float* data = tensor.data_ptr<float>();
    for (std::size_t i = 0; i < offsets.size(); ++i) data[offsets[i]] = values[i];
    return;
  }
  const at::Tensor what =
      at::tensor(at::ArrayRef<float>(values.data(), values.size())).to(tensor.options());
  count_copy(static_cast<std::int64_t>(values.size_bytes()));
  tensor.as_strided({tensor.numel()}, {1}).index_copy_(0, to_device(offsets, tensor), what);
}

TrafficCounter::TrafficCounter()
    : handle_(at::addGlobalCallback(
          at::RecordFunctionCallback(entered, left).scopes({at::RecordScope::FUNCTION}))),
      before_{operators, copies, bytes} {}

TrafficCounter::~TrafficCounter() { at::removeCallback(handle_); }

DeviceTraffic TrafficCounter::counted() const {
  return {operators - before_.operators, copies - before_.copies, bytes - before_.bytes};
}

}  // namespace bitfall
