#include "session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "campaign_fixture.h"
#include "model_fixture.h"
#include "sha256.h"

namespace bitfall::session_test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kImages = 4;

// A campaign on a copy of a small model that the test may replace.
fs::path campaign() {
  const fs::path folder = small_model("residual").parent_path();
  fs::copy_file(small_model("residual"), folder / "replaced.pt",
                fs::copy_options::overwrite_existing);
  write_npy(folder / "session_images.npy", "<f4", std::to_string(kImages) + ", 3, 8, 8",
            std::string(kImages * 3 * 8 * 8 * 4, '\0'));
  write_npy(folder / "session_labels.npy", "<i8", std::to_string(kImages) + ",",
            std::string(kImages * 8, '\0'));
  std::ofstream(folder / "classes.txt") << "a\nb\nc\nd\ne\n";
  return folder / "campaign.toml";
}

const std::string kText =
    "[model]\npath = \"replaced.pt\"\n[data]\npath = \"session_images.npy\"\nlabels = "
    "\"session_labels.npy\"\n"
    "classes = \"classes.txt\"\n[format]\nid = \"int\"\nbits = 6\n[run]\nbatch = 2\nthreads = 1\n"
    "workers = 1\n[plugins]\npaths = [\"" BITFALL_BUILD_DIR "/lib/bitfall/plugins\"]\n";

TEST(Session, HashesTheModelThatItLoaded) {
  const fs::path file = campaign();
  const fs::path model = file.parent_path() / "replaced.pt";
  const std::string loaded = sha256_file(model);
  Session session(file, kText, std::nullopt);
  fs::copy_file(small_model("residual_traced"), model, fs::copy_options::overwrite_existing);
  ASSERT_NE(sha256_file(model), loaded);
  const std::atomic<bool> stop{false};
  ASSERT_TRUE(session.profile(stop));
  EXPECT_EQ(session.facts().model_sha256, loaded);
  EXPECT_EQ(session.describe().facts.model_sha256, loaded);
  fs::remove(model);
  EXPECT_EQ(session.describe().facts.model_sha256, loaded);
}

TEST(Session, KeepsTheFaultListThatItRead) {
  const fs::path file = campaign();
  const fs::path list = file.parent_path() / "list.csv";
  std::string text = "site,image,target,element,register,op,mask\n";
  {
    const Session session(file, kText, std::nullopt);
    for (const Site& site : session.model().sites()) {
      if (site.target != Target::kInput) continue;
      text += site.name + "," + session.dataset().name(0) + ",input,0,payload,flip,0x1\n";
    }
  }
  std::ofstream(list) << text;
  const Session session(file, kText, list);
  std::ofstream(list) << "something else";
  const RunDescription run = session.describe();
  EXPECT_EQ(run.fault_list_text, text);
  EXPECT_EQ(run.trials, 1);
  EXPECT_EQ(run.facts.fault_list, list.string());
  EXPECT_TRUE(run.facts.error_models.empty());
}

TEST(Session, TellsWhatTheFileSays) {
  const fs::path file = campaign();
  const Session session(file, kText + "[[faults]]\nerror_model = { id = \"bit_flip\", bits = 2 }\n",
                        std::nullopt);
  const RunFacts& facts = session.facts();
  EXPECT_EQ(facts.format, "int");
  EXPECT_EQ(facts.format_options, "bits = 6");
  EXPECT_EQ(facts.calibration, "absmax over 4 images");
  EXPECT_EQ(error_models_text(facts), "bit_flip (bits = 2) on activation");
  EXPECT_EQ(facts.batch, 2);
  EXPECT_EQ(facts.threads, 1);
  EXPECT_EQ(facts.images, kImages);
  EXPECT_EQ(facts.classes, 5);
  EXPECT_EQ(facts.campaign_file, file.string());
  EXPECT_FALSE(facts.plugins.empty());
}

}  // namespace
}  // namespace bitfall::session_test
