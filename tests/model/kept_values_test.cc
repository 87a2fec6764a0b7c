// Random networks full of views, lists and writes in place: the same answers, bit for bit, from
// every step on, also where an image has been put into another one's table. The oracle is
// TorchScript's own interpreter.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <random>
#include <string>
#include <vector>

#include "compile_graph.h"
#include "scripted_module.h"
#include "steps.h"

namespace bitfall::kept_values_test {
namespace {

// Code of a network: tensors of one shape, each image by itself.
class Writer {
 public:
  explicit Writer(unsigned seed) : random_(seed) {}

  std::string network() {
    text_ = "def forward(self, x):\n  v0 = torch.tanh(x)\n  l0 = [v0]\n";
    const int lines = 6 + pick(10);
    for (int i = 0; i < lines; ++i) add_line();
    text_ += "  r = torch.stack(l0).sum(0)\n";
    for (int i = 1; i < lists_; ++i) text_ += "  r = r + torch.stack(" + list(i) + ").sum(0)\n";
    text_ += "  return r";
    for (int i = 0; i < tensors_; ++i) text_ += " + " + tensor(i);
    return text_ + "\n";
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<unsigned>(count)); }
  static std::string tensor(int i) { return "v" + std::to_string(i); }
  static std::string list(int i) { return "l" + std::to_string(i); }
  std::string any() { return tensor(pick(tensors_)); }
  std::string any_list() { return list(pick(lists_)); }
  std::string fresh() { return tensor(tensors_); }

  void add(const std::string& line) { text_ += "  " + line + "\n"; }
  // A new tensor, made of what `code` says, which may name those there are.
  void define(const std::string& code) {
    add(fresh() + " = " + code);
    ++tensors_;
  }

  void add_line() {
    switch (pick(19)) {
      case 0:
        return define("torch.tanh(" + any() + ")");
      case 1:
        return define(any() + " * 0.5 + " + any());
      case 2:
        return define(any() + ".transpose(2, 3)");
      case 3:
        return define(any() + ".flip([1])");
      case 4:
        return define(any() + ".reshape([-1, 4, 3, 3])");
      case 5:
        return define(any() + "[:, :, ::2].repeat([1, 1, 2, 1])[:, :, 1:]");
      case 6:
        return define("torch.dropout(" + any() + ", 0.5, False)");
      case 7:
        return define(any() + ".contiguous()");
      case 8:
        return define(any() + ".mul_(0.75)");
      case 9:
        return define(any() + ".add_(" + any() + " * 0.25)");
      case 10:
        return define(any() + ".sigmoid_()");
      case 11: {  // a part of it
        const std::string whole = any(), part = "p" + std::to_string(tensors_);
        add(part + " = " + whole + "[:, " + std::to_string(pick(2)) + ":3]");
        return define(whole + " + " + part + ".sub_(" + any() + "[:, 1:2] * 0.5).sum(1, True)");
      }
      case 12:
        add(list(lists_) + " = [" + any() + ", " + any() + "]");
        ++lists_;
        return;
      case 13:
        return add(any_list() + ".append(" + any() + ")");
      case 14:
        return define(any_list() + "[0]");
      case 15:
        return define(any_list() + "[x.dim() - 4]");
      case 16:
        return define("torch.stack(" + any_list() + ").mean(0)");
      case 17: {
        const std::string one = any(), other = any();
        add("if bool(x.abs().sum() >= 0.0):");
        add("  " + fresh() + " = " + one + (pick(2) ? ".mul_(0.5)" : ".transpose(2, 3)"));
        add("else:");
        add("  " + fresh() + " = " + other);
        ++tensors_;
        return;
      }
      default: {
        const std::string counter = "n" + std::to_string(tensors_);
        add(counter + " = 0");
        add(fresh() + " = " + any());
        add("while bool(x.abs().sum() >= 0.0) and " + counter + " < 2:");
        add("  " + fresh() + " = " + fresh() + (pick(2) ? ".mul_(0.5)" : " * 0.5"));
        add("  " + counter + " += 1");
        ++tensors_;
        return;
      }
    }
  }

