#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "format_fixture.h"

namespace bitfall::table_format_test {
namespace {

namespace fs = std::filesystem;

fs::path folder() {
  static const fs::path path = [] {
    const fs::path made = fs::temp_directory_path() / ("table_test_" + std::to_string(::getpid()));
    fs::create_directories(made);
    return made;
  }();
  return path;
}

std::string written(const std::string& name, const std::string& text) {
  const fs::path path = folder() / name;
  std::ofstream(path, std::ios::binary) << text;
  return path.string();
}

/// As numpy.save writes it: [rows], or [rows, 2] of `columns`.
std::string npy(const std::string& name, const std::vector<float>& values, int columns = 1) {
  const std::size_t rows = values.size() / static_cast<std::size_t>(columns);
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(rows) + "," + (columns == 2 ? " 2" : "") + "), }";
  header.resize(117, ' ');
  header += '\n';
  std::string text("\x93NUMPY\x01\x00", 8);
  text += static_cast<char>(header.size());
  text += '\0';
  text += header;
  text.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return written(name, text);
}

FormatOptions table(const std::string& file, FormatOptions more = {}) {
  more.emplace_back("file", file);
  return more;
}

std::vector<float> numbers_of(const NumberFormat& format) {
  return decode(format, all_codes(format.registers()[0].bits));
}

/// Every float32 that differs from its neighbour in some format, as far as they are spread, and the
/// numbers of this one with what lies half-way and next to them.
std::vector<float> tried(const std::vector<float>& numbers) {
  std::vector<float> values = spread_floats(1 << 18);
  std::vector<float> sorted;
  std::copy_if(numbers.begin(), numbers.end(), std::back_inserter(sorted),
               [](float x) { return std::isfinite(x); });
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double next = i + 1 < sorted.size() ? sorted[i + 1] : 2.0 * sorted[i] - sorted[i - 1];
    for (const double middle : {double{sorted[i]}, (sorted[i] + next) / 2}) {
      const auto at = static_cast<float>(middle);
      for (const float x : {at, std::nextafter(at, -INFINITY), std::nextafter(at, INFINITY)}) {
        values.push_back(x);
        values.push_back(-x);
      }
    }
  }
  std::erase_if(values, [](float x) { return std::isnan(x); });
  values.push_back(float_of(0x7FC00000));
  values.push_back(float_of(0xFFC00000));
  return values;
}

void expect_same(const NumberFormat& ours, const NumberFormat& theirs, const std::string& id) {
  const std::vector<float> numbers = numbers_of(theirs);
  const std::vector<float> again = numbers_of(ours);
  ASSERT_EQ(0, std::memcmp(numbers.data(), again.data(), numbers.size() * sizeof(float))) << id;
  const std::vector<float> values = tried(numbers);
  const auto codes = encode(theirs, values), own = encode(ours, values);
  int wrong = 0;
  for (std::size_t i = 0; i < values.size() && wrong < 5; ++i) {
    if (codes[i] == own[i]) continue;
    ++wrong;
    ADD_FAILURE() << id << ": " << values[i] << " is code " << codes[i] << ", the table's "
                  << own[i];
  }
  std::vector<float> emulated = values;
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  ours.emulate(emulated, {shape, 0}, {});
  const std::vector<float> decoded = decode(ours, own);
  EXPECT_EQ(0, std::memcmp(emulated.data(), decoded.data(), decoded.size() * sizeof(float))) << id;
}

std::int64_t nan_code(const NumberFormat& format) {
  const float nan[] = {float_of(0x7FC00000)};
  return encode(format, nan)[0];
}

TEST(TableFormat, IsTheFormatThatItWasWrittenFrom) {
  const FormatOptions saturates = {{"overflow", std::string("saturate")}};
  const std::map<std::string, FormatOptions> rows = {
      {"fp16", {}},
      {"bf16", {}},
      {"fp8_e4m3", {}},
      {"fp8_e5m2", saturates},
      {"fp8_e4m3fnuz", {}},
      {"fp8_e5m2fnuz", {}},
      {"fp6_e3m2", {{"nan", std::string("largest")}}},
      {"fp6_e2m3", {{"nan", std::string("largest")}}},
      {"fp4_e2m1", {{"nan", std::string("largest")}}},
      {"fixed", {}},
  };
  for (const auto& [id, given] : rows) {
    const auto theirs = make_format(id);
    FormatOptions options = given;
    if (const auto code = nan_code(*theirs);
        std::isnan(numbers_of(*theirs)[static_cast<std::size_t>(code)])) {
      options.emplace_back("nan_code", code);
    }
    const auto ours = make_format("table", table(npy(id + ".npy", numbers_of(*theirs)), options));
    expect_same(*ours, *theirs, id);
    EXPECT_EQ(ours->largest({}), theirs->largest({})) << id;
    EXPECT_EQ(ours->traits().smallest, theirs->traits().smallest) << id;
  }
  const FormatOptions nan = {{"overflow", std::string("nan")}};
  const auto theirs = make_format("fp8_e4m3", nan);
  FormatOptions options = nan;
  options.emplace_back("nan_code", nan_code(*theirs));
  expect_same(*make_format("table", table(npy("nan.npy", numbers_of(*theirs)), options)), *theirs,
              "fp8_e4m3, overflow = nan");
}

// Posits round their bit strings, which is not to nearest: the file says where each code begins.
TEST(TableFormat, TakesTheFilesOwnBoundaries) {
  const auto key = [](float x) {
    const std::uint32_t bits = bits_of(x);
    return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
  };
  const auto number = [](std::uint32_t k) { return float_of(k >> 31 != 0 ? k & 0x7FFFFFFFU : ~k); };
  for (const std::string id : {"posit8", "posit16"}) {
    const auto theirs = make_format(id);
    const std::vector<float> numbers = numbers_of(*theirs);
    std::vector<float> from(numbers.size(), NAN);
    const auto code_at = [&](std::uint32_t k) {
      const float x[] = {number(k)};
      return encode(*theirs, x)[0];
    };
    const auto signed_code = [&](std::uint32_t code) {  // rises with the number
      const std::size_t half = numbers.size() / 2;
      return code >= half
                 ? static_cast<std::int64_t>(code) - static_cast<std::int64_t>(numbers.size())
                 : static_cast<std::int64_t>(code);
    };
    const std::uint32_t lowest = key(-3.4028235e38F), highest = key(3.4028235e38F);
    for (std::size_t code = 0; code < numbers.size(); ++code) {
      if (std::isnan(numbers[code])) continue;
      std::uint32_t below = lowest, at = key(numbers[code]);
      if (code_at(lowest) == code) at = lowest;
      while (at - below > 1 && at != lowest) {
        const std::uint32_t middle = below + (at - below) / 2;
        const bool reached =
            signed_code(code_at(middle)) >= signed_code(static_cast<std::uint32_t>(code));
        (reached ? at : below) = middle;
      }
      from[code] = number(at);
    }
    ASSERT_GT(highest, lowest);
    std::vector<float> both;
    for (std::size_t code = 0; code < numbers.size(); ++code) {
      both.push_back(numbers[code]);
      both.push_back(from[code]);
    }
    const auto ours =
        make_format("table", table(npy(id + ".npy", both, 2), {{"inf", std::string("nan")}}));
    expect_same(*ours, *theirs, id);
  }
}

TEST(TableFormat, RoundsAsItIsTold) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> inner(-1.4F, 1.4F);
  std::vector<float> numbers(32);
  for (float& x : numbers) x = inner(random);
  numbers[3] = 0;
  numbers[4] = 1.5F;
  numbers[5] = 2.5F;  // the tie at 2
  const std::string file = npy("rounds.npy", numbers);
  std::vector<float> values = {2.0F, -2.0F};
  for (int i = 0; i < 20000; ++i) values.push_back(2 * normal(random));
  const auto best = [&](float x, const auto& allowed) {
    double least = INFINITY;
    float found = NAN;
    for (const float n : numbers) {
      const double distance = std::fabs(double{x} - n);
      if (allowed(n) && distance < least) {
        least = distance;
        found = n;
      }
    }
    return found;
  };
  const auto expect = [&](const std::string& rule, const auto& wanted) {
    const auto format = make_format("table", table(file, {{"rounding", rule}}));
    const auto decoded = decode(*format, encode(*format, values));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float expected = wanted(values[i]);
      ASSERT_EQ(decoded[i], expected) << rule << " of " << values[i];
    }
  };
  const float top = *std::max_element(numbers.begin(), numbers.end());
  const float bottom = *std::min_element(numbers.begin(), numbers.end());
  const auto any = [](float) { return true; };
  const auto clamp = [&](float x) { return std::clamp(x, bottom, top); };
  expect("nearest", [&](float x) { return x == 2 ? 1.5F : best(x, any); });  // code 4 is even
  expect("nearest_away", [&](float x) { return x == 2 ? 2.5F : best(x, any); });
  expect("nearest_zero", [&](float x) { return x == 2 ? 1.5F : best(x, any); });
  expect("up", [&](float x) { return best(clamp(x), [&](float n) { return n >= clamp(x); }); });
  expect("down", [&](float x) { return best(clamp(x), [&](float n) { return n <= clamp(x); }); });
  expect("toward_zero", [&](float x) {
    return best(clamp(x), [&](float n) {
      return x >= 0 ? n >= 0 && n <= clamp(x) : n <= 0 && n >= clamp(x);
    });
  });
}

