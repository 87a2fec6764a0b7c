// Threads of OpenMP's pool outlive the parallel region of a plugin, and the network's passes run on
// them.
#pragma once

#include <filesystem>
#include <string>

namespace bitfall {

/// Whether a shared library is linked with a runtime of OpenMP.
bool uses_openmp(const std::filesystem::path& library);

/// Parallel regions that this thread begins have two threads or more from here on, whatever
/// OMP_NUM_THREADS says.
void widen_pool();

/// Runs one parallel region in which each thread computes from then on (floating_point_state.h) as
/// this one does. False where one did not before. True where the process has no OpenMP.
bool put_back_pool();

/// From here on left_pool_alone() looks after calls of this plugin's components.
void note_openmp_plugin(const std::string& name);
/// After a call of `who`, "format 'x' of plugin NAME": put_back_pool() after some, the first 64 of
/// a thread among them; else true.
bool left_pool_alone(const std::string& who);

}  // namespace bitfall
