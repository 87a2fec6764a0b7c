#include "sandbox.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace bitfall::sandbox_test {
namespace {

bool can_take(std::size_t bytes) {
  void* memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  ::munmap(memory, bytes);
  return true;
}

TEST(FreeMemory, IsAPartOfTheMachines) {
  const auto free = free_memory();
  ASSERT_TRUE(free);
  EXPECT_GT(*free, 0);
  EXPECT_LE(*free, ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void limit_and_take() {
  constexpr std::int64_t kMiB = 1 << 20;
  limit_memory(64 * kMiB);
  const bool small = can_take(32 * kMiB);
  const bool large = can_take(96 * kMiB);
  limit_memory(1024 * kMiB);  // does not lift it
  std::_Exit(small && !large && !can_take(96 * kMiB) ? 7 : 1);
}

TEST(LimitMemory, HoldsForWhatIsTakenLater) {
  EXPECT_EXIT(limit_and_take(), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace bitfall::sandbox_test
