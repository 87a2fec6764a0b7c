// The published backbones: exported by scripts/export_model.py with random weights, listed, run
// step by step, and hit once in every kind of site.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <utility>

#include "campaign_fixture.h"
#include "cost_oracle.h"
#include "head_module.h"
#include "head_report.h"
#include "loaded_plugins.h"
#include "model_card.h"
#include "model_costs.h"
#include "program.h"
#include "session.h"

namespace bitfall {
namespace {

struct Backbone {
  const char* name;                // as export_model.py takes it
  std::vector<const char*> sites;  // some that must be there
  // Parameters more with a text-guided head of width 512 for 1000 classes: 512 d + 512 + 512000 + 1
  // less what the last layer had, d the features; of MaxViT, whose last layer has no bias, without
  // the 512. The published figures.
  std::int64_t more_parameters;
};

void PrintTo(const Backbone& backbone, std::ostream* out) { *out << backbone.name; }

const std::vector<Backbone>& backbones() {
  static const std::vector<Backbone> kBackbones = {
      {"alexnet", {"features.0", "classifier.6"}, -1487335},
      {"vgg16_bn", {"features.40", "classifier.6"}, -1487335},
      {"resnet50", {"conv1", "layer1.0.conv2", "layer4.2.conv3", "fc"}, -487911},
      {"mobilenet_v2", {"features.0.0", "classifier.1"}, -113127},
      {"maxvit_t", {"stem.0.0", "classifier.5"}, 262145},
      {"swin_v2_t", {"features.0.0", "features.1.0.attn/linear#2", "head"}, 136729},
      {"timm:focalnet_tiny_srf", {"stem.proj", "head.fc"}, 136729},
  };
  return kBackbones;
}

std::string file_stem(std::string name) {
  for (char& c : name) {
    if (c == ':') c = '_';
  }
  return name;
}

// Maps of 96 pixels have every kind of layer and site; MaxViT's windows want 224.
std::string input_of(const std::string& name) {
  return name == "maxvit_t" ? "" : "--input 3x96x96";
}

class BackboneTest : public testing::TestWithParam<Backbone> {
 protected:
  void SetUp() override {
    const std::string find = "\"" + std::string(BITFALL_PYTHON) +
                             "\" -c \"import sys; from importlib.util import find_spec as find; "
                             "sys.exit(not (find('timm') and find('torchvision')))\"";
    if (std::system(find.c_str()) != 0) {
      GTEST_SKIP() << "timm (and torchvision) are not installed; scripts/setup.sh installs them";
    }
    folder_ =
        std::filesystem::path(BITFALL_BUILD_DIR) / "tests" / "models" / file_stem(GetParam().name);
    std::filesystem::create_directories(folder_);
    model_ = folder_ / "model.pt";
    // The tests of one network run beside each other: one of them makes the file, the others wait,
    // and nobody reads a file that is then replaced.
    const int lock = ::open((folder_ / "lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    ASSERT_GE(lock, 0);
    ASSERT_EQ(::flock(lock, LOCK_EX), 0);
    make_model();
    ::close(lock);
  }

  void make_model() {
    if (std::filesystem::exists(model_)) return;
    const auto fresh = folder_ / ("new_" + std::to_string(::getpid()) + ".pt");
    const std::string command = "\"" + std::string(BITFALL_PYTHON) + "\" \"" + BITFALL_SOURCE_DIR +
                                "/scripts/export_model.py\" " + GetParam().name +
                                " --random --seed 1 " + input_of(GetParam().name) + " -o \"" +
                                fresh.string() + "\"";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    std::filesystem::rename(fresh, model_);
  }
  std::filesystem::path folder_, model_;
};

// One fault in the first usable site of every kind: (target, operation).
std::string one_fault_a_kind(const Model& model) {
  std::string list = "site,image,target,element,register,op,mask\n";
  std::set<std::pair<Target, std::string>> kinds;
  for (const Site& site : model.sites()) {
    if (!site.refusal.empty() || !kinds.insert({site.target, site.operation}).second) continue;
    list += site.name + "," + std::to_string(kinds.size() % 2) + "," + to_string(site.target) +
            "," + std::to_string(site.values / 2) + ",payload,flip,0x4000\n";
  }
  return list;
}

TEST_P(BackboneTest, GoldenEqualsForwardAndEveryKindOfSiteCanBeHit) {
  const c10::InferenceMode guard;
  constexpr std::int64_t kBatch = 2;
  const ModelCard card = read_model_card(model_);
  ASSERT_EQ(card.input[0], 3);
  at::manual_seed(3);
  const at::Tensor images = at::randn({kBatch, card.input[0], card.input[1], card.input[2]});
  std::string list;
  {
    const Model model(model_, {card.input, kBatch});
    const at::Tensor want = model.program().forward(images);
    Slots slots = model.program().start(images);
    model.program().run(slots, 0, static_cast<int>(model.program().steps().size()));
    EXPECT_TRUE(at::equal(model.program().output(slots), want))
        << "golden differs from Module::forward";
    EXPECT_TRUE(want.isfinite().all().item<bool>());
    for (const char* name : GetParam().sites) {
      const auto site = find_site(model.sites(), Target::kActivation, name);
      ASSERT_GE(site, 0) << name;
      EXPECT_EQ(model.sites()[static_cast<std::size_t>(site)].refusal, "") << name;
    }
    list = one_fault_a_kind(model);
    std::ofstream classes(folder_ / "classes.txt");
    for (std::int64_t i = 0; i < model.classes(); ++i) classes << "class_" << i << "\n";
  }
  std::ofstream(folder_ / "faults.csv") << list;
  write_npy(folder_ / "images.npy", "<f4",
            "2, 3, " + std::to_string(card.input[1]) + ", " + std::to_string(card.input[2]),
            {static_cast<const char*>(images.data_ptr()), images.nbytes()});
  write_npy(folder_ / "labels.npy", "<i8", "2,", std::string(16, '\0'));
  Collected results[2];
  for (const bool suffix : {true, false}) {
    const std::string text =
        "[model]\npath = \"model.pt\"\n[data]\npath = \"images.npy\"\nlabels = \"labels.npy\"\n"
        "classes = \"classes.txt\"\n[format]\nid = \"fp16\"\n[plugins]\npaths = [\"" +
        std::string(BITFALL_BUILD_DIR) +
        "/lib/bitfall/plugins\"]\n[run]\nbatch = 2\nthreads = 1\nworkers = 1\nsuffix = " +
        (suffix ? "true" : "false") + "\n";
    Session session(folder_ / "campaign.toml", text, folder_ / "faults.csv");
    const std::atomic<bool> stop{false};
    ASSERT_TRUE(session.profile(stop));
    const std::string before = session.model().program().checksum();
    ASSERT_TRUE(session.engine().run(session.plan(), {}, {}, session.measure(), results[suffix],
                                     stop, nullptr));
    EXPECT_EQ(session.model().program().checksum(), before);
  }
  const auto& trials = results[true].trials;
  EXPECT_GE(trials.size(), 8U) << "kinds of sites";
  expect_equal(results[true], results[false]);
  int activated = 0;
  for (const auto& [id, trial] : trials) activated += trial.activated;
  EXPECT_EQ(activated, static_cast<int>(trials.size()))
      << "a flip of a stored bit changes its value";
}

TEST_P(BackboneTest, CostsWhatTorchCounts) {
  const ModelCard card = read_model_card(model_);
  const std::string shape = std::to_string(card.input[0]) + "x" + std::to_string(card.input[1]) +
                            "x" + std::to_string(card.input[2]);
  const ModelCosts costs = model_costs(Model(model_, {card.input, 2}));
  const CountedCosts expected = counted_by_torch({{model_, shape}}).front();
  EXPECT_EQ(costs.parameters, expected.parameters);
  EXPECT_EQ(costs.operations, expected.operations);
}

TEST_P(BackboneTest, TakesATextGuidedHead) {
  const c10::InferenceMode guard;
  const ModelCard card = read_model_card(model_);
  const std::vector<std::string> classes(1000, "class");
  at::manual_seed(4);
  const at::Tensor images = at::randn({2, card.input[0], card.input[1], card.input[2]});
  LastLinear last;
  {
    Program program(model_, "cpu");
    program.specialise(images);
    last = find_last_linear(program, images, model_);
  }
  EXPECT_EQ(last.module, GetParam().sites.back());
  const auto attach = [&](bool cosine) {
    Diagnostics diagnostics("head", "");
    const auto init = first_party_plugins().make_head_init(
        plugin_choice("text_guided", {{"init", std::string("random")},
                                      {"width", std::int64_t{512}},
                                      {"cosine", cosine},
                                      {"bias", last.bias}}),
        diagnostics);
    const Head head = build_head(*init, last.features, classes, {}, 0, 1);
    const std::string card_text =
        "{\"head\": {\"module\": \"" + last.module +
        "\", \"init\": \"text_guided\", \"replaced_bias\": " + (last.bias ? "true" : "false") +
        "}}";
    replace_head(model_, last.module, head, card_text, folder_ / "guided.pt");
  };
  attach(true);
  const HeadReport report = head_report(folder_ / "guided.pt", card.input);
  EXPECT_EQ(report.parameters - report.baseline_parameters, GetParam().more_parameters);
  EXPECT_EQ(report.operations - report.baseline_operations,
            512 * (last.features + 1000) - 1000 * last.features);
  EXPECT_EQ(report.baseline_parameters, head_report(model_, card.input).parameters);
  const Program guided(folder_ / "guided.pt", "cpu");
  EXPECT_EQ(guided.forward(images).size(1), 1000);
  EXPECT_THROW(fused(read_head(folder_ / "guided.pt", last.module), "x"), Error);
  constexpr std::int64_t kLarge = 100'000'000;  // half a gigabyte a file; AlexNet's ends alike
  if (report.parameters > kLarge) {
    std::filesystem::remove(folder_ / "guided.pt");
    return;
  }
  // The linear variant fuses to one layer that answers the same.
  attach(false);
  replace_head(folder_ / "guided.pt", last.module,
               {fused(read_head(folder_ / "guided.pt", last.module), "fused")}, "{}",
               folder_ / "fused.pt");
  const at::Tensor whole = Program(folder_ / "guided.pt", "cpu").forward(images);
  const at::Tensor one = Program(folder_ / "fused.pt", "cpu").forward(images);
  EXPECT_LT((whole - one).abs().max().item<double>(), 1e-4 * whole.abs().max().item<double>());
  std::filesystem::remove(folder_ / "guided.pt");
  std::filesystem::remove(folder_ / "fused.pt");
}

INSTANTIATE_TEST_SUITE_P(Published, BackboneTest, testing::ValuesIn(backbones()),
                         [](const auto& info) { return file_stem(info.param.name); });

}  // namespace
}  // namespace bitfall
