#include "faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <limits>
#include <sstream>

#include "error.h"
#include "fake_format.h"

namespace bitfall::faults_test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

namespace fs = std::filesystem;

/// A folder data set whose names need quoting: "cat/a,b.png", "cat/c.png", "dog \"x\"/a.png".
/// Opening it reads no pixel.
Dataset make_dataset() {
  const fs::path root = fs::path(testing::TempDir()) / "faults_test_images";
  fs::remove_all(root);
  for (const char* name : {"cat/a,b.png", "cat/c.png", "dog \"x\"/a.png"}) {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << "not decoded";
  }
  DataConfig config;
  config.path = root;
  config.preprocess.crop = 1;  // the shape is known without decoding an image
  return Dataset::open(config);
}

class FaultList : public testing::Test {
 protected:
  static void SetUpTestSuite() { dataset_ = new Dataset(make_dataset()); }
  static void TearDownTestSuite() {
    delete dataset_;
    dataset_ = nullptr;
  }

  static std::vector<Site> sites() {
    return {{"input", {}, Target::kInput, "input", {3, 2}, 6, ""},
            {"conv1", {"stem,0"}, Target::kActivation, "conv", {5}, 5, ""},
            {"fc", {}, Target::kActivation, "linear", {2}, 2, ""},
            {"roll", {}, Target::kActivation, "roll", {2}, 2, "its output mixes the images"},
            {"fc", {}, Target::kWeight, "linear", {2, 2}, 4, ""}};
  }

  static fs::path file() { return fs::path(testing::TempDir()) / "faults_test.csv"; }

  static std::vector<ListedFault> read(const std::string& text) {
    return read_fault_list(file(), text, sites(), *dataset_, kFormat);
  }

  /// The message of a bad list, without the path.
  static std::string error_of(const std::string& text) {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kInput);
      std::string message = error.what();
      for (std::size_t at; (at = message.find(file().string())) != std::string::npos;) {
        message.replace(at, file().string().size(), "F");
      }
      return message;
    }
    return "accepted";
  }

  /// The message about one row below the standard header.
  static std::string row_error(const std::string& row) {
    std::string message = error_of("site,image,target,element,register,op,mask\n" + row + "\n");
    const std::string count = "\n1 error in F";
    EXPECT_TRUE(message.ends_with(count)) << message;
    return message.substr(0, message.size() - count.size());
  }

  static Dataset* dataset_;
  static const FakeFormat kFormat;
};

Dataset* FaultList::dataset_ = nullptr;
const FakeFormat FaultList::kFormat;

void expect_equal(const Edit& a, const Edit& b) {
  EXPECT_EQ(a.element, b.element);
  EXPECT_EQ(a.register_index, b.register_index);
  EXPECT_EQ(a.operation, b.operation);
  EXPECT_EQ(a.mask, b.mask);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(a.value), std::bit_cast<std::uint32_t>(b.value));
}

TEST_F(FaultList, ReadsARowAFault) {
  const auto faults = read(
      "site,image,target,element,register,op,mask\n"
      "conv1,cat/c.png,activation,4,payload,flip,0x8\n"
      "fc,\"dog \"\"x\"\"/a.png\",weight,3,payload,set,F\n"
      "input,cat/c.png,input,2,scale,clear,0X7\n");
  ASSERT_EQ(faults.size(), 3u);
  EXPECT_EQ(faults[0].site, 1);
  EXPECT_EQ(faults[0].image, dataset_->find("cat/c.png"));
  expect_equal(faults[0].edits.at(0), {4, 0, EditOperation::kFlip, 8, 0});
  EXPECT_EQ(faults[1].site, 4);
  EXPECT_EQ(faults[1].image, dataset_->find("dog \"x\"/a.png"));
  expect_equal(faults[1].edits.at(0), {3, 0, EditOperation::kSet, 15, 0});
  EXPECT_EQ(faults[2].site, 0);
  expect_equal(faults[2].edits.at(0), {2, 1, EditOperation::kClear, 7, 0});
}

