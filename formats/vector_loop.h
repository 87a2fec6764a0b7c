// Loops over values that are worth wide vectors.
#pragma once

// A loop that is compiled twice, with 16-byte and with 32-byte vectors, the processor choosing when
// the plugin is loaded. (Sanitizers' runtimes are not ready so early.)
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(BITFALL_ASAN)
#define BITFALL_VECTOR_LOOP __attribute__((target_clones("avx2", "default")))
#else
#define BITFALL_VECTOR_LOOP
#endif
// Everything that such a loop calls must be compiled along with it.
#define BITFALL_IN_LOOP __attribute__((always_inline)) inline
