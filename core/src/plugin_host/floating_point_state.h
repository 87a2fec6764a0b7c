// How the processor computes with floating-point numbers: rounding, precision, subnormal numbers,
// exceptions. A thread's own; code that changes it changes the results of everything that comes
// after.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bitfall {

/// Not the flags that operations leave behind.
inline std::uint64_t floating_point_state() {
#if defined(__x86_64__)
  std::uint16_t x87 = 0;  // of long double: rounding, precision, masks of exceptions
  asm volatile("fnstcw %0" : "=m"(x87));
  return (_mm_getcsr() & 0xFFC0U) |  // FTZ, rounding, masks of exceptions, DAZ
         std::uint64_t{x87} << 32;
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
  _mm_setcsr((_mm_getcsr() & ~0xFFC0U) | static_cast<unsigned>(state & 0xFFC0U));
  const auto x87 = static_cast<std::uint16_t>(state >> 32);
  asm volatile("fnclex\n\tfldcw %0" : : "m"(x87));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(state));
#else
  (void)state;
#endif
}

/// Whether the registers of the x87 are free, which MMX code fills until it calls emms: long double
/// is NaN while they are not.
inline bool x87_is_empty() {
#if defined(__x86_64__)
  std::uint16_t status = 0;
  asm volatile("fxam\n\tfnstsw %0" : "=a"(status));
  return (status & 0x4500) == 0x4100;  // C3 and C0 without C2: the top of the stack is empty
#else
  return true;
#endif
}

inline void empty_x87() {
#if defined(__x86_64__)
  asm volatile("emms");
#endif
}

}  // namespace bitfall
