// Loading, refusing, options and listings. The bad plugins are in tests/plugins.
#include "plugin_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>

#include "config.h"
#include "error.h"
#include "loaded_plugins.h"
#include "plugin_note.h"
#include "plugin_tables.h"
#include "sha256.h"

namespace bitfall::plugin_host_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

fs::path test_plugin(const std::string& name) {
  return fs::path(BITFALL_BUILD_DIR) / "tests/plugins" / (name + ".so");
}

fs::path example_folder() { return fs::path(BITFALL_BUILD_DIR) / "tests/plugins/examples"; }

/// A fresh, empty folder.
fs::path scratch_folder(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / ("plugin_host_test_" + name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

/// The reason behind "plugin PATH is refused: ", and a check that nothing of the plugin was kept.
std::string refusal(const fs::path& path) {
  PluginHost host;
  host.load(built_plugin_folder() / "formats_ieee.so");
  const auto components = host.components().size();
  std::string message;
  try {
    host.load(path);
    ADD_FAILURE() << path << " was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPlugin);
    message = error.what();
  }
  EXPECT_EQ(host.components().size(), components);
  EXPECT_EQ(host.plugins().size(), 1u);
  const std::string opening = "plugin " + path.string() + " is refused: ";
  EXPECT_THAT(message, StartsWith(opening));
  return message.substr(std::min(opening.size(), message.size()));
}

TEST(PluginHost, LoadsTheFirstPartyPlugins) {
  const PluginHost& host = first_party_plugins();
  EXPECT_NE(host.find(ComponentKind::kFormat, "int8"), nullptr);
  EXPECT_NE(host.find(ComponentKind::kErrorModel, "bit_flip"), nullptr);
  EXPECT_NE(host.find(ComponentKind::kMetric, "mismatch"), nullptr);
  EXPECT_EQ(host.find(ComponentKind::kMetric, "int8"), nullptr);
  const auto* fp16 = host.find(ComponentKind::kFormat, "fp16");
  ASSERT_NE(fp16, nullptr);
  const auto& plugin = host.plugins().at(fp16->plugin);
  EXPECT_EQ(plugin.name, "formats_ieee");
  EXPECT_EQ(plugin.path, fs::canonical(built_plugin_folder() / "formats_ieee.so"));
  EXPECT_EQ(plugin.sha256, sha256_file(plugin.path));
}

TEST(PluginHost, RefusesAFileWithoutAnEntry) {
  EXPECT_EQ(
      refusal(test_plugin("no_entry")),
      "it exports no symbol 'bitfall_plugin'; a plugin's source ends with BITFALL_PLUGIN(...)");
}

TEST(PluginHost, RefusesAnotherAbi) {
  EXPECT_EQ(refusal(test_plugin("wrong_abi")), "it was built for ABI 7, this Bitfall has ABI " +
                                                   std::to_string(kAbi) +
                                                   ": rebuild it against this version's headers");
}

TEST(PluginHost, RefusesOtherArithmeticAndOtherHeaders) {
  EXPECT_THAT(refusal(test_plugin("other_headers")),
              StartsWith("it was built against other headers of ABI"));
  EXPECT_EQ(refusal(test_plugin("bad_version")),
            "its version '<b>new</b>' is not like 1.0 or 2.1.3-rc.1");
#if defined(__x86_64__)
  EXPECT_THAT(refusal(test_plugin("fused")), HasSubstr("build it with -ffp-contract=off"));
#endif
}

/// A header that changes is a new ABI; where nothing of the layout changes, the hash alone tells.
TEST(PluginHost, KnowsTheHashOfItsHeaders) {
  std::vector<fs::path> headers;
  for (const auto& entry :
       fs::directory_iterator(fs::path(BITFALL_SOURCE_DIR) / "core/include/bitfall")) {
    if (entry.path().extension() == ".h") headers.push_back(entry.path());
  }
  std::sort(headers.begin(), headers.end());
  std::string code;
  for (const fs::path& header : headers) {
    std::ifstream file(header);
    for (std::string line; std::getline(file, line);) {
      if (line.find("kHeaders =") != line.npos) continue;
      const auto comment = line.find("//");
      for (const char c : line.substr(0, comment)) {
        if (std::isspace(static_cast<unsigned char>(c)) == 0) code += c;
      }
    }
  }
  EXPECT_EQ("0x" + sha256_text(code).substr(0, 16), [] {
    char text[32];
    std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(kHeaders));
    return std::string(text);
  }()) << "write this hash as kHeaders in plugin.h, and raise kAbi if it was released";
}

TEST(PluginHost, FindsComponentsOfGroups) {
  PluginHost host;
  host.load(built_plugin_folder() / "formats_ieee.so");
  host.load(test_plugin("grouped"));
  ASSERT_NE(host.find(ComponentKind::kFormat, "acme/fp16"), nullptr);
  EXPECT_EQ(host.find(ComponentKind::kFormat, "fp16")->id, "fp16");  // the program's own
  ASSERT_NE(host.find(ComponentKind::kFormat, "clamped"), nullptr);
  EXPECT_EQ(host.find(ComponentKind::kFormat, "clamped")->id, "acme/clamped");
  const PluginDescription& plugin = host.plugins()[1];
  EXPECT_EQ(plugin.group, "acme");
  EXPECT_EQ(plugin.licence, "Apache-2.0");
  EXPECT_EQ(plugin.cite, "doi:10.1000/182");
  EXPECT_THAT(plugin.standard_library, StartsWith("lib"));
  const std::string info = plugin_info_text(host, "format/acme/clamped");
  EXPECT_THAT(info, HasSubstr("licence Apache-2.0"));
  EXPECT_THAT(info, HasSubstr("[plugins]\n  paths = [\"" + plugin.path.string()));
}

TEST(PluginHost, MakesFormatsThatStandOnOthers) {
  PluginHost host;
  host.load(built_plugin_folder() / "formats_ieee.so");
  host.load(test_plugin("grouped"));
  Diagnostics diagnostics("", "");
  const auto format = host.make_format(
      plugin_choice("clamped", {{"base", std::string("bf16")}, {"bound", 2.5}}), diagnostics);
  ASSERT_NE(format, nullptr) << diagnostics.render();
  std::vector<float> values = {1.0F + 0x1p-9F, 9, -9};
  std::vector<std::uint32_t> codes(3);
  const std::vector<std::int64_t> shape = {3};
  format->encode(values, {shape}, {}, codes);
  format->decode(codes, {shape}, {}, values);
  EXPECT_EQ(values, (std::vector<float>{1, 2.5, -2.5}));
  EXPECT_EQ(host.plugins_in_use(), (std::vector<std::size_t>{0, 1}));
  EXPECT_THAT(complaint([&](Diagnostics& problems) {
                return host.make_format(plugin_choice("clamped", {{"base", std::string("bf17")}}),
                                        problems);
              }),
              HasSubstr("unknown format 'bf17'"));
  // One that would stand on itself.
  EXPECT_THAT(complaint([&](Diagnostics& problems) {
                return host.make_format(plugin_choice("ouroboros"), problems);
              }),
              HasSubstr("without end"));
}

TEST(PluginHost, GivesListsAndFiles) {
  PluginHost host;
  host.load(test_plugin("grouped"));
  const fs::path folder = scratch_folder("files");
  std::ofstream(folder / "table.txt") << "0.125";
  const auto given = [&](std::vector<std::pair<std::string, OptionValue>> options) {
    Diagnostics diagnostics("", "");
    PluginChoice choice = plugin_choice("given", std::move(options));
    choice.folder = folder;
    const auto metric = host.make_metric(choice, diagnostics);
    EXPECT_NE(metric, nullptr) << diagnostics.render();
    std::vector<double> values(1);
    if (metric) metric->measure({}, values);
    return values[0];
  };
  using Numbers = std::vector<double>;
  EXPECT_EQ(given({{"weights", Numbers{0.5, 0.25}}}), 20.75);
  EXPECT_EQ(given({{"weights", std::vector<std::int64_t>{1, 0, 1}},
                   {"words", std::vector<std::string>{"c"}},
                   {"table", std::string("table.txt")}}),
            2 + 10 + 125);
  ASSERT_EQ(host.files_in_use().size(), 1u);
  EXPECT_EQ(host.files_in_use()[0].component, "metric 'acme/given'");
  EXPECT_EQ(host.files_in_use()[0].file.path, fs::absolute(folder / "table.txt"));
  const auto refused = [&](std::vector<std::pair<std::string, OptionValue>> options) {
    return complaint([&](Diagnostics& problems) {
      return host.make_metric(plugin_choice("given", std::move(options)), problems);
    });
  };
  EXPECT_THAT(refused({}), HasSubstr("is required: an array of numbers, each 0 to 1"));
  EXPECT_THAT(refused({{"weights", Numbers{0.5, 1.5}}}), HasSubstr("holds 1.5"));
  EXPECT_THAT(refused({{"weights", Numbers{}}, {"words", std::vector<std::string>{"d"}}}),
              HasSubstr("holds 'd', allowed are a, b, c"));
  EXPECT_THAT(refused({{"weights", Numbers{}}, {"table", std::string("nowhere")}}),
              HasSubstr("which is no file"));
  EXPECT_THAT(plugin_info_text(host, "acme/given"), HasSubstr("weights = [0.25, 0.75]"));
}

TEST(PluginHost, RefusesAnEntryWithHoles) {
  EXPECT_EQ(refusal(test_plugin("nameless")), "its entry lacks a name, version or summary");
  EXPECT_EQ(refusal(test_plugin("null_register")), "its entry has no registration function");
  EXPECT_EQ(refusal(test_plugin("null_create")), "metric 'null_create' has no create function");
  EXPECT_EQ(refusal(test_plugin("registers_nothing")), "it registers no component");
}

TEST(PluginHost, RefusesRegistrationThatThrows) {
  EXPECT_EQ(refusal(test_plugin("throws_std")),
            "its registration failed: no licence for this plugin");
  EXPECT_EQ(refusal(test_plugin("throws_other")),
            "its registration threw something that is not a std::exception");
}

TEST(PluginHost, RefusesIdsThatAreTaken) {
  EXPECT_EQ(refusal(test_plugin("duplicate_id")),
            "format 'fp16' is already registered by plugin formats_ieee (" +
                fs::canonical(built_plugin_folder() / "formats_ieee.so").string() + ")");
  EXPECT_EQ(refusal(test_plugin("duplicate_within")), "metric 'twin' is registered twice");
}

TEST(PluginHost, RefusesBadIds) {
  EXPECT_EQ(
      refusal(test_plugin("bad_ids")),
      "the id of metric 'Has Blanks' is not snake_case; the id of metric '' is not snake_case; "
      "metric 'no_summary' has no summary");
}

TEST(PluginHost, RefusesBadOptionDeclarations) {
  const std::string option = "metric 'bad_options': option ";
  const std::vector<std::string> problems{
      option + "'outside' has a bad default: it is 99, allowed are 1 to 32",
      option + "'item_outside' has a bad default: it holds 40, allowed are 0 to 31",
      option + "'other_word' has a bad default: it is 'blue', allowed are red, green",
      option + "'not_integer' has the default '1.5', which is not an integer",
      option + "'not_flag' has the default 'yes', which is not true or false",
      option + "'not_array' has the default '[1, ,]', which is not an array of integers",
      option + "'empty_range' has an empty range, 1 to -1",
      option + "'same_words' has a choice twice",
      option + "'no_help' has no help",
      option + "'no_type' has an unknown type",
      option + "name 'CamelCase' is not snake_case",
      option + "'id' is taken: it names the component",
      option + "'twice' is declared twice"};
  std::string expected;
  for (const auto& problem : problems) expected += (expected.empty() ? "" : "; ") + problem;
  EXPECT_EQ(refusal(test_plugin("bad_options")), expected);
}

TEST(PluginHost, RefusesAnUndefinedSymbol) {
  EXPECT_EQ(refusal(test_plugin("undefined_symbol")),
            "undefined symbol: _Z7missingv (missing()); link the plugin against what defines it");
}

TEST(PluginHost, RefusesFunctionsThatOthersReplace) {
  EXPECT_THAT(refusal(test_plugin("replaced_symbols")),
              StartsWith("it holds 'lrand48', and its calls would reach those of libc.so"));
  PluginHost host;
  host.load(test_plugin("own_symbols"));
  Diagnostics diagnostics("", "");
  std::vector<double> values(1);
  host.make_metric(plugin_choice("draws"), diagnostics)->measure({}, values);
  EXPECT_EQ(values[0], -7);
}

TEST(PluginHost, RefusesWhatIsNoLibrary) {
  EXPECT_EQ(refusal(test_plugin("not_a_library")), "not a shared library: file too short");
  const fs::path text = scratch_folder("text") / "long_text.so";
  std::ofstream(text) << std::string(10000, 'x');
  EXPECT_EQ(refusal(text), "not a shared library: invalid ELF header");
  const fs::path empty = scratch_folder("empty") / "empty.so";
  std::ofstream(empty).flush();
  EXPECT_EQ(refusal(empty), "not a shared library: file too short");
}

TEST(PluginHost, RefusesMissingFilesAndFolders) {
  EXPECT_EQ(refusal(test_plugin("no_such_file")), "there is no such file");
  EXPECT_EQ(refusal(scratch_folder("folder.so")), "it is a folder; name the shared library in it");
  EXPECT_EQ(refusal("/dev/null"), "it is not a regular file");
}

/// Mapping a library that ends early kills the process where it reads past the end, so no length
/// may reach the loader.
TEST(PluginHost, RefusesALibraryCutAtAnyLength) {
  const fs::path whole = test_plugin("good_options");
  const auto size = fs::file_size(whole);
  const fs::path cut = scratch_folder("truncated") / "cut.so";
  fs::copy_file(whole, cut);
  for (const auto length :
       {size - 1, size - 200, size * 3 / 4, size / 2, size / 4, std::uintmax_t{4096},
        std::uintmax_t{600}, std::uintmax_t{100}, std::uintmax_t{64}}) {
    fs::resize_file(cut, size);
    fs::copy_file(whole, cut, fs::copy_options::overwrite_existing);
    fs::resize_file(cut, length);
    EXPECT_EQ(refusal(cut), "not a shared library: truncated, it ends after " +
                                std::to_string(length) + " bytes; copy or build it again");
  }
  fs::resize_file(cut, 40);
  EXPECT_EQ(refusal(cut), "not a shared library: file too short");
}

TEST(PluginHost, RefusesAHeaderFullOfNonsense) {
  const fs::path broken = scratch_folder("nonsense") / "nonsense.so";
  for (const char fill : {'\x00', '\x7F', '\xFF'}) {
    fs::copy_file(test_plugin("good_options"), broken, fs::copy_options::overwrite_existing);
    std::fstream file(broken, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(16);
    file << std::string(48, fill);
    file.close();
    EXPECT_FALSE(refusal(broken).empty());
  }
}

TEST(PluginHost, LoadsAFileOnce) {
  PluginHost host;
  const fs::path folder = scratch_folder("once");
  fs::create_symlink(test_plugin("good_options"), folder / "link.so");
  host.load(test_plugin("good_options"));
  host.load(test_plugin("good_options"));
  host.load(folder / "link.so");
  EXPECT_EQ(host.plugins().size(), 1u);
  EXPECT_EQ(host.components().size(), 1u);
}

TEST(PluginHost, LoadsAFolderInNameOrderAndShowsWhatItRefused) {
  const fs::path folder = scratch_folder("mixed");
  fs::copy_file(built_plugin_folder() / "formats_integer.so", folder / "b.so");
  fs::copy_file(test_plugin("good_options"), folder / "a.so");
  fs::copy_file(test_plugin("wrong_abi"), folder / "c.so");
  std::ofstream(folder / "notes.txt") << "no plugin";
  PluginHost host;
  host.load_folder(folder);
  ASSERT_EQ(host.plugins().size(), 2u);
  EXPECT_EQ(host.plugins()[0].name, "good_options");
  EXPECT_EQ(host.plugins()[1].name, "formats_integer");
  ASSERT_EQ(host.refused().size(), 1u);
  EXPECT_EQ(host.refused()[0].path, folder / "c.so");
  EXPECT_THAT(host.refused()[0].reason, StartsWith("it was built for ABI 7"));
  host.load_folder(folder / "nowhere");
  EXPECT_EQ(host.refused().size(), 1u);
}

/// Sets a variable of the environment until the end of its scope.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(LoadPlugins, ReadsTheProgramsFolderThenThePathThenTheExtraFiles) {
  const fs::path folder = scratch_folder("path");
  fs::copy_file(test_plugin("good_options"), folder / "good_options.so");
  const Environment path("BITFALL_PLUGIN_PATH", folder.string() +
                                                    "::" + test_plugin("throws_std").string() +
                                                    ":" + test_plugin("no_such_file").string());
  PluginHost host;
  const std::vector<fs::path> extra{test_plugin("fragile")};
  load_plugins(host, extra);
  EXPECT_NE(host.find(ComponentKind::kFormat, "fp16"), nullptr);
  EXPECT_NE(host.find(ComponentKind::kMetric, "gives_back"), nullptr);
  EXPECT_NE(host.find(ComponentKind::kErrorModel, "throwing"), nullptr);
  ASSERT_EQ(host.refused().size(), 2u);
  EXPECT_THAT(host.refused()[0].reason, StartsWith("its note does not tell what it offers"));
  EXPECT_EQ(host.refused()[1].reason, "there is no such file");
}

const PluginDescription& plugin_named(const PluginHost& host, const std::string& name) {
  for (const PluginDescription& plugin : host.plugins()) {
    if (plugin.name == name) return plugin;
  }
  throw std::runtime_error("no plugin " + name);
}

TEST(LoadPlugins, RunsNothingOfWhatOnlyLiesInTheSearchPath) {
  const fs::path mark = scratch_folder("mark") / "mark";
  const Environment variable("INTRUDER_MARK", mark.string());
  const Environment path("BITFALL_PLUGIN_PATH", test_plugin("intruder").string());
  PluginHost host;
  load_plugins(host, {});
  const PluginDescription& plugin = plugin_named(host, "intruder");
  EXPECT_EQ(plugin.state, PluginState::kKnown);
  EXPECT_EQ(plugin.version, "1.0");
  EXPECT_EQ(plugin.group, "strangers");
  EXPECT_EQ(plugin.licence, "MIT");
  EXPECT_EQ(plugin.sha256, sha256_file(test_plugin("intruder")));
  EXPECT_EQ(plugin.compiler, __VERSION__);
  EXPECT_THAT(plugin_list_text(host), HasSubstr("strangers/intruder"));
  EXPECT_THAT(plugin_list_json(host), HasSubstr("\"loaded\": false"));
  EXPECT_NE(host.known(ComponentKind::kMetric, "intruder"), nullptr);
  EXPECT_FALSE(fs::exists(mark));
  // It runs once it is asked for; then it is refused for what it does, and that is told.
  Diagnostics diagnostics("", "");
  EXPECT_EQ(host.make_metric(plugin_choice("intruder"), diagnostics), nullptr);
  EXPECT_TRUE(fs::exists(mark));
#if defined(__x86_64__)
  EXPECT_EQ(plugin.state, PluginState::kRefused);
  EXPECT_THAT(diagnostics.messages(), HasSubstr("changes how the processor computes"));
  EXPECT_THAT(plugin_list_text(host), testing::Not(HasSubstr("strangers/intruder")));
  EXPECT_EQ(host.find(ComponentKind::kMetric, "intruder"), nullptr);
#endif
}

TEST(LoadPlugins, LoadsWhatIsAskedForOfAFolder) {
  const fs::path folder = scratch_folder("asked");
  for (const char* name : {"log8", "top_k", "clamp"}) {
    fs::copy_file(example_folder() / (std::string(name) + ".so"),
                  folder / (std::string(name) + ".so"));
  }
  PluginHost host;
  const std::vector<fs::path> extra{folder};
  load_plugins(host, extra);
  Diagnostics diagnostics("", "");
  EXPECT_NE(host.make_format(plugin_choice("log8"), diagnostics), nullptr);
  EXPECT_EQ(plugin_named(host, "log8").state, PluginState::kLoaded);
  EXPECT_EQ(plugin_named(host, "top_k").state, PluginState::kKnown);
  EXPECT_TRUE(host.known(ComponentKind::kMetric, "top_k")->options.empty());
  EXPECT_FALSE(host.find(ComponentKind::kMetric, "top_k")->options.empty());
  // A file that was replaced in between is not what was looked at.
  fs::copy_file(test_plugin("good_options"), folder / "clamp.so",
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(host.find(ComponentKind::kProtection, "clamp"), nullptr);
  EXPECT_THAT(host.refused().back().reason, StartsWith("it was replaced since"));
}

TEST(LoadPlugins, ANamedFileWinsOverOneThatOnlyLiesThere) {
  const fs::path folder = scratch_folder("wins");
  const fs::path other = example_folder() / "log8.so";
  fs::copy_file(other, folder / "lies.so");
  fs::copy_file(other, folder / "named.so");
  std::ofstream(folder / "named.so", std::ios::app) << "another build";
  const Environment path("BITFALL_PLUGIN_PATH", (folder / "lies.so").string());
  PluginHost host;
  const std::vector<fs::path> extra{folder / "named.so"};
  load_plugins(host, extra);
  EXPECT_EQ(plugin_named(host, "log8").path, fs::canonical(folder / "named.so"));
  ASSERT_EQ(host.refused().size(), 1u);
  EXPECT_THAT(host.refused()[0].reason, HasSubstr("is already registered by plugin log8"));
}

/// What readelf says of a file, a match of `pattern` an entry.
std::vector<std::string> said_by_readelf(const fs::path& file, const std::string& pattern) {
  FILE* pipe = popen(("LC_ALL=C readelf -W -d -V " + file.string()).c_str(), "r");
  std::string text(1 << 20, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), pipe));
  pclose(pipe);
  std::vector<std::string> found;
  const std::regex one(pattern);
  for (std::sregex_iterator match(text.begin(), text.end(), one), end; match != end; ++match) {
    found.push_back((*match)[1]);
  }
  return found;
}

