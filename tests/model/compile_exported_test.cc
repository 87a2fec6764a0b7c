// The oracles are PyTorch's own ExportedProgram.module()(x) (make_exported_programs.py), and the
// TorchScript of the same network.
#include "compile_exported.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "answer_form.h"
#include "error.h"
#include "exported_fixture.h"
#include "instruction.h"
#include "model.h"
#include "program.h"
#include "refusal.h"
#include "stored_zip.h"
#include "torchscript_file.h"

namespace bitfall::compile_exported_test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct Question {
  at::Tensor images;
  std::vector<float> answers;
};

Question question_of(const std::string& network) {
  std::vector<std::int64_t> shape = exported_image(network);
  shape.insert(shape.begin(), 3);
  std::vector<float> values = exported_answers(network);
  at::Tensor images = at::empty(shape);
  const auto count = static_cast<std::size_t>(images.numel());
  std::copy_n(values.begin(), count, images.data_ptr<float>());
  return {images, {values.begin() + static_cast<std::ptrdiff_t>(count), values.end()}};
}

std::vector<float> answers_in(const Program& program, const Slots& slots) {
  std::vector<float> values;
  const auto output = static_cast<std::size_t>(program.instructions().output);
  for (const NamedAnswer& answer : tensors_of(slots[output])) {
    const at::Tensor flat = answer.value.contiguous();
    values.insert(values.end(), flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  }
  return values;
}

bool same_floats(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class Exported : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!has_python()) GTEST_SKIP() << "no Python with PyTorch at " << BITFALL_PYTHON;
  }
};

TEST_P(Exported, EqualsPyTorchBitForBit) {
  const c10::InferenceMode guard;
  const auto [images, answers] = question_of(GetParam());
  Program program(exported_file(GetParam() + std::string(".pt2")), "cpu");
  program.specialise(images);
  for (int repeat = 0; repeat < 3; ++repeat) {
    Slots slots = program.start(images);
    program.run(slots, 0, static_cast<int>(program.steps().size()));
    EXPECT_TRUE(same_floats(answers_in(program, slots), answers)) << "repeat " << repeat;
  }
}

