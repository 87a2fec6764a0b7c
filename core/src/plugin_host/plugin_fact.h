// Which plugin a run used, and must use again.
#pragma once

#include <compare>
#include <string>

namespace bitfall {

struct PluginFact {
  std::string name, version, sha256;
  std::string sources;  // a hash of the files that it was made of; empty where it does not tell
  auto operator<=>(const PluginFact&) const = default;
};

/// Whether both were made of the same files, by whatever compilers. Of anything that has a name, a
/// version and a hash of its sources.
template <typename A, typename B>
bool same_sources(const A& a, const B& b) {
  return !a.sources.empty() && a.sources == b.sources && a.name == b.name && a.version == b.version;
}

/// Whether two are one plugin: the same file, or made of the same files.
inline bool same_plugin(const PluginFact& a, const PluginFact& b) {
  return (a.name == b.name && a.version == b.version && a.sha256 == b.sha256) || same_sources(a, b);
}

}  // namespace bitfall
