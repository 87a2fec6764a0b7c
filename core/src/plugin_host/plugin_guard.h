// Stands between the host and a plugin's objects: what their code throws, or gives that cannot be,
// becomes Error(kPlugin) that names them; how the processor computes stays as it was.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "bitfall/plugin.h"
#include "error.h"
#include "openmp_pool.h"
#include "plugin_calls.h"

namespace bitfall {

/// What an exception of a plugin says, as one line that a terminal can be given, of some 1000
/// characters at most.
std::string told_by(const std::exception& error);

/// Runs plugin code. `who` is "format 'fp16' of plugin formats_ieee", `what` the method.
template <typename Call>
auto call_plugin(const std::string& who, const char* what, Call&& call) {
  const PluginCall here(who.c_str(), what);
  const auto check = [&] {
    const bool own = here.left_arithmetic_alone();
    if (own && left_pool_alone(who)) return;
    throw Error(ExitCode::kPlugin,
                who + " changed how the processor computes in " + what +
                    (own ? " (threads of OpenMP's pool)" : "") + place_of_call() +
                    ": rounding, precision, subnormal numbers or floating-point exceptions must be "
                    "put back, and MMX code ends with emms");
  };
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Call>>) {
      std::forward<Call>(call)();
      check();
    } else {
      auto result = std::forward<Call>(call)();
      check();
      return result;
    }
  } catch (const Error&) {
    note_failed_call();
    throw;  // ours, passing through a plugin (from an EditSink, say)
  } catch (const std::bad_alloc&) {
    note_failed_call();
    throw Error(ExitCode::kPlugin, who + " asks for more memory in " + what + place_of_call() +
                                       " than there is (see [run] plugin_memory)");
  } catch (const std::exception& error) {
    note_failed_call();
    throw Error(ExitCode::kPlugin,
                who + " failed in " + what + place_of_call() + ": " + told_by(error));
  } catch (...) {
    note_failed_call();
    throw Error(ExitCode::kPlugin, who + " failed in " + what + place_of_call() +
                                       ": it threw something that is not a std::exception");
  }
}

/// Takes a plugin's object, checks what it says of itself (registers, columns), and wraps it.
/// Throws Error(kPlugin) where that does not hold together. twice: some calls of encode, decode and
/// guard are made twice, over other contents of what they write and of parts of the values, and
/// must give the same.
std::unique_ptr<NumberFormat> guard(std::unique_ptr<NumberFormat> format, const std::string& who,
                                    bool twice);
std::unique_ptr<ErrorModel> guard(std::unique_ptr<ErrorModel> model, const std::string& who);
/// copies: it is shown copies of the logits, so that it can change nothing of the program's.
std::unique_ptr<Metric> guard(std::unique_ptr<Metric> metric, const std::string& who, bool copies);
std::unique_ptr<HeadInit> guard(std::unique_ptr<HeadInit> init, const std::string& who);
std::unique_ptr<Protection> guard(std::unique_ptr<Protection> protection, const std::string& who,
                                  bool twice);

}  // namespace bitfall
