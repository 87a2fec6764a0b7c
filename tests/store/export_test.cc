#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "error.h"
#include "faults.h"
#include "parquet_export.h"
#include "run_fixture.h"
#include "store.h"

namespace bitfall::export_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::int64_t kTrials = 200;

template <typename Number>
std::string hex_bits(Number value, bool json) {
  if (std::isnan(value)) return json ? "null" : "nan";
  std::array<char, 32> text;
  if constexpr (sizeof(Number) == 4) {
    std::snprintf(text.data(), text.size(), "%08x", std::bit_cast<std::uint32_t>(value));
  } else {
    std::snprintf(text.data(), text.size(), "%016lx",
                  static_cast<unsigned long>(std::bit_cast<std::uint64_t>(value)));
  }
  return text.data();
}

// What read_export.py must print for the run of wild_store.
std::string expected_rows(bool json) {
  const RunDescription run = small_run(kTrials);
  std::ostringstream out;
  for (std::int64_t id = 0; id < kTrials; ++id) {
    const TrialResult trial = wild_trial(id, kTrials);
    for (const EditRecord& record : trial.edits) {
      const bool number = record.edit.operation == EditOperation::kValue;
      out << id << '|' << run.sites[static_cast<std::size_t>(trial.site)].name << '|'
          << run.image_names[static_cast<std::size_t>(trial.image)] << '|' << record.edit.element
          << '|' << (number ? std::bit_cast<std::uint32_t>(record.edit.value) : record.edit.mask)
          << '|' << record.code_before << '|' << record.code_after << '|'
          << to_string(trial.outcome) << '|' << trial.faulty_top1 << '|' << trial.message << '|'
          << hex_bits(record.value_before, json) << '|' << hex_bits(record.value_after, json) << '|'
          << hex_bits(trial.golden_loss, json) << '|' << hex_bits(trial.faulty_loss, json);
      for (const double value : trial.metrics) out << '|' << hex_bits(value, json);
      out << '\n';
    }
  }
  return out.str();
}

// Standard output of read_export.py.
std::string read_by_python(const fs::path& path) {
  const std::string command = std::string("'") + BITFALL_PYTHON +
                              "' '" BITFALL_SOURCE_DIR "/tests/read_export.py' '" + path.string() +
                              "'";
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), got);
  }
  EXPECT_EQ(::pclose(pipe), 0);
  return output;
}

// Stops at the first line that differs.
void expect_same_lines(const std::string& actual, const std::string& expected) {
  std::istringstream a(actual), b(expected);
  std::string line, expected_line;
  while (std::getline(b, expected_line)) {
    ASSERT_TRUE(std::getline(a, line)) << "missing: " << expected_line;
    ASSERT_EQ(line, expected_line);
  }
  EXPECT_FALSE(std::getline(a, line)) << "too much: " << line;
}

TEST(Export, ReadsBackToTheSameBitsInPython) {
  if (!fs::exists(BITFALL_PYTHON)) GTEST_SKIP() << "no Python at " << BITFALL_PYTHON;
  const auto store = wild_store(fresh_directory("run"), kTrials);
  const fs::path csv = fresh_directory("rows.csv"), jsonl = fresh_directory("rows.jsonl");
  {
    std::ofstream csv_file(csv), jsonl_file(jsonl);
    export_csv(*store, csv_file);
    export_jsonl(*store, jsonl_file);
  }
  expect_same_lines(read_by_python(csv), expected_rows(false));
  expect_same_lines(read_by_python(jsonl), expected_rows(true));
}

TEST(Export, ReadsBackFromParquetToTheSameBits) {
  if (!fs::exists(BITFALL_PYTHON)) GTEST_SKIP() << "no Python at " << BITFALL_PYTHON;
  const std::string python =
      std::string("'") + BITFALL_PYTHON + "' -c 'import pyarrow' 2>/dev/null";
  if (std::system(python.c_str()) != 0) GTEST_SKIP() << "no pyarrow: run scripts/setup.sh";
  const auto store = wild_store(fresh_directory("run"), kTrials);
  const fs::path file = fresh_directory("rows.parquet");
  {
    std::ofstream out(file, std::ios::binary);
    export_parquet(*store, out);
  }
  expect_same_lines(read_by_python(file), expected_rows(false));
}

TEST(Export, HasTheDocumentedColumns) {
  const auto store = wild_store(fresh_directory("run"), 4);
  std::ostringstream out;
  export_csv(*store, out);
  EXPECT_EQ(out.str().substr(0, out.str().find('\n')),
            "trial,site,image,label,target,element,register,op,mask,code_before,code_after,"
            "value_before,value_after,golden_loss,faulty_loss,golden_top1,faulty_top1,outcome,"
            "activated,message,delta_loss,\"odd \"\"name\"\"\"");
}

TEST(Export, WritesFaultsAsAFaultList) {
  const auto store = wild_store(fresh_directory("run"), kTrials);
  const RunDescription run = small_run(kTrials);
  const char* const registers[] = {"payload", "scale"};
  std::ostringstream expected, exported;
  write_fault_header(expected);
  for (std::int64_t id = 0; id < kTrials; ++id) {
    const TrialResult trial = wild_trial(id, kTrials);
    for (const EditRecord& record : trial.edits) {
      write_fault_row(expected, id, run.sites[static_cast<std::size_t>(trial.site)],
                      run.image_names[static_cast<std::size_t>(trial.image)], record.edit,
                      registers[record.edit.register_index]);
    }
  }
  export_faults(*store, exported);
  EXPECT_EQ(exported.str(), expected.str());
}

TEST(Export, NamesTheTrialOfADamagedRun) {
  auto store = Store::create(fresh_directory("run"), small_run(10), 5);
  TrialResult trial = wild_trial(6, 10);
  trial.edits[0].edit.register_index = 2;
  store->trial(trial);
  std::ostringstream out;
  try {
    export_csv(*store, out);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr("trial 6 names register 2"));
  }
}

}  // namespace
}  // namespace bitfall::export_test
