// What a plugin needs from a library that lies beside it.
extern "C" __attribute__((visibility("default"))) int support() { return 5; }