std::vector<int> numbers_of(const std::string& version) {
  std::vector<int> numbers;
  std::istringstream parts(version.substr(version.find('_') + 1));
  for (std::string part; std::getline(parts, part, '.');) numbers.push_back(std::stoi(part));
  return numbers;
}

TEST(PluginNote, TellsWhatALibraryNeedsAsReadelfDoes) {
  for (const fs::path& file : {test_plugin("intruder"), built_plugin_folder() / "metrics.so"}) {
    std::vector<std::string> libraries, versions;
    for (const LibraryNeed& need : library_needs(file)) {
      libraries.push_back(need.library);
      versions.insert(versions.end(), need.versions.begin(), need.versions.end());
    }
    EXPECT_THAT(libraries, testing::IsSupersetOf({"libc.so.6", "libstdc++.so.6"}));
    EXPECT_EQ(libraries, said_by_readelf(file, "Shared library: \\[(.*?)\\]"));
    // Each kind once, by the newest of those that it tells.
    std::map<std::string, std::vector<std::string>> kinds;
    for (const std::string& name : said_by_readelf(file, "Name: (\\S+)  Flags")) {
      kinds[name.substr(0, name.find('_'))].push_back(name);
    }
    EXPECT_THAT(kinds, testing::SizeIs(testing::Ge(2)));
    for (const std::string& version : versions) {
      EXPECT_EQ(kinds.count(version.substr(0, version.find('_'))), 1U) << version;
    }
    for (auto& [kind, names] : kinds) {
      EXPECT_THAT(versions, testing::Contains(*std::ranges::max_element(names, {}, numbers_of)));
    }
  }
  EXPECT_TRUE(library_needs("/dev/null").empty());
}

