// Stands between the host and a plugin's objects: what their code throws becomes Error(kPlugin)
// that names them.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "bitfall/plugin.h"
#include "error.h"

namespace bitfall {

/// Runs plugin code. `who` is "format 'fp16' of plugin formats_ieee", `what` the method.
template <typename Call>
decltype(auto) call_plugin(const std::string& who, const char* what, Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const Error&) {
    throw;  // ours, passing through a plugin (from an EditSink, say)
  } catch (const std::exception& error) {
    throw Error(ExitCode::kPlugin, who + " failed in " + what + ": " + error.what());
  } catch (...) {
    throw Error(ExitCode::kPlugin,
                who + " failed in " + what + ": it threw something that is not a std::exception");
  }
}

/// Takes a plugin's object, checks what it says of itself (registers, columns), and wraps it.
/// Throws Error(kPlugin) where that does not hold together.
std::unique_ptr<NumberFormat> guard(std::unique_ptr<NumberFormat> format, const std::string& who);
std::unique_ptr<ErrorModel> guard(std::unique_ptr<ErrorModel> model, const std::string& who);
std::unique_ptr<Metric> guard(std::unique_ptr<Metric> metric, const std::string& who);
std::unique_ptr<HeadInit> guard(std::unique_ptr<HeadInit> init, const std::string& who);

}  // namespace bitfall
