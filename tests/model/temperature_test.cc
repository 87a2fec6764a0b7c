#include "temperature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "error.h"

namespace bitfall::temperature_test {
namespace {

using testing::HasSubstr;

// Logits that are right so often as softmax at temperature `truth` says.
ScaledAnswers made_answers(double truth, int images = 4000) {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal(0, 3);
  std::uniform_real_distribution<double> uniform;
  ScaledAnswers answers;
  for (int i = 0; i < images; ++i) {
    std::vector<float> row(5);
    double sum = 0;
    for (float& logit : row) sum += std::exp((logit = normal(random)) / truth);
    double left = uniform(random) * sum;
    std::int32_t label = 0;
    for (; label < 4; ++label) {
      left -= std::exp(row[static_cast<std::size_t>(label)] / truth);
      if (left < 0) break;
    }
    answers.logits.push_back(row);
    answers.labels.push_back(label);
  }
  return answers;
}

TEST(Temperature, HasTheLossesOfDividedLogits) {
  const ScaledAnswers answers{{{1, 2, 4}, {0, 0, 0}}, {2, 1}};
  const double first = std::log(std::exp(0.5) + std::exp(1) + std::exp(2)) - 2;
  EXPECT_NEAR(answers.nll(2), (first + std::log(3)) / 2, 1e-14);
  const double p = std::exp(2) / (std::exp(0.5) + std::exp(1) + std::exp(2));
  EXPECT_NEAR(answers.top2diff(2), (p - p * std::exp(-1)) / 2, 1e-14);
  const ScaledAnswers huge{{{-3e38f, 3e38f}}, {0}};
  EXPECT_TRUE(std::isfinite(huge.nll(1024)));
}

TEST(Temperature, IsFoundWhereTheLossIsSmallest) {
  const ScaledAnswers answers = made_answers(2.5);
  const double fitted = fit_temperature(answers);
  EXPECT_NEAR(fitted, 2.5, 0.25);  // what made the labels, within its sampling
  for (const double other : {0.999, 1.001}) {
    EXPECT_GT(answers.nll(other * fitted), answers.nll(fitted));
  }
  // The derivative by 1 / T is 0 there.
  const double step = 1e-5;
  EXPECT_NEAR((answers.nll(fitted * (1 + step)) - answers.nll(fitted * (1 - step))) / (2 * step), 0,
              1e-6);
}

TEST(Temperature, IsFoundWhereAMeasureHasAValue) {
  const ScaledAnswers answers = made_answers(2.5);
  const double by_margin =
      match_temperature(answers, ScaleMeasure::kTop2diff, answers.top2diff(7), 0);
  EXPECT_NEAR(by_margin, 7, 1e-9);
  // Two temperatures have this NLL, one on each side of the best.
  const double nll = answers.nll(8);
  EXPECT_NEAR(match_temperature(answers, ScaleMeasure::kNll, nll, answers.top2diff(8)), 8, 1e-6);
  const double sharp = match_temperature(answers, ScaleMeasure::kNll, nll, 1);
  EXPECT_LT(sharp, 2.5);
  EXPECT_NEAR(answers.nll(sharp), nll, 1e-9);
}

void expect_unfit(const std::function<void()>& call, const std::string& why) {
  try {
    call();
    ADD_FAILURE() << "not refused: " << why;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr(why));
  }
}

TEST(Temperature, SaysWhereThereIsNone) {
  const ScaledAnswers right{{{0, 3}, {5, 1}}, {1, 0}}, wrong{{{0, 3}, {5, 1}}, {0, 1}};
  expect_unfit([&] { fit_temperature(right); }, "all 2 images are right");
  expect_unfit([&] { fit_temperature(wrong); }, "say nothing of these labels");
  expect_unfit([&] { fit_temperature({}); }, "no image");
  expect_unfit([&] { fit_temperature({{{0, std::nanf("")}}, {0}}); }, "image 0 has a logit");
  const ScaledAnswers answers = made_answers(2, 200);
  expect_unfit([&] { match_temperature(answers, ScaleMeasure::kTop2diff, 1.5, 0); },
               "no temperature gives the top2diff 1.5");
  expect_unfit([&] { match_temperature(answers, ScaleMeasure::kNll, 0.001, 0); },
               "no temperature gives the NLL 0.001");
}

}  // namespace
}  // namespace bitfall::temperature_test
