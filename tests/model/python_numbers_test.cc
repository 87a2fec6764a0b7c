// The oracle is Python, which computes the same at test time.
#include "python_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "python_oracle.h"

namespace bitfall::python_numbers_test {
namespace {

// "i 3", "b 1", "f 4600..." (its bits) or "raises".
std::string told(const c10::IValue& value) {
  if (value.isBool()) return value.toBool() ? "b 1" : "b 0";
  if (value.isInt()) return "i " + std::to_string(value.toInt());
  return "f " + std::to_string(std::bit_cast<std::int64_t>(value.toDouble()));
}

c10::IValue read_number(std::istream& in) {
  char kind = 0;
  std::int64_t value = 0;
  in >> kind >> value;
  if (kind == 'b') return value != 0;
  if (kind == 'i') return value;
  return std::bit_cast<double>(value);
}

TEST(PythonNumbers, AreWhatPythonComputes) {
  if (!has_python()) GTEST_SKIP() << "no Python with PyTorch at " << BITFALL_PYTHON;
  std::istringstream lines(run_script("make_python_numbers.py", {}));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    std::istringstream words(line);
    std::string target;
    int operands = 0;
    words >> target >> operands;
    std::vector<c10::IValue> values;
    for (int i = 0; i < operands; ++i) values.push_back(read_number(words));
    std::string want;
    std::getline(words >> std::ws, want);
    const PythonNumber operation = python_number(target);
    ASSERT_NE(operation, nullptr) << target;
    std::string got = "raises";
    try {
      got = told(operation(values));
    } catch (const std::invalid_argument&) {
    }
    EXPECT_EQ(got, want) << line;
  }
  EXPECT_GT(count, 5000);
}

TEST(PythonNumbers, RefuseWhatTheyDoNotHave) {
  EXPECT_EQ(python_number("torch.ops.aten.add.Tensor"), nullptr);
  EXPECT_EQ(python_number("_operator.getitem"), nullptr);
  EXPECT_THROW(python_number("_operator.add")({std::int64_t{1}}), std::invalid_argument);
  EXPECT_THROW(python_number("_operator.neg")({}), std::invalid_argument);
  EXPECT_THROW(python_number("_operator.add")({std::string("1"), std::int64_t{1}}),
               std::invalid_argument);
}

}  // namespace
}  // namespace bitfall::python_numbers_test
