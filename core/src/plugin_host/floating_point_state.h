// How the processor computes with floating-point numbers: rounding, subnormal numbers, exceptions.
// A thread's own; code that changes it changes the results of everything that comes after.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bitfall {

/// Not the flags that operations leave behind.
inline std::uint64_t floating_point_state() {
#if defined(__x86_64__)
  return _mm_getcsr() & 0xFFC0U;  // FTZ, rounding, masks of exceptions, DAZ
#elif defined(__aarch64__)
  std::uint64_t state = 0;
  asm volatile("mrs %0, fpcr" : "=r"(state));
  return state;
#else
  return 0;
#endif
}

inline void set_floating_point_state(std::uint64_t state) {
#if defined(__x86_64__)
  _mm_setcsr((_mm_getcsr() & ~0xFFC0U) | static_cast<unsigned>(state));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(state));
#else
  (void)state;
#endif
}

}  // namespace bitfall
