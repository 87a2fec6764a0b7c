#include "file_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "dataset.h"
#include "python_oracle.h"
#include "refusal.h"

namespace bitfall::file_list_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

using Files = std::vector<std::string>;

/// Images are only listed here; what is in them does not matter.
class FileLists : public testing::Test {
 protected:
  void add(const std::vector<std::string>& files) const {
    for (const std::string& file : files) {
      fs::create_directories((root_ / file).parent_path());
      std::ofstream(root_ / file) << "x";
    }
  }
  ImageListing read(const std::string& text, const std::string& name = "val.txt") const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return read_file_list(root_, folder_ / name, classes_, skip_);
  }
  /// Without the list's path.
  std::string refusal(const std::string& text, const std::string& name = "val.txt") const {
    const std::string message = error_of([&] { read(text, name); });
    const std::string path = (folder_ / name).string();
    EXPECT_THAT(message, StartsWith(path + ":"));
    return message.substr(std::min(message.size(), path.size() + 1));
  }
  void name_classes(const std::string& text, const std::string& name = "classes.txt") {
    classes_ = folder_ / name;
    std::ofstream(classes_) << text;
  }

  fs::path folder_ = fresh_folder(testing::TempDir(), "file_lists");
  fs::path root_ = folder_ / "images";
  fs::path classes_;
  bool skip_ = false;
};

// ImageNet's validation images lie in one folder.
TEST_F(FileLists, NameImagesAndNumbers) {
  add({"val_1.JPEG", "val_2.JPEG", "my cat.png", "sub/d.jpg"});
  const ImageListing listing =
      read("val_2.JPEG 2\r\nval_1.JPEG\t0\r\nmy cat.png 2\r\n./sub//d.jpg 0\r\n");
  EXPECT_TRUE(listing.numbered);
  EXPECT_THAT(listing.classes.names, ElementsAre("0", "1", "2"));
  EXPECT_THAT(listing.files, ElementsAre(Files{"val_1.JPEG", "sub/d.jpg"}, IsEmpty(),
                                         Files{"val_2.JPEG", "my cat.png"}));
  name_classes("ant\nbee\ncat\ndog\n");
  const ImageListing named = read("val_1 3\nval_2 0");  // extensions may be missing
  EXPECT_FALSE(named.numbered);
  EXPECT_THAT(named.classes.names, ElementsAre("ant", "bee", "cat", "dog"));
  EXPECT_THAT(named.files,
              ElementsAre(Files{"val_2.JPEG"}, IsEmpty(), IsEmpty(), Files{"val_1.JPEG"}));
}

TEST_F(FileLists, NameImagesAndClasses) {
  add({"val_1.JPEG", "val_2.JPEG"});
  const std::string text = "val_1.JPEG n01443537\nval_2.JPEG n01440764\n";
  const ImageListing sorted = read(text);
  EXPECT_FALSE(sorted.numbered);
  EXPECT_THAT(sorted.classes.names, ElementsAre("n01440764", "n01443537"));
  EXPECT_THAT(sorted.files, ElementsAre(Files{"val_2.JPEG"}, Files{"val_1.JPEG"}));
  name_classes(R"({"0": ["n01443537", "goldfish"], "1": ["n01440764", "tench"]})", "c.json");
  EXPECT_THAT(read(text).files, ElementsAre(Files{"val_1.JPEG"}, Files{"val_2.JPEG"}));
  EXPECT_THAT(read("val_1 tench\nval_2 tench").files,
              ElementsAre(IsEmpty(), Files{"val_1.JPEG", "val_2.JPEG"}));
}

TEST_F(FileLists, MayBeLabelsAlone) {
  add({"val_2.JPEG", "val_1.JPEG", "val_10.JPEG", "notes.txt", "sub/x.png"});
  EXPECT_THAT(read("1\n0\n1\n").files,
              ElementsAre(Files{"val_10.JPEG"}, Files{"val_1.JPEG", "val_2.JPEG"}));
  EXPECT_THAT(read("n02\nn01\nn02\n").classes.names, ElementsAre("n01", "n02"));
  EXPECT_THAT(refusal("1\n0\n"),
              AllOf(HasSubstr(" has 2 labels, one per line, but "), EndsWith("holds 3 images")));
  add({"val_3.gif"});
  EXPECT_THAT(error_of([&] { read("1\n0\n1\n"); }),
              HasSubstr("the folder loses 1 .gif, and keeps 3"));
}

