// An entry without a registration function.
#include "bitfall/plugin.h"

namespace {
constexpr bitfall::About kAbout{.name = "null_register", .version = "1.0", .summary = "none"};
}

extern "C" __attribute__((visibility("default"))) const bitfall::Plugin bitfall_plugin;
const bitfall::Plugin bitfall_plugin = {bitfall::kAbi, sizeof(bitfall::Plugin), &kAbout,
                                        bitfall::detail::built_with(), nullptr};
