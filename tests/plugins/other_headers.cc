// Built against headers that somebody changed, of the same ABI number.
#include "echo.h"

namespace {
constexpr bitfall::About kAbout{.name = "other_headers", .version = "1.0", .summary = "changed"};
void register_all(bitfall::Registrar& registrar) { registrar.add(bitfall::echo_metric("changed")); }
bitfall::BuiltWith built_with() {
  bitfall::BuiltWith built = bitfall::detail::built_with();
  built.headers += 1;
  return built;
}
}  // namespace

extern "C" __attribute__((visibility("default"))) const bitfall::Plugin bitfall_plugin;
const bitfall::Plugin bitfall_plugin = {bitfall::kAbi, sizeof(bitfall::Plugin), &kAbout,
                                        built_with(), register_all};