// Food-101: meta/test.txt and meta/test.json.
TEST_F(FileLists, NameImagesInFoldersOfClasses) {
  add({"churros/1.jpg", "churros/2.jpg", "apple_pie/1.jpg", "sushi/1.jpg", "apple pie/3.png"});
  const Files classes = {"apple pie", "apple_pie", "churros", "sushi"};
  const ImageListing listing = read("churros/2\nchurros/1\napple_pie/1\n");
  EXPECT_EQ(listing.classes.names, classes);  // those without an image in the list too
  EXPECT_THAT(listing.files, ElementsAre(IsEmpty(), Files{"apple_pie/1.jpg"},
                                         Files{"churros/2.jpg", "churros/1.jpg"}, IsEmpty()));
  EXPECT_EQ(read("/churros/2.jpg\n./churros/1.jpg\n/apple_pie/1.jpg\n").files, listing.files);
  EXPECT_EQ(read("apple pie/3\nsushi/1").files[0], Files{"apple pie/3.png"});
  const std::string json = R"({"churros": ["churros/2", "churros/1"], "apple_pie": ["1"]})";
  EXPECT_EQ(read(json, "test.json").files, listing.files);
  EXPECT_EQ(read(json, "test.json").classes.names, classes);
  name_classes("sushi\nchurros\napple_pie\napple pie\n");
  EXPECT_THAT(read("churros/1\nsushi/1").files,
              ElementsAre(Files{"sushi/1.jpg"}, Files{"churros/1.jpg"}, IsEmpty(), IsEmpty()));
}

TEST_F(FileLists, MayHaveCommas) {
  add({"a.jpg", "b.jpg", "c,d.jpg"});
  const auto expected = ElementsAre(Files{"b.jpg"}, Files{"a.jpg"});
  EXPECT_THAT(read("image,label\r\na,1\r\nb,0\r\n", "val.csv").files, expected);
  EXPECT_THAT(read("a.jpg,1\nb.jpg,0\n", "val.csv").files, expected);
  EXPECT_THAT(read("a.jpg, 1\nb.jpg, 0\n").classes.names, ElementsAre("0", "1"));
  EXPECT_THAT(read("\"c,d.jpg\",x\nb,y\n", "val.csv").files,
              ElementsAre(Files{"c,d.jpg"}, Files{"b.jpg"}));
  EXPECT_THAT(read("c,d.jpg 0\nb.jpg 0\n").files, ElementsAre(Files{"c,d.jpg", "b.jpg"}));
  // Kaggle's ImageNet: boxes behind the class.
  EXPECT_THAT(read("ImageId,PredictionString\na,n03995372 85 1 499 272\nb,n01440764 1 2 3 4\n",
                   "LOC_val_solution.csv")
                  .files,
              expected);
  EXPECT_THAT(refusal("a,1,2\n", "val.csv"), StartsWith("1: has 3 fields; a list with commas"));
  EXPECT_THAT(refusal("a,0\n\"b,1\n", "val.csv"), StartsWith("2: "));
  EXPECT_THAT(refusal("x,0\ny,1\n", "val.csv"),
              AllOf(StartsWith("1: "), HasSubstr("no image 'x'")));
}

TEST_F(FileLists, MayBeJson) {
  add({"a/1.jpg", "b/2.jpg"});
  const auto expected = ElementsAre(Files{"a/1.jpg"}, Files{"b/2.jpg"});
  EXPECT_THAT(read(R"(["a/1", "b/2"])", "l.json").files, expected);
  EXPECT_THAT(read(R"([["a/1.jpg", 0], ["b/2.jpg", 1]])", "l.json").files, expected);
  EXPECT_THAT(read(R"([["a/1.jpg", "x", 5], ["b/2.jpg", "y", 6]])", "l.json").classes.names,
              ElementsAre("x", "y"));
  EXPECT_THAT(refusal(R"({"train": [["a/1.jpg", 0, "a"]], "test": []})", "l.json"),
              StartsWith(" holds several lists, such as 'train'; write the one"));
  EXPECT_THAT(refusal(R"([{"image": "a"}])", "l.json"), StartsWith(" entry 0 is nothing that"));
  EXPECT_THAT(refusal(R"({"a": 3})", "l.json"), StartsWith(" class 'a' is nothing that"));
  EXPECT_THAT(refusal(R"([["a/1.jpg", 0.5]])", "l.json"), StartsWith(" entry 0 is nothing that"));
  EXPECT_THAT(refusal("[]", "l.json"), StartsWith(" the list names no images"));
  EXPECT_THAT(refusal("[", "l.json"), StartsWith("1:2: not valid JSON"));
  EXPECT_THAT(refusal(R"({"a": ["1", "3"]})", "l.json"),
              AllOf(StartsWith(" class 'a', entry 1: "), HasSubstr(" holds no image '3'")));
}

TEST_F(FileLists, AreNotNumbersOfImageNetsDevelopmentKit) {
  add({"ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"});
  EXPECT_THAT(refusal("490\n361\n", "ILSVRC2012_validation_ground_truth.txt"),
              AllOf(StartsWith("1: the label is 490, a number of ImageNet's development kit"),
                    HasSubstr("WordNet ids")));
  // The ids themselves are labels, in the order of the images' names.
  EXPECT_THAT(
      read("n01751748\nn01440764\n", "ILSVRC2012_validation_ground_truth.txt").files,
      ElementsAre(Files{"ILSVRC2012_val_00000002.JPEG"}, Files{"ILSVRC2012_val_00000001.JPEG"}));
}