TEST_F(FaultList, GroupsConsecutiveRowsOfOneNumber) {
  const auto faults = read(
      "fault,site,image,target,element,register,op,mask\n"
      "7,conv1,cat/c.png,activation,0,payload,flip,1\n"
      "7,conv1,cat/c.png,activation,1,payload,flip,2\n"
      "3,conv1,cat/c.png,activation,2,payload,flip,4\n"
      "7,fc,cat/c.png,activation,1,payload,flip,8\n");
  ASSERT_EQ(faults.size(), 3u);
  ASSERT_EQ(faults[0].edits.size(), 2u);
  EXPECT_EQ(faults[0].edits[1].element, 1);
  EXPECT_EQ(faults[1].edits.size(), 1u);
  EXPECT_EQ(faults[2].site, 2);
}

// The columns of an exported run, as `bitfall export --csv` writes them.
TEST_F(FaultList, AcceptsAnExportedRun) {
  const auto faults = read(
      "trial,site,image,label,target,element,register,op,mask,code_before,code_after,value_before,"
      "value_after,golden_loss,faulty_loss,golden_top1,faulty_top1,outcome,activated,message,"
      "delta_loss\n"
      "0,conv1,cat/c.png,0,activation,0,payload,flip,0x1,0x3,0x2,3,2,0.5,nan,0,0,nonfinite,1,,nan\n"
      "0,conv1,cat/c.png,0,activation,4,payload,flip,0x2,0x3,0x1,3,1,0.5,nan,0,0,nonfinite,1,,nan\n"
      "1,fc,\"cat/a,b.png\",0,activation,0,scale,write,0x0,0x1,0x0,1,0,0.5,0.5,0,0,masked,0,,0\n"
      "2,fc,cat/c.png,0,activation,1,payload,flip,0x1,0x3,0x2,3,2,0.5,nan,0,-1,crashed,1,\"fc, "
      "\"\"T\"\": no\",nan\n");
  ASSERT_EQ(faults.size(), 3u);
  EXPECT_EQ(faults[0].edits.size(), 2u);
  EXPECT_EQ(faults[1].image, dataset_->find("cat/a,b.png"));
  EXPECT_EQ(faults[2].edits[0].element, 1);
}

TEST_F(FaultList, ColumnsComeInAnyOrder) {
  const auto faults = read(
      "mask,op,note,register,element,target,image,site\r\n"
      "\r\n"
      "1,flip,\"a\nb\",payload,2,activation,cat/c.png,\"stem,0\"\r\n");
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].site, 1);
  EXPECT_EQ(faults[0].edits[0].element, 2);
}

TEST_F(FaultList, WrittenListsReadBack) {
  const std::vector<Site> all = sites();
  std::vector<ListedFault> faults = {
      {1,
       dataset_->find("cat/a,b.png"),
       {{0, 0, EditOperation::kFlip, 9, 0}, {4, 0, EditOperation::kClear, 1, 0}}},
      {4, dataset_->find("dog \"x\"/a.png"), {{3, 0, EditOperation::kWrite, 0, 0}}},
      {0, 0, {{2, 1, EditOperation::kSet, 7, 0}}},
  };
  for (const float value : {0.0F, -0.0F, 1.5e-45F, std::numeric_limits<float>::infinity(),
                            std::bit_cast<float>(0x7FC01234U)}) {
    faults.push_back({2, 1, {{1, 0, EditOperation::kValue, 0, value}}});
  }
  std::ostringstream text;
  write_fault_header(text);
  for (std::size_t i = 0; i < faults.size(); ++i) {
    for (const Edit& edit : faults[i].edits) {
      write_fault_row(text, static_cast<std::int64_t>(i),
                      all[static_cast<std::size_t>(faults[i].site)],
                      dataset_->name(faults[i].image), edit,
                      kFormat.registers()[static_cast<std::size_t>(edit.register_index)].name);
    }
  }
  EXPECT_THAT(text.str(), StartsWith("fault,site,image,target,element,register,op,mask\n"
                                     "0,conv1,\"cat/a,b.png\",activation,0,payload,flip,0x9\n"));
  const auto again = read(text.str());
  ASSERT_EQ(again.size(), faults.size());
  for (std::size_t i = 0; i < faults.size(); ++i) {
    EXPECT_EQ(again[i].site, faults[i].site);
    EXPECT_EQ(again[i].image, faults[i].image);
    ASSERT_EQ(again[i].edits.size(), faults[i].edits.size());
    for (std::size_t e = 0; e < faults[i].edits.size(); ++e) {
      expect_equal(again[i].edits[e], faults[i].edits[e]);
    }
  }
}

