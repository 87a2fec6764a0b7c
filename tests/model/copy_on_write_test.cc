// Steps that write in place to copies. The oracle is TorchScript's own interpreter.
#include "copy_on_write.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>

#include "compile_graph.h"
#include "scripted_module.h"

namespace bitfall::copy_on_write_test {
namespace {

struct Case {
  const char* what;
  const char* code;
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.what; }

class Copied : public testing::TestWithParam<Case> {};
class Shared : public testing::TestWithParam<Case> {};

// Runs it twice from each step on, of one table, as the engine does.
void expect_right(const CompiledGraph& compiled, torch::jit::Module module) {
  const c10::InferenceMode guard;
  const at::Tensor image = at::randn({2, 4, 3, 3});
  const at::Tensor want = module.forward({image.clone()}).toTensor();
  Slots front = compiled.fixed;
  front[static_cast<std::size_t>(compiled.input)] = image.clone();
  front = fork(compiled, front, 0);
  for (std::size_t at = 0; at <= compiled.steps.size(); ++at) {
    for (int repeat = 0; repeat < 2; ++repeat) {
      Slots slots = fork(compiled, front, static_cast<int>(at));
      for (std::size_t i = at; i < compiled.steps.size(); ++i) execute(compiled.steps[i], slots);
      const at::Tensor got = slots[static_cast<std::size_t>(compiled.output)].toTensor();
      EXPECT_TRUE(at::equal(got, want)) << "from step " << at << ", repeat " << repeat;
      EXPECT_EQ(got.strides(), want.strides());
    }
    if (at < compiled.steps.size()) execute(compiled.steps[at], front);
  }
}

TEST_P(Copied, ValuesStayWhatTheyAre) {
  const c10::InferenceMode guard;
  const auto module = scripted_module(GetParam().code);
  const CompiledGraph compiled = compile(module_graph(module));
  EXPECT_TRUE(compiled.writes.empty());
  expect_right(compiled, module);
  // All that has been computed is as it was when the steps behind it have run.
  Slots slots = compiled.fixed;
  slots[static_cast<std::size_t>(compiled.input)] = at::randn({2, 4, 3, 3});
  std::map<int, at::Tensor> made;
  made[compiled.input] = slots[static_cast<std::size_t>(compiled.input)].toTensor().clone();
  bool wrote = false;
  for (const Instruction& step : compiled.steps) {
    execute(step, slots);
    wrote |= step.in_place();
    for (const int slot : step.out) {
      const c10::IValue& value = slots[static_cast<std::size_t>(slot)];
      if (value.isTensor()) made[slot] = value.toTensor().clone();
    }
  }
  EXPECT_TRUE(wrote);  // else nothing is shown
  for (const auto& [slot, value] : made) {
    EXPECT_TRUE(at::equal(slots[static_cast<std::size_t>(slot)].toTensor(), value));
  }
}

INSTANTIATE_TEST_SUITE_P(Writes, Copied,
                         testing::Values(Case{"a part of a concatenation that nothing else reads",
                                              R"(
def forward(self, x):
  y = torch.cat([x, x * 2.0], 1)[:, :5]
  y.add_(x[:, :1])
  y.mul_(torch.sigmoid(y))
  return y.relu() + y
)"},
                                         Case{"a transposed view, whose strides the answer has", R"(
def forward(self, x):
  y = (x * 2.0).transpose(1, 2)[:, :, 1:]
  y.mul_(3.0)
  return y
)"},
                                         Case{"the image itself", R"(
def forward(self, x):
  x.sub_(0.5)
  return x.mul_(2.0).flatten(1)
)"},
                                         Case{"what a conditional and a loop read behind it", R"(
def forward(self, x):
  y = x.view([2, -1])
  y.mul_(2.0)
  n = 0
  if bool(y.sum() > 0.0):
    z = y * 2.0
  else:
    z = -y
  while bool(z.sum() < 100.0) and n < 3:
    z = z + y.abs()
    n += 1
  return z
)"},
                                         Case{"the whole of it, later", R"(
def forward(self, x):
  whole = x * 2.0
  part = whole[:, 1:]
  part.add_(1.0)
  return whole + part.sum()
)"},
                                         Case{"the whole of it, in a branch", R"(
def forward(self, x):
  whole = x * 2.0
  part = whole[:, 1:]
  part.add_(1.0)
  if bool(x.sum() > 100.0):
    y = x
  else:
    y = whole
  return y
)"},
                                         Case{"the answer", R"(
def forward(self, x):
  whole = x * 2.0
  whole[:, 0] = 0.0
  return whole
)"},
                                         Case{"several parts, of which one lies in another", R"(
def forward(self, x):
  whole = x * 2.0
  left, right = whole[:, :3], whole[:, 2:]
  left.add_(1.0)
  right.mul_(2.0)
  left[:, 1:].sub_(right[:, :2] * 3.0)
  bits = whole.flatten()
  bits[::2] = 0.0
  return whole + left.sum() + right.sum() + x
)"},
                                         Case{"what its conjugate names", R"(
def forward(self, x):
  z = torch.fft_fft(x)
  c = z.conj()
  c.add_(1.0)
  c[:, 1:].mul_(2.0)
  return torch.view_as_real(z)[:, :, :, :, 1] + torch.view_as_real(torch.resolve_conj(c)).sum()
)"},
                                         Case{"the image by a name that is read again", R"(
def forward(self, x):
  part = x[:, 1:]
  part.add_(1.0)
  return x + part.sum()
)"},
                                         Case{"what an operator has handed back", R"(
def forward(self, x):
  whole = torch.sigmoid(x)
  same = whole.type_as(x)
  again = same.mul_(2.0)
  other = torch.tanh(x)
  kept = torch.dropout(other, 0.5, False)
  other.relu_()
  return whole + again + kept
)"},
                                         Case{"an element of a list that is exchanged", R"(
def forward(self, x):
  l = [x, x * 2.0]
  y = torch.cat(l, 1)
  l[0] = y[:, 1:]
  return torch.cat(l, 1) + torch.cat(l[:1], 1).sum() + y.sum()
)"}));

TEST_P(Shared, WritesStayWhereAContainerReads) {
  const c10::InferenceMode guard;
  const auto module = scripted_module(GetParam().code);
  const CompiledGraph compiled = compile(module_graph(module));
  EXPECT_FALSE(compiled.writes.empty());
  expect_right(compiled, module);
}

INSTANTIATE_TEST_SUITE_P(Writes, Shared,
                         testing::Values(Case{"a list that holds it", R"(
def forward(self, x):
  part = (x * 2.0)[:, 1:]
  l = [part, x[:, 1:]]
  both = [l, l]
  again = part.add_(1.0)
  return torch.cat(both[x.dim() - 4], 1) + again.sum()
)"},
                                         Case{"a tuple that holds it", R"(
def forward(self, x):
  part = (x * 2.0)[:, 1:]
  if bool(x.sum() > 100.0):
    both = (x[:, 1:], part)
  else:
    both = (part, x[:, 1:])
  again = part.add_(1.0)
  return both[0] + again.sum()
)"},
                                         Case{"what takes other sizes in place", R"(
def forward(self, x):
  y = x * 2.0
  z = y.contiguous()
  z.transpose_(2, 3)
  return y * 3.0 + z.sum()
)"},
                                         Case{"what has been given another's memory", R"(
def forward(self, x):
  y = x * 2.0
  z = torch.zeros([0])
  z.set_(y)
  z.mul_(3.0)
  return y + z.sum()
)"},
                                         Case{"by a name that it has had earlier", R"(
def forward(self, x):
  y = x * 2.0
  l = [y, x * 3.0]
  both = [l, l]
  l[0] = l[1] * 2.0
  first = both[x.dim() - 4]
  first[0].relu_()
  second = first[1].mul_(2.0)
  return torch.cat(l, 1) + second.sum()
)"},
                                         Case{"what a branch writes to", R"(
def forward(self, x):
  whole = x * 2.0
  if bool(x.sum() > -1000.0):
    whole.add_(1.0)
  return whole
)"},
                                         Case{"a list by its other name", R"(
def forward(self, x):
  l = [x]
  both = [l, l]
  y = torch.cat(l, 1)
  l[0] = y * 2.0
  return torch.cat(both[x.dim() - 4], 1)
)"}));

}  // namespace
}  // namespace bitfall::copy_on_write_test
