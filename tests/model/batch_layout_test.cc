// Which values lie image by image: networks of which that is plain to see.
#include "batch_layout.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>
#include <unistd.h>

#include "program.h"
#include "refusal.h"
#include "scripted_module.h"

namespace bitfall::batch_layout_test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kBatch = 4;

struct Seen {
  BatchLayout layout;
  std::vector<Step> steps;

  /// Of the result of the only step with this operator.
  const SlotLayout& of(const std::string& function) const {
    for (const Step& step : steps) {
      if (step.function == function) return layout.slots[static_cast<std::size_t>(step.outputs[0])];
    }
    throw std::logic_error("no step " + function);
  }
};

/// Of images [4, 3, 4, 4].
Seen seen(const torch::jit::Module& module) {
  const c10::InferenceMode guard;
  const std::string path = testing::TempDir() + "/layout_" + std::to_string(::getpid()) + ".pt";
  module.save(path);
  Program program(path, "cpu");
  auto random = at::make_generator<at::CPUGeneratorImpl>(1);
  const at::Tensor images = at::randn({kBatch, 3, 4, 4}, random, at::kFloat);
  program.specialise(images);
  const at::Tensor others = at::randn({kBatch, 3, 4, 4}, random, at::kFloat);
  return {find_batch_layout(program, {images, others}), program.steps()};
}

Seen seen(const std::string& code) { return seen(scripted_module(code)); }

TEST(BatchLayout, CountsWindowsThatAreFoldedIntoTheBatch) {
  const Seen windows = seen(R"(
def forward(self, x):
  w = torch.relu(x.reshape([x.size(0) * 6, 8]))
  return w.reshape([x.size(0), -1])[:, :5]
)");
  const SlotLayout& relu = windows.of("aten::relu");
  EXPECT_EQ(relu.refusal, "");
  EXPECT_EQ(relu.images.slabs, 6);
  EXPECT_EQ(relu.shape, (std::vector<std::int64_t>{6, 8}));
  EXPECT_EQ(relu.values, 48);
  EXPECT_FALSE(relu.image_independent);
  EXPECT_TRUE(windows.layout.rows_alike);
  EXPECT_EQ(windows.layout.classes, 5);
  EXPECT_EQ(windows.layout.unfit, "");
}

// Windows of all images one after the other, image last: [windows, batch] is not [batch, windows].
TEST(BatchLayout, TakesWindowsThatInterleaveImages) {
  const Seen windows = seen(R"(
def forward(self, x):
  w = torch.relu(x.reshape([x.size(0), 6, 8]).transpose(0, 1).reshape([6 * x.size(0), 8]))
  return w.reshape([6, x.size(0), 8]).transpose(0, 1).reshape([x.size(0), -1])
)");
  const SlotLayout& relu = windows.of("aten::relu");
  EXPECT_EQ(relu.refusal, "");
  EXPECT_EQ(relu.images.slabs, 1);
  EXPECT_EQ(relu.images.repeats, 6);
  EXPECT_EQ(relu.images.dim, 0);
  EXPECT_EQ(relu.shape, (std::vector<std::int64_t>{6, 8}));
  EXPECT_TRUE(windows.layout.rows_alike);
  EXPECT_EQ(windows.layout.unfit, "");
}

