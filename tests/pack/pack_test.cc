// Archives and signatures of anybody, as files: hostile archives are made with libarchive itself,
// signatures are minisign's own (tests/vectors/minisign).
#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "bubblewrap.h"
#include "child_process.h"
#include "error.h"
#include "minisign.h"
#include "pack_archive.h"
#include "pack_file.h"
#include "pack_trial.h"
#include "text_file.h"

namespace bitfall::pack_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

fs::path scratch(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / ("pack_test_" + name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

struct Entry {
  std::string name, text;
  unsigned type = AE_IFREG;
  std::string link = "", hard = "";
};

/// A tar that holds exactly these entries, as no sane program writes it.
void write_tar(const fs::path& file, const std::vector<Entry>& entries, bool zip = false) {
  archive* writer = archive_write_new();
  zip ? archive_write_set_format_zip(writer) : archive_write_set_format_pax_restricted(writer);
  archive_write_add_filter_gzip(writer);
  archive_write_open_filename(writer, file.c_str());
  for (const Entry& one : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, one.name.c_str());
    archive_entry_set_filetype(entry, one.type);
    archive_entry_set_perm(entry, 0755);
    if (!one.link.empty()) archive_entry_set_symlink(entry, one.link.c_str());
    if (!one.hard.empty()) archive_entry_set_hardlink(entry, one.hard.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(one.text.size()));
    EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK) << archive_error_string(writer);
    archive_write_data(writer, one.text.data(), one.text.size());
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
}

std::string refused(const std::vector<Entry>& entries, const ArchiveLimits& limits = {}) {
  const fs::path folder = scratch("refused"), inside = folder / "a/b/inside";
  fs::create_directories(inside);
  write_tar(folder / "evil.bfp", entries);
  std::string message;
  try {
    unpack_archive(folder / "evil.bfp", inside, limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    message = error.what();
  }
  // Nothing outside of the folder that it was given.
  std::vector<fs::path> outside;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const bool within = entry.path().string().starts_with(inside.string());
    if (!within && !entry.is_directory()) outside.push_back(entry.path());
  }
  EXPECT_THAT(outside, ElementsAre(folder / "evil.bfp"));
  return message;
}

TEST(PackArchive, GivesBackWhatWasPacked) {
  const fs::path from = scratch("from"), to = scratch("to");
  fs::create_directories(from / "src");
  std::ofstream(from / "src/a.cc") << "int a;\n";
  std::ofstream(from / "b.bin", std::ios::binary) << std::string(100000, '\0') << "end";
  const std::vector<std::string> files = {"b.bin", "src/a.cc"};
  write_archive(from / "one.bfp", from, files);
  EXPECT_EQ(unpack_archive(from / "one.bfp", to), files);
  for (const std::string& file : files) EXPECT_EQ(read_text(to / file), read_text(from / file));
  // Equal files, equal bytes, whenever they were written.
  fs::last_write_time(from / "b.bin", fs::file_time_type::clock::now() - std::chrono::hours(99));
  write_archive(from / "two.bfp", from, files);
  EXPECT_EQ(read_text(from / "one.bfp"), read_text(from / "two.bfp"));
}

TEST(PackArchive, RefusesWhatLeavesItsFolder) {
  EXPECT_THAT(refused({{"../out", "x"}}), HasSubstr("a name with '..': '../out'"));
  EXPECT_THAT(refused({{"in/../../out", "x"}}), HasSubstr("a name with '..'"));
  EXPECT_THAT(refused({{"/tmp/pack_test_out", "x"}}), HasSubstr("an absolute name"));
  EXPECT_FALSE(fs::exists("/tmp/pack_test_out"));
  EXPECT_THAT(refused({{"link", "", AE_IFLNK, "/etc"}, {"link/x", "x"}}),
              HasSubstr("the link 'link'"));
  EXPECT_THAT(refused({{"a", "x"}, {"hard", "", AE_IFREG, "", "/etc/passwd"}}),
              HasSubstr("the link 'hard'"));
  EXPECT_THAT(refused({{"pipe", "", AE_IFIFO}}), HasSubstr("no plain file: 'pipe'"));
  EXPECT_THAT(refused({{"a", "x"}, {"a", "y"}}), HasSubstr("'a' twice"));
  EXPECT_THAT(refused({{"a", "x"}, {"a/b", "y"}}), HasSubstr("a folder and a file of one name"));
  EXPECT_THAT(refused({{"\x1b[2J", "x"}}), HasSubstr("a name with control characters"));
  EXPECT_THAT(refused({{std::string(300, 'n'), "x"}}), HasSubstr("more than 200 bytes"));
}

TEST(PackArchive, RefusesBombs) {
  EXPECT_THAT(refused({{"big", std::string(3 << 20, '\0')}}, {10, 1 << 20}),
              HasSubstr("unpacks to more than 1 MiB"));
  std::vector<Entry> many;
  for (int i = 0; i < 12; ++i) many.push_back({std::to_string(i), "x"});
  EXPECT_THAT(refused(many, {10, 1 << 20}), HasSubstr("more than 10 entries"));
}

TEST(PackArchive, RefusesWhatIsNoPack) {
  const fs::path folder = scratch("none");
  const auto says = [&](const fs::path& file) -> std::string {
    const fs::path to = scratch("none_to");
    try {
      unpack_archive(file, to);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(says(folder / "nowhere.bfp"), HasSubstr("there is no such file"));
  std::ofstream(folder / "text.bfp") << "a text\n";
  EXPECT_THAT(says(folder / "text.bfp"), HasSubstr("no pack"));
  write_tar(folder / "zip.bfp", {{"a", "x"}}, true);
  EXPECT_THAT(says(folder / "zip.bfp"), HasSubstr("no pack"));
  write_tar(folder / "whole.bfp", {{"a", std::string(50000, 'x')}, {"b", "y"}});
  const std::string whole = read_text(folder / "whole.bfp");
  std::ofstream(folder / "cut.bfp", std::ios::binary) << whole.substr(0, whole.size() / 2);
  EXPECT_THAT(says(folder / "cut.bfp"), HasSubstr("damaged"));
}

// Made by minisign 0.11 from tests/vectors/minisign/message.txt.
class Minisign : public testing::Test {
 protected:
  static fs::path vector(const std::string& name) {
    return fs::path(BITFALL_SOURCE_DIR) / "tests/vectors/minisign" / name;
  }
  std::string says(const fs::path& file, const std::string& signature,
                   const std::string& key) const {
    try {
      return "signed: " + verify_minisign(file, signature, parse_minisign_key(key));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }
  const std::string key_ = read_text(vector("signer.pub"));
  const std::string signature_ = read_text(vector("message.txt.minisig"));
};

TEST_F(Minisign, VerifiesItsSignatures) {
  EXPECT_EQ(says(vector("message.txt"), signature_, key_), "signed: a test of Bitfall");
  const MinisignKey key = parse_minisign_key(key_);
  EXPECT_EQ(parse_minisign_key(key.text()), key);
  EXPECT_THAT(key_, HasSubstr(key.name()));  // minisign writes its number into the comment
  EXPECT_THAT(key_, HasSubstr(key.text()));
}

TEST_F(Minisign, RefusesOthers) {
  EXPECT_THAT(says(vector("message.txt"), signature_, read_text(vector("other.pub"))),
              HasSubstr("was signed with another key"));
  const fs::path changed = scratch("minisign") / "changed.txt";
  std::string text = read_text(vector("message.txt"));
  text[3] ^= 1;
  std::ofstream(changed) << text;
  EXPECT_THAT(says(changed, signature_, key_), HasSubstr("is not of this file"));
  std::string comment = signature_;
  comment.replace(comment.find("a test"), 6, "a lie!");
  EXPECT_THAT(says(vector("message.txt"), comment, key_), HasSubstr("did not sign"));
  EXPECT_THAT(says(vector("message.txt"), read_text(vector("legacy.minisig")), key_),
              HasSubstr("old kind"));
  for (const char* none :
       {"", "x", "a\nb\nc\nd\n", "untrusted comment: x\nRURA\ntrusted comment: y\nAAAA\n"}) {
    EXPECT_THAT(says(vector("message.txt"), none, key_), HasSubstr("is no signature"));
  }
  // Each byte of the signature counts.
  for (std::size_t at = signature_.find("RU"); at < signature_.size(); at += 7) {
    std::string other = signature_;
    if (other[at] == '\n') continue;
    other[at] = other[at] == 'A' ? 'Q' : 'A';
    EXPECT_THAT(says(vector("message.txt"), other, key_), testing::Not(HasSubstr("signed: ")))
        << at;
  }
  EXPECT_THROW(parse_minisign_key("RWQ"), std::runtime_error);
}

TEST(PackFile, KeepsItsManifestAndItsSums) {
  const fs::path folder = scratch("manifest");
  std::ofstream(folder / "a.cc") << "int a;\n";
  PackManifest manifest;
  manifest.name = "nf4";
  manifest.version = "1.0";
  manifest.abi = 4;
  manifest.components = {{"format", "nf4", "Four bits"}};
  manifest.sources = {"a.cc"};
  manifest.prepare = {{"head", "attach"}};
  write_manifest(manifest, folder);
  const PackManifest read = read_manifest(folder, "p.bfp");
  EXPECT_EQ(read.name, "nf4");
  EXPECT_EQ(read.components, manifest.components);
  EXPECT_EQ(read.prepare, manifest.prepare);
  const std::vector<std::string> files = {"a.cc", kManifest};
  write_sums(folder, files);
  check_sums(folder, files, "p.bfp");
  const auto says = [&](const std::vector<std::string>& held) -> std::string {
    try {
      check_sums(folder, held, "p.bfp");
      read_manifest(folder, "p.bfp");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(says({"a.cc", kManifest, "more.cc"}),
              HasSubstr("'more.cc', of which SHA256SUMS says nothing"));
  EXPECT_THAT(says({"a.cc"}), HasSubstr("'pack.json' is missing"));
  std::ofstream(folder / "a.cc") << "int b;\n";
  EXPECT_THAT(says(files), HasSubstr("'a.cc' is not what was packed"));
  for (
      const auto& [name, words] :
      {std::pair<std::string, std::string>{R"({"schema": "bitfall.pack/1", "name": "../x")",
                                           "not valid JSON"},
       {R"({"schema": "bitfall.pack/9"})", "another version"},
       {R"({"schema": "bitfall.pack/1"})", "is damaged"},
       {R"({"schema": "bitfall.pack/1", "name": "../x", "version": "1", "abi": 4, "components": [], "sources": ["a.cc"], "prepare": []})",
        "cannot be a file's: '../x'"},
       {R"({"schema": "bitfall.pack/1", "name": "x", "version": "1", "abi": 4, "components": [], "sources": ["../a.cc"], "prepare": []})",
        "does not hold"},
       {R"({"schema": "bitfall.pack/1", "name": "x", "version": "1", "abi": 4, "components": [], "sources": ["-fplugin=x"], "prepare": []})",
        "does not hold"},
       {R"({"schema": "bitfall.pack/1", "name": "x", "version": "1", "abi": 4, "components": [], "sources": ["pack.json"], "prepare": []})",
        "names the source 'pack.json', which is no C++ by its name"}}) {
    std::ofstream(folder / kManifest) << name;
    write_sums(folder, files);
    EXPECT_THAT(says(files), HasSubstr(words)) << name;
  }
}

TEST(PackFile, RefusesNamesThatAddingUses) {
  PackManifest manifest;
  manifest.name = "nf4";
  require_free_names(manifest, {"nf4.cc", "data/nf4.so", "other.so", "tmp.txt"}, "p.bfp");
  for (const std::string name : {"nf4.so", "installed.json", "build/nf4.so", "tmp"}) {
    try {
      require_free_names(manifest, {"nf4.cc", name}, "p.bfp");
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), "p.bfp: holds '" + name + "', a name that `plugin add` itself uses");
    }
  }
}

TEST(PackTrial, ComparesCodesAndDigests) {
  Expectation expected{"cpu", "torch", "d1", 100, 0.1, 0.05, 0.2, {}};
  expected.codes["nf4"] = std::vector<std::string>(256, "1");
  const auto says = [&](const Expectation& got) -> std::string {
    try {
      return "ok " + agreement(expected, got);
    } catch (const Error& error) {
      return error.what();
    }
  };
  Expectation got = expected;
  EXPECT_THAT(says(got), HasSubstr("ok its test campaign gives the same digest"));
  got.digest = "d2";
  EXPECT_THAT(says(got), HasSubstr("other results than where the pack was made"));
  got.cpu = "other";
  EXPECT_THAT(says(got), HasSubstr("ok its test campaign gives another digest"));
  got.low = 0.3, got.high = 0.4;
  EXPECT_THAT(says(got), HasSubstr("is not within"));
  got = expected;
  got.codes["nf4"][7] = "2";
  EXPECT_THAT(says(got), HasSubstr("gives another code here: of 3.4028235e38 2, not 1"));
  EXPECT_EQ(test_values().size(), 256u);
}

TEST(Sandbox, HasNoNetworkAndOneFolderToWrite) {
  if (find_program("bwrap").empty() ||
      run_child({{"bwrap", "--ro-bind", "/", "/", "true"}, "", 20}).code != 0) {
    GTEST_SKIP() << "bubblewrap is not here, or cannot make a sandbox";
  }
  const fs::path folder = scratch("sandbox");
  const std::atomic<bool> stop = false;
  const Sandbox sandbox(folder, false, stop);
  EXPECT_TRUE(sandbox.closed());
  EXPECT_EQ(sandbox.run({"sh", "-c", "echo in > file && cat file"}, 20).out, "in\n");
  const fs::path outside = folder.parent_path() / "pack_test_outside";
  EXPECT_NE(sandbox.run({"touch", outside.string()}, 20).code, 0);
  EXPECT_FALSE(fs::exists(outside));
  // No interface but the loop-back.
  EXPECT_EQ(sandbox.run({"sh", "-c", "tail -n +3 /proc/net/dev | grep -v lo: | wc -l"}, 20).out,
            "0\n");
  const ChildResult endless = sandbox.run({"sleep", "100"}, 0.3);
  EXPECT_TRUE(endless.timed_out);
}

TEST(ChildProcess, EndsWhereItIsStopped) {
  std::atomic<bool> stop = false;
  std::jthread person([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop = true;
  });
  try {
    run_child({{"sleep", "100"}, "", 600, &stop});
    ADD_FAILURE() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInterrupted);
  }
}

}  // namespace
}  // namespace bitfall::pack_test