TEST(TableFormat, RoundsAtRandom) {
  const auto format = make_format("table", table(npy("random.npy", {-1, 0, 1, 4}), stochastic(3)));
  const std::vector<float> values(40000, 1.75F);  // a quarter of the way from 1 to 4
  const auto codes = encode(*format, values);
  const auto up = std::count(codes.begin(), codes.end(), 3U);
  EXPECT_EQ(std::count(codes.begin(), codes.end(), 2U) + up, 40000);
  EXPECT_NEAR(static_cast<double>(up), 10000, 5 * std::sqrt(40000 * 0.25 * 0.75));
  EXPECT_EQ(codes, encode(*format, values));
  EXPECT_EQ(encode(*format, std::vector<float>{1, 0, -1, 9}),
            (std::vector<std::uint32_t>{2, 1, 0, 3}));
}

TEST(TableFormat, ReadsTextAsPeopleWriteIt) {
  const auto same = [](const std::string& text) {
    const auto format = make_format("table", table(written("text.csv", text)));
    return numbers_of(*format);
  };
  const std::vector<float> expected = {0, 0.5F, -2, 1};
  EXPECT_EQ(same("0\n0.5\n-2\n1\n"), expected);
  EXPECT_EQ(same("code,value\r\n0x0,0\r\n0b11,1\r\n2,-2e0\r\n1,0x1p-1"), expected);
  EXPECT_EQ(same("\xEF\xBB\xBFvalue\n# the four\n\n0 # nothing\n0.5\n-2\n1\n"), expected);
  EXPECT_EQ(same("value,code\n0,0\n1,3\n-2,2\n.5,1\n"), expected);
}

