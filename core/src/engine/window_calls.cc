#include "window_calls.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mkldnn_convolution.h>
#include <ATen/ops/thnn_conv2d.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace bitfall {
namespace {

void describe(std::ostream& out, const c10::IValue& value) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    if (!tensor.defined()) {
      out << " none";
    } else {
      out << ' ' << tensor.scalar_type() << tensor.sizes() << tensor.strides();
    }
  } else if (value.isTensorList()) {
    for (const at::Tensor& one : value.toTensorVector()) describe(out, one);
  } else {
    out << ' ' << value;
  }
}

// All places of windows [rows, C, h, w], one after the other, as places of maps [n, C, height,
// width]. Calls copy(in windows, in maps, count) for the runs of numbers that lie together in both.
template <typename Copy>
void for_runs(const at::Tensor& windows, const at::Tensor& maps, const Copy& copy) {
  const std::int64_t channels = windows.size(1), window = windows.size(2) * windows.size(3);
  const std::int64_t tile = maps.size(2) * maps.size(3);
  at::parallel_for(0, windows.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t done = 0, count = 0; done < window; done += count) {
        const std::int64_t place = row * window + done, map = place / tile, to = place % tile;
        count = std::min(window - done, tile - to);
        for (std::int64_t c = 0; c < channels; ++c) {
          copy((row * channels + c) * window + done, (map * channels + c) * tile + to, count);
        }
      }
    }
  });
}

// Windows as maps, zero where no place is left.
at::Tensor laid_out(const at::Tensor& windows, std::int64_t height, std::int64_t width) {
  const std::int64_t places = windows.size(0) * windows.size(2) * windows.size(3);
  const std::int64_t tile = height * width, maps = (places + tile - 1) / tile;
  at::Tensor laid = at::empty({maps, windows.size(1), height, width}, at::kFloat);
  if (places < maps * tile) laid[maps - 1].zero_();
  const float* from = windows.const_data_ptr<float>();
  float* to = laid.data_ptr<float>();
  for_runs(windows, laid, [&](std::int64_t in_windows, std::int64_t in_maps, std::int64_t count) {
    std::copy_n(from + in_windows, count, to + in_maps);
  });
  return laid;
}

// The other way round.
at::Tensor taken_back(const at::Tensor& laid, std::int64_t rows, std::int64_t h, std::int64_t w) {
  at::Tensor windows = at::empty({rows, laid.size(1), h, w}, at::kFloat);
  const float* from = laid.const_data_ptr<float>();
  float* to = windows.data_ptr<float>();
  for_runs(windows, laid, [&](std::int64_t in_windows, std::int64_t in_maps, std::int64_t count) {
    std::copy_n(from + in_maps, count, to + in_windows);
  });
  return windows;
}

std::optional<at::Tensor> bias_of(const c10::IValue& given) {
  return given.isTensor() && given.toTensor().defined() ? std::optional(given.toTensor())
                                                        : std::nullopt;
}

at::Tensor call(const Program& program, int step, const Spatial& how,
                std::vector<c10::IValue> given, WindowWay::Kernel kernel) {
  if (kernel == WindowWay::Kernel::kProgram) return program.call(step, std::move(given)).toTensor();
  const at::Tensor x = given[0].toTensor(), weight = given[1].toTensor();
  const auto stride =
      given[3].isInt() ? std::vector<std::int64_t>{given[3].toInt()} : given[3].toIntVector();
  if (kernel == WindowWay::Kernel::kProduct) {
    return at::thnn_conv2d(x, weight, how.kernel, bias_of(given[2]), stride, Spatial::kNone);
  }
  return at::mkldnn_convolution(x, weight, bias_of(given[2]), Spatial::kNone, stride, how.dilation,
                                how.groups);
}

}  // namespace

std::optional<std::optional<WindowWay>> WindowWays::find(const Kind& kind) const {
  const std::lock_guard lock(mutex_);
  const auto found = ways_.find(kind);
  if (found == ways_.end()) return std::nullopt;
  return found->second;
}

void WindowWays::note(const Kind& kind, const std::optional<WindowWay>& way) {
  const std::lock_guard lock(mutex_);
  ways_[kind] = way;
  if (way) likely_[kind.call] = way->kernel;
}

int WindowWays::call(const std::string& description) {
  const std::lock_guard lock(mutex_);
  return calls_.try_emplace(description, static_cast<int>(calls_.size())).first->second;
}

WindowWay::Kernel WindowWays::likely(int call) const {
  const std::lock_guard lock(mutex_);
  const auto found = likely_.find(call);
  return found == likely_.end() ? WindowWay::Kernel::kProgram : found->second;
}

void WindowWays::took(int call, double seconds, std::int64_t places) {
  const std::lock_guard lock(mutex_);
  taken_[call].seconds += seconds;
  taken_[call].places += places;
}

std::optional<double> WindowWays::seconds_a_place(int call) const {
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(call);
  if (found == taken_.end()) return std::nullopt;
  return found->second.seconds / static_cast<double>(found->second.places);
}

std::string describe_call(const Step& step, const Slots& golden, const at::Tensor& made) {
  std::ostringstream out;
  out << at::get_num_threads() << ' ' << step.function;
  for (const int slot : step.inputs) describe(out, golden[static_cast<std::size_t>(slot)]);
  out << " to";
  describe(out, made);
  return out.str();
}

std::vector<WindowWay> ways_to_try(const Spatial& how, WindowWay::Kernel likely) {
  using Kernel = WindowWay::Kernel;
  if (!how.convolution) return {{}};
  std::vector<Kernel> kernels = {likely};
  const auto add = [&](Kernel kernel) {
    if (kernel != likely) kernels.push_back(kernel);
  };
  add(Kernel::kProgram);
  if (at::hasMKLDNN()) add(Kernel::kOneDnn);
  if (how.groups == 1 && how.dilation == Spatial::kOne) add(Kernel::kProduct);
  std::vector<WindowWay> ways;
  for (const Kernel kernel : kernels) {
    ways.push_back({kernel, false});
    if (how.pointwise) ways.push_back({kernel, true});
  }
  return ways;
}

at::Tensor call_on_windows(const Program& program, int step, const Spatial& how,
                           std::vector<c10::IValue> given, const WindowWay& way,
                           const at::Tensor& whole) {
  if (!way.tiled) {
    return call(program, step, how, std::move(given), way.kernel).contiguous();
  }
  const at::Tensor x = given[0]
                           .toTensor()
                           .slice(2, 0, std::nullopt, how.stride[0])
                           .slice(3, 0, std::nullopt, how.stride[1])
                           .contiguous();
  given[0] = laid_out(x, whole.size(2), whole.size(3));
  given[3] = c10::List<std::int64_t>({1, 1});
  const at::Tensor made = call(program, step, how, std::move(given), way.kernel);
  return taken_back(made.contiguous(), x.size(0), x.size(2), x.size(3));
}

}  // namespace bitfall
