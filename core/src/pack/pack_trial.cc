#include "pack_trial.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "atomic_file.h"
#include "error.h"
#include "json_file.h"
#include "numbers.h"
#include "plugin_template.h"
#include "sha256.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kStepSeconds = 900;

std::string last_lines(const std::string& text, std::size_t count) {
  std::vector<std::string> lines = split(printable(text), '\n');
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<long>(count));
  std::string result;
  for (const std::string& line : lines) result += "\n  " + line;
  return result;
}

[[noreturn]] void refuse(const std::string& problem, const ChildResult& result) {
  const std::string time = result.timed_out ? " (it took too long and was stopped)" : "";
  throw Error(ExitCode::kPlugin, problem + time + last_lines(result.err + result.out, 12));
}

std::vector<std::string> with_program(std::vector<std::string> words) {
  words.insert(words.begin(), program_path().string());
  return words;
}

Json json_of(const ChildResult& result, const std::string& step) {
  const Json json = Json::parse(result.out, nullptr, false);
  if (json.is_discarded()) refuse(step + " printed no JSON", result);
  return json;
}

void check(const std::string& library, const Sandbox& sandbox) {
  const ChildResult result =
      sandbox.run(with_program({"plugin", "check", library, "--json"}), kStepSeconds);
  if (result.code == 0) return;
  const Json json = Json::parse(result.out, nullptr, false);
  if (json.is_discarded())
    refuse("plugin check ended with exit code " + std::to_string(result.code), result);
  std::string failed;
  try {
    for (const Json& one : json.at("checks")) {
      const auto told = [&](const char* key) { return printable(one.at(key).get<std::string>()); };
      if (told("verdict") == "pass") continue;
      failed += "\n  " + told("subject") + " " + told("check") + " " + told("verdict") + "  " +
                told("detail");
    }
  } catch (const Json::exception&) {
    refuse("plugin check ended with exit code " + std::to_string(result.code), result);
  }
  throw Error(ExitCode::kPlugin, "plugin check does not pass" + failed);
}

/// Codes of the test values; none where the format needs options.
std::vector<std::string> codes_of(const std::string& id, const std::string& library,
                                  const Sandbox& sandbox) {
  const ChildResult result = sandbox.run(
      with_program({"convert", id, "--plugin", library, "--json", "-f", "tmp/values.txt"}),
      kStepSeconds);
  if (result.code == static_cast<int>(ExitCode::kUsage)) return {};
  if (result.code != 0) refuse("format '" + id + "' does not convert the test values", result);
  std::vector<std::string> codes;
  for (const std::string& line : split(result.out, '\n')) {
    const Json row = Json::parse(line, nullptr, false);
    if (row.is_object() && row.contains("code")) codes.push_back(json_text(row["code"], -1));
  }
  return codes;
}

void run_campaign(Expectation& got, const Sandbox& sandbox) {
  const ChildResult run = sandbox.run(
      with_program({"run", "test.toml", "-o", "build/run", "--force", "--json"}), kStepSeconds);
  if (run.code != 0)
    refuse("the test campaign test.toml ended with exit code " + std::to_string(run.code), run);
  const ChildResult report =
      sandbox.run(with_program({"report", "build/run", "--json"}), kStepSeconds);
  if (report.code != 0) refuse("the test campaign has no report", report);
  try {
    const Json ended = json_of(run, "the test campaign"), told = json_of(report, "its report");
    got.digest = ended.at("digest").get<std::string>();
    got.trials = whole_number(ended.at("trials"));
    got.cpu = told.at("facts").at("cpu").get<std::string>();
    got.torch = told.at("facts").at("torch_version").get<std::string>();
    const Json& mismatch = told.at("network").at("mismatch");
    got.mismatch = mismatch.at("rate").get<double>();
    got.low = mismatch.at("interval").at(0).get<double>();
    got.high = mismatch.at("interval").at(1).get<double>();
  } catch (const Json::exception& error) {
    throw Error(ExitCode::kPlugin, std::string("the test campaign's results: ") + error.what());
  }
}

}  // namespace

