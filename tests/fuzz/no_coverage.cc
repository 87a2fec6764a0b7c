// What code calls that is compiled with -fsanitize-coverage (trace-pc, trace-cmp), where nothing
// listens; the rest has AddressSanitizer's library, and all of it libFuzzer's.
#define BITFALL_UNLESS_LIBFUZZER __attribute__((weak))

extern "C" {
BITFALL_UNLESS_LIBFUZZER void __sanitizer_cov_trace_pc() {}
BITFALL_UNLESS_LIBFUZZER void __sanitizer_cov_trace_cmpf(float, float) {}
BITFALL_UNLESS_LIBFUZZER void __sanitizer_cov_trace_cmpd(double, double) {}
}