// As attention does it: [sequence, batch, width], and heads folded into the batch.
TEST(BatchLayout, TakesImagesInALaterDimension) {
  const Seen sequence = seen(R"(
def forward(self, x):
  s = torch.relu(x.reshape([x.size(0), 6, 8]).transpose(0, 1))
  h = torch.tanh(s.reshape([6, x.size(0) * 2, 4]))
  q = torch.sigmoid(h.reshape([1, 6, x.size(0), 8]).repeat([3, 1, 1, 1]))
  r = torch.abs(q.reshape([3, 6 * x.size(0) * 2, 4]))
  return r.reshape([3, 6, x.size(0), 8]).sum(0).transpose(0, 1).reshape([x.size(0), -1])
)");
  const auto expect = [&](const char* function, ImageAxis axis, std::vector<std::int64_t> shape) {
    const SlotLayout& layout = sequence.of(function);
    EXPECT_EQ(layout.refusal, "") << function;
    EXPECT_EQ(layout.images.dim, axis.dim) << function;
    EXPECT_EQ(layout.images.slabs, axis.slabs) << function;
    EXPECT_EQ(layout.images.repeats, axis.repeats) << function;
    EXPECT_EQ(layout.shape, shape) << function;
  };
  expect("aten::relu", {1, 1, 1}, {6, 8});
  expect("aten::tanh", {2, 1, 1}, {6, 2, 4});
  expect("aten::sigmoid", {1, 1, 2}, {3, 6, 8});
  expect("aten::abs", {2, 6, 1}, {3, 12, 4});
  EXPECT_TRUE(sequence.layout.rows_alike);
  EXPECT_EQ(sequence.layout.unfit, "");
}

// A maximum over the sequence is each image's own, one over dimension 1 is the batch's.
TEST(BatchLayout, KnowsWhichDimensionAReductionMixes) {
  const std::string code = R"(
def forward(self, x):
  s = torch.relu(x.reshape([x.size(0), 6, 8]).transpose(0, 1))
  m = s.amax([DIM], True)
  return torch.tanh(s - m).transpose(0, 1).reshape([x.size(0), -1])
)";
  const auto along = [&](const std::string& dim) {
    std::string one = code;
    return seen(one.replace(one.find("DIM"), 3, dim));
  };
  EXPECT_EQ(along("0").layout.unfit, "");
  EXPECT_EQ(along("0").of("aten::tanh").refusal, "");
  EXPECT_THAT(along("1").layout.unfit, HasSubstr("depends on the other images"));
  EXPECT_THAT(along("-2").layout.unfit, HasSubstr("depends on the other images"));
}

// Images that take turns in no regular way.
TEST(BatchLayout, RefusesImagesInDisorder) {
  const Seen windows = seen(R"(
def forward(self, x):
  w = torch.relu(x.reshape([4 * 6, 8])[torch.tensor([3, 0, 1, 7, 2, 9, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23])])
  return x.flatten(1) + w.sum() * 0.0
)");
  EXPECT_EQ(windows.of("aten::relu").images.slabs, 0);
  EXPECT_THAT(windows.of("aten::relu").refusal, HasSubstr("changes other images' values"));
}

TEST(BatchLayout, SeesWhatDoesNotDependOnTheImage) {
  const Seen constant = seen(R"(
def forward(self, x):
  mask = torch.tanh(torch.ones([x.size(0), 48]))
  return x.flatten(1) * mask
)");
  EXPECT_TRUE(constant.of("aten::tanh").image_independent);
  EXPECT_EQ(constant.of("aten::tanh").images.slabs, 0);
  EXPECT_EQ(constant.of("aten::tanh").refusal, "its values do not depend on the image");
  EXPECT_FALSE(constant.of("aten::mul").image_independent);
  EXPECT_EQ(constant.of("aten::mul").images.slabs, 1);
}

TEST(BatchLayout, SeesThatARowDependsOnItsPlace) {
  const Seen placed = seen(R"(
def forward(self, x):
  return x.flatten(1) * (torch.arange(x.size(0)) + 1.0).unsqueeze(1)
)");
  EXPECT_EQ(placed.of("aten::mul").images.slabs, 1);
  EXPECT_FALSE(placed.layout.rows_alike);
}

