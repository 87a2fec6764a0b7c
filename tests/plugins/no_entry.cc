// Exports something, but no `bitfall_plugin`.
extern "C" {
__attribute__((visibility("default"))) int unrelated = 1;
}
