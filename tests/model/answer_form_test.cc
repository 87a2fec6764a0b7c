// Which of a network's results is its answer.
#include "answer_form.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "refusal.h"

namespace bitfall::answer_form_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

c10::IValue pair(const at::Tensor& a, const at::Tensor& b) {
  return c10::ivalue::Tuple::create({a, b});
}

TEST(AnswerForm, TakesWhatCanBeLogits) {
  const at::Tensor logits = at::randn({4, 5});
  EXPECT_TRUE(at::equal(answer_of(logits, 4, {}), logits));
  EXPECT_TRUE(at::equal(answer_of(logits.reshape({4, 5, 1, 1}), 4, {}), logits));
  EXPECT_TRUE(at::equal(answer_of(logits[0], 1, {}), logits.narrow(0, 0, 1)));
  EXPECT_TRUE(at::equal(answer_of(pair(at::randn({4, 8, 2, 2}), logits), 4, {}), logits));
  EXPECT_EQ(answer_of(logits.to(at::kDouble), 4, {}).scalar_type(), at::kFloat);
}

TEST(AnswerForm, LabelsAndClassesDecideAmongSeveral) {
  const c10::IValue both = pair(at::randn({4, 8}), at::randn({4, 5}));
  AnswerChoice choice;
  EXPECT_THAT(error_of([&] { choose_answer(both, 4, choice); }),
              AllOf(HasSubstr("\"0\" [4x8], \"1\" [4x5]"), HasSubstr("[model] output")));
  choice.classes = 5;
  EXPECT_EQ(choose_answer(both, 4, choice), "1");
  choice = {};
  choice.labels = 6;
  EXPECT_EQ(choose_answer(both, 4, choice), "0");
  choice = {};
  choice.output = "1";
  EXPECT_EQ(answer_of(both, 4, choice).size(1), 5);
  choice.output = "2";
  EXPECT_THAT(error_of([&] { choose_answer(both, 4, choice); }), HasSubstr("is not among"));
}

TEST(AnswerForm, FindsLogitsInADictionaryWithinATuple) {
  c10::Dict<std::string, at::Tensor> named;
  named.insert("hidden", at::randn({4, 5}));
  named.insert("logits", at::ones({4, 5}));
  const c10::IValue result = c10::ivalue::Tuple::create({at::randn({4, 9, 9}), c10::IValue(named)});
  EXPECT_EQ(choose_answer(result, 4, {}), "1.logits");
  EXPECT_TRUE(answer_of(result, 4, {}).eq(1).all().item<bool>());
}

TEST(AnswerForm, RefusesWhatIsNone) {
  EXPECT_THAT(error_of([] { answer_of(at::randn({4, 1}), 4, {}); }), HasSubstr("[0, z]"));
  EXPECT_THAT(error_of([] { answer_of(at::randn({4}), 4, {}); }), HasSubstr("[0, z]"));
  EXPECT_THAT(error_of([] { answer_of(at::randn({4, 5, 7, 7}), 4, {}); }),
              HasSubstr("a classifier gives [4 x classes]"));
  EXPECT_THAT(error_of([] { answer_of(pair(at::randn({3, 5}), at::randn({4, 5, 2})), 4, {}); }),
              HasSubstr("a classifier returns logits"));
}

}  // namespace
}  // namespace bitfall::answer_form_test