void write_expectation(const Expectation& expectation, const fs::path& folder) {
  Json json = {
      {"schema", "bitfall.pack_expected/1"},
      {"cpu", expectation.cpu},
      {"torch", expectation.torch},
      {"digest", expectation.digest},
      {"trials", expectation.trials},
      {"mismatch",
       {{"rate", expectation.mismatch}, {"low", expectation.low}, {"high", expectation.high}}},
      {"values", test_values()},
      {"codes", Json::object()}};
  for (const auto& [format, codes] : expectation.codes) json["codes"][format] = codes;
  write_file_atomically(folder / kExpected, json_text(json) + "\n");
}

Expectation read_expectation(const fs::path& folder, const fs::path& pack) {
  if (!fs::is_regular_file(folder / kExpected)) {
    throw Error(ExitCode::kInput, pack.string() + ": holds no " + kExpected);
  }
  try {
    const Json json = parse_json(pack / kExpected, read_text(folder / kExpected));
    Expectation expected;
    expected.cpu = json.at("cpu");
    expected.torch = json.at("torch");
    expected.digest = json.at("digest");
    expected.trials = json.at("trials");
    expected.mismatch = json.at("mismatch").at("rate");
    expected.low = json.at("mismatch").at("low");
    expected.high = json.at("mismatch").at("high");
    for (const auto& [format, codes] : json.at("codes").items()) {
      expected.codes[format] = codes.get<std::vector<std::string>>();
    }
    return expected;
  } catch (const Json::exception& error) {
    throw Error(ExitCode::kInput,
                pack.string() + ": " + kExpected + " is damaged: " + printable(error.what()));
  }
}

std::vector<std::string> test_values() {
  std::vector<std::string> values = {"0",   "-0",    "inf",    "-inf",
                                     "nan", "1e-45", "-1e-40", "3.4028235e38"};
  // Steps of the golden ratio spread evenly over the binades and within them.
  for (int i = 0; values.size() < 256; ++i) {
    const double part = std::fmod(0.6180339887498949 * (i + 1), 1.0);
    const int binade = i % 18 - 9;
    const auto value = static_cast<float>(std::ldexp(1 + part, binade));
    values.push_back(exact_text(i % 2 == 0 ? value : -value));
  }
  return values;
}

/// Of all that the author wrote.
std::string sources_hash(const fs::path& folder) {
  const std::set<std::string> made = {kManifest, kExpected, kSums};
  std::map<std::string, std::string> sums;
  for (fs::recursive_directory_iterator entry(folder), end; entry != end; ++entry) {
    const std::string name = entry->path().lexically_relative(folder).generic_string();
    if (entry.depth() == 0 && entry->is_directory() && (name == "build" || name == "tmp")) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file() && made.count(name) == 0) {
      sums[name] = sha256_file(entry->path());
    }
  }
  std::string text;
  for (const auto& [name, sum] : sums) text += name + " " + sum + "\n";
  return sha256_text(text);
}

