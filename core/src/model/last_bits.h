// Where the last bits of a value depend on its place in a tensor.
#pragma once

#include <cstdint>
#include <string>

namespace bitfall {

/// Whether a result of so many values on the CPU has some whose last bits may be others at another
/// place. LibTorch computes functions such as a sigmoid many values at a time, and the rest of a
/// thread's part, which fills no vector, one by one by other code. Few values show that (4 of 100 of
/// a sigmoid), so it is not left to values that are tried. function: "aten::sigmoid_".
bool varies_by_place(const std::string& function, std::int64_t values);

}  // namespace bitfall