TEST_F(FaultList, HeadersAreChecked) {
  EXPECT_EQ(error_of(""),
            "F: is empty; the first line must be fault,site,image,target,element,register,op,mask");
  EXPECT_EQ(error_of("site,image,target,element,register,op,mask\n\n"),
            "F: the list has no faults");
  EXPECT_EQ(error_of("site, image,target,register,op,mask\n"),
            "F:1:1: the header lacks 'image', 'element'; it has 'site', ' image', 'target', "
            "'register', 'op', 'mask' (a list begins with "
            "fault,site,image,target,element,register,op,mask)\n1 error in F");
  EXPECT_EQ(error_of("site,image,target,element,register,op,mask,site\n"),
            "F:1:44: the column 'site' occurs twice\n1 error in F");
  EXPECT_THAT(error_of("fault,fault,site,image,target,element,register,op,mask\n"),
              StartsWith("F:1:7: the column 'fault' occurs twice\n"));
}

TEST_F(FaultList, NamesAreChecked) {
  EXPECT_EQ(row_error("conv2,cat/c.png,activation,0,payload,flip,1"),
            "F:2:1: the model has no activation site 'conv2'; did you mean 'conv1'?");
  EXPECT_EQ(row_error("conv1,cat/c.png,weight,0,payload,flip,1"),
            "F:2:1: the model has no weight site 'conv1'");
  EXPECT_EQ(row_error("roll,cat/c.png,activation,0,payload,flip,1"),
            "F:2:1: site 'roll' cannot be hit: its output mixes the images");
  EXPECT_EQ(row_error("fc,cat/d.png,activation,0,payload,flip,1"),
            "F:2:4: the data have no image 'cat/d.png'; did you mean 'cat/c.png'?");
  EXPECT_EQ(row_error("fc,x,activation,0,payload,flip,1"),
            "F:2:4: the data have no image 'x' (a path relative to the data folder, such as "
            "'cat/a,b.png')");
  EXPECT_EQ(row_error("fc,cat/c.png,bias,0,payload,flip,1"),
            "F:2:14: target must be activation, weight or input, found 'bias'");
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,exponent,flip,1"),
            "F:2:27: the format has no register 'exponent'; it has 'payload', 'scale'");
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,payload,Flip,1"),
            "F:2:35: op must be flip, set, clear, write, value, add or multiply, found 'Flip'");
}

TEST_F(FaultList, NumbersAreReadStrictly) {
  for (const char* bad : {"", "-1", "+1", "1.0", "1e3", " 1", "1 ", "0x1", "one"}) {
    EXPECT_EQ(row_error("fc,cat/c.png,activation," + std::string(bad) + ",payload,flip,1"),
              "F:2:25: element must be a whole number from 0 on, found '" + std::string(bad) + "'");
  }
  EXPECT_EQ(row_error("fc,cat/c.png,activation,9223372036854775808,payload,flip,1"),
            "F:2:25: element '9223372036854775808' is too large");
  for (const char* bad : {"", "0x", "0x0x1", "g", "-1", "1 ", "1.0"}) {
    EXPECT_EQ(row_error("fc,cat/c.png,activation,0,payload,flip," + std::string(bad)),
              "F:2:40: mask must be hexadecimal, such as 0x4000, found '" + std::string(bad) + "'");
  }
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,payload,flip,0x100000000"),
            "F:2:40: mask '0x100000000' does not fit in 32 bits");
}

