// The oracle is NumPy, which writes the arrays at test time and reads them back.
#include "npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "error.h"
#include "python_oracle.h"
#include "refusal.h"

namespace bitfall::npy_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class Npy : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fresh_folder(testing::TempDir(), std::string("npy_") + test->name());
  }

  fs::path write(const std::string& bytes) {
    const fs::path path = folder_ / "a.npy";
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  /// A version 1 file of this header (a new line is added) and so many bytes of data.
  fs::path write_header(const std::string& header, std::size_t data = 64) {
    const std::size_t length = header.size() + 1;
    return write(std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(length & 255) +
                 static_cast<char>(length >> 8) + header + "\n" + std::string(data, '\1'));
  }

  std::string refusal(const fs::path& path) {
    const std::string message = error_of([&] { NpyFile file(path); });
    EXPECT_THAT(message, StartsWith(path.string() + ": "));
    return message;
  }

  std::string refusal_of_header(const std::string& header) { return refusal(write_header(header)); }

  fs::path folder_;
};

TEST_F(Npy, ReadsWhatNumpyWrites) {
  if (!has_python()) GTEST_SKIP() << "no Python with NumPy at " << BITFALL_PYTHON;
  run_oracle({"arrays", folder_.string()});
  const auto files = files_in(folder_);
  ASSERT_GE(files.size(), 14U);
  std::vector<std::string> arguments = {"array"};
  for (const fs::path& file : files) arguments.push_back(file.string());
  const auto answers = ask_oracle(arguments, 1);
  ASSERT_EQ(answers.size(), files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    const NpyFile file(files[i]);
    std::vector<std::int64_t> sizes = file.shape();
    sizes.insert(sizes.begin(), static_cast<std::int64_t>(file.item_size()));
    EXPECT_EQ(sizes, answers[i].sizes) << files[i];
    std::vector<std::byte> bytes(static_cast<std::size_t>(file.elements()) * file.item_size());
    file.read(0, bytes);
    ASSERT_EQ(bytes.size(), answers[i].data.size()) << files[i];
    EXPECT_TRUE(bytes.empty() ||
                std::memcmp(bytes.data(), answers[i].data.data(), bytes.size()) == 0)
        << files[i];
    const std::string code = files[i].stem().string();
    if (code.size() == 2) {
      const std::string name = npy_type_name(file.type());
      EXPECT_EQ(name[0], code[0]);
      EXPECT_THAT(name, EndsWith(std::to_string((code[1] - '0') * 8)));
    }
  }
  EXPECT_THAT(NpyFile(folder_ / "vector.npy").read_integers(),
              ElementsAre(-5, -4, -3, -2, -1, 0, 1, 2, 3, 4));
}

TEST_F(Npy, ReadsAPart) {
  std::string data;
  for (int i = 0; i < 12; ++i) data += static_cast<char>(i);
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), }";
  fs::path path = write_header(header, 0);
  std::ofstream(path, std::ios::binary | std::ios::app) << data;
  const NpyFile file(path);
  std::vector<std::byte> row(4);
  file.read(8, row);
  EXPECT_THAT(row, ElementsAre(std::byte{8}, std::byte{9}, std::byte{10}, std::byte{11}));
  EXPECT_EQ(file.shape_text(), "[3, 4]");
}

TEST_F(Npy, MovesItsFile) {
  NpyFile first(write_header("{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }"));
  const NpyFile second(std::move(first));
  EXPECT_THAT(second.read_integers(), ElementsAre(1, 1));
}

TEST_F(Npy, AcceptsAnyOrderOfKeysAndQuotes) {
  const NpyFile file(write_header("{\"shape\": (2,3),'fortran_order':False,  'descr': '<i2'}   "));
  EXPECT_EQ(file.elements(), 6);
  EXPECT_THAT(file.read_integers(), testing::Each(257));
}

TEST_F(Npy, RefusesOtherFiles) {
  EXPECT_THAT(refusal(folder_ / "missing.npy"), HasSubstr("cannot be read: No such file"));
  EXPECT_THAT(refusal(folder_), HasSubstr("is not a regular file"));
  EXPECT_THAT(refusal(write("")), EndsWith("is not a .npy file"));
  EXPECT_THAT(refusal(write("hello, this is text")), EndsWith("is not a .npy file"));
  EXPECT_THAT(refusal(write("PK\x03\x04 and so on")), HasSubstr(".npz archive; save one array"));
  EXPECT_THAT(refusal(write("\x93NUMPY\x01")), EndsWith("truncated"));
  EXPECT_THAT(refusal(write(std::string("\x93NUMPY\x03\x00\x10\x00\x00\x00{}", 14))),
              HasSubstr("format version 3; versions 1 and 2"));
  EXPECT_THAT(refusal(write(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14))),
              HasSubstr("header is too long"));
  EXPECT_THAT(refusal(write(std::string("\x93NUMPY\x01\x00\xff\x00{'descr'", 18))),
              EndsWith("truncated"));
}

