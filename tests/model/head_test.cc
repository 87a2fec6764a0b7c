// Head initialisers as the host sees them, and fusing.
#include "head.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "error.h"
#include "loaded_plugins.h"
#include "plugin_guard.h"

namespace bitfall::head_test {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kClasses = {"cat", "dog", "ship"};
constexpr std::int64_t kFeatures = 8;
constexpr std::int64_t kWidth = 4;
const std::vector<float> kRows = {3, 0, 0, 4, 0, 0.5F, 0, 0, -1, 2, -2, 4};  // [3, 4]

std::unique_ptr<HeadInit> make(const std::string& id,
                               std::vector<std::pair<std::string, OptionValue>> options = {}) {
  Diagnostics diagnostics("head", "");
  auto init =
      first_party_plugins().make_head_init(plugin_choice(id, std::move(options)), diagnostics);
  EXPECT_TRUE(diagnostics.empty()) << diagnostics.render();
  return init;
}

Head built(const HeadInit& init, std::uint64_t seed = 1, std::int64_t features = kFeatures) {
  const bool rows = init.needs_embeddings();
  return build_head(init, features, kClasses, rows ? kRows : std::vector<float>{},
                    rows ? kWidth : 0, seed);
}

std::string usage_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "nothing was refused";
}

TEST(HeadInit, LinearStartsAsPyTorchDoes) {
  const Head head = build_head(*make("linear"), 400, kClasses, {}, 0, 1);
  ASSERT_EQ(head.size(), 1U);
  EXPECT_EQ(head[0].outputs, 3);
  EXPECT_EQ(head[0].inputs, 400);
  EXPECT_EQ(head[0].parameters(), 1203);
  // Uniform over +-1/sqrt(400): mean 0, variance 0.05^2 / 3, and nothing outside.
  double sum = 0, squares = 0;
  for (const float value : head[0].weight) {
    EXPECT_LE(std::abs(value), 0.05F);
    sum += value;
    squares += double{value} * value;
  }
  const double n = 1200, variance = 0.05 * 0.05 / 3;
  EXPECT_LT(std::abs(sum / n), 5 * std::sqrt(variance / n));
  // The variance of the square of a uniform value is 4/45 of its range's fourth power.
  EXPECT_LT(std::abs(squares / n - variance), 5 * 0.05 * 0.05 * std::sqrt(4.0 / 45 / n));
  EXPECT_TRUE(built(*make("linear", {{"bias", false}}))[0].bias.empty());
}

TEST(HeadInit, TheSeedDecidesTheDraws) {
  const auto init = make("random_projection", {{"width", std::int64_t{4}}});
  EXPECT_EQ(built(*init, 5)[0].weight, built(*init, 5)[0].weight);
  EXPECT_NE(built(*init, 5)[0].weight, built(*init, 6)[0].weight);
}

TEST(HeadInit, TextGuidedIsTheMethod) {
  const Head head = built(*make("text_guided"));
  ASSERT_EQ(head.size(), 4U);
  EXPECT_EQ(head[0].text(), "8 -> 4, with bias");
  EXPECT_EQ(head[1].kind, HeadLayerKind::kNormalise);
  EXPECT_EQ(head[1].epsilon, 1e-12);
  EXPECT_EQ(head[2].text(), "4 -> 3");
  const std::vector<float> unit = {0.6F, 0, 0, 0.8F, 0, 1, 0, 0, -0.2F, 0.4F, -0.4F, 0.8F};
  EXPECT_THAT(head[2].weight, testing::Pointwise(testing::FloatEq(), unit));
  EXPECT_EQ(head[3].kind, HeadLayerKind::kScale);
  EXPECT_NEAR(head[3].log_factor, std::log(1 / 0.07), 1e-12);
  EXPECT_EQ(parameter_count(head), 8 * 4 + 4 + 4 * 3 + 1);
  for (const HeadLayer& layer : head) {
    EXPECT_EQ(layer.trainable, layer.kind != HeadLayerKind::kNormalise) << layer.name;
  }
}

TEST(HeadInit, EachOfItsParametersIsASwitch) {
  const auto kinds = [](const Head& head) {
    std::string text;
    for (const HeadLayer& layer : head) text += to_string(layer.kind)[0];
    return text;
  };
  EXPECT_EQ(kinds(built(*make("text_guided", {{"cosine", false}}))), "lls");
  EXPECT_EQ(kinds(built(*make("text_guided", {{"temperature", false}}))), "lnl");
  EXPECT_EQ(kinds(built(*make("text_guided", {{"bottleneck", false}}), 1, kWidth)), "nls");
  const Head frozen = built(*make("text_guided", {{"freeze", true}}));
  EXPECT_FALSE(frozen[2].trainable);
  EXPECT_TRUE(frozen[0].trainable);
  const Head random =
      built(*make("text_guided", {{"init", std::string("random")}, {"width", std::int64_t{4}}}));
  EXPECT_EQ(kinds(random), "lnls");
  EXPECT_NE(random[2].weight, built(*make("text_guided"))[2].weight);
  // The layer before it starts alike, so that two arms differ in the projection alone.
  EXPECT_EQ(random[0].weight, built(*make("text_guided"))[0].weight);
}