TEST_F(FaultList, EditsMustFitTheRegister) {
  EXPECT_EQ(row_error("fc,cat/c.png,activation,2,payload,flip,1"),
            "F:2:25: element 2 is outside site 'fc': register 'payload' has 0 to 1");
  EXPECT_EQ(row_error("conv1,cat/c.png,activation,3,scale,flip,1"),
            "F:2:28: element 3 is outside site 'conv1': register 'scale' has 0 to 2");
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,payload,flip,10"),
            "F:2:40: mask 0x10 is wider than register 'payload' of 4 bits");
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,scale,write,8"),
            "F:2:39: mask 0x8 is wider than register 'scale' of 3 bits");
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,scale,multiply,3f800000"),
            "F:2:33: op 'multiply' is for the payload, not for register 'scale'");
  // What a bit-error rate draws when no bit is hit.
  EXPECT_EQ(error_of("site,image,target,element,register,op,mask\n"
                     "fc,cat/c.png,activation,0,payload,flip,0\n"),
            "accepted");
  EXPECT_EQ(row_error("fc,cat/c.png,activation,0,scale,value,3f800000"),
            "F:2:33: op 'value' is for the payload, not for register 'scale'");
}

TEST_F(FaultList, RowsMustHaveTheHeadersWidth) {
  EXPECT_EQ(row_error("fc,cat/c.png"), "F:2:1: the row has 2 fields, the header has 7");
  EXPECT_EQ(row_error("fc,cat/a,b.png,activation,0,payload,flip,1"),
            "F:2:1: the row has 8 fields, the header has 7");
}

TEST_F(FaultList, OneFaultHasOneSiteAndImage) {
  const std::string start =
      "fault,site,image,target,element,register,op,mask\n"
      "0,fc,cat/c.png,activation,0,payload,flip,1\n";
  EXPECT_THAT(error_of(start + "0,conv1,cat/c.png,activation,0,payload,flip,1\n"),
              StartsWith("F:3:3: fault 0 continues at another site; "));
  EXPECT_THAT(error_of(start + "0,fc,\"cat/a,b.png\",activation,0,payload,flip,1\n"),
              StartsWith("F:3:6: fault 0 continues at another image; "));
  EXPECT_THAT(error_of(start + "x,fc,cat/c.png,activation,0,payload,flip,1\n"),
              StartsWith("F:3:1: the fault's number must be a whole number from 0 on, found 'x'"));
}

TEST_F(FaultList, TheRowsOfAFaultFollowOneAnother) {
  const std::string start =
      "fault,site,image,target,element,register,op,mask\n"
      "1,fc,cat/c.png,activation,0,payload,flip,1\n"
      "2,fc,cat/c.png,activation,1,payload,flip,1\n";
  EXPECT_THAT(error_of(start + "1,fc,cat/c.png,activation,1,payload,flip,2\n"),
              StartsWith("F:4:1: fault 1 has rows above, and other faults' between; "));
  EXPECT_EQ(error_of(start + "1,fc,\"cat/a,b.png\",activation,0,payload,flip,1\n"), "accepted");
}

TEST_F(FaultList, AllErrorsOfARowAndTheFirstTwentyOfAList) {
  const std::string bad = "x,y,activation,z,w,v,u\n";
  EXPECT_THAT(error_of("site,image,target,element,register,op,mask\n" + bad),
              HasSubstr("5 errors in F"));  // without a site there is no register to look up
  std::string text = "site,image,target,element,register,op,mask\n";
  for (int i = 0; i < 30; ++i) text += "fc,cat/c.png,activation,9,payload,flip,1\n";
  const std::string message = error_of(text);
  EXPECT_THAT(message, HasSubstr("F:21:25: element 9"));
  EXPECT_THAT(message, testing::Not(HasSubstr("F:22:")));
  EXPECT_TRUE(message.ends_with("\n... and 10 more; 30 errors in F")) << message;
}

