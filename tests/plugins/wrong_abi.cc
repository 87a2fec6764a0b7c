// Built against other headers: ABI 7. The fields behind the ABI number are not even there.
extern "C" {
// NOLINTNEXTLINE(readability-identifier-naming): what the host looks for
__attribute__((visibility("default"))) extern const unsigned bitfall_plugin;
const unsigned bitfall_plugin = 7;
}
