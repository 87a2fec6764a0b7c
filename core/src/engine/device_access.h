// Copies between the host and a device, and single values of tensors that lie on either. A device
// is waited for at each copy to the host, so that a pass should have few of them, however many
// images it holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace bitfall {

/// On the host, float32 where it holds real numbers; the tensor itself if it is so already.
at::Tensor to_host(const at::Tensor& tensor);

/// Indices, on the device of `like`.
at::Tensor to_device(std::span<const std::int64_t> indices, const at::Tensor& like);

/// The values at some places, indices in row-major order.
std::vector<float> read_values(const at::Tensor& tensor, std::span<const std::int64_t> places);

/// Writes a number at each place.
void write_values(const at::Tensor& tensor, std::span<const std::int64_t> places,
                  std::span<const float> values);

/// Operators of LibTorch that were called, and copies between host and device. Each operator is a
/// view or at least one kernel.
struct DeviceTraffic {
  std::int64_t operators = 0;
  std::int64_t copies = 0;
  std::int64_t bytes = 0;  // copied
};

/// Counts the traffic of all threads from its making on. Costs time: for benchmarks and tests.
class TrafficCounter {
 public:
  TrafficCounter();
  ~TrafficCounter();
  TrafficCounter(const TrafficCounter&) = delete;
  TrafficCounter& operator=(const TrafficCounter&) = delete;

  DeviceTraffic counted() const;

 private:
  std::uint64_t handle_;
  DeviceTraffic before_;
};

}  // namespace bitfall
