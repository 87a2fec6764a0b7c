// The oracles are NumPy, safetensors and PyTorch, which write the files at test time
// (make_tensor_files.py).
#include "tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "error.h"
#include "python_oracle.h"
#include "refusal.h"
#include "text_file.h"

namespace bitfall::tensor_file_test {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<float> floats_in(const fs::path& path) {
  const std::string bytes = read_text(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class TensorFile : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fresh_folder(testing::TempDir(), "tensor_file");
    if (!has_python()) return;
    std::vector<std::string> arguments = {folder_.string()};
    for (const char* name : {"imagenet_gpt3.pth", "imagenet_a-photo-of-a.pth"}) {
      const fs::path path = fs::path(BITFALL_SHARED_DATA) / "text" / name;
      if (fs::exists(path)) arguments.push_back(path.string());
    }
    run_script("make_tensor_files.py", arguments);
  }

  void SetUp() override {
    if (!has_python()) GTEST_SKIP() << "no Python with PyTorch at " << BITFALL_PYTHON;
  }

  /// Of a file in the folder, or of any other by its whole path.
  std::string refusal(const fs::path& name, const std::string& key = "") {
    const fs::path path = folder_ / name;
    const std::string message = error_of([&] { read_table(path, key); });
    EXPECT_THAT(message, StartsWith(path.string() + ": "));
    return message;
  }
  static inline fs::path folder_;
};

TEST_F(TensorFile, ReadsWhatTheLibrariesWrite) {
  int files = 0;
  for (const fs::path& path : files_in(folder_)) {
    const std::string name = path.filename().string();
    if (!name.starts_with("good_") || path.extension() == ".f32") continue;
    const EmbeddingTable table = read_table(path, "");
    EXPECT_EQ(table.rows, 5) << name;
    EXPECT_EQ(table.width, 7) << name;
    EXPECT_EQ(table.values, floats_in(fs::path(path).replace_extension(".f32"))) << name;
    ++files;
  }
  EXPECT_EQ(files, 20);
}

TEST_F(TensorFile, ReadsAnEntryOfACheckpoint) {
  const fs::path path = folder_ / "checkpoint.pth";
  EXPECT_EQ(read_table(path, "model.head.weight").values, floats_in(folder_ / "good_float32.f32"));
  EXPECT_EQ(read_table(path, "model.body.weight").rows, 7);
  EXPECT_THAT(refusal(path),
              AllOf(HasSubstr("say which by its key: "), HasSubstr("model.body.weight [7, 3]")));
  EXPECT_THAT(refusal(path, "head.weight"), HasSubstr("no tensor 'head.weight', but "));
  EXPECT_THAT(refusal(path, "model.body.bias"), HasSubstr("is of shape [7]; [rows, width]"));
}

// Only the last of a tensor's names was known.
TEST_F(TensorFile, ReadsATensorByEachOfItsNames) {
  const auto table = floats_in(folder_ / "good_float32.f32");
  for (const auto& [file, key] :
       std::vector<std::pair<std::string, std::string>>{{"two_names.pth", "text"},
                                                        {"two_names.pth", "weights"},
                                                        {"two_names.pth", ""},
                                                        {"two_parameters.pth", "embedding"},
                                                        {"two_parameters.pth", "head.0"},
                                                        {"circle.pth", "list.0"}}) {
    EXPECT_EQ(read_table(folder_ / file, key).values, table) << file << " " << key;
  }
  EXPECT_THAT(refusal("circle.pth", "list.1"), HasSubstr("no tensor 'list.1', but list.0 [5, 7]"));
}

TEST_F(TensorFile, ReadsRowsUnderNames) {
  const std::vector<std::string> names = {"hen", "jay", "St. Bernard", "owl", "red kite"};
  const auto table = floats_in(folder_ / "good_float32.f32");
  const auto half = floats_in(folder_ / "good_float16.f32");
  const std::pair<const char*, const char*> files[] = {
      {"rows_plain.pth", ""}, {"rows_flat.pth", ""},          {"rows_nested.pth", ""},
      {"rows_half.pth", ""},  {"rows_nested.pth", "classes"}, {"rows_beside.pth", "classes"},
      {"rows.npz", ""},       {"rows_strided.pth", ""},       {"rows.safetensors", ""}};
  for (const auto& [file, key] : files) {
    SCOPED_TRACE(std::string(file) + " " + key);
    const EmbeddingTable read = read_table(folder_ / file, key);
    EXPECT_EQ(read.width, 7);
    // Each row under its name; archives keep names in an order of their own.
    EXPECT_THAT(read.names, testing::UnorderedElementsAreArray(names));
    for (std::size_t i = 0; i < read.names.size(); ++i) {
      const auto place = std::find(names.begin(), names.end(), read.names[i]) - names.begin();
      const auto& from = std::string(file) == "rows_half.pth" ? half : table;
      const std::vector<float> expected(from.begin() + place * 7, from.begin() + place * 7 + 7);
      const auto row = read.row(static_cast<std::int64_t>(i));
      EXPECT_EQ(std::vector<float>(row.begin(), row.end()), expected) << read.names[i];
    }
  }
  const EmbeddingTable list = read_table(folder_ / "rows_list.pth", "");
  EXPECT_THAT(list.names, testing::IsEmpty());
  EXPECT_EQ(list.values, table);
  EXPECT_EQ(read_table(folder_ / "table.npz", "").values, table);
  EXPECT_EQ(read_table(folder_ / "table.npz", "rows").values, table);
  EXPECT_THAT(refusal("bad_widths.pth"), HasSubstr("holds no tensor [rows, width], but hen [7]"));
  EXPECT_THAT(refusal("bad_row.pth"), HasSubstr("tensor 'cat': holds torch IntStorage"));
  EXPECT_THAT(refusal("bad_packed.npz"),
              HasSubstr("is compressed; save it without that, by torch"));
  EXPECT_THAT(refusal("bad_dictionary.npy"), HasSubstr("numpy.savez(file, **dictionary)"));
}

TEST_F(TensorFile, ReadsThePublishedFiles) {
  for (const char* name : {"imagenet_gpt3", "imagenet_a-photo-of-a"}) {
    const fs::path path = fs::path(BITFALL_SHARED_DATA) / "text" / (std::string(name) + ".pth");
    if (!fs::exists(path)) GTEST_SKIP() << path << " is not there";
    const EmbeddingTable table = read_table(path, "");
    EXPECT_EQ(table.rows, 1000);
    EXPECT_EQ(table.width, 512);
    EXPECT_EQ(table.values, floats_in(folder_ / (std::string(name) + ".f32")));
  }
}

TEST_F(TensorFile, ExecutesNothing) {
  EXPECT_THAT(refusal("bad_call.pth"), HasSubstr("holds no tensor"));
  // An object beside the tensors is passed over.
  EXPECT_EQ(read_table(folder_ / "passed_over.pth", "").values,
            floats_in(folder_ / "good_float32.f32"));
  EXPECT_FALSE(fs::exists(folder_ / "executed"));
}

TEST_F(TensorFile, RefusesWhatItCannotRead) {
  EXPECT_THAT(refusal("bad_shape.pth"),
              HasSubstr("[2147483647, 2147483647], but its shape asks for more numbers"));
  EXPECT_THAT(refusal("bad_rows.pth"), HasSubstr("[6, 7], but its shape asks for more numbers"));
  EXPECT_THAT(refusal("bad_stride.pth"), HasSubstr("[5, 7], but its strides lead beyond"));
  EXPECT_THAT(refusal("bad_record.pth"), HasSubstr("lacks its record"));
  EXPECT_THAT(refusal("bad_nested.pth"), HasSubstr("nested too deeply"));
  EXPECT_THAT(refusal("bad_circle.pth"), HasSubstr("holds no tensor"));
  EXPECT_THAT(refusal("bad_doubling.pth"), HasSubstr("holds no tensor"));
  EXPECT_THAT(refusal("bad_pickle.pth"), HasSubstr("the pickle is cut off"));
  EXPECT_THAT(refusal("bad_old.pth"), HasSubstr("since PyTorch 1.6; load it there and save it"));
  EXPECT_THAT(refusal("bad_integers.pth"), HasSubstr("holds torch LongStorage; float32, float64"));
  EXPECT_THAT(refusal("bad_two.pth"), HasSubstr("say which by its key: a [5, 7], b [5, 7]"));
  EXPECT_THAT(refusal("bad_vector.pth"), HasSubstr("no tensor [rows, width], but one tensor [3]"));
  EXPECT_THAT(refusal("bad_none.pth"), HasSubstr("holds no tensor"));
  EXPECT_THAT(refusal("bad_script.pt"), HasSubstr("is a TorchScript model"));
  EXPECT_THAT(refusal("bad_packed.pth"),
              HasSubstr("is compressed; save it without that, by torch.save"));
  EXPECT_THAT(refusal("bad_cube.npy"), HasSubstr("of shape [2, 2, 2]; [rows, width] is needed"));
  EXPECT_THAT(refusal("bad_integers.npy"), HasSubstr("holds int64; float32, float64, float16"));
  EXPECT_THAT(refusal("bad_two.safetensors"), HasSubstr("say which by its key: a [5, 7], b"));
  EXPECT_THAT(refusal("bad_int.safetensors"), HasSubstr("tensor 'a': holds I32; float32"));
  EXPECT_THAT(refusal("good_float32.npy", "rows"), HasSubstr("leave out the key 'rows'"));
  EXPECT_THAT(refusal("missing.pth"), HasSubstr("cannot be read"));
  EXPECT_THAT(refusal("table.csv"), HasSubstr("ends in .npy, .npz, .safetensors, .pth or .pt"));
}

TEST_F(TensorFile, RefusesEveryCut) {
  for (const char* name : {"good_float32.pth", "good_float32.safetensors", "good_float32.npy"}) {
    const std::string whole = read_text(folder_ / name);
    const fs::path cut = folder_ / ("cut" + fs::path(name).extension().string());
    for (std::size_t length = 0; length < whole.size(); length += 1 + length / 200) {
      write(cut, whole.substr(0, length));
      refusal(cut);
    }
  }
}

/// Reads it or refuses it; a crash or a read out of bounds is for the sanitizers to see. True if it
/// was refused.
bool survives(const fs::path& path) {
  try {
    EXPECT_LE(read_table(path, "").values.size(), 35U) << path;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput) << path;
    return true;
  }
  return false;
}

