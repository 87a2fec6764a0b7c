// Builds a pack's plugin, tries it, and compares what it gives with what it gave where the pack was
// made. The program itself does the work, as processes in a sandbox.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bubblewrap.h"
#include "pack_file.h"

namespace bitfall {

/// What a pack's test campaign and formats gave.
struct Expectation {
  std::string cpu, torch;  // on which results may depend
  std::string digest;      // of the campaign's trials
  std::int64_t trials = 0;
  double mismatch = 0, low = 0, high = 0;                 // rate and interval
  std::map<std::string, std::vector<std::string>> codes;  // by format: of test_values()
};

void write_expectation(const Expectation& expectation, const std::filesystem::path& folder);
/// Throws Error(kInput) where the pack has none.
Expectation read_expectation(const std::filesystem::path& folder,
                             const std::filesystem::path& pack);

/// 256 numbers as text: both signs, eighteen binades, subnormal numbers, NaN, Inf.
std::vector<std::string> test_values();

using Tell = std::function<void(const std::string& step)>;

/// Compiles the manifest's sources to `library`, in the sandbox's folder. Throws Error(kPlugin)
/// with the compiler's words.
void build_plugin(const PackManifest& manifest, const std::filesystem::path& folder,
                  const std::string& library, const Sandbox& sandbox);

/// What a built library's note says. Throws Error(kPlugin) where it does not say all.
PluginNote built_note(const std::filesystem::path& library);

/// plugin check, what prepares the test, the test campaign, the formats' codes. Throws
/// Error(kPlugin) with what is not passed.
Expectation try_plugin(const PackManifest& manifest, const std::filesystem::path& folder,
                       const Sandbox& sandbox, const Tell& tell);

/// How the results agree, as a sentence. Throws Error(kPlugin) where they do not: another digest on
/// the same kind of processor and LibTorch, another code, a rate outside of the interval.
std::string agreement(const Expectation& expected, const Expectation& got);

}  // namespace bitfall
