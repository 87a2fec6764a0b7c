// The plugin contract. A plugin is one shared library that exports one symbol, `bitfall_plugin`.
//
//   class Fp16 : public bitfall::NumberFormat { ... };
//   constexpr bitfall::Component<bitfall::NumberFormat> kFp16{
//       "fp16", "IEEE 754 binary16", {},
//       [](const bitfall::Options&) -> bitfall::NumberFormat* { return new Fp16; }};
//   BITFALL_PLUGIN("ieee_formats", "1.0", "IEEE-like number formats", kFp16);
//
// Compile with `bitfall plugin flags`: C++20, -fPIC -shared -ffp-contract=off -fvisibility=hidden;
// or by CMake: find_package(Bitfall), bitfall_add_plugin(NAME source...). See `bitfall plugin new`.
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

#include "bitfall/component.h"
#include "bitfall/error_model.h"
#include "bitfall/head_init.h"
#include "bitfall/host.h"
#include "bitfall/metric.h"
#include "bitfall/note.h"
#include "bitfall/number_format.h"
#include "bitfall/options.h"
#include "bitfall/protection.h"
#include "bitfall/view.h"

namespace bitfall {

/// Raised whenever a header in bitfall/ changes in a way that compiled plugins notice. Growth needs
/// no new number: what is new goes through extension() and has a header in extensions/.
inline constexpr std::uint32_t kAbi = 4;
/// Of the headers in this folder, without comments and white space; a test says what it must be.
inline constexpr std::uint64_t kHeaders = 0x8ecd4f009b0e9af0;

/// How a plugin was built, compared by the host before it calls anything.
struct BuiltWith {
  const char* compiler;  // as it calls itself
  const char* library;   // "libstdc++ 12"
  std::uint32_t cplusplus;
  std::uint32_t sizes[20];  // of the structs that cross, in the order of built_with()
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

// A hash of the files that the plugin is made of, which bitfall_add_plugin and packs define:
// machines that compile the same files each for themselves can share a campaign.
#ifndef BITFALL_SOURCES
#define BITFALL_SOURCES ""
#endif

namespace detail {

inline float multiply_add(float a, float b, float c) { return a * b + c; }

constexpr BuiltWith built_with() {
  return {__VERSION__,
          BITFALL_LIBRARY,
          static_cast<std::uint32_t>(__cplusplus),
          {sizeof(Text), sizeof(View<float>), sizeof(OptionSpec), sizeof(Component<Metric>),
           sizeof(About), sizeof(Register), sizeof(Slice), sizeof(FormatTraits), sizeof(Edit),
           sizeof(SiteRegister), sizeof(MetricColumn), sizeof(Verdict), sizeof(ElementRun),
           sizeof(Range), sizeof(SiteView), sizeof(Setting), sizeof(Observation),
           sizeof(HeadRequest), sizeof(ProtectedSite), sizeof(ProtectionCost)},
          kHeaders,
          &multiply_add};
}

constexpr NoteFacts note_facts() {
  return {kAbi, kHeaders, __VERSION__, BITFALL_LIBRARY, BITFALL_SOURCES};
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

// As much of the note as the compiler knows: all, what About tells, or less. __builtin_constant_p
// stands in each condition itself, since clang takes `p ? a : b` for a constant only then.
#define BITFALL_NOTE(about_, ...)                                                                  \
  static constexpr ::bitfall::detail::NoteFacts bitfall_facts = ::bitfall::detail::note_facts();   \
  static constexpr std::size_t bitfall_note_size =                                                 \
      __builtin_constant_p(::bitfall::detail::note_size(bitfall_facts, about_, __VA_ARGS__))       \
          ? ::bitfall::detail::note_size(bitfall_facts, about_, __VA_ARGS__)                       \
      : __builtin_constant_p(::bitfall::detail::about_size(bitfall_facts, about_))                 \
          ? ::bitfall::detail::about_size(bitfall_facts, about_)                                   \
          : ::bitfall::detail::facts_size(bitfall_facts);                                          \
  __attribute__((used, section(".note.bitfall"), aligned(4))) static constexpr auto bitfall_note = \
      __builtin_constant_p(::bitfall::detail::note_size(bitfall_facts, about_, __VA_ARGS__))       \
          ? ::bitfall::detail::make_note<bitfall_note_size>(bitfall_facts, about_, __VA_ARGS__)    \
      : __builtin_constant_p(::bitfall::detail::about_size(bitfall_facts, about_))                 \
          ? ::bitfall::detail::make_about_note<bitfall_note_size>(bitfall_facts, about_)           \
          : ::bitfall::detail::make_facts_note<bitfall_note_size>(bitfall_facts);

// The entry is declared first, defined after: in one step GCC 12 takes local variables of a lambda
// for `extern` ones.
#define BITFALL_PLUGIN_ABOUT(about_, ...)                                                          \
  static void bitfall_register(::bitfall::Registrar& registrar) {                                  \
    const auto add = [&](const auto&... components) {                                              \
      (::bitfall::detail::register_one(registrar, components), ...);                               \
    };                                                                                             \
    add(__VA_ARGS__);                                                                              \
  }                                                                                                \
  BITFALL_NOTE(about_, __VA_ARGS__)                                                                \
  extern "C" __attribute__((visibility("default"))) const ::bitfall::Plugin bitfall_plugin;        \
  const ::bitfall::Plugin bitfall_plugin = {::bitfall::kAbi, sizeof(::bitfall::Plugin), &(about_), \
                                            ::bitfall::detail::built_with(), &bitfall_register}