  std::mt19937 random_;
  std::string text_;
  int tensors_ = 1, lists_ = 1;
};

Slots start(const CompiledGraph& compiled, const at::Tensor& image) {
  Slots slots = compiled.fixed;
  slots[static_cast<std::size_t>(compiled.input)] = image.clone();
  return fork(compiled, slots, 0);
}

at::Tensor finish(const CompiledGraph& compiled, Slots slots, std::size_t from) {
  for (std::size_t i = from; i < compiled.steps.size(); ++i) execute(compiled.steps[i], slots);
  return slots[static_cast<std::size_t>(compiled.output)].toTensor();
}

// Puts the other table's second image into a copy of this table, as a pass does.
Slots mixed(const CompiledGraph& compiled, const std::vector<Lifetime>& lifetimes,
            const Slots& mine, const Slots& other, int at) {
  Slots slots = fork(compiled, mine, at);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const bool lives = lifetimes[slot].lives_at(at);
    if (!lives || !slots[slot].isTensor() || slots[slot].toTensor().dim() < 4) continue;
    at::Tensor value = slots[slot].toTensor();
    if (value.is_alias_of(mine[slot].toTensor())) {
      value = at::empty_strided(value.sizes(), value.strides()).copy_(value);
    }
    const std::int64_t images = value.dim() - 4;  // behind what torch.stack puts in front
    value.select(images, 1).copy_(other[slot].toTensor().select(images, 1));
    slots[slot] = value;
  }
  return slots;
}

bool holds_lists(const Slots& slots, const std::vector<Lifetime>& lifetimes, int at) {
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (lifetimes[slot].made >= 0 && lifetimes[slot].lives_at(at) && slots[slot].isList()) {
      return true;
    }
  }
  return false;
}

TEST(KeptValues, OfRandomNetworksAreRight) {
  const c10::InferenceMode guard;
  int kept = 0, put = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    const std::string code = Writer(seed).network();
    SCOPED_TRACE(code);
    torch::jit::Module module = scripted_module(code);
    const CompiledGraph compiled = compile(module_graph(module));
    const auto lifetimes = find_lifetimes(compiled);
    const at::Tensor one = at::randn({2, 4, 3, 3}), two = at::randn({2, 4, 3, 3});
    // Its optimisations, from the second call on, give other answers where lists are written to.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    const at::Tensor first = module.forward({one.clone()}).toTensor();
    const at::Tensor second = module.forward({two.clone()}).toTensor();
    Slots mine = start(compiled, one), other = start(compiled, two);
    // All of both kept to the end, where nothing changes later.
    Slots golden = mine, golden_other = other;
    if (compiled.writes.empty()) {
      ++kept;
      for (const Instruction& step : compiled.steps) execute(step, golden);
      for (const Instruction& step : compiled.steps) execute(step, golden_other);
    }
    for (std::size_t i = 0; i <= compiled.steps.size(); ++i) {
      const auto at = static_cast<int>(i);
      const Slots& front = compiled.writes.empty() ? golden : mine;
      const Slots& beside = compiled.writes.empty() ? golden_other : other;
      ASSERT_TRUE(finish(compiled, fork(compiled, front, at), i).equal(first)) << "step " << i;
      if (!holds_lists(front, lifetimes, at)) {
        ++put;
        const at::Tensor got = finish(compiled, mixed(compiled, lifetimes, front, beside, at), i);
        ASSERT_TRUE(got[0].equal(first[0])) << "step " << i;
        ASSERT_TRUE(got[1].equal(second[1])) << "step " << i;
      }
      if (i == compiled.steps.size()) break;
      execute(compiled.steps[i], mine);
      execute(compiled.steps[i], other);
    }
  }
  EXPECT_GT(kept, 100);
  EXPECT_GT(put, 2000);
}

}  // namespace
}  // namespace bitfall::kept_values_test
