// What a check looks at: a component of the plugin, made as often as it likes, with any options.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "check_child.h"
#include "philox.h"
#include "plugin_host.h"

namespace bitfall {

/// Words that stand for all that a component has given: equal words, equal results.
using Words = std::vector<std::uint32_t>;

class Subject {
 public:
  /// Borrows the host. given: options "key=value" of the user, for components that declare them.
  /// classes: of every answer; 0 = various.
  Subject(const PluginHost& host, const ComponentDescription& component,
          const std::vector<std::string>& given, std::uint64_t seed, std::size_t classes = 0);

  const ComponentDescription& component() const { return component_; }
  std::uint64_t seed() const { return seed_; }
  std::size_t classes() const { return classes_; }
  /// A stream of its own for each number.
  PhiloxStream random(std::uint64_t number) const { return {seed_, RandomDomain::kTrial, number}; }

  /// With the user's options, the defaults, and examples where an option is required.
  template <typename Interface>
  std::unique_ptr<Interface> make() const {
    return make<Interface>(base_);
  }
  template <typename Interface>
  std::unique_ptr<Interface> make(const std::vector<GivenOption>& options) const {
    std::string refusal;
    auto made = try_make<Interface>(options, refusal);
    if (!made) throw CheckFailure("cannot be made: " + refusal);
    return made;
  }
  /// Null where it refuses these options, with its words.
  template <typename Interface>
  std::unique_ptr<Interface> try_make(const std::vector<GivenOption>& options,
                                      std::string& refusal) const {
    PluginChoice choice;
    choice.id = component_.id;
    choice.options = options;
    Diagnostics diagnostics("", "");
    auto made = make_of(choice, diagnostics, static_cast<const Interface*>(nullptr));
    if (!made) refusal = diagnostics.messages();
    return made;
  }

  /// Values of the options to try: each at its ends, at random within its range, each word, and
  /// all at random together. A set differs from the first one, which make() takes.
  std::vector<std::vector<GivenOption>> variations() const;

 private:
  // The host's function for a kind.
  std::unique_ptr<NumberFormat> make_of(const PluginChoice& choice, Diagnostics& diagnostics,
                                        const NumberFormat*) const {
    return host_.make_format(choice, diagnostics);
  }
  std::unique_ptr<ErrorModel> make_of(const PluginChoice& choice, Diagnostics& diagnostics,
                                      const ErrorModel*) const {
    return host_.make_error_model(choice, diagnostics);
  }
  std::unique_ptr<Metric> make_of(const PluginChoice& choice, Diagnostics& diagnostics,
                                  const Metric*) const {
    return host_.make_metric(choice, diagnostics);
  }
  std::unique_ptr<HeadInit> make_of(const PluginChoice& choice, Diagnostics& diagnostics,
                                    const HeadInit*) const {
    return host_.make_head_init(choice, diagnostics);
  }
  std::unique_ptr<Protection> make_of(const PluginChoice& choice, Diagnostics& diagnostics,
                                      const Protection*) const {
    return host_.make_protection(choice, diagnostics);
  }

  const PluginHost& host_;
  ComponentDescription component_;
  std::uint64_t seed_;
  std::size_t classes_;
  std::vector<GivenOption> base_;
};

/// "bits = 8, mode = wide"
std::string options_text(const std::vector<GivenOption>& options);

}  // namespace bitfall