/// A file of a search path may hold anything: what is read of it stays within it, and is told.
TEST(PluginNote, TakesAnyBytes) {
  std::ifstream file(test_plugin("intruder"), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(file)), {});
  const auto at = whole.find("abi 4\n");
  ASSERT_NE(at, whole.npos);
  const fs::path changed = scratch_folder("note") / "changed.so";
  std::mt19937 random(5);
  for (int i = 0; i < 400; ++i) {
    std::string bytes = whole;
    // Headers of the file and its segments in one half, the note in the other.
    const std::size_t from = i % 2 == 0 ? 0 : at - 24;
    const std::size_t size = i % 2 == 0 ? 700 : 300;
    for (int k = 0; k < 1 + i % 4; ++k) {
      bytes[from + random() % size] = static_cast<char>(random());
    }
    std::ofstream(changed, std::ios::binary) << bytes;
    PluginHost host;
    host.know(changed);
    needs_text(library_needs(changed));
    EXPECT_EQ(host.plugins().size() + host.refused().size(), 1u);
  }
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string bytes = whole;
    const auto place = bytes.find(from, at);
    bytes.replace(place, to.size(), to);
    std::ofstream(changed, std::ios::binary) << bytes;
    PluginHost host;
    host.know(changed);
    return host.refused().empty() ? "" : host.refused()[0].reason;
  };
  EXPECT_THAT(refused("abi 4", "abi 3"), StartsWith("it was built for ABI 3, this Bitfall has"));
  EXPECT_THAT(refused("headers ", "headers 0123456789"), StartsWith("it was built against other"));
  EXPECT_THAT(refused("abi 4", "abi x"), HasSubstr("'x' in the place of a number"));
  EXPECT_THAT(refused("metric intruder", "metric Intruder"), HasSubstr("cannot be: metric 'Intr"));
  EXPECT_THAT(refused("components 1", "components 2"), StartsWith("its note does not tell"));
  EXPECT_THAT(refused("version 1.0", "version \x1b.0"), HasSubstr("control characters"));
  // Another id than the code registers: seen once it is asked for.
  EXPECT_EQ(refused("metric intruder", "metric innocent"), "");
  PluginHost host;
  host.know(changed);
  EXPECT_EQ(host.find(ComponentKind::kMetric, "innocent"), nullptr);
}