TEST_F(FileLists, SayWhereTheyAreWrong) {
  // Rows that hold nothing.
  for (const std::string text : {"\"\"\n", " \n\"\"\n", "\"\"\n\n\"\""}) {
    EXPECT_EQ(refusal(text, "blank.csv"), " the list names no images");
  }
  add({"a.jpg", "b.jpg", "c.jpg", "c.png", "x/1.jpg", "y/2.jpg"});
  EXPECT_THAT(refusal(""), StartsWith(" the list is empty"));
  EXPECT_THAT(refusal("a.jpg 0\n\nb.jpg 1\n"), StartsWith("2: empty line"));
  EXPECT_THAT(refusal("a.jpg 0\nb.jpg\n"), StartsWith("2: names no label, which other lines have"));
  EXPECT_THAT(refusal("a.jpg 0\nb.jpg 0\n./a 1\n"),
              AllOf(StartsWith("3: names 'a.jpg' again, after "), EndsWith("val.txt:1")));
  EXPECT_THAT(refusal("a.jpg 0\nd.jpg 0\ne.jpg 1\n"),
              AllOf(StartsWith("2: " + root_.string() + " holds no image 'd.jpg'\n"),
                    EndsWith("and lacks 1 more of the list")));
  EXPECT_THAT(refusal("a.jpg 0\nc 0\n"), HasSubstr("holds no image 'c'"));  // two of this name
  EXPECT_THAT(refusal("a.jpg 0\n../val.txt 0\n"), HasSubstr("holds no image '../val.txt'"));
  EXPECT_THAT(refusal("a.jpg 0\nb.jpg -1\n"),
              StartsWith("2: the label is -1; labels must be from"));
  EXPECT_THAT(refusal("a.jpg 0\nb.jpg 4000000000\n"), StartsWith("2: the label is 4000000000;"));
  EXPECT_THAT(refusal("a.jpg\nb.jpg\n"), StartsWith("1: 'a.jpg' has no label, and no folder that"));
  EXPECT_THAT(refusal("x/1\nz/1\n"), AllOf(StartsWith("2: "), HasSubstr("holds no image 'z/1'")));
  EXPECT_THAT(refusal("images/x/1\nimages/y/2\n"),
              AllOf(StartsWith("1: "), HasSubstr("set [data] path to that folder")));
  EXPECT_THAT(refusal("a\xff.jpg 0\n"), StartsWith("1: the line is not plain UTF-8 text"));
  name_classes("ant\nbee\n");
  EXPECT_THAT(refusal("a 0\nb 2\n"),
              StartsWith("2: the label is 2; labels must be from 0 to 1, and these seem to count"));
  EXPECT_THAT(refusal("a ant\nb be\n"),
              AllOf(StartsWith("2: 'be' is not a class of "), EndsWith("did you mean 'bee'?")));
  EXPECT_THAT(refusal("x/1\n"), StartsWith("1: 'x' is not a class of "));
  name_classes("1\n0\n");
  EXPECT_THAT(refusal("a 0\n"), StartsWith("1: the label 0 may be the number of a class, or the "
                                           "name of class 1"));
}

TEST_F(FileLists, LeaveOutWhatIsMissing) {
  add({"a/1.jpg", "b/2.jpg"});
  skip_ = true;
  const ImageListing listing = read("a/1\na/3\nb/2\nc/4\n");
  EXPECT_THAT(listing.files, ElementsAre(Files{"a/1.jpg"}, Files{"b/2.jpg"}));
  EXPECT_THAT(listing.skipped,
              ElementsAre(AllOf(StartsWith("a/3: there is no such file ("), EndsWith("val.txt:2)")),
                          AllOf(StartsWith("c/4: "), EndsWith("val.txt:4)"))));
  EXPECT_THAT(refusal("a/3\nb/4\n"), StartsWith("1: "));
}

TEST_F(FileLists, MakeADataset) {
  add({"a/1.png", "a/2.png", "b/3.png"});
  DataConfig config;
  config.path = root_;
  config.list = folder_ / "val.txt";
  config.preprocess.crop = 1;
  std::ofstream(config.list) << "a/2 5\nb/3 1\na/1 5\n";
  const Dataset data = Dataset::open(config);
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.name(0), "b/3.png");
  EXPECT_EQ(data.name(1), "a/2.png");
  EXPECT_EQ(data.name(2), "a/1.png");
  EXPECT_EQ(data.label(1), 5);
  EXPECT_TRUE(data.numbered());
  EXPECT_EQ(data.classes().size(), 6U);
  check_classes(data, config, "m.pt", 10, {});  // the model may know more classes
  EXPECT_THAT(error_of([&] { check_classes(data, config, "m.pt", 5, {}); }),
              AllOf(HasSubstr("has 6 classes, but the model m.pt answers 5"),
                    HasSubstr("seem to count from 1")));
}

}  // namespace
}  // namespace bitfall::file_list_test