void build_plugin(const PackManifest& manifest, const fs::path& folder, const std::string& library,
                  const Sandbox& sandbox) {
  fs::create_directories((folder / library).parent_path());
  fs::create_directories(folder / "tmp");
  const char* compiler = std::getenv("CXX");
  std::vector<std::string> words;
  for (std::string& word : split(compiler == nullptr ? "g++" : compiler, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  if (words.empty()) words.emplace_back("g++");
  for (std::string& flag : plugin_flags()) words.push_back(std::move(flag));
  words.push_back("-ffile-prefix-map=" + folder.string() + "=.");
  words.push_back("-DBITFALL_SOURCES=\"" + sources_hash(folder) + "\"");
  words.insert(words.end(), manifest.sources.begin(), manifest.sources.end());
  words.insert(words.end(), {"-o", library});
  const ChildResult result = sandbox.run(words, kStepSeconds);
  if (result.code == 127 && result.err.empty()) {
    throw Error(ExitCode::kFailure,
                "there is no compiler " + in_quotes(words[0]) + ": install it, or name one by CXX");
  }
  if (result.code != 0) refuse("it does not compile with " + words[0], result);
}

PluginNote built_note(const fs::path& library) {
  try {
    if (const auto note = read_note(library); note && note->complete) return *note;
  } catch (const std::runtime_error& error) {
    throw Error(ExitCode::kPlugin, "its sources make a library, but " + std::string(error.what()));
  }
  throw Error(
      ExitCode::kPlugin,
      "its sources make no library that tells what it offers: they end with BITFALL_PLUGIN(...) "
      "over components that are constexpr");
}

Expectation try_plugin(const PackManifest& manifest, const fs::path& folder, const Sandbox& sandbox,
                       const Tell& tell) {
  const std::string library = manifest.library();
  // Ahead of the pack's code, which could put a link in the file's way.
  std::string values;
  for (const std::string& value : test_values()) values += value + "\n";
  write_file_atomically(folder / "tmp/values.txt", values);
  tell("checking it");
  check(library, sandbox);
  for (const auto& words : manifest.prepare) {
    tell("bitfall " + joined(words, " "));
    const ChildResult result = sandbox.run(with_program(words), kStepSeconds);
    if (result.code != 0)
      refuse("bitfall " + printable(joined(words, " ")) + " ended with exit code " +
                 std::to_string(result.code),
             result);
  }
  tell("running its test campaign");
  Expectation got;
  run_campaign(got, sandbox);
  for (const NotedComponent& component : manifest.components) {
    if (component.kind != "format") continue;
    const std::string id = full_id(manifest.group, component.id);
    auto codes = codes_of(id, library, sandbox);
    if (!codes.empty()) got.codes[id] = std::move(codes);
  }
  return got;
}

std::string agreement(const Expectation& expected, const Expectation& got) {
  const auto values = test_values();
  for (const auto& [format, codes] : expected.codes) {
    const auto known = got.codes.find(format);
    if (known == got.codes.end() || known->second.size() != codes.size()) {
      throw Error(ExitCode::kPlugin, "format '" + printable(format) + "' gives no codes here");
    }
    for (std::size_t i = 0; i < codes.size() && i < values.size(); ++i) {
      if (codes[i] == known->second[i]) continue;
      throw Error(ExitCode::kPlugin, "format '" + printable(format) +
                                         "' gives another code here: of " + values[i] + " " +
                                         known->second[i] + ", not " + printable(codes[i]));
    }
  }
  if (expected.digest == got.digest && expected.trials == got.trials) {
    return "its test campaign gives the same digest, " + got.digest.substr(0, 16);
  }
  const std::string digests =
      "digest " + got.digest.substr(0, 16) + ", not " + printable(expected.digest.substr(0, 16));
  if (expected.cpu == got.cpu && expected.torch == got.torch) {
    throw Error(ExitCode::kPlugin,
                "its test campaign gives other results than where the pack was made: " + digests +
                    ", on the same processor's kind and LibTorch");
  }
  if (expected.trials != got.trials) {
    throw Error(ExitCode::kPlugin, "its test campaign has " + std::to_string(got.trials) +
                                       " trials here, and had " + std::to_string(expected.trials) +
                                       " where the pack was made");
  }
  if (got.low > expected.high || expected.low > got.high) {
    throw Error(ExitCode::kPlugin,
                "its test campaign gives other results than where the pack was made: " + digests +
                    ", and its mismatch rate " + short_text(got.mismatch) + " is not within " +
                    short_text(expected.low) + " to " + short_text(expected.high));
  }
  return "its test campaign gives another digest, as the pack was made with LibTorch " +
         printable(expected.torch) + " on " + printable(expected.cpu) +
         "; codes are equal and the rate is within its interval";
}

}  // namespace bitfall