TEST(TableFormat, RefusesWhatIsNoTable) {
  const auto told = [](const std::string& text, const FormatOptions& more = {}) {
    return format_complaint("table", table(written("bad.csv", text), more));
  };
  const auto holds = [](const std::string& complaint, const std::string& words) {
    EXPECT_NE(complaint.find(words), std::string::npos) << complaint;
  };
  holds(told("1\n2\n3\n"), "holds 3 numbers");
  holds(told("1\ntwo\n"), "bad.csv:2:1: \"two\" is not a number");
  holds(told("0,1\n0,2\n"), "bad.csv:2:1: gives code 0 again, which line 1 has");
  holds(told("0,1\n2,2\n"), "no number for code 1");
  holds(told("0,1\n1,1e39\n"), "bad.csv:2:3: 1e39 is beyond float32");
  holds(told("70000,1\n"), "bad.csv:1:1: \"70000\" is not a code");
  holds(told("1,2,3,4\n"), "more fields");
  holds(told("1\n2,3\n"), "bad.csv:2:1: has 2 fields");
  holds(told(""), "holds 0 numbers");
  holds(told("nan\nnan\n"), "no number that is finite");
  holds(told("0\n1\n", {{"overflow", std::string("inf")}}), "codes for Inf");
  holds(told("1\n2\n", {{"fields", std::string("se")}}), "fields: \"se\"");
  holds(told("0\n1\n", {{"nan_code", std::int64_t{1}}}), "nan_code: 1");
  holds(told("0,0,0\n1,1,2\n"), "from of code 1");
  holds(format_complaint("table", table(written("cut.npy", "\x93NUMPY"))), "cut off");
  holds(format_complaint("table", table((folder() / "absent").string())), "absent");
}

}  // namespace
}  // namespace bitfall::table_format_test
