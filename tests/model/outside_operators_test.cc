#include "outside_operators.h"

#include <gtest/gtest.h>

namespace bitfall::outside_operators_test {
namespace {

TEST(OutsideOperators, AreThoseThatWriteFilesOrTalkToMachines) {
  for (const char* name : {"aten::save", "aten::from_file", "aten::from_file.out", "c10d::send",
                           "_c10d_functional::all_reduce", "symm_mem::one_shot_all_reduce",
                           "prim::rpc_async", "debugprims::load_tensor"}) {
    EXPECT_TRUE(acts_outside(name)) << name;
  }
  for (const char* name : {"aten::conv2d", "aten::save_me", "prim::Print", "quantized::linear", "",
                           "aten", "c10d_like::x"}) {
    EXPECT_FALSE(acts_outside(name)) << name;
  }
}

TEST(OutsideOperators, AreFoundInTheCodeOfAModule) {
  EXPECT_EQ(outside_use("def forward(self, x):\n  torch.save(x, \"FILE\")\n  return x\n"),
            "torch.save in line 2");
  EXPECT_EQ(outside_use("y = (torch.from_file)(\"FILE\", True, 4)"), "torch.from_file in line 1");
  EXPECT_EQ(outside_use("\n\n_0 = ops.c10d.send(x, pg, 1, 2)"), "ops.c10d.send in line 3");
  EXPECT_EQ(outside_use("fut = rpc_async(\"w\", f, ())"), "rpc_async in line 1");
}

TEST(OutsideOperators, AreNoNamesInTextsAndComments) {
  for (const char* code :
       {"", "x = torch.add(x, 1)", "ops.prim.RaiseException(\"torch.save(x)\")",
        "# torch.save(x, \"FILE\")\nreturn x", "x = \"a\\\"torch.save\"", "self.torch.save(x)",
        "ops.torchvision.nms(boxes)", "torch.save_weights(x)", "y = 'torch.save'", "x = \"open"}) {
    EXPECT_EQ(outside_use(code), "") << code;
  }
}

}  // namespace
}  // namespace bitfall::outside_operators_test