TEST_F(TensorFile, SurvivesDamage) {
  std::mt19937 random(11);
  for (const char* name : {"good_float32.pth", "good_float32.safetensors", "good_float32.npy"}) {
    const std::string whole = read_text(folder_ / name);
    const fs::path path = folder_ / ("damaged" + fs::path(name).extension().string());
    int refused = 0;
    for (int i = 0; i < 2000; ++i) {
      std::string bytes = whole;
      for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
      write(path, bytes);
      refused += survives(path);
    }
    EXPECT_GT(refused, 100) << name;
  }
}

TEST_F(TensorFile, SurvivesDamagedPickles) {
  int files = 0;
  int refused = 0;
  for (const fs::path& path : files_in(folder_ / "damaged_pickles")) {
    ++files;
    refused += survives(path);
  }
  EXPECT_EQ(files, 1000);
  EXPECT_GT(refused, 500);
}

TEST_F(TensorFile, ChecksTheBoundsOfSafetensors) {
  const fs::path path = folder_ / "hand.safetensors";
  const auto of_header = [&](const std::string& header, std::size_t data = 8) {
    const std::uint64_t length = header.size();
    std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
    write(path, bytes + header + std::string(data, '\0'));
  };
  of_header(R"({"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})");
  EXPECT_EQ(read_table(path, "").width, 2);
  const auto entry_refusal = [&](const std::string& entry) {
    of_header("{\"a\":" + entry + "}");
    return refusal(path);
  };
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":[1,2],"data_offsets":[0,9]})"),
              HasSubstr("'a': its data_offsets lead beyond the file"));
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":[1,2],"data_offsets":[8,0]})"),
              HasSubstr("data_offsets lead beyond"));
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":[1,2],"data_offsets":[0,4]})"),
              HasSubstr("asks for more numbers"));
  EXPECT_THAT(
      entry_refusal(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
      HasSubstr("asks for more numbers"));
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":[-1,2],"data_offsets":[0,8]})"),
              HasSubstr("not a list of counts"));
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":7,"data_offsets":[0,8]})"),
              HasSubstr("not a list of counts"));
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":[1,2],"data_offsets":[0,-8]})"),
              HasSubstr("not two counts"));
  EXPECT_THAT(entry_refusal(R"({"dtype":5,"shape":[1,2],"data_offsets":[0,8]})"),
              HasSubstr("missing or malformed"));
  EXPECT_THAT(entry_refusal("3"), HasSubstr("missing or malformed"));
  EXPECT_THAT(entry_refusal(R"({"dtype":"F32","shape":[1,1],"data_offsets":[0,8]})"),
              HasSubstr("hold 8 bytes, more than its shape takes"));
  of_header(R"({"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"a":{}})");
  EXPECT_THAT(refusal(path), HasSubstr("the key 'a' occurs twice"));
  of_header("[1]");
  EXPECT_THAT(refusal(path), HasSubstr("its header is not a JSON object"));
  write(path, std::string(8, '\xff') + "{}");
  EXPECT_THAT(refusal(path), HasSubstr("its header is longer than the file"));
}

}  // namespace
}  // namespace bitfall::tensor_file_test