TEST(LoadPlugins, ThrowsWhereAnExtraFileIsRefused) {
  PluginHost host;
  const std::vector<fs::path> extra{test_plugin("wrong_abi")};
  EXPECT_THROW(load_plugins(host, extra), Error);
}

TEST(LoadPlugins, FindsTheProgramsFolder) {
  EXPECT_EQ(fs::canonical(default_plugin_folder()), fs::canonical(built_plugin_folder()));
}

// --- options ---

class GivesBack : public testing::Test {
 protected:
  using Given = std::vector<std::pair<std::string, OptionValue>>;

  GivesBack() { host_.load(test_plugin("good_options")); }

  std::vector<double> values(Given given) {
    Diagnostics diagnostics("", "");
    const auto metric =
        host_.make_metric(plugin_choice("gives_back", std::move(given)), diagnostics);
    EXPECT_TRUE(diagnostics.empty()) << diagnostics.render();
    std::vector<double> values(7);
    if (metric) metric->measure({}, values);
    return values;
  }

  std::string refused(Given given) {
    given.emplace_back("required", std::int64_t{7});
    const auto choice = plugin_choice("gives_back", std::move(given));
    Diagnostics diagnostics("campaign.toml", "");
    EXPECT_EQ(host_.make_metric(choice, diagnostics), nullptr);
    return diagnostics.render();
  }