// Five numbers a row are summed in another order in some rows, which images do not show that are
// hardly ever more than two of them.
TEST(BatchLayout, SeesThatASumDependsOnItsPlaceThoughTheImagesShowNone) {
  auto random = at::make_generator<at::CPUGeneratorImpl>(3);
  const at::Tensor one = at::randn({1, 5}, random, at::kFloat).expand({kBatch, 5}).contiguous();
  const at::Tensor sums = one.mm(at::arange(50, at::kFloat).sin().view({10, 5}).t());
  if (sums.eq(sums[0]).all().item<bool>()) GTEST_SKIP() << "rows are alike here";
  const auto rows_alike = [](const std::string& values, const std::string& product) {
    return seen("\ndef forward(self, x):\n  y = torch.relu(x.flatten(1)" + values +
                " - 1.0)\n  w = torch.sin(torch.arange(50.0)).view(10, 5)\n  return " + product +
                "\n")
        .layout.rows_alike;
  };
  EXPECT_FALSE(rows_alike("[:, :5]", "torch.mm(y, w.t())"));
  EXPECT_TRUE(rows_alike("[:, :5]", "(y.unsqueeze(1) * w).amax(2)"));
  // Operands in a list.
  EXPECT_FALSE(
      rows_alike("[:, :15].view(-1, 3, 5)", "torch.einsum('bki,ji->bkj', [y, w]).flatten(1)"));
}

TEST(BatchLayout, RefusesWhatHoldsNoRealNumbersOrIsNotOfTheBatch) {
  const Seen other = seen(R"(
def forward(self, x):
  whole = torch.relu(x.double()).float()
  count = torch.floor_divide((x * 4.0).long(), 2)
  total = torch.tanh(x.sum([0, 2, 3]))
  return whole.flatten(1) + total.flatten().sum() * 0.0 + count.flatten(1) * 0.0
)");
  EXPECT_EQ(other.of("aten::relu").refusal, "");
  EXPECT_EQ(other.of("aten::relu").type, ValueType::kFloat64);
  EXPECT_EQ(other.of("aten::floor_divide").refusal, "holds Long, no real numbers");
  EXPECT_EQ(other.of("aten::tanh").refusal,
            "its output [3] is not one slab per image of a batch of 4");
}

TEST(BatchLayout, SaysWhyANetworkIsUnfit) {
  EXPECT_THAT(
      seen("def forward(self, x):\n  return (x + torch.randn_like(x)).flatten(1)\n").layout.unfit,
      HasSubstr("it draws random numbers (aten::randn_like)"));
  EXPECT_THAT(seen("def forward(self, x):\n  return (x - x.mean()).flatten(1)\n").layout.unfit,
              HasSubstr("depends on the other images of its batch"));
  EXPECT_THAT(seen(R"(
def forward(self, x):
  x = x.flatten(1)
  if bool(x[0, 0] > 1000.0):
    x = x * 2.0
  return x
)")
                  .layout.unfit,
              HasSubstr("it branches or loops on values"));
  EXPECT_THAT(error_of([] { seen("def forward(self, x):\n  return x.relu()\n"); }),
              HasSubstr("answer has shape [4x3x4x4]; a classifier gives [4 x classes]"));
}

// An operator that hands its operand back and does not say so: LibTorch drops the write to what it
// has handed back.
at::Tensor itself(const at::Tensor& tensor) { return tensor; }
TORCH_LIBRARY(bitfall_test, library) { library.def("itself(Tensor x) -> Tensor", &itself); }

TEST(BatchLayout, ANetworkThatIsReadAsAnotherIsUnfit) {
  const auto module = scripted_module(R"(
def forward(self, x):
  y = x.flatten(1) * 2.0
  z = torch.relu(y)
  z.add_(1.0)
  return z if x.size(0) > 40 else y
)");
  EXPECT_EQ(seen(module).layout.unfit, "");
  for (torch::jit::Node* node : module.get_method("forward").graph()->nodes()) {
    if (node->kind() != c10::aten::relu) continue;
    node->replaceWithNewSymbol(c10::Symbol::fromQualString("bitfall_test::itself"));
    node->destroy();
    break;
  }
  EXPECT_THAT(seen(module).layout.unfit,
              testing::MatchesRegex("LibTorch's freezing changes what it computes: its answers are "
                                    "off by [0-9.]+ % of the largest; export it as .*pt2.*"));
  // What the network itself cannot tell apart is not different.
  EXPECT_EQ(
      seen("def forward(self, x):\n  y = x.flatten(1) * 0.0 / 0.0\n  return y\n").layout.unfit, "");
}

