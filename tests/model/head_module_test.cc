// Exchanging the last layers of TorchScript models.
#include "head_module.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loaded_plugins.h"
#include "model.h"
#include "model_fixture.h"
#include "program.h"
#include "refusal.h"

namespace bitfall::head_module_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

LastLinear last_linear(const std::string& model, std::int64_t size = 8) {
  Program program(small_model(model), "cpu");
  const at::Tensor images = probe_images(2, {3, size, size});
  program.specialise(images);
  return find_last_linear(program, images, small_model(model));
}

Head text_guided(std::vector<std::pair<std::string, OptionValue>> options = {},
                 std::int64_t features = 8) {
  options.emplace_back("init", std::string("random"));
  options.emplace_back("width", std::int64_t{6});
  Diagnostics diagnostics("head", "");
  const auto init =
      first_party_plugins().make_head_init(plugin_choice("text_guided", options), diagnostics);
  const std::vector<std::string> classes(7, "class");
  return build_head(*init, features, classes, {}, 0, 9);
}

std::filesystem::path attached(const Head& head, const std::string& name,
                               const std::string& from = "residual") {
  const auto path = small_model(from).parent_path() / (name + ".pt");
  replace_head(small_model(from), "fc", head, R"({"head": {"module": "fc", "init": "x"}})", path);
  return path;
}

at::Tensor linear(const at::Tensor& x, const HeadLayer& layer) {
  const auto tensor = [](const std::vector<float>& values, at::IntArrayRef shape) {
    return at::tensor(values).reshape(shape);
  };
  return at::linear(x, tensor(layer.weight, {layer.outputs, layer.inputs}),
                    layer.bias.empty() ? at::Tensor() : tensor(layer.bias, {layer.outputs}));
}

/// What goes into the last linear layer of the residual model.
at::Tensor features_of(const at::Tensor& images) {
  const Program program(small_model("residual"), "cpu");
  Slots slots = program.start(images);
  const auto& steps = program.steps();
  const auto last = std::find_if(steps.rbegin(), steps.rend(),
                                 [](const Step& step) { return step.operation == "linear"; });
  const int at = static_cast<int>(steps.rend() - last) - 1;
  program.run(slots, 0, at, true);
  return slots[static_cast<std::size_t>(last->inputs[0])].toTensor();
}

TEST(LastLinear, IsFoundWithItsWidths) {
  const LastLinear found = last_linear("residual");
  EXPECT_EQ(found.module, "fc");
  EXPECT_EQ(found.features, 8);
  EXPECT_EQ(found.classes, 5);
  EXPECT_TRUE(found.bias);
  EXPECT_EQ(last_linear("residual_traced").module, "fc");
  EXPECT_EQ(last_linear("attention").module, "head");
  EXPECT_EQ(last_linear("tiedlast").module, "fc");
  EXPECT_EQ(last_linear("tokens").module, "fc");
}

TEST(LastLinear, SaysWhatStandsThereInstead) {
  EXPECT_THAT(error_of([] { last_linear("dictionary"); }), HasSubstr("no linear layer"));
  EXPECT_THAT(error_of([] { last_linear("softmaxed"); }),
              HasSubstr("after its last linear layer ('fc') comes softmax"));
  EXPECT_THAT(error_of([] { last_linear("functional"); }),
              HasSubstr("is not a module with a parameter `weight`"));
  EXPECT_THAT(error_of([] { last_linear("repeated"); }), HasSubstr("('fc') runs 2 times"));
  for (const char* changed : {"cut", "overwritten"}) {
    EXPECT_THAT(error_of([&] { last_linear(changed); }),
                HasSubstr("is not the output of its last linear layer ('fc') as it is"));
  }
}

TEST(ReplaceHead, ComputesTheLayersAndNothingElse) {
  at::manual_seed(1);
  const at::Tensor images = at::randn({3, 3, 8, 8});
  const Head head = text_guided();
  const Program program(attached(head, "guided"), "cpu");
  at::Tensor expected = linear(features_of(images), head[0]);
  expected = expected / expected.norm(2, {1}, true);
  expected = linear(expected, head[2]) * std::exp(head[3].log_factor);
  EXPECT_TRUE(at::allclose(program.forward(images), expected, 1e-6, 1e-6));
  Slots slots = program.start(images);
  program.run(slots, 0, static_cast<int>(program.steps().size()));
  EXPECT_TRUE(same_bits(program.output(slots), program.forward(images)));
}