TEST_F(Npy, RefusesWhatItDoesNotRead) {
  const auto of_type = [this](const std::string& type) {
    return refusal_of_header("{'descr': " + type + ", 'fortran_order': False, 'shape': (2,), }");
  };
  EXPECT_THAT(of_type("'>f4'"), HasSubstr("big-endian ('>f4'); save"));
  EXPECT_THAT(of_type("'|O'"),
              HasSubstr("holds Python objects; save a dictionary of arrays by numpy.savez"));
  EXPECT_THAT(of_type("'<c8'"), HasSubstr("'<c8' are not supported"));
  EXPECT_THAT(of_type("'<U5'"), HasSubstr("'<U5' are not supported"));
  EXPECT_THAT(of_type("'|i8'"), HasSubstr("'|i8' are not supported"));
  EXPECT_THAT(of_type("'f4'"), HasSubstr("'f4' are not supported"));
  EXPECT_THAT(of_type("'<f4"), HasSubstr("'<f4, ' are not supported"));
  EXPECT_THAT(of_type("''"), HasSubstr("'' are not supported"));
  EXPECT_THAT(of_type("[('a', '<f4')]"), HasSubstr("structured types"));
  EXPECT_THAT(refusal_of_header("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }"),
              HasSubstr("Fortran order; save numpy.ascontiguousarray(array)"));
}

TEST_F(Npy, RefusesHostileHeaders) {
  const auto of_shape = [this](const std::string& shape) {
    return refusal_of_header("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }");
  };
  EXPECT_THAT(of_shape("(99999999999, 99999999999, 99999999999)"), HasSubstr("is too large"));
  EXPECT_THAT(of_shape("(9223372036854775807,)"), HasSubstr("too large"));
  EXPECT_THAT(of_shape("(1000000000000000,)"),
              HasSubstr("promises 4000000000000000 bytes of data, it holds 64"));
  EXPECT_THAT(of_shape("(17,)"), HasSubstr("promises 68 bytes of data, it holds 64"));
  EXPECT_THAT(of_shape("(-1,)"), HasSubstr("not a list of numbers"));
  EXPECT_THAT(of_shape("(2, x)"), HasSubstr("not a list of numbers"));
  EXPECT_THAT(of_shape("(2)"), HasSubstr("not a tuple"));
  EXPECT_THAT(of_shape("2"), HasSubstr("lacks a '('"));
  EXPECT_THAT(of_shape("(2, 3"), HasSubstr("header"));
  std::string many = "(";
  for (int i = 0; i < 40; ++i) many += "1, ";
  EXPECT_THAT(of_shape(many + ")"), HasSubstr("too long"));
  for (const char* header :
       {"", "{", "}", "{'descr'", "{'descr': '<f4'", "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + 1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}"}) {
    EXPECT_THAT(refusal_of_header(header), HasSubstr("header")) << header;
  }
}

TEST_F(Npy, RefusesEveryCutHeader) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  for (std::size_t length = 0; length < header.size(); ++length) {
    EXPECT_THAT(refusal_of_header(header.substr(0, length)), HasSubstr("header")) << length;
  }
}

TEST_F(Npy, RefusesLabelsThatAreNoIntegers) {
  const NpyFile floats(write_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"));
  EXPECT_THAT(error_of([&] { floats.read_integers(); }),
              HasSubstr("holds float32; integers are needed: save array.astype(numpy.int64)"));
  const fs::path path =
      write_header("{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }", 0);
  std::ofstream(path, std::ios::binary | std::ios::app) << std::string(8, '\xff');
  EXPECT_THAT(error_of([&] { NpyFile(path).read_integers(); }), HasSubstr("range of int64"));
}

TEST_F(Npy, NoticesAShrunkenFile) {
  const fs::path path = write_header("{'descr': '|u1', 'fortran_order': False, 'shape': (64,), }");
  const NpyFile file(path);
  fs::resize_file(path, 100);
  EXPECT_THAT(error_of([&] { file.read_integers(); }), HasSubstr("has become shorter"));
}

}  // namespace
}  // namespace bitfall::npy_test