TEST_F(FaultList, HostileTextsGiveMessages) {
  EXPECT_THAT(error_of(std::string("\0\0\0\0", 4)), HasSubstr("the header lacks 'site'"));
  EXPECT_THAT(error_of(std::string(100000, ',')), HasSubstr("more than 10000 fields"));
  EXPECT_THAT(row_error("\"open,cat/c.png,activation,0,payload,flip,1"),
              HasSubstr("F:2:1: the quote that opens here is never closed"));
  EXPECT_EQ(
      row_error("\x1B[31m" + std::string(100, 'x') + ",cat/c.png,activation,0,payload,flip,1"),
      "F:2:1: the model has no activation site '?[31m" + std::string(55, 'x') + "...'");
}

TEST_F(FaultList, EveryTruncationIsReadOrRefused) {
  const std::string text =
      "fault,site,image,target,element,register,op,mask\n"
      "0,conv1,\"cat/a,b.png\",activation,4,payload,flip,0x8\n"
      "1,fc,cat/c.png,weight,3,payload,value,0x3f800000\n";
  std::size_t accepted = 0;
  for (std::size_t length = 0; length <= text.size(); ++length) {
    accepted += error_of(text.substr(0, length)) == "accepted";
  }
  // After the first row, with its line end, without, or with "0" as its mask; with "0", "0x3" ...
  // "0x3f800000" as the last field; and at the end.
  EXPECT_EQ(accepted, 3u + 1u + 8u + 1u);
}

TEST_F(FaultList, ALongListIsReadWhole) {
  std::ostringstream out;
  write_fault_header(out);
  const std::vector<Site> all = sites();
  const std::string image = dataset_->name(0);
  constexpr std::int64_t kRows = 100000;
  for (std::int64_t i = 0; i < kRows; ++i) {
    out << i << ",conv1," << csv_field(image) << ",activation," << i % 5 << ",payload,flip,0x4\n";
  }
  const std::string text = out.str();
  const auto faults = read_fault_list(file(), text, all, *dataset_, kFormat);
  ASSERT_EQ(faults.size(), static_cast<std::size_t>(kRows));
  EXPECT_EQ(faults.back().edits[0].element, (kRows - 1) % 5);
}

TEST(CsvField, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(csv_field("cat/0 1.png"), "cat/0 1.png");
  EXPECT_EQ(csv_field(""), "");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"a\""), "\"say \"\"a\"\"\"");
  EXPECT_EQ(csv_field("a\nb"), "\"a\nb\"");
}

TEST(EditOperation, Names) {
  EXPECT_STREQ(to_string(EditOperation::kFlip), "flip");
  EXPECT_STREQ(to_string(EditOperation::kSet), "set");
  EXPECT_STREQ(to_string(EditOperation::kClear), "clear");
  EXPECT_STREQ(to_string(EditOperation::kWrite), "write");
  EXPECT_STREQ(to_string(EditOperation::kValue), "value");
}

TEST(SiteRegisters, PayloadFirstThenMetadata) {
  const FakeFormat format;
  const auto registers =
      site_registers({"a", {}, Target::kActivation, "conv", {5, 3}, 15, ""}, format);
  ASSERT_EQ(registers.size(), 2u);
  EXPECT_STREQ(registers[0].name, "payload");
  EXPECT_EQ(registers[0].bits, 4);
  EXPECT_EQ(registers[0].count, 15);
  EXPECT_STREQ(registers[1].name, "scale");
  EXPECT_EQ(registers[1].bits, 3);
  EXPECT_EQ(registers[1].count, 8);
  EXPECT_EQ(registers[1].bit_classes.size(), 3u);
}

}  // namespace
}  // namespace bitfall::faults_test