// One row exchanged shows none of these: the extremes lie in other rows, or are always reached.
TEST(BatchLayout, RefusesReductionsOverTheBatchThatOneRowNeedNotMove) {
  for (const char* scale : {"x.abs().max()", "x.median()", "x.flatten().quantile(0.9)",
                            "(x * 1e9).sigmoid().max()", "x.amax(0).amax()"}) {
    const Seen whole =
        seen(std::string("def forward(self, x):\n  return x.flatten(1) / (1.0 + ") + scale + ")\n");
    EXPECT_THAT(whole.layout.unfit, HasSubstr("depends on the other images of its batch")) << scale;
    EXPECT_NE(whole.of("aten::div").refusal, "") << scale;
  }
  const Seen own = seen(
      "def forward(self, x):\n  x = x.flatten(1)\n"
      "  return x / (1.0 + x.amax(1, True))\n");
  EXPECT_EQ(own.layout.unfit, "");
  EXPECT_EQ(own.of("aten::div").refusal, "");
}

TEST(BatchLayout, RefusesSizesAndOrdersThatValuesDecide) {
  const Seen some = seen(R"(
def forward(self, x):
  y = x.flatten(1)
  kept = torch.tanh(y[y[:, 0] > -1000.0])
  z = torch.zeros_like(y)
  order = torch.argsort(y[:, 1])
  z[order] = torch.sigmoid(y[order])
  return torch.relu(z) + 0.0 * kept.sum()
)");
  EXPECT_EQ(some.of("aten::tanh").refusal, "its size depends on the images' values");
  EXPECT_NE(some.of("aten::sigmoid").refusal, "");
  EXPECT_EQ(some.of("aten::relu").refusal, "");
}

TEST(BatchLayout, RefusesProductsOfAsManyRowsAsValuesDecide) {
  for (const char* rows : {"(y[:, 0] > 0).nonzero().squeeze(1)", "torch.where(y[:, 0] > 0)[0]",
                           "(y[:, 0] > 0).nonzero_numpy()[0]"}) {
    SCOPED_TRACE(rows);
    const Seen some =
        seen(std::string("def forward(self, x):\n  y = x.flatten(1)\n  rows = ") + rows +
             "\n  z = torch.zeros_like(y)\n"
             "  z[rows] = torch.mm(y[rows], torch.ones(48, 48))\n  return z\n");
    EXPECT_EQ(some.of("aten::mm").refusal, "its size depends on the images' values");
    EXPECT_THAT(some.layout.unfit, HasSubstr("decide the size of aten::index"));
  }
}

TEST(BatchLayout, BranchesThatOnlyRaiseDecideNothing) {
  EXPECT_EQ(seen(R"(
def forward(self, x):
  assert bool(x.max() < 1e35), "too large"
  return x.flatten(1)
)")
                .layout.unfit,
            "");
}

TEST(BatchLayout, TellsProbabilitiesFromLogits) {
  EXPECT_TRUE(
      seen("def forward(self, x):\n  return x.flatten(1).softmax(1)\n").layout.probabilities);
  EXPECT_TRUE(
      seen("def forward(self, x):\n  return x.flatten(1).sigmoid()\n").layout.probabilities);
  EXPECT_FALSE(seen("def forward(self, x):\n  return x.flatten(1)\n").layout.probabilities);
  EXPECT_FALSE(
      seen("def forward(self, x):\n  return x.flatten(1).log_softmax(1)\n").layout.probabilities);
}

}  // namespace
}  // namespace bitfall::batch_layout_test