  PluginHost host_;
};

TEST_F(GivesBack, TheDefaults) {
  EXPECT_EQ(values({{"required", std::int64_t{7}}}),
            (std::vector<double>{1, 3, 0.25, 3, 8, 12, 7}));
}

TEST_F(GivesBack, WhatIsGiven) {
  EXPECT_EQ(values({{"required", std::int64_t{8}},
                    {"flag", false},
                    {"integer", std::int64_t{-5}},
                    {"number", 1e6},
                    {"word", std::string("green")},
                    {"text", std::string()},
                    {"integers", std::vector<std::int64_t>{9, 0, 8}}}),
            (std::vector<double>{0, -5, 1e6, 5, 0, 908, 8}));
}

TEST_F(GivesBack, AnIntegerWhereANumberIsDeclared) {
  EXPECT_EQ(values({{"required", std::int64_t{7}}, {"number", std::int64_t{12}}})[2], 12);
}

TEST_F(GivesBack, AnErrorForEveryWrongType) {
  const std::string opening = "campaign.toml:2:10: option ";
  EXPECT_THAT(refused({{"flag", std::int64_t{1}}}),
              StartsWith(opening + "'flag' of metric 'gives_back' must be true or false"));
  EXPECT_THAT(refused({{"integer", 1.5}}),
              StartsWith(opening + "'integer' of metric 'gives_back' must be an integer, -5 to 5"));
  EXPECT_THAT(refused({{"number", std::string("1")}}),
              StartsWith(opening + "'number' of metric 'gives_back' must be a number, 0 to 1e+06"));
  EXPECT_THAT(
      refused({{"word", true}}),
      StartsWith(opening + "'word' of metric 'gives_back' must be one of red, green, blue"));
  EXPECT_THAT(refused({{"text", 1.0}}),
              StartsWith(opening + "'text' of metric 'gives_back' must be a text in quotes"));
  EXPECT_THAT(
      refused({{"integers", std::int64_t{3}}}),
      StartsWith(opening +
                 "'integers' of metric 'gives_back' must be an array of integers, each 0 to 9"));
}

TEST_F(GivesBack, AnErrorForEveryValueOutOfRange) {
  const std::string opening = "campaign.toml:2:10: option ";
  EXPECT_THAT(refused({{"integer", std::int64_t{6}}}),
              StartsWith(opening + "'integer' of metric 'gives_back' is 6, allowed are -5 to 5"));
  EXPECT_THAT(
      refused({{"number", -0.5}}),
      StartsWith(opening + "'number' of metric 'gives_back' is -0.5, allowed are 0 to 1e+06"));
  EXPECT_THAT(
      refused({{"number", std::numeric_limits<double>::quiet_NaN()}}),
      StartsWith(opening + "'number' of metric 'gives_back' is nan, allowed are 0 to 1e+06"));
  EXPECT_THAT(
      refused({{"integers", std::vector<std::int64_t>{1, 10}}}),
      StartsWith(opening + "'integers' of metric 'gives_back' holds 10, allowed are 0 to 9"));
  const std::string word = refused({{"word", std::string("gren")}});
  EXPECT_THAT(word,
              StartsWith(opening +
                         "'word' of metric 'gives_back' is 'gren', allowed are red, green, blue"));
  EXPECT_THAT(word, HasSubstr("did you mean 'green'?"));
}

TEST_F(GivesBack, AnErrorForUnknownAndMissingOptionsAllAtOnce) {
  Diagnostics diagnostics("campaign.toml", "");
  const auto choice = plugin_choice("gives_back", {{"nunber", 1.0}, {"zzz", true}});
  EXPECT_EQ(host_.make_metric(choice, diagnostics), nullptr);
  const std::string text = diagnostics.render();
  EXPECT_THAT(text, HasSubstr("campaign.toml:2:1: unknown option 'nunber' of metric 'gives_back'"));
  EXPECT_THAT(text, HasSubstr("did you mean 'number'?"));
  EXPECT_THAT(text, HasSubstr("campaign.toml:3:1: unknown option 'zzz' of metric 'gives_back'"));
  EXPECT_THAT(text,
              HasSubstr("its options are flag, integer, number, word, text, integers, required"));
  EXPECT_THAT(text,
              HasSubstr("campaign.toml:1:8: option 'required' of metric 'gives_back' is required: "
                        "an integer, 7 to 8"));
}

TEST_F(GivesBack, ThePluginsOwnComplaintAtItsOption) {
  EXPECT_THAT(
      refused({{"word", std::string("blue")}, {"integer", std::int64_t{-1}}}),
      StartsWith("campaign.toml:3:10: metric 'gives_back': integer: must not be negative with "
                 "word = \"blue\""));
}

