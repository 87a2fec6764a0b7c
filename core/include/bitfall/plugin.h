// The plugin contract. A plugin is one shared library that exports one symbol, `bitfall_plugin`.
//
//   class Fp16 : public bitfall::NumberFormat { ... };
//   constexpr bitfall::Component<bitfall::NumberFormat> kFp16{
//       "fp16", "IEEE 754 binary16", {},
//       [](const bitfall::Options&) -> bitfall::NumberFormat* { return new Fp16; }};
//   BITFALL_PLUGIN("ieee_formats", "1.0", "IEEE-like number formats", kFp16);
//
// Compile with g++ or clang as C++20 with -fPIC -shared -ffp-contract=off; CMake does so by
// find_package(Bitfall) and bitfall_add_plugin(NAME source...). `bitfall plugin new` writes one.
#pragma once

#if __cplusplus < 202002L
#error "Bitfall plugins need C++20: compile with -std=c++20"
#endif
#ifdef __FAST_MATH__
#error "Bitfall plugins need exact arithmetic: compile and link without -ffast-math and -Ofast"
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "bitfall/error_model.h"
#include "bitfall/head_init.h"
#include "bitfall/host.h"
#include "bitfall/metric.h"
#include "bitfall/number_format.h"
#include "bitfall/options.h"
#include "bitfall/protection.h"
#include "bitfall/view.h"

namespace bitfall {

/// Raised whenever a header in bitfall/ changes in a way that compiled plugins notice. Growth needs
/// no new number: fields at the end of structs that begin with their size, and extension().
inline constexpr std::uint32_t kAbi = 4;
/// Of all headers of kAbi, without comments and white space; a test says what it must be.
inline constexpr std::uint64_t kHeaders = 0xee7cfd13ef9fccf0;

/// One thing that a plugin offers. Strings and options are static storage owned by the plugin.
template <typename Interface>
struct Component {
  /// snake_case, unique over all loaded plugins of this kind and group; the `id` in a campaign
  /// file, with the plugin's group in front: "my_group/fp16".
  const char* id;
  const char* summary;  // one sentence
  View<const OptionSpec> options;
  /// Makes an instance; the host owns it and deletes it. Throws std::invalid_argument("option: what
  /// and allowed") where options contradict each other.
  Interface* (*create)(const Options& options);
};

/// Collects a plugin's components. Registration is all or nothing: if one is refused, none is kept.
class Registrar {
 public:
  virtual void add_format(const Component<NumberFormat>& component) = 0;
  virtual void add_error_model(const Component<ErrorModel>& component) = 0;
  virtual void add_metric(const Component<Metric>& component) = 0;
  virtual void add_head_init(const Component<HeadInit>& component) = 0;
  virtual void add_protection(const Component<Protection>& component) = 0;

  void add(const Component<NumberFormat>& component) { add_format(component); }
  void add(const Component<ErrorModel>& component) { add_error_model(component); }
  void add(const Component<Metric>& component) { add_metric(component); }
  void add(const Component<HeadInit>& component) { add_head_init(component); }
  void add(const Component<Protection>& component) { add_protection(component); }
  template <typename Interface, std::size_t kSize>
  void add(const Component<Interface> (&components)[kSize]) {
    for (const auto& component : components) add(component);
  }

 protected:
  ~Registrar() = default;
};

/// Who made a plugin and what it is. Static storage; what is null or empty is not told.
struct About {
  const char* name = nullptr;     // snake_case or kebab-case: "ieee_formats"
  const char* version = nullptr;  // "1.0", "2.1.3-rc.1"
  const char* summary = nullptr;  // one sentence
  const char* group = nullptr;    // snake_case; in front of the ids of all components
  const char* licence = nullptr;  // an SPDX expression: "Apache-2.0"
  const char* url = nullptr;
  const char* cite = nullptr;  // a DOI, or a reference in one line
};

/// How a plugin was built, compared by the host before it calls anything.
struct BuiltWith {
  const char* compiler;  // as it calls itself
  const char* library;   // "libstdc++ 12"
  std::uint32_t cplusplus;
  std::uint32_t sizes[12];  // of the structs that cross, in the order of kSizes
  std::uint64_t headers;    // kHeaders
  /// a x b + c in one rounding where products and sums are fused, in two otherwise.
  float (*multiply_add)(float a, float b, float c);
};

/// The exported entry. `abi` stays the first field for ever, so that any host can read it.
struct Plugin {
  std::uint32_t abi;
  std::uint32_t size;  // of this struct in bytes
  const About* about;
  BuiltWith built_with;
  void (*register_components)(Registrar& registrar);
};

#define BITFALL_STRING_OF(x) #x
#define BITFALL_STRING(x) BITFALL_STRING_OF(x)
#if defined(_GLIBCXX_RELEASE)
#define BITFALL_LIBRARY "libstdc++ " BITFALL_STRING(_GLIBCXX_RELEASE)
#elif defined(_LIBCPP_VERSION)
#define BITFALL_LIBRARY "libc++ " BITFALL_STRING(_LIBCPP_VERSION)
#else
#define BITFALL_LIBRARY "unknown"
#endif

namespace detail {

inline float multiply_add(float a, float b, float c) { return a * b + c; }

constexpr BuiltWith built_with() {
  return {__VERSION__,
          BITFALL_LIBRARY,
          static_cast<std::uint32_t>(__cplusplus),
          {sizeof(Text), sizeof(View<float>), sizeof(OptionSpec), sizeof(Component<Metric>),
           sizeof(About), sizeof(Register), sizeof(Slice), sizeof(FormatTraits), sizeof(Edit),
           sizeof(SiteRegister), sizeof(MetricColumn), sizeof(Verdict)},
          kHeaders,
          &multiply_add};
}

template <typename T>
void register_one(Registrar& registrar, const T& component) {
  if constexpr (std::is_invocable_v<const T&, Registrar&>) {
    component(registrar);  // a function that adds some itself
  } else {
    registrar.add(component);
  }
}

}  // namespace detail
}  // namespace bitfall

/// BITFALL_PLUGIN(name, version, summary, component...): each component a bitfall::Component, an
/// array of them, or a function that takes a bitfall::Registrar&. Stands once in a plugin, outside
/// of namespaces. BITFALL_PLUGIN_ABOUT(about, component...): the same with all of bitfall::About.
#define BITFALL_PLUGIN(name_, version_, summary_, ...)                                  \
  static constexpr ::bitfall::About bitfall_about{name_,   version_, summary_, nullptr, \
                                                  nullptr, nullptr,  nullptr};          \
  BITFALL_PLUGIN_ABOUT(bitfall_about, __VA_ARGS__)

// Declared first, defined after: in one step GCC 12 takes local variables of a lambda for `extern`
// ones.
#define BITFALL_PLUGIN_ABOUT(about_, ...)                                                          \
  static void bitfall_register(::bitfall::Registrar& registrar) {                                  \
    const auto add = [&](const auto&... components) {                                              \
      (::bitfall::detail::register_one(registrar, components), ...);                               \
    };                                                                                             \
    add(__VA_ARGS__);                                                                              \
  }                                                                                                \
  extern "C" __attribute__((visibility("default"))) const ::bitfall::Plugin bitfall_plugin;        \
  const ::bitfall::Plugin bitfall_plugin = {::bitfall::kAbi, sizeof(::bitfall::Plugin), &(about_), \
                                            ::bitfall::detail::built_with(), &bitfall_register}