TEST(ReplaceHead, KeepsNamesAndPutsItsOwnBelow) {
  const Model model(attached(text_guided(), "guided"), {{3, 8, 8}, 2});
  const Model before(small_model("residual"), {{3, 8, 8}, 2});
  std::vector<std::string> names, old_names;
  for (const Site& site : model.sites()) {
    if (site.target == Target::kActivation) names.push_back(site.name);
  }
  for (const Site& site : before.sites()) {
    if (site.target == Target::kActivation) old_names.push_back(site.name);
  }
  ASSERT_EQ(old_names.back(), "fc");
  old_names.pop_back();
  ASSERT_GT(names.size(), old_names.size());
  const auto head = names.begin() + static_cast<std::ptrdiff_t>(old_names.size());
  EXPECT_EQ(std::vector<std::string>(names.begin(), head), old_names);
  EXPECT_THAT(std::vector<std::string>(head, names.end()),
              testing::IsSupersetOf({"fc.latent", "fc.projection"}));
  EXPECT_EQ(model.classes(), 7);
}

TEST(ReplaceHead, AZeroVectorStaysZero) {
  Head head = text_guided();
  std::fill(head[0].weight.begin(), head[0].weight.end(), 0.0F);
  std::fill(head[0].bias.begin(), head[0].bias.end(), 0.0F);
  const Program program(attached(head, "zero"), "cpu");
  EXPECT_TRUE(program.forward(at::randn({2, 3, 8, 8})).eq(0).all().item<bool>());
}

TEST(ReplaceHead, CanBeReadBackAndFused) {
  const Head head = text_guided({{"cosine", false}, {"freeze", true}});
  const auto path = attached(head, "linear_variant");
  const Head read = read_head(path, "fc");
  ASSERT_EQ(read.size(), head.size());
  for (std::size_t i = 0; i < head.size(); ++i) {
    EXPECT_EQ(read[i].name, head[i].name);
    EXPECT_EQ(read[i].kind, head[i].kind);
    EXPECT_EQ(read[i].weight, head[i].weight);
    EXPECT_EQ(read[i].bias, head[i].bias);
    EXPECT_EQ(read[i].trainable, head[i].trainable);
    EXPECT_FLOAT_EQ(read[i].log_factor, head[i].log_factor);
  }
  const auto one = small_model("residual").parent_path() / "fused.pt";
  replace_head(path, "fc", {fused(read, "fc")}, "{}", one);
  at::manual_seed(2);
  const at::Tensor images = at::randn({4, 3, 8, 8});
  EXPECT_TRUE(at::allclose(Program(one, "cpu").forward(images),
                           Program(path, "cpu").forward(images), 1e-5, 1e-5));
  const Model model(one, {{3, 8, 8}, 2});
  EXPECT_GE(find_site(model.sites(), Target::kWeight, "fc.weight"), 0);
}

TEST(ReplaceHead, WorksWhereTheLastLayerLiesInASequence) {
  const auto path = small_model("nested").parent_path() / "nested_guided.pt";
  Head head = text_guided();
  replace_head(small_model("nested"), "classifier.1", head, "{}", path);
  at::manual_seed(1);
  EXPECT_EQ(Program(path, "cpu").forward(at::randn({2, 3, 8, 8})).size(1), 7);
}

TEST(ReplaceHead, RefusesWhatItWouldChangeElsewhere) {
  const auto path = small_model("twins").parent_path() / "no.pt";
  EXPECT_THAT(
      error_of([&] { replace_head(small_model("twins"), "right.fc", text_guided(), "{}", path); }),
      HasSubstr("shares its code with 'left'"));
  EXPECT_THAT(error_of([&] {
                replace_head(small_model("residual"), "layer.0", text_guided(), "{}", path);
              }),
              HasSubstr("does more than one linear layer"));
  EXPECT_THAT(error_of([&] {
                replace_head(small_model("residual"), "nothing", text_guided(), "{}", path);
              }),
              HasSubstr("has no module 'nothing'"));
  EXPECT_THAT(
      error_of([&] { replace_head(small_model("exported"), "fc", text_guided(), "{}", path); }),
      HasSubstr("its method 'width' reads 'weight' of the layer 'fc'"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ReplaceHead, LeavesTheLayerThatHadTheSameWeight) {
  const auto path = attached(text_guided({}, 5), "untied", "tiedlast");
  const Program before(small_model("tiedlast"), "cpu"), after(path, "cpu");
  const auto weight = [](const Program& program) {
    for (const Parameter& parameter : program.parameters()) {
      if (parameter.name == "before.weight") return parameter.value;
    }
    return at::Tensor();
  };
  ASSERT_TRUE(weight(after).defined());
  EXPECT_TRUE(same_bits(weight(after), weight(before)));
}

}  // namespace
}  // namespace bitfall::head_module_test