TEST(PluginHost, NamesTheNearestComponent) {
  const auto says = [](const std::string& id) {
    Diagnostics diagnostics("campaign.toml", "");
    EXPECT_EQ(first_party_plugins().make_format(plugin_choice(id), diagnostics), nullptr);
    return diagnostics.render();
  };
  EXPECT_THAT(says("fp61"), StartsWith("campaign.toml:1:8: unknown format 'fp61'\n"));
  EXPECT_THAT(says("fp61"), HasSubstr("did you mean 'fp16'?"));
  EXPECT_THAT(says("posit_of_another_kind"), HasSubstr("known are adaptive_float, bf16, bfp, "));
  Diagnostics diagnostics("campaign.toml", "");
  EXPECT_EQ(PluginHost().make_format(plugin_choice("fp16"), diagnostics), nullptr);
  EXPECT_THAT(diagnostics.render(), HasSubstr("none is loaded; see 'bitfall plugin list'"));
}

// --- plugins whose code fails ---

template <typename Call>
std::string plugin_error(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPlugin);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// A plugin that only lies in the search path must not change what the others compute.
TEST(PluginHost, RefusesALibraryThatChangesArithmetic) {
  const auto is_subnormal = [] {
    volatile float tiny = 1e-39F;
    return tiny * 1.0F != 0;
  };
  ASSERT_TRUE(is_subnormal());
  PluginHost host;
  host.try_load(test_plugin("fast_math"));
  EXPECT_TRUE(is_subnormal());
  if (host.refused().empty()) GTEST_SKIP() << "this compiler links no such constructor";
  EXPECT_THAT(host.refused()[0].reason, HasSubstr("build it without -ffast-math"));
}

class Unruly : public testing::Test {
 protected:
  Unruly() { host_.load(test_plugin("unruly")); }

  std::unique_ptr<NumberFormat> format(const std::string& id) {
    return host_.make_format(plugin_choice(id), diagnostics_);
  }
  std::string draw_error(const std::string& id) {
    const auto model = host_.make_error_model(plugin_choice(id), diagnostics_);
    const std::vector<std::int64_t> shape{3};
    const std::vector<SiteRegister> registers{{"payload", 4, 3}};
    const SiteView site{sizeof(SiteView), "conv", Target::kActivation, shape, registers, {}, 15};
    struct : EditSink {
      void add(const Edit&) override {}
    } edits;
    struct : RandomStream {
      std::uint32_t next() override { return 0; }
    } random;
    return plugin_error([&] {
      model->population(site);
      model->draw(site, random, edits);
    });
  }
  std::string measure_error(const std::string& id) {
    const auto metric = host_.make_metric(plugin_choice(id), diagnostics_);
    std::vector<double> values(2);
    return plugin_error([&] { metric->measure({}, values); });
  }

  PluginHost host_;
  Diagnostics diagnostics_{"", ""};
};

TEST_F(Unruly, FormatsAreChecked) {
  const std::vector<std::int64_t> shape{3};
  const std::vector<float> values{1, 2, 3};
  std::vector<std::uint32_t> codes(3);
  EXPECT_EQ(plugin_error([&] { format("wide_codes")->encode(values, {shape}, {}, codes); }),
            "format 'wide_codes' of plugin unruly gives codes of more than its 4 bits in encode");
  std::vector<std::uint32_t> metadata(4);
  EXPECT_EQ(
      plugin_error([&] { format("wide_metadata")->calibrate({}, shape, metadata); }),
      "format 'wide_metadata' of plugin unruly gives register 'narrow' codes of more than its "
      "4 bits in calibrate");
  EXPECT_EQ(plugin_error([&] { format("no_largest")->largest({}); }),
            "format 'no_largest' of plugin unruly has a largest number that is not one: nan");
  EXPECT_THAT(plugin_error([&] { format("far_block")->block(1, shape); }),
              HasSubstr("gives a block that does not hold element 1 or leaves the tensor"));
  EXPECT_THAT(plugin_error([&] { format("many_registers")->register_count(1, shape); }),
              HasSubstr("has 1099511627776 registers in a tensor of 3 elements"));
  EXPECT_EQ(plugin_error([&] { format("odd_bit_class")->bit_class(0, 2); }),
            "format 'odd_bit_class' of plugin unruly gives bit 2 an unknown bit class");
}

TEST_F(Unruly, WhatIsLeftUnwrittenHasAName) {
  const std::vector<std::int64_t> shape{3};
  const std::vector<float> values{1, 2, 3};
  std::vector<std::uint32_t> codes(3), metadata(1);
  std::vector<float> decoded(3);
  constexpr const char* kTold =
      "when called again: it does not write it, or lets it depend on what stood there or on other "
      "calls";
  const std::string unwritten =
      plugin_error([&] { format("unwritten_code")->encode(values, {shape}, {}, codes); });
  EXPECT_THAT(unwritten, StartsWith("format 'unwritten_code' of plugin unruly gives 0xf as code 2 "
                                    "in encode, and 0x0 "));
  EXPECT_THAT(unwritten, HasSubstr(kTold));
  EXPECT_THAT(plugin_error([&] { format("fickle")->encode(values, {shape}, {}, codes); }),
              HasSubstr(kTold));
  EXPECT_THAT(plugin_error([&] { format("unwritten_value")->decode(codes, {shape}, {}, decoded); }),
              HasSubstr("as value 0 in decode, and 0"));
  EXPECT_THAT(
      plugin_error([&] { format("unwritten_metadata")->encode(values, {shape}, metadata, codes); }),
      HasSubstr("gives 0xff as metadata register 0 in encode, and 0x0 "));
  const auto good = format("moody");
  for (int i = 0; i < 200; ++i) EXPECT_NO_THROW(good->encode(values, {shape}, {}, codes));
}

TEST_F(Unruly, ArithmeticIsPutBack) {
  const std::vector<std::int64_t> shape{3};
  const std::vector<float> values{1, 2, 3};
  std::vector<std::uint32_t> codes(3);
  EXPECT_THAT(
      plugin_error([&] { format("rounds_up")->encode(values, {shape}, {}, codes); }),
      StartsWith("format 'rounds_up' of plugin unruly changed how the processor computes in "
                 "encode: "));
  volatile float one = 1, tiny = 1e-9F;
  EXPECT_EQ(one + tiny, 1.0F);
}