// Forked from one front that goes forward a step at a time, as the engine does: what steps write in
// place must not be seen twice.
TEST_P(Exported, RunsFromEveryStep) {
  const c10::InferenceMode guard;
  const auto [images, answers] = question_of(GetParam());
  Program program(exported_file(GetParam() + std::string(".pt2")), "cpu");
  const int steps = static_cast<int>(program.steps().size());
  Slots front = program.start(images);
  for (int at = 0; at <= steps; ++at) {
    for (int repeat = 0; repeat < 2; ++repeat) {
      Slots fork = program.fork(front, at);
      program.run(fork, at, steps);
      ASSERT_TRUE(same_floats(answers_in(program, fork), answers))
          << "from step " << at << ", repeat " << repeat;
    }
    if (at < steps) program.run(front, at, at + 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Exported,
                         testing::Values("residual", "attention", "windows", "sequence", "masked",
                                         "shared", "mixing", "pointwise", "dead", "maps", "carried",
                                         "products", "softmaxed", "functional", "nested", "twins",
                                         "tied", "tiedlast", "overwritten", "tokens", "defaults",
                                         "dictionary", "transformer", "recurrent", "views",
                                         "regions", "sizes", "values", "constants", "alone",
                                         "names"));

class BothForms : public Exported {};

std::string told(const Site& site) {
  std::string text = site.name + " (" + site.operation + ") " + site.refusal;
  for (const std::int64_t size : site.shape) text += " " + std::to_string(size);
  for (const std::string& alias : site.aliases) text += ", also " + alias;
  return text;
}

std::vector<std::string> sites_of(const Model& model) {
  std::vector<std::string> sites;
  for (const Site& site : model.sites()) sites.push_back(told(site));
  return sites;
}

// So that fault lists and campaigns of one fit the other.
TEST_P(BothForms, HaveTheSameSites) {
  const c10::InferenceMode guard;
  const auto image = exported_image(GetParam());
  ModelOptions options;
  options.input = {image[0], image[1], image[2]};
  options.batch = 3;
  const Model script(exported_file(GetParam() + std::string(".pt")), options);
  const Model exported(exported_file(GetParam() + std::string(".pt2")), options);
  EXPECT_EQ(sites_of(exported), sites_of(script));
  EXPECT_EQ(exported.unfit(), script.unfit());
  EXPECT_EQ(exported.rows_alike(), script.rows_alike());
  EXPECT_EQ(exported.program().learned_numbers(), script.program().learned_numbers());
  for (std::size_t i = 0; i < script.sites().size(); ++i) {
    const auto site = static_cast<std::int32_t>(i);
    if (!script.is_weight(site)) continue;
    EXPECT_TRUE(same_bits(exported.parameter(site), script.parameter(site)));
    EXPECT_EQ(exported.overlaps(site).size(), script.overlaps(site).size());
  }
}

// Every value that a fault can hit, bit for bit.
TEST_P(BothForms, MakeTheSameValues) {
  const c10::InferenceMode guard;
  const auto [images, answers] = question_of(GetParam());
  const std::string name = GetParam();
  ModelOptions options;
  options.input = {images.size(1), images.size(2), images.size(3)};
  options.batch = images.size(0);
  const Model script(exported_file(name + ".pt"), options);
  const Model exported(exported_file(name + ".pt2"), options);
  const auto values = [&images = images](const Model& model) {
    Slots slots = model.program().start(images);
    model.program().run(slots, 0, static_cast<int>(model.program().steps().size()), true);
    return slots;
  };
  const Slots a = values(script), b = values(exported);
  for (std::size_t i = 0; i < script.sites().size(); ++i) {
    const auto site = static_cast<std::int32_t>(i);
    if (!script.sites()[i].refusal.empty() || script.is_weight(site)) continue;
    const auto &left = a[static_cast<std::size_t>(script.slots(site)[0])],
               &right = b[static_cast<std::size_t>(exported.slots(site)[0])];
    EXPECT_TRUE(same_value(left, right)) << script.sites()[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, BothForms,
                         testing::Values("residual", "attention", "windows", "sequence", "masked",
                                         "shared", "mixing", "pointwise", "dead", "maps", "carried",
                                         "products", "softmaxed", "functional", "nested", "twins",
                                         "tied", "tiedlast", "overwritten", "tokens", "defaults",
                                         "dictionary", "views"));

class ExportedProgramOf : public Exported {
 protected:
  static std::string refusal(const std::string& name, std::int64_t batch = 2,
                             std::array<std::int64_t, 3> input = {3, 8, 8}) {
    const auto path = exported_file(name);
    ModelOptions options;
    options.input = input;
    options.batch = batch;
    const std::string message = error_of([&] { const Model model(path, options); });
    EXPECT_THAT(message, StartsWith(path.string() + ": "));
    return message;
  }
};

TEST_F(ExportedProgramOf, FixedBatchSaysHowToExport) {
  EXPECT_THAT(refusal("refused_fixed.pt2"),
              AllOf(HasSubstr("for a batch of 2 alone"),
                    HasSubstr("torch.export.export(model.eval(), (x,), dynamic_shapes={'x': {0: "
                              "torch.export.Dim('batch', min=1)}})")));
}

TEST_F(ExportedProgramOf, TrainingModeIsRefused) {
  EXPECT_THAT(refusal("refused_training.pt2"),
              AllOf(HasSubstr("in training mode (norm: aten::batch_norm)"),
                    HasSubstr("call model.eval() before torch.export.export")));
}

TEST_F(ExportedProgramOf, GraphsThatValuesChooseAreRefused) {
  EXPECT_THAT(refusal("refused_cond.pt2"), AllOf(HasSubstr("'cond'"), HasSubstr("torch.where")));
}

TEST_F(ExportedProgramOf, UnknownOperatorIsNamed) {
  EXPECT_THAT(refusal("refused_vendor.pt2"),
              AllOf(HasSubstr("the operator vendor::swish"), HasSubstr("[model] libraries")));
}

TEST_F(ExportedProgramOf, OtherSizesThanItsOwnAreRefused) {
  EXPECT_THAT(
      refusal("residual.pt2", 2, {3, 16, 16}),
      AllOf(HasSubstr("images of shape 3 x 8 x 8 in batches of 1 or more, and gets 2x3x16x16"),
            HasSubstr("--input CxHxW")));
  EXPECT_THAT(refusal("any_size.pt2", 2, {3, 16, 65}), HasSubstr("3 x 4 to 64 x 4 to 64"));
  EXPECT_THAT(refusal("two_or_more.pt2", 1),
              AllOf(HasSubstr("in batches of 2 or more, and gets 1x3x8x8"), HasSubstr("min=1")));
}

TEST_F(ExportedProgramOf, SizesThatAreFreeAreTaken) {
  ModelOptions options;
  options.input = {3, 16, 64};
  EXPECT_EQ(Model(exported_file("any_size.pt2"), options).classes(), 5);
}

TEST_F(ExportedProgramOf, StateFromCallToCallIsNoticed) {
  ModelOptions options;
  options.input = {3, 8, 8};
  options.batch = 2;
  EXPECT_THAT(Model(exported_file("counts.pt2"), options).unfit(), HasSubstr("keeps a state"));
}

TEST_F(ExportedProgramOf, RegionsHaveTheirLayersAsSites) {
  ModelOptions options;
  options.input = {3, 8, 8};
  options.batch = 2;
  const Model model(exported_file("regions.pt2"), options);
  const std::vector<std::string> sites = sites_of(model);
  EXPECT_THAT(sites, Contains(StartsWith("conv (conv)  4 6 6")));   // without gradients
  EXPECT_THAT(sites, Contains(StartsWith("conv2 (conv)  4 4 4")));  // cast by autocast
  const auto cast =
      static_cast<std::size_t>(find_site(model.sites(), Target::kActivation, "conv2"));
  EXPECT_EQ(model.sites()[cast].type, ValueType::kBfloat16);
}

TEST_F(ExportedProgramOf, AttentionIsNotFused) {
  ModelOptions options;
  options.input = {3, 8, 8};
  options.batch = 2;
  const std::vector<std::string> sites = sites_of(Model(exported_file("transformer.pt2"), options));
  EXPECT_THAT(sites, Contains(StartsWith("attention/linear#1 (linear)")));
  EXPECT_THAT(sites, Contains(StartsWith("attention/attention (attention)")));
}

TEST_F(ExportedProgramOf, IsToldByWhatTheFileHolds) {
  ModelOptions options;
  options.input = {3, 8, 8};
  const auto copy = [](const std::string& from, const std::string& to) {
    std::filesystem::copy_file(exported_file(from), exported_file(to),
                               std::filesystem::copy_options::overwrite_existing);
    return exported_file(to);
  };
  EXPECT_EQ(Model(copy("residual.pt2", "named.pt"), options).classes(), 5);
  EXPECT_EQ(Model(copy("residual.pt", "named.pt2"), options).classes(), 5);
  EXPECT_THAT(refusal("refused_truncated.pt2"), HasSubstr("is truncated"));
}

TEST_F(ExportedProgramOf, WhatNeedsTorchScriptSaysSo) {
  const std::string message =
      error_of([] { load_torchscript(exported_file("residual.pt2"), "cpu"); });
  EXPECT_THAT(message, AllOf(HasSubstr("is a torch.export archive"),
                             HasSubstr("export_model.py --format torchscript")));
}

// Damaged and hostile graphs: an Error or an exception of LibTorch, and no crash.
TEST_F(ExportedProgramOf, ChangedByHandDoesNotCrash) {
  const c10::InferenceMode guard;
  const auto [images, answers] = question_of("residual");
  const auto records = read_stored(exported_file("residual.pt2"));
  const auto model = std::find_if(records.begin(), records.end(), [](const auto& record) {
    return record.first.ends_with("/models/model.json");
  });
  ASSERT_NE(model, records.end());
  const nlohmann::json whole = nlohmann::json::parse(model->second);
  const auto path = exported_file("changed.pt2");
  int opened = 0, refused = 0, place = 0;
  const nlohmann::json flat = whole.flatten();
  for (const auto& [pointer, leaf] : flat.items()) {
    if (pointer.find("/metadata/stack_trace") != pointer.npos || ++place % 5 != 0) continue;
    for (const nlohmann::json& other :
         {nlohmann::json(-7), nlohmann::json(99), nlohmann::json("x"), nlohmann::json("conv2d"),
          nlohmann::json(nullptr), nlohmann::json::array({1, -1, 3}), nlohmann::json(0.5)}) {
      nlohmann::json changed = whole;
      changed[nlohmann::json::json_pointer(pointer)] = other;
      auto copy = records;
      copy[model->first] = changed.dump();
      write_stored(path, copy);
      try {
        const Program program(path, "cpu");
        ++opened;
        Slots slots = program.start(images);
        program.run(slots, 0, static_cast<int>(program.steps().size()));
        program.output(slots);
      } catch (const std::exception&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(opened, 100);
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace bitfall::compile_exported_test
