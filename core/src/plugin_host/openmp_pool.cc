#include "openmp_pool.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "floating_point_state.h"
#include "plugin_note.h"

namespace bitfall {
namespace {

constexpr std::array kRuntimes = {"libgomp", "libomp", "libiomp5"};

// A function of whichever runtime is there, as this program itself is linked with none where it
// runs no network. Null where there is none.
void* runtime_function(const char* name) {
  void* found = ::dlsym(RTLD_DEFAULT, name);
  for (const char* runtime : kRuntimes) {
    for (const char* ending : {".so.1", ".so.5", ".so"}) {
      if (found != nullptr) break;
      void* library = ::dlopen((std::string(runtime) + ending).c_str(), RTLD_NOLOAD | RTLD_LAZY);
      if (library != nullptr) found = ::dlsym(library, name);
    }
  }
  return found;
}

// What compilers call for `#pragma omp parallel`.
using ParallelRegion = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
ParallelRegion parallel_region() {
  return reinterpret_cast<ParallelRegion>(runtime_function("GOMP_parallel"));
}

struct PoolLook {
  std::uint64_t state;
  std::atomic<bool> alike{true};
};
void look_at_thread(void* data) {
  auto& look = *static_cast<PoolLook*>(data);
  if (floating_point_state() == look.state) return;
  look.alike = false;
  set_floating_point_state(look.state);
}

struct OpenmpPlugins {
  std::mutex mutex;
  std::vector<std::string> endings;  // " of plugin NAME"
  std::atomic<bool> any{false};
};
OpenmpPlugins& openmp_plugins() {
  static OpenmpPlugins& all = *new OpenmpPlugins;
  return all;
}

}  // namespace

bool uses_openmp(const std::filesystem::path& library) {
  for (const LibraryNeed& need : library_needs(library)) {
    for (const char* runtime : kRuntimes) {
      if (need.library.starts_with(runtime)) return true;
    }
  }
  return false;
}

void widen_pool() {
  const auto most = reinterpret_cast<int (*)()>(runtime_function("omp_get_max_threads"));
  const auto set = reinterpret_cast<void (*)(int)>(runtime_function("omp_set_num_threads"));
  if (most != nullptr && set != nullptr && most() < 2) set(2);
}

bool put_back_pool() {
  const ParallelRegion run = parallel_region();
  if (run == nullptr) return true;
  PoolLook look{floating_point_state()};
  run(look_at_thread, &look, 0, 0);
  return look.alike;
}

void note_openmp_plugin(const std::string& name) {
  const std::lock_guard lock(openmp_plugins().mutex);
  openmp_plugins().endings.push_back(" of plugin " + name);
  openmp_plugins().any = true;
}

bool left_pool_alone(const std::string& who) {
  if (!openmp_plugins().any.load(std::memory_order_relaxed)) return true;
  constexpr std::uint32_t kFirst = 64, kEvery = 61;  // a prime: calls come in turns
  thread_local std::uint32_t calls = 0;
  const std::uint32_t call = calls++;
  if (call >= kFirst && call % kEvery != 0) return true;
  {
    const std::lock_guard lock(openmp_plugins().mutex);
    const auto& endings = openmp_plugins().endings;
    if (std::none_of(endings.begin(), endings.end(),
                     [&](const std::string& ending) { return who.ends_with(ending); })) {
      return true;
    }
  }
  return put_back_pool();
}

}  // namespace bitfall