TEST_F(Unruly, ErrorModelsAreChecked) {
  EXPECT_EQ(draw_error("endless_draw"),
            "error_model 'endless_draw' of plugin unruly draws more edits for one fault than site "
            "'conv' has registers");
  EXPECT_EQ(draw_error("adds_nan"),
            "error_model 'adds_nan' of plugin unruly draws the operation add with NaN "
            "(SiteView::golden is NaN unless needs_golden_range() is true)");
  EXPECT_THAT(draw_error("changing_population"),
              HasSubstr("has a population that changes from call to call at site 'conv': 1"));
}

TEST_F(Unruly, MetricsAreChecked) {
  EXPECT_EQ(measure_error("half_event"),
            "metric 'half_event' of plugin unruly gives 7.500000 for event 'odd_event', which is 0 "
            "or 1");
  EXPECT_THAT(measure_error("nan_event"), HasSubstr("gives nan for event 'odd_event'"));
  EXPECT_EQ(measure_error("unwritten"),
            "metric 'unwritten' of plugin unruly leaves column 'odd_number' unwritten in measure");
  EXPECT_EQ(measure_error("one_too_many"),
            "metric 'one_too_many' of plugin unruly writes more columns in measure than it has");
}

class Fragile : public testing::Test {
 protected:
  Fragile() { host_.load(test_plugin("fragile")); }

  std::string format_error(const std::string& id) {
    return plugin_error([&] { host_.make_format(plugin_choice(id), diagnostics_); });
  }
  std::string metric_error(const std::string& id) {
    return plugin_error([&] { host_.make_metric(plugin_choice(id), diagnostics_); });
  }

  PluginHost host_;
  Diagnostics diagnostics_{"", ""};
};

TEST_F(Fragile, FailuresInCreateAreNamed) {
  EXPECT_EQ(metric_error("create_throws"),
            "metric 'create_throws' of plugin fragile failed in create: out of luck");
  EXPECT_EQ(metric_error("create_throws_lines"),
            "metric 'create_throws_lines' of plugin fragile failed in create: out of; bitfall: "
            "error: \\x1b[31m" +
                std::string(972, 'x') + "...");
  EXPECT_EQ(
      metric_error("create_throws_other"),
      "metric 'create_throws_other' of plugin fragile failed in create: it threw something that is "
      "not a std::exception");
  EXPECT_EQ(metric_error("create_makes_nothing"),
            "metric 'create_makes_nothing' of plugin fragile made nothing in create");
  EXPECT_EQ(
      metric_error("create_asks_undeclared"),
      "metric 'create_asks_undeclared' of plugin fragile failed in create: option 'undeclared' is "
      "not declared");
  EXPECT_EQ(
      metric_error("create_asks_wrong_type"),
      "metric 'create_asks_wrong_type' of plugin fragile failed in create: option 'integer' is "
      "declared with another type");
  EXPECT_TRUE(diagnostics_.empty());
}

TEST_F(Fragile, DescriptionsAreChecked) {
  EXPECT_EQ(metric_error("no_columns"), "metric 'no_columns' of plugin fragile has no columns");
  EXPECT_EQ(metric_error("odd_column_name"),
            "metric 'odd_column_name' of plugin fragile has a column 'Odd Name', not snake_case");
  EXPECT_EQ(metric_error("column_twice"),
            "metric 'column_twice' of plugin fragile has the column 'twice' twice");
  EXPECT_EQ(
      metric_error("column_without_unit"),
      "metric 'column_without_unit' of plugin fragile has a column 'no_unit' without unit or help");
  EXPECT_EQ(
      metric_error("odd_column_kind"),
      "metric 'odd_column_kind' of plugin fragile has a column 'odd_kind' of an unknown kind");
  EXPECT_EQ(format_error("no_registers"),
            "format 'no_registers' of plugin fragile has no registers");
  EXPECT_EQ(
      format_error("class_missing"),
      "format 'class_missing' of plugin fragile has a register 'payload' of 3 bits with 2 bit "
      "classes");
  EXPECT_EQ(format_error("too_wide"),
            "format 'too_wide' of plugin fragile has a register 'payload' of 33 bits, allowed are "
            "1 to 32");
  EXPECT_EQ(format_error("no_payload"),
            "format 'no_payload' of plugin fragile has a first register 'codes', not 'payload'");
  EXPECT_EQ(
      format_error("odd_class"),
      "format 'odd_class' of plugin fragile has a register 'payload' with an unknown bit class");
}

TEST_F(Fragile, FailuresAtWorkAreNamed) {
  const auto format = host_.make_format(plugin_choice("throwing"), diagnostics_);
  const auto model = host_.make_error_model(plugin_choice("throwing"), diagnostics_);
  const auto metric = host_.make_metric(plugin_choice("throwing"), diagnostics_);
  ASSERT_TRUE(format && model && metric);
  class NoRandom final : public RandomStream {
    std::uint32_t next() override { return 0; }
  } random;
  class NoEdits final : public EditSink {
    void add(const Edit&) override {}
  } edits;
  SiteView site{};
  site.name = "layer1";
  EXPECT_EQ(plugin_error([&] { format->encode({}, {}, {}, {}); }),
            "format 'throwing' of plugin fragile failed in encode: lost count");
  EXPECT_EQ(
      plugin_error([&] { format->decode({}, {}, {}, {}); }),
      "format 'throwing' of plugin fragile failed in decode: it threw something that is not a "
      "std::exception");
  EXPECT_EQ(plugin_error([&] { format->register_count(1, {}); }),
            "format 'throwing' of plugin fragile has a negative count of registers");
  EXPECT_EQ(plugin_error([&] { model->draw(site, random, edits); }),
            "error_model 'throwing' of plugin fragile failed in draw: no bit to be had");
  EXPECT_EQ(plugin_error([&] { model->population(site); }),
            "error_model 'throwing' of plugin fragile has a population that is not a count at site "
            "'layer1'");
  EXPECT_EQ(plugin_error([&] { metric->measure({}, {}); }),
            "metric 'throwing' of plugin fragile failed in measure: beyond measure");
}

// --- listings ---

