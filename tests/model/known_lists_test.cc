// Growing lists made at once.
#include "known_lists.h"

#include <gtest/gtest.h>

#include "compiled_module.h"

namespace bitfall::known_lists_test {
namespace {

TEST(KnownLists, GrowWhileTheyAreRead) {
  const CompiledGraph compiled = compiled_and_right(R"(
def forward(self, x):
  maps = [x]
  for i in range(3):
    maps.append(torch.cat(maps, 1) * float(i + 2))
  return torch.cat(maps, 1)
)");
  EXPECT_EQ(count(compiled, "aten::append"), 0U);
  EXPECT_TRUE(compiled.writes.empty());
  for (std::size_t i = 1; i < compiled.steps.size(); ++i) {  // each in front of its own reader
    if (compiled.steps[i].function != "aten::cat") continue;
    EXPECT_EQ(compiled.steps[i - 1].function, "prim::ListConstruct");
    EXPECT_EQ(compiled.steps[i - 1].out[0], compiled.steps[i].in[0]);
  }
  EXPECT_EQ(count(compiled, "prim::ListConstruct"), 4U);
}

TEST(KnownLists, GrowByOtherListsAndBySums) {
  const CompiledGraph compiled = compiled_and_right(R"(
def forward(self, x):
  more = [x * 2.0]
  y = torch.cat(more, 0)
  more.append(y)
  maps = [x]
  z = torch.cat(maps, 1)
  maps.extend(more)
  more.append(z)
  y = torch.cat(maps, 0)
  maps += [y, x * 3.0]
  return torch.cat(maps, 0) + torch.cat(more[1:2], 0).sum() + maps[-1].sum() + float(len(maps))
)");
  EXPECT_EQ(count(compiled, "aten::append"), 0U);
  EXPECT_EQ(count(compiled, "aten::extend"), 0U);
  EXPECT_EQ(count(compiled, "aten::add_"), 0U);
  EXPECT_TRUE(compiled.writes.empty());
}

// LibTorch takes the two for one when it freezes a network.
TEST(KnownLists, AreReadAgainWhenATensorInThemHasChanged) {
  compiled_and_right(R"(
def forward(self, x):
  y = torch.tanh(x)
  maps = [y, x]
  before = torch.cat(maps, 1)
  y.add_(1.0)
  return before + torch.cat(maps, 1)
)");
}

// Where the list itself goes on into something else, or grows by what is not known, it stays a list
// that grows.
TEST(KnownLists, StayWhereTheyAreHandedOn) {
  for (const char* code : {R"(
def forward(self, x):
  maps = [x]
  both = [maps, maps]
  y = torch.cat(maps, 0)
  maps.append(y)
  return torch.cat(both[x.dim() - 2], 0)
)",
                           R"(
def forward(self, x):
  maps = [x]
  if bool(x.sum() > 100.0):
    maps.append(x)
  y = torch.cat(maps, 0)
  maps.append(y)
  return torch.cat(maps, 0)
)",
                           R"(
def forward(self, x):
  maps = [x]
  y = torch.cat(maps, 0)
  maps.extend(torch.split(y, 1))
  z = torch.cat(maps, 0)
  maps.append(z)
  return torch.cat(maps, 0)
)"}) {
    SCOPED_TRACE(code);
    EXPECT_GT(count(compiled_and_right(code), "aten::append"), 0U);
  }
}

}  // namespace
}  // namespace bitfall::known_lists_test
