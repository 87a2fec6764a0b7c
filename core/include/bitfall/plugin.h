// The plugin contract. A plugin is one shared library that exports one symbol, `bitfall_plugin`.
//
//   class Fp16 : public bitfall::NumberFormat { ... };
//   constexpr bitfall::Component<bitfall::NumberFormat> kFp16{
//       "fp16", "IEEE 754 binary16", {}, [](const bitfall::Options&) -> bitfall::NumberFormat* {
//       return new Fp16; }};
//   BITFALL_PLUGIN("formats-ieee", "1.0", "IEEE-like number formats", [](bitfall::Registrar& r) {
//   r.add(kFp16); });
#pragma once

#include <cstdint>
#include <span>

#include "bitfall/error_model.h"
#include "bitfall/head_init.h"
#include "bitfall/metric.h"
#include "bitfall/number_format.h"
#include "bitfall/options.h"

namespace bitfall {

/// Raised whenever a header in bitfall/ changes in a way that compiled plugins notice.
inline constexpr std::uint32_t kAbi = 3;

/// One thing that a plugin offers. Strings and options are static storage owned by the plugin.
template <typename Interface>
struct Component {
  const char*
      id;  // snake_case, unique over all loaded plugins of this kind; the `id` in a campaign file
  const char* summary;  // one sentence
  std::span<const OptionSpec> options;
  /// Makes an instance; the host owns it and deletes it. Throws std::invalid_argument("option: what
  /// and allowed") where options contradict each other.
  Interface* (*create)(const Options& options);
};

/// Collects a plugin's components. Registration is all or nothing: if one is refused, none is kept.
/// Protections will be a further overload at the end.
class Registrar {
 public:
  virtual ~Registrar() = default;
  virtual void add(const Component<NumberFormat>& component) = 0;
  virtual void add(const Component<ErrorModel>& component) = 0;
  virtual void add(const Component<Metric>& component) = 0;
  virtual void add(const Component<HeadInit>& component) = 0;
};

/// The exported entry. `abi` stays the first field for ever, so that any host can read it.
struct Plugin {
  std::uint32_t abi;
  const char* name;     // "formats-ieee"
  const char* version;  // "1.0"
  const char* summary;
  void (*register_components)(Registrar& registrar);
};

}  // namespace bitfall

// Declared first, defined after: in one step GCC 12 takes local variables of the lambda for
// `extern` ones.
#define BITFALL_PLUGIN(name, version, summary, ...)                                         \
  extern "C" __attribute__((visibility("default"))) const ::bitfall::Plugin bitfall_plugin; \
  const ::bitfall::Plugin bitfall_plugin = {::bitfall::kAbi, name, version, summary, __VA_ARGS__}