TEST(PluginTables, ListComponentsAndRefusedFiles) {
  PluginHost host;
  host.load(built_plugin_folder() / "formats_integer.so");
  host.load(test_plugin("good_options"));
  host.try_load(test_plugin("throws_std"));
  EXPECT_EQ(plugin_list_text(host).substr(0, 5), "kind ");
  EXPECT_THAT(plugin_list_text(host), HasSubstr("\nformat  int8 "));
  EXPECT_THAT(plugin_list_text(host), HasSubstr("\nmetric  gives_back "));
  EXPECT_THAT(plugin_list_text(host),
              HasSubstr("\n" + test_plugin("throws_std").string() +
                        "  its registration failed: no licence for this plugin\n"));

  const auto json = nlohmann::json::parse(plugin_list_json(host));
  EXPECT_EQ(json["schema"], "bitfall.plugin_list/1");
  ASSERT_EQ(json["components"].size(), 4u);  // int8, int4, int and the metric
  EXPECT_EQ(json["components"][0]["kind"], "format");
  EXPECT_EQ(json["components"][0]["id"], "int");
  EXPECT_EQ(json["components"][3]["plugin"], "good_options");
  EXPECT_EQ(json["components"][3]["version"], "2.5");
  EXPECT_EQ(json["plugins"][1]["sha256"], sha256_file(test_plugin("good_options")));
  EXPECT_EQ(json["refused"][0]["path"], test_plugin("throws_std").string());
}

TEST(PluginTables, DescribeEveryOption) {
  PluginHost host;
  host.load(test_plugin("good_options"));
  const std::string text = plugin_info_text(host, "gives_back");
  EXPECT_THAT(text, StartsWith("metric/gives_back\n  Gives back its options\n"));
  EXPECT_THAT(text, HasSubstr("\n  integer = 3\n      An integer\n      an integer, -5 to 5\n"));
  EXPECT_THAT(text, HasSubstr("\n  required (required)\n      An integer without a default\n"));
  EXPECT_THAT(
      text,
      HasSubstr("\n  word = \"red\"\n      One of three words\n      one of red, green, blue\n"));
  EXPECT_THAT(text, HasSubstr("\n  [metrics]\n  ids = [{ id = \"gives_back\", flag = true,"));
  EXPECT_EQ(text, plugin_info_text(host, "metric/gives_back"));

  const auto json = nlohmann::json::parse(plugin_info_json(host, "gives_back"));
  EXPECT_EQ(json["schema"], "bitfall.plugin_info/1");
  ASSERT_EQ(json["options"].size(), 7u);
  EXPECT_EQ(json["options"][0]["default"], true);
  EXPECT_EQ(json["options"][1]["minimum"], -5);
  EXPECT_EQ(json["options"][2]["default"], 0.25);
  EXPECT_EQ(json["options"][3]["choices"], (std::vector<std::string>{"red", "green", "blue"}));
  EXPECT_EQ(json["options"][5]["default"], (std::vector<int>{1, 2}));
  EXPECT_EQ(json["options"][6]["required"], true);
  EXPECT_FALSE(json["options"][6].contains("default"));
}

TEST(PluginTables, DescribeRegistersAndColumns) {
  const std::string int8 = plugin_info_text(first_party_plugins(), "int8");
  EXPECT_THAT(
      int8,
      HasSubstr("\n  payload: 8 bits (1 sign, 7 mantissa)\n  scale: 32 bits (32 metadata)\n"));
  const std::string mismatch = plugin_info_text(first_party_plugins(), "mismatch");
  EXPECT_THAT(mismatch, HasSubstr("\n  mismatch (event)\n"));
  const auto json = nlohmann::json::parse(plugin_info_json(first_party_plugins(), "top2diff"));
  EXPECT_EQ(json["columns"][0]["unit"], "probability");
}

TEST(PluginTables, NameTheNearestComponentOrTheKindsThatShareAnId) {
  const auto says = [](const PluginHost& host, const std::string& name) -> std::string {
    try {
      plugin_info_text(host, name);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return error.what();
    }
    return "found";
  };
  EXPECT_EQ(says(first_party_plugins(), "bitflip"),
            "there is no component 'bitflip'; did you mean 'bit_flip'?");
  EXPECT_EQ(says(first_party_plugins(), "an_unheard_of_name"),
            "there is no component 'an_unheard_of_name'; see 'bitfall plugin list'");
  PluginHost host;
  host.load(test_plugin("fragile"));
  EXPECT_EQ(says(host, "throwing"),
            "'throwing' names several components: say format/throwing or error_model/throwing or "
            "metric/throwing");
  EXPECT_EQ(says(host, "error_model/throwing"), "found");
}

/// The printed piece of a campaign file is one that Bitfall accepts.
TEST(PluginTables, ShowACampaignThatWorks) {
  PluginHost host;
  host.load_folder(built_plugin_folder());
  host.load(test_plugin("good_options"));
  for (const auto& component : host.components()) {
    const auto json = nlohmann::json::parse(
        plugin_info_json(host, to_string(component.kind) + ("/" + component.id)));
    if (component.kind == ComponentKind::kHeadInit) {
      const std::string command = json["command"];
      EXPECT_THAT(command, HasSubstr("--init " + component.id));
      for (const OptionSpec& option : component.options) {
        EXPECT_THAT(command, HasSubstr("--set '" + std::string(option.name) + " = "));
      }
      continue;
    }
    const std::string text =
        "[model]\npath = \"model.pt\"\n[data]\npath = \"data\"\n" + json["toml"].get<std::string>();
    Diagnostics diagnostics("campaign.toml", text);
    const Campaign campaign = parse_campaign("campaign.toml", text, diagnostics);
    switch (component.kind) {
      case ComponentKind::kFormat:
        EXPECT_EQ(campaign.format.id, component.id);
        if (component.id == "table") continue;  // its file is the user's to write
        EXPECT_NE(host.make_format(campaign.format, diagnostics), nullptr);
        break;
      case ComponentKind::kErrorModel:
        ASSERT_EQ(campaign.faults.size(), 1u);
        EXPECT_EQ(campaign.faults[0].error_model.id, component.id);
        EXPECT_EQ(campaign.faults[0].error_model.options.size(), component.options.size());
        EXPECT_NE(host.make_error_model(campaign.faults[0].error_model, diagnostics), nullptr);
        break;
      case ComponentKind::kMetric:
        ASSERT_EQ(campaign.metrics.size(), 1u);
        EXPECT_EQ(campaign.metrics[0].id, component.id);
        EXPECT_EQ(campaign.metrics[0].options.size(), component.options.size());
        EXPECT_NE(host.make_metric(campaign.metrics[0], diagnostics), nullptr);
        break;
      case ComponentKind::kProtection:
        ASSERT_EQ(campaign.protect.size(), 1u);
        EXPECT_EQ(campaign.protect[0].protection.id, component.id);
        EXPECT_NE(host.make_protection(campaign.protect[0].protection, diagnostics), nullptr);
        break;
      case ComponentKind::kHeadInit:
        break;
    }
    EXPECT_TRUE(diagnostics.empty()) << text << diagnostics.render();
  }
}

}  // namespace
}  // namespace bitfall::plugin_host_test
