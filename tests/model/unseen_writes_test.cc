// Networks that LibTorch's passes would change: each is one that they did.
#include "unseen_writes.h"

#include <gtest/gtest.h>

#include "compiled_module.h"

namespace bitfall::unseen_writes_test {
namespace {

TEST(UnseenWrites, ReadingsOfWhatAContainerHoldsStayApart) {
  for (const char* code : {R"(
def forward(self, x):
  y = torch.tanh(x)
  maps = [y]
  maps.append(x)
  before = torch.stack(maps).mean(0)
  y.add_(1.0)
  return before + torch.stack(maps).mean(0)
)",
                           R"(
def forward(self, x):
  y = torch.tanh(x)
  maps = {"a": [y], "b": [x]}
  before = torch.stack(maps["a"]).mean(0)
  y.add_(1.0)
  return before + torch.stack(maps["a"]).mean(0)
)",
                           R"(
def forward(self, x):
  y = torch.tanh(x)
  maps = (y, [x, y])
  before = torch.cat(maps[1]).mean(0)
  maps[0].add_(1.0)
  return before + torch.cat(maps[1]).mean(0)
)"}) {
    SCOPED_TRACE(code);
    compiled_and_right(code);
  }
}

TEST(UnseenWrites, ReadingsInTheTurnsOfALoopStayApart) {
  compiled_and_right(R"(
def forward(self, x):
  y = torch.tanh(x)
  maps = [y]
  maps.append(x)
  total = x * 0.0
  for i in range(3):
    total = total + torch.stack(maps).mean(0)
    y.add_(1.0)
  return total
)");
}

// A fault hits one of them alone.
TEST(UnseenWrites, EachCallIsAStepOfItsOwn) {
  torch::jit::Module module("test");
  module.register_attribute("inplace", c10::BoolType::get(), false);
  module.define(R"(
def act(self, x):
  if self.inplace:
    y = torch.relu_(x)
  else:
    y = torch.relu(x)
  return y

def forward(self, x):
  y = torch.tanh(x)
  return self.act(y) + self.act(y) * 2.0
)");
  module.eval();
  EXPECT_EQ(count(compiled_and_right(module), "aten::relu"), 2U);
  module.setattr("inplace", true);
  EXPECT_EQ(count(compiled_and_right(module), "aten::relu"), 2U);
}

TEST(UnseenWrites, EachTurnOfALoopHasStepsOfItsOwn) {
  torch::jit::Module module("test");
  module.register_attribute("turns", c10::IntType::get(), 3);
  module.define(R"(
def forward(self, x):
  made = [torch.tanh(x)]
  for i in range(self.turns):
    made.append(torch.tanh(x))
  return torch.stack(made).median(0)[0]
)");
  module.eval();
  EXPECT_EQ(count(compiled_and_right(module), "aten::tanh"), 4U);
}

// As a script is compiled, LibTorch itself drops what nothing reads: here something may.
TEST(UnseenWrites, ToWhatIsHandedBackAreKept) {
  for (const char* operation :
       {"y.type_as(x)", "torch.atleast_2d(y)", "torch.broadcast_tensors(y)[0]",
        "torch.dropout(y, 0.5, False)", "torch.conj_physical(y)"}) {
    SCOPED_TRACE(operation);
    for (const char* write : {"z", "z[:, 0]"}) {
      const std::string code = std::string("def forward(self, x):\n  y = torch.tanh(x)\n  z = ") +
                               operation + "\n  " + write +
                               ".add_(1.0)\n  w = z if x.size(0) > 40 else y\n  return w * 2.0\n";
      const CompiledGraph compiled = compiled_and_right(code);
      EXPECT_EQ(count(compiled, "prim::Print"), 0U);
    }
  }
}

// Of two that are made alike one may be written to.
TEST(UnseenWrites, WhatIsMadeTwiceStaysTwo) {
  compiled_and_right(R"(
def forward(self, x):
  y = torch.tanh(x)
  w = torch.tanh(x)
  z = y
  while bool(z.sum() > 1e9):
    z = z * 0.7
  torch.relu_(z)
  return w + y
)");
}

TEST(UnseenWrites, ToWhatALoopWithoutATurnHandsBackAreKept) {
  for (const char* least : {"-1.0", "1e9"}) {  // one that ends after some turns, and one of none
    compiled_and_right(std::string(R"(
def forward(self, x):
  y = torch.tanh(x)
  z = y
  turns = 0
  while turns < 2 and bool(z.sum() > )") +
                       least + R"():
    z = z * 0.7
    turns += 1
  torch.relu_(z)
  return y * 2.0
)");
  }
}

// They would be where what they make is written to.
TEST(UnseenWrites, StepsAreNotMovedOverThem) {
  compiled_and_right(R"(
def forward(self, x):
  y = torch.tanh(x)
  w = y + 1.0
  z = y.type_as(x)
  z[:, 0].add_(1.0)
  w.mul_(0.5)
  return w + z * 0.1
)");
}

}  // namespace
}  // namespace bitfall::unseen_writes_test