TEST(HeadInit, RefusesWhatDoesNotFit) {
  EXPECT_THAT(usage_error([] { built(*make("embedding")); }),
              HasSubstr("the embeddings have 4 values per class and the backbone's features 8"));
  EXPECT_THAT(usage_error([] { built(*make("text_guided", {{"width", std::int64_t{5}}})); }),
              HasSubstr("width is 5, but the embeddings have 4 values per class"));
  EXPECT_THAT(usage_error([] { built(*make("text_guided", {{"bottleneck", false}})); }),
              HasSubstr("the projection is 4 wide and the backbone's features 8"));
  EXPECT_THAT(complaint([](Diagnostics& diagnostics) {
                return first_party_plugins().make_head_init(
                    plugin_choice("text_guided", {{"init", std::string("random")}}), diagnostics);
              }),
              HasSubstr("width: must be given with init = \"random\""));
}

/// Builds whatever a test says.
class Custom final : public HeadInit {
 public:
  explicit Custom(std::function<void(HeadLayers&)> layers) : layers_(std::move(layers)) {}
  void build(const HeadRequest&, RandomStream&, HeadLayers& layers) const override {
    layers_(layers);
  }

 private:
  std::function<void(HeadLayers&)> layers_;
};

std::string refusal_of(std::function<void(HeadLayers&)> layers) {
  const auto init = guard(std::make_unique<Custom>(std::move(layers)), "head_init 'x'");
  try {
    build_head(*init, 2, kClasses, {}, 0, 1);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPlugin);
    return error.what();
  }
  return "nothing was refused";
}

TEST(HeadInit, LayersThatDoNotFitAreThePluginsFault) {
  const std::vector<float> six(6, 1.0F), nan(6, NAN);
  const auto linear = [](HeadLayers& layers, std::span<const float> weight, std::int64_t inputs) {
    layers.linear("a", 3, inputs, weight, {}, true);
  };
  EXPECT_THAT(refusal_of([&](HeadLayers& l) { linear(l, six, 3); }),
              HasSubstr("a layer 'a' of 3 inputs after 2 values"));
  EXPECT_THAT(refusal_of([&](HeadLayers& l) { linear(l, std::span(six).first(5), 2); }),
              HasSubstr("5 weights and 0 biases do not make 3 outputs of 2 inputs"));
  EXPECT_THAT(refusal_of([&](HeadLayers& l) { linear(l, nan, 2); }),
              HasSubstr("a weight that is not a finite number"));
  EXPECT_THAT(refusal_of([&](HeadLayers& l) {
                linear(l, six, 2);
                l.normalise("a", 1);
              }),
              HasSubstr("the layer 'a' twice"));
  EXPECT_THAT(refusal_of([&](HeadLayers& l) { l.normalise("forward", 1); }),
              HasSubstr("a word that is reserved in modules"));
  EXPECT_THAT(refusal_of([&](HeadLayers& l) { l.normalise("n", 0); }),
              HasSubstr("epsilon is not positive"));
  EXPECT_THAT(refusal_of([&](HeadLayers& l) { l.scale("s", INFINITY, true); }),
              HasSubstr("factor is not a finite number"));
  EXPECT_THAT(
      refusal_of([&](HeadLayers& l) { l.linear("a", 2, 2, std::span(six).first(4), {}, true); }),
      HasSubstr("ends in 2 values for 3 classes"));
  EXPECT_THAT(refusal_of([](HeadLayers&) {}), HasSubstr("without a layer of weights"));
  EXPECT_THAT(refusal_of([](HeadLayers&) { throw 1; }), HasSubstr("failed in build"));
}

TEST(Fused, IsTheProductOfTheLayers) {
  const Head head = built(*make("text_guided", {{"cosine", false}}));
  const HeadLayer one = fused(head, "fc");
  EXPECT_EQ(one.outputs, 3);
  EXPECT_EQ(one.inputs, kFeatures);
  const double factor = 1 / 0.07;
  for (std::size_t c = 0; c < 3; ++c) {
    double bias = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      bias += factor * head[1].weight[c * 4 + k] * head[0].bias[k];
    }
    EXPECT_NEAR(one.bias[c], bias, 1e-6);
    for (std::size_t i = 0; i < 8; ++i) {
      double weight = 0;
      for (std::size_t k = 0; k < 4; ++k) {
        weight += factor * head[1].weight[c * 4 + k] * head[0].weight[k * 8 + i];
      }
      EXPECT_NEAR(one.weight[c * 8 + i], weight, 1e-6 * std::abs(weight));
    }
  }
}

TEST(Fused, AScaleBeforeALayerLeavesItsBiasAlone) {
  HeadLayer scale;
  scale.kind = HeadLayerKind::kScale;
  scale.name = "scale";
  scale.log_factor = std::log(2.0);
  HeadLayer linear;
  linear.name = "linear";
  linear.outputs = linear.inputs = 1;
  linear.weight = {3};
  linear.bias = {5};
  const HeadLayer before = fused({scale, linear}, "fc"), after = fused({linear, scale}, "fc");
  EXPECT_FLOAT_EQ(before.weight[0], 6);
  EXPECT_FLOAT_EQ(before.bias[0], 5);
  EXPECT_FLOAT_EQ(after.weight[0], 6);
  EXPECT_FLOAT_EQ(after.bias[0], 10);
}

TEST(Fused, RefusesANormalisationWithTheReason) {
  try {
    fused(built(*make("text_guided")), "fc");
    ADD_FAILURE() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr("'normalise' brings each image's features to length 1"));
  }
}

}  // namespace
}  // namespace bitfall::head_test
