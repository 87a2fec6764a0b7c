// Steps on windows, called so that they give the bits that they give on whole maps.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <compare>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "program.h"
#include "spatial.h"

namespace bitfall {

/// LibTorch chooses a convolution's kernel by the number of rows and threads, and the kernel how to
/// sum over channels by the size of the maps.
struct WindowWay {
  /// What convolves: the program's operator, or one of the two that it would choose from for other
  /// numbers of rows: oneDNN's, and that by a product of matrices.
  enum class Kernel : std::uint8_t { kProgram, kOneDnn, kProduct };
  Kernel kernel = Kernel::kProgram;
  bool tiled = false;  // places of many windows laid out as maps of the usual size; for 1x1
};

/// What was learnt by trying: a way by which a call gives windows of a shape the bits of whole
/// maps. Thread-safe.
class WindowWays {
 public:
  struct Kind {
    int call = 0;
    std::int64_t rows = 0, h = 0, w = 0;
    friend auto operator<=>(const Kind&, const Kind&) = default;
  };
  /// Nothing: not tried yet. Nothing inside: there is no way.
  std::optional<std::optional<WindowWay>> find(const Kind& kind) const;
  void note(const Kind& kind, const std::optional<WindowWay>& way);

  /// A number for all calls that this text describes: kernels are chosen by operators and shapes,
  /// not by values, so that layers of one shape share what is learnt.
  int call(const std::string& description);
  /// The kernel that was last found for the call.
  WindowWay::Kernel likely(int call) const;

  /// What windows of so many places together took.
  void took(int call, double seconds, std::int64_t places);
  /// The mean of what was told; nothing before that.
  std::optional<double> seconds_a_place(int call) const;

 private:
  mutable std::mutex mutex_;
  std::map<Kind, std::optional<WindowWay>> ways_;
  std::map<std::string, int> calls_;
  struct Taken {
    double seconds = 0;
    std::int64_t places = 0;
  };
  std::map<int, WindowWay::Kernel> likely_;
  std::map<int, Taken> taken_;
};

/// The operator of a step, what it is given and makes, as far as kernels are chosen by it.
std::string describe_call(const Step& step, const Slots& golden, const at::Tensor& made);

/// The ways worth a try for a step, the likeliest first.
std::vector<WindowWay> ways_to_try(const Spatial& how, WindowWay::Kernel likely);

/// The step's result [rows, C, h, w], contiguous. `given`: its operands, maps as windows; `whole`:
/// what it makes of maps.
at::Tensor call_on_windows(const Program& program, int step, const Spatial& how,
                           std::vector<c10::IValue> given, const WindowWay& way,
                           const at::Tensor& whole);

}  // namespace bitfall
