// Calls into C libraries that report failure by longjmp. Each is made by a "step": a function that
// holds nothing with a destructor and is run by `runs_through`, which owns the setjmp. Memory is
// owned outside the steps.
#pragma once

#include <csetjmp>

namespace bitfall {

struct LongJump {
  std::jmp_buf place;
  char message[256];
};

/// False = the library jumped out of `step`; context.jump.message says why.
template <typename Context>
bool runs_through(Context& context, void (*step)(Context&)) {
  if (setjmp(context.jump.place) != 0) return false;
  step(context);
  return true;
}

}  // namespace bitfall
