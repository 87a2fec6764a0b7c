// What a plugin offers and what it tells of itself. A plugin includes bitfall/plugin.h.
#pragma once

#include <cstddef>

#include "bitfall/error_model.h"
#include "bitfall/head_init.h"
#include "bitfall/metric.h"
#include "bitfall/number_format.h"
#include "bitfall/options.h"
#include "bitfall/protection.h"
#include "bitfall/view.h"

namespace bitfall {

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
  constexpr virtual void add_format(const Component<NumberFormat>& component) = 0;
  constexpr virtual void add_error_model(const Component<ErrorModel>& component) = 0;
  constexpr virtual void add_metric(const Component<Metric>& component) = 0;
  constexpr virtual void add_head_init(const Component<HeadInit>& component) = 0;
  constexpr virtual void add_protection(const Component<Protection>& component) = 0;

  constexpr void add(const Component<NumberFormat>& component) { add_format(component); }
  constexpr void add(const Component<ErrorModel>& component) { add_error_model(component); }
  constexpr void add(const Component<Metric>& component) { add_metric(component); }
  constexpr void add(const Component<HeadInit>& component) { add_head_init(component); }
  constexpr void add(const Component<Protection>& component) { add_protection(component); }
  template <typename Interface, std::size_t kSize>
  constexpr void add(const Component<Interface> (&components)[kSize]) {
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

}  // namespace bitfall
